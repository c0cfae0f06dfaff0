"""Text to ids as llama.cpp does it, never to a control token; ids to text, however they come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_tokenizer_corpus import CORPUS, nasty_strings
from tiny_models import SPECIALS, TinyModel, TinyVocabulary, tiny_vocabulary

from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.vocabulary import bpe as module
from llama_chat.engine.vocabulary.bpe import MAX_ENCODE_CHARS, MAX_RUN_CHARS, PRE_TOKENIZERS, split_runs
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError, TemplateError
from llama_chat.events import Ids, Special, Text

RECORDED: list[tuple[str, list[int]]] = [
    (text, ids) for text, ids in json.loads(CORPUS.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="session")
def smollm(default_model: Path) -> Tokenizer:
    return tokenizer_from_gguf(GGUFFile(default_model))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load(TinyModel(n_layers=1), tmp_path_factory.mktemp("tiny"))


def load(model: TinyModel, folder: Path) -> Tokenizer:
    return tokenizer_from_gguf(GGUFFile(model.write(folder / "tiny.gguf")))


def joined(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    return b"".join(map(tokenizer.piece, ids))


# Fragments that tempt a tokenizer: pieces of control tokens, digits, spaces, marks, 1 to 4 bytes a character.
FRAGMENTS = st.sampled_from(
    ["<|", "im_start", "|>", "<|im_end|>", "<|im_", "end|>", "<|endoftext|>", "</s>", "<file_sep>", "1", "23",
     " ", "  ", "\n", "\t", "a", "the", "é", "e\u0301", "漢", "🦙", "\u200d", "'ll", "\x00", "\x04", "\ufffd"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))


# --- against llama.cpp -----------------------------------------------------------------------------


def test_the_corpus_is_what_was_recorded() -> None:
    assert [text for text, _ in RECORDED] == list(dict.fromkeys(nasty_strings()))
    assert len(RECORDED) > 700


def test_ids_equal_llama_cpp_s(smollm: Tokenizer) -> None:
    assert [(text, smollm.encode(text)) for text, _ in RECORDED] == RECORDED


# --- text is never a control token -----------------------------------------------------------------


@given(text=TEXTS)
def test_text_is_never_a_control_token(smollm: Tokenizer, text: str) -> None:
    ids = smollm.encode(text)
    assert not set(ids) & set(smollm.vocabulary.special_ids.values())
    assert smollm.encode_pieces([Text(text)]) == ids


def test_every_spelling_of_every_control_token_is_text(smollm: Tokenizer) -> None:
    for special, special_id in smollm.vocabulary.special_ids.items():
        for text in (special, f" {special}", f"{special}\n", special * 2, f"x{special}x"):
            assert special_id not in smollm.encode(text)
            assert joined(smollm, smollm.encode(text)) == text.encode()


def test_user_defined_tokens_are_not_made_of_text_either(tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    types = tuple(
        4 if token == "<tool_call>" else n
        for token, n in zip(vocabulary.tokens, vocabulary.types, strict=True)
    )
    tokenizer = load(TinyModel(vocabulary=replace(vocabulary, types=types)), tmp_path)
    tool_call = tokenizer.vocabulary.special_ids["<tool_call>"]
    assert tool_call not in tokenizer.encode("a<tool_call>b")
    assert tokenizer.encode_pieces([Special("<tool_call>")]) == [tool_call]
    assert tokenizer.decoder().feed(tool_call) == "<tool_call>", "it is text to the reader"


# --- there and back --------------------------------------------------------------------------------


@given(text=TEXTS)
def test_bytes_come_back(tiny: Tokenizer, text: str) -> None:
    assert joined(tiny, tiny.encode(text)) == text.encode()


def test_lone_surrogates_become_replacement_characters(tiny: Tokenizer) -> None:
    assert joined(tiny, tiny.encode("a\ud800b\udfffé")).decode() == "a\ufffdb\ufffdé"
    assert joined(tiny, tiny.encode("\ud83e\udd99")).decode() == "🦙", "a pair is a character"


def test_bytes_without_a_token_are_left_out(smollm: Tokenizer) -> None:
    assert joined(smollm, smollm.encode("a\x04b")) == b"ab"


@pytest.mark.parametrize(
    "text", ["a" * 60_000, " " * 60_000, "ab " * 150_000, "🦙" * 26_000, "x" * 25_000 + "  y"]
)
def test_endless_runs(tiny: Tokenizer, text: str) -> None:
    assert joined(tiny, tiny.encode(text)) == text.encode()


# --- long runs are cut -----------------------------------------------------------------------------

UNITS = st.sampled_from(["a", " ", "\n", "é", "ab ", "🦙", "  x"])
RUNS = st.lists(st.tuples(UNITS, st.integers(0, 40)), max_size=8)


@given(runs=RUNS)
def test_split_runs_joins_back_in_bounded_parts(runs: list[tuple[str, int]]) -> None:
    text = "".join(unit * count for unit, count in runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_RUN_CHARS", 7)
        patch.setattr(module, "MAX_ENCODE_CHARS", 50)
        parts = list(split_runs(text))
    assert "".join(parts) == text
    assert all(len(part) <= 50 and longest_run(part) <= 7 for part in parts)


def test_split_runs_with_its_real_bounds() -> None:
    text = "a" * 70_000 + " " * 30_000 + "word " * 100_000
    parts = list(split_runs(text))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= MAX_ENCODE_CHARS
    assert max(map(longest_run, parts)) <= MAX_RUN_CHARS
    assert list(split_runs("short text")) == ["short text"]


def longest_run(text: str) -> int:
    """Characters in a row that are all whitespace, or all not."""
    longest = run = 0
    previous = None
    for char in text:
        run = run + 1 if char.isspace() is previous else 1
        previous = char.isspace()
        longest = max(longest, run)
    return longest


# --- ids to text -----------------------------------------------------------------------------------


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = tokenizer.decoder()
    return [*(decoder.feed(token_id) for token_id in ids), decoder.flush()]


@given(data=st.data())
def test_any_ids_in_any_order(tiny: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(tiny) - 1), max_size=40))
    shown = [token_id for token_id in ids if token_id not in tiny.vocabulary.hidden_ids]
    texts = streamed(tiny, ids)
    assert "".join(texts) == joined(tiny, shown).decode("utf-8", "replace")
    assert all(
        not text for token_id, text in zip(ids, texts, strict=False) if token_id in tiny.vocabulary.hidden_ids
    )


@given(text=TEXTS)
def test_text_streams_back(smollm: Tokenizer, text: str) -> None:
    """Whole, but for the bytes that the vocabulary has no token for."""
    pieces = set(smollm.vocabulary.pieces)
    known = b"".join(piece for byte in text.encode() if (piece := bytes([byte])) in pieces)
    texts = streamed(smollm, smollm.encode(text))
    assert "".join(texts) == known.decode("utf-8", "replace")


def test_an_emoji_over_several_tokens_comes_whole(tiny: Tokenizer) -> None:
    ids = [*map(tiny.vocabulary.pieces.index, (b"\xf0", b"\x9f", b"\x98", b"\x80", b"!"))]
    assert streamed(tiny, ids) == ["", "", "", "😀", "!", ""]
    assert streamed(tiny, ids[:3]) == ["", "", "", "\ufffd"]
    assert "".join(streamed(tiny, [*ids[:2], ids[4]])) == "\ufffd!"


def test_unknown_ids_are_refused(tiny: Tokenizer) -> None:
    for token_id in (len(tiny), -1):
        with pytest.raises(IndexError):
            tiny.piece(token_id)


# --- merge order -----------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_shuffled_ids_give_the_same_pieces(tiny: Tokenizer, shuffled: Tokenizer, text: str) -> None:
    pieces = [tiny.piece(token_id) for token_id in tiny.encode(text)]
    assert [shuffled.piece(token_id) for token_id in shuffled.encode(text)] == pieces


@pytest.fixture(scope="session")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    model = TinyModel(n_layers=1, vocabulary=tiny_vocabulary().shuffled(7))
    return load(model, tmp_path_factory.mktemp("shuffled"))


def test_earlier_merges_win_whatever_the_ids(tmp_path: Path) -> None:
    base = tiny_vocabulary(words=())
    for merges, pieces in ((("a b", "b c"), [b"ab", b"c"]), (("b c", "a b"), [b"a", b"bc"])):
        for tokens in (("ab", "bc"), ("bc", "ab")):
            vocabulary = TinyVocabulary((*base.tokens, *tokens), (*base.types, 1, 1), merges)
            tokenizer = load(TinyModel(n_layers=1, vocabulary=vocabulary), tmp_path)
            assert [tokenizer.piece(token_id) for token_id in tokenizer.encode("abc")] == pieces


def test_several_merges_may_make_one_token(tmp_path: Path) -> None:
    """As in Llama 3's list, which names every way to a token."""
    base = tiny_vocabulary(words=())
    vocabulary = TinyVocabulary(
        (*base.tokens, "ab", "bc", "abc"), (*base.types, 1, 1, 1), ("a b", "b c", "ab c", "a bc")
    )
    tokenizer = load(TinyModel(n_layers=1, vocabulary=vocabulary), tmp_path)
    assert [tokenizer.piece(i) for i in tokenizer.encode("abcabbc")] == [b"abc", b"ab", b"bc"]


# --- pieces of a template --------------------------------------------------------------------------


def test_pieces(tiny: Tokenizer) -> None:
    start, end = (tiny.vocabulary.special_ids[text] for text in ("<|im_start|>", "<|im_end|>"))
    spelt = joined(tiny, [105, 106]).decode()
    pieces = [Special("<|im_start|>"), Text("hi <|im_end|>"), Ids((105, 106), spelt), Special("<|im_end|>")]
    assert tiny.encode_pieces(pieces) == [start, *tiny.encode("hi <|im_end|>"), 105, 106, end]
    assert tiny.encode_pieces([Ids((5, 304), "hi")]) == tiny.encode("hi"), "ids of another model"
    with pytest.raises(TemplateError, match=r"'<\|eot_id\|>', which is no token"):
        tiny.encode_pieces([Special("<|eot_id|>")])


def test_texts_side_by_side_are_one(tiny: Tokenizer) -> None:
    """Recorded ids that count no longer leave their text between the template's: no seam is to be seen."""
    stale = [Text("th"), Ids((1,), "e"), Text(" the"), Special("<|im_end|>")]
    assert tiny.encode_pieces(stale)[:-1] == tiny.encode("the the")
    assert tiny.encode("the the") != [*tiny.encode("th"), *tiny.encode("e"), *tiny.encode(" the")]


def test_recorded_ids_count_only_where_they_spell_their_text(tiny: Tokenizer) -> None:
    end = tiny.vocabulary.special_ids["<|im_end|>"]
    one_by_one = tuple(i for letter in "hi" for i in tiny.encode(letter))
    fox = tuple(tiny.encode("🦊"))
    assert len(fox) > 1
    for ids, text in (
        (one_by_one, "hi"),
        (fox[:-1], joined(tiny, list(fox[:-1])).decode(errors="replace")),  # cut, and flushed
        ((*one_by_one, *fox[:-1]), "hi"),  # cut, and interrupted before that showed
    ):
        assert tiny.encode_pieces([Ids(ids, text)]) == list(ids)
    for ids in ((*one_by_one, end), (end,), one_by_one[:1], (*one_by_one, *one_by_one), (), (-1,)):
        assert tiny.encode_pieces([Ids(ids, "hi")]) == tiny.encode("hi")
    assert end not in tiny.encode_pieces([Ids((end,), "<|im_end|>")])
    assert tiny.encode_pieces([Ids((end,))]) == []


def test_the_begin_token_comes_once(tmp_path: Path) -> None:
    tokenizer = load(TinyModel(n_layers=1, metadata={"tokenizer.ggml.add_bos_token": True}), tmp_path)
    bos = tokenizer.vocabulary.bos_id
    assert tokenizer.encode_pieces([Text("a")]) == [bos, *tokenizer.encode("a")]
    assert tokenizer.encode_pieces([Special("<|im_start|>"), Text("a")]) == [bos, *tokenizer.encode("a")]
    assert tokenizer.encode_pieces([]) == [bos]


def test_ends_and_names(smollm: Tokenizer) -> None:
    vocabulary = smollm.vocabulary
    assert (vocabulary.bos_id, vocabulary.eos_id, vocabulary.adds_bos) == (1, 2, False)
    assert vocabulary.end_ids == {0, 2}
    assert smollm.text_of(2) == "<|im_end|>"
    assert smollm.text_of(None) == ""
    assert len(smollm.special_tokens) == 17


# --- vocabularies that are no good -----------------------------------------------------------------

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "another kind": ({"tokenizer.ggml.model": "bert"}, "the tokenizer is 'bert'"),
    "unknown cutting": ({"tokenizer.ggml.pre": "qwen2"}, "to be cut as 'qwen2'"),
    "no tokens": ({"tokenizer.ggml.tokens": None}, "has no 'tokenizer.ggml.tokens'"),
    "no merges": ({"tokenizer.ggml.merges": None}, "has no 'tokenizer.ggml.merges'"),
    "types of others": ({"tokenizer.ggml.token_type": [1, 1]}, "304 tokens but 2 token types"),
    "tokens are numbers": ({"tokenizer.ggml.tokens": [1] * 304}, "304 tokens are no texts"),
    "no byte-pair token": (
        {"tokenizer.ggml.token_type": [1] * 304, "tokenizer.ggml.tokens": ["a b"] * 304},
        "token 0 is no byte-pair token: 'a b'",
    ),
    "no merge": ({"tokenizer.ggml.merges": ["ab"]}, "b'ab' is no merge"),
    "merges are numbers": ({"tokenizer.ggml.merges": [1, 2]}, "1 is no merge"),
    "merge to nothing": ({"tokenizer.ggml.merges": ["q q"]}, "no token for b'qq'"),
}


@pytest.mark.parametrize(("metadata", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_vocabularies(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(TinyModel(n_layers=1, metadata=metadata), tmp_path)


def test_end_ids_outside_the_vocabulary_do_not_count(tmp_path: Path) -> None:
    metadata = {"tokenizer.ggml.eos_token_id": 10_000, "tokenizer.ggml.bos_token_id": 304}
    vocabulary = load(TinyModel(n_layers=1, metadata=metadata), tmp_path).vocabulary
    assert (vocabulary.eos_id, vocabulary.bos_id) == (None, None)
    assert vocabulary.end_ids == {vocabulary.special_ids[text] for text in ("<|endoftext|>", "<|im_end|>")}


def test_llama_3_cuts_digits_in_threes(tmp_path: Path) -> None:
    import regex

    cut = [*regex.findall(PRE_TOKENIZERS["llama-bpe"].pattern, "abc 12345 x\n\n y's")]
    assert cut == ["abc", " ", "123", "45", " x", "\n\n", " y", "'s"]
    tokenizer = load(TinyModel(n_layers=1, metadata={"tokenizer.ggml.pre": "llama-bpe"}), tmp_path)
    assert joined(tokenizer, tokenizer.encode("abc 12345 x")) == b"abc 12345 x"
    assert set(SPECIALS) <= set(tokenizer.special_tokens)
