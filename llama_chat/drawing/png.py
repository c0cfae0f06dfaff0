"""A heat map as a PNG image: a pixel a number, with a palette, by the standard library."""

from __future__ import annotations

import base64
import struct
import zlib
from bisect import bisect_left

from llama_chat.drawing.shading import CUT_COLOUR, shade_colour
from llama_chat.drawing.views import Grid

_COLOURS = 255
_CUT = 255


def png_data_uri(grid: Grid) -> str:
    """The image, for an `href`."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(grid)).decode()}"


def png_bytes(grid: Grid) -> bytes:
    """The image file."""
    header = struct.pack(">IIBBBBB", grid.columns.size, grid.rows.size, 8, 3, 0, 0, 0)
    lows = _lower_ends(grid)
    cut = float("-inf")
    lines = bytearray()
    for n in range(grid.rows.size):
        lines.append(0)  # no filter
        lines.extend(_CUT if value == cut else bisect_left(lows, value) for value in grid.row(n))
    parts = (
        (b"IHDR", header),
        (b"PLTE", _palette(grid)),
        (b"IDAT", zlib.compress(bytes(lines), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _lower_ends(grid: Grid) -> list[float]:
    """Between which numbers one colour goes over to the next."""
    if grid.kind == "share":  # shares go by their square root
        return [((n + 0.5) / (_COLOURS - 1)) ** 2 for n in range(_COLOURS - 1)]
    return [grid.full * (2 * (n + 0.5) / (_COLOURS - 1) - 1) for n in range(_COLOURS - 1)]


def _palette(grid: Grid) -> bytes:
    shares = (n / (_COLOURS - 1) for n in range(_COLOURS))
    colours = [shade_colour(grid.kind, share if grid.kind == "share" else 2 * share - 1) for share in shares]
    return bytes.fromhex("".join([*colours, CUT_COLOUR]).replace("#", ""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
