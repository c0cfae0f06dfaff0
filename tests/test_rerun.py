"""A session run again and judged token by token, with networks that do the same, nearly the same, or not."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_network import END, VOCAB_SIZE, FakeNetwork, LogitsOf, babbling, saying
from recorded_chat import SAMPLING, RecordedChat
from rerun_sessions import check

from llama_chat.conversation import Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Sampling
from llama_chat.rerun import ReplyVerdict, recorded_replies, rerun
from llama_chat.rerun.margin import NEAR_TIE_LOGITS
from llama_chat.sessions import SessionRecord, SessionStore
from llama_chat.sessions.exchange import read_sessions
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.settings import ModelSettings

GREEDY = Sampling(temperature=0.0, max_new_tokens=12)
HOT = Sampling(temperature=1.6, top_k=0, max_new_tokens=64)


def engine_of(logits_of: LogitsOf) -> LocalEngine:
    """A fresh engine with a chat template, so that messages are told apart."""
    engine = FakeNetwork(logits_of).engine()
    template = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|reply|>"
    return LocalEngine(engine.network, engine.tokenizer, replace(engine.info, chat_template=template))


def judged(record: SessionRecord, logits_of: LogitsOf | None = None) -> list[ReplyVerdict]:
    """The verdicts of a fresh engine."""
    return list(rerun(record, engine_of(logits_of or babbling())))


def nudged(size: float, logits_of: LogitsOf | None = None) -> LogitsOf:
    """The same network, its logits off by so much at most."""
    inner = logits_of or babbling()

    def logits(ids: Sequence[int]) -> Sequence[float]:
        noise = np.random.default_rng(len(ids)).uniform(-size, size, VOCAB_SIZE)
        return (np.asarray(inner(ids)) + noise).tolist()

    return logits


@pytest.fixture
def chat() -> RecordedChat:
    """A chat with the babbling network."""
    return RecordedChat(engine_of(babbling()))


def test_a_session_of_all_kinds_is_identical(chat: RecordedChat) -> None:
    """Turns, moved sliders, another reply, a continued one, a swapped token, a system prompt."""
    chat.system("Be brief.")
    first = chat.say("One?", moves={3: GREEDY, 6: replace(SAMPLING, repetition_penalty=1.3)})
    chat.regenerate(first, seed=8)
    stopped = chat.say("Two?", seed=9, stop_after=5)
    chat.go_on(stopped)
    chat.swap(first, 4, ord("x"))
    chat.say("Three?", sampling=GREEDY)
    found = judged(chat.record)
    assert [verdict.verdict for verdict in found] == ["identical"] * 5
    assert [verdict.number for verdict in found] == [1, 2, 3, 4, 5]
    assert [verdict.tokens for verdict in found] == [16, 16, 21, 12, 12]
    assert [verdict.by_user for verdict in found] == [0, 0, 0, 1, 0]
    assert [verdict.judged for verdict in found] == [16, 16, 21, 11, 12]
    assert all(verdict.largest_logprob_difference == 0 and not verdict.changes for verdict in found)


def test_moved_sliders_are_moved_at_the_same_tokens(chat: RecordedChat) -> None:
    """A record that tells another token for the move does not come out the same: the settings do count."""
    reply = chat.say("Hello?", moves={6: replace(HOT, max_new_tokens=16)}, sampling=GREEDY)
    assert judged(chat.record)[0].verdict == "identical"
    chat.tokens[reply.id] = [replace(token, sampling=GREEDY) for token in chat.tokens[reply.id]]
    (found,) = judged(chat.record)
    assert found.verdict == "diverged"
    assert {difference.index for difference in found.differences} <= set(range(6, 16))
    assert found.judged == 16


def test_logits_that_are_off_by_little_make_near_ties(chat: RecordedChat) -> None:
    """Where two candidates were as good as tied: the margin says so, and the rest is still the same."""
    size = 0.1
    for seed in range(8):
        chat.say(f"Number {seed}?", sampling=HOT, seed=seed)
    found = [
        difference for verdict in judged(chat.record, nudged(size)) for difference in verdict.differences
    ]
    assert 1 <= len(found) <= 40, "512 tokens, few of them nearly tied"
    assert all(difference.verdict == "near tie" for difference in found)
    assert all(0 <= (d.margin or 0) <= 2 * size <= NEAR_TIE_LOGITS for d in found)
    assert all(d.margin for d in found if d.is_margin_exact)
    assert any(d.is_margin_exact for d in found)
    verdicts = judged(chat.record, nudged(size))
    assert {verdict.verdict for verdict in verdicts} <= {"identical", "near tie"}
    assert all(0 < (verdict.largest_logprob_difference or 0) < 2 * size for verdict in verdicts)
    assert all(verdict.judged == 64 for verdict in verdicts)


def test_other_weights_diverge_and_every_token_is_judged(chat: RecordedChat) -> None:
    """One early difference does not end it."""
    chat.say("Hello?")
    (found,) = judged(chat.record, babbling(1))
    assert found.verdict == "diverged"
    assert found.judged == found.tokens == 16
    assert len(found.differences) > 5
    first = found.differences[0]
    assert first.margin is None or first.margin >= 0
    assert first.recorded.token_id != first.rerun.token_id
    assert first.rerun.rerun_probability is not None
    assert first.rerun_text, "how the rerun went on is shown"
    assert all(
        difference.recorded.token_id == chat.record.conversation.path()[-1].reply.token_ids[difference.index]
        for difference in found.differences
    )


def test_the_filters_cut_a_recorded_token(chat: RecordedChat) -> None:
    """Then no margin makes it a near tie."""
    chat.say("Hello?", sampling=HOT)
    reply = chat.record.conversation.path()[-1]
    narrow = replace(HOT, top_k=2)
    chat.tokens[reply.id] = [replace(token, sampling=narrow) for token in chat.tokens[reply.id]]
    (found,) = judged(chat.record)
    cut = [difference for difference in found.differences if "cut" in difference.reason]
    assert cut
    assert {difference.verdict for difference in cut} == {"diverged"}
    assert {difference.reason for difference in cut} == {"the filters cut the recorded token"}


@pytest.mark.parametrize(
    ("name", "then", "now"),
    [
        ("top-p", {"top_p": 0.91}, {"top_p": 0.89}),
        ("top-p", {"top_p": 0.89}, {"top_p": 0.91}),
        ("min-p", {"min_p": 0.16}, {"min_p": 0.17}),
        ("min-p", {"min_p": 0.17}, {"min_p": 0.16}),
    ],
)
def test_the_edge_of_a_filter_is_a_near_tie(name: str, then: dict[str, float], now: dict[str, float]) -> None:
    """A hair away, the filter would have left what the record chose, or not left what it did not.

    Here the bound moves instead of the logits: 0.6, 0.3 and 0.1 of the probability.
    """

    def steady(_ids: Sequence[int]) -> Sequence[float]:
        row = [-40.0] * VOCAB_SIZE
        row[65], row[66], row[67] = (math.log(part) for part in (0.6, 0.3, 0.1))
        return row

    base = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=64)
    chat = RecordedChat(engine_of(steady))
    reply = chat.say("Hello?", sampling=replace(base, **then))
    chat.tokens[reply.id] = [replace(t, sampling=replace(base, **now)) for t in chat.tokens[reply.id]]
    (found,) = judged(chat.record, steady)
    assert found.differences
    assert {d.verdict for d in found.differences} == {"near tie"}
    at_edge = [d for d in found.differences if d.reason == f"at the edge of {name}"]
    assert at_edge
    assert min(d.margin or 0.0 for d in at_edge) < 0.15
    narrow = replace(base, top_p=0.5) if name == "top-p" else replace(base, min_p=0.9)
    chat.tokens[reply.id] = [replace(token, sampling=narrow) for token in chat.tokens[reply.id]]
    assert judged(chat.record, steady)[0].verdict == "diverged", "far from the edge it is none"


def test_the_end_was_drawn_with_the_sliders_of_its_time(tmp_path: Path) -> None:
    """They were moved after the last token: the store and a file keep that too."""
    warm = Sampling(temperature=1.4, top_k=0, max_new_tokens=64)

    def hesitating(ids: Sequence[int]) -> Sequence[float]:
        row = [0.0] * VOCAB_SIZE
        row[65] = 9.0
        row[END] = 9.1 if len(ids) % 4 == 0 else 0.0
        return row

    with closing(SessionStore(tmp_path / "sessions.sqlite3")) as store:
        store.open()
        chat = RecordedChat(engine_of(hesitating), store)
        seed, last = next(
            (seed, token.index)
            for seed in range(20)
            for token in chat.tokens[chat.say("Hello?", sampling=warm, seed=seed).id]
            if token.index > 1 and token.candidates.token_ids[0] == END
        )
        moved = chat.say("Hello?", sampling=warm, seed=seed, moves={last: GREEDY})
        assert moved.reply is not None
        assert (moved.reply.finish_reason, len(moved.reply.token_ids)) == ("end", last)
        path = tmp_path / "talk.jsonl"
        path.write_text("".join(jsonl_lines(chat.record)))
        (from_file,) = read_sessions(path)
        for record in (chat.record, from_file):
            assert {verdict.verdict for verdict in judged(record, hesitating)} == {"identical"}
        store.reopen_reply(chat.session.id, moved)
        assert store.load_end_sampling(moved.id) is None, "it goes on: that was no end"


def test_a_long_reply_is_asked_for_its_settings_quickly(chat: RecordedChat) -> None:
    """For every token once, so that must not take longer for a longer reply."""
    reply = chat.say("Hello?")
    assert reply.reply is not None
    (token, *_) = chat.tokens[reply.id]
    count = 100_000
    chat.tokens[reply.id] = [replace(token, index=n) for n in range(count)]
    ids = (token.token_id,) * count
    chat.conversation.update(replace(reply, reply=replace(reply.reply, token_ids=ids)))
    (recorded,) = (each.with_tokens(chat.record) for each in recorded_replies(chat.record))
    before_s = time.process_time()
    for place in range(2000):
        recorded.sampling_at(place)
    assert time.process_time() - before_s < 1.0, "a list of all of them for each took 1.6 ms"


def test_an_end_is_judged_like_a_token() -> None:
    """The same end is identical; one that comes early or late is a difference, with its margin."""
    chat = RecordedChat(engine_of(saying([65, 66, 67])))
    reply = chat.say("Hello?", sampling=GREEDY)
    assert reply.reply is not None
    assert reply.reply.finish_reason == "end"
    (same,) = judged(chat.record, saying([65, 66, 67]))
    assert (same.verdict, same.judged, same.tokens) == ("identical", 4, 3)
    (early,) = judged(chat.record, saying([65, 66]))
    assert [(d.index, d.rerun.is_end, d.recorded.token_id) for d in early.differences[:1]] == [(2, True, 67)]
    assert early.verdict == "diverged"
    assert early.differences[0].margin == pytest.approx(9.0)
    (late,) = judged(chat.record, saying([65, 66, 67, 68]))
    (only,) = late.differences
    assert (only.index, only.recorded.is_end, only.rerun.token_id) == (3, True, 68)
    assert only.margin == pytest.approx(9.0)


def test_an_end_of_a_near_tie() -> None:
    """Ahead by a hair: named as such."""

    def hesitating(ahead: float) -> LogitsOf:
        inner = saying([65, 66])

        def logits(ids: Sequence[int]) -> Sequence[float]:
            row = list(inner(ids))
            if row[END] > 0:
                row[67] = row[END] - ahead
            return row

        return logits

    chat = RecordedChat(engine_of(hesitating(0.01)))
    chat.say("Hello?", sampling=GREEDY)
    (found,) = judged(chat.record, hesitating(-0.01))
    assert found.verdict == "near tie"
    assert [difference.index for difference in found.differences] == [2]
    assert found.differences[0].margin == pytest.approx(0.01, abs=1e-6)


def test_a_stopped_reply_counts_by_its_tokens(chat: RecordedChat) -> None:
    """It did not end by itself, so nothing after its last token is compared."""
    chat.say("Hello?", stop_after=4)
    (found,) = judged(chat.record)
    assert (found.verdict, found.judged, found.tokens) == ("identical", 4, 4)


def test_another_prompt_is_not_compared(chat: RecordedChat) -> None:
    """A message that was changed since: said so, instead of judging tokens that answer something else."""
    chat.say("Hello?")
    question = chat.conversation.path()[0]
    assert question.role is Role.USER
    chat.conversation.update(replace(question, text="Hallo?"))
    (found,) = judged(chat.record)
    assert found.verdict == "diverged"
    assert "the prompt came out different" in found.reason
    assert (found.judged, found.differences) == (0, ())


def test_what_is_otherwise_is_told(chat: RecordedChat) -> None:
    """Of the model and of what computes; the recorded template is used, whatever the model has now."""
    reply = chat.say("Hello?")
    assert reply.reply is not None
    assert reply.reply.plan is not None
    plan = replace(reply.reply.plan, torch="1.0", threads=64)
    chat.conversation.update(replace(reply, reply=replace(reply.reply, plan=plan)))
    engine = engine_of(babbling())
    other = LocalEngine(
        engine.network, engine.tokenizer, replace(engine.info, chat_template="{{ 1 }}", fingerprint="other")
    )
    (found,) = rerun(chat.record, other)
    assert found.verdict == "identical"
    assert [change.what for change in found.changes][::2] == ["weights", "threads"]
    assert "threads 1 (recorded: 64)" in map(str, found.changes)
    assert "torch fake (recorded: 1.0)" in map(str, found.changes)
    assert any("template" in change.what for change in found.changes)


def test_only_ids_were_kept(chat: RecordedChat) -> None:
    """Without the tokens' own records the ids are still compared."""
    reply = chat.say("Hello?")
    del chat.tokens[reply.id]
    assert judged(chat.record)[0].verdict == "identical"
    assert judged(chat.record, babbling(1))[0].verdict == "diverged"


def test_a_copied_reply_is_judged_where_it_was_written(chat: RecordedChat) -> None:
    """Another system prompt copies what was said below itself."""
    chat.say("Hello?")
    chat.system("Be rude.")
    chat.say("And now?")
    assert [verdict.verdict for verdict in judged(chat.record)] == ["identical"] * 2


def test_a_cancel_ends_it(chat: RecordedChat) -> None:
    """What was judged of the running reply is the last that is told."""
    for n in range(3):
        chat.say(f"Number {n}?")
    cancel = threading.Event()

    def stop_in_the_second(progress: object) -> None:
        if (progress.number, progress.tokens) == (2, 5):  # type: ignore[attr-defined]
            cancel.set()

    found = list(rerun(chat.record, engine_of(babbling()), cancel=cancel, report=stop_in_the_second))
    assert [(verdict.judged, verdict.is_whole) for verdict in found] == [(16, True), (5, False)]


def test_sessions_of_the_default_model_are_identical(default_model: Path, tmp_path: Path) -> None:
    """Of those of `rerun_sessions.py`, one of each length: moved sliders, branches, continued replies."""

    def make() -> LocalEngine:
        return load_engine(default_model, ModelSettings(threads=1))

    before = torch.get_num_threads()
    found = [verdict for session in check(make, (0, 1, 2), tmp_path, 8) for verdict in session]
    torch.set_num_threads(before)
    assert len(found) >= 8
    assert {(verdict.verdict, verdict.largest_logprob_difference) for verdict in found} == {
        ("identical", 0.0)
    }
    assert not any(verdict.changes for verdict in found)
