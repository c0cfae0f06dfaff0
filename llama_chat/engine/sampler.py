"""Logits to the next token, and what else it could have been.

The order is that of transformers: repetition penalty, temperature, top-k, top-p, min-p. What survives is
always a prefix of the vocabulary sorted by penalised logit, so each filter is a length.

Chance is a pure function: the choice is argmax(reshaped logit + g) with Gumbel noise g from an integer hash
of (reply seed, index in the reply, token id). The same logits give the same token on every machine, and a
tiny change of the logits changes the choice only where two candidates are nearly tied.

Shapes: V the vocabulary, C = 64 candidates.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.errors import ModelError
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Candidates, Sampling

TAIL_BINS = 512
"""64 logits below the best; what is lower counts into the last bin."""

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen token and its place among the others."""

    token_id: int
    logprob: float
    """Natural logarithm of its probability at temperature 1, after the penalty, nothing cut."""
    rank: int
    candidates: Candidates


def choose(logits_V: Tensor, sampling: Sampling, *, seed: int, index: int, seen_ids: Tensor | None) -> Choice:
    """The next token.

    Args:
        logits_V: f32, as the network gave them.
        sampling: the settings that count for this token.
        seed: of the reply.
        index: of the token in the reply; the noise depends on it, not on what was drawn before.
        seen_ids: int64, ids already in the context (repeats do no harm); needed for the penalty only.

    Raises:
        ModelError: the logits hold NaN.
    """
    penalised_V = penalise(logits_V, seen_ids, sampling.repetition_penalty)
    best_C, ids_C = _likeliest(penalised_V)
    logsumexp = float(penalised_V.logsumexp(0))
    if math.isnan(logsumexp):
        raise ModelError(
            f"The model gave no number (NaN) as the logit of token {index} of the reply",
            hint="Its weights may be damaged, or the precision too low for it: try --dtype f32.",
        )
    token_id = _pick(penalised_V, best_C, ids_C, sampling, seed, index)
    return describe(logits_V, penalised_V, best_C, ids_C, token_id, logsumexp)


def describe(
    logits_V: Tensor, penalised_V: Tensor, best_C: Tensor, ids_C: Tensor, token_id: int, logsumexp: float
) -> Choice:
    """The token's logarithmic probability and exact rank, with the candidates and the tail around it."""
    value = penalised_V[token_id]
    ahead = (penalised_V > value).sum() + (penalised_V[:token_id] == value).sum()
    counts, tail_logsumexp = _tail(penalised_V, best_C, ids_C)
    candidates = Candidates(
        token_ids=array("i", ids_C.tolist()),
        logits=array("f", logits_V[ids_C].tolist()),
        penalised=array("f", best_C.tolist()),
        tail_counts=array("i", counts.tolist()),
        tail_logsumexp=array("f", tail_logsumexp.tolist()),
        logsumexp=logsumexp,
    )
    return Choice(token_id, float(value) - logsumexp, int(ahead) + 1, candidates)


def penalise(logits_V: Tensor, seen_ids: Tensor | None, penalty: float) -> Tensor:
    """The logits with those of seen tokens divided by the penalty (multiplied, where negative)."""
    if penalty == 1.0 or seen_ids is None or not len(seen_ids):
        return logits_V
    seen = logits_V[seen_ids]
    return logits_V.scatter(0, seen_ids, torch.where(seen > 0, seen / penalty, seen * penalty))


def _likeliest(penalised_V: Tensor) -> tuple[Tensor, Tensor]:
    """The C largest logits, falling, and their ids; of equal ones the smaller id comes first."""
    values, ids = penalised_V.topk(min(CANDIDATE_COUNT, len(penalised_V)))
    by_id = ids.argsort()
    order = by_id[values[by_id].argsort(descending=True, stable=True)]
    return values[order], ids[order]


def _pick(
    penalised_V: Tensor, best_C: Tensor, ids_C: Tensor, sampling: Sampling, seed: int, index: int
) -> int:
    if sampling.is_greedy:
        return int(ids_C[0])
    scaled_V = penalised_V / sampling.temperature
    kept = count_kept(best_C / sampling.temperature, sampling, scaled_V)
    if kept < len(best_C) or kept == sampling.top_k == len(best_C):
        scaled, ids = best_C[:kept] / sampling.temperature, ids_C[:kept]
    elif _keeps_all(sampling, len(scaled_V)):
        scaled, ids = scaled_V, torch.arange(len(scaled_V), device=scaled_V.device)
    else:
        # More is kept than the candidates hold: the whole vocabulary has to be sorted (5 ms).
        order = scaled_V.argsort(descending=True, stable=True)
        ids = order[: count_kept(scaled_V[order], sampling, scaled_V)]
        scaled = scaled_V[ids]
    return int(ids[(scaled + gumbel(seed, index, ids)).argmax()])


def _keeps_all(sampling: Sampling, vocab_size: int) -> bool:
    return not 0 < sampling.top_k < vocab_size and sampling.top_p >= 1 and sampling.min_p <= 0


def count_kept(sorted_logits: Tensor, sampling: Sampling, scaled_V: Tensor) -> int:
    """How many of the sorted logits survive top-k, top-p and min-p.

    Args:
        sorted_logits: divided by the temperature, falling; all of them or the first ones. Equal to its
            length, the answer means "at least so many".
        sampling: the settings.
        scaled_V: all logits, divided by the temperature.
    """
    kept = len(sorted_logits)
    if 0 < sampling.top_k < kept:
        kept = sampling.top_k
    if sampling.top_p < 1:
        # Probabilities among what top-k left; a token stays while those ahead of it do not reach top_p.
        cut_by_k = 0 < sampling.top_k <= len(sorted_logits)
        total = sorted_logits[:kept].logsumexp(0) if cut_by_k else _survivors(scaled_V, sampling.top_k)
        probabilities = (sorted_logits[:kept] - total).exp()
        ahead = probabilities.cumsum(0) - probabilities
        kept = max(1, int((ahead < sampling.top_p).sum()))
    if sampling.min_p > 0:
        threshold = sorted_logits[0] + math.log(sampling.min_p)
        kept = max(1, int((sorted_logits[:kept] >= threshold).sum()))
    return kept


def _survivors(scaled_V: Tensor, top_k: int) -> Tensor:
    """Log-sum-exp of what a top-k beyond the candidates leaves."""
    if 0 < top_k < len(scaled_V):
        return scaled_V.topk(top_k).values.logsumexp(0)
    return scaled_V.logsumexp(0)


def _tail(penalised_V: Tensor, best_C: Tensor, ids_C: Tensor) -> tuple[Tensor, Tensor]:
    """Counts and log-sum-exp per 1/8 logit below the best, of everything that is no candidate."""
    below_V = best_C[0] - penalised_V
    bins_V = (below_V * TAIL_BINS_PER_LOGIT).clamp_(max=TAIL_BINS - 1).long()
    weights_V = below_V.neg_().exp_().scatter_(0, ids_C, 0.0)
    counts = torch.bincount(bins_V, minlength=TAIL_BINS) - torch.bincount(bins_V[ids_C], minlength=TAIL_BINS)
    sums = torch.bincount(bins_V, weights=weights_V, minlength=TAIL_BINS)
    used = int(counts.nonzero().max()) + 1 if bool(counts.any()) else 0
    return counts[:used], sums[:used].log() + best_C[0]


# --- chance ----------------------------------------------------------------------------------------


def gumbel(seed: int, index: int, ids: Tensor) -> Tensor:
    """Gumbel noise for the ids, f32: -log(-log(u)) with u from a hash of (seed, index, id).

    Computed as -log(-log1p(-v)) with v = 1 - u from 32 bits, so that the large values, which decide, are
    the exact ones. v stays below 1 in f32.
    """
    v = (hash32(seed, index, ids).float() + 0.5) * 2.0**-32
    return -torch.log(-torch.log1p(-v.clamp_(max=1 - 2.0**-24)))


def hash32(seed: int, index: int, ids: Tensor) -> Tensor:
    """A hash below 2**32 of each id, int64.

    The key is splitmix64 of seed and index; the ids pass two rounds of a 32-bit mixer (constants of
    "lowbias32", Chris Wellons, public domain) in 64-bit integers, which wrap alike on every device.
    """
    key = _splitmix64(_splitmix64(seed & _MASK64) ^ (index & _MASK64))
    return _mix32(_mix32(ids.long() ^ (key & _MASK32)) ^ (key >> 32))


def _splitmix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def _mix32(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK32
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)
