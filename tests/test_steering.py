"""A reply that waits for its user: pause, step, a token of his own, words of his own."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

import pytest
from fake_network import END, FakeNetwork, question, saying
from loop_runs import SAMPLED, check_cache, ids_of, last, stream

from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.events import Awaiting, Event, LiveSampling, Sampling, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.steering import Steering

PROMPT = question("hi")
SEED = 7
LONG = replace(SAMPLED, max_new_tokens=6)


def run(
    engine: LocalEngine,
    steering: Steering,
    at: Callable[[Awaiting], object],
    sampling: LiveSampling | None = None,
    cancel: threading.Event | None = None,
) -> list[Event]:
    """All events of a reply; what it waits for is told to `at`, which says how to go on."""
    live = sampling or LiveSampling(LONG)
    events: list[Event] = []
    for event in engine.stream(PROMPT, sampling=live, seed=SEED, steering=steering, cancel=cancel):
        events.append(event)
        if isinstance(event, Awaiting):
            at(event)
    return events


def tokens_of(events: list[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def test_stepping_takes_what_the_sampler_would_and_changes_nothing() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    free = list(stream(FakeNetwork().engine(), PROMPT, LONG, seed=SEED))
    steering.begin_stepping()
    stepped = run(engine, steering, lambda awaited: steering.step(awaited.index))
    assert ids_of(stepped) == ids_of(free)
    waits = [event for event in stepped if isinstance(event, Awaiting)]
    assert [each.would_take for each in waits] == ids_of(free)
    assert {token.chosen_by for token in tokens_of(stepped)} == {"sampler"}
    assert tokens_of(stepped)[0].candidates == waits[0].candidates
    check_cache(engine)


def test_a_chosen_token_is_recorded_as_the_users_with_its_own_place() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    steering.begin_stepping()

    def at(awaited: Awaiting) -> None:
        if awaited.index == 1:
            steering.choose(1, awaited.candidates.token_ids[5])
            steering.resume()
        else:
            steering.step(awaited.index)

    tokens = tokens_of(run(engine, steering, at))
    assert [token.chosen_by for token in tokens] == ["sampler", "user", *["sampler"] * 4]
    chosen = tokens[1]
    assert chosen.rank == 6
    assert chosen.token_id == chosen.candidates.token_ids[5]
    assert chosen.logprob == pytest.approx(chosen.candidates.penalised[5] - chosen.candidates.logsumexp)
    again = FakeNetwork().engine()
    ids = [token.token_id for token in tokens]
    assert ids_of(list(stream(again, PROMPT, LONG, seed=SEED, forced_ids=ids[:2]))) == ids[2:]


def test_a_pause_ends_where_it_is_let_go_and_its_time_is_no_token_s() -> None:
    engine, steering, waited_s = FakeNetwork().engine(), Steering(), 0.3
    events = engine.stream(PROMPT, sampling=LiveSampling(LONG), seed=SEED, steering=steering)
    began = list(takewhile(lambda event: not isinstance(event, Token), events))
    assert not any(isinstance(event, Awaiting) for event in began)
    steering.pause()
    assert isinstance(next(events), Awaiting)
    timer = threading.Timer(waited_s, steering.resume)
    timer.start()
    started = time.perf_counter()
    rest = list(events)
    assert time.perf_counter() - started >= 0.9 * waited_s
    assert len(tokens_of(rest)) == 5
    assert sum(token.seconds for token in tokens_of(rest)) < waited_s / 2
    assert last(rest).timings.decode_s < waited_s / 2
    assert not steering.is_waiting


def test_a_slider_that_is_moved_meanwhile_changes_what_would_be_taken() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    live, hot = LiveSampling(replace(LONG, temperature=0.0)), replace(LONG, temperature=50.0, top_k=0)
    steering.begin_stepping()
    told: list[Awaiting] = []

    def at(awaited: Awaiting) -> None:
        told.append(awaited)
        if len(told) == 1:
            live.current = hot
        else:
            steering.step(awaited.index)
            steering.resume()

    first = tokens_of(run(engine, steering, at, live))[0]
    assert told[0].would_take == told[0].candidates.token_ids[0]
    assert told[1].would_take == first.token_id != told[0].would_take
    assert first.sampling == hot


def test_the_candidate_that_was_picked_is_taken_whatever_the_sliders_make_of_it_meanwhile() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    live, hot = LiveSampling(replace(LONG, temperature=0.0)), replace(LONG, temperature=50.0, top_k=0)
    steering.begin_stepping()
    told: list[Awaiting] = []

    def at(awaited: Awaiting) -> None:
        told.append(awaited)
        if len(told) == 1:
            live.current = hot
        elif len(told) == 2:  # picked where the best was shown as what the sampler would take
            steering.choose(awaited.index, told[0].would_take)
        else:
            steering.choose(awaited.index, awaited.would_take)

    tokens = tokens_of(run(engine, steering, at, live))
    assert told[0].would_take != told[1].would_take
    assert (tokens[0].token_id, tokens[0].chosen_by) == (told[0].would_take, "user")
    assert {token.chosen_by for token in tokens[1:]} == {"sampler"}


def test_a_cancel_ends_the_wait() -> None:
    engine, steering, cancel = FakeNetwork().engine(), Steering(), threading.Event()
    steering.pause()
    events = run(engine, steering, lambda _: cancel.set(), cancel=cancel)
    assert last(events).reason == "stopped"
    assert not tokens_of(events)
    check_cache(engine)


def test_typed_words_become_tokens_of_the_reply_one_by_one() -> None:
    network = FakeNetwork()
    engine, steering = network.engine(), Steering()
    steering.begin_stepping()

    def at(awaited: Awaiting) -> None:
        steering.type_in(awaited.index, "né!") if awaited.index == 1 else steering.step(awaited.index)

    tokens = tokens_of(run(engine, steering, at))
    assert "".join(token.text for token in tokens[1:5]) == "né!"
    assert [token.chosen_by for token in tokens] == ["sampler", *["user"] * 4, "sampler"]
    assert network.rows[1:] == [1] * 5


def test_a_choice_that_ends_the_turn_ends_the_reply() -> None:
    engine, steering = FakeNetwork(saying([104, 105])).engine(), Steering()
    steering.begin_stepping()
    events = run(engine, steering, lambda awaited: steering.choose(awaited.index, END))
    done = last(events)
    assert (done.reason, done.plan.ended_by) == ("end", "user")
    assert done.end is not None
    assert done.end.chosen_by == "user"
    assert not tokens_of(events)
    free = last(list(stream(FakeNetwork(saying([104, 105])).engine(), PROMPT)))
    assert free.plan.ended_by == "sampler"


def test_orders_count_only_for_the_token_that_is_waited_at() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    assert not steering.step(0)
    steering.begin_stepping()
    said: list[bool] = []

    def at(awaited: Awaiting) -> None:
        said.append(steering.choose(awaited.index + 1, 65))
        said.append(steering.step(awaited.index))
        said.append(steering.choose(awaited.index, 65))

    tokens = tokens_of(run(engine, steering, at))
    assert said == [False, True, False] * len(tokens)
    assert all(token.chosen_by == "sampler" for token in tokens)


def test_the_time_of_a_step_counts_whoever_chose_the_token() -> None:
    engine, steering = FakeNetwork().engine(), Steering()
    steering.begin_stepping()
    builder = ReplyBuilder(begun())
    for event in run(engine, steering, lambda awaited: steering.choose(awaited.index, 65)):
        builder.feed(event)
    reply = builder.message.reply
    assert reply is not None
    assert builder.message.text == "A" * 6
    assert reply.decode_s > 0
    assert reply.decode_tok_per_s > 0


def begun() -> Message:
    return Message("m", None, Role.ASSISTANT, "", 0.0, Reply(SEED, Sampling()))
