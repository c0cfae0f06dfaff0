"""The data of one step through a model: what is shown of it, whoever shows it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from llama_chat.alteration import Alteration
    from llama_chat.events import Engine

Cell: TypeAlias = str | int | float
GridKind: TypeAlias = Literal["signed", "share"]

LETTERS = {
    "T": "tokens",
    "S": "tokens looked at",
    "D": "width",
    "H": "query heads",
    "G": "key/value heads",
    "K": "head size",
    "P": "pairs",
    "F": "feed-forward width",
    "L": "layers",
    "V": "vocabulary",
}
"""The axes of every tensor that is shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the walk, whatever the model."""

    name: str
    """As `--step` has it."""
    title: str
    formula: str
    in_layer: bool = False
    """Whether every layer does it."""
    in_head: bool = False
    """Whether every head does it."""


@dataclass(frozen=True, slots=True)
class TensorShape:
    """The name of a tensor and the lengths of its axes."""

    name: str
    axes: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """`[T 5, K 64]`."""
        return f"[{', '.join(f'{letter} {size:,}' for letter, size in self.axes)}]"


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a grid."""

    letter: str
    size: int
    labels: tuple[str, ...] = ()
    """Of tokens and heads; the others are numbered from 0."""

    @property
    def name(self) -> str:
        """What the letter stands for."""
        return LETTERS[self.letter]

    def label(self, n: int) -> str:
        """The token, or its number."""
        return self.labels[n] if self.labels else str(n)


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix of numbers, to be drawn as a heat map."""

    title: str
    rows: Axis
    columns: Axis
    values: array[float]
    """Row by row, f32. -inf is what the mask cut; NaN does not occur."""
    kind: GridKind
    """`signed` numbers, or `share`s between 0 and 1."""
    full: float
    """The size that is drawn at full strength. Of many signed numbers some are beyond: streams of Llamas have
    a few that are hundreds of times the others, and whole rows of such; they would leave all else white."""
    least: float
    most: float
    """The range; what is cut does not count."""
    coarser: tuple[Grid, ...] = ()
    """Of a large one: the strongest of each 2 x 2 numbers, then of each 4 x 4, and so on."""

    def value(self, row: int, column: int) -> float:
        """One number."""
        return self.values[row * self.columns.size + column]

    def row(self, row: int) -> array[float]:
        """A row of numbers."""
        return self.values[row * self.columns.size : (row + 1) * self.columns.size]


@dataclass(frozen=True, slots=True)
class Arrow:
    """A pair of a query or key before and after RoPE has turned it."""

    pair: int
    position: int
    degrees: float
    """Turned by, of all full turns."""
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts and numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One of several numbers that are compared."""

    label: str
    value: float
    text: str
    """The number as it is shown."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Numbers side by side, the first being the largest."""

    title: str
    bars: tuple[Bar, ...]

    @property
    def largest(self) -> float:
        """What the longest bar stands for; numbers below zero have none."""
        return max(*(bar.value for bar in self.bars), 0.0) or 1.0


@dataclass(frozen=True, slots=True)
class StepView:
    """One step with the numbers of a model on a text."""

    step: Step
    number: int
    """From 1; 0 for what is no step of the walk."""
    layer: int | None
    """From 0; None where it is outside the layers."""
    head: int | None
    sentences: tuple[str, ...]
    """What happens, in plain words with these numbers."""
    shapes: tuple[TensorShape, ...]
    grids: tuple[Grid, ...] = ()
    tables: tuple[Table, ...] = ()
    bars: tuple[Bars, ...] = ()
    arrows: tuple[Arrow, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the logits of the single steps are from those of the path that chats run on."""

    largest: float
    """In logits."""
    kl: float
    """Of the distributions, in nats."""
    is_same_top: bool
    """Whether the likeliest token is the same."""


@dataclass(frozen=True, slots=True)
class ComparedToken:
    """A next token as the model is, and with heads or layers altered."""

    token_id: int
    label: str
    before: float
    """Its share as the model is."""
    after: float
    rank_before: int
    """From 1."""
    rank_after: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an alteration does to the next token."""

    alteration: str
    """Its signature: `L3.H4×0`."""
    words: str
    """`layer 3 head 4 off`."""
    kl_bits: float
    """Of the altered distribution from the one as it is."""
    likeliest: tuple[ComparedToken, ...]
    """Of both, in the order that they have as the model is."""
    risen: tuple[ComparedToken, ...]
    """Whose share rose most, the most first."""
    fallen: tuple[ComparedToken, ...]


@dataclass(frozen=True, slots=True)
class WalkFacts:
    """What all the steps have in common."""

    model: str
    dtype: str
    device: str
    token_ids: tuple[int, ...]
    labels: tuple[str, ...]
    """Of the tokens, safe and in one line each."""
    sizes: tuple[tuple[str, int], ...]
    """By letter, as `LETTERS` has them."""
    altered: str = ""
    """Which heads and layers are off or scaled, in words; empty: none."""

    def size(self, letter: str) -> int:
        """The length of the axis."""
        return dict(self.sizes)[letter]


@dataclass(frozen=True, slots=True)
class Look:
    """How much one head looks from one token at another."""

    layer: int
    head: int
    share: float


class Walker(Protocol):
    """A walk that can be asked for any step; what it computes with stays behind it."""

    @property
    def facts(self) -> WalkFacts:
        """The model, the text, the sizes."""
        ...

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        ...

    def step(self, name: str, layer: int = 0, head: int = 0) -> StepView:
        """One step; layer and head count from 0 and are passed over where the step has none."""
        ...

    def until(self, position: int) -> Walker:
        """The walk of the text up to that token, it included; what it has in common is not computed again."""
        ...

    def difference(self) -> Difference:
        """How far the single steps are from the path of chats, which is run once for it."""
        ...

    @property
    def alteration(self) -> Alteration:
        """With which heads and layers off or scaled it is taken."""
        ...

    def altered(self, alteration: Alteration) -> Walker:
        """The same walk with these; what comes before the first of them is not computed again."""
        ...

    def comparison(self) -> Comparison | None:
        """What the alteration does to the next token; None where there is none."""
        ...

    def head_effects(self, report: Callable[[float], None] = ...) -> StepView:
        """What each head does to the next token, as a heat map; takes a pass for each of them."""
        ...

    def heads_looking_at(self, target: int, at: int = -1, count: int = 5) -> tuple[Look, ...]:
        """The heads that look most at the token `target` from the token `at`, the strongest first."""
        ...

    def mean_attention(self, at: int = -1) -> tuple[float, ...]:
        """The share of every token in what the token `at` looks at, the mean over all layers and heads."""
        ...

    def rollout(self, at: int = -1) -> tuple[float, ...]:
        """The share of every token in what has come to the token `at` through all layers."""
        ...


class WalkOpener(Protocol):
    """How a screen gets a walk, on the thread of the engine; the composition root hands it in."""

    def __call__(
        self,
        engine: Engine,
        token_ids: Sequence[int],
        cancel: threading.Event | None = None,
        report: Callable[[float], None] = ...,
    ) -> Walker:
        """The walk through these ids; `report` hears the fraction that is done.

        Raises:
            LlamaChatError: the model cannot be looked into, the text is too long, the logits are no numbers.
        """
        ...
