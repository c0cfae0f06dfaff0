"""Drafting several tokens at once: the reply is the same as without, and its plan computes it again."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drafted_kill import Guesser, cheap
from drafting_seeds import compare
from fake_network import END, FakeNetwork, babbling, question, saying
from loop_runs import SAMPLED, check_cache, ids_of, last, stream
from tiny_models import TinyModel, tiny_vocabulary

from llama_chat.engine.drafting.costs import EXPECTED_STEPS, FEWEST_RATIOS, RETRIED_AFTER, ForwardCosts
from llama_chat.engine.drafting.drafting import MOST_DRAFTED, Drafting
from llama_chat.engine.drafting.lookup import LONGEST_MATCH, Lookup
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import ModelError
from llama_chat.events import Event, Forward, LiveSampling, Sampling, Text, Token
from llama_chat.settings import ModelSettings
from llama_chat.steering import Steering

LONG = replace(SAMPLED, max_new_tokens=60)


def drafting_engine(network: FakeNetwork, drafter: Any) -> LocalEngine:
    network.cuts_anywhere = True
    engine = network.engine()
    engine.drafting = cheap(drafter)
    return engine


def numbers_of(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """What must come out equal to the last bit."""
    tokens = [event for event in events if isinstance(event, Token)]
    return [(t.index, t.token_id, t.text, t.logprob, t.rank, t.candidates, t.sampling) for t in tokens]


# --- the reply is the same ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling", [LONG, replace(LONG, temperature=0.0), replace(LONG, repetition_penalty=1.5)]
)
@pytest.mark.parametrize("slips", [0.0, 0.3, 1.0])
def test_the_reply_is_the_same_with_drafts_of_any_quality(sampling: Sampling, slips: float) -> None:
    plain_engine = FakeNetwork(babbling(3)).engine()
    plain = list(stream(plain_engine, question("well?"), sampling))
    network = FakeNetwork(babbling(3))
    engine = drafting_engine(network, Guesser(ids_of(plain), slips=slips))
    events = list(stream(engine, question("well?"), sampling))
    assert numbers_of(events) == numbers_of(plain)
    assert engine.live.ids == plain_engine.live.ids
    check_cache(engine)
    usage = last(events).usage
    assert max(network.rows[1:]) > 1, "something was drafted"
    assert (usage.accepted_tokens == usage.drafted_tokens) == (slips == 0)
    assert len(network.rows) == len(ids_of(events)) - usage.accepted_tokens


def test_what_repeats_is_found_and_saves_most_of_the_forwards() -> None:
    song = list(b"la la li la " * 12)
    network = FakeNetwork(saying(song))
    engine = drafting_engine(network, Lookup())
    events = list(stream(engine, question("sing"), replace(LONG, max_new_tokens=400)))
    assert ids_of(events) == song
    assert last(events).reason == "end"
    assert len(network.rows) < len(song) / 2
    check_cache(engine)


@pytest.mark.parametrize("length", [1, 2, 7, 30])
def test_it_ends_where_it_would_have_ended(length: int) -> None:
    for change in ("max_new_tokens", "context", "end"):
        said = list(b"abcdefgh" * 8)
        logits = saying(said[:length] if change == "end" else said)
        wanted = replace(LONG, max_new_tokens=length if change == "max_new_tokens" else 60)
        context = {"context_length": 3 + length} if change == "context" else {}
        plain_engine = FakeNetwork(logits, **context).engine()
        plain = list(stream(plain_engine, question("?"), wanted))
        engine = drafting_engine(FakeNetwork(logits, **context), Guesser([*said, END, END], slips=0.1))
        events = list(stream(engine, question("?"), wanted))
        assert numbers_of(events) == numbers_of(plain), change
        assert last(events).reason == last(plain).reason
        assert engine.live.ids == plain_engine.live.ids
        check_cache(engine)


@pytest.mark.parametrize("at", range(8))
def test_a_slider_acts_on_the_next_token_that_is_given_out(at: int) -> None:
    def run(engine: LocalEngine) -> list[Event]:
        live, events = LiveSampling(LONG), []
        for event in stream(engine, question("?"), live):
            events.append(event)
            if isinstance(event, Token) and event.index == at:
                live.change(temperature=3.0, top_k=0)
        return events

    unmoved = ids_of(list(stream(FakeNetwork().engine(), question("?"), LONG)))
    plain = run(FakeNetwork().engine())
    drafted = run(drafting_engine(FakeNetwork(), Guesser(unmoved, slips=0.0)))
    assert numbers_of(drafted) == numbers_of(plain)
    assert ids_of(plain) != unmoved


@pytest.mark.parametrize("at", range(6))
def test_a_pause_and_a_token_of_the_user_inside_of_what_was_verified(at: int) -> None:
    def run(engine: LocalEngine) -> list[Event]:
        steering, events = Steering(), []
        sampling = LiveSampling(replace(LONG, repetition_penalty=1.3, max_new_tokens=20))
        for event in engine.stream(question("?"), sampling=sampling, seed=7, steering=steering):
            events.append(event)
            if isinstance(event, Token) and event.index == at:
                steering.pause()
            elif type(event).__name__ == "Awaiting":
                steering.resume() if at % 2 else steering.choose(event.index, 65)
                if not at % 2:
                    steering.resume()
        return events

    plain = run(FakeNetwork().engine())
    drafted = run(drafting_engine(FakeNetwork(), Guesser(ids_of(plain), slips=0.2)))
    assert numbers_of(drafted) == numbers_of(plain)


@pytest.mark.parametrize("at", range(6))
def test_a_cancel_leaves_what_was_given_out(at: int) -> None:
    cancel, events = threading.Event(), []
    plain = ids_of(list(stream(FakeNetwork().engine(), question("?"), LONG)))
    engine = drafting_engine(FakeNetwork(), Guesser(plain, slips=0.2))
    for event in stream(engine, question("?"), LONG, cancel=cancel):
        events.append(event)
        if isinstance(event, Token) and event.index == at:
            cancel.set()
    assert ids_of(events) == plain[: at + 1]
    assert last(events).reason == "stopped"
    assert engine.live.ids[3:] == plain[:at]
    check_cache(engine)


def test_a_cache_that_cannot_be_cut_is_not_drafted_with() -> None:
    network = FakeNetwork(saying(b"la la la la la la la la la "))
    engine = drafting_engine(network, Lookup())
    network.cuts_anywhere = False
    engine = LocalEngine(network, engine.tokenizer, engine.info)
    engine.drafting = cheap(Lookup())
    list(stream(engine, question("?"), LONG))
    assert set(network.rows[1:]) == {1}


# --- its plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5, 8, 20, 44])
def test_a_drafted_reply_is_computed_again_by_its_plan(cut: int) -> None:
    """In a network whose logits betray every forward that is not as it was."""

    def fresh(drafter: Any = None) -> LocalEngine:
        network = FakeNetwork(feels_shapes=True, cuts_anywhere=True)
        return drafting_engine(network, drafter) if drafter is not None else network.engine()

    wanted = replace(LONG, max_new_tokens=45)
    guess = ids_of(list(stream(fresh(), question("?"), wanted)))
    for seed in range(4):
        drafted_by = drafting_engine(
            FakeNetwork(babbling(), feels_shapes=True), Guesser(guess, seed=seed, slips=0.0)
        )
        whole = list(stream(drafted_by, question("?"), replace(wanted, temperature=0.3)))
        plan = last(whole).plan.forwards
        forced = ids_of(whole)[:cut]
        for engine in (fresh(), drafted_by, fresh(Guesser(guess))):
            cold = replace(wanted, temperature=0.3)
            again = list(stream(engine, question("?"), cold, forced_ids=forced, plan=plan))
            assert numbers_of(again) == numbers_of(whole)[cut:]
            assert last(again).plan.forwards == plan
            check_cache(engine)


def test_a_plan_of_several_rows_a_token_is_followed_to_its_end() -> None:
    """The most that drafting leaves behind: of every forward one row is kept."""
    network = FakeNetwork(context_length=400, feels_shapes=True, cuts_anywhere=True)
    rows = MOST_DRAFTED + 1
    plan = [Forward(0, 3, 3, "prefill"), *(Forward(at, rows, 1, "prefill") for at in range(3, 300))]
    wanted = replace(LONG, max_new_tokens=297)
    events = list(stream(network.engine(), question("?"), wanted, plan=plan))
    assert last(events).plan.forwards == tuple(plan[:-1])


# --- whether it pays ----------------------------------------------------------------------------------


def test_the_longest_match_is_found_and_of_those_the_most_recent() -> None:
    lookup = Lookup()
    lookup.begin([1, 2, 3, 10, 9, 2, 3, 20, 9, 3, 30, 1, 2])
    lookup.learn(3)
    assert lookup.draft(3) == [10, 9, 2], "three ids back, not the later match of two or one"
    lookup.learn(9)
    assert lookup.draft(2) == [3, 30], "of one id: the later one"
    lookup.begin([5, 6] * LONGEST_MATCH)
    lookup.learn(5)
    assert lookup.draft(5) == [6, 5, 6, 5, 6], "what repeats goes on, beyond its end too"
    lookup.begin([])
    lookup.learn(7)
    assert lookup.draft(4) == []
    assert lookup.chances(4) == []


def test_how_much_is_drafted_follows_what_forwards_take() -> None:
    drafting = Drafting(Lookup())
    costs = drafting.costs
    assert drafting.best_count([1.0] * MOST_DRAFTED) == 0, "nothing was measured"
    for _ in range(FEWEST_RATIOS):
        costs.note(1, 0.010)
    assert drafting.best_count([1.0] * MOST_DRAFTED) == MOST_DRAFTED
    assert drafting.best_count([0.05] * MOST_DRAFTED) == 0
    for _ in range(FEWEST_RATIOS):
        costs.note(2, 0.040)
    assert drafting.best_count([0.9] * MOST_DRAFTED) > 0, "what was measured counts from the next reply on"
    costs.begin(None)
    assert drafting.best_count([0.9] * MOST_DRAFTED) == 0, "here several rows take too much"
    for _ in range(RETRIED_AFTER + 1):
        costs.note(1, 0.010)
    costs.begin(None)
    assert drafting.best_count([0.9] * MOST_DRAFTED) > 0, "it is tried again"
    for _ in range(FEWEST_RATIOS):
        costs.note(8, 0.011)
    costs.begin(None)
    assert drafting.best_count([0.4] * MOST_DRAFTED) > 1, "here they take next to nothing"
    costs.begin("another step")
    assert costs.step_s is None


def test_a_machine_about_as_expected_drafts_by_no_measurement() -> None:
    """Else the same seed would give another reply, in near ties, when the machine is busy."""
    chance, costs = random.Random(5), ForwardCosts()
    for _ in range(600):
        rows = chance.choice((1, 1, 1, 2, 4, 8))
        costs.note(rows, 0.01 * EXPECTED_STEPS[rows - 1] * chance.choice((*[0.85, 1.0, 1.15] * 5, 3.0)))
        costs.begin(None)
        if costs.step_s is not None:
            assert [costs.in_steps(n) for n in range(1, 9)] == list(EXPECTED_STEPS)


def test_a_slow_forward_among_others_does_not_count() -> None:
    costs = ForwardCosts()
    for seconds in (0.01, 0.01, 5.0, 0.01, 0.01):
        costs.note(1, seconds)
    assert costs.step_s == 0.01


def test_where_nothing_is_gained_drafts_stay_on_paper() -> None:
    """Text in which what followed before never follows again."""
    pairs = [byte for n in range(60) for byte in (7, 100 + n)]
    network = FakeNetwork(saying(pairs))
    engine = drafting_engine(network, Lookup())
    events = list(stream(engine, question("?"), replace(LONG, max_new_tokens=120)))
    assert ids_of(events) == pairs
    assert sum(rows > 1 for rows in network.rows[1:]) == 0
    assert last(events).usage.drafted_tokens == 0


# --- real networks ------------------------------------------------------------------------------------


def test_on_a_tiny_model_in_f32_no_seed_differs(tmp_path: Path) -> None:
    path = TinyModel(n_layers=2).write(tmp_path / "tiny.gguf")
    engine = load_engine(path, ModelSettings(threads=1, dtype="f32", draft="auto"))
    wanted = Sampling(temperature=0.2, top_k=20, max_new_tokens=48)
    drafted_tokens = 0
    for seed in range(12):
        prompt = [Text("the other day you sang in the rain, the other day you sang in the rain")]
        engine.drafting = None
        plain = list(stream(engine, prompt, wanted, seed=seed))
        engine.live.rewind(0)
        engine.drafting = cheap(Lookup())
        drafted = list(stream(engine, prompt, wanted, seed=seed))
        engine.live.rewind(0)
        assert ids_of(drafted) == ids_of(plain)
        drafted_tokens += last(drafted).usage.drafted_tokens
    assert drafted_tokens > 0
    engine.close()


def test_a_draft_model_of_the_same_tokens_drafts_and_another_is_refused(tmp_path: Path) -> None:
    path = TinyModel(n_layers=1).write(tmp_path / "one.gguf")
    engine = load_engine(path, ModelSettings(threads=1, dtype="f32", draft=str(path)))
    wanted = Sampling(temperature=0.9, top_k=20, max_new_tokens=40)
    assert engine.drafting is not None
    engine.drafting = cheap(engine.drafting.drafter)
    drafted = list(stream(engine, [Text("the other day")], wanted))
    usage = last(drafted).usage
    assert usage.accepted_tokens == usage.drafted_tokens > 10, (
        "it is the same model, and draws with the same noise"
    )
    engine.drafting, drafting = None, engine.drafting
    assert ids_of(list(stream(engine, [Text("the other day")], wanted))) == ids_of(drafted)
    drafting.drafter.close()
    engine.close()
    with pytest.raises(ModelError, match=r"not on this machine|No model"):
        load_engine(path, ModelSettings(threads=1, draft="no/such-model"))
    other = TinyModel(n_layers=1, vocabulary=tiny_vocabulary(320)).write(tmp_path / "other.gguf")
    with pytest.raises(ModelError, match="has other tokens than"):
        load_engine(path, ModelSettings(threads=1, draft=str(other)))


def test_with_the_default_model_only_near_ties_differ(default_model: Path) -> None:
    """The short form of `drafting_seeds.py`."""
    engine = load_engine(default_model, ModelSettings(threads=1, context=1024))
    counts = compare(engine, range(4), 32)
    engine.close()
    assert counts.drafted > 50
    assert counts.differing == counts.near_ties, "nothing but rounding is between them"
    assert counts.differing <= 2
