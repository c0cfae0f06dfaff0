"""`/attach` of the plain chat: files that go along with what is said next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.backstage.counting import tokens_of
from llama_chat.chat.prompt.attaching import Attachment, read_attachment
from llama_chat.chat.prompt.pasted_paths import typed_files
from llama_chat.cli.talk import say
from llama_chat.markup.attached import AttachedFile, parts_of
from llama_chat.units import bytes_text

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

NONE = "-"


def attach(plain: PlainChat, words: str) -> None:
    """Take the files along with what is said next; without words, say which ones go; `-`: none.

    Raises:
        UsageError: nothing but quotes.
        AttachError: one of them cannot go along: then none is added.
    """
    if words == NONE:
        plain.attached.clear()
    elif words:
        plain.attached += [read_attachment(path) for path in typed_files(words)]
    if not plain.attached:
        say("No file goes along with what you say next.")
        return
    for file in plain.attached:
        say(f"{file.name} goes along with what you say next: {_size(plain, file)}.")
    say(f"/attach {NONE} leaves them here.")


def with_files(files: list[Attachment], words: str) -> str:
    """What is sent: the files before the words."""
    return "\n".join([*(file.block for file in files), words])


def in_lines(text: str) -> str:
    """A message as it is printed again: of a file its name and size, not all of it."""
    return "".join(
        f"[{part.name}, {bytes_text(part.bytes)}]" if isinstance(part, AttachedFile) else part
        for part in parts_of(text)
    )


def _size(plain: PlainChat, file: Attachment) -> str:
    tokens = plain.bridge.worker.ask(lambda engine: tokens_of(engine, file.block))
    size = bytes_text(file.size_bytes)
    return size if tokens is None else f"{size}, {tokens:,} tokens"
