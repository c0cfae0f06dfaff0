"""Sizes as people say them: in powers of ten, as disks and graphics cards are sold."""

from __future__ import annotations

_STEPS = ("B", "kB", "MB", "GB", "TB")


def bytes_text(nbytes: float) -> str:
    """`16.06 GB`, `98.4 MB`, `2.3 kB`, `512 B`: for what is there, and can be looked at."""
    value, unit = _in_its_unit(nbytes, (0, 1, 1, 2, 2))
    return f"{value} {unit}"


def about_bytes(nbytes: float) -> str:
    """`16.1 GB`, `87 MB`, `512 B`: for what is estimated, or changes while one looks; below zero is none."""
    value, unit = _in_its_unit(max(nbytes, 0), (0, 0, 0, 1, 1))
    return f"{value} {unit}"


def bytes_of_total(done_bytes: float, total_bytes: float) -> str:
    """`   46.4 of 92.8 MB`, in one unit and as wide whatever is done, so that it stays in its place."""
    most = max(done_bytes, total_bytes)
    total, unit = _in_its_unit(most, (0, 1, 1, 2, 2))
    digits = len(total.partition(".")[2])
    size = 1000 ** _STEPS.index(unit)
    return f"{done_bytes / size:7.{digits}f} of {total_bytes / size:.{digits}f} {unit}"


def _in_its_unit(nbytes: float, digits: tuple[int, ...]) -> tuple[str, str]:
    """The value and its unit: the smallest in which it is below 1,000 as it is written."""
    written = [(f"{nbytes / 1000**step:.{digits[step]}f}", unit) for step, unit in enumerate(_STEPS)]
    return next((each for each in written if float(each[0]) < 1000), written[-1])
