"""A reply that goes on from one of its tokens with another one, on a branch of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace, loader_of
from fake_network import END, FakeNetwork, babbling
from test_chat_app import Home, User, chat
from tiny_models import TinyModel

from llama_chat.conversation import Message, Reply
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import LlamaChatError
from llama_chat.events import Token
from llama_chat.rerun import ReplyVerdict, rerun
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings

TEMPLATE = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|reply|>"
LENGTH = 8
"""Tokens of a reply: its network never ends one by itself."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def engine_of(network: FakeNetwork) -> LocalEngine:
    engine = network.engine()
    return LocalEngine(network, engine.tokenizer, replace(engine.info, chat_template=TEMPLATE))


def network() -> FakeNetwork:
    """Its logits tell by which forwards its cache was filled."""
    return FakeNetwork(babbling(), feels_shapes=True)


async def a_reply(user: User) -> Message:
    """The model's answer to a first question."""
    await user.ready()
    user.screen.bridge.sampling.change(max_new_tokens=LENGTH)
    await user.say("What?")
    await user.until(lambda: len(user.said) == 2, "not asked")
    await user.idle()
    return user.screen.chat.conversation.path()[-1]


async def forked(user: User, before: Message) -> Message:
    """The end of the path, once that is a reply which is over, beside the one before."""

    def now() -> Message:
        return user.screen.chat.conversation.path()[-1]

    await user.until(lambda: now().id != before.id and not user.screen.chat.is_replying, "not forked")
    return now()


def ids(message: Message) -> tuple[int, ...]:
    return record_of(message).token_ids


def record_of(message: Message) -> Reply:
    assert message.reply is not None
    return message.reply


async def tokens_of(user: User, message: Message) -> list[Token]:
    bridge = user.screen.bridge
    done = bridge.read(bridge.store.load_tokens, message.id)
    await user.until(done.done, "no tokens")
    return list(done.result())


def verdicts(home: Home, engine: LocalEngine | None = None) -> list[ReplyVerdict]:
    """Of a fresh engine, on all that is on the disk."""
    with closing(SessionStore(home.paths.sessions_file)) as store:
        store.open()
        record = store.record(store.list()[0].id)
        return list(rerun(record, engine or engine_of(network())))


async def test_a_fork_computes_one_step_before_its_first_new_token(home: Home) -> None:
    net = network()
    async with chat(home.setup(loader=loader_of(engine_of(net)))) as user:  # type: ignore[arg-type]  # any engine
        old = await a_reply(user)
        tokens = await tokens_of(user, old)
        other = tokens[3].candidates.token_ids[4]
        done = len(net.rows)
        user.screen.chat.forking.take(old, 3, other)
        new = await forked(user, old)
        assert net.rows[done:] == [1] * (LENGTH - 4)
        assert ids(new)[:4] == (*ids(old)[:3], other)
        assert len(ids(new)) == LENGTH
        assert record_of(new).seed == record_of(old).seed
        branches = user.screen.chat.conversation.siblings(new.id)
        assert [branch.id for branch in branches] == [old.id, new.id]
        assert branches[0] == old
        kept = await tokens_of(user, new)
        assert [token.token_id for token in kept] == list(ids(new))
        assert new.text in (text := "".join(token.text for token in kept), text + "\ufffd")
        assert [token.chosen_by for token in kept] == [*["sampler"] * 3, "user", *["sampler"] * (LENGTH - 4)]
        chosen = kept[3]
        assert (chosen.rank, chosen.candidates.token_ids) == (5, tokens[3].candidates.token_ids)
        assert kept[:3] == tokens[:3]
    found = verdicts(home)
    assert [(each.verdict, each.by_user) for each in found] == [("identical", 0), ("identical", 1)]


async def test_the_plan_is_followed_where_the_cache_has_gone_elsewhere(home: Home) -> None:
    net = network()
    async with chat(home.setup(loader=loader_of(engine_of(net)))) as user:  # type: ignore[arg-type]  # any engine
        old = await a_reply(user)
        tokens = await tokens_of(user, old)
        user.screen.chat.regenerate()
        other = await forked(user, old)
        done = len(net.rows)
        user.screen.chat.forking.take(old, 4, tokens[4].candidates.token_ids[1])
        new = await forked(user, other)
        # The other reply has computed the end of the prompt alone; here all goes as it went.
        assert net.rows[done:] == [7, *[1] * (LENGTH - 1)]
        assert ids(new)[:4] == ids(old)[:4]
    assert [each.verdict for each in verdicts(home)] == ["identical"] * 3


@pytest.mark.parametrize("kind", ["scratch", "hf"])
async def test_a_fork_on_real_weights_is_computed_again_to_the_last_bit(home: Home, kind: str) -> None:
    settings = ModelSettings(engine=kind, dtype="f32", device="cpu", threads=1)
    path = TinyModel(context_length=256).write(home.root / "tiny.gguf")
    async with chat(home.setup(loader=lambda _report, _cancel: load_engine(path, settings))) as user:
        old = await a_reply(user)
        tokens = await tokens_of(user, old)
        at = min(3, len(tokens) - 1)
        other = next(c.token_id for c in tokens[at].candidates if c.token_id != tokens[at].token_id)
        user.screen.chat.forking.take(old, at, other)
        new = await forked(user, old)
        assert ids(new)[at] == other
    found = verdicts(home, load_engine(path, settings))
    assert [(each.verdict, each.by_user) for each in found] == [("identical", 0), ("identical", 1)]
    assert found[1].largest_logprob_difference in (0, None)


@pytest.mark.parametrize("index", [0, 3, LENGTH])
async def test_typed_words_stand_in_the_place_of_what_came(home: Home, index: int) -> None:
    async with chat(home.setup(loader=loader_of(engine_of(network())))) as user:  # type: ignore[arg-type]  # any engine
        old = await a_reply(user)
        user.screen.chat.forking.type_in(old, index, " or not")
        new = await forked(user, old)
        assert ids(new)[: index + 7] == (*ids(old)[:index], *b" or not")
        assert record_of(new).seed == record_of(old).seed
        kept = await tokens_of(user, new)
        assert [token.chosen_by for token in kept[index : index + 7]] == ["user"] * 7
        assert all(token.chosen_by == "sampler" for token in (*kept[:index], *kept[index + 7 :]))
    assert [each.verdict for each in verdicts(home)] == ["identical"] * 2


async def test_a_candidate_that_ends_the_turn_ends_the_branch_there(home: Home) -> None:
    net = network()
    async with chat(home.setup(loader=loader_of(engine_of(net)))) as user:  # type: ignore[arg-type]  # any engine
        old = await a_reply(user)
        done = len(net.rows)
        user.screen.chat.forking.take(old, 2, END)
        new = await forked(user, old)
        await user.sees("that token ends the turn")
        assert net.rows[done:] == []
        assert ids(new) == ids(old)[:2]
        reply = record_of(new)
        assert reply.plan is not None
        assert (reply.finish_reason, reply.plan.ended_by) == ("end", "user")
        assert len(await tokens_of(user, new)) == 2
    assert [each.verdict for each in verdicts(home)] == ["identical"] * 2


async def test_a_reply_that_runs_is_stopped_and_kept_before_it_forks(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("Go on")
        pace.step(5)
        await user.sees("word4")
        running = user.screen.chat.message_now(user.screen.chat.conversation.path()[-1].id)
        assert running is not None
        user.screen.chat.forking.take(running, 2, 8)
        await user.sees("word0 word1  fox")
        pace.step(1)
        await user.sees("fox")
        branches = user.screen.chat.conversation.siblings(running.id)
        assert record_of(branches[0]).finish_reason == "stopped"
        assert len(ids(branches[0])) == 5
        await user.press("escape")
        await user.idle()


async def test_what_cannot_fork_says_why_and_what_can_be_done(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("Tell me")
        await user.until(lambda: len(user.said) == 2, "not asked")
        await user.idle()
        words, answer = user.screen.chat.conversation.path()
        forking = user.screen.chat.forking
        with pytest.raises(LlamaChatError, match="no token 9"):
            forking.take(answer, 9, 8)
        with pytest.raises(LlamaChatError, match="no token 49152"):
            forking.take(answer, 0, 49152)
        with pytest.raises(LlamaChatError, match="not chosen here"):
            forking.take(words, 0, 8)
        with pytest.raises(LlamaChatError, match="no words"):
            forking.type_in(answer, 0, "")
        others = replace(answer, reply=replace(record_of(answer), model="Llama-3-8B"))
        with pytest.raises(LlamaChatError, match=r"Llama-3-8B wrote.*F4 .*at hand: if Llama-3-8B is one"):
            forking.take(others, 0, 8)
        user.screen.chat.info = None
        with pytest.raises(LlamaChatError, match=r"a model must be loaded"):
            forking.take(answer, 0, 8)
        assert len(user.screen.chat.conversation.siblings(answer.id)) == 1
