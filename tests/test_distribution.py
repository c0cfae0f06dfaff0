"""The bars of a choice equal what the sampler draws from; their words and figures are right."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_chat.distribution.bars import bars_of
from llama_chat.distribution.chosen import probability_before
from llama_chat.distribution.figures import distinct_n, entropy, perplexity, sparkline, surprise_bits
from llama_chat.distribution.shades import level
from llama_chat.distribution.told import percent, told
from llama_chat.engine.sampler import choose, likeliest, penalise, survivors
from llama_chat.events import CANDIDATE_COUNT, TAIL_BINS_PER_LOGIT, Candidates, Token
from llama_chat.sampling import Sampling
from llama_chat.sessions.records import NO_CANDIDATES

VOCAB = 4096


def logits(seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed)) * spread


def candidates_of(logits_V: torch.Tensor) -> Candidates:
    return choose(logits_V, Sampling(temperature=0.0), seed=1, index=0).candidates


def drawn_from(logits_V: torch.Tensor, sampling: Sampling) -> dict[int, float]:
    """What the sampler itself would draw from, over the whole vocabulary."""
    raw = penalise(logits_V.numpy(), [], 1.0)
    ids, scaled = survivors(raw, likeliest(raw, CANDIDATE_COUNT), sampling)
    weights = np.exp(scaled.astype(np.float64))
    return dict(zip(ids.tolist(), (weights / weights.sum()).tolist(), strict=True))


def alike_at(logits_V: torch.Tensor, place: int) -> int:
    """How many tokens the histogram of the tail may take for the one at that place."""
    edge = logits_V.sort(descending=True).values[place - 1]
    return int(((logits_V - edge).abs() <= 2 / TAIL_BINS_PER_LOGIT).sum())


settings_of = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0, 1.7, 5.0]),
    top_k=st.sampled_from([0, 1, 5, 40, 64, 65, 500, VOCAB, 10**6]),
    top_p=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
)


@settings(max_examples=300, deadline=None)
@given(settings_of, st.integers(0, 20), st.sampled_from([0.3, 1.0, 3.0, 8.0]))
def test_bars_equal_the_sampler_or_say_that_they_do_not(sampling: Sampling, seed: int, spread: float) -> None:
    logits_V = logits(seed, spread)
    bars = bars_of(candidates_of(logits_V), sampling)
    truth = drawn_from(logits_V, sampling)
    probabilities = torch.softmax(logits_V.double(), 0)
    assert all(bar.before == pytest.approx(float(probabilities[bar.token_id]), abs=1e-6) for bar in bars.bars)
    assert all((bar.after > 0) == (bar.cut_by == "") or bar.after < 1e-30 for bar in bars.bars)
    off = [abs(bar.after - truth.get(bar.token_id, 0.0)) for bar in bars.bars]
    if bars.is_exact:
        assert max(off) < 1e-6
        assert {bar.token_id for bar in bars.bars if not bar.cut_by} == set(truth)
        assert bars.left == len(truth)
    else:  # one token more or less at the edge of top-p
        assert sum(off) / 2 < 0.1
        assert abs(bars.left - len(truth)) <= alike_at(logits_V, len(truth))


def test_each_cut_is_named_by_the_first_filter_that_made_it() -> None:
    values = torch.full((VOCAB,), -60.0)
    values[:8] = torch.log(torch.tensor([0.4, 0.2, 0.15, 0.1, 0.06, 0.04, 0.03, 0.02]))
    bars = bars_of(candidates_of(values), Sampling(temperature=1.0, top_k=6, top_p=0.75, min_p=0.45))
    assert [bar.cut_by for bar in bars.bars[:8]] == [
        "",
        "",
        "min_p",
        "top_p",
        "top_p",
        "top_p",
        "top_k",
        "top_k",
    ]
    assert [(stage.setting, stage.left) for stage in bars.stages] == [
        ("top_k", 6),
        ("top_p", 3),
        ("min_p", 2),
    ]
    assert [bar.after for bar in bars.bars[:3]] == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_sixty_four_bars_are_made_anew_within_a_tenth_of_a_frame() -> None:
    candidates = candidates_of(logits(3))
    sampling = Sampling(temperature=0.7, top_k=0, top_p=0.95, min_p=0.01)
    bars_of(candidates, sampling)
    started = time.thread_time()
    for _ in range(20):
        bars_of(candidates, sampling)
    assert (time.thread_time() - started) / 20 < 0.010


@pytest.mark.parametrize("spread", [0.01, 0.5, 2.0, 6.0, 20.0])
def test_entropy_is_within_its_own_error(spread: float) -> None:
    logits_V = logits(5, spread)
    found = entropy(candidates_of(logits_V))
    log_p = torch.log_softmax(logits_V.double(), 0)
    true_bits = float(-(log_p.exp() * log_p).sum()) / math.log(2)
    assert abs(found.bits - true_bits) <= found.error_bits + 1e-4  # the log-sum-exp is in f32
    assert found.error_bits < 0.1


def name(token_id: int) -> str:
    return f'"t{token_id}"'


def test_what_happened_is_told() -> None:
    values = torch.full((VOCAB,), -60.0)
    values[:4] = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1]))
    candidates = candidates_of(values)

    def sentence(token_id: int = 0, **changes: float) -> str:
        sampling = Sampling(**{"temperature": 1.0, "top_k": 0, **changes})  # type: ignore[arg-type]  # by name
        return told(bars_of(candidates, sampling), sampling, token_id, name)

    assert sentence(temperature=0.5, top_k=2) == (
        'temperature 0.5 raised "t0" from 50 % to 72 %; top-k 2 leaves 2 of 4,096 tokens: 80 %.'
    )
    assert sentence(1, temperature=0.5) == 'temperature 0.5 lowered "t1" from 25 % to 18 %.'
    assert sentence() == 'temperature 1.0 leaves "t0" at 50 %, as the model says.'
    assert sentence(2, top_k=2) == (
        'temperature 1.0 leaves "t2" at 15 %, as the model says; '
        "top-k 2 leaves 2 of 4,096 tokens, not this one."
    )
    assert (
        sentence(1, temperature=0.0)
        == 'temperature 0 always takes the likeliest, "t0" (50 %); "t1" had 25 %.'
    )
    assert sentence(0, top_k=1) == 'top-k 1 always takes the likeliest, "t0" (50 %).'


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        *((0, "0 %"), (1, "100 %"), (0.99996, "> 99.9 %"), (0.9996, "> 99.9 %")),
        *((0.004, "0.4 %"), (0.00001, "< 0.01 %"), (0.0004, "0.04 %"), (0.0999, "10 %"), (0.033, "3.3 %")),
        *((0.995, "99.5 %"), (0.9994, "99.9 %"), (0.41, "41 %"), (1 - 2**-24, "100 %")),
    ],
)
def test_a_probability_is_shown_with_the_figures_that_tell(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_a_probability_that_is_not_known_is_none() -> None:
    """Of a token that no candidate tells of; as the least of NaN and 0 it would be a certainty."""
    known = Token(0, 5, b"a", "a", "user", -1.0, 2, NO_CANDIDATES, 0.0, Sampling())
    unknown = replace(known, logprob=math.nan)
    assert math.isnan(probability_before(unknown))
    assert [level(unknown, shade) for shade in ("probability", "surprise")] == [None, None]
    assert level(known, "probability") is not None


def test_figures_of_a_reply() -> None:
    assert surprise_bits(math.log(1 / 8)) == pytest.approx(3)
    assert perplexity([math.log(1 / 4)] * 3) == pytest.approx(4)
    assert math.isnan(perplexity([]))
    assert perplexity([-800.0]) == math.inf
    assert distinct_n([1, 2, 1, 2, 1], 2) == pytest.approx(2 / 4)
    assert distinct_n([1, 2, 3], 1) == 1
    assert math.isnan(distinct_n([1], 2))


def test_a_sparkline_averages_what_shares_a_column() -> None:
    assert sparkline([0, 1], 10, high=1) == "▁█"
    assert sparkline([0, 1, 1, 0], 2, high=1) == sparkline([0.5, 0.5], 2, high=1)
    assert sparkline([math.nan, 1.0], 2) == " █"
    assert sparkline([], 5) == ""
    assert len(sparkline(range(1000), 40)) == 40
