"""Chance worked out without torch: the same noise, survivors and choices as the sampler's."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from llama_chat.chance import gumbel, reshaped, score, scores
from llama_chat.engine import sampler
from llama_chat.events import Sampling

SAMPLINGS = [
    Sampling(temperature=0.0),
    Sampling(temperature=0.8, top_k=40),
    Sampling(temperature=1.3, top_k=64, top_p=0.9),
    Sampling(temperature=0.7, top_k=0, top_p=0.9),
    Sampling(temperature=0.5, top_k=200, top_p=0.8, min_p=0.02),
    Sampling(temperature=0.9, top_k=0, min_p=0.05),
    Sampling(temperature=1e-9, top_k=5),
]


def test_the_noise_is_the_sampler_s() -> None:
    chance = random.Random(3)
    for _ in range(10_000):
        seed, index, token_id = chance.randrange(2**32), chance.randrange(9000), chance.randrange(130_000)
        (wanted,) = sampler.gumbel(seed, index, np.array([token_id]))
        assert gumbel(seed, index, token_id) == pytest.approx(wanted, rel=1e-15, abs=1e-15)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("spread", [4.0, 8.0])
def test_what_survives_and_wins_is_what_the_sampler_took(sampling: Sampling, spread: float) -> None:
    n_exact = 0
    for index in range(40):
        logits_V = torch.randn(5000, generator=torch.Generator().manual_seed(index)) * spread
        penalised = sampler.penalise(logits_V.numpy(), [1, 2, 3], 1.3)
        with_penalty = replace(sampling, repetition_penalty=1.3)
        choice = sampler.choose(logits_V, with_penalty, seed=9, index=index, seen_ids=[1, 2, 3])
        ids, scaled = sampler.survivors(penalised, sampler.likeliest(penalised, 64), sampling)
        found = reshaped(choice.candidates, sampling)
        if not found.is_exact:
            assert len(found.token_ids) <= 64
            continue
        n_exact += 1
        assert found.token_ids == tuple(ids)
        assert found.scaled == tuple(scaled)
        ranked = dict(scores(choice.candidates, sampling, 9, index))
        assert max(ranked, key=ranked.__getitem__) == choice.token_id
        if not sampling.is_greedy:
            place = found.token_ids.index(choice.token_id)
            assert ranked[choice.token_id] == score(found.scaled[place], 9, index, choice.token_id)
    assert n_exact >= 10, "else nothing was shown"


def test_where_tokens_beyond_the_candidates_may_be_chosen_it_says_so() -> None:
    choice = sampler.choose(torch.zeros(5000), Sampling(temperature=1.0, top_k=0), seed=1, index=0)
    for sampling in (
        Sampling(temperature=1.0, top_k=0),
        Sampling(temperature=1.0, top_k=65),
        Sampling(temperature=1.0, top_k=0, top_p=0.5),
        Sampling(temperature=1.0, top_k=0, min_p=0.5),
    ):
        assert not reshaped(choice.candidates, sampling).is_exact
    assert reshaped(choice.candidates, Sampling(temperature=1.0, top_k=64)).is_exact
