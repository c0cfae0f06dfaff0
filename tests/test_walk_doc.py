"""docs/walk.md is what the program says today, on any machine."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

from make_walk_doc import PAGE, walk_page

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
BLANKS_AND_LINES = re.compile(r"[\s█▏▎▍▌▋▊▉]+")


def test_the_page_is_what_the_program_says(default_model: Path) -> None:
    """Its words are the same; numbers differ by rounding alone, and so may a shade or two."""
    ours, kept = walk_page(default_model).splitlines(), PAGE.read_text(encoding="utf-8").splitlines()
    odd = 0
    for new, old in zip_longest(ours, kept, fillvalue=""):
        if new == old:
            continue
        if words(new) == words(old):
            pairs = zip(numbers(new), numbers(old), strict=True)
            assert all(abs(a - b) <= max(0.02, 0.01 * abs(b)) for a, b in pairs), (new, old)
        else:
            odd += sum(a != b for a, b in zip_longest(new, old))
            assert len(new) == len(old), "run: python tests/make_walk_doc.py MODEL.gguf"
    assert odd <= 20, "run: python tests/make_walk_doc.py MODEL.gguf"


def words(line: str) -> str:
    return BLANKS_AND_LINES.sub(" ", NUMBER.sub("N", line))


def numbers(line: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(line)]
