"""What a terminal sends, read with less guessing: pastes as one event, Alt keys and Escape at once."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.message import Message

_NAMED = {
    "\r": "enter", "\n": "enter", "\t": "tab", "\x1b": "escape", "\x7f": "backspace", " ": "space",
    ",": "comma", ".": "full_stop", "/": "slash", "-": "minus", "=": "equals_sign", "+": "plus",
    "?": "question_mark",
}  # fmt: skip
_WORD_KEYS = "bf"  # terminals send Alt+B and Alt+F for Alt+arrow; Textual knows them as Ctrl+arrow
_SEQUENCE_STARTS = "OPX"  # after ESC: a function key (SS3), or a string of the terminal's own (DCS, SOS)
# xterm's modifyOtherKeys (`CSI 27 ; modifiers ; code ~`), which Textual 8.2 does not know
_OTHER_KEY = re.compile(r"\x1b\[27;(\d{1,3});(\d{1,6})~")


class SafeParser(XTermParser):
    """Cuts pastes out of the stream before keys are looked for.

    Textual's own parser issues an ESC inside of a paste as real keys, takes `ESC [ 48 ; … t` in it for a new
    window size, and needs 0.9 s for 1 MB where this one needs 0.1 s (Textual 8.2.8, 2026-11).
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._before = ""
        """The end of what was read, which may be the beginning of a paste's mark."""
        self._paste: list[str] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether `tick` has to be called soon: an ESC may be a key, or the beginning of a sequence."""
        return self._timeout_time is not None

    def feed(self, data: str) -> Iterable[Message]:
        """The events in what was read."""
        if not data:
            yield from super().feed(data)
        while data:
            if self._paste is None:
                data = yield from self._feed_keys(data)
            else:
                data = yield from self._feed_paste(self._paste, data)

    def _feed_keys(self, data: str) -> Generator[Message, None, str]:
        joined = self._before + data
        start = joined.find(BRACKETED_PASTE_START)
        if start < 0:
            self._before = joined[-(len(BRACKETED_PASTE_START) - 1) :]
            yield from super().feed(data)
            return ""
        cut = start + len(BRACKETED_PASTE_START) - len(self._before)
        self._before = ""
        yield from super().feed(data[:cut])
        self._paste = []
        return data[cut:]

    def _feed_paste(self, paste: list[str], data: str) -> Generator[Message, None, str]:
        # The mark may have been cut by the end of a read; only the last piece is looked at again.
        seam = paste.pop() if paste else ""
        joined = seam + data
        end = joined.find(BRACKETED_PASTE_END)
        if end < 0:
            keep = max(0, len(joined) - len(BRACKETED_PASTE_END) + 1)
            paste += [joined[:keep], joined[keep:]]
            return ""
        paste.append(joined[:end])
        self._paste = None
        for event in super().feed(BRACKETED_PASTE_END):
            if not isinstance(event, events.Paste):  # an empty one: the text never went through the parser
                yield event
        yield events.Paste("".join(paste).replace("\x00", ""))
        return joined[end + len(BRACKETED_PASTE_END) :]

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        if key := _alt_key(sequence) or _other_key(sequence):
            yield events.Key(key, None)
        else:
            yield from super()._sequence_to_key_events(sequence, alt)


def _alt_key(sequence: str) -> str | None:
    """The name of Alt and a character; None where the parser has to read on, or knows better."""
    if len(sequence) != 2 or sequence[0] != "\x1b":
        return None
    character = sequence[1]
    if character.isascii() and character.isalnum():
        if character in _WORD_KEYS or character in _SEQUENCE_STARTS:
            return None
        return f"alt+shift+{character.lower()}" if character.isupper() else f"alt+{character}"
    if character in _NAMED and (character in "\r,./-=" or "\x1b" + character not in ANSI_SEQUENCES_KEYS):
        return f"alt+{_NAMED[character]}" if character != "\x1b" else None
    return None


def _other_key(sequence: str) -> str | None:
    match = _OTHER_KEY.fullmatch(sequence)
    if match is None:
        return None
    modifiers, code = int(match[1]), int(match[2])
    if code > 0x10FFFF or modifiers < 1:
        return None
    name = _NAMED.get(chr(code), chr(code))
    bits = modifiers - 1
    pressed = [word for bit, word in ((2, "alt"), (4, "ctrl"), (1, "shift")) if bits & bit]
    return "+".join([*pressed, name])
