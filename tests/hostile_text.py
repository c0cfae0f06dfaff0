"""Random texts that try to command a terminal, and the check of what reaches it."""

from __future__ import annotations

import base64
import binascii
import random
import re
from codecs import getincrementaldecoder
from collections import Counter
from dataclasses import dataclass, field

from llama_chat.sanitize import UNSAFE

MARK = "7331"
"""Stands in every sequence that the texts bring along, and in none of Textual's own."""
_PAYLOADS = (
    *(f"\x1b]0;title{MARK}\x07", f"\x1b]2;title{MARK}\x1b\\", f"\x9d0;title{MARK}\x9c"),
    *(f"\x1b]8;;http://x{MARK}/\x07link\x1b]8;;\x07", f"\x1b]8;id={MARK};file:///\x1b\\"),
    *(f"\x1b]52;c;{MARK}\x07", f"\x1b]9;{MARK}\x07", f"\x1b]777;notify;a;{MARK}\x1b\\"),
    *(f"\x1bP1$r{MARK}m\x1b\\", f"\x90q{MARK}\x9c", f"\x1b_G{MARK}\x1b\\", f"\x1b^{MARK}\x1b\\"),
    *(f"\x1b[{MARK}m", f"\x9b{MARK}m", f"\x1b[1;{MARK}H", f"\x1b[?{MARK}h", f"\x1b[{MARK}T", "\x1b[6n"),
    *("\x1bc", "\x1b(0", "\x1b7", "\x1b#8", "\x1b[!p", "\x0e", "\x1b%G", "\x1b[2J", "\x9b2J"),
)
_CHARACTERS = (
    *("\x1b", "\x9b", "\x9d", "\x90", "\x9c", "\x00", "\x07", "\x08", "\x0b", "\x0c", "\r", "\x7f", "\x85"),
    *("\u202e", "\u202a", "\u2066", "\u2069", "\u200e", "\u061c", "\u200b", "\u2060", "\ufeff", "\u00ad"),
    *("\u2028", "\u2029", "\u200d", "\u200c", "\ufe0f", "\ufffe", "\U000e0041", "\U0001d173", "\u0301"),
    *("\u034f", "\u115f", "\u3164", "\ufe00", "\u180b", "\ufff9", "\U000e0001"),  # some count as printable
)
_MARKUP = (
    *(
        "[/zz]",
        "[/]",
        "[bold]",
        "[red on blue]",
        "[@click=app.quit]here[/]",
        "[link='http://x']x[/link]",
        "[[[",
    ),
    *(
        "$primary",
        "[$x]",
        "\\[",
        "&#x1b;",
        "&#27;[0m",
        "&#x202e;",
        "&#155;",
        "&zwnj;",
        "<b>",
        "<!--",
        ":smile:",
    ),
    *(
        "**",
        "`",
        "_",
        "|",
        "](",
        "![a](b)",
        "[a](http://a\x1b]8;;\x07b)",
        "<http://a\x9bb>",
        "www.a\u202eb.org",
    ),
    *("~~", "\\\x1b", "# ", "%s", "{0}", "{x!r}"),
)
_WORDS = (
    "fox",
    "river",
    "日本語",
    "שלום",
    "👩\u200d👩\u200d👧",
    "❤\ufe0f",
    "é",
    " ",
    " ",
    "a b",
    "\t",
    "word",
)
_ID = re.compile(r"\[[/|]?k(\d+)\]")


class HostileTexts:
    """An endless supply; each text has a number, in brackets that a parser of markup would take away.

    Args:
        seed: the same texts for the same one.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.taken = 0
        self.by_place: dict[str, list[int]] = {}

    def take(self, place: str, *, cells: int = 60) -> str:
        """The next text, for one line of so many cells or so; no line break but what the text smuggles in."""
        self.taken += 1
        self.by_place.setdefault(place, []).append(self.taken)
        head = f"[{'/' * (self.taken % 2)}k{self.taken}]"
        return head + self.anything(cells - len(head))

    def lines(self, place: str, count: int, *, cells: int = 60) -> list[str]:
        """So many texts."""
        return [self.take(place, cells=cells) for _ in range(count)]

    def anything(self, letters: int) -> str:
        """A text of about so many letters without a number."""
        chance, parts, length = self._chance, [], 0
        while length < letters:
            kind = chance.random()
            if kind < 0.3:
                part = chance.choice(_PAYLOADS)
            elif kind < 0.55:
                part = chance.choice(_CHARACTERS)
            elif kind < 0.75:
                part = chance.choice(_MARKUP)
            elif kind < 0.95:
                part = chance.choice(_WORDS)
            else:
                part = chr(
                    chance.choice((chance.randrange(0x20, 0x3000), chance.randrange(0xE000, 0x110000)))
                )
            cut = chance.random() < 0.1
            part = part[: chance.randint(1, len(part))] if cut else part
            parts.append(part)
            length += len(part)
        return "".join(parts)

    def pieces(self, text: str, most: int = 3) -> list[str]:
        """The text cut into pieces of one to so many letters."""
        pieces, place = [], 0
        while place < len(text):
            end = place + self._chance.randint(1, most)
            pieces.append(text[place:end])
            place = end
        return pieces


# --- the check ------------------------------------------------------------------------------------------

_SEQUENCE = re.compile(
    r"\x1b\[(?P<params>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b(?P<other>[^\[\]])"
)
_WAITS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")
_LAST_JOINERS = re.compile("\u200d+(?= )")
_MODES = frozenset(
    ("25", "7", "1000", "1003", "1004", "1006", "1015", "1016", "1049", "2004", "2026", "2048")
)
_POINTERS = frozenset(
    ("default", "pointer", "text", "grab", "grabbing", "ew-resize", "ns-resize", "not-allowed")
)
_COLOURS = re.compile(r"(?:(?:[34]8;5;\d{1,3}|[34]8;2(?:;\d{1,3}){3}|10[0-7]|\d{1,2})(?:;(?=\d)|\Z))*\Z")


@dataclass
class TerminalCheck:
    """Reads what was written to a terminal: nothing but what Textual writes itself may command it.

    Args:
        size: columns and lines of the terminal.
    """

    size: tuple[int, int]
    problems: list[str] = field(default_factory=list)
    """What must not have been written, with what stood around it."""
    seen: set[int] = field(default_factory=set)
    """Numbers of the texts that could be read."""
    sequences: Counter[str] = field(default_factory=Counter)
    bells: int = 0
    """How often it rang, between other things."""
    copied: list[str] = field(default_factory=list)
    """What was put into the clipboard by OSC 52."""
    noted: list[str] = field(default_factory=list)
    """What was shown on the desktop by OSC 9 and 777."""
    is_screen: bool = False
    """Whether an app draws now; else lines are printed, and end in CR LF."""

    def __post_init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")().decode
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        text = self._rest + self._decode(data)
        waits = _WAITS.search(text)
        end = waits.start() if waits and len(text) - waits.start() < 100_000 else len(text)
        end -= text.endswith(("\r", "\u200d"), 0, end)
        self._rest, text = text[end:], text[:end]
        place = 0
        for found in _SEQUENCE.finditer(text):
            self._read_text(text[place : found.start()])
            place = found.end()
            if not self._is_own(found):
                self._complain(f"sequence {found[0]!r}", text, found.start())
        self._read_text(text[place:])

    def end(self) -> None:
        """Nothing more comes."""
        if self._rest:
            self._complain(f"at the end {self._rest!r}", self._rest, 0)

    def _read_text(self, text: str) -> None:
        if not text:
            return
        plain = text.replace("\r\n", "\n")  # as the terminal driver of the system makes it of each LF
        # A joiner that ends a foreign text may meet a space of ours: it joins nothing, and commands nothing.
        plain = _LAST_JOINERS.sub(lambda found: " " * len(found[0]), plain)
        if not plain.strip("\x07"):
            self.bells += len(plain)
        elif (found := UNSAFE.search(plain)) is not None:
            self._complain(f"character {found[0]!r}", plain, found.start())
        self.seen.update(int(number) for number in _ID.findall(plain))

    def _is_own(self, found: re.Match[str]) -> bool:
        if (content := found["osc"]) is not None:
            return self._is_own_osc(content)
        if found["other"] is not None:
            return False
        params, kind = found["params"], found["between"] + found["final"]
        self.sequences[kind if params[:1] not in "<=>?" or not params else params[0] + kind] += 1
        if MARK in params:
            return False
        match kind:
            case "m":
                return _COLOURS.match(params) is not None
            case "H":
                return self.is_screen and self._is_on_screen(params)
            case "h" | "l" | "$p":
                self.is_screen = params + kind == "?1049h" or (self.is_screen and params + kind != "?1049l")
                return params[:1] == "?" and params[1:] in _MODES
            case "u":
                return params[:1] in ("<", ">")
        return False

    def _is_on_screen(self, params: str) -> bool:
        row, _, column = params.partition(";")
        columns, rows = self.size
        return int(row or 1) <= rows and int(column or 1) <= columns + 1

    def _is_own_osc(self, content: str) -> bool:
        kind, _, rest = content.partition(";")
        self.sequences[f"OSC {kind}"] += 1
        if kind == "22":
            return rest in _POINTERS
        if kind == "52" and rest.startswith("c;"):
            try:
                self.copied.append(base64.b64decode(rest[2:], validate=True).decode())
            except (binascii.Error, ValueError):
                return False
            return True
        if kind in ("9", "777"):
            self.noted.append(rest)
            return UNSAFE.search(rest.replace("\u200d ", "  ")) is None
        return False

    def _complain(self, what: str, text: str, place: int) -> None:
        if len(self.problems) < 50:
            around = text[max(0, place - 60) : place + 60]
            self.problems.append(f"{what} in {around!r}")
