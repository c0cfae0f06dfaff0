"""The sampler: filters held against transformers, chance against statistics, candidates against the whole."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.generation import logits_process as peer

from llama_chat.engine.sampler import (
    TAIL_BINS,
    Choice,
    Floats,
    choose,
    gumbel,
    hash32,
    likeliest,
    penalise,
    survivors,
)
from llama_chat.errors import ModelError
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Sampling

OPEN = Sampling(temperature=1.0, top_k=0)
"""Nothing is cut, nothing is reshaped."""

PINNED = {
    (0, 0): [1099029488, 571079854, 1605316367, 789908867, 2030796558],
    (1, 0): [107138957, 2249469098, 3702621584, 2989932820, 4228642198],
    (0, 1): [3953092928, 3083997275, 264605629, 2969358158, 1605450647],
    (2**32 - 1, 511): [2920746832, 3555105855, 246191080, 619817889, 3773520899],
}
"""Hashes of five ids by (seed, index)."""


def random_logits(vocab_size: int = 5000, seed: int = 0, spread: float = 3.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(vocab_size) * spread).astype(np.float32)


def bf16(logits: Floats) -> Floats:
    """Rounded as a bf16 product gives them: many are equal."""
    return torch.from_numpy(logits).bfloat16().float().numpy()


def pick(
    logits: Floats, sampling: Sampling, *, seed: int = 1, index: int = 0, seen: list[int] | None = None
) -> Choice:
    return choose(torch.from_numpy(logits), sampling, seed=seed, index=index, seen_ids=seen or [])


def probabilities(logits: Floats, sampling: Sampling, seen: list[int] | None = None) -> NDArray[np.float64]:
    """Of the whole vocabulary, as our filters leave them."""
    penalised = penalise(logits, seen or [], sampling.repetition_penalty)
    ids, scaled = survivors(penalised, likeliest(penalised, CANDIDATE_COUNT), sampling)
    weights = np.exp(scaled.astype(np.float64))
    found = np.zeros(len(logits))
    found[ids] = weights / weights.sum()
    return found


def peer_probabilities(
    logits: Floats, sampling: Sampling, seen: list[int] | None = None
) -> NDArray[np.float64]:
    """The same by transformers' processors, in f64, in the order of its `generate`."""
    processors: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = []
    if sampling.repetition_penalty != 1.0:
        processors.append(peer.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 1.0:
        processors.append(peer.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(peer.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(peer.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        processors.append(peer.MinPLogitsWarper(sampling.min_p))
    ids, scores = torch.tensor([seen or [0]]), torch.from_numpy(logits).double()[None]
    for processor in processors:
        scores = processor(ids, scores)
    return scores.softmax(-1)[0].numpy()


# --- filters -----------------------------------------------------------------------------------------

FILTERS = [
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 64},
    {"top_k": 65},
    {"top_k": 700},
    {"top_k": 1500},
    {"top_k": 4999},
    {"top_k": 9999},
    {"top_p": 0.0},
    {"top_p": 0.1},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"min_p": 0.3},
    {"min_p": 0.001},
    {"min_p": 1.0},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"top_k": 40, "top_p": 0.9},
    {"top_k": 200, "top_p": 0.95},
    {"top_k": 2000, "top_p": 0.5},
    {"top_k": 40, "min_p": 0.05},
    {"top_p": 0.95, "min_p": 0.01},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.2},
    {"temperature": 1.8, "top_k": 300, "top_p": 0.97, "min_p": 0.001, "repetition_penalty": 1.1},
]


@pytest.mark.parametrize(
    "changes", FILTERS, ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items())
)
@pytest.mark.parametrize("spread", [0.7, 3.0, 9.0])
def test_probabilities_are_those_of_transformers(changes: dict[str, float], spread: float) -> None:
    sampling = dataclasses.replace(OPEN, **changes)  # type: ignore[arg-type]  # the names are its fields
    for seed in range(3):
        logits = random_logits(seed=seed, spread=spread)
        seen = np.random.default_rng(seed).integers(0, len(logits), 300).tolist()
        ours, theirs = probabilities(logits, sampling, seen), peer_probabilities(logits, sampling, seen)
        assert np.abs(ours - theirs).max() < 1e-6
        assert np.array_equal(ours > 0, theirs > 0)


@pytest.mark.parametrize("vocab_size", [49_152, 128_256])
def test_so_are_they_over_the_whole_vocabulary_of_a_model(vocab_size: int) -> None:
    logits = random_logits(vocab_size, seed=5, spread=2.5)
    seen = np.random.default_rng(5).integers(0, vocab_size, 2000).tolist()
    for changes in FILTERS:
        sampling = dataclasses.replace(OPEN, **changes)  # type: ignore[arg-type]  # the names are its fields
        ours, theirs = probabilities(logits, sampling, seen), peer_probabilities(logits, sampling, seen)
        assert np.abs(ours - theirs).max() < 1e-6, changes
        assert np.array_equal(ours > 0, theirs > 0), changes


def test_a_small_vocabulary_is_cut_like_a_large_one() -> None:
    logits = random_logits(30)
    for changes in ({"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.1}, {"top_k": 29, "top_p": 0.99}):
        sampling = dataclasses.replace(OPEN, **changes)  # type: ignore[arg-type]
        assert np.abs(probabilities(logits, sampling) - peer_probabilities(logits, sampling)).max() < 1e-6


def test_the_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    logits = np.array([4.0, -4.0, 2.0, -2.0, 0.0], np.float32)
    assert penalise(logits, [0, 1, 1, 0, 4], 2.0).tolist() == [2.0, -8.0, 2.0, -2.0, 0.0]
    assert logits.tolist() == [4.0, -4.0, 2.0, -2.0, 0.0], "the raw logits stay as they were"


def test_what_is_shown_is_both_the_raw_and_the_penalised_logit() -> None:
    logits = random_logits()
    best = int(logits.argmax())
    choice = pick(logits, dataclasses.replace(OPEN, temperature=0.0, repetition_penalty=3.0), seen=[best])
    shown = {candidate.token_id: candidate for candidate in choice.candidates}
    assert choice.token_id != best
    assert all(c.logit == c.penalised for c in shown.values() if c.token_id != best)
    if best in shown:
        assert shown[best].penalised == pytest.approx(logits[best] / 3)


# --- the fast path and the full one -----------------------------------------------------------------


def test_candidates_are_the_largest_and_of_equal_ones_the_smallest_ids() -> None:
    for seed in range(20):
        logits = bf16(random_logits(3000 + seed, seed))
        for count in (1, 40, 64, 1024, 3000):
            expected = np.argsort(-logits, kind="stable")[:count]
            assert likeliest(logits, count).tolist() == expected.tolist()


@pytest.mark.parametrize("logits", [np.zeros(3000, np.float32), np.repeat(np.float32([2, 1, 0]), 1000)])
def test_ties_far_beyond_the_candidates_do_no_harm(logits: Floats) -> None:
    assert likeliest(logits, 64).tolist() == list(range(64))
    choice = pick(logits, dataclasses.replace(OPEN, top_k=64))
    assert choice.token_id < 64
    assert choice.rank == choice.token_id + 1


@pytest.mark.parametrize("top_k", [1, 2, 40, 63, 64])
def test_a_choice_among_the_candidates_is_the_choice_among_all(top_k: int) -> None:
    sampling = dataclasses.replace(OPEN, top_k=top_k)
    for index in range(200):
        logits = bf16(random_logits(2000, index))
        order = np.argsort(-logits, kind="stable")[:top_k]
        expected = order[(logits[order] + gumbel(3, index, order)).argmax()]
        assert pick(logits, sampling, seed=3, index=index).token_id == expected


@pytest.mark.parametrize("changes", [{"top_p": 0.9}, {"min_p": 0.02}, {"top_p": 0.7, "min_p": 0.01}])
def test_the_fast_path_agrees_with_the_full_one(changes: dict[str, float]) -> None:
    sampling = dataclasses.replace(OPEN, **changes)  # type: ignore[arg-type]
    for index in range(200):
        logits = random_logits(2000, index, spread=2.5)
        few, many = (survivors(logits, likeliest(logits, count), sampling) for count in (64, 2000))
        assert few[0].tolist() == many[0].tolist()
        assert few[1].tolist() == many[1].tolist()


def test_with_nothing_cut_the_choice_is_among_all() -> None:
    logits = random_logits(2000, spread=0.1)
    ranks = [pick(logits, OPEN, index=index).rank for index in range(100)]
    assert max(ranks) > CANDIDATE_COUNT


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=0.0), Sampling(top_k=1), Sampling(temperature=0.0, top_p=0.1)]
)
def test_greedy_takes_the_likeliest_whatever_the_seed(sampling: Sampling) -> None:
    logits = bf16(random_logits())
    for seed in range(20):
        choice = pick(logits, sampling, seed=seed, index=seed)
        assert choice.token_id == int(logits.argmax())
        assert choice.rank == 1


@pytest.mark.parametrize("temperature", [1e-45, 1e-30, 1e-6, 1e-3])
def test_a_tiny_temperature_is_as_good_as_greedy(temperature: float) -> None:
    logits = random_logits()
    for index in range(20):
        choice = pick(logits, dataclasses.replace(OPEN, temperature=temperature, min_p=0.0), index=index)
        assert choice.token_id == int(logits.argmax())


# --- chance ------------------------------------------------------------------------------------------


def test_the_hash_never_changes() -> None:
    """Pinned: recorded sessions are replayed with it for ever."""
    ids = np.array([0, 1, 2, 49151, 128255])
    for (seed, index), hashes in PINNED.items():
        assert hash32(seed, index, ids).tolist() == hashes


def test_the_hash_is_that_of_plain_integers() -> None:
    ids = np.random.default_rng(0).integers(0, 128256, 200)
    for seed, index in ((0, 0), (12345, 67), (2**64 - 1, 10**6), (-1, 3)):
        assert hash32(seed, index, ids).tolist() == [plain_hash32(seed, index, int(i)) for i in ids]


def plain_hash32(seed: int, index: int, token_id: int) -> int:
    """The same in Python's integers."""

    def split_mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        return x ^ (x >> 31)

    def mix(x: int) -> int:
        x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
        x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
        return x ^ (x >> 16)

    key = split_mix(split_mix(seed % 2**64) ^ index)
    return mix(mix(token_id ^ (key % 2**32)) ^ (key >> 32))


def test_the_noise_of_an_id_depends_on_nothing_but_seed_index_and_id() -> None:
    ids = np.arange(5000)
    noise = gumbel(9, 4, ids)
    order = np.random.default_rng(0).permutation(5000)
    assert np.array_equal(hash32(9, 4, ids.astype(np.int32)), hash32(9, 4, ids))
    assert np.array_equal(hash32(9, 4, order), hash32(9, 4, ids)[order])
    assert np.allclose(gumbel(9, 4, order), noise[order], rtol=0, atol=1e-12)
    assert np.allclose(gumbel(9, 4, ids[17:18]), noise[17], rtol=0, atol=1e-12)
    assert not np.array_equal(gumbel(9, 5, ids), noise)
    assert not np.array_equal(gumbel(8, 4, ids), noise)


def test_the_noise_is_finite_and_follows_gumbels_distribution() -> None:
    noise = np.concatenate([gumbel(seed, 3, np.arange(50_000)) for seed in range(4)])
    assert np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)
    assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.03)
    below = [np.mean(noise < x) for x in (-1.0, 0.0, 1.0, 3.0)]
    assert below == pytest.approx([math.exp(-math.exp(-x)) for x in (-1.0, 0.0, 1.0, 3.0)], abs=0.005)


@pytest.mark.parametrize(
    ("over", "changes"),
    [("index", {}), ("index", {"temperature": 0.6, "top_k": 9}), ("seed", {}), ("seed", {"top_p": 0.8})],
)
def test_choices_follow_the_distribution(over: str, changes: dict[str, float]) -> None:
    """Chi-square of 20,000 draws with fixed seeds; the bound is what one in 1,000 fair ones exceeds."""
    sampling = dataclasses.replace(OPEN, **changes)  # type: ignore[arg-type]
    logits = random_logits(20, seed=4, spread=1.0)
    expected = probabilities(logits, sampling) * 20_000
    ids, scaled = survivors(logits, likeliest(logits, 64), sampling)
    seen = np.zeros(20)
    for n in range(20_000):
        seed, index = (n, 0) if over == "seed" else (0, n)
        seen[ids[(scaled + gumbel(seed, index, ids)).argmax()]] += 1
    kept = expected > 0
    assert seen[~kept].sum() == 0
    chi_square = float(((seen - expected)[kept] ** 2 / expected[kept]).sum())
    # Wilson and Hilferty's approximation of the quantile at 0.999.
    freedom = int(kept.sum()) - 1
    assert chi_square < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


def test_a_choice_is_a_pure_function() -> None:
    logits = bf16(random_logits())
    sampling = Sampling(temperature=0.8)
    first = [pick(logits, sampling, seed=5, index=index) for index in range(50)]
    again = [pick(logits.copy(), sampling, seed=5, index=index) for index in reversed(range(50))]
    assert first == again[::-1]
    assert len({choice.token_id for choice in first}) > 5


def test_a_tiny_change_of_the_logits_rarely_changes_the_choice() -> None:
    sampling = Sampling(temperature=0.8)
    changed = 0
    for index in range(300):
        logits = random_logits(2000, index)
        nudged = logits + np.random.default_rng(index).standard_normal(2000).astype(np.float32) * 1e-3
        changed += (
            pick(logits, sampling, index=index).token_id != pick(nudged, sampling, index=index).token_id
        )
    assert changed <= 3


# --- what it could have been -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [random_logits, lambda: bf16(random_logits()), lambda: random_logits(spread=40.0)]
)
def test_the_tail_counts_and_weighs_all_that_is_no_candidate(make: Callable[[], Floats]) -> None:
    logits = make()
    kept = pick(logits, Sampling(temperature=0.0)).candidates
    assert sum(kept.tail_counts) == len(logits) - CANDIDATE_COUNT
    assert len(kept.tail_counts) == len(kept.tail_logsumexp) <= TAIL_BINS
    parts = [*kept.penalised, *kept.tail_logsumexp]
    assert np.logaddexp.reduce(parts) == pytest.approx(kept.logsumexp, abs=1e-4)
    assert kept.logsumexp == pytest.approx(float(torch.from_numpy(logits).double().logsumexp(0)), abs=1e-4)


def test_every_bin_holds_what_lies_in_it() -> None:
    logits = random_logits(spread=12.0)
    kept = pick(logits, Sampling(temperature=0.0)).candidates
    rest = np.delete(logits, kept.token_ids).astype(np.float64)
    bins = np.minimum((kept.penalised[0] - rest) * TAIL_BINS_PER_LOGIT, TAIL_BINS - 1).astype(int)
    assert bins.max() == TAIL_BINS - 1, "some lie lower than the last bin reaches"
    for b in range(TAIL_BINS):
        inside = rest[bins == b]
        assert kept.tail_counts[b] == len(inside)
        expected = np.logaddexp.reduce(inside) if len(inside) else -np.inf
        assert kept.tail_logsumexp[b] == pytest.approx(expected, abs=1e-3)


def test_a_vocabulary_of_candidates_alone_has_no_tail() -> None:
    kept = pick(random_logits(64), Sampling(temperature=0.0)).candidates
    assert len(kept) == 64
    assert len(kept.tail_counts) == 0


def test_ranks_are_exact_within_the_candidates_and_beyond_them() -> None:
    logits = bf16(random_logits(2000, spread=0.5))
    place = np.empty(2000, int)
    place[np.argsort(-logits, kind="stable")] = np.arange(2000)
    log_softmax = torch.from_numpy(logits).double().log_softmax(0)
    choices = [pick(logits, OPEN, index=index) for index in range(300)]
    for choice in choices:
        assert choice.rank == place[choice.token_id] + 1
        assert choice.logprob == pytest.approx(float(log_softmax[choice.token_id]), abs=1e-4)
    assert min(c.rank for c in choices) <= CANDIDATE_COUNT < max(c.rank for c in choices)


def test_impossible_tokens_are_never_chosen() -> None:
    logits = np.full(1000, -np.inf, np.float32)
    logits[[5, 500]] = 1.0, 2.0
    for sampling in (
        OPEN,
        Sampling(temperature=1.0),
        dataclasses.replace(OPEN, top_p=0.99),
        Sampling(min_p=0.01),
    ):
        choices = [pick(logits, sampling, index=index) for index in range(50)]
        assert {choice.token_id for choice in choices} == {5, 500}
    kept = choices[0].candidates
    assert sum(kept.tail_counts) == 1000 - CANDIDATE_COUNT
    assert kept.logsumexp == pytest.approx(math.log(math.e + math.e**2), abs=1e-5)
    assert set(kept.tail_logsumexp) == {-math.inf}


@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_logits_that_are_no_numbers_are_named(number: float, word: str) -> None:
    logits = random_logits()
    logits[123] = number
    with pytest.raises(ModelError, match=rf"{word}.*token 17") as caught:
        pick(logits, OPEN, index=17)
    assert "--dtype f32" in caught.value.hint


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_dtype_are_taken(dtype: torch.dtype) -> None:
    logits = torch.from_numpy(bf16(random_logits())).to(dtype)
    assert choose(logits, OPEN, seed=1, index=2).candidates.logits[0] == float(logits.max())
