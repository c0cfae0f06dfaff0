"""The ids that a token of a message was chosen behind, and which words each of them is a part of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fake_engine import INFO, FakeEngine
from tiny_models import TinyModel

from llama_chat.chat.tokens.source_ids import SourceIds, source_ids, sources_of
from llama_chat.chat.walking.source import MOST_TOKENS, WalkSource, source_of
from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import PromptError
from llama_chat.events import ComputePlan, LiveSampling, Prefilled, Sampling, Text, Token
from llama_chat.settings import ModelSettings
from llama_chat.turn import build_prompt

DATE = "2026-11-22"
WORDS = "  user the 🦙 and é\nyou<|im_end|>  "


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    path = TinyModel(context_length=4096).write(tmp_path_factory.mktemp("source") / "tiny.gguf")
    engine = load_engine(path, ModelSettings(dtype="f32", threads=1))
    yield engine
    engine.close()


def said(text: str, *, parent: str | None = None, id_: str = "words", role: Role = Role.USER) -> Message:
    return Message(id_, parent, role, text, 0.0)


def written(engine: LocalEngine, before: Message, text: str, *, model: str = "") -> Message:
    """A reply as if the model had written it."""
    ids = tuple(engine.encode([Text(text)]))
    reply = Reply(7, Sampling(), model or engine.info.name, ids, "end")
    return Message("reply", before.id, Role.ASSISTANT, text, 0.0, reply)


def words_of(found: SourceIds, engine: LocalEngine, message: Message) -> str:
    """What the tokens that are said to be the message's name of it, each character once."""
    sources = sources_of(found, engine.tokenizer.piece)
    assert len(sources) == len(found.ids)
    characters = {
        n for source in sources if source.message_id == message.id for n in range(source.start, source.end)
    }
    return "".join(message.text[n] for n in sorted(characters))


def test_a_reply_is_taken_by_its_own_tokens_behind_the_prompt_as_it_was(engine: LocalEngine) -> None:
    system = said("the in", id_="system", role=Role.SYSTEM)
    words = said(WORDS, parent="system")
    path = [system, words, written(engine, words, " and the 🦙")]
    prompt = build_prompt(engine, path[:-1], date=DATE, max_new_tokens=0)
    whole = source_ids(engine, path, date=DATE)
    assert path[-1].reply is not None
    assert list(whole.ids) == [*engine.encode(prompt.pieces), *path[-1].reply.token_ids]
    assert whole.prompt_tokens == prompt.tokens
    assert source_ids(engine, path, date=DATE, index=2).ids == whole.ids[: prompt.tokens + 2]
    assert words_of(whole, engine, path[-1]) == " and the 🦙"
    assert words_of(whole, engine, words) == WORDS.strip()
    assert words_of(whole, engine, system) == "the in"
    first = list(engine.stream(prompt.pieces, sampling=LiveSampling(Sampling(max_new_tokens=1)), seed=1))
    prefilled = next(event for event in first if isinstance(event, Prefilled))
    assert prefilled.prompt_tokens == whole.prompt_tokens
    assert any(isinstance(event, Token) for event in first)


def test_a_users_message_is_what_the_model_reads_before_it_answers(engine: LocalEngine) -> None:
    found = source_ids(engine, [said("the and")], date=DATE)
    assert found.message is None
    assert found.prompt_tokens == len(found.ids)
    spelled = b"".join(map(engine.tokenizer.piece, found.ids)).decode()
    assert spelled.endswith("<|im_start|>assistant\n")


def test_the_text_of_another_models_reply_counts_as_a_whole(engine: LocalEngine) -> None:
    words = said("the and")
    path = [words, written(engine, words, "you in", model="other")]
    found = source_ids(engine, path, date=DATE)
    assert found.is_retold
    assert list(found.reply_ids) == list(engine.encode([Text("you in")]))
    with pytest.raises(PromptError, match="other wrote this reply"):
        source_ids(engine, path, date=DATE, index=1)
    assert path[1].reply is not None
    plan = ComputePlan((), "f32", "cpu", 1, "2.13.0", alteration="L30×0")
    path[1] = replace(path[1], reply=replace(path[1].reply, plan=plan))
    text = WalkSource(path=tuple(path), date=DATE).text_for(engine)
    assert "another model's" in text.note
    assert text.alteration is None, "this model may not have such a layer"


def test_what_is_too_long_for_a_walk_is_cut_and_told(engine: LocalEngine) -> None:
    path = (said("the " * 2500),)
    text = WalkSource(path=path, date=DATE).text_for(engine)
    assert text.ids == source_ids(engine, path, date=DATE).ids[-MOST_TOKENS:]
    assert text.note.startswith("The last 2,000 of ")
    assert len(source_of([1, 2, 3], 2).text_for(engine).ids) == 2
    with pytest.raises(PromptError, match="no tokens"):
        source_of("").text_for(engine)


def test_an_imported_message_has_no_tokens_of_its_own() -> None:
    engine = FakeEngine(info=INFO)
    words = said("one two")
    path = [words, said("three four five", parent=words.id, id_="reply", role=Role.ASSISTANT)]
    found = source_ids(engine, path, date=DATE)
    assert found.is_retold
    with pytest.raises(PromptError, match="no tokens are known"):
        source_ids(engine, path, date=DATE, index=0)
