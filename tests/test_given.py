"""A reply that begins with the user's words: tokenised, prefilled, recorded as theirs, computed again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_network import babbling
from recorded_chat import SAMPLING, RecordedChat
from test_rerun import engine_of

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.reply import GIVEN_CHUNK
from llama_chat.errors import PromptError
from llama_chat.events import Engine, Event, Finished, LiveSampling, Loading, Prefilled, Sampling, Text, Token
from llama_chat.rerun import rerun
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings
from llama_chat.turn import Prompt, check_given

GIVEN = "Naïve words — 🦙, \n\n  spaced. " + "Long enough for a second forward. " * 8


def fake() -> Engine:
    return engine_of(babbling())


@pytest.fixture
def real(default_model: Path) -> Callable[[], Engine]:
    def load() -> Engine:
        return load_engine(default_model, ModelSettings(threads=1))

    return load


def tokens_in(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def check_recorded(make: Callable[[], Engine], store: SessionStore, sampling: Sampling = SAMPLING) -> None:
    """One that begins so, is stopped and goes on: recorded as it was, and the same for a fresh engine."""
    with closing(make()) as engine:
        chat = RecordedChat(engine, store)
        chat.say("One?", sampling=sampling)
        reply = chat.say("Two?", given=GIVEN, sampling=sampling)
        count = sum(token.chosen_by == "user" for token in chat.tokens[reply.id])
        stopped = chat.regenerate(reply, given=GIVEN, sampling=sampling, seed=8, stop_after=count + 3)
        going_on = chat.go_on(stopped)
        chat.say("Three?", sampling=sampling)
        record = chat.record
    assert reply.text.startswith(GIVEN)
    tokens = list(record.tokens_of(reply.id))
    assert count > GIVEN_CHUNK
    assert [token.index for token in tokens] == list(range(len(tokens)))
    assert [token.chosen_by for token in tokens[count:]] == ["sampler"] * (len(tokens) - count)
    assert "".join(token.text for token in tokens[:count]) == GIVEN
    assert all(token.rank >= 1 and token.logprob <= 0 and len(token.candidates) for token in tokens)
    assert going_on.reply is not None
    assert len(going_on.reply.token_ids) > count + 3
    with closing(make()) as fresh:
        found = list(rerun(record, fresh))
    assert [verdict.verdict for verdict in found] == ["identical"] * 4
    assert [verdict.by_user for verdict in found] == [0, count, count, 0]
    assert [verdict.largest_logprob_difference for verdict in found] == [0] * 4


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "sessions.sqlite3")
    opened.open()
    yield opened
    opened.close()


def test_what_the_user_gave_is_recorded_as_his_and_computed_again(store: SessionStore) -> None:
    check_recorded(fake, store)


def test_the_default_model_goes_on_from_given_words(real: Callable[[], Engine], store: SessionStore) -> None:
    check_recorded(real, store, replace(SAMPLING, max_new_tokens=6))


def test_given_tokens_are_no_new_ones_and_do_not_count_for_the_speed() -> None:
    chat = RecordedChat(fake())
    reply = chat.say("One?", given="x" * 100)
    assert reply.reply is not None
    assert len(reply.reply.token_ids) == 100 + SAMPLING.max_new_tokens
    steps = SAMPLING.max_new_tokens - 1
    assert reply.reply.decode_tok_per_s == pytest.approx(steps / reply.reply.decode_s)


def test_a_cancel_while_they_are_read_gives_none_of_them_out() -> None:
    engine, cancel = fake(), threading.Event()
    assert isinstance(engine, LocalEngine)
    events: list[Event] = []
    for event in engine.stream(
        [Text("One?")], sampling=LiveSampling(SAMPLING), seed=7, given="x" * 200, cancel=cancel
    ):
        events.append(event)
        if isinstance(event, Loading):
            cancel.set()
    assert not tokens_in(events)
    assert not any(isinstance(event, Prefilled) for event in events)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stopped"
    assert len(engine.live.ids) < 200


def test_words_that_leave_no_room_are_refused() -> None:
    engine = fake()
    prompt = Prompt((), 10, None, 0)
    check_given(engine, prompt, "x" * (engine.info.context_length - 11))
    with pytest.raises(PromptError, match="the context holds"):
        check_given(engine, prompt, "x" * (engine.info.context_length - 10))
