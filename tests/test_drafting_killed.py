"""A reply that is cut while tokens are drafted has a true plan: it runs again as it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from drafted_kill import Guesser, write_until
from fake_network import FakeNetwork, babbling, question
from loop_runs import SAMPLED, last, stream
from test_drafting import drafting_engine
from tiny_models import TinyModel

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import facts_of_token, figures_of_sheet
from llama_chat.compute_plan import drafted_forwards, length_of, shapes_of, with_steps
from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.load import load_engine
from llama_chat.events import ComputePlan, Forward, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.rerun import rerun
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings
from llama_chat.ui.transcript.heads import head_line

TINY = ModelSettings(threads=1, dtype="f32", draft="off")


def test_the_plan_so_far_is_the_beginning_of_the_plan_at_the_end() -> None:
    guess = [t.token_id for t in stream(FakeNetwork(babbling()).engine(), question("?"), SAMPLED)
             if isinstance(t, Token)]  # fmt: skip
    seen = 0
    for seed in range(6):
        engine = drafting_engine(FakeNetwork(babbling()), Guesser(guess, seed))
        events = list(stream(engine, question("?"), SAMPLED))
        whole = list(shapes_of(last(events).plan.forwards))
        builder = ReplyBuilder(Message("m", None, Role.ASSISTANT, "", 0.0, Reply(7, SAMPLED)))
        for event in events[:-1]:
            builder.feed(event)
            plan = builder.message.reply.plan  # type: ignore[union-attr]  # it is one
            assert plan is not None
            assert list(shapes_of(plan.forwards)) == whole[: length_of(plan.forwards)]
            seen += isinstance(event, Token) and event.forward is not None
        tokens = sum(isinstance(event, Token) for event in events)
        assert length_of(plan.forwards) == 3 + tokens - 1
        usage, reply = last(events).usage, builder.message.reply
        builder.feed(events[-1])
        ended = builder.message.reply
        assert ended is not None
        assert reply is not None
        assert (ended.drafted_tokens, ended.accepted_tokens) == (usage.drafted_tokens, usage.accepted_tokens)
        assert ended.decode_tok_per_s == pytest.approx((tokens - 1) / ended.decode_s)
    assert seen > 20


def test_a_damaged_forward_of_a_token_is_taken_for_a_step() -> None:
    plan = ComputePlan((Forward(0, 5, 5, "prefill"),), "f32", "cpu", 1, "fake")
    shapes = {5: (5, 4), 6: (5, 4), 7: (99, 2), 8: (8, -3), 10: (10, 3)}
    assert with_steps(plan, 12, shapes).forwards == (
        Forward(0, 5, 5, "prefill"),
        Forward(5, 4, 2, "prefill"),
        Forward(7, 1, 3, "step"),
        Forward(10, 3, 1, "prefill"),
        Forward(11, 1, 1, "step"),
    )


def test_what_the_user_gave_was_not_drafted() -> None:
    given = [Forward(5, 64, 64, "prefill"), Forward(69, 6, 6, "prefill"), Forward(75, 1, 1, "prefill")]
    drafted = [Forward(76, 4, 2, "prefill"), Forward(78, 1, 3, "step"), Forward(81, 8, 8, "prefill")]
    assert drafted_forwards([Forward(0, 5, 5, "prefill"), *given, *drafted], 5) == [drafted[0], drafted[2]]
    assert drafted_forwards([Forward(0, 5, 5, "prefill")], 5) == []


def check_again(path: Path, store: SessionStore) -> int:
    """How many tokens of the one reply in the store were drafted; a fresh engine writes it again as it is."""
    (info,) = store.list()
    record = store.record(info.id)
    (message,) = (m for m in record.conversation.messages.values() if m.reply is not None)
    reply = message.reply
    assert reply is not None
    assert reply.plan is not None
    assert length_of(reply.plan.forwards) == reply.prompt_tokens + len(reply.token_ids) - 1
    with closing(load_engine(path, TINY)) as fresh:
        (verdict,) = rerun(record, fresh)
        assert verdict.verdict == "identical", verdict
        assert verdict.judged == len(reply.token_ids)
        assert verdict.largest_logprob_difference == 0.0, "to the last bit"
        assert not verdict.changes
    return reply.drafted_tokens


def test_a_reply_cut_at_any_token_runs_again_identically(tmp_path: Path) -> None:
    path = TinyModel(n_layers=2).write(tmp_path / "tiny.gguf")
    chance, drafted = random.Random(16), 0
    with closing(load_engine(path, TINY)) as engine:
        for seed in range(6):
            store = SessionStore(tmp_path / f"{seed}.sqlite3")
            store.open()
            write_until(engine, store, seed, chance.randrange(2, 48))
            engine.live.rewind(0)
            drafted += check_again(path, store)
            store.close()
    assert drafted > 20


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_process_killed_while_it_drafts_leaves_what_runs_again_identically(tmp_path: Path) -> None:
    path = TinyModel(n_layers=2).write(tmp_path / "tiny.gguf")
    script = Path(__file__).with_name("drafted_kill.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parent), str(script.parents[1])])}
    arguments = [str(path), str(tmp_path / "store.sqlite3"), "3", "23"]
    ended = subprocess.run([sys.executable, str(script), *arguments], env=environment, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    store = SessionStore(tmp_path / "store.sqlite3")
    store.open()
    store.tidy()
    (info,) = store.list()
    (reply,) = (m.reply for m in store.load(info.id).messages.values() if m.reply is not None)
    assert reply.finish_reason == "interrupted"
    assert len(reply.token_ids) == 23
    assert check_again(path, store) > 5
    store.close()


def test_tokens_of_one_forward_share_its_time_and_are_told_of() -> None:
    plan = ComputePlan((Forward(0, 5, 5, "prefill"), Forward(5, 4, 3, "prefill")), "f32", "cpu", 1, "fake")
    reply = Reply(7, SAMPLED, "a model", (1, 2, 3, 4), "length", prompt_tokens=5, decode_s=0.03, plan=plan)
    message = Message("m", None, Role.ASSISTANT, "abcd", 0.0, reply)
    drawn = [event for event in stream(FakeNetwork().engine(), question("?"), SAMPLED)
             if isinstance(event, Token)]  # fmt: skip
    seconds = (0.01, 0.027, 0.001, 0.002)
    sheet = TokenSheet(message, [replace(t, seconds=s) for t, s in zip(drawn, seconds, strict=False)])
    assert sheet.speeds[1:] == pytest.approx([100.0] * 3)
    assert "30.0 ms for 3 at once" in facts_of_token(sheet, 2)
    assert "10.0 ms" in facts_of_token(sheet, 0)
    assert figures_of_sheet(sheet)[-1] == "2 of 3 drafted tokens kept"
    assert head_line(message, 80, live=None, place=None).plain.endswith("4 tokens, 2 drafted · 100 tok/s")
    assert head_line(message, 40, live=None, place=None).plain.endswith("4 tokens · 100 tok/s")
