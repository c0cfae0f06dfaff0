"""A reply is computed again by its plan: stopped and continued, cold or warm, it is the unbroken one."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fake_network import FakeNetwork, in_blocks_of, question, saying, sliding
from loop_runs import GREEDY, SAMPLED, check_cache, ids_of, last, stream
from tiny_library import write_family

from llama_chat.compute_plan import length_of, usable_forwards, with_steps
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import (
    ComputePlan,
    Event,
    Failed,
    Finished,
    Forward,
    Ids,
    Loading,
    Piece,
    Prefilled,
    Sampling,
    Special,
    Text,
    Token,
    digest_of,
)
from llama_chat.sessions.records import plan_from, plan_json
from llama_chat.settings import ModelSettings


def tokens_of(events: Sequence[Event]) -> list[Token]:
    return [event for event in events if isinstance(event, Token)]


def numbers_of(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """What must come out equal to the last bit."""
    return [
        (token.index, token.token_id, token.text, token.logprob, token.rank, token.candidates)
        for token in tokens_of(events)
    ]


def prefilled_of(events: Sequence[Event]) -> Prefilled:
    (found,) = (event for event in events if isinstance(event, Prefilled))
    return found


def feeling() -> FakeNetwork:
    return FakeNetwork(feels_shapes=True)


def two_turns(engine: LocalEngine, sampling: Sampling, **options: Any) -> tuple[list[Piece], list[Event]]:
    """The prompt of a second turn and its reply; the first one was regenerated, which shortened a forward."""
    for seed in (1, 2):
        first = list(stream(engine, question("tell me of llamas"), sampling, seed=seed))
    history = [*question("tell me of llamas"), Ids(tuple(ids_of(first))), Special("<|end|>")]
    prompt = [*history, *question("and of alpacas?")]
    return prompt, list(stream(engine, prompt, sampling, seed=3, **options))


# --- the plan as data -------------------------------------------------------------------------------


def test_steps_lengthen_a_plan_up_to_a_length_and_never_shorten_it() -> None:
    plan = ComputePlan((Forward(0, 5, 5, "prefill"),), "f32", "cpu", 1, "fake")
    longer = with_steps(plan, 8)
    assert longer.forwards == (Forward(0, 5, 5, "prefill"), Forward(5, 1, 3, "step"))
    assert with_steps(longer, 10).forwards[-1] == Forward(5, 1, 5, "step")
    assert with_steps(longer, 7) is longer
    assert with_steps(replace(plan, forwards=()), 2).forwards == (Forward(0, 1, 2, "step"),)


WRONG: list[Any] = [
    Forward(7, 4, 4, "prefill"),  # a gap
    Forward(5, 4, 4, "prefill"),  # an overlap
    Forward(6, 0, 0, "prefill"),
    Forward(6, 4, 5, "prefill"),
    Forward(6, -4, -4, "prefill"),
    Forward(6, 257, 4, "prefill"),
    Forward(6, 10**18, 4, "prefill"),
    Forward(6, 250, 4, "prefill"),  # beyond the context
    Forward(6, 1, -1, "step"),
    Forward(6, 3, 3, "step"),
    Forward(6, 1, 0, "step"),
    Forward(6, 4, 4, "leap"),  # type: ignore[arg-type]  # out of a file
    Forward(6, 4.0, 4, "prefill"),  # type: ignore[arg-type]  # out of a file
    Forward(6, "4", None, "prefill"),  # type: ignore[arg-type]  # out of a file
    Forward(True, 4, 4, "prefill"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_from_where_a_plan_is_wrong_the_rest_is_plain(wrong: Forward) -> None:
    right = Forward(0, 6, 6, "prefill")
    plan = [right, wrong, Forward(10, 1, 5, "step")]
    assert usable_forwards(plan, length=20, context_length=200) == [right]
    network = FakeNetwork(context_length=200)
    events = list(stream(network.engine(), [Text("a" * 20)], plan=plan))
    assert network.rows[:2] == [6, 14]
    assert ids_of(events) == ids_of(list(stream(FakeNetwork().engine(), [Text("a" * 20)])))


def test_a_plan_of_more_than_there_is_ends_where_the_ids_do() -> None:
    network = FakeNetwork()
    list(
        stream(
            network.engine(),
            [Text("a" * 20)],
            plan=[Forward(0, 9, 9, "prefill"), Forward(9, 1, 10**15, "step")],
        )
    )
    assert network.rows[:12] == [9, *[1] * 11]
    assert network.logits_wanted[:12] == [*["none"] * 11, "last"]


def test_a_plan_that_asks_for_endless_work_is_not_followed() -> None:
    network = FakeNetwork(context_length=600)
    plan = [Forward(at, 256, 1, "prefill") for at in range(300)]
    list(stream(network.engine(), [Text("a" * 300)], plan=plan))
    assert sum(network.rows) < 10 * 600


# --- following it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 23])
@pytest.mark.parametrize("rewinds", [in_blocks_of(1), in_blocks_of(4)])
def test_a_reply_goes_on_in_the_same_shapes_warm_and_cold(cut: int, rewinds: Any) -> None:
    engine = FakeNetwork(feels_shapes=True, rewinds=rewinds).engine()
    prompt, whole = two_turns(engine, SAMPLED)
    head_engine = FakeNetwork(feels_shapes=True, rewinds=rewinds).engine()
    _, head = two_turns(head_engine, replace(SAMPLED, max_new_tokens=24))
    assert numbers_of(head) == numbers_of(whole)
    after_crash = with_steps(prefilled_of(whole).plan or last(whole).plan, 10_000).forwards
    other = list(stream(engine, question("something else"), SAMPLED))
    for warm_or_cold, plan in (
        (head_engine, last(whole).plan.forwards),
        (engine, last(whole).plan.forwards),
        (feeling().engine(), last(whole).plan.forwards),
        (feeling().engine(), after_crash),
    ):
        rest = list(stream(warm_or_cold, prompt, SAMPLED, seed=3, forced_ids=ids_of(whole)[:cut], plan=plan))
        assert numbers_of(rest) == numbers_of(whole)[cut:]
        assert length_of(last(rest).plan.forwards) == length_of(last(whole).plan.forwards)
        check_cache(warm_or_cold)
    assert other, "the cache was used for something else in between"


def test_without_the_plan_the_bits_differ() -> None:
    prompt, whole = two_turns(feeling().engine(), SAMPLED)
    rest = list(stream(feeling().engine(), prompt, SAMPLED, seed=3, forced_ids=ids_of(whole)[:7]))
    assert numbers_of(rest) != numbers_of(whole)[7:]


def test_forced_ids_without_a_plan_go_one_by_one() -> None:
    network = FakeNetwork()
    list(stream(network.engine(), question("?"), GREEDY, forced_ids=b"12345"))
    assert network.rows[:6] == [3, 1, 1, 1, 1, 1]


def test_a_forward_of_which_a_part_is_there_is_computed_from_its_start() -> None:
    network = feeling()
    engine = network.engine()
    whole = list(stream(engine, [Text("a" * 40)], SAMPLED))
    list(stream(engine, [Text("a" * 30 + "b" * 9)], SAMPLED))
    network.rows.clear()
    again = list(stream(engine, [Text("a" * 40)], SAMPLED, plan=last(whole).plan.forwards))
    assert network.rows[0] == 40
    assert last(again).usage.reused_tokens == 0
    assert numbers_of(again) == numbers_of(whole)


def test_logits_are_taken_from_inside_of_a_forward_that_was_longer() -> None:
    network = feeling()
    plan = [Forward(0, 40, 25, "prefill")]
    engine = network.engine()
    first = list(stream(engine, [Text("a" * 25)], SAMPLED, plan=plan))
    assert network.rows[0] == 40
    assert network.logits_wanted[0] == "all"
    assert last(first).plan.forwards[0] == plan[0]
    check_cache(engine)


def test_a_cache_that_cannot_be_cut_there_gets_a_plain_prefill() -> None:
    plan = [Forward(0, 40, 25, "prefill")]
    network = FakeNetwork(rewinds=sliding(30))
    engine = network.engine()
    events = list(stream(engine, [Text("a" * 28)], SAMPLED, plan=plan))
    assert network.rows[:2] == [40, 28]
    assert ids_of(events) == ids_of(list(stream(FakeNetwork().engine(), [Text("a" * 28)], SAMPLED)))
    check_cache(engine)


def test_any_history_followed_in_a_fresh_engine_gives_the_same_bits() -> None:
    chance = random.Random(11)
    engine = feeling().engine()
    text = ""
    for _ in range(40):
        text = text[: chance.randrange(len(text) + 1)] + chance.choice("xyz") * chance.choice((1, 5, 40, 300))
        wanted = replace(SAMPLED, max_new_tokens=chance.choice((1, 2, 9)))
        whole = list(stream(engine, [Text(text)], wanted))
        stored = plan_from(json.loads(json.dumps(plan_json(last(whole).plan))))
        assert stored == last(whole).plan
        again = list(stream(feeling().engine(), [Text(text)], wanted, plan=stored.forwards))
        assert numbers_of(again) == numbers_of(whole)
        check_cache(engine)


@pytest.mark.parametrize("at", [3, 40, 90])
def test_a_cancel_is_seen_between_the_steps_of_a_plan(at: int) -> None:
    cancel = threading.Event()
    network = FakeNetwork(after_writing=lambda number: cancel.set() if number == at else None)
    events = list(
        stream(network.engine(), [Text("a" * 100)], plan=[Forward(0, 1, 100, "step")], cancel=cancel)
    )
    assert len(network.rows) == at + 1
    assert last(events).reason == "stopped"
    fractions = [event.fraction for event in events if isinstance(event, Loading)]
    assert fractions == [0.32, 0.64, 0.96][: (at + 1) // 32]


# --- what is told -----------------------------------------------------------------------------------


def test_the_plan_is_told_with_the_prefill_and_names_machine_and_prompt() -> None:
    engine = FakeNetwork(saying(b"hello")).engine()
    engine = LocalEngine(engine.network, engine.tokenizer, replace(engine.info, machine="An Abacus 9"))
    events = list(stream(engine, question("?"), replace(GREEDY, max_new_tokens=2), forced_ids=b"he"))
    early, late = prefilled_of(events).plan, last(events).plan
    assert early is not None
    assert early.forwards == (Forward(0, 3, 3, "prefill"), Forward(3, 1, 2, "step"))
    ids = engine.tokenizer.encode_pieces(question("?"))
    assert (early.machine, early.prompt_digest) == ("An Abacus 9", digest_of(ids))
    assert (late.machine, late.prompt_digest) == (early.machine, early.prompt_digest)
    assert prefilled_of(events).forced_text == "he"


def test_the_end_comes_with_what_it_was_chosen_from() -> None:
    events = list(stream(FakeNetwork(saying(b"hi")).engine(), question("?")))
    end = last(events).end
    assert end is not None
    assert (end.index, end.text, end.piece, end.rank) == (2, "", b"<|end|>", 1)
    assert end.candidates.token_ids[0] == end.token_id
    cut = list(stream(FakeNetwork(saying(b"hi")).engine(), question("?"), replace(GREEDY, max_new_tokens=1)))
    assert last(cut).end is None


@pytest.mark.parametrize("wrong", [-1, 261, 10**12])
def test_a_forced_id_that_the_model_has_not_is_refused(wrong: int) -> None:
    (failed,) = stream(FakeNetwork().engine(), question("?"), forced_ids=[97, wrong])
    assert isinstance(failed, Failed)
    assert "Another model" in failed.error.hint


@pytest.mark.parametrize("family", ["qwen2", "mistral", "mamba"])
def test_the_networks_of_transformers_follow_a_plan(family: str, tmp_path: Path) -> None:
    """One whose cache can be cut, one of sliding windows, one that keeps a state."""
    loaded = load_engine(write_family(tmp_path, family), ModelSettings(threads=1, dtype="f32"))

    def fresh() -> LocalEngine:
        return LocalEngine(loaded.network, loaded.tokenizer, loaded.info)

    engine = fresh()
    for seed, text in enumerate(
        ("the other day", "the other day", "the other day you sang in the rain " * 3)
    ):
        whole = list(stream(engine, [Text(text)], SAMPLED, seed=seed))
        for cut in (0, 9):
            forced = ids_of(whole)[:cut]
            plan = last(whole).plan.forwards
            rest = list(stream(fresh(), [Text(text)], SAMPLED, seed=seed, forced_ids=forced, plan=plan))
            assert numbers_of(rest) == numbers_of(whole)[cut:]
    loaded.close()


# --- the default model ------------------------------------------------------------------------------

WARM = Sampling(temperature=0.8, top_k=40, max_new_tokens=24)
LLAMAS = "Write one line about a llama in Chinese, with emoji."


def chat(*turns: str | tuple[int, ...]) -> list[Piece]:
    """ChatML as the default model knows it; a reply is given by its ids."""
    pieces: list[Piece] = []
    for turn in turns:
        role = "user" if isinstance(turn, str) else "assistant"
        body = Text(turn) if isinstance(turn, str) else Ids(turn)
        pieces += [Special("<|im_start|>"), Text(f"{role}\n"), body, Special("<|im_end|>"), Text("\n")]
    return [*pieces, Special("<|im_start|>"), Text("assistant\n")]


class Recorded:
    """A chat of the default model: a reply, another in its place, and a second turn; each unbroken."""

    def __init__(self, engine: LocalEngine) -> None:
        self.prompts = [chat(LLAMAS), chat(LLAMAS)]
        self.replies = [self.ask(engine, 0, seed=1), self.ask(engine, 1, seed=2)]
        self.prompts.append(chat(LLAMAS, tuple(ids_of(self.replies[1])), "And in one word?"))
        self.replies.append(self.ask(engine, 2, seed=3))

    def ask(self, engine: LocalEngine, number: int, **options: Any) -> list[Event]:
        return list(stream(engine, self.prompts[number], WARM, **({"seed": number + 1} | options)))


@pytest.fixture(scope="module")
def fresh_engine(default_model: Path) -> Any:
    """Engines of the default model that know nothing of each other; weights are shared, caches are not."""
    loaded = load_engine(default_model, ModelSettings(threads=1, context=1024))
    yield lambda: LocalEngine(loaded.network, loaded.tokenizer, loaded.info)
    loaded.close()


@pytest.fixture(scope="module")
def recorded(fresh_engine: Any) -> Recorded:
    return Recorded(fresh_engine())


def test_a_rerun_by_plan_gives_every_bit_again(fresh_engine: Any, recorded: Recorded) -> None:
    assert any(f.kept < f.rows for f in last(recorded.replies[1]).plan.forwards), "the regenerated one"
    for number, whole in enumerate(recorded.replies):
        again = recorded.ask(fresh_engine(), number, plan=last(whole).plan.forwards)
        assert numbers_of(again) == numbers_of(whole)


@pytest.mark.parametrize("number", [1, 2])
def test_stopped_and_continued_it_is_the_unbroken_reply(
    number: int, fresh_engine: Any, recorded: Recorded
) -> None:
    whole = recorded.replies[number]
    ids = ids_of(whole)
    tokens = tokens_of(whole)
    inside = [i for i in range(1, len(ids)) if not tokens[i - 1].text and tokens[i].text]
    assert inside or number == 2, "a character is cut somewhere"
    engine = fresh_engine()
    for cut in {1, len(ids) - 1, *(inside[:1] or [len(ids) // 2])}:
        plan = last(whole).plan.forwards
        crashed = with_steps(prefilled_of(whole).plan or last(whole).plan, 0).forwards
        cold = recorded.ask(fresh_engine(), number, forced_ids=ids[:cut], plan=plan)
        after_crash = recorded.ask(fresh_engine(), number, forced_ids=ids[:cut], plan=crashed)
        warm = recorded.ask(engine, number, forced_ids=ids[:cut], plan=plan)
        for rest in (cold, after_crash, warm):
            assert numbers_of(rest) == numbers_of(whole)[cut:]
            text = "".join(token.text for token in tokens[:cut])
            assert prefilled_of(rest).forced_text == text


def test_a_continued_reply_in_the_cache_of_a_later_turn_is_computed_as_it_was(
    fresh_engine: Any, recorded: Recorded
) -> None:
    """The ids are in the cache, but they came as one prompt."""
    engine, whole = fresh_engine(), recorded.replies[1]
    recorded.ask(engine, 2)
    rest = recorded.ask(engine, 1, forced_ids=ids_of(whole)[:9], plan=last(whole).plan.forwards)
    assert numbers_of(rest) == numbers_of(whole)[9:]


def test_with_the_plan_ignored_bits_differ(fresh_engine: Any, recorded: Recorded) -> None:
    """Why plans are kept: the second turn's prompt in one go is not what was computed."""
    whole = recorded.replies[2]
    plain = recorded.ask(fresh_engine(), 2)
    assert prefilled_of(plain).prompt_tokens == prefilled_of(whole).prompt_tokens
    assert tokens_of(plain)[0].logprob != tokens_of(whole)[0].logprob
    assert tokens_of(plain)[0].logprob == pytest.approx(tokens_of(whole)[0].logprob, abs=0.3)


def test_a_plan_of_a_file_is_read_again_as_it_was(recorded: Recorded) -> None:
    plan = last(recorded.replies[1]).plan
    assert plan.machine
    assert plan_from(plan_json(plan)) == plan
    assert asdict(plan)["prompt_digest"] == plan.prompt_digest
    assert isinstance(recorded.replies[0][-1], Finished)
