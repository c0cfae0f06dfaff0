"""Where two runs of a reply first differ, and whether only rounding is between them: a near tie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.events import Event, Finished, Sampling, Token
from llama_chat.rerun.edge import edge_of
from llama_chat.rerun.margin import NEAR_TIE_LOGITS, Draw, margin_of


@dataclass(frozen=True)
class Parting:
    """The first place at which they chose otherwise."""

    place: int
    one: Token
    other: Token
    logits: float
    """By how much the one's choice was ahead of the other's, noise included; or from a filter's edge."""
    is_near: bool
    how: str

    def __str__(self) -> str:
        verdict = "near tie" if self.is_near else "NO near tie"
        return (
            f"token {self.place}: {self.one.piece!r} or {self.other.piece!r}, "
            f"{self.logits:.3f} logits {self.how}: {verdict}"
        )


def choices_of(events: Sequence[Event]) -> list[Token]:
    """The tokens, and the end that was chosen."""
    *tokens, last = events
    assert isinstance(last, Finished), last
    found = [event for event in tokens if isinstance(event, Token)]
    return found if last.end is None else [*found, last.end]


def parting_of(one: Sequence[Token], other: Sequence[Token], sampling: Sampling, seed: int) -> Parting | None:
    """Where the choices part; None where they are the same to their end."""
    pairs = zip(one, other, strict=False)
    place = next((n for n, (a, b) in enumerate(pairs) if a.token_id != b.token_id), None)
    if place is None:
        return None
    ours, theirs = one[place], other[place]
    draw = Draw(sampling, seed, place)
    found = []
    for chosen, against in ((ours, theirs), (theirs, ours)):  # the filters may have cut it in one run only
        margin = margin_of(chosen, against.token_id, against.logprob, draw)
        if not margin.is_cut:
            found.append((margin.logits, "apart"))
        edge = edge_of(chosen, against.token_id, sampling, seed, NEAR_TIE_LOGITS)
        if edge is not None:
            found.append((edge.logits, f"from the edge of {edge.name}"))
    logits, how = min(found, default=(float("inf"), "apart"))
    return Parting(place, ours, theirs, logits, logits <= NEAR_TIE_LOGITS, how)
