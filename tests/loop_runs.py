"""Runs of the generation loop around a fake network, and what to look at afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

from fake_network import FakeCache

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.live_cache import PREFILL_CHUNK
from llama_chat.events import Event, Finished, Forward, LiveSampling, Piece, Sampling, Token

GREEDY = Sampling(temperature=0.0, max_new_tokens=8)
SAMPLED = Sampling(temperature=0.8, top_k=40, max_new_tokens=24)


def stream(
    engine: LocalEngine,
    pieces: Sequence[Piece],
    sampling: Sampling | LiveSampling = GREEDY,
    *,
    seed: int = 7,
    forced_ids: Sequence[int] = (),
    plan: Sequence[Forward] = (),
    cancel: threading.Event | None = None,
) -> Iterator[Event]:
    live = sampling if isinstance(sampling, LiveSampling) else LiveSampling(sampling)
    return engine.stream(pieces, sampling=live, seed=seed, forced_ids=forced_ids, plan=plan, cancel=cancel)


def ids_of(events: Sequence[Event]) -> list[int]:
    return [event.token_id for event in events if isinstance(event, Token)]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token | Finished))


def last(events: Sequence[Event]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def check_cache(engine: LocalEngine) -> None:
    """The ids, the network's cache and the plan tell the same."""
    cache = engine.live.cache
    assert isinstance(cache, FakeCache)
    assert engine.live.ids == cache.ids
    at = 0
    for forward in engine.live.forwards:
        assert forward.start == at
        assert forward.kept > 0
        assert forward.kind == "step" or forward.kept <= forward.rows <= PREFILL_CHUNK
        at += forward.kept
    assert at == len(cache.ids)
    assert all(a.kind == "prefill" or b.kind == "prefill" for a, b in pairwise(engine.live.forwards))
