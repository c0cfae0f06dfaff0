"""The sampler as one chain of torch operations on the device of the logits; one transfer a token to the host.

It gives what `sampler.choose` gives: the same order of filters, the same noise, the same candidates. On the
CPU numpy is faster (see `sampler`); on a GPU the transfer of all logits and the wait for it would cost more.
Nothing in it depends on values, so that a decode step with it is one graph. Where GPUs record graphs, it is
recorded once for a vocabulary (`captured`): settings, noise and the tokens seen are tensors that it reads.

Shapes: V the vocabulary, C = 64 candidates, B the bins of the tail.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llama_chat.chance import SMALLEST_TEMPERATURE, noise_key
from llama_chat.engine.captured.recording import Capture, Recording, capture_for
from llama_chat.engine.sampler import TAIL_BINS, Choice, check_best
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Candidates, Sampling

_MASK32 = 0xFFFFFFFF


class Step(NamedTuple):
    """The settings of one token as numbers on the device."""

    settings: Tensor
    """[5]: temperature, top-k, top-p, min-p, penalty; in the dtype that the device computes best in."""
    key_low: int | Tensor
    key_high: int | Tensor
    """Halves of the noise's key, from `chance.noise_key`; as numbers, or int64 [1] on the device."""


@dataclass(slots=True)
class _Seen:
    """Which tokens are in the context, on the device; the mask stays where it is."""

    ids: list[int]
    mask: Tensor

    def fits(self, logits_V: Tensor) -> bool:
        """Whether it is of such a vocabulary, and on that device."""
        return self.mask.device == logits_V.device and self.mask.shape == logits_V.shape

    def become(self, ids: list[int]) -> None:
        """Hold these ids. One more is marked by a kernel that has it as a number: nothing is sent."""
        if ids[: len(self.ids)] != self.ids:
            self.mask.zero_()
            self.ids = []
        new = ids[len(self.ids) :]
        if len(new) == 1:
            self.mask[new[0]].fill_(True)
        elif new:
            self.mask.index_fill_(0, torch.tensor(new, dtype=torch.int64, device=self.mask.device), True)
        self.ids = ids


class _Recorded:
    """The chain on tensors that stay where they are.

    Args:
        logits_V: of what kind and where they are.
        seen_V: the mask that will be read.
        capture: records it.
    """

    def __init__(self, logits_V: Tensor, seen_V: Tensor, capture: Capture) -> None:
        self.seen_V = seen_V
        self._numbers: tuple[float, ...] = ()
        self._settings = torch.zeros(5, dtype=widest_float(logits_V.device), device=logits_V.device)
        self._logits_V = torch.zeros_like(logits_V)
        self._key_2 = torch.zeros(2, dtype=torch.int64, device=logits_V.device)
        length = _row_length(min(CANDIDATE_COUNT, len(logits_V)))
        self._chosen = torch.zeros(length, dtype=torch.int32, device=logits_V.device)
        # Chosen token, rank and candidates are whole numbers: played, they are the same or wrong.
        self._recording = Recording(self._choose, self._chosen[: 2 + CANDIDATE_COUNT], capture, within=0.0)

    def choose(self, logits_V: Tensor, numbers: tuple[float, ...], key: tuple[int, int]) -> Tensor:
        """What `choose_on_device` gives, in a tensor that the next call writes again."""
        self._logits_V.copy_(logits_V)
        for place, half in enumerate(key):
            self._key_2[place].fill_(half)
        if numbers != self._numbers:
            for place, number in enumerate(numbers):
                self._settings[place].fill_(number)
            self._numbers = numbers
        self._recording.run()
        return self._chosen

    def _choose(self) -> None:
        # Always with the mask: divided by a penalty of 1, a logit stays what it is.
        step = Step(self._settings, *self._key_2.split(1))
        self._chosen.copy_(choose_on_device(self._logits_V, self.seen_V, step))


class DeviceSampler:
    """Chooses tokens where the logits are. Keeps what would otherwise be sent again for every token.

    Args:
        capture_on: what records on a device; None where nothing does.
    """

    def __init__(self, capture_on: Callable[[torch.device], Capture | None] = capture_for) -> None:
        self._capture_on = capture_on
        self._seen: _Seen | None = None
        self._settings: tuple[tuple[object, ...], Tensor] | None = None
        self._recorded: _Recorded | None = None

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
        is_penalised = sampling.repetition_penalty != 1.0
        if self._seen is None or not self._seen.fits(logits_V):
            self._take_up(logits_V)
        assert self._seen is not None
        if is_penalised:
            self._seen.become(list(seen_ids))
        numbers, key = _numbers_of(sampling, len(logits_V)), noise_key(seed, index)
        if self._recorded is not None:
            chosen = self._recorded.choose(logits_V, numbers, key)
        else:
            mask_V = self._seen.mask if is_penalised else None
            chosen = choose_on_device(logits_V, mask_V, Step(self._on_device(numbers, logits_V), *key))
        # The one wait of a decode step.
        return _choice_of(chosen.cpu(), min(CANDIDATE_COUNT, len(logits_V)), index)

    def close(self) -> None:
        """Free what it holds on the device."""
        self._seen = self._settings = self._recorded = None

    def _take_up(self, logits_V: Tensor) -> None:
        """Another vocabulary, or another device."""
        self._seen = _Seen([], torch.zeros_like(logits_V, dtype=torch.bool))
        capture = self._capture_on(logits_V.device)
        self._recorded = _Recorded(logits_V, self._seen.mask, capture) if capture is not None else None

    def _on_device(self, numbers: tuple[float, ...], logits_V: Tensor) -> Tensor:
        """The settings on the device; sent again only when a slider moved."""
        device = logits_V.device
        key = (device, *numbers)
        if self._settings is None or self._settings[0] != key:
            self._settings = key, torch.tensor(numbers, dtype=widest_float(device), device=device)
        return self._settings[1]


def _numbers_of(sampling: Sampling, vocab_size: int) -> tuple[float, ...]:
    """Temperature, top-k, top-p, min-p and penalty as the chain takes them."""
    return (
        max(sampling.temperature, SMALLEST_TEMPERATURE),
        1 if sampling.is_greedy else min(sampling.top_k, vocab_size) or vocab_size,
        1.0 if sampling.is_greedy else sampling.top_p,
        0.0 if sampling.is_greedy else sampling.min_p,
        sampling.repetition_penalty,
    )


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


def _row_length(candidate_count: int) -> int:
    """Of what `choose_on_device` gives."""
    return 2 + candidate_count + TAIL_BINS + 2 * candidate_count + TAIL_BINS + 5


# --- on the host -----------------------------------------------------------------------------------


def _choice_of(numbers: Tensor, candidate_count: int, index: int) -> Choice:
    """The choice out of the row that `choose_on_device` gave.

    Raises:
        ModelError: the best logit is no number.
    """
    row: NDArray[np.int32] = numbers.numpy()
    token_id, rank = row[:2].tolist()
    parts, at = [], 2
    for length in (candidate_count, TAIL_BINS, candidate_count, candidate_count, TAIL_BINS, 5):
        parts.append(row[at : at + length])
        at += length
    ids, counts, raw, best, tail, last = parts
    floats = last.view(np.float32).tolist()
    check_best(floats[4], index)
    filled = counts.nonzero()[0]
    used = int(filled[-1]) + 1 if len(filled) else 0
    candidates = Candidates(
        token_ids=array("i", ids.tobytes()),
        logits=array("f", raw.tobytes()),
        penalised=array("f", best.tobytes()),
        tail_counts=array("i", counts[:used].tobytes()),
        tail_logsumexp=array("f", tail[:used].tobytes()),
        logsumexp=floats[0] + floats[1],
    )
    return Choice(token_id, floats[2] + floats[3], rank, candidates)
