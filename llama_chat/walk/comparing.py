"""The next token with heads or layers altered, beside what the model says as it is.

Shapes: V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llama_chat.alteration import Alteration
from llama_chat.drawing.views import Bar, Bars, ComparedToken, Comparison, Table
from llama_chat.walk.plain import percent, quoted
from llama_chat.walk.scene import Scene

_LIKELIEST = 8
"""Of each of the two."""
_MOVED = 5
_PAIRS = 6


@torch.inference_mode()
def comparison_of(scene: Scene) -> Comparison | None:
    """Of the altered walk with the same one as the model is; None where nothing is altered."""
    if not scene.alteration:
        return None
    return compare(scene, scene.plain.logits, scene.passed.logits, scene.alteration)


def compare(scene: Scene, before_V: Tensor, after_V: Tensor, alteration: Alteration) -> Comparison:
    """Of the logits of the last position."""
    before, after = (logits_V.cpu().double().log_softmax(-1) for logits_V in (before_V, after_V))
    ranks = [_ranks(logprobs_V) for logprobs_V in (before, after)]
    shares = before.exp(), after.exp()
    change_V = shares[1] - shares[0]
    count = len(change_V)

    def told(ids: Tensor) -> tuple[ComparedToken, ...]:
        return tuple(
            ComparedToken(
                token_id,
                scene.label(token_id),
                before=float(shares[0][token_id]),
                after=float(shares[1][token_id]),
                rank_before=int(ranks[0][token_id]),
                rank_after=int(ranks[1][token_id]),
            )
            for token_id in ids.tolist()
        )

    top = torch.cat([share_V.topk(min(_LIKELIEST, count)).indices for share_V in shares]).unique()
    top = top[shares[0][top].argsort(descending=True)]
    moved = min(_MOVED, count)
    risen, fallen = (sign * change_V for sign in (1, -1))
    return Comparison(
        alteration=alteration.signature,
        words=alteration.words,
        kl_bits=kl_bits(before, after),
        likeliest=told(top),
        risen=told(_above_zero(risen, moved)),
        fallen=told(_above_zero(fallen, moved)),
    )


def kl_bits(before_V: Tensor, after_V: Tensor) -> float:
    """How far the second distribution is from the first, both as log-probabilities: KL(first ‖ second)."""
    return max(0.0, float((before_V.exp() * (before_V - after_V)).sum()) / math.log(2))


def _above_zero(change_V: Tensor, most: int) -> Tensor:
    top = change_V.topk(most)
    return top.indices[top.values > 0]


def _ranks(logprobs_V: Tensor) -> Tensor:
    """By token, from 1."""
    ranks_V = torch.empty(len(logprobs_V), dtype=torch.int64)
    ranks_V[logprobs_V.argsort(descending=True, stable=True)] = torch.arange(1, len(logprobs_V) + 1)
    return ranks_V


def comparison_sentence(found: Comparison) -> str:
    """What the alteration does to the next token, in words."""
    moves = []
    if found.fallen:
        moves.append(_moved("falls", found.fallen[0]))
    if found.risen:
        moves.append(_moved("rises", found.risen[0]))
    said = ", ".join(moves) or "nothing moves"
    first, second = (min(found.likeliest, key=key) for key in (_rank_before, _rank_after))
    same = f"{quoted(first.label)} stays the likeliest"
    if first.token_id != second.token_id:
        same = f"{quoted(second.label)} takes the first place from {quoted(first.label)}"
    return f"With {found.words}: {said}; {same}. The two are {found.kl_bits:.3g} bits apart (KL)."


def comparison_bars(found: Comparison) -> Bars:
    """The likeliest tokens of both, each as it is and below that altered."""
    likeliest = sorted(found.likeliest, key=lambda token: -max(token.before, token.after))
    bars: list[Bar] = []
    for token in likeliest[:_PAIRS]:
        bars.append(Bar(token.label, token.before, percent(token.before)))
        bars.append(Bar("altered", token.after, percent(token.after)))
    return Bars(f"The likeliest next tokens, as the model is and with {found.words}", tuple(bars))


def comparison_table(found: Comparison) -> Table:
    """The likeliest tokens of both."""
    rows = tuple(
        (
            token.label,
            f"{100 * token.before:.2f} %",  # in digits alone: columns of numbers stand at their right
            f"{100 * token.after:.2f} %",
            f"{100 * (token.after - token.before):+.1f}",
            _rank_words(token),
        )
        for token in found.likeliest
    )
    titles = ("token", "as it is", "altered", "points", "rank")
    return Table(f"The likeliest next tokens, as the model is and with {found.words}", titles, rows)


def _moved(verb: str, token: ComparedToken) -> str:
    return f"{quoted(token.label)} {verb} from {percent(token.before)} to {percent(token.after)}"


def _rank_words(token: ComparedToken) -> str:
    before, after = f"{token.rank_before:,}", f"{token.rank_after:,}"
    return before if before == after else f"{before} → {after}"


def _rank_before(token: ComparedToken) -> int:
    return token.rank_before


def _rank_after(token: ComparedToken) -> int:
    return token.rank_after
