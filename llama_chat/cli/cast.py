"""`llama-chat replay --cast`: the replay's screen as an asciicast v2 file, which asciinema plays."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from llama_chat.cli.chat import FRAMES_PER_S
from llama_chat.cli.talk import say
from llama_chat.errors import StoreError, UsageError
from llama_chat.paths import Paths, replacing
from llama_chat.replay import Player, Timeline, clock
from llama_chat.sanitize import one_line
from llama_chat.settings import LoadedSettings
from llama_chat.units import bytes_text

MIN_SIZE, MAX_SIZE = (20, 5), (400, 200)
BEGIN = "\x1b[?25l\x1b[0m\x1b[2J\x1b[H"
"""No cursor, an empty screen. Not the alternate screen: the last picture stays when the playing is over."""
HOLD_S = 2.0
"""So long the last picture is there, before a player begins again."""
LONGEST_S = 24 * 3600.0
"""A frame is drawn for every second at least: a damaged file may claim years."""
_SIZE = re.compile(r"(\d{1,4})[x×](\d{1,4})")


def write_cast(
    timeline: Timeline,
    loaded: LoadedSettings,
    paths: Paths,
    target: Path,
    size: str,
    speed: float,
    *,
    force: bool,
) -> int:
    """Write the file, told on stderr; 0. Without an end (Ctrl+C, no space) nothing is left of it.

    Raises:
        UsageError: the size does not fit, or it would last longer than a day.
        StoreError: the file is there already, and not to be replaced, or it cannot be written.
    """
    columns, lines = parsed_size(size)
    if target.exists() and not force:
        raise StoreError(
            f"{target} is there already.", hint="Choose another name, or replace it with --force."
        )
    played_s = timeline.total_s / speed
    if played_s > LONGEST_S:
        raise UsageError(
            f"The recording would last {clock(played_s)}, at most {clock(LONGEST_S)} are drawn.",
            hint=f"Play it quicker: --speed {math.ceil(timeline.total_s / LONGEST_S)} or more.",
        )
    total_s = round(played_s + HOLD_S, 4)
    say(f"llama-chat: drawing {clock(total_s)} of replay.")
    os.environ.setdefault("TEXTUAL_FPS", str(FRAMES_PER_S))  # read when textual is imported
    from llama_chat.ui.replay.app import ReplayLooks
    from llama_chat.ui.replay.recording import record_frames

    header = {
        **{"version": 2, "width": columns, "height": lines, "timestamp": int(timeline.info.created_at)},
        **{"duration": total_s},
        **{"title": one_line(timeline.info.title), "env": {"TERM": "xterm-256color"}},
    }
    looks = ReplayLooks(loaded.settings.chat.theme, paths.user_themes, loaded.notices)
    with _written(target) as file, _Progress(sys.stderr, total_s) as progress:
        file.write(json.dumps(header).encode() + b"\n")
        last_s = 0.0

        def keep(at_s: float, data: str) -> None:
            nonlocal last_s
            _write_event(file, at_s, data)
            last_s = at_s
            progress.tell(at_s)

        _write_event(file, 0.0, BEGIN)
        record_frames(Player(timeline, speed=speed), looks, (columns, lines), keep)
        # The last frame comes up to a frame's length behind the last moment, far less than it is held.
        end_s = max(total_s, last_s)
        _write_event(file, end_s, f"\x1b[0m\x1b[{lines};1H\x1b[?25h")
    say(f"llama-chat: {target} ({clock(end_s)}, {bytes_text(target.stat().st_size)}).")
    return 0


@contextlib.contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """The file to be; what fails is told of the name that the user gave, not of one made up meanwhile."""
    try:
        with replacing(target) as file:
            yield file
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}.") from error


def parsed_size(text: str) -> tuple[int, int]:
    """Columns and lines out of `100x30`.

    Raises:
        UsageError: it is no size, or one that no screen has.
    """
    found = _SIZE.fullmatch(text.strip())
    columns, lines = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (MIN_SIZE[0] <= columns <= MAX_SIZE[0] and MIN_SIZE[1] <= lines <= MAX_SIZE[1]):
        raise UsageError(
            f"--size {text} is no size of a screen.",
            hint="Give columns and lines from {}x{} to {}x{}, such as 100x30.".format(*MIN_SIZE, *MAX_SIZE),
        )
    return columns, lines


def _write_event(file: BinaryIO, at_s: float, data: str) -> None:
    file.write(json.dumps([round(at_s, 4), "o", data], ensure_ascii=False).encode() + b"\n")


class _Progress:
    """How much is written, on a terminal's own line."""

    def __init__(self, stream: TextIO, total_s: float) -> None:
        self._stream = stream
        self._total_s = total_s
        self._told = ""
        self._is_shown = stream.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._told:
            self._write("\r\x1b[K")

    def tell(self, at_s: float) -> None:
        """Say it, if it would be said differently."""
        percent = 100 * at_s / self._total_s if self._total_s else 100.0
        words = f"drawing {clock(at_s)} of {clock(self._total_s)} · {min(percent, 100):.0f} %"
        if self._is_shown and words != self._told:
            self._told = words
            self._write(f"\r{words}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody looks: the drawing goes on
            self._stream.write(text)
            self._stream.flush()
