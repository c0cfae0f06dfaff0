"""A model with heads or layers switched off or scaled, as data: its text, and who can run like that.

Layers and heads count from 0 here, and from 1 wherever they are written: `L3.H4×0` is the fourth head of the
third layer, switched off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from llama_chat.errors import ModelError, UsageError

MOST_SCALE = 10.0
"""Beyond this, either way, a model says nothing that could be read."""

_PART = re.compile(r"L(\d{1,4})(?:\.?H(\d{1,4}))?(?:[×X*=:](.+))?", re.IGNORECASE | re.ASCII)
_SCALE = re.compile(r"[×X*=]?([+-]?(?:\d{1,3}(?:\.\d{1,4})?|\.\d{1,4})|OFF|ON)", re.IGNORECASE | re.ASCII)
_WORDS = {"off": 0.0, "on": 1.0}
_EXAMPLE = "For example: L3.H4 (head 4 of layer 3 off), L7 (layer 7 off), L7 0.5 (half of it)."


@dataclass(frozen=True, slots=True)
class Alteration:
    """What heads and layers give, by which factor; those that are not named are as they are.

    A head's share of its layer's output, or all that a layer adds to the stream, times the factor.
    """

    heads: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """By layer and head."""
    layers: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scales = (*self.heads.values(), *self.layers.values())
        assert all(math.isfinite(scale) and abs(scale) <= MOST_SCALE for scale in scales)
        heads = {place: scale for place, scale in sorted(self.heads.items()) if scale != 1.0}
        layers = {layer: scale for layer, scale in sorted(self.layers.items()) if scale != 1.0}
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "layers", layers)

    def __bool__(self) -> bool:
        return bool(self.heads or self.layers)

    def __hash__(self) -> int:
        return hash(self.signature)

    @property
    def signature(self) -> str:
        """All of it in a text that `parse_alteration` reads: `L3.H4×0 L7×0.5`; empty for none."""
        parts = [((layer, -1), scale) for layer, scale in self.layers.items()] + [*self.heads.items()]
        return " ".join(f"{_short(*place)}×{_number(scale)}" for place, scale in sorted(parts))

    @property
    def words(self) -> str:
        """`layer 3 head 4 off, layer 7 × 0.5`; empty for none."""
        parts = [((layer, -1), scale) for layer, scale in self.layers.items()] + [*self.heads.items()]
        return ", ".join(f"{_long(*place)} {_how(scale)}" for place, scale in sorted(parts))

    @property
    def first_layer(self) -> int:
        """The first one in which anything is otherwise; a stream up to there is as it was."""
        return min((*self.layers, *(layer for layer, _ in self.heads)), default=0)

    def with_head(self, layer: int, head: int, scale: float) -> Alteration:
        """The same with this factor for the head; 1 takes it out."""
        return Alteration({**self.heads, (layer, head): scale}, self.layers)

    def with_layer(self, layer: int, scale: float) -> Alteration:
        """The same with this factor for the layer; 1 takes it out."""
        return Alteration(self.heads, {**self.layers, layer: scale})

    def and_then(self, other: Alteration) -> Alteration:
        """Both; where they speak of the same, the other one counts."""
        return Alteration({**self.heads, **other.heads}, {**self.layers, **other.layers})

    def check(self, n_layers: int, n_heads: int) -> None:
        """Raises `UsageError` where a model of so many layers and heads does not have what is named."""
        for layer in (*self.layers, *(layer for layer, _ in self.heads)):
            _check("layer", layer, n_layers)
        for _, head in self.heads:
            _check("head", head, n_heads)


UNALTERED = Alteration()


def parse_alteration(text: str) -> Alteration:
    """What a signature or a user's words say: `L3.H4×0 L7×0.5`, `l3.h4, L7 0.5`, `L3 off`.

    What has no factor is switched off.

    Raises:
        UsageError: a word is none of that.
    """
    return _alteration(parse_parts(text))


def parse_parts(text: str) -> dict[tuple[int, int], float]:
    """Factors by layer and head, the head -1 for a whole layer; a factor of 1 is among them.

    Raises:
        UsageError: as `parse_alteration`.
    """
    found: dict[tuple[int, int], float] = {}
    open_: tuple[int, int] | None = None
    for word in text.replace(",", " ").split():
        if (match := _PART.fullmatch(word)) is not None:
            open_ = (_place("layer", match[1]), -1 if match[2] is None else _place("head", match[2]))
            found[open_] = 0.0 if match[3] is None else _scale(match[3])
            open_ = open_ if match[3] is None else None
        elif open_ is not None:
            found[open_] = _scale(word)
            open_ = None
        else:
            raise UsageError(f"{word!r} is no head and no layer.", hint=_EXAMPLE)
    return found


def changed_by(before: Alteration, text: str) -> Alteration:
    """What is altered after these words, too; `L3.H4 on` takes out what was put in.

    Raises:
        UsageError: as `parse_alteration`.
    """
    for (layer, head), scale in parse_parts(text).items():
        is_layer = head < 0
        before = before.with_layer(layer, scale) if is_layer else before.with_head(layer, head, scale)
    return before


def _alteration(parts: Mapping[tuple[int, int], float]) -> Alteration:
    heads = {place: scale for place, scale in parts.items() if place[1] >= 0}
    return Alteration(heads, {layer: scale for (layer, head), scale in parts.items() if head < 0})


def _place(what: str, text: str) -> int:
    number = int(text)
    if number < 1:
        raise UsageError(f"There is no {what} {number}: they count from 1.", hint=_EXAMPLE)
    return number - 1


def _scale(text: str) -> float:
    match = _SCALE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no factor.", hint=_EXAMPLE)
    word = match[1].lower()
    scale = _WORDS[word] if word in _WORDS else float(word) or 0.0  # -0 is 0
    if abs(scale) > MOST_SCALE:
        raise UsageError(f"A factor of {text} is too much.", hint=f"Take one up to {MOST_SCALE:g}.")
    return scale


def _check(what: str, place: int, count: int) -> None:
    if place >= count:
        raise UsageError(
            f"There is no {what} {place + 1}: the model has {count:,} {what}{'s' * (count != 1)}.",
            hint=f"They count from 1 to {count:,}.",
        )


def _number(scale: float) -> str:
    """The shortest text that is read as the same number."""
    return str(int(scale)) if scale == int(scale) else repr(scale)


def _short(layer: int, head: int) -> str:
    return f"L{layer + 1}" if head < 0 else f"L{layer + 1}.H{head + 1}"


def _long(layer: int, head: int) -> str:
    return f"layer {layer + 1}" if head < 0 else f"layer {layer + 1} head {head + 1}"


def _how(scale: float) -> str:
    return "off" if scale == 0 else f"× {_number(scale)}"


# --- who can be altered -----------------------------------------------------------------------------------


@runtime_checkable
class Alterable(Protocol):
    """An engine whose network can run altered."""

    @property
    def alteration(self) -> Alteration:
        """How it runs."""
        ...

    def alter(self, alteration: Alteration) -> None:
        """Run like this from the next reply on; what is in the cache of another alteration is let go.

        Raises:
            ModelError: this network cannot be altered.
            UsageError: it has no such layer or head.
        """
        ...

    def check_alteration(self, alteration: Alteration) -> None:
        """Raises what `alter` would; may be asked by any thread, at any time."""
        ...


def alteration_of(engine: object) -> Alteration:
    """How the engine runs."""
    return engine.alteration if isinstance(engine, Alterable) else UNALTERED


def alter_engine(engine: object, alteration: Alteration) -> None:
    """Let it run like this.

    Raises:
        ModelError: it cannot be altered.
        UsageError: it has no such layer or head.
    """
    if isinstance(engine, Alterable):
        engine.alter(alteration)
    elif alteration:
        raise ModelError(
            "This model cannot be altered.", hint="It takes the from-scratch engine: --engine auto."
        )


@contextmanager
def altered_as(engine: object, alteration: Alteration) -> Iterator[None]:
    """Work during which the engine runs like this; afterwards it does as before.

    Raises:
        LlamaChatError: as `alter_engine`.
    """
    before = alteration_of(engine)
    if alteration == before:
        yield
        return
    alter_engine(engine, alteration)
    try:
        yield
    finally:
        alter_engine(engine, before)


def altered_as_begun(engine: object, signature: str | None) -> AbstractContextManager[None]:
    """As `altered_as`, by the signature in a reply's plan; where there is none, the engine runs as it does.

    Raises:
        LlamaChatError: as `altered_as`, or the signature came out of a file and says nothing.
    """
    return nullcontext() if signature is None else altered_as(engine, parse_alteration(signature))
