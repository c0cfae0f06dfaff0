"""The thread that owns the engine: order, stopping, failures, and its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine, Pace, loader_of

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.errors import Interrupted, LlamaChatError, ModelError, PromptError
from llama_chat.events import (
    ComputePlan,
    Event,
    Failed,
    Finished,
    Forward,
    LiveSampling,
    Loading,
    ModelInfo,
    Prefilled,
    Sampling,
    Token,
)
from llama_chat.pull import PullProgress
from llama_chat.sessions import ModelRecord
from llama_chat.turn import Prompt
from llama_chat.worker import Turn, Worker

TIMEOUT_S = 10


class Log:
    """Puts everything that the worker says into a queue."""

    def __init__(self) -> None:
        self.notes: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self.threads: set[int] = set()

    def _put(self, kind: str, what: object) -> None:
        self.threads.add(threading.get_ident())
        self.notes.put((kind, what))

    def pulling(self, progress: PullProgress) -> None:
        self._put("pulling", progress)

    def loading(self, progress: Loading) -> None:
        self._put("loading", progress)

    def loaded(self, info: ModelInfo) -> None:
        self._put("loaded", info)

    def not_loaded(self, error: LlamaChatError) -> None:
        self._put("not_loaded", error)

    def prepared(self, turn: Turn, prompt: Prompt) -> None:
        self._put("prepared", prompt)

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        self._put("refused", error)

    def event(self, turn: Turn, event: Event) -> None:
        self._put("event", event)

    def until(self, kind: str, what: type = object) -> object:
        while True:
            got, value = self.notes.get(timeout=TIMEOUT_S)
            if got == kind and isinstance(value, what):
                return value


def turn_for(text: str) -> Turn:
    conversation = Conversation()
    conversation.append(Role.USER, text)
    path = tuple(conversation.path())
    reply: Message = conversation.append(Role.ASSISTANT, "", reply=Reply(1, Sampling()))
    return Turn(reply, path, "2026-11-22")


@pytest.fixture
def log() -> Log:
    return Log()


def worker_of(engine: FakeEngine, log: Log, **options: object) -> Worker:
    worker = Worker(loader_of(engine, **options), log, LiveSampling())  # type: ignore[arg-type]  # gate, errors
    worker.start()
    return worker


def test_it_loads_then_answers_all_on_one_thread_of_its_own(log: Log) -> None:
    engine = FakeEngine(["one two", "three"])
    worker = worker_of(engine, log)
    for text in ("a", "b"):
        worker.answer(turn_for(text))
    assert log.until("loaded") == engine.info
    first = log.until("event", Finished)
    assert isinstance(first, Finished)
    assert first.reason == "end"
    log.until("event", Finished)
    assert worker.close()
    assert engine.is_closed
    assert ["a<|im_end|>" in engine.prompts[0], "b<|im_end|>" in engine.prompts[1]] == [True, True]
    assert len(log.threads) == 1
    assert threading.get_ident() not in log.threads


def unfinished(text: str, token_ids: tuple[int, ...], **record: object) -> Turn:
    """A turn that goes on with a reply of so many words."""
    turn = turn_for("a")
    reply = replace(Reply(1, Sampling(), token_ids=token_ids), **record)  # type: ignore[arg-type]  # by name
    return Turn.going_on(replace(turn.reply, text=text, reply=reply), turn.path, turn.date)


def test_a_reply_goes_on_behind_its_tokens_and_by_its_plan(log: Log) -> None:
    engine = FakeEngine(["one two three four"])
    worker = worker_of(engine, log)
    forwards = (Forward(0, 5, 5, "prefill"),)
    plan = ComputePlan(forwards, engine.info.dtype, "cpu", 1, "fake")
    worker.answer(unfinished("one two ", (100, 101), plan=plan, finish_reason="stopped"))
    tokens = [log.until("event", Token) for _ in range(2)]
    assert [token.text for token in tokens if isinstance(token, Token)] == ["three ", "four"]
    assert [token.index for token in tokens if isinstance(token, Token)] == [2, 3]
    assert engine.forced == [((100, 101), forwards)]
    assert worker.close()


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (unfinished("one two ", ()), "no tokens are known"),
        (unfinished("one two ", (100, 101), model="another"), "another wrote it"),
        (unfinished("one two ", tuple(range(60))), "the context holds 64"),
        (unfinished("one two ", (100, 101), context_start="f00"), "not before it any more"),
    ],
)
def test_a_reply_that_cannot_go_on_is_refused(log: Log, turn: Turn, words: str) -> None:
    engine = FakeEngine(info=replace(FakeEngine().info, context_length=64))
    worker = worker_of(engine, log)
    worker.answer(turn)
    error = log.until("refused")
    assert isinstance(error, PromptError)
    assert words in error.message
    assert engine.prompts == []
    assert worker.close()


def model_of(info: ModelInfo, **changes: str) -> ModelRecord:
    """What the store tells of a reply that this model wrote."""
    known = ModelRecord(info.name, info.fingerprint, info.engine, info.device, info.dtype, "")
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "others"}, "a file with other weights is loaded"),
        ({"dtype": "Q8_0"}, "wrote it as Q8_0, scratch engine, and it is loaded as"),
        ({"engine": "hf"}, "hf engine"),
    ],
)
def test_a_reply_does_not_go_on_with_other_weights_of_the_same_name(
    log: Log, changes: dict[str, str], words: str
) -> None:
    engine = FakeEngine(["one two three four"])
    worker = worker_of(engine, log)
    turn = replace(
        unfinished("one two ", (100, 101), model=engine.info.name),
        written_by=lambda: model_of(engine.info, **changes),
    )
    worker.answer(turn)
    error = log.until("refused")
    assert isinstance(error, PromptError)
    assert words in str(error)
    worker.answer(replace(turn, written_by=lambda: model_of(engine.info, device="cuda:0")))
    assert isinstance(log.until("event", Finished), Finished), "another device is no other model"
    assert worker.close()


def test_a_reply_does_not_go_on_behind_another_prompt(log: Log) -> None:
    """The digest tells it, once the prompt is read; nothing of it is handed on."""
    engine = FakeEngine(["one two three four"])
    worker = worker_of(engine, log)
    plan = ComputePlan((), engine.info.dtype, "cpu", 1, "fake", prompt_digest="then")
    now = replace(plan, prompt_digest="now")
    stream = engine.stream

    def with_digest(*values: Any, **names: Any) -> Iterator[Event]:
        for event in stream(*values, **names):
            yield replace(event, plan=now) if isinstance(event, Prefilled) else event

    engine.stream = with_digest  # type: ignore[method-assign]  # the fake has no digests
    worker.answer(unfinished("one two ", (100, 101), plan=plan))
    failed = log.until("event")
    assert isinstance(failed, Failed)
    assert "The prompt came out differently" in str(failed.error)
    worker.answer(unfinished("one two ", (100, 101), plan=now))
    assert isinstance(log.until("event", Finished), Finished)
    assert worker.close()


def test_stopping_ends_the_reply_within_one_token(log: Log) -> None:
    pace = Pace(is_stepped=True)
    engine = FakeEngine([None], pace=pace)
    worker = worker_of(engine, log)
    worker.answer(turn_for("a"))
    pace.step(3)
    for _ in range(3):
        log.until("event", Token)
    worker.stop()
    pace.step(100)
    finished = log.until("event", Finished)
    assert isinstance(finished, Finished)
    assert finished.reason == "stopped"
    assert finished.usage.new_tokens <= 4
    worker.answer(turn_for("b"))
    assert isinstance(log.until("event", Token), Token)
    assert worker.close()


def test_a_turn_that_is_stopped_before_it_begins_is_refused(log: Log) -> None:
    gate = threading.Event()
    worker = worker_of(FakeEngine(), log, gate=gate)
    worker.answer(turn_for("a"))
    worker.stop()
    gate.set()
    assert isinstance(log.until("refused"), Interrupted)
    assert worker.close()


def test_a_turn_that_waits_can_be_withdrawn_and_one_that_runs_cannot(log: Log) -> None:
    gate = threading.Event()
    engine = FakeEngine([None], pace=Pace(is_stepped=True))
    worker = worker_of(engine, log, gate=gate)
    first, second = turn_for("a"), turn_for("b")
    worker.answer(first)
    worker.answer(second)
    assert worker.withdraw(first)
    assert not worker.withdraw(first)
    gate.set()
    log.until("prepared")
    assert not worker.withdraw(second)
    assert worker.close()
    assert len(engine.prompts) == 1
    assert "b<|im_end|>" in engine.prompts[0]


@pytest.mark.parametrize(("broken", "told"), [("loaded", "not_loaded"), ("prepared", "refused")])
def test_a_listener_that_fails_is_told_and_the_thread_goes_on(log: Log, broken: str, told: str) -> None:
    works = getattr(log, broken)

    def fail(*args: object) -> None:
        setattr(log, broken, works)
        raise ValueError("no screen")

    setattr(log, broken, fail)
    worker = worker_of(FakeEngine(["yes"]), log)
    worker.answer(turn_for("a"))
    error = log.until(told)
    assert isinstance(error, ModelError)
    assert "ValueError: no screen" in error.message
    worker.load()
    worker.answer(turn_for("b"))
    assert isinstance(log.until("event", Finished), Finished)
    assert worker.close()


def test_a_listener_that_fails_at_the_last_word_does_not_end_the_thread(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        monkeypatch.undo()
        raise ValueError("no screen")

    monkeypatch.setattr(log, "refused", fail)
    worker = worker_of(FakeEngine(info=replace(FakeEngine().info, context_length=64)), log)
    worker.answer(turn_for("word " * 100))
    worker.answer(turn_for("word " * 100))
    assert isinstance(log.until("refused"), PromptError)
    assert worker.close()


def test_a_failed_loading_is_told_and_can_be_tried_again(log: Log) -> None:
    worker = worker_of(FakeEngine(), log, errors=[ModelError("no such file"), RuntimeError("broken kernel")])
    assert str(log.until("not_loaded")) == "no such file"
    worker.answer(turn_for("a"))
    assert str(log.until("refused")) == "no such file"
    worker.load()
    error = log.until("not_loaded")
    assert isinstance(error, ModelError)
    assert "RuntimeError: broken kernel" in error.message
    worker.load()
    worker.load()
    log.until("loaded")
    worker.answer(turn_for("a"))
    log.until("event", Finished)
    assert worker.close()


def test_the_file_is_fetched_once_before_the_loading(log: Log) -> None:
    calls: list[str] = []

    def pull(report: object, cancel: threading.Event) -> None:
        calls.append("pull")
        report(PullProgress(1, 2, 1.0, "SmolLM2"))  # type: ignore[operator]  # a callback
        if len(calls) == 1:
            raise Interrupted("Stopped.")

    worker = Worker(loader_of(FakeEngine()), log, LiveSampling(), pull=pull)
    worker.start()
    log.until("pulling", PullProgress)
    assert isinstance(log.until("not_loaded"), Interrupted)
    worker.load()
    log.until("loaded")
    worker.load()
    assert worker.close()
    assert calls == ["pull", "pull"]


def test_a_prompt_that_is_too_long_is_refused_and_the_next_one_runs(log: Log) -> None:
    info = replace(FakeEngine().info, context_length=64)
    worker = worker_of(FakeEngine(["yes"], info=info), log)
    worker.answer(turn_for("word " * 100))
    assert isinstance(log.until("refused"), PromptError)
    worker.answer(turn_for("short"))
    log.until("event", Finished)
    assert worker.close()


def test_a_failure_in_mid_reply_is_the_last_event(log: Log) -> None:
    worker = worker_of(FakeEngine([None], fail_after=2, error=ModelError("out of memory")), log)
    worker.answer(turn_for("a"))
    failed = log.until("event", Failed)
    assert isinstance(failed, Failed)
    assert failed.error.message == "out of memory"
    assert worker.close()


def test_a_bug_in_the_engine_becomes_a_failure(log: Log) -> None:
    class Broken(FakeEngine):
        def stream(self, *args: object, **options: object):  # type: ignore[no-untyped-def,override]  # breaks on purpose
            raise ZeroDivisionError("bug")
            yield

    worker = worker_of(Broken(), log)
    worker.answer(turn_for("a"))
    failed = log.until("event", Failed)
    assert isinstance(failed, Failed)
    assert "ZeroDivisionError" in failed.error.message
    assert worker.close()


@pytest.mark.parametrize("when", ["loading", "replying", "idle"])
def test_it_ends_at_once_whatever_it_does(log: Log, when: str) -> None:
    pace = Pace(is_stepped=True)
    gate = threading.Event()
    worker = worker_of(FakeEngine([None], pace=pace), log, gate=gate)
    if when != "loading":
        gate.set()
        log.until("loaded")
    if when == "replying":
        worker.answer(turn_for("a"))
        pace.step()
        log.until("event", Token)
    assert worker.close()
    assert not worker.is_alive
    if when == "replying":
        finished = log.until("event", Finished)
        assert isinstance(finished, Finished)
        assert finished.reason == "stopped"


def test_a_turn_that_was_wanted_before_the_start_waits_for_the_loading(log: Log) -> None:
    worker = Worker(loader_of(FakeEngine()), log, LiveSampling())
    worker.answer(turn_for("early"))
    worker.start()
    log.until("prepared")
    log.until("event", Finished)
    assert worker.close()
