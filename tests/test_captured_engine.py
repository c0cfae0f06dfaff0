"""Replies with the captured step and the recorded sampler, as on a GPU, by `cpu_graph`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cpu_graph import CAPTURED, CpuRecorder

from llama_chat.alteration import Alteration
from llama_chat.decode_steps import EAGER, stepping_as_begun
from llama_chat.engine import reply as reply_loop
from llama_chat.engine.bench.speed import run_network
from llama_chat.engine.captured.attention import MaskedAttention
from llama_chat.engine.captured.recording import WARM_UP_RUNS, Capture
from llama_chat.engine.captured.step import CapturedStep
from llama_chat.engine.device_sampler import DeviceSampler
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.probing import probing
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.events import Event, Finished, Ids, LiveSampling, Sampling, Token
from llama_chat.rerun.changes import changes_between
from llama_chat.settings import ModelSettings
from llama_chat.sweep.columns import SweepColumn

NAME = MaskedAttention.name
PROMPT = tuple(range(20, 60))
ALL = Sampling(temperature=0.9, top_k=60, top_p=0.95, min_p=0.01, repetition_penalty=1.2, max_new_tokens=40)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CAPTURED.write(tmp_path_factory.mktemp("captured") / "tiny.gguf")


def engine_of(path: Path) -> LocalEngine:
    return load_engine(path, ModelSettings(dtype="f32", threads=1, engine="scratch", device="cpu"))


@pytest.fixture
def plain(path: Path) -> LocalEngine:
    return engine_of(path)


@pytest.fixture
def recorder() -> CpuRecorder:
    return CpuRecorder()


@pytest.fixture
def choosing() -> CpuRecorder:
    """Of the sampler."""
    return CpuRecorder()


@pytest.fixture
def engine(
    path: Path, recorder: CpuRecorder, choosing: CpuRecorder, monkeypatch: pytest.MonkeyPatch
) -> LocalEngine:
    """As on a GPU: a captured step, and the sampler of the device, recorded too."""
    engine = engine_of(path)
    assert isinstance(engine.network, ScratchNetwork)
    engine.network.captured = CapturedStep(engine.network.llama, Capture(recorder), MaskedAttention())
    engine.device_sampler = DeviceSampler(lambda device: Capture(choosing))
    monkeypatch.setattr(reply_loop, "choose", engine.device_sampler.choose)
    return engine


def events_of(
    engine: LocalEngine,
    sampling: LiveSampling,
    prompt: tuple[int, ...] = PROMPT,
    seed: int = 5,
    **other: object,
) -> Iterator[Event]:
    return engine.stream([Ids(prompt)], sampling=sampling, seed=seed, **other)  # type: ignore[arg-type]  # as given


def reply(engine: LocalEngine, sampling: Sampling = ALL, **other: object) -> tuple[list[Token], Finished]:
    *events, end = events_of(engine, LiveSampling(sampling), **other)  # type: ignore[arg-type]  # as given
    assert isinstance(end, Finished), end
    return [event for event in events if isinstance(event, Token)], end


def ids_of(tokens: list[Token]) -> list[tuple[int, int]]:
    return [(token.token_id, token.rank) for token in tokens]


def test_replies_come_out_of_graphs_and_are_those_of_the_plain_step(
    engine: LocalEngine, plain: LocalEngine, recorder: CpuRecorder, choosing: CpuRecorder
) -> None:
    """Hundreds of tokens across the first two lengths, greedy and with every filter and the penalty."""
    prompt, compared = tuple(20 + 7 * place % 250 for place in range(230)), 0
    for seed, sampling in enumerate((ALL, ALL, ALL, replace(ALL, temperature=0.0))):
        tokens, end = reply(engine, replace(sampling, max_new_tokens=60), prompt=prompt, seed=seed)
        wanted, wanted_end = reply(plain, replace(sampling, max_new_tokens=60), prompt=prompt, seed=seed)
        assert ids_of(tokens) == ids_of(wanted)
        assert max(abs(a.logprob - b.logprob) for a, b in zip(tokens, wanted, strict=True)) < 1e-4
        assert (end.plan.step, wanted_end.plan.step) == (NAME, EAGER)
        assert end.plan.forwards == wanted_end.plan.forwards
        compared += len(tokens)
    assert compared > 120
    assert (recorder.records, choosing.records) == (3, 1), (
        "256 once more where the cache went; the choice once"
    )
    assert min(recorder.replays, choosing.replays) > 110


def test_sliders_count_for_the_next_token(engine: LocalEngine, plain: LocalEngine) -> None:
    settings = [
        ALL, Sampling(temperature=0.0), Sampling(temperature=2.0, top_k=0), Sampling(min_p=0.3),
        Sampling(top_p=0.4, repetition_penalty=1.5), Sampling(repetition_penalty=0.8, top_k=3),
    ]  # fmt: skip

    def moved(engine: LocalEngine) -> list[tuple[int, int, Sampling]]:
        live, found = LiveSampling(ALL), []
        for event in events_of(engine, live):
            if isinstance(event, Token):
                found.append((event.token_id, event.rank, event.sampling))
                live.current = replace(settings[len(found) % len(settings)], max_new_tokens=60)
        return found

    assert moved(engine) == moved(plain)


def test_a_cancel_ends_it_and_it_goes_on_from_there(engine: LocalEngine, plain: LocalEngine) -> None:
    whole, _ = reply(plain)
    cancel, first = threading.Event(), []
    for event in events_of(engine, LiveSampling(ALL), cancel=cancel):
        if isinstance(event, Token):
            first.append(event)
            if len(first) == 9:
                cancel.set()
    assert isinstance(event, Finished)
    assert (event.reason, len(first)) == ("stopped", 9)
    rest, _ = reply(engine, forced_ids=[token.token_id for token in first], plan=event.plan.forwards)
    assert ids_of([*first, *rest])[: len(whole)] == ids_of(whole)


def test_it_runs_again_as_it_was_recorded(engine: LocalEngine, plain: LocalEngine) -> None:
    """To the last bit, from a cache that holds more by now; and eager, where that was recorded."""
    tokens, end = reply(engine)
    reply(engine, replace(ALL, max_new_tokens=260))
    engine.live.rewind(0)
    with stepping_as_begun(engine, NAME):
        again, again_end = reply(engine, plan=end.plan.forwards)
    assert [(token.token_id, token.logprob) for token in again] == [(t.token_id, t.logprob) for t in tokens]
    assert again_end.plan.step == NAME
    with stepping_as_begun(engine, EAGER):
        assert reply(engine)[1].plan.step == EAGER
    assert reply(engine)[1].usage.reused_tokens == 0, "what other code computed is not gone on from"
    with stepping_as_begun(plain, NAME):
        elsewhere = reply(plain)[1].plan
    assert elsewhere.step == EAGER, "where there is none, the rerun says what it took instead"
    changes = changes_between(None, end.plan, plain.info, elsewhere)
    assert f"decode step {EAGER} (recorded: {NAME})" in map(str, changes)


def test_what_cannot_be_recorded_is_said_once_and_the_next_reply_is_eager(
    engine: LocalEngine, plain: LocalEngine, recorder: CpuRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.fails_at = 1
    wanted = ids_of(reply(plain)[0])
    tokens, end = reply(engine)
    assert ids_of(tokens) == wanted
    assert end.plan.step == NAME, "the same computation, not recorded: the plan tells what was computed"
    (said,) = (record.message for record in caplog.records if "recorded as a graph" in record.message)
    assert said.endswith(": operation not permitted when stream is capturing")
    again, again_end = reply(engine)
    assert (ids_of(again), again_end.plan.step) == (wanted, EAGER)
    with stepping_as_begun(engine, NAME):
        followed, followed_end = reply(engine)
    assert [token.logprob for token in followed] == [token.logprob for token in tokens]
    assert (followed_end.plan.step, recorder.records) == (NAME, 1), "it is followed, and not tried again"


def test_a_choice_that_cannot_be_recorded_is_made_as_it_is(
    engine: LocalEngine, plain: LocalEngine, choosing: CpuRecorder
) -> None:
    choosing.fails_at = 1
    tokens, end = reply(engine)
    assert (ids_of(tokens), end.plan.step) == (ids_of(reply(plain)[0]), NAME)
    assert (choosing.records, choosing.replays) == (1, 0)


def test_bench_measures_the_graph(engine: LocalEngine, recorder: CpuRecorder) -> None:
    for _ in range(2):
        run_network(engine, PROMPT, 20, threading.Event(), device=torch.device("cpu"))
    assert (recorder.records, recorder.replays) == (1, 40 - WARM_UP_RUNS)


def test_who_alters_or_watches_the_network_has_its_own_modules(engine: LocalEngine) -> None:
    reply(engine)
    network = engine.network
    assert isinstance(network, ScratchNetwork)
    seen: list[str] = []
    with probing(network.llama, lambda place, layer, values: seen.append(place)):
        network.forward([5], network.new_cache(), "last")
    assert "weights" in seen
    engine.alter(Alteration(heads={(0, 1): 0.0}))
    assert reply(engine)[1].plan.step == EAGER
    engine.alter(Alteration())
    assert reply(engine)[1].plan.step == NAME


def test_a_sweep_has_a_graph_for_each_copy(engine: LocalEngine, plain: LocalEngine) -> None:
    """The prompt is in the cache but for its last id, so that its logits come out of a graph, too."""
    columns = [SweepColumn(Sampling(temperature=0.5 + n / 4, max_new_tokens=8), seed=n) for n in range(4)]

    def swept(engine: LocalEngine) -> dict[int, list[int]]:
        reply(engine, replace(ALL, max_new_tokens=5))
        found: dict[int, list[int]] = {}
        for number, event in engine.sweep([Ids((*PROMPT, *range(60, 100)))], columns, threading.Event()):
            if isinstance(event, Token):
                found.setdefault(number, []).append(event.token_id)
        for number, event in engine.sweep([Ids((*PROMPT, *range(60, 100)))], columns, threading.Event()):
            if isinstance(event, Token):
                found.setdefault(number, []).append(event.token_id)
        return found

    assert swept(engine) == swept(plain)


def test_a_graph_that_gives_other_numbers_is_not_taken(
    engine: LocalEngine, plain: LocalEngine, recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a driver's error: it is tried before it counts, and each token is computed as it is."""
    monkeypatch.setattr(recorder, "record", lambda work: lambda: None)
    tokens, end = reply(engine)
    assert (ids_of(tokens), end.plan.step) == (ids_of(reply(plain)[0]), NAME)
    assert reply(engine)[1].plan.step == EAGER
