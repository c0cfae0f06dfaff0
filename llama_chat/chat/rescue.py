"""A chat that the store would not take, written to a file that `llama-chat sessions import` reads."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llama_chat.conversation import Conversation, new_id, short_id
from llama_chat.sessions import SessionInfo, SessionRecord


def rescue(conversation: Conversation, *, title: str, model: str, date: str) -> Path | None:
    """The new file with the whole conversation; None where there is none, or no folder takes it.

    Without the numbers of the tokens, which only the store is given.
    """
    if not conversation.turns:
        return None
    now = time.time()
    info = SessionInfo(new_id(), title, now, now, model, date, len(conversation.messages))
    record = SessionRecord(info, conversation, {}, lambda _: ())
    for path in _places(short_id(info.id)):
        try:
            _write(path, record)
        except OSError:
            continue
        return path
    return None


def _places(name: str) -> Iterator[Path]:
    for folder in (Path.home(), Path(tempfile.gettempdir())):
        yield folder / f"llama-chat-rescued-{name}.jsonl"


def _write(path: Path, record: SessionRecord) -> None:
    from llama_chat.sessions.exchange.jsonl import jsonl_lines

    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(line.encode() for line in jsonl_lines(record))
