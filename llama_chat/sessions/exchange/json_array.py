"""The items of a JSON list that is too long for memory, one after the other."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from llama_chat.sessions.exchange.fields import BadValueError, ExchangeError, parse_json

MOST_ITEM_BYTES = 64_000_000
"""Of one item: a conversation longer than this is refused."""
_FIRST_READ = 65_536
MOST_SPACE = 1_000_000
"""Characters between two items: a megabyte of nothing but spaces packs into a kilobyte."""
_SPACE = re.compile(r"[ \t\r\n]*")


def items_of(file: BinaryIO, name: str) -> Iterator[Any]:
    """The items of the list that the file holds.

    Raises:
        ExchangeError: it holds no list, or a broken one; names item and line.
    """
    source = _Source(file, name)
    if source.next_character() != "[":
        raise source.error("this is no list of conversations")
    source.skip(1)
    is_first = True
    while (character := source.next_character()) != "]":
        if not is_first:
            if character != ",":
                raise source.error("the file ends too early" if not character else "here should be a comma")
            source.skip(1)
            source.next_character()
        is_first = False
        yield source.take_item()
    source.skip(1)
    if source.next_character():
        raise source.error("something follows the list")


class _Source:
    """Text of the file that was not taken yet, read on as it is needed."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._place = 0
        self._lines_before = 0
        self._is_at_end = False
        self.items = 0

    def next_character(self) -> str:
        """The next one that is no space, not taken; empty at the end."""
        skipped = -self._place
        while True:
            found = _SPACE.match(self._text, self._place)
            assert found is not None  # nothing at all matches too
            self._place = found.end()
            if self._place < len(self._text):
                return self._text[self._place]
            skipped += self._place
            if skipped > MOST_SPACE:
                raise self.error(f"more than {MOST_SPACE:,} spaces follow each other")
            if not self._read(_FIRST_READ):
                return ""

    def skip(self, count: int) -> None:
        """Take so many characters."""
        self._place += count

    def take_item(self) -> Any:
        """The value that begins here."""
        self.items += 1
        decoder = json.JSONDecoder(parse_constant=lambda text: parse_json(text))
        wanted = _FIRST_READ
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._place)
                # A number at the end of what was read may go on.
                if end < len(self._text) or self._is_at_end:
                    self._place = end
                    return value
            except json.JSONDecodeError as error:
                if self._is_at_end:
                    what = error.msg.removesuffix(" at").removesuffix(" starting")
                    raise self.error(f"this is not JSON, or cut ({what})") from error
            except RecursionError:
                raise self.error("it is nested too deeply") from None
            except ValueError as error:
                what = str(error) if isinstance(error, BadValueError) else "a number has too many digits"
                raise self.error(what) from error
            if len(self._text) - self._place > MOST_ITEM_BYTES:
                raise self.error(f"it is longer than {MOST_ITEM_BYTES:,} bytes, or not JSON")
            self._read(wanted)
            wanted = len(self._text) - self._place  # doubling: the tries add up to twice the work

    def error(self, what: str) -> ExchangeError:
        """The error for the item at this place."""
        line = self._lines_before + self._text.count("\n", 0, self._place) + 1
        return ExchangeError(f"{self._name}, line {line}, conversation {max(self.items, 1)}: {what}.")

    def _read(self, count: int) -> bool:
        """Read on, forgetting what was taken; whether there was anything."""
        self._lines_before += self._text.count("\n", 0, self._place)
        raw = self._file.read(count)
        self._is_at_end = not raw
        try:
            more = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            raise self.error("a byte is not UTF-8") from error
        self._text = self._text[self._place :] + more
        self._place = 0
        return bool(raw)
