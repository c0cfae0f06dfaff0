"""The sampler on the device against the one in numpy: the same choice, candidates, figures and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from llama_chat.chance import noise_key
from llama_chat.engine import device_sampler
from llama_chat.engine.device_sampler import DeviceSampler, Step, choose_on_device
from llama_chat.engine.sampler import Choice, choose, gumbel, hash32
from llama_chat.errors import ModelError
from llama_chat.events import Sampling

META = torch.device("meta")


def some_logits(rng: np.random.Generator) -> Tensor:
    """Of many sizes and spreads; some rounded as bf16 products are, which ties them, some with -infinity."""
    vocab_size = int(rng.choice([40, 64, 65, 304, 1000, 5003]))
    logits = torch.from_numpy((rng.standard_normal(vocab_size) * rng.choice([0.5, 3, 9])).astype(np.float32))
    if rng.random() < 0.4:
        logits = logits.bfloat16().float()
    if rng.random() < 0.1:
        logits[rng.integers(0, vocab_size, 5)] = -math.inf
    return logits


def some_sampling(rng: np.random.Generator) -> Sampling:
    return Sampling(
        temperature=float(rng.choice([0, 0.3, 0.7, 1, 2.5])),
        top_k=int(rng.choice([0, 1, 40, 64, 65, 700, 9999])),
        top_p=float(rng.choice([0, 0.5, 0.9, 0.999, 1])),
        min_p=float(rng.choice([0, 0.05, 0.3, 1])),
        repetition_penalty=float(rng.choice([0.7, 1, 1.3])),
    )


def assert_same(got: Choice, wanted: Choice) -> None:
    assert (got.token_id, got.rank) == (wanted.token_id, wanted.rank)
    for field in ("token_ids", "logits", "penalised", "tail_counts"):
        assert getattr(got.candidates, field) == getattr(wanted.candidates, field), field
    assert math.exp(got.logprob) == pytest.approx(math.exp(wanted.logprob), abs=1e-6)
    assert got.candidates.logsumexp == pytest.approx(wanted.candidates.logsumexp, abs=1e-5)
    tails = [np.exp(np.array(choice.candidates.tail_logsumexp)) for choice in (got, wanted)]
    assert np.allclose(*tails, rtol=1e-5, atol=1e-30)


def test_it_chooses_as_numpy_does() -> None:
    rng, sampler = np.random.default_rng(0), DeviceSampler()
    chosen_first = 0
    for index in range(2500):
        logits, sampling = some_logits(rng), some_sampling(rng)
        seen = [int(i) for i in rng.integers(0, len(logits), rng.integers(0, 30))]
        wanted = choose(logits, sampling, seed=index, index=index % 7, seen_ids=seen)
        assert_same(sampler.choose(logits, sampling, seed=index, index=index % 7, seen_ids=seen), wanted)
        chosen_first += wanted.rank == 1
    assert 500 < chosen_first < 2300, "a test of greedy choices alone"


def test_a_reply_marks_its_tokens_one_by_one() -> None:
    """The mask of what was seen grows with the context, and begins anew where it was rewound."""
    rng, sampler = np.random.default_rng(1), DeviceSampler()
    sampling = Sampling(temperature=1.0, top_k=0, repetition_penalty=1.5)
    seen = [3, 9]
    for index in range(40):
        if index == 25:
            del seen[7:]
            seen.append(11)
        logits = torch.from_numpy(rng.standard_normal(64).astype(np.float32))
        wanted = choose(logits, sampling, seed=5, index=index, seen_ids=seen)
        assert_same(sampler.choose(logits, sampling, seed=5, index=index, seen_ids=seen), wanted)
        seen.append(wanted.token_id)


def test_settings_are_sent_again_when_they_change_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    real = torch.tensor

    def tensor(*args: object, **kwargs: object) -> Tensor:
        sent.append(args)
        return real(*args, **kwargs)  # type: ignore[arg-type]  # whatever it was called with

    monkeypatch.setattr(device_sampler.torch, "tensor", tensor)
    sampler, logits = DeviceSampler(), torch.randn(100)
    for temperature in (0.7, 0.7, 0.7, 0.9, 0.9):
        sampling = Sampling(temperature=temperature, repetition_penalty=1.2)
        sampler.choose(logits, sampling, seed=1, index=0, seen_ids=[4])
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("value", "name"), [(math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "-infinity")]
)
def test_what_is_no_number_is_named(value: float, name: str) -> None:
    logits = torch.full((70,), value) if value == -math.inf else torch.zeros(70)
    logits[13] = value
    with pytest.raises(ModelError, match=f"{name}.* token 4 ") as caught:
        DeviceSampler().choose(logits, Sampling(), seed=1, index=4)
    with pytest.raises(ModelError) as wanted:
        choose(logits, Sampling(), seed=1, index=4)
    assert str(caught.value) == str(wanted.value)


@pytest.mark.parametrize(("seed", "index"), [(0, 0), (1, 511), (2**32 - 1, 7), (2**40, 100_000)])
def test_the_noise_is_that_of_numpy(seed: int, index: int) -> None:
    ids = np.arange(0, 130_000, 13)
    key_low, key_high = noise_key(seed, index)
    step = Step(torch.zeros(5, dtype=torch.float64), key_low, key_high)
    mixed = device_sampler._mix32(device_sampler._mix32(torch.from_numpy(ids) ^ key_low) ^ key_high)
    assert np.array_equal(mixed.numpy(), hash32(seed, index, ids).astype(np.int64))
    got = device_sampler._gumbel(step, torch.from_numpy(ids), torch.float64)
    assert np.allclose(got.numpy(), gumbel(seed, index, ids), rtol=1e-12)
    rough = device_sampler._gumbel(step, torch.from_numpy(ids), torch.float32)
    assert np.allclose(rough.numpy(), got.numpy(), rtol=1e-4, atol=1e-4)
    assert not rough.isnan().any()


def test_in_f32_alone_it_differs_in_near_ties_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Apple's GPUs, which have no f64."""
    monkeypatch.setattr(device_sampler, "widest_float", lambda device: torch.float32)
    rng, sampler, equal = np.random.default_rng(2), DeviceSampler(), 0
    for index in range(300):
        logits, sampling = some_logits(rng), some_sampling(rng)
        got = sampler.choose(logits, sampling, seed=index, index=0)
        wanted = choose(logits, sampling, seed=index, index=0)
        equal += got.token_id == wanted.token_id
        assert math.exp(got.candidates.logsumexp - wanted.candidates.logsumexp) == pytest.approx(1, abs=1e-5)
    assert equal >= 298


@pytest.mark.parametrize("penalised", [False, True])
def test_nothing_is_read_on_the_way(penalised: bool) -> None:
    """On the device "meta" there are no values: waiting for one fails, as would a tensor elsewhere."""
    step = Step(torch.zeros(5, dtype=torch.float64, device=META), *noise_key(1, 2))
    seen = torch.zeros(304, dtype=torch.bool, device=META) if penalised else None
    numbers = choose_on_device(torch.zeros(304, device=META), seen, step)
    assert (numbers.device, numbers.dtype) == (META, torch.int32)
    with pytest.raises((RuntimeError, NotImplementedError)):
        numbers[0].item()
