"""A walk of plain data for the screen: no network, the same numbers on every machine."""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.drawing.views import (
    Arrow,
    Axis,
    Bar,
    Bars,
    Cell,
    Comparison,
    Difference,
    Grid,
    GridKind,
    Look,
    Step,
    StepView,
    Table,
    TensorShape,
    WalkFacts,
)
from llama_chat.events import Engine
from llama_chat.walk.steps import STEPS, numbered_step

WORDS = ("The", "␣capital", "␣of", "␣France", "␣is")
LAYERS, HEADS, WIDTH = 4, 6, 96


def wave(row: int, column: int, salt: int = 0) -> float:
    """A number between -1 and 1 that has no pattern, in steps of a thousandth."""
    return ((row * 7919 + column * 104_729 + salt * 1_299_709 + row * column * 31) % 2001 - 1000) / 1000


def grid(title: str, rows: Axis, columns: Axis, kind: GridKind, value: Callable[[int, int], float]) -> Grid:
    values = array("f", (value(n, m) for n in range(rows.size) for m in range(columns.size)))
    known = [number for number in values if number > -math.inf]
    return Grid(title, rows, columns, values, kind, 1.0, min(known), max(known))


@dataclass
class FakeWalk:
    """A `Walker`; what it is asked is noted.

    Args:
        labels: of its tokens.
        said: what every sentence and name holds.
    """

    labels: tuple[str, ...] = WORDS
    said: str = "fake"
    asked: list[tuple[str, int, int, int]] = field(default_factory=list)
    alteration: Alteration = UNALTERED
    wait: threading.Event | None = None
    """A step is not given before it is set."""

    @property
    def facts(self) -> WalkFacts:
        sizes = {"T": len(self.labels), "D": WIDTH, "L": LAYERS, "H": HEADS, "G": 2, "K": 16, "V": 49152}
        ids = tuple(range(len(self.labels)))
        return WalkFacts(self.said, "Q4_1", "cpu", ids, self.labels, tuple(sizes.items()))

    @property
    def steps(self) -> tuple[Step, ...]:
        return STEPS

    def until(self, position: int) -> FakeWalk:
        return replace(self, labels=self.labels[: position + 1])

    def altered(self, alteration: Alteration) -> FakeWalk:
        return replace(self, alteration=alteration)

    def comparison(self) -> Comparison | None:
        return None

    def difference(self) -> Difference:
        return Difference(3.1e-5, 1e-9, True)

    def heads_looking_at(self, target: int, at: int = -1, count: int = 5) -> tuple[Look, ...]:
        del target, at
        return (Look(2, 3, 0.62), Look(0, 5, 0.31))[:count]

    def mean_attention(self, at: int = -1) -> tuple[float, ...]:
        raise NotImplementedError

    def rollout(self, at: int = -1) -> tuple[float, ...]:
        raise NotImplementedError

    def step(self, name: str, layer: int = 0, head: int = 0) -> StepView:
        self.asked.append((name, layer, head, len(self.labels) - 1))
        if self.wait is not None:
            assert self.wait.wait(30)
        number, step = numbered_step(name)
        sentences = (
            f"This is what happens in {self.said}, in plain words with its own numbers.",
            f"‹{self.labels[-1]}› is the last token.",
        )
        shape = TensorShape("x", (("T", len(self.labels)), ("D", WIDTH)))
        view = StepView(
            step,
            number,
            layer if step.in_layer else None,
            head if step.in_head else None,
            sentences,
            (shape,),
        )
        return replace(view, **self._pictures(name, layer, head))

    def _pictures(self, name: str, layer: int, head: int) -> dict[str, object]:
        if name == "rope":
            return {"arrows": tuple(map(self._arrow, range(6))), "tables": (self._tokens(),)}
        if name in ("scores", "mask", "softmax"):
            return {"grids": (self._looks(name, layer, head),)}
        if name == "lens":
            return {"tables": (self._lens(),)}
        if name in ("logits", "distribution"):
            return {"bars": (Bars("the likeliest next tokens", tuple(map(self._bar, range(12)))),)}
        if name in ("tokens", "token"):
            return {"tables": (self._tokens(),)}
        rows = Axis("T", len(self.labels), self.labels)
        stream = grid(f"the stream of {self.said}", rows, Axis("D", WIDTH), "signed", wave)
        return {"grids": (stream,), "tables": (self._tokens(),)}

    def _looks(self, name: str, layer: int, head: int) -> Grid:
        """Shares sink towards the first token and the own one."""
        axes = Axis("T", len(self.labels), self.labels), Axis("S", len(self.labels), self.labels)
        if name != "softmax":
            ahead = -math.inf if name == "mask" else 0.0
            scores = lambda n, m: wave(n, m, layer + head) if m <= n else ahead  # noqa: E731
            return grid(f"{name} of head {head + 1}", *axes, "signed", scores)

        def share(row: int, column: int) -> float:
            if column > row:
                return 0.0
            weights = [1 + abs(wave(row, n, layer * HEADS + head)) * 4 for n in range(row + 1)]
            return weights[column] / math.fsum(weights)

        return grid(f"attention of head {head + 1} of {self.said}", *axes, "share", share)

    @staticmethod
    def _arrow(n: int) -> Arrow:
        angle = n * 0.9
        return Arrow(n, 4, 229.18 / 4**n, (1.0, 0.0), (round(math.cos(angle), 3), round(math.sin(angle), 3)))

    def _bar(self, n: int) -> Bar:
        return Bar(f"{self.said} {n}", 0.5 / 2**n, f"{50 / 2**n:.1f} %")

    def _tokens(self) -> Table:
        rows = tuple((n, 1000 + n, label) for n, label in enumerate(self.labels))
        return Table("the tokens", ("position", "id", "token"), rows)

    def _lens(self) -> Table:
        titles = ("layer", "final", "1.", "2.")
        first: tuple[Cell, ...] = ("none", 4310, f"99% {self.labels[-1]}", "<1% a")
        rows = tuple(
            (n, 5 - n, f"{10 * n:2d}% {'␣a' if n < 3 else '␣Paris'}", " 5% ␣the") for n in (1, 2, 3, 4)
        )
        return Table("what each layer would say", titles, (first, *rows))


def opener_of(walk: FakeWalk) -> Callable[..., FakeWalk]:
    """A `WalkOpener` that has this one, and notes the ids that it is opened with."""

    def open_walk(
        engine: Engine,
        token_ids: Sequence[int],
        cancel: threading.Event | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> FakeWalk:
        del engine, cancel
        walk.asked.append(("open", len(token_ids), 0, 0))
        report(1.0)
        return walk

    return open_walk
