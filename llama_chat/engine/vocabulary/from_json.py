"""The tokenizer and the chat template of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, pairwise, starmap
from operator import add, ne
from pathlib import Path
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED, OTHER_ENGINE, shown, unreadable
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.vocabulary.bpe import BytePairEncoder
from llama_chat.engine.vocabulary.byte_level import byte_pieces, bytes_of, merge_ranks
from llama_chat.engine.vocabulary.json_steps import JsonSteps, flat_steps
from llama_chat.engine.vocabulary.json_vocabulary import (
    AddedToken,
    JsonTokenizer,
    added_token,
    read_tokenizer_json,
)
from llama_chat.engine.vocabulary.library import LibraryEncoder, Merges
from llama_chat.engine.vocabulary.sentencepiece import byte_token_ids, spaced_bytes
from llama_chat.engine.vocabulary.tokenizer import Encoder, Tokenizer
from llama_chat.engine.vocabulary.vocabulary import Vocabulary, end_ids_among
from llama_chat.errors import ModelError, NotOursError
from llama_chat.template.sandbox import MAX_SOURCE_CHARS

TOKENIZER_NAME = "tokenizer.json"
CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"
TEMPLATE_NAME = "chat_template.jinja"

MAX_CONFIG_BYTES = 1 << 24
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
MAX_TEMPLATE_BYTES = 4 * MAX_SOURCE_CHARS


def tokenizer_from_json(folder: Path, end_ids: Collection[int] = ()) -> Tokenizer:
    """The tokenizer in the folder's tokenizer.json, with what lies beside it.

    Args:
        folder: where the model lies.
        end_ids: tokens that end a reply, beside those that the tokenizer names; unknown ids do not count.

    Raises:
        ModelError: it is missing or damaged.
        NotOursError: it is of a kind that is not read here.
    """
    found = read_tokenizer_json(folder / TOKENIZER_NAME)
    config = TokenizerConfig.read(folder)
    steps = JsonSteps(found.normalizer, found.pre_tokenizer, found.where)
    tokens = Tokens.sort(found, config)
    pieces, byte_ids = _pieces(found, steps, tokens)
    vocabulary = build_vocabulary(found, steps, tokens, config, pieces, end_ids)
    return Tokenizer(vocabulary, _encoder(found, steps, tokens, vocabulary, byte_ids))


def _pieces(found: JsonTokenizer, steps: JsonSteps, tokens: Tokens) -> tuple[list[bytes], frozenset[int]]:
    """The bytes of every token, and which tokens stand for single bytes in SentencePiece's way."""
    if steps.is_byte_level:
        return byte_pieces(tokens.texts, tokens.reserved, found.where), frozenset()
    space = steps.space
    if space is None:
        raise NotOursError(
            f"{found.where}: the tokens keep no spaces, so that a reply could not be put together",
            hint=f"Byte-level vocabularies and those of SentencePiece can be read. {OTHER_ENGINE}",
        )
    byte_ids = byte_ids_of(found, tokens)
    return spaced_bytes(tokens.texts, tokens.reserved, byte_ids, space), byte_ids


def build_vocabulary(
    found: JsonTokenizer,
    steps: JsonSteps,
    tokens: Tokens,
    config: TokenizerConfig,
    pieces: list[bytes],
    end_ids: Collection[int],
) -> Vocabulary:
    """What the loop must know of the tokens; arguments as `tokenizer_from_json` gathers them."""
    first = _first_of_template(found)
    adds_bos = config.flag("add_bos_token")
    eos_id = tokens.id_of(config.text_of("eos_token"))
    return Vocabulary(
        pieces=pieces,
        special_ids=tokens.special_ids,
        hidden_ids=tokens.hidden_ids,
        end_ids=end_ids_among((*end_ids, eos_id), tokens.special_ids, len(pieces)),
        bos_id=tokens.id_of(config.text_of("bos_token") or first),
        eos_id=eos_id,
        adds_bos=first is not None if adds_bos is None else adds_bos,
        space_before=steps.space_before,
    )


# --- tokens ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens by id, and which of them are not made of text."""

    texts: list[str]
    special_ids: dict[str, int]
    hidden_ids: frozenset[int]
    vocab: Mapping[str, int]

    @property
    def reserved(self) -> frozenset[int]:
        """Those that no ordinary text becomes."""
        return frozenset(self.special_ids.values())

    def id_of(self, text: str | None) -> int | None:
        """The id of the token with that text."""
        return None if not text else self.special_ids.get(text, self.vocab.get(text))

    @classmethod
    def sort(cls, found: JsonTokenizer, config: TokenizerConfig) -> Tokens:
        """Every added token is reserved, but for words: those that the merges make, and nobody hides.

        So are the tokens that the configuration names as beginning, end or unknown, where no text makes them.
        """
        added = found.with_added(config.added_tokens())
        made = set(starmap(add, found.pairs))
        special_ids = {
            token.text: token.token_id for token in added if token.is_special or token.text not in made
        }
        named = {config.text_of(name) or "" for name in _ROLES}
        unlisted = {
            text: found.vocab[text]
            for text in (named & found.vocab.keys()) - made - special_ids.keys()
            if len(text) > 1
        }
        by_id = {i: text for text, i in found.vocab.items()} | {t.token_id: t.text for t in added}
        count = max(by_id) + 1
        gaps = frozenset(range(count)) - by_id.keys()
        hidden = {token.token_id for token in added if token.is_special} | set(unlisted.values())
        return cls(
            texts=[by_id.get(i, "") for i in range(count)],
            special_ids=special_ids | unlisted,
            hidden_ids=gaps | hidden,
            vocab=found.vocab,
        )


def byte_ids_of(found: JsonTokenizer, tokens: Tokens) -> frozenset[int]:
    """The tokens that stand for single bytes, as SentencePiece spells them."""
    decoders = flat_steps(found.decoder, "decoders", found.where)
    if not found.byte_fallback and not any(step["type"] == "ByteFallback" for step in decoders):
        return frozenset()
    return byte_token_ids(tokens.texts) - tokens.reserved


# --- encoders --------------------------------------------------------------------------------------


def _encoder(
    found: JsonTokenizer,
    steps: JsonSteps,
    tokens: Tokens,
    vocabulary: Vocabulary,
    byte_ids: frozenset[int],
) -> Encoder:
    """By tiktoken where it does the very same, otherwise the `tokenizers` library."""
    pairs = _without(tokens.special_ids.keys() | {tokens.texts[i] for i in byte_ids}, found.pairs)
    ordinary = {text: i for text, i in found.vocab.items() if text not in tokens.special_ids}
    wholes = list(starmap(add, pairs))
    pre = steps.pre_tokenizer
    if pre is not None and not found.byte_fallback and _suits_tiktoken(found, ordinary, wholes):
        ranks = merge_ranks(bytes_of(wholes), vocabulary.pieces, tokens.reserved, found.where)
        return BytePairEncoder(vocabulary, ranks, pre)
    merges = Merges(ordinary, pairs, byte_fallback=found.byte_fallback, ignore_merges=found.ignore_merges)
    return LibraryEncoder(merges, steps.opening, steps.inside, found.where)


def _without(barred: Set[str], pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """The merges that neither take nor make one of those tokens."""
    if barred.isdisjoint(chain.from_iterable(pairs)) and barred.isdisjoint(starmap(add, pairs)):
        return pairs
    return [
        (left, right)
        for left, right in pairs
        if left not in barred and right not in barred and left + right not in barred
    ]


def _suits_tiktoken(found: JsonTokenizer, ordinary: Mapping[str, int], wholes: list[str]) -> bool:
    """Whether one rank a token says as much as the merges.

    It does where all merges to one token stand together: then nothing can go between them. (A token that
    they would never put together from its own text alone would be an exception; training makes none.)
    tiktoken always takes a stretch of text that is a token for that token. That is `ignore_merges`, as
    Llama 3 has it, but for tokens that no merge makes; without, the merges come to the same.
    """
    runs = sum(starmap(ne, pairwise(wholes))) + bool(wholes)
    if runs != len(set(wholes)):
        return False
    return not found.ignore_merges or all(len(text) == 1 for text in ordinary.keys() - set(wholes))


# --- beside tokenizer.json -------------------------------------------------------------------------


class TokenizerConfig:
    """tokenizer_config.json and the older special_tokens_map.json, which may both be missing."""

    def __init__(self, config: Mapping[str, Any], special: Mapping[str, Any]) -> None:
        self._config = config
        self._special = special

    @classmethod
    def read(cls, folder: Path) -> TokenizerConfig:
        """What the folder's files say."""
        return cls(_read_if_there(folder / CONFIG_NAME), _read_if_there(folder / SPECIAL_TOKENS_NAME))

    def text_of(self, name: str) -> str | None:
        """The text of a token that has a role, `bos_token` for one."""
        for found in (self._config.get(name), self._special.get(name)):
            text = found.get("content") if isinstance(found, dict) else found
            if isinstance(text, str) and text:
                return text
        return None

    def flag(self, name: str) -> bool | None:
        """Yes, no, or nothing said."""
        value = self._config.get(name)
        return value if isinstance(value, bool) else None

    def added_tokens(self) -> Iterator[AddedToken]:
        """Those that the configuration lists by id."""
        entries = self._config.get("added_tokens_decoder")
        if not isinstance(entries, dict):
            return
        for key, entry in entries.items():
            if not (key.isascii() and key.isdigit() and len(key) < 8):
                raise ModelError(f"{CONFIG_NAME}: {shown(key)} is no id of a token", hint=DAMAGED)
            yield added_token(entry, CONFIG_NAME, int(key))


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path, MAX_CONFIG_BYTES) if path.is_file() else {}


def _first_of_template(found: JsonTokenizer) -> str | None:
    """The token that is put before every text, if there is one."""
    for step in flat_steps(found.post_processor, "processors", found.where):
        single = step.get("single") if step["type"] == "TemplateProcessing" else None
        first = single[0] if isinstance(single, list) and single else None
        special = first.get("SpecialToken") if isinstance(first, dict) else None
        text = special.get("id") if isinstance(special, dict) else None
        if isinstance(text, str):
            return text
    return None


# --- the chat template -----------------------------------------------------------------------------


def chat_template_of(folder: Path) -> str | None:
    """The folder's chat template, in a file of its own or in tokenizer_config.json; None without one.

    Raises:
        ModelError: it is out of all proportion, or no text.
    """
    path = folder / TEMPLATE_NAME
    if path.is_file():
        return _read_template(path)
    found = _read_if_there(folder / CONFIG_NAME).get("chat_template")
    if isinstance(found, list):  # several, by names
        named = {
            entry["name"]: entry.get("template")
            for entry in found
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        }
        found = named.get("default", next(iter(named.values()), None) if len(named) == 1 else None)
    if not isinstance(found, str):
        return None
    return _checked(found, CONFIG_NAME)


def _read_template(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEMPLATE_BYTES + 1)
        return _checked(raw.decode("utf-8-sig"), path.name)
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise ModelError(f"{path.name}: is no text in UTF-8", hint=DAMAGED) from None


def _checked(template: str, where: str) -> str:
    if len(template) > MAX_SOURCE_CHARS:
        raise ModelError(
            f"{where}: the chat template has more than {MAX_SOURCE_CHARS:,} characters", hint=DAMAGED
        )
    return template
