"""The loop from logits to events: what comes out, live settings, replies that go on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fake_network import (
    END,
    END_TOO,
    HIDDEN,
    USER,
    VOCAB_SIZE,
    FakeNetwork,
    question,
    saying,
)
from loop_runs import GREEDY, SAMPLED, check_cache, ids_of, last, stream, text_of

from llama_chat.events import (
    Finished,
    LiveSampling,
    Loading,
    Prefilled,
    Token,
)

MIXED = "Grüße, 🦙 ok"


# --- what comes out ---------------------------------------------------------------------------------


def test_the_prefill_comes_first_then_the_tokens_then_the_end() -> None:
    engine = FakeNetwork(saying(b"yes")).engine()
    events = list(stream(engine, question("Well?")))
    assert [type(event) for event in events] == [Prefilled, Token, Token, Token, Finished]
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.index for token in tokens] == [0, 1, 2]
    assert [token.piece for token in tokens] == [b"y", b"e", b"s"]
    assert all(token.rank == 1 and token.chosen_by == "sampler" for token in tokens)
    assert events[0].prompt_tokens == 7  # type: ignore[union-attr]  # its type is checked above
    finished = last(events)
    assert finished.reason == "end"
    assert finished.usage.prompt_tokens == 7
    assert finished.usage.new_tokens == 3
    assert finished.usage.context_length == 4096
    assert finished.timings.prefill_s > 0
    check_cache(engine)


def test_the_texts_joined_are_the_decoded_ids() -> None:
    events = list(
        stream(
            FakeNetwork(saying(MIXED.encode())).engine(), question("?"), replace(GREEDY, max_new_tokens=99)
        )
    )
    assert text_of(events) == MIXED
    assert bytes(ids_of(events)) == MIXED.encode()
    texts = [event.text for event in events if isinstance(event, Token)]
    assert "" in texts, "the first bytes of a character show nothing yet"
    assert "🦙" in texts, "its last byte shows all of it"


def test_a_character_that_is_cut_short_is_flushed_at_the_end() -> None:
    cut = MIXED.encode()[:12]  # two of the four bytes of the llama
    events = list(
        stream(FakeNetwork(saying(cut)).engine(), question("?"), replace(GREEDY, max_new_tokens=99))
    )
    assert last(events).text == "\ufffd"
    assert text_of(events) == cut.decode(errors="replace")


@pytest.mark.parametrize("end_id", [END, END_TOO])
def test_every_end_id_ends_the_reply_and_is_not_given_out(end_id: int) -> None:
    events = list(stream(FakeNetwork(saying(b"ok", then=end_id)).engine(), question("?")))
    assert ids_of(events) == list(b"ok")
    assert last(events).reason == "end"


def test_a_reply_may_end_at_once() -> None:
    events = list(stream(FakeNetwork(saying(b"")).engine(), question("?")))
    assert [type(event) for event in events] == [Prefilled, Finished]
    assert last(events).usage.new_tokens == 0


def test_control_tokens_show_no_text_but_their_piece_says_what_they_are() -> None:
    events = list(stream(FakeNetwork(saying([97, HIDDEN, USER, 98])).engine(), question("?")))
    assert [event.text for event in events if isinstance(event, Token)] == ["a", "", "", "b"]
    assert [event.piece for event in events if isinstance(event, Token)][1] == b"<|hidden|>"
    assert text_of(events) == "ab"


def test_every_token_carries_its_settings_and_candidates() -> None:
    events = list(stream(FakeNetwork().engine(), question("?"), SAMPLED))
    for token in (event for event in events if isinstance(event, Token)):
        assert token.sampling == SAMPLED
        assert len(token.candidates) == 64
        assert token.rank <= SAMPLED.top_k
        assert token.candidates[token.rank - 1].token_id == token.token_id
        assert token.logprob == pytest.approx(
            token.candidates[token.rank - 1].penalised - token.candidates.logsumexp, abs=1e-5
        )


def test_the_same_seed_gives_the_same_reply_and_another_seed_another() -> None:
    def reply(seed: int) -> list[int]:
        return ids_of(list(stream(FakeNetwork().engine(), question("?"), SAMPLED, seed=seed)))

    assert reply(1) == reply(1)
    assert reply(1) != reply(2)


def test_the_repetition_penalty_sees_the_prompt_and_the_reply() -> None:
    def logits(ids: Sequence[int]) -> Sequence[float]:
        row = [-9.0] * VOCAB_SIZE
        row[ord("p")], row[ord("a")], row[ord("b")], row[ord("c")] = 3.0, 2.0, 1.8, 1.6
        return row

    sampling = replace(GREEDY, repetition_penalty=2.0, max_new_tokens=4)
    events = list(stream(FakeNetwork(logits).engine(), question("p"), sampling))
    assert bytes(ids_of(events)) == b"abcp"


# --- settings that move -----------------------------------------------------------------------------


def test_a_change_of_the_settings_acts_on_the_very_next_token() -> None:
    sampling = LiveSampling(replace(SAMPLED, temperature=9.0, top_k=0))
    events = []
    for event in stream(FakeNetwork().engine(), question("?"), sampling):
        events.append(event)
        if isinstance(event, Token) and event.index == 9:
            sampling.change(temperature=0.0)
    tokens = [event for event in events if isinstance(event, Token)]
    assert any(token.rank > 1 for token in tokens[:10])
    assert all(token.rank == 1 for token in tokens[10:])
    assert [token.sampling.temperature for token in tokens] == [9.0] * 10 + [0.0] * 14


def test_a_lower_max_new_tokens_ends_the_reply_at_once() -> None:
    network, sampling = FakeNetwork(), LiveSampling(SAMPLED)
    events = []
    for event in stream(network.engine(), question("?"), sampling):
        events.append(event)
        if isinstance(event, Token) and event.index == 5:
            sampling.change(max_new_tokens=2)
            network.rows.clear()
    assert len(ids_of(events)) == 6
    assert last(events).reason == "length"
    assert network.rows == []


def test_a_higher_max_new_tokens_lets_the_reply_go_on() -> None:
    sampling = LiveSampling(replace(SAMPLED, max_new_tokens=3))
    events = []
    for event in stream(FakeNetwork().engine(), question("?"), sampling):
        events.append(event)
        if isinstance(event, Token) and event.index == 1:
            sampling.change(max_new_tokens=9)
    assert len(ids_of(events)) == 9


def test_the_last_token_is_not_computed_further() -> None:
    network = FakeNetwork()
    list(stream(network.engine(), question("?"), replace(GREEDY, max_new_tokens=1)))
    assert len(network.rows) == 1


# --- going on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 23])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_a_reply_that_goes_on_does_so_as_if_it_had_never_stopped(cut: int, penalty: float) -> None:
    sampling = replace(SAMPLED, repetition_penalty=penalty)
    whole = list(stream(FakeNetwork().engine(), question("?"), sampling))
    warm = FakeNetwork().engine()
    head = list(stream(warm, question("?"), replace(sampling, max_new_tokens=cut)))
    for engine in (warm, FakeNetwork().engine()):
        rest = list(stream(engine, question("?"), sampling, forced_ids=ids_of(head)))
        assert ids_of(head) + ids_of(rest) == ids_of(whole)
        assert [event.index for event in rest if isinstance(event, Token)] == list(range(cut, 24))
        assert last(rest).usage.prompt_tokens == 3
        assert last(rest).usage.new_tokens == 24 - cut


def test_a_character_that_was_cut_is_completed_when_the_reply_goes_on() -> None:
    said = MIXED.encode()
    engine = FakeNetwork(saying(said)).engine()
    head = list(stream(engine, question("?"), replace(GREEDY, max_new_tokens=12)))
    rest = list(stream(engine, question("?"), replace(GREEDY, max_new_tokens=99), forced_ids=ids_of(head)))
    assert last(head).text == "\ufffd"
    shown = text_of(head).removesuffix(last(head).text)
    assert shown + text_of(rest) == MIXED


def test_forced_ids_count_towards_max_new_tokens() -> None:
    events = list(stream(FakeNetwork().engine(), question("?"), GREEDY, forced_ids=b"12345678"))
    assert [type(event) for event in events] == [Loading, Prefilled, Finished]
    assert last(events).reason == "length"
