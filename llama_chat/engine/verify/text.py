"""What goes through both engines: a text of our own, and a long one made of its sentences."""

from __future__ import annotations

import random
from collections.abc import Callable

TEXT = """\
The harbour wakes before the town does. At five the first boats come in, low in the water, and the gulls
that slept on the breakwater rise as if somebody had thrown them. Anna counts crates: twelve of mackerel,
three of plaice, one of something that nobody has ordered. "Put it with the rest," she says, and writes 16
into the book, although she knows that her brother will ask about it at noon.

A heat pump moves heat; it does not make it. For every kilowatt-hour of electricity a good one brings three
to four kilowatt-hours into the house, because the rest comes out of the air, the ground or a river. At
minus 15 °C the figure falls to about 2.1. That is why the size of the radiators matters more than the
brand: water at 35 degrees is cheap, water at 60 is not.

def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2

Am Morgen lag Nebel über dem Fluss, und die Brücke endete im Nichts. « Demain, peut-être », dit-elle.
1, 1, 2, 3, 5, 8, 13, 21, 34, 55 — each number is the sum of the two before it; their quotients approach
1.6180339887. To prove it, write x = 1 + 1/x and solve for x: x² - x - 1 = 0.

Dear Mr Okafor, thank you for your letter of 3 March. We have looked for the parcel in both depots and found
it, slightly wet, behind the scales. It will leave here tomorrow. With kind regards, the lost property office.
"""


def long_ids(encode: Callable[[str], list[int]], length: int) -> list[int]:
    """That many ids: the text's lines in ever new orders, the same ones at every call.

    Args:
        encode: text to ids, without control tokens.
        length: how many are wanted.
    """
    lines = [encode(line + "\n") for line in TEXT.splitlines()]
    shuffle = random.Random(20261122).shuffle
    found: list[int] = []
    while len(found) < length:
        shuffle(lines)
        for line in lines:
            found += line
    return found[:length]
