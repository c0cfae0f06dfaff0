"""What the engine is asked for beside replies: it runs between them, and always ends."""

from __future__ import annotations

import threading

import pytest
from fake_engine import FakeEngine, loader_of
from test_worker import TIMEOUT_S, Log, turn_for, worker_of

from llama_chat.errors import Interrupted, LlamaChatError, ModelError
from llama_chat.events import Engine, Finished, LiveSampling
from llama_chat.worker import Worker


def test_it_is_done_on_the_engines_thread_between_replies() -> None:
    log = Log()
    worker = worker_of(FakeEngine(["one two", "three"]), log)
    worker.answer(turn_for("a"))
    asked = worker.compute(lambda engine: (engine.info.name, threading.get_ident()), threading.Event())
    worker.answer(turn_for("b"))
    name, thread = asked.result(TIMEOUT_S)
    log.until("event", Finished)
    log.until("event", Finished)
    assert name == FakeEngine(["x"]).info.name
    assert log.threads == {thread}
    assert worker.close()


def test_whatever_it_raises_is_an_error_of_ours_and_the_thread_lives_on() -> None:
    worker = worker_of(FakeEngine(["one"]), Log())

    def fail(engine: Engine) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(LlamaChatError, match="ZeroDivisionError: by nothing"):
        worker.compute(fail, threading.Event()).result(TIMEOUT_S)
    assert worker.compute(lambda engine: 7, threading.Event()).result(TIMEOUT_S) == 7
    assert worker.close()


def test_one_that_is_given_up_before_it_begins_fails_as_interrupted() -> None:
    worker = worker_of(FakeEngine(["one"]), Log())
    cancel, goes_on = threading.Event(), threading.Event()
    first = worker.compute(lambda engine: goes_on.wait(TIMEOUT_S), threading.Event())
    second = worker.compute(lambda engine: 7, cancel)
    cancel.set()
    goes_on.set()
    assert first.result(TIMEOUT_S)
    with pytest.raises(Interrupted):
        second.result(TIMEOUT_S)
    assert worker.close()


def test_without_a_model_it_says_why_there_is_none() -> None:
    log = Log()
    worker = Worker(loader_of(FakeEngine(["x"]), errors=[ModelError("It is cut.")]), log, LiveSampling())
    worker.start()
    with pytest.raises(ModelError, match="It is cut"):
        worker.compute(lambda engine: 7, threading.Event()).result(TIMEOUT_S)
    assert worker.close()


def test_the_end_of_the_chat_ends_the_one_that_runs_and_those_that_wait() -> None:
    worker = worker_of(FakeEngine(["one"]), Log())
    cancel, begun = threading.Event(), threading.Event()

    def run(engine: Engine) -> str:
        begun.set()
        assert cancel.wait(TIMEOUT_S)
        return "seen"

    running = worker.compute(run, cancel)
    waiting = worker.compute(lambda engine: 7, threading.Event())
    assert begun.wait(TIMEOUT_S)
    assert worker.close()
    assert running.result(TIMEOUT_S) == "seen"
    for late in (waiting, worker.compute(lambda engine: 7, threading.Event())):
        with pytest.raises(Interrupted):
            late.result(TIMEOUT_S)
