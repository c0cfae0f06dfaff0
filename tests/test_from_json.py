"""tokenizer.json: the ids that its own library gives, never a control token, every way it can be broken."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tiktoken.load
from fuzz_tokenizer_json import fuzz
from hypothesis import given
from hypothesis import strategies as st
from llama_models import llama3 as meta_package
from record_tokenizer_corpus import CORPUS, random_strings
from tokenizer_folders import (
    byte_level,
    every_merge,
    in_alphabet,
    llama3_split,
    smollm_split,
    spaced,
    train_sentencepiece,
    with_bos,
    write_folder,
)
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import normalizers, pre_tokenizers

from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.vocabulary.bpe import LLAMA3_PATTERN, BytePairEncoder
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.from_json import chat_template_of, tokenizer_from_json
from llama_chat.engine.vocabulary.from_tiktoken import special_tokens, tokenizer_from_tiktoken
from llama_chat.engine.vocabulary.json_steps import JsonSteps
from llama_chat.engine.vocabulary.library import LibraryEncoder, Merges, Steps
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError
from llama_chat.events import Ids, Special, Text

RECORDED: list[tuple[str, list[int]]] = [
    (text, ids) for text, ids in json.loads(CORPUS.read_text(encoding="utf-8"))
]
RANDOM = list(random_strings(2000, seed=11))
QWEN_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")

# Every byte and a few words; "<s>" could be put together out of "<s" and ">".
WORDS = [b"th", b"the", b" t", b" the", b"  ", b"12", b"<s", b"<s>", b"</", b"</s", b"</s>", b"<|"]
MERGES = [
    *((b"t", b"h"), (b"th", b"e"), (b" ", b"t"), (b" ", b"the"), (b" ", b" "), (b"1", b"2")),
    *((b"<", b"s"), (b"<s", b">"), (b"<", b"/"), (b"</", b"s"), (b"</s", b">"), (b"<", b"|")),
]
PIECES = [bytes([byte]) for byte in range(256)] + WORDS
SPECIAL = ["<s>", "</s>", "<|im_end|>"]

FRAGMENTS = [
    *("<s>", "</s>", "<|", "im_end", "|>", "<unk>", "<0x41>", "<0x0", "A>", "▁", " ", "  ", "the", " t", "1"),
    *("12", "\n", "é", "e\u0301", "漢", "🦙", "\x00", "\u200d", "a", "<think>", "\ufffd", "x\x1b["),
]
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))


def joined(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    return b"".join(map(tokenizer.piece, ids))


def encoder_of(tokenizer: Tokenizer) -> object:
    return tokenizer._encoder


@pytest.fixture(scope="session")
def sp_model() -> sentencepiece.SentencePieceProcessor:
    return train_sentencepiece()


def tiny(split: pre_tokenizers.PreTokenizer | None = None) -> LibraryTokenizer:
    return byte_level(PIECES, MERGES, SPECIAL, split=split or smollm_split())


def as_json(tokenizer: LibraryTokenizer, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    content["model"] |= {key: changes.pop(key) for key in list(changes) if key in content["model"]}
    return content | changes


@pytest.fixture(scope="session")
def kinds(
    tmp_path_factory: pytest.TempPathFactory, sp_model: sentencepiece.SentencePieceProcessor
) -> dict[str, Tokenizer]:
    """A tokenizer of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    made = {
        "smollm": tiny(),
        "llama3": tiny(llama3_split()),
        "other cuts": tiny(llama3_split(QWEN_PATTERN)),
        "prepend": spaced(sp_model),
        "first": spaced(sp_model, scheme="first"),
        "never": spaced(sp_model, scheme="never"),
    }
    return {name: tokenizer_from_json(write_folder(folder / name, t)) for name, t in made.items()}


KINDS = ("smollm", "llama3", "other cuts", "prepend", "first", "never")


# --- the default model -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def from_gguf(default_model: Path) -> Tokenizer:
    return tokenizer_from_gguf(GGUFFile(default_model))


@pytest.fixture(scope="session")
def smollm(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The default model's vocabulary, written as tokenizer.json and read back."""
    metadata = GGUFFile(default_model).metadata
    tokens = [token.decode() for token in metadata["tokenizer.ggml.tokens"]]
    special = [
        token
        for token, type_ in zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True)
        if type_ == 3
    ]
    written = byte_level([], [], [], split=smollm_split())
    model = {
        "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": [merge.decode().split(" ") for merge in metadata["tokenizer.ggml.merges"]],
    }
    complete = LibraryTokenizer.from_str(json.dumps(as_json(written, **model)))
    complete.add_special_tokens(special)
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    return tokenizer_from_json(write_folder(tmp_path_factory.mktemp("smollm"), complete, config))


def test_the_default_model_s_ids(smollm: Tokenizer, from_gguf: Tokenizer) -> None:
    assert isinstance(encoder_of(smollm), BytePairEncoder)
    assert [(text, smollm.encode(text)) for text, _ in RECORDED] == RECORDED
    assert [smollm.encode(text) for text in RANDOM] == [from_gguf.encode(text) for text in RANDOM]


def test_the_default_model_s_vocabulary(smollm: Tokenizer, from_gguf: Tokenizer) -> None:
    assert smollm.vocabulary == from_gguf.vocabulary


# --- Llama 3 ---------------------------------------------------------------------------------------

TOKENIZER_MODEL = Path(meta_package.__file__).with_name("tokenizer.model")


@pytest.fixture(scope="session")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Meta's ranks as the tokenizer.json that the Hub has for them."""
    ranks = tiktoken.load.load_tiktoken_bpe(str(TOKENIZER_MODEL))
    written = byte_level(
        sorted(ranks, key=ranks.__getitem__), every_merge(ranks), [], split=llama3_split(), ignore_merges=True
    )
    written.add_special_tokens(list(special_tokens()))
    with_bos(written, "<|begin_of_text|>")
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    return tokenizer_from_json(write_folder(tmp_path_factory.mktemp("llama3"), written, config), [128_001])


def test_llama_3_s_ids_are_tiktoken_s(llama3: Tokenizer) -> None:
    meta = tokenizer_from_tiktoken(TOKENIZER_MODEL)  # held against Meta's own code elsewhere
    assert isinstance(encoder_of(llama3), BytePairEncoder)
    texts = [*(text for text, _ in RECORDED), *RANDOM]
    assert [llama3.encode(text) for text in texts] == [meta.encode(text) for text in texts]
    assert llama3.encode_pieces([Special("<|begin_of_text|>"), Text("hi")])[0] == 128_000
    assert list(llama3.vocabulary.pieces) == list(meta.vocabulary.pieces)
    assert dict(llama3.vocabulary.special_ids) == dict(meta.vocabulary.special_ids)
    assert llama3.vocabulary.end_ids == {128_001, 128_008, 128_009}
    assert llama3.vocabulary.adds_bos


# --- the library's own ids -------------------------------------------------------------------------


def plain_ids(tokenizer: LibraryTokenizer, text: str) -> list[int]:
    """What the library makes of text without any control tokens in it."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize(
    "split",
    [
        smollm_split(),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        llama3_split(),
        llama3_split(QWEN_PATTERN),
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(False)]),
    ],
    ids=["smollm", "gpt-2", "llama3", "qwen", "punctuation"],
)  # fmt: skip
@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()], ids=["plain", "nfc"])
def test_ids_equal_the_library_s(
    tmp_path: Path, split: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None
) -> None:
    written = byte_level(PIECES, MERGES, [], split=split)
    if normalizer is not None:
        written.normalizer = normalizer
    ours = tokenizer_from_json(write_folder(tmp_path, written))
    for text in [*(text for text, _ in RECORDED), *RANDOM]:
        assert ours.encode(text) == plain_ids(written, text), text


def test_tiktoken_serves_only_what_it_does_exactly(kinds: Mapping[str, Tokenizer], tmp_path: Path) -> None:
    by_tiktoken = {name for name in KINDS if isinstance(encoder_of(kinds[name]), BytePairEncoder)}
    assert by_tiktoken == {"smollm", "llama3"}
    # Between the two merges to "abc" stands another: one rank a token cannot say that.
    pieces = [*PIECES, b"ab", b"bc", b"abc", b"cd"]
    merges = [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"c", b"d"), (b"a", b"bc")]
    between = byte_level(pieces, merges, [], split=smollm_split())
    ours = tokenizer_from_json(write_folder(tmp_path / "between", between))
    assert isinstance(encoder_of(ours), LibraryEncoder)
    rng = random.Random(3)
    for _ in range(500):
        text = "".join(rng.choices("abcd", k=rng.randrange(1, 9)))
        assert ours.encode(text) == plain_ids(between, text), text


def test_ignored_merges(tmp_path: Path) -> None:
    """Llama 3's merges lead to all of its tokens; where some do not, whole words are taken all the same."""
    written = byte_level([*PIECES, b"hello"], MERGES, [], split=smollm_split(), ignore_merges=True)
    ours = tokenizer_from_json(write_folder(tmp_path, written))
    for text in ("hello", " hello", "hello the", "the", "thethe"):
        assert ours.encode(text) == plain_ids(written, text)
    assert ours.encode("hello") == [len(PIECES)]


# --- SentencePiece ---------------------------------------------------------------------------------


def test_spaced_ids_equal_sentencepiece_s(
    kinds: Mapping[str, Tokenizer], sp_model: sentencepiece.SentencePieceProcessor
) -> None:
    for text in [*(text for text, _ in RECORDED), *RANDOM]:
        if "<s>" not in text:  # here a word, but the library's normaliser sees no difference
            assert kinds["prepend"].encode(text) == sp_model.encode(text), text


CONVERSATION = "<s>[INST] hi there [/INST] yo  you </s><s>[INST] \n12 [/INST]"
PARTS = [
    *(Special("<s>"), Text("[INST] hi there [/INST] yo  you "), Special("</s>")),
    *(Special("<s>"), Text("[INST] \n12 [/INST]")),
]


def test_a_rendered_conversation_as_the_library_has_it(
    kinds: Mapping[str, Tokenizer], sp_model: sentencepiece.SentencePieceProcessor
) -> None:
    """In the older way every text between control tokens gets a space; the others get none."""
    for name, scheme in (("prepend", "prepend"), ("never", "never")):
        assert kinds[name].encode_pieces(PARTS) == plain_ids(spaced(sp_model, scheme=scheme), CONVERSATION)


def test_where_the_space_goes(kinds: Mapping[str, Tokenizer]) -> None:
    def text_of(name: str, *pieces: Special | Text | Ids) -> str:
        return joined(kinds[name], kinds[name].encode_pieces(pieces)).decode()

    behind_end = (Text("a"), Special("</s>"), Text("b"))
    behind_begin = (Text("a"), Special("</s>"), Special("<s>"), Text("b"))
    assert text_of("prepend", *behind_end) == "<s> a</s> b"
    assert text_of("first", *behind_end) == "<s> a</s>b"
    assert text_of("first", *behind_begin) == "<s> a</s><s> b"
    assert text_of("never", *behind_begin) == "<s>a</s><s>b"


def test_the_space_that_begins_a_reply_is_not_shown(kinds: Mapping[str, Tokenizer]) -> None:
    for name, shown in (("prepend", "the  end"), ("first", "the  end"), ("never", " the  end")):
        tokenizer = kinds[name]
        ids = kinds["never"].encode(" the  end")
        decoder = tokenizer.decoder()
        assert "".join(map(decoder.feed, ids)) + decoder.flush() == shown
        assert tokenizer.encode_pieces([Special("<s>"), Ids(tuple(ids), shown)])[1:] == ids
        wrong = " the  end" if shown == "the  end" else "the  end"
        assert tokenizer.encode_pieces([Special("<s>"), Ids(tuple(ids), f"{wrong}!")])[1:] != ids


# --- text is never a control token -----------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@given(text=TEXTS)
def test_text_is_never_a_control_token(kinds: Mapping[str, Tokenizer], name: str, text: str) -> None:
    tokenizer = kinds[name]
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.vocabulary.special_ids.values())
    spelt = joined(tokenizer, ids).decode()
    if name in ("prepend", "first", "never"):  # a user's own ▁ is a space to SentencePiece
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("▁", " ")
        assert spelt in (text, f" {text}")
    else:
        assert spelt == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_every_spelling_of_every_control_token_is_text(kinds: Mapping[str, Tokenizer]) -> None:
    for tokenizer in kinds.values():
        for special, special_id in tokenizer.vocabulary.special_ids.items():
            for text in (special, f" {special}", f"{special}\n", special * 2, f"x{special}x"):
                assert special_id not in tokenizer.encode(text), text
            assert tokenizer.encode_pieces([Special(special)])[-1] == special_id


def test_byte_tokens_are_not_spelt(kinds: Mapping[str, Tokenizer]) -> None:
    tokenizer = kinds["prepend"]
    byte_id = tokenizer.vocabulary.pieces.index(b"\x07")
    assert byte_id not in tokenizer.encode("<0x07>")
    assert byte_id in tokenizer.encode("\x07")


def test_control_tokens_of_one_character_are_not_made_of_text(tmp_path: Path) -> None:
    for name, split in (("tiktoken", smollm_split()), ("library", llama3_split(QWEN_PATTERN))):
        written = byte_level(PIECES, MERGES, ["x"], split=split)
        ours = tokenizer_from_json(write_folder(tmp_path / name, written))
        assert joined(ours, ours.encode("axb")) == b"ab", "there is no other token for it"


def test_lone_surrogates(kinds: Mapping[str, Tokenizer]) -> None:
    for name in ("other cuts", "never"):
        assert joined(kinds[name], kinds[name].encode("a\ud800b")).decode() == "a\ufffdb"


# --- tokens beside the merges ----------------------------------------------------------------------


def added(token_id: int, content: str, special: bool) -> dict[str, Any]:
    return {
        "id": token_id, "content": content, "special": special, "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": not special,
    }  # fmt: skip


def test_added_tokens(tmp_path: Path) -> None:
    n = len(PIECES)
    the = PIECES.index(b" the")
    extra = [
        added(n, "<|end|>", special=True),
        added(n + 1, "<think>", special=False),
        added(the, in_alphabet(b" the"), special=False),
        added(n + 5, "<pad>", special=True),
        added(n + 5, "<pad>", special=True),
        added(n + 6, "", special=True),
    ]
    ours = tokenizer_from_json(write_folder(tmp_path, as_json(tiny(), added_tokens=extra)))
    vocabulary = ours.vocabulary
    assert vocabulary.special_ids == {"<|end|>": n, "<think>": n + 1, "<pad>": n + 5}
    assert vocabulary.hidden_ids == {n, n + 2, n + 3, n + 4, n + 5}, "and the ids that no token has"
    assert ours.visible_tokens == ("<think>",)
    assert ours.encode(" the") == [the], "a word stays one, though it is listed"
    assert n + 1 not in ours.encode("<think>")
    assert ours.decoder().feed(n + 1) == "<think>"
    assert ours.decoder().feed(n + 3) == ""


def test_tokens_that_only_the_configuration_lists(tmp_path: Path) -> None:
    n = len(PIECES)
    content = as_json(tiny(), added_tokens=[added(n, "<|end|>", special=True)])
    content["model"]["vocab"]["<bos>"] = n + 1
    config = {
        "bos_token": "<bos>",
        "eos_token": {"content": "<|end|>", "special": True},
        "unk_token": "a",
        "added_tokens_decoder": {
            str(n): added(n, "other", special=True),  # the id is taken
            str(n + 2): added(n + 2, "<|end|>", special=True),  # the text is
            str(n + 3): {"content": "<tool>", "special": False},
        },
    }
    vocabulary = tokenizer_from_json(write_folder(tmp_path, content, config)).vocabulary
    assert vocabulary.special_ids == {"<|end|>": n, "<tool>": n + 3, "<bos>": n + 1}
    assert vocabulary.hidden_ids == {n, n + 1, n + 2}
    assert (vocabulary.bos_id, vocabulary.eos_id, vocabulary.adds_bos) == (n + 1, n, False)
    assert PIECES.index(b"a") not in vocabulary.special_ids.values()


def test_beginning_and_end(tmp_path: Path) -> None:
    n = len(PIECES)
    ids = {"<s>": PIECES.index(b"<s>"), "</s>": PIECES.index(b"</s>"), "<|im_end|>": n}
    plain, begun = tiny(), with_bos(tiny(), "<s>")

    def read(written: LibraryTokenizer, *files: Mapping[str, Any] | None, ends: tuple[int, ...] = ()) -> Any:
        return tokenizer_from_json(write_folder(tmp_path / str(random.random()), written, *files), ends)

    for tokenizer, bos, eos, adds in (
        (read(plain), None, None, False),
        (read(begun), "<s>", None, True),
        (read(begun, {"add_bos_token": False, "bos_token": "<s>"}), "<s>", None, False),
        (read(plain, {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}), "<s>", "</s>", True),
        (read(plain, None, {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}), "<s>", "</s>", False),
        (read(plain, {"bos_token": None, "eos_token": "gone"}, {"bos_token": "<s>"}), "<s>", None, False),
        (read(plain, {"bos_token": ["<s>"], "eos_token": 7}), None, None, False),
    ):
        vocabulary = tokenizer.vocabulary
        assert (vocabulary.bos_id, vocabulary.eos_id) == (ids.get(bos or ""), ids.get(eos or ""))
        assert vocabulary.adds_bos is adds
        assert vocabulary.end_ids == {ids["</s>"], n}, "those that end a turn by their names"
    assert read(plain, ends=(3, -1, 10**9)).vocabulary.end_ids == {3, ids["</s>"], n}


# --- chat templates --------------------------------------------------------------------------------


def test_chat_templates(tmp_path: Path) -> None:
    config = tmp_path / "tokenizer_config.json"
    assert chat_template_of(tmp_path) is None
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    for found, wanted in (
        (None, None),
        ("text", "text"),
        (named, "D"),
        (named[:1], "T"),
        ([named[0], named[0] | {"name": "rag"}], None),
        ([1, {"name": 2}, {"template": "x"}], None),
        (7, None),
        ([{"name": "default"}], None),
    ):
        config.write_text(json.dumps({"chat_template": found}), encoding="utf-8")
        assert chat_template_of(tmp_path) == wanted
    config.write_text(json.dumps({"chat_template": "old"}), encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text("\ufeff{{ 'é' }}", encoding="utf-8")
    assert chat_template_of(tmp_path) == "{{ 'é' }}"


def test_chat_templates_that_are_no_good(tmp_path: Path) -> None:
    jinja, config = tmp_path / "chat_template.jinja", tmp_path / "tokenizer_config.json"
    for raw, message in (
        (b"x" * 200_001, "has more than 200,000 characters"),
        (b"x" * 900_000, "has more than 200,000 characters"),
        (b"\xff\xfe", "is no text in UTF-8"),
    ):
        jinja.write_bytes(raw)
        with pytest.raises(ModelError, match=rf"chat_template.jinja: .*{message}"):
            chat_template_of(tmp_path)
    jinja.unlink()
    config.write_text(json.dumps({"chat_template": "x" * 200_001}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer_config.json: .*more than 200,000"):
        chat_template_of(tmp_path)


# --- what is no good -------------------------------------------------------------------------------

ENTRY = added(300, "<x>", special=True)
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "there is no 'model'"),
    "another model": ({"type": "Unigram"}, "of the type Unigram, wanted BPE"),
    "escape sequence": ({"type": "\x1b[31m"}, r"of the type '\\x1b\[31m'"),
    "suffixes": ({"end_of_word_suffix": "</w>"}, "marked by a end_of_word_suffix"),
    "no tokens": ({"vocab": {}}, "there are no tokens"),
    "tokens in a list": ({"vocab": ["a"]}, "there are no tokens"),
    "id too large": ({"vocab": {"a": 1 << 20}}, "the id of 'a' is 1048576"),
    "negative id": ({"vocab": {"a": -1}}, "the id of 'a' is -1"),
    "id is a truth": ({"vocab": {"a": True}}, "the id of 'a' is True"),
    "one id twice": ({"vocab": {"a": 1, "b": 1}}, "two tokens have the same id"),
    "half a character": ({"vocab": {"a": 0, "\ud800": 1}}, "token 1 is .*, which is no text"),
    "no merges": ({"merges": None}, "there are no merges"),
    "merge of three": ({"merges": ["a b c"]}, "'a b c' is no merge"),
    "merge of numbers": ({"merges": [[1, 2]]}, r"\[1, 2\] is no merge"),
    "merge to nothing": ({"merges": [["q", "q"]]}, r"the merge \['q', 'q'\] joins, or makes"),
    "merge of nothing": ({"merges": [["", "q"]]}, "joins, or makes, what is no token"),
    "no byte-pair token": ({"vocab": {"a b": 0}, "merges": []}, "token 0 is no byte-pair token: 'a b'"),
    "added in no list": ({"added_tokens": {"a": 1}}, "'added_tokens' is no list"),
    "added no object": ({"added_tokens": ["x"]}, "the added token 'x' is no object"),
    "added without an id": ({"added_tokens": [ENTRY | {"id": None}]}, "the id of '<x>' is None"),
    "added without a text": ({"added_tokens": [ENTRY | {"content": 5}]}, "token 300 is 5, which is no text"),
    "added in another's place": ({"added_tokens": [ENTRY | {"id": 5}]}, "is added as token 5, which is"),
    "added elsewhere": ({"added_tokens": [ENTRY | {"content": "a"}]}, "'a' is added as token 300, which is"),
    "spaces dropped": ({"pre_tokenizer": {"type": "Whitespace"}}, "text goes through Whitespace"),
    "no spaces": ({"pre_tokenizer": None}, "the tokens keep no spaces"),
    "no step": ({"normalizer": [1]}, "is no step"),
    "no type": ({"normalizer": {"prepend": "x"}}, "is no step"),
    "sequence of nothing": ({"pre_tokenizer": {"type": "Sequence"}}, "no list of pretokenizers"),
    "step without its fields": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Split"}]}},
        "the tokenizer cannot be used",
    ),
    "pattern that is none": (
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
                ],
            }
        },
        "the tokenizer cannot be used",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_tokenizers(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_folder(tmp_path, as_json(tiny(), **changes))
    with pytest.raises(ModelError, match=rf"^tokenizer.json: .*{message}"):
        tokenizer_from_json(folder)


def test_sequences_without_end(tmp_path: Path) -> None:
    step: dict[str, Any] = {"type": "NFC"}
    for _ in range(20):
        step = {"type": "Sequence", "normalizers": [step]}
    with pytest.raises(ModelError, match="is no step"):
        tokenizer_from_json(write_folder(tmp_path, as_json(tiny(), normalizer=step)))


def test_folders_without_it_and_files_out_of_proportion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"there is no tokenizer.json in this folder"):
        tokenizer_from_json(tmp_path)
    write_folder(tmp_path, tiny(), {"bos_token": "<s>", "added_tokens_decoder": {"x": {}}})
    with pytest.raises(ModelError, match=r"^tokenizer_config.json: x is no id"):
        tokenizer_from_json(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b'{"model":' + b"[" * 100_000)
    with pytest.raises(ModelError, match="nested too deep"):
        tokenizer_from_json(tmp_path)
    monkeypatch.setattr("llama_chat.engine.vocabulary.json_vocabulary.MAX_TOKENIZER_BYTES", 1000)
    with pytest.raises(ModelError, match="has more than 1,000 bytes"):
        tokenizer_from_json(tmp_path)


def test_two_thousand_damaged_folders(tmp_path: Path) -> None:
    counts, faults = fuzz(tmp_path, rounds=2000, seed=5)
    assert faults == []
    assert counts["read"] > 200
    assert counts["refused"] > 200


# --- when the library gives up ---------------------------------------------------------------------


def test_a_pattern_that_takes_for_ever(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The library's engine of patterns gives up after a while, by a panic: an error like any other."""
    endless = llama3_split(r"(x+x+)+y")
    tokenizer = tokenizer_from_json(write_folder(tmp_path, tiny(endless)))
    with pytest.raises(ModelError, match=r"fails at this text: .*retry-limit-in-match over"):
        tokenizer.encode("x" * 60)
    capfd.readouterr()  # Rust has its say on stderr
    assert joined(tokenizer, tokenizer.encode("the xxy")) == b"the xxy"


def test_only_the_library_s_own_failures_are_model_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Failing:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def encode(self, text: str, add_special_tokens: bool) -> Any:
            raise self.error

    encoder = LibraryEncoder(Merges({"a": 0}, []), Steps(), Steps(), "tokenizer.json")
    for error in (PanicException("over\nthe\x00 limit"), ValueError("over the limit")):
        monkeypatch.setattr(encoder, "_inside", Failing(error))
        with pytest.raises(ModelError, match=r"^tokenizer.json: the tokenizer fails at this text: over"):
            encoder.encode("a", is_first=False)
    for error in (KeyboardInterrupt(), MemoryError()):
        monkeypatch.setattr(encoder, "_inside", Failing(error))
        with pytest.raises(type(error)):
            encoder.encode("a", is_first=False)


def test_steps_of_older_files() -> None:
    """Before there were schemes a flag said whether Metaspace puts a space in front."""
    for step, wanted in (
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, "controls"),
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}, "nothing"),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}, "start"),
        ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}, "controls"),
    ):
        steps = JsonSteps(None, step, "tokenizer.json")
        assert steps.space_before == wanted
        LibraryEncoder(Merges({"a": 0}, []), steps.opening, steps.inside, "tokenizer.json")
