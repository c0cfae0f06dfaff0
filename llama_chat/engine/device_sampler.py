"""The sampler as one chain of torch operations on the device of the logits; one transfer a token to the host.

It gives what `sampler.choose` gives: the same order of filters, the same noise, the same candidates. On the
CPU numpy is faster (see `sampler`); on a GPU the transfer of all logits and the wait for it would cost more.
Nothing in it depends on values, so that a decode step with it is one graph.

Shapes: V the vocabulary, C = 64 candidates, B the bins of the tail.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from llama_chat.chance import SMALLEST_TEMPERATURE, noise_key
from llama_chat.engine.sampler import TAIL_BINS, Choice, check_best
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Candidates, Sampling

_MASK32 = 0xFFFFFFFF


class Step(NamedTuple):
    """The settings of one token as numbers on the device."""

    settings: Tensor
    """[5]: temperature, top-k, top-p, min-p, penalty; in the dtype that the device computes best in."""
    key_low: int
    key_high: int
    """Halves of the noise's key, from `chance.noise_key`."""


@dataclass(slots=True)
class _Seen:
    """Which tokens are in the context, on the device."""

    ids: list[int]
    mask: Tensor

    def goes_on_in(self, ids: list[int], vocab_size: int, device: torch.device) -> bool:
        """Whether the ids only add to these."""
        fits = self.mask.device == device and self.mask.shape == (vocab_size,)
        return fits and ids[: len(self.ids)] == self.ids


class DeviceSampler:
    """Chooses tokens where the logits are. Keeps what would otherwise be sent again for every token."""

    def __init__(self) -> None:
        self._seen: _Seen | None = None
        self._settings: tuple[tuple[object, ...], Tensor] | None = None

    @torch.inference_mode()
    def choose(
        self,
        logits_V: Tensor,
        sampling: Sampling,
        *,
        seed: int,
        index: int,
        seen_ids: Sequence[int] = (),
    ) -> Choice:
        """The next token, as `sampler.choose` has it.

        Raises:
            ModelError: the logits hold NaN or infinity, or are all -infinity.
        """
        logits_V = logits_V.detach().float()
        is_penalised = sampling.repetition_penalty != 1.0 and len(seen_ids) > 0
        mask_V = self._seen_mask(logits_V, seen_ids) if is_penalised else None
        settings = self._settings_tensor(sampling, len(logits_V), logits_V.device)
        step = Step(settings, *noise_key(seed, index))
        numbers = choose_on_device(logits_V, mask_V, step).cpu()  # the one wait of a decode step
        return _choice_of(numbers, min(CANDIDATE_COUNT, len(logits_V)), index)

    def _settings_tensor(self, sampling: Sampling, vocab_size: int, device: torch.device) -> Tensor:
        """The settings on the device; sent again only when a slider moved."""
        numbers = (
            max(sampling.temperature, SMALLEST_TEMPERATURE),
            1 if sampling.is_greedy else min(sampling.top_k, vocab_size) or vocab_size,
            1.0 if sampling.is_greedy else sampling.top_p,
            0.0 if sampling.is_greedy else sampling.min_p,
            sampling.repetition_penalty,
        )
        key = (device, *numbers)
        if self._settings is None or self._settings[0] != key:
            self._settings = key, torch.tensor(numbers, dtype=widest_float(device), device=device)
        return self._settings[1]

    def _seen_mask(self, logits_V: Tensor, seen_ids: Sequence[int]) -> Tensor:
        """The tokens of the context; a token more is marked without anything being sent. Bool [V]."""
        ids, vocab_size, device = list(seen_ids), len(logits_V), logits_V.device
        seen = self._seen
        if seen is None or not seen.goes_on_in(ids, vocab_size, device):
            seen = _Seen([], torch.zeros(vocab_size, dtype=torch.bool, device=device))
        new = ids[len(seen.ids) :]
        if len(new) == 1:
            seen.mask.index_fill_(0, torch.full((1,), new[0], dtype=torch.int64, device=device), True)
        elif new:
            seen.mask.index_fill_(0, torch.tensor(new, dtype=torch.int64, device=device), True)
        self._seen = _Seen(ids, seen.mask)
        return seen.mask


def widest_float(device: torch.device) -> torch.dtype:
    """f64 where the device has it; Apple's GPUs and some of Intel's have not."""
    if device.type == "mps" or (
        device.type == "xpu" and not torch.xpu.get_device_properties(device).has_fp64
    ):
        return torch.float32
    return torch.float64


# --- on the device ---------------------------------------------------------------------------------


def choose_on_device(logits_V: Tensor, seen_V: Tensor | None, step: Step) -> Tensor:
    """Everything about the chosen token as one row of 32-bit integers, for `_choice_of`.

    Args:
        logits_V: f32.
        seen_V: bool, the tokens that the repetition penalty counts for; None: no penalty.
        step: settings and noise of this token.
    """
    temperature, top_k, top_p, min_p, penalty = step.settings.unbind()
    wide = step.settings.dtype
    penalised_V = logits_V if seen_V is None else _penalised(logits_V, seen_V, penalty.float())
    # Sorted once: every filter keeps a beginning of this order, and a place in it is a rank. Stable, so that
    # of equal logits the smaller id comes first.
    sorted_V, ids_V = torch.sort(penalised_V, descending=True, stable=True)
    below_V = sorted_V - sorted_V[0]
    scaled_V = below_V / temperature.float()
    places_V = torch.arange(len(sorted_V), device=logits_V.device)
    is_kept_V = _survives(scaled_V, places_V, top_k, top_p, min_p)
    noisy_V = scaled_V.to(wide) + _gumbel(step, ids_V, wide)
    # [1], not a number: indexing by a number on the device makes the host wait for it.
    place = torch.where(is_kept_V, noisy_V, -math.inf).argmax(0, keepdim=True)
    # A sum of many small numbers; in f64 where there is one.
    weights_V = below_V.exp()
    logsumexp = sorted_V[:1].to(wide) + weights_V.sum(dtype=wide).log()
    logprob = sorted_V.gather(0, place).to(wide) - logsumexp
    best_C = ids_V[:CANDIDATE_COUNT]
    counts_B, sums_B = _tail(below_V, weights_V, places_V, wide)
    floats = torch.cat(
        [
            logits_V[best_C],
            sorted_V[:CANDIDATE_COUNT],
            (sorted_V[:1].to(wide) + sums_B.log()).float(),
            *_in_two(logsumexp),
            *_in_two(logprob),
            sorted_V[:1],
        ]
    )
    integers = torch.cat([ids_V.gather(0, place), place + 1, best_C, counts_B])
    return torch.cat([integers.to(torch.int32), floats.view(torch.int32)])


def _penalised(logits_V: Tensor, seen_V: Tensor, penalty: Tensor) -> Tensor:
    punished_V = torch.where(logits_V > 0, logits_V / penalty, logits_V * penalty)
    return torch.where(seen_V, punished_V, logits_V)


def _survives(scaled_V: Tensor, places_V: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Which of the falling logits top-k, top-p and min-p leave; the first stays in any case."""
    wide = top_p.dtype
    is_kept_V = places_V < top_k
    weights_V = torch.where(is_kept_V, scaled_V.to(wide).exp(), 0)
    sums_V = weights_V.cumsum(0)
    # A token stays while the probabilities of those ahead of it do not reach top-p; 1 cuts nothing.
    is_kept_V &= (sums_V - weights_V < top_p * sums_V[-1]) | (top_p >= 1)
    is_kept_V &= (scaled_V >= min_p.log().float()) | (min_p <= 0)
    return is_kept_V | (places_V == 0)


def _tail(below_V: Tensor, weights_V: Tensor, places_V: Tensor, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Tokens behind the candidates by bins of 1/8 logit below the best: numbers [B], sums of weights [B]."""
    # NaN is 0, so that no index is out of range: the host says what is wrong with such logits.
    bins_V = (below_V * -TAIL_BINS_PER_LOGIT).nan_to_num(0).clamp(0, TAIL_BINS - 1).to(torch.int64)
    is_tail_V = places_V >= CANDIDATE_COUNT
    counts_B = torch.zeros(TAIL_BINS, dtype=torch.int64, device=bins_V.device)
    counts_B = counts_B.scatter_add(0, bins_V, is_tail_V.to(torch.int64))
    sums_B = torch.zeros(TAIL_BINS, dtype=wide, device=bins_V.device)
    return counts_B, sums_B.scatter_add(0, bins_V, torch.where(is_tail_V, weights_V, 0).to(wide))


def _in_two(value: Tensor) -> tuple[Tensor, Tensor]:
    """A wide number [1] as the f32 nearest to it and what is left, [1] each."""
    near = value.float()
    return near, (value - near.to(value.dtype)).float()


def _gumbel(step: Step, ids_V: Tensor, wide: torch.dtype) -> Tensor:
    """`sampler.gumbel`, on the device."""
    hashed = _mix32(_mix32(ids_V ^ step.key_low) ^ step.key_high)
    share = (hashed.to(wide) + 0.5) * 2.0**-32
    return -torch.log(-torch.log1p(-share))


def _mix32(x: Tensor) -> Tensor:
    """`sampler.hash32`'s mixer on 64-bit integers, of which only the lower 32 bits are kept."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK32
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


# --- on the host -----------------------------------------------------------------------------------


def _choice_of(numbers: Tensor, candidate_count: int, index: int) -> Choice:
    """The choice out of the row that `choose_on_device` gave.

    Raises:
        ModelError: the best logit is no number.
    """
    token_id, rank = int(numbers[0]), int(numbers[1])
    ids, counts, rest = numbers[2:].split(
        [candidate_count, TAIL_BINS, len(numbers) - 2 - candidate_count - TAIL_BINS]
    )
    floats = rest.view(torch.float32)
    raw, best, tail, last = floats.split([candidate_count, candidate_count, TAIL_BINS, 5])
    logsumexp, logprob = float(last[0]) + float(last[1]), float(last[2]) + float(last[3])
    check_best(float(last[4]), index)
    used = int(counts.nonzero()[-1]) + 1 if counts.any() else 0
    candidates = Candidates(
        token_ids=array("i", ids.numpy().tobytes()),
        logits=array("f", raw.numpy().tobytes()),
        penalised=array("f", best.numpy().tobytes()),
        tail_counts=array("i", counts[:used].numpy().tobytes()),
        tail_logsumexp=array("f", tail[:used].numpy().tobytes()),
        logsumexp=logsumexp,
    )
    return Choice(token_id, logprob, rank, candidates)
