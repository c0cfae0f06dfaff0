"""What a user may write: any characters but those that command a terminal."""

from __future__ import annotations

import re

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def without_controls(text: str) -> str:
    """The text with LF for every line end, and no control character but LF and tab."""
    return _NOT_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
