"""SentencePiece vocabularies in GGUF: the ids of SentencePiece itself, and spaces where they belong."""

from __future__ import annotations

import json
import random
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from fuzz_gguf import mutations
from hypothesis import given
from hypothesis import strategies as st
from record_tokenizer_corpus import CORPUS, random_strings
from tiny_models import TinyModel
from tokenizer_folders import sentencepiece_metadata, train_sentencepiece

from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError
from llama_chat.events import Ids, Piece, Sampling, Special, Text
from llama_chat.template.chat_template import ChatTemplate

CORPUS_TEXTS: list[str] = [text for text, _ in json.loads(CORPUS.read_text(encoding="utf-8"))]

# In the manner of Llama 2: turns in plain text, a space before every reply.
LLAMA2 = """\
{%- for message in messages %}
    {%- if message.role == 'user' %}{{ bos_token + '[INST] ' + message.content.strip() + ' [/INST]' }}
    {%- else %}{{ ' ' + message.content.strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""

FRAGMENTS = st.sampled_from(
    ["<s>", "</s>", "<unk>", "<0x0A>", "<0x", "▁", "▁▁", " ", "   ", "\n", "the", " th", "aaaa", "==", "7",
     "é", "漢", "🦙", "\x00", "\u200d", "\ufffd", "\x1b[31m"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))


def load(folder: Path, model: sentencepiece.SentencePieceProcessor, **changes: Any) -> Tokenizer:
    metadata = sentencepiece_metadata(model)
    metadata |= {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    return tokenizer_from_gguf(GGUFFile(TinyModel(n_layers=1, metadata=metadata).write(folder / "sp.gguf")))


@pytest.fixture(scope="session")
def sp_model() -> sentencepiece.SentencePieceProcessor:
    return train_sentencepiece()


@pytest.fixture(scope="session")
def ours(
    tmp_path_factory: pytest.TempPathFactory, sp_model: sentencepiece.SentencePieceProcessor
) -> Tokenizer:
    return load(tmp_path_factory.mktemp("sp"), sp_model)


def joined(tokenizer: Tokenizer, ids: list[int]) -> str:
    return b"".join(map(tokenizer.piece, ids)).decode()


def streamed(tokenizer: Tokenizer, ids: list[int]) -> str:
    decoder = tokenizer.decoder()
    return "".join([*map(decoder.feed, ids), decoder.flush()])


# --- against SentencePiece -------------------------------------------------------------------------


def runs(count: int, seed: int) -> list[str]:
    """Texts of repeated parts, where several merges compete for the same letters."""
    rng = random.Random(seed)
    parts = [" ", "  ", "a", "an", "ana", "na", "=", "==", "-", "th", "the", "\n", "漢", "🦙"]
    return ["".join(rng.choice(parts) * rng.randrange(1, 12) for _ in range(9)) for _ in range(count)]


TO_COMPARE = [*CORPUS_TEXTS, *random_strings(4000, seed=21), *runs(1500, seed=22)]


def test_ids_equal_sentencepiece_s(ours: Tokenizer, sp_model: sentencepiece.SentencePieceProcessor) -> None:
    for text in TO_COMPARE:
        assert ours.encode(text) == sp_model.encode(text), text


def test_without_the_space_in_front(tmp_path: Path) -> None:
    model = train_sentencepiece(add_dummy_prefix=False)
    plain = load(tmp_path, model, add_space_prefix=False)
    spaced = load(tmp_path, model)
    for text in TO_COMPARE:
        ids = model.encode(text)
        assert plain.encode(text) == ids, text
        assert spaced.encode(text, is_first=False) == ids, text


# --- there and back --------------------------------------------------------------------------------


@given(text=TEXTS)
def test_text_comes_back_and_is_never_a_control_token(ours: Tokenizer, text: str) -> None:
    seen = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("▁", " ")
    for is_first in (True, False):
        ids = ours.encode(text, is_first=is_first)
        assert not set(ids) & set(ours.vocabulary.special_ids.values())
        assert joined(ours, ids) == (f" {seen}" if is_first and text else seen)
    assert streamed(ours, ours.encode(text)) == seen


def test_the_vocabulary(ours: Tokenizer, sp_model: sentencepiece.SentencePieceProcessor) -> None:
    vocabulary = ours.vocabulary
    assert (vocabulary.bos_id, vocabulary.eos_id, vocabulary.adds_bos) == (1, 2, True)
    assert vocabulary.end_ids == {2}
    assert vocabulary.special_ids == {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert vocabulary.hidden_ids == {0, 1, 2}
    assert ours.piece(3 + 0x0A) == b"\n", "byte tokens are bytes"
    assert ours.piece(sp_model.piece_to_id("▁the")) == b" the"


def test_what_the_file_does_not_say(tmp_path: Path, sp_model: sentencepiece.SentencePieceProcessor) -> None:
    """The ids of begin and end are llama.cpp's, where those are control tokens."""
    vocabulary = load(tmp_path, sp_model, bos_token_id=None, eos_token_id=None).vocabulary
    assert (vocabulary.bos_id, vocabulary.eos_id) == (1, 2)
    types = [1] * sp_model.vocab_size()
    named = load(tmp_path, sp_model, bos_token_id=None, eos_token_id=None, token_type=types)
    assert (named.vocabulary.bos_id, named.vocabulary.eos_id) == (None, None)
    assert load(tmp_path, sp_model, add_bos_token=False).encode_pieces([Text("a")])[0] != 1


def test_characters_without_tokens(tmp_path: Path, sp_model: sentencepiece.SentencePieceProcessor) -> None:
    """Where the vocabulary has no bytes either, they are left out, never made into the unknown token."""
    types = [1 if 3 <= i < 259 else n for i, n in enumerate(sentencepiece_metadata(sp_model)[TYPES])]
    tokens = [f"x{i}y" if 3 <= i < 259 else t for i, t in enumerate(sentencepiece_metadata(sp_model)[TOKENS])]
    tokenizer = load(tmp_path, sp_model, token_type=types, tokens=tokens)
    assert joined(tokenizer, tokenizer.encode("a漢b")) == " ab"


def test_user_defined_tokens_are_not_made_of_text(
    tmp_path: Path, sp_model: sentencepiece.SentencePieceProcessor
) -> None:
    the = sp_model.piece_to_id("▁the")
    types = [4 if i == the else n for i, n in enumerate(sentencepiece_metadata(sp_model)[TYPES])]
    tokenizer = load(tmp_path, sp_model, token_type=types)
    assert the not in tokenizer.encode("the the")
    assert joined(tokenizer, tokenizer.encode("the the")) == " the the"


TYPES, TOKENS, SCORES = (f"tokenizer.ggml.{name}" for name in ("token_type", "tokens", "scores"))

# --- spaces in a conversation ----------------------------------------------------------------------


def test_the_space_goes_to_the_first_words_only(ours: Tokenizer) -> None:
    def text_of(*pieces: Piece) -> str:
        return joined(ours, ours.encode_pieces(pieces))

    assert text_of(Text("a")) == "<s> a"
    assert text_of(Special("<s>"), Text("a"), Special("</s>"), Text("b")) == "<s> a</s>b"
    assert text_of(Text("a"), Special("</s>"), Special("<s>"), Text("b")) == "<s> a</s><s> b"
    assert text_of(Special("</s>"), Text("b")) == "<s></s>b"
    assert text_of(Ids(tuple(ours.encode("yo", is_first=False)), "yo"), Text("b")) == "<s>yob"


def replied(tokenizer: Tokenizer, ids: list[int]) -> Message:
    """A reply of the model, as it is recorded."""
    reply = Reply(1, Sampling(), token_ids=tuple(ids), model="llama")
    return Message("r", None, Role.ASSISTANT, streamed(tokenizer, ids), 0.0, reply)


def user(text: str) -> Message:
    return Message(text, None, Role.USER, text, 0.0)


@pytest.mark.parametrize("reply", [" Hello the reader", "Hello", "  two spaces", " ", "\nline", "🦙 the"])
def test_a_second_turn_begins_with_the_first_one_s_ids(ours: Tokenizer, reply: str) -> None:
    """Though the space that begins a reply is not shown, and the template writes one of its own."""
    template = ChatTemplate(LLAMA2, ours.special_tokens, "<s>", "</s>", model="llama")
    asked = [user("What is it?")]
    before = ours.encode_pieces(template.render(asked, today="2026-11-22"))
    ids = ours.encode(reply, is_first=False)
    answer = replied(ours, ids)
    assert answer.text == reply.removeprefix(" ")
    after = ours.encode_pieces(template.render([*asked, answer, user("And?")], today="2026-11-22"))
    if answer.text == answer.text.strip() != "" and reply.startswith(" "):
        assert after[: len(before) + len(ids)] == before + ids
    else:  # the template trims, or puts a space where the model put none
        assert after[: len(before)] == before
    assert joined(ours, after).count(answer.text.strip()) >= 1
    assert after[-1] == before[-1]


def test_without_a_template_every_space_counts(ours: Tokenizer) -> None:
    prompt, ids = "Hello ", tuple(ours.encode(" the", is_first=False))
    assert ours.encode_pieces([Text(prompt), Ids(ids, "the")]) == [1, *ours.encode(prompt), *ids]


def test_recorded_ids_count_only_where_they_spell_their_text(ours: Tokenizer) -> None:
    ids = tuple(ours.encode("the reader"))
    for text in ("the reader", ""):
        assert ours.encode_pieces([Ids(ids, text)]) == [1, *ids]
    for text in (" the reader", "the reade", "the reader "):
        assert ours.encode_pieces([Ids(ids, text)]) == [1, *ours.encode(text)]


# --- what is no good -------------------------------------------------------------------------------

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no scores": ({"scores": None}, "has no 'tokenizer.ggml.scores'"),
    "too few scores": ({"scores": [0.0, 1.0]}, "700 tokens but 2 scores"),
    "scores are words": ({"scores": ["a"] * 700}, "the scores of the tokens are no numbers"),
    "no numbers": ({"scores": [nan] * 700}, "the scores of the tokens are no numbers"),
    "beyond numbers": ({"scores": [-inf] * 700}, "the scores of the tokens are no numbers"),
    "a token without end": ({"tokens": ["a" * 300] * 700}, "a token has 300 characters, all together"),
    "types of others": ({"token_type": [1, 1]}, "700 tokens but 2 token types"),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_vocabularies(
    tmp_path: Path, sp_model: sentencepiece.SentencePieceProcessor, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load(tmp_path, sp_model, **changes)


def test_damaged_headers(tmp_path: Path, sp_model: sentencepiece.SentencePieceProcessor) -> None:
    """A tokenizer that works, or a `ModelError`."""
    whole = TinyModel(n_layers=1, metadata=sentencepiece_metadata(sp_model)).write(tmp_path / "sp.gguf")
    raw, header_bytes = whole.read_bytes(), GGUFFile(whole).header_bytes
    path, outcomes = tmp_path / "damaged.gguf", {"read": 0, "refused": 0}
    for data, _ in zip(mutations(raw[: header_bytes + 64], header_bytes, seed=9), range(300), strict=False):
        path.write_bytes(data + raw[len(data) :])
        try:
            tokenizer = tokenizer_from_gguf(GGUFFile(path))
            tokenizer.encode("Hello 🦙\n<s>")
            outcomes["read"] += 1
        except ModelError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20
