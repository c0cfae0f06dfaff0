"""Tokenizers that are no byte-pair encoding, for models of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from test_hf_engine import open_model, reply
from tiny_hf import write_json
from tiny_library import write_family
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from llama_chat.engine.choose import read_model
from llama_chat.engine.vocabulary.any_kind import tokenizer_of_any_kind
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError, NotOursError
from llama_chat.events import Special, Text, Token

WORDS = ["hello", "wor", "world", "the", "a", "l", "s", "day", "."]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def unigram() -> tokenizers.Tokenizer:
    """As T5 and XLM-R have it; the control tokens lie in the vocabulary with the score 0, the best of all."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(f"▁{word}", -2.0 - n) for n, word in enumerate(WORDS)]
    vocab = [*special, *words, *((letter, -9.0) for letter in f"▁{LETTERS}</>.")]
    found = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=False))
    found.normalizer = normalizers.NFKC()
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    found.decoder = decoders.Metaspace()
    found.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return found


def wordpiece() -> tokenizers.Tokenizer:
    """As BERT has it, but cut at spaces alone, which leaves [CLS] in one piece."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(f"##{letter}" for letter in LETTERS), "[", "##]"]
    vocab = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    found = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=False)
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.decoder = decoders.WordPiece()
    found.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", vocab["[CLS]"])]
    )
    return found


KINDS: dict[str, tuple[Callable[[], tokenizers.Tokenizer], dict[str, Any]]] = {
    "Unigram": (unigram, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}),
    "WordPiece": (wordpiece, {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}),
}
TEXTS = ("hello world", "the days . hello", " a  world ", "worlds", "", "hellos\nthe day .")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peer(kind: str) -> tokenizers.Tokenizer:
    return KINDS[kind][0]()


def write(folder: Path, kind: str) -> Path:
    folder.mkdir(exist_ok=True)
    make, config = KINDS[kind]
    make().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", config)
    return folder


@pytest.fixture
def ours(kind: str, tmp_path: Path) -> Tokenizer:
    return tokenizer_of_any_kind(write(tmp_path / "tokenizer", kind))


@pytest.mark.parametrize("text", TEXTS)
def test_text_becomes_the_ids_that_the_library_gives(
    ours: Tokenizer, peer: tokenizers.Tokenizer, text: str
) -> None:
    assert ours.encode(text) == peer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", TEXTS)
def test_ids_become_the_text_that_the_library_writes(
    ours: Tokenizer, peer: tokenizers.Tokenizer, text: str
) -> None:
    ids = peer.encode(text, add_special_tokens=False).ids
    decoder = ours.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == peer.decode(ids)


def test_no_text_becomes_a_control_token(ours: Tokenizer, peer: tokenizers.Tokenizer, kind: str) -> None:
    for text in ours.special_tokens:
        token_id = ours.vocabulary.special_ids[text]
        assert token_id in ours.vocabulary.hidden_ids
        for said in (text, f"hello {text} world", f" {text}", text * 3):
            assert token_id in peer.encode(said, add_special_tokens=False).ids, "the library itself does it"
            if text == KINDS[kind][1]["unk_token"]:
                continue  # which any text becomes that the vocabulary lacks
            assert token_id not in ours.encode(said)
            assert token_id not in ours.encode(said, is_first=False)
            assert token_id not in ours.encode_pieces([Text(said)])[1:]
        assert ours.encode_pieces([Special(text), Text("hello")])[-2] == token_id


def test_what_is_in_the_middle_gets_no_space_of_its_own(tmp_path: Path) -> None:
    ours = tokenizer_of_any_kind(write(tmp_path / "t", "Unigram"))
    assert ours.piece(ours.encode("hello")[0]) == b" hello"
    assert b"".join(map(ours.piece, ours.encode("s", is_first=False))) == b"s"


def test_a_model_of_transformers_answers_with_it(tmp_path: Path, kind: str) -> None:
    folder = write_family(tmp_path / "odd", "qwen2", vocab_size=128)
    write(folder, kind)
    model = read_model(folder, "hf")
    assert any(kind in notice and "tokenizers library" in notice for notice in model.notices)
    events = reply(open_model(folder))
    assert any(isinstance(event, Token) for event in events)


def test_a_llama_with_it_goes_to_transformers(tmp_path: Path, kind: str) -> None:
    from tiny_hf import TinyHF

    folder = write(TinyHF().write(tmp_path / "llama"), kind)
    with pytest.raises(NotOursError, match=f"of the type {kind}, wanted BPE"):
        read_model(folder, "scratch")
    assert f"of the type {kind}" in open_model(folder).info.engine_reason


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "Unigram", "vocab": [["a", 0.0, 1]], "unk_id": 0}, "is no token with a score"),
        ({"type": "Unigram", "vocab": [["a", "b"]], "unk_id": 0}, "cannot be used"),
        ({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}, "cannot be used"),
        ({"type": "WordPiece", "vocab": {}}, "there are no tokens"),
        ({"type": "Frobnicator", "vocab": {"a": 0}}, "cannot be used"),
        ([], "there is no 'model'"),
    ],
)
def test_damaged_ones_are_refused(tmp_path: Path, model: Any, words: str) -> None:
    write_json(tmp_path / "tokenizer.json", {"version": "1.0", "model": model})
    with pytest.raises(ModelError, match=words) as caught:
        tokenizer_of_any_kind(tmp_path)
    assert str(caught.value).isprintable()
