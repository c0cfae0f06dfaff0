"""The loop from logits to events: what is reused, where it stops, what is left after failures."""

import random
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_network import (
    REPLY,
    USER,
    VOCAB_SIZE,
    FakeNetwork,
    babbling,
    byte_tokenizer,
    in_blocks_of,
    question,
    raising,
    saying,
    sliding,
)
from loop_runs import GREEDY, SAMPLED, check_cache, ids_of, last, stream

from llama_chat.engine.live_cache import PREFILL_CHUNK, LiveCache
from llama_chat.errors import ModelError, PromptError
from llama_chat.events import (
    Event,
    Failed,
    Finished,
    Forward,
    Ids,
    Loading,
    Piece,
    Prefilled,
    Special,
    Text,
    Token,
)

# --- what is computed again -------------------------------------------------------------------------


def test_the_next_turn_prefills_only_what_is_new() -> None:
    network = FakeNetwork(saying(b"hello"))
    engine = network.engine()
    first = list(stream(engine, question("Hi, who are you?")))
    assert network.rows == [18, 1, 1, 1, 1, 1]
    network.rows.clear()
    history = [*question("Hi, who are you?"), Ids(tuple(ids_of(first))), Special("<|end|>")]
    second = list(stream(engine, [*history, *question("And?")]))
    # 23 are there; new are the end of the reply, two control tokens and four letters.
    assert network.rows[0] == 7
    (prefilled,) = (event for event in second if isinstance(event, Prefilled))
    assert (prefilled.prompt_tokens, prefilled.reused_tokens, prefilled.forced_text) == (30, 23, "")
    assert last(second).usage.reused_tokens == 23
    check_cache(engine)


def test_the_last_id_is_computed_again_when_all_are_there() -> None:
    network = FakeNetwork()
    engine = network.engine()
    one = list(stream(engine, question("again"), SAMPLED))
    network.rows.clear()
    two = list(stream(engine, question("again"), SAMPLED))
    assert network.rows[0] == 1
    assert ids_of(one) == ids_of(two)
    assert last(two).usage.reused_tokens == last(two).usage.prompt_tokens - 1


def test_an_edit_in_the_middle_keeps_what_is_before_it() -> None:
    network = FakeNetwork()
    engine = network.engine()
    list(stream(engine, question("tell me about cats, please")))
    network.rows.clear()
    events = list(stream(engine, question("tell me about dogs, please"), SAMPLED))
    assert last(events).usage.reused_tokens == len("<tell me about ")
    assert network.rows[0] == len("dogs, please>")
    fresh = list(stream(FakeNetwork().engine(), question("tell me about dogs, please"), SAMPLED))
    assert ids_of(events) == ids_of(fresh)
    check_cache(engine)


@pytest.mark.parametrize(
    ("rewinds", "kept"),
    [(in_blocks_of(8), 8), (sliding(16), 0), (lambda length, wanted: max(0, wanted - 3), 12)],
)
def test_what_a_cache_cannot_keep_is_computed_again(rewinds: Callable[[int, int], int], kept: int) -> None:
    network = FakeNetwork(rewinds=rewinds)
    engine = network.engine()
    list(stream(engine, question("tell me about cats")))
    network.rows.clear()
    events = list(stream(engine, question("tell me about dogs"), SAMPLED))
    assert last(events).usage.reused_tokens == kept
    assert network.rows[0] == 20 - kept
    fresh = list(stream(FakeNetwork().engine(), question("tell me about dogs"), SAMPLED))
    assert ids_of(events) == ids_of(fresh)
    check_cache(engine)


def test_a_long_prompt_goes_in_chunks_and_only_the_last_gives_logits() -> None:
    network = FakeNetwork(saying(b"x"))
    engine = network.engine()
    list(stream(engine, [Text("a" * 600)]))
    assert network.rows[:3] == [256, 256, 88]
    assert network.logits_wanted[:3] == ["none", "none", "last"]
    assert [forward.rows for forward in engine.live.forwards if forward.kind == "prefill"] == [256, 256, 88]
    check_cache(engine)


def test_the_plan_names_every_forward_and_a_rewind_shortens_it() -> None:
    engine = FakeNetwork().engine()
    events = list(stream(engine, [Text("a" * 300)]))
    plan = last(events).plan
    assert plan.forwards == (
        Forward(0, 256, 256, "prefill"),
        Forward(256, 44, 44, "prefill"),
        Forward(300, 1, 7, "step"),
    )
    assert (plan.dtype, plan.device, plan.threads, plan.torch, plan.step) == (
        "f32",
        "cpu",
        1,
        "fake",
        "eager",
    )
    edited = last(list(stream(engine, [Text("a" * 100 + "b" * 50)])))
    assert edited.plan.forwards == (
        Forward(0, 256, 100, "prefill"),
        Forward(100, 50, 50, "prefill"),
        Forward(150, 1, 7, "step"),
    )
    assert plan.forwards[0].kept == 256, "what was given out stays as it was"


def test_any_history_of_turns_cuts_and_failures_leaves_the_cache_telling_the_truth() -> None:
    chance = random.Random(5)
    for rewinds in (in_blocks_of(1), in_blocks_of(16), sliding(300)):
        network = FakeNetwork(rewinds=rewinds)
        engine = network.engine()
        text = ""
        for _ in range(60):
            text = text[: chance.randrange(len(text) + 1)] + chance.choice("xyz") * chance.choice(
                (1, 5, 40, 300)
            )
            broken = chance.choice((None, None, "before_forward", "after_writing"))
            if broken:
                setattr(
                    network, broken, raising(RuntimeError("lost"), len(network.rows) + chance.randrange(4))
                )
            wanted = replace(GREEDY, max_new_tokens=chance.choice((1, 2, 5)))
            try:
                events = list(stream(engine, [Text(text)], wanted))
            except RuntimeError:
                check_cache(engine)
            else:
                fresh = list(stream(FakeNetwork().engine(), [Text(text)], wanted))
                assert ids_of(events) == ids_of(fresh)
                check_cache(engine)
            network.before_forward = network.after_writing = lambda number: None


# --- stopping ---------------------------------------------------------------------------------------


def test_a_cancel_before_the_prefill_computes_nothing() -> None:
    network = FakeNetwork()
    cancel = threading.Event()
    cancel.set()
    events = list(stream(network.engine(), question("?"), cancel=cancel))
    assert [type(event) for event in events if not isinstance(event, Loading)] == [Finished]
    assert last(events).reason == "stopped"
    assert network.rows == []


def test_a_cancel_between_two_chunks_keeps_what_was_computed() -> None:
    cancel = threading.Event()
    network = FakeNetwork(after_writing=lambda number: cancel.set() if number == 1 else None)
    engine = network.engine()
    events = list(stream(engine, [Text("a" * 1000)], cancel=cancel))
    assert [type(event) for event in events if not isinstance(event, Loading)] == [Finished]
    assert last(events).reason == "stopped"
    assert network.rows == [256, 256]
    check_cache(engine)
    network.rows.clear()
    again = list(stream(engine, [Text("a" * 1000)]))
    assert last(again).usage.reused_tokens == 512
    assert network.rows[:2] == [256, 232]


def test_a_cancel_after_a_token_computes_nothing_more() -> None:
    network, cancel = FakeNetwork(), threading.Event()
    engine = network.engine()
    events: list[Event] = []
    for event in stream(engine, question("?"), SAMPLED, cancel=cancel):
        events.append(event)
        if isinstance(event, Token) and event.index == 4:
            cancel.set()
            network.rows.clear()
    assert network.rows == []
    assert len(ids_of(events)) == 5
    assert last(events).reason == "stopped"
    check_cache(engine)


def test_a_cancel_during_a_forward_gives_no_further_token() -> None:
    cancel = threading.Event()
    network = FakeNetwork(after_writing=lambda number: cancel.set() if number == 3 else None)
    events = list(stream(network.engine(), question("?"), SAMPLED, cancel=cancel))
    assert len(network.rows) == 4
    assert len(ids_of(events)) == 3
    assert last(events).reason == "stopped"


def test_a_generator_that_is_closed_early_leaves_a_cache_to_go_on_from() -> None:
    network = FakeNetwork()
    engine = network.engine()
    events = stream(engine, question("?"), SAMPLED)
    head = [next(events) for _ in range(4)]
    events.close()  # type: ignore[attr-defined]  # it is a generator
    check_cache(engine)
    network.rows.clear()
    whole = list(stream(engine, question("?"), SAMPLED))
    assert network.rows[0] == 1
    assert ids_of(whole)[:3] == ids_of(head)
    assert ids_of(whole) == ids_of(list(stream(FakeNetwork().engine(), question("?"), SAMPLED)))


# --- limits and failures ----------------------------------------------------------------------------


def test_a_full_context_ends_the_reply_with_length() -> None:
    network = FakeNetwork(context_length=40)
    engine = network.engine()
    events = list(stream(engine, [Text("a" * 30)], replace(GREEDY, max_new_tokens=99)))
    assert len(ids_of(events)) == 10
    assert last(events).reason == "length"
    assert len(engine.live.ids) == 39, "the last token needs no room: nothing follows it"


@pytest.mark.parametrize(
    ("pieces", "words"),
    [([], "empty"), ([Text("")], "empty"), ([Text("a" * 40)], "40 tokens"), ([Text("a" * 99)], "99")],
)
def test_a_prompt_that_is_empty_or_too_long_fails_and_costs_nothing(pieces: list[Piece], words: str) -> None:
    network = FakeNetwork(context_length=40)
    engine = network.engine()
    list(stream(engine, question("before")))
    network.rows.clear()
    (failed,) = stream(engine, pieces)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PromptError)
    assert words in failed.error.message
    assert network.rows == []
    assert last(list(stream(engine, question("before")))).usage.reused_tokens == 7


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_fail_and_are_forgotten(number: float) -> None:
    broken = True

    def logits(ids: Sequence[int]) -> Sequence[float]:
        if broken and len(ids) > 5:
            return [number] * VOCAB_SIZE
        return babbling()(ids)

    network = FakeNetwork(logits)
    engine = network.engine()
    events = list(stream(engine, question("?"), SAMPLED))
    assert len(ids_of(events)) == 3
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ModelError)
    assert "token 3" in events[-1].error.message
    broken = False
    network.rows.clear()
    again = list(stream(engine, question("?"), SAMPLED))
    assert network.rows[0] == 3, "keys and values of the broken forwards are not used again"
    assert len(ids_of(again)) == SAMPLED.max_new_tokens
    check_cache(engine)


@pytest.mark.parametrize("where", ["before_forward", "after_writing"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_forward_that_raises_leaves_no_false_claim(where: str, number: int) -> None:
    network = FakeNetwork()
    engine = network.engine()
    setattr(network, where, raising(RuntimeError("a bug"), number))
    with pytest.raises(RuntimeError, match="a bug"):
        list(stream(engine, [Text("a" * 300)], SAMPLED))
    check_cache(engine)
    assert len(engine.live.ids) == (0, 256, 301)[min(number, 2)]
    again = list(stream(engine, [Text("a" * 300)], SAMPLED))
    assert ids_of(again) == ids_of(list(stream(FakeNetwork().engine(), [Text("a" * 300)], SAMPLED)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.90 GB)"),
    ],
)
def test_running_out_of_memory_fails_with_a_hint_and_frees_the_cache(error: Exception) -> None:
    network = FakeNetwork(before_forward=raising(error, 4))
    engine = network.engine()
    cache = weakref.ref(engine.live)
    events = list(stream(engine, question("?"), SAMPLED))
    assert len(ids_of(events)) == 4
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert "ran out of memory" in failed.error.message
    assert "--context" in failed.error.hint
    assert failed.error.__cause__ is error
    assert cache() is None, "neither the engine nor the error's frames hold it"
    assert len(ids_of(list(stream(engine, question("?"), SAMPLED)))) == SAMPLED.max_new_tokens


def test_closing_frees_the_network() -> None:
    network = FakeNetwork()
    engine = network.engine()
    list(stream(engine, question("?")))
    engine.close()
    assert network.is_closed


# --- the parts ---------------------------------------------------------------------------------------


def test_what_is_reused_is_the_longest_common_prefix_but_for_the_last_id() -> None:
    live = LiveCache(FakeNetwork())
    live.extend([1, 2, 3, 4], "none", "prefill")
    assert live.reuse([1, 2, 9]) == 2
    assert live.reuse([1, 2]) == 1
    assert live.reuse([7]) == 0
    assert live.ids == []


def test_a_prefill_of_many_ids_equals_one_of_few() -> None:
    whole, parts = LiveCache(FakeNetwork()), LiveCache(FakeNetwork())
    ids = list(b"abc" * 200)
    *_, one = whole.prefill(ids, lambda: False)
    for start in range(0, 600, 7):
        *_, other = parts.prefill(ids[: start + 7], lambda: False)
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)


def test_the_byte_tokenizer_of_these_tests_gives_text_back() -> None:
    tokenizer = byte_tokenizer()
    assert bytes(tokenizer.encode("Grüße, 🦙\n12  x")) == "Grüße, 🦙\n12  x".encode()
    assert tokenizer.encode_pieces(question("<|end|>"))[1:-1] == list(b"<|end|>")
    assert tokenizer.encode_pieces(question("a")) == [USER, 97, REPLY]


def test_a_long_prompt_says_how_far_it_is() -> None:
    prompt = [Text("x" * (3 * PREFILL_CHUNK))]
    events = list(stream(FakeNetwork(saying(b"ok")).engine(), prompt))
    fractions = [event.fraction for event in events if isinstance(event, Loading)]
    assert fractions == pytest.approx([1 / 3, 2 / 3])
    assert isinstance(events[2], Prefilled)
