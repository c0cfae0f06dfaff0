"""The open session as a file: where it goes, and how it is written."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.conversation import Conversation, short_id
from llama_chat.errors import StoreError, UsageError
from llama_chat.sessions import SessionInfo, SessionRecord, SessionStore

if TYPE_CHECKING:
    from llama_chat.chat.talk import Talk

FORMATS = ("md", "jsonl", "html")
_SUFFIXES = {".md": "md", ".markdown": "md", ".jsonl": "jsonl", ".html": "html", ".htm": "html"}
_SLUG_LETTERS = 40


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What the user asked for."""

    form: str
    path: str
    """Empty for a name made of the title, in the current folder."""


def parse_export(words: str) -> ExportWish:
    """The format and the path in `[md|jsonl|html] [PATH]`; without a format, the one that the path ends in.

    Raises:
        UsageError: the path ends in another format than the named one.
    """
    first, _, rest = words.strip().partition(" ")
    form = first.casefold() if first.casefold() in FORMATS else ""
    path = rest.strip() if form else words.strip()
    told = _SUFFIXES.get(Path(path).suffix.lower(), "")
    if form and told not in ("", form):
        raise UsageError(f"{path} does not end in .{form}.", hint=f"For example: /export {form}")
    return ExportWish(form or told or FORMATS[0], path)


def export_session(store: SessionStore, session_id: str, wish: ExportWish) -> Path:
    """The file that was written; one that is there is never overwritten. May take seconds.

    Raises:
        StoreError: it cannot be written, or the session cannot be read.
    """
    record = store.record(session_id)
    last_error: OSError | None = None
    for path in _places(record.info, wish):
        try:
            _write_new(path, _parts(record, wish.form))
        except FileExistsError as error:
            last_error = error
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
        else:
            return path
    raise StoreError(f"{wish.path} is there already.", hint="Name another file.") from last_error


def chat_markdown(chat: Talk) -> str:
    """The path of the open chat as Markdown, with what is written of a running reply."""
    from llama_chat.sessions.exchange.markdown import markdown_parts

    messages = {each.id: chat.message_now(each.id) or each for each in chat.conversation.messages.values()}
    conversation = Conversation(messages, chat.conversation.leaf_id)
    created_at = min(message.created_at for message in messages.values())
    info = SessionInfo(
        chat.saved.session_id or "", chat.title, created_at, created_at, chat.model_label, "", len(messages)
    )
    return "".join(markdown_parts(SessionRecord(info, conversation, {}, lambda _: ())))


def _places(info: SessionInfo, wish: ExportWish) -> Iterator[Path]:
    """Where it may be written: the named file, or the first free name of its own in a folder."""
    named = Path(wish.path).expanduser()
    if wish.path and not named.is_dir():
        yield named.absolute()
        return
    slug = re.sub(r"[^\w]+", "-", info.title.casefold())[:_SLUG_LETTERS].strip("-_") or "chat"
    name = f"{slug}-{short_id(info.id)}"
    for number in count(1):
        yield named.absolute() / f"{name}{f'-{number}' if number > 1 else ''}.{wish.form}"


def _parts(record: SessionRecord, form: str) -> Iterable[str]:
    if form == "jsonl":
        from llama_chat.sessions.exchange.jsonl import jsonl_lines

        return jsonl_lines(record)
    if form == "html":
        from llama_chat.sessions.exchange.html import html_parts

        return html_parts([record], title=record.info.title)
    from llama_chat.sessions.exchange.markdown import markdown_parts

    return markdown_parts(record)


def _write_new(path: Path, parts: Iterable[str]) -> None:
    """Write a file that its owner alone can read; what was begun and failed is taken away."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(part.encode() for part in parts)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
