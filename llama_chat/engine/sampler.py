"""Logits to the next token, and what else it could have been.

The order is that of transformers: repetition penalty, temperature, top-k, top-p, min-p. What survives is
always a prefix of the vocabulary sorted by penalised logit, so each filter is a length.

Chance is a pure function: the choice is argmax(reshaped logit + g) with Gumbel noise g from an integer hash
of (reply seed, index in the reply, token id). The same logits give the same token on every machine, and a
tiny change of the logits changes the choice only where two candidates are nearly tied. `chance` does the
same for a few candidates without numpy.

All of it runs in numpy: most steps are tiny, and torch takes longer to start one than numpy to do it. A
choice out of 49,152 takes 0.7 ms, in torch it took 1.5 (a busy machine, 2026-11-22). Where the logits are on
a GPU, `device_sampler` does the same there.

Shapes: V the vocabulary, C = 64 candidates, N any number of ids.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llama_chat.chance import SMALLEST_TEMPERATURE, noise_key
from llama_chat.errors import ModelError
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Candidates, Sampling

TAIL_BINS = 512
"""64 logits below the best; what is lower counts into the last bin."""

_MORE_CANDIDATES = 1024  # tried before the whole vocabulary is sorted: 0.13 ms, against 5 ms
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
TokenIds: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen token and its place among the others."""

    token_id: int
    logprob: float
    """Natural logarithm of its probability at temperature 1, after the penalty, nothing cut."""
    rank: int
    candidates: Candidates


def choose(
    logits_V: Tensor, sampling: Sampling, *, seed: int, index: int, seen_ids: Sequence[int] = ()
) -> Choice:
    """The next token.

    Args:
        logits_V: as the network gave them, on any device.
        sampling: the settings that count for this token.
        seed: of the reply.
        index: of the token in the reply; the noise depends on it, not on what was drawn before.
        seen_ids: already in the context (repeats do no harm); needed for the penalty only.

    Raises:
        ModelError: the logits hold NaN or infinity, or are all -infinity.
    """
    raw_V: Floats = logits_V.detach().float().cpu().numpy()
    penalised_V = penalise(raw_V, seen_ids, sampling.repetition_penalty)
    check_best(float(penalised_V.max()), index)
    candidate_ids = likeliest(penalised_V, CANDIDATE_COUNT)
    ids, scaled = survivors(penalised_V, candidate_ids, sampling)
    token_id = int(ids[(scaled + gumbel(seed, index, ids)).argmax()])
    return describe(raw_V, penalised_V, candidate_ids, token_id)


def describe_given(
    logits_V: Tensor,
    sampling: Sampling,
    token_id: int,
    index: int,
    seen_ids: Sequence[int],
    *,
    of: str = "reply",
) -> Choice:
    """A token that the user chose, and its place among what the model would have chosen.

    Args:
        logits_V: as `choose` has it, like all but the last.
        sampling: its repetition penalty counts.
        token_id: that was chosen.
        index: of the token.
        seen_ids: before it.
        of: what it is a token of, for errors.

    Raises:
        ModelError: as `choose` has it.
    """
    raw_V: Floats = logits_V.detach().float().cpu().numpy()
    penalised_V = penalise(raw_V, seen_ids, sampling.repetition_penalty)
    check_best(float(penalised_V.max()), index, of)
    return describe(raw_V, penalised_V, likeliest(penalised_V, CANDIDATE_COUNT), token_id)


def check_best(best: float, index: int, of: str = "reply") -> None:
    """Raises `ModelError` where the largest logit of the token `index` of a reply is no number."""
    if not math.isfinite(best):
        raise ModelError(
            f"The model gave {_name_of(best)} as the logit of token {index} of the {of}",
            hint="Its weights may be damaged, or the precision too low for it: try --dtype f32.",
        )


def _name_of(best: float) -> str:
    return "no number (NaN)" if math.isnan(best) else "infinity" if best > 0 else "-infinity"


def penalise(logits_V: Floats, seen_ids: Sequence[int], penalty: float) -> Floats:
    """The logits with those of seen tokens divided by the penalty (multiplied, where negative)."""
    if penalty == 1.0 or not len(seen_ids):
        return logits_V
    ids = np.asarray(seen_ids, dtype=np.int64)
    seen = logits_V[ids]
    penalised_V = logits_V.copy()
    penalised_V[ids] = np.where(seen > 0, seen / penalty, seen * penalty)
    return penalised_V


def likeliest(values_V: Floats, count: int) -> TokenIds:
    """The ids of the `count` largest values, the largest first; of equal ones the smaller id comes first.

    The count-th largest of the maxima of many groups is a floor that the `count` largest values reach, and
    few others do. Equal logits are common (they come out of a bf16 product), so which of them are among the
    candidates must not be left to chance, as torch.topk leaves it.
    """
    n_groups = 8 * count
    width = len(values_V) // n_groups
    if width < 2:
        return np.argsort(-values_V, kind="stable")[:count]
    maxima = values_V[: width * n_groups].reshape(width, n_groups).max(axis=0)
    floor = np.partition(maxima, -count)[-count]
    ids = np.flatnonzero(values_V >= floor)
    return ids[np.argsort(-values_V[ids], kind="stable")[:count]]


def survivors(penalised_V: Floats, candidate_ids: TokenIds, sampling: Sampling) -> tuple[TokenIds, Floats]:
    """What may be chosen: ids [N] and their logits relative to the best, divided by the temperature [N].

    The softmax of the latter is the distribution that the token is drawn from.

    Args:
        penalised_V: after the repetition penalty; its maximum is finite.
        candidate_ids: the first ones of `likeliest`; where they do not reach, more are sorted out.
        sampling: temperature, top-k, top-p and min-p of it count.
    """
    if sampling.is_greedy:
        return candidate_ids[:1], np.zeros(1, np.float32)
    vocab_size = len(penalised_V)
    top_k = min(sampling.top_k, vocab_size) or vocab_size

    def scale(values: Floats) -> Floats:
        with np.errstate(over="ignore"):
            below: Floats = values - penalised_V[candidate_ids[0]]
            return below / max(sampling.temperature, SMALLEST_TEMPERATURE)

    if top_k == vocab_size and sampling.top_p >= 1 and sampling.min_p <= 0:
        return np.arange(vocab_size), scale(penalised_V)
    total = float(np.exp(scale(penalised_V)).sum()) if top_k == vocab_size and sampling.top_p < 1 else None
    ids = candidate_ids
    while True:
        scaled = scale(penalised_V[ids[:top_k]])
        kept = _count_kept(scaled, sampling, total)
        # Without a total, the share of what top-k leaves is known only once all of that is there.
        if len(ids) >= top_k or (kept < len(ids) and (total is not None or sampling.top_p >= 1)):
            return ids[:kept], scaled[:kept]
        ids = likeliest(penalised_V, _MORE_CANDIDATES if len(ids) < _MORE_CANDIDATES else vocab_size)


def _count_kept(scaled: Floats, sampling: Sampling, total: float | None) -> int:
    """How many of the falling logits, the first of those that top-k leaves, survive top-p and min-p.

    `total` is the sum of exp over all that top-k leaves; None: these are all.
    """
    kept = len(scaled)
    if sampling.top_p < 1:
        # A token stays while the probabilities of those ahead of it do not reach top_p.
        weights = np.exp(scaled.astype(np.float64))
        ahead = weights.cumsum() - weights
        kept = max(1, int((ahead < sampling.top_p * (weights.sum() if total is None else total)).sum()))
    if sampling.min_p > 0:
        kept = max(1, int((scaled[:kept] >= math.log(sampling.min_p)).sum()))
    return kept


# --- what it could have been -----------------------------------------------------------------------


def describe(logits_V: Floats, penalised_V: Floats, candidate_ids: TokenIds, token_id: int) -> Choice:
    """The token's logarithmic probability and exact rank, with the candidates and the tail around it."""
    best_C = penalised_V[candidate_ids]
    best = float(best_C[0])
    below_V: Floats = best_C[0] - penalised_V
    weights_V: Floats = np.exp(-below_V)
    logsumexp = best + math.log(float(weights_V.sum()))
    counts, sums = _tail(below_V, weights_V, candidate_ids)
    with np.errstate(divide="ignore"):
        tail_logsumexp = best + np.log(sums)
    candidates = Candidates(
        token_ids=array("i", candidate_ids.astype(np.int32).tobytes()),
        logits=array("f", logits_V[candidate_ids].tobytes()),
        penalised=array("f", best_C.tobytes()),
        tail_counts=array("i", counts.astype(np.int32).tobytes()),
        tail_logsumexp=array("f", tail_logsumexp.astype(np.float32).tobytes()),
        logsumexp=logsumexp,
    )
    rank = _rank(penalised_V, candidate_ids, token_id)
    return Choice(token_id, float(penalised_V[token_id]) - logsumexp, rank, candidates)


def _rank(penalised_V: Floats, candidate_ids: TokenIds, token_id: int) -> int:
    """1 for the likeliest; of equal ones the smaller id comes first, as among the candidates."""
    if len(place := np.flatnonzero(candidate_ids == token_id)):
        return int(place[0]) + 1
    value = penalised_V[token_id]
    return int(np.count_nonzero(penalised_V > value) + np.count_nonzero(penalised_V[:token_id] == value)) + 1


def _tail(below_V: Floats, weights_V: Floats, candidate_ids: TokenIds) -> tuple[NDArray[np.intp], Doubles]:
    """The number of tokens but the candidates in each bin, up to the last used, and their weights' sums."""
    bins_V = np.minimum(below_V * TAIL_BINS_PER_LOGIT, TAIL_BINS - 1).astype(np.int64)
    bins_V[candidate_ids] = TAIL_BINS
    counts = np.bincount(bins_V, minlength=TAIL_BINS + 1)[:TAIL_BINS]
    sums = np.bincount(bins_V, weights=weights_V, minlength=TAIL_BINS + 1)[:TAIL_BINS]
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    return counts[:used], sums[:used].astype(np.float64)


# --- chance ----------------------------------------------------------------------------------------


def gumbel(seed: int, index: int, ids: TokenIds) -> Doubles:
    """Gumbel noise for the ids: -log(-log(u)) with u from a hash of (seed, index, id).

    Computed as -log(-log1p(-v)) with v = 1 - u in (0, 1) from 32 bits, so that the large values, which
    decide, are the exact ones.
    """
    v = (hash32(seed, index, ids) + 0.5) * 2.0**-32
    noise: Doubles = -np.log(-np.log1p(-v))
    return noise


def hash32(seed: int, index: int, ids: TokenIds) -> NDArray[np.uint32]:
    """A hash of each id.

    The key is splitmix64 of seed and index; the ids pass two rounds of a 32-bit mixer (constants of
    "lowbias32", Chris Wellons, public domain).
    """
    low, high = noise_key(seed, index)
    return _mix32(_mix32(ids.astype(np.uint32) ^ np.uint32(low)) ^ np.uint32(high))


def _mix32(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
