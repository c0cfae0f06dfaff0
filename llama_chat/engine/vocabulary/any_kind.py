"""Tokenizers of every kind that the `tokenizers` library runs (Unigram, WordPiece), for transformers' models.

The library does what tokenizer.json says, with two changes: it gets no added tokens, and control tokens get
names that nobody can write. So no text becomes one, whatever it says.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.vocabulary.byte_level import byte_pieces
from llama_chat.engine.vocabulary.from_json import (
    TOKENIZER_NAME,
    TokenizerConfig,
    Tokens,
    build_vocabulary,
    byte_ids_of,
)
from llama_chat.engine.vocabulary.json_steps import JsonSteps, flat_steps
from llama_chat.engine.vocabulary.json_vocabulary import (
    MAX_TOKENIZER_BYTES,
    JsonTokenizer,
    added_tokens_of,
    checked_vocab,
)
from llama_chat.engine.vocabulary.library import Steps, library_error
from llama_chat.engine.vocabulary.sentencepiece import spaced_bytes
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError

# What the library's WordPiece decoder writes without the space before it, when it is told to clean up.
_CLOSING = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")


def tokenizer_of_any_kind(folder: Path, end_ids: Collection[int] = ()) -> Tokenizer:
    """The tokenizer in the folder's tokenizer.json, of whatever kind.

    Args:
        folder: where the model lies.
        end_ids: tokens that end a reply, beside those that the tokenizer names.

    Raises:
        ModelError: it is missing or damaged, or the library refuses it.
    """
    content = read_json(folder / TOKENIZER_NAME, MAX_TOKENIZER_BYTES)
    found = _read(content, TOKENIZER_NAME)
    steps = JsonSteps(found.normalizer, found.pre_tokenizer, found.where, takes_all=True)
    config = TokenizerConfig.read(folder)
    tokens = Tokens.sort(found, config)
    pieces = _pieces(content["model"], found, steps, tokens)
    vocabulary = build_vocabulary(found, steps, tokens, config, pieces, end_ids)
    if _begins_words_with_space(content["model"], found, steps):
        vocabulary = replace(vocabulary, space_before="controls")
    return Tokenizer(vocabulary, AnyEncoder(content["model"], steps, tokens, found.where))


def _read(content: Mapping[str, Any], where: str) -> JsonTokenizer:
    model = content.get("model")
    if not isinstance(model, dict):
        raise ModelError(f"{where}: there is no 'model' in it", hint=DAMAGED)
    vocab = checked_vocab(_ids_by_text(model.get("vocab"), where), where)
    return JsonTokenizer(
        where=where,
        vocab=vocab,
        pairs=[],
        added=added_tokens_of(content, vocab, where),
        byte_fallback=model.get("byte_fallback") is True,
        ignore_merges=False,
        **{name: content.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")},
    )


def _ids_by_text(vocab: Any, where: str) -> Any:
    """The vocabulary as a table; Unigram's is a list of texts and scores in the order of the ids."""
    if not isinstance(vocab, list):
        return vocab
    found: dict[str, int] = {}
    for token_id, entry in enumerate(vocab):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise ModelError(f"{where}: {entry!r:.80} is no token with a score", hint=DAMAGED)
        found.setdefault(entry[0], token_id)
    return found


# --- bytes of tokens -------------------------------------------------------------------------------


def _pieces(model: Mapping[str, Any], found: JsonTokenizer, steps: JsonSteps, tokens: Tokens) -> list[bytes]:
    """The bytes of every token as the library's decoder writes it between others."""
    if steps.is_byte_level:
        return byte_pieces(tokens.texts, tokens.reserved, found.where)
    if steps.space is not None:
        return spaced_bytes(tokens.texts, tokens.reserved, byte_ids_of(found, tokens), steps.space)
    write = _Writer(model, found)
    return [(text if i in tokens.reserved else write(text)).encode() for i, text in enumerate(tokens.texts)]


def _begins_words_with_space(model: Mapping[str, Any], found: JsonTokenizer, steps: JsonSteps) -> bool:
    return not steps.is_byte_level and steps.space is None and _Writer(model, found).has_space_before


class _Writer:
    """Writes a token of a vocabulary that keeps no spaces: where words begin or end is marked otherwise."""

    def __init__(self, model: Mapping[str, Any], found: JsonTokenizer) -> None:
        self.suffix = _text(model.get("end_of_word_suffix"))
        self.prefix = _text(model.get("continuing_subword_prefix"))
        if model.get("type") == "WordPiece":
            self.prefix = self.prefix or "##"
        decoders = flat_steps(found.decoder, "decoders", found.where)
        self.cleans_up = any(step["type"] == "WordPiece" and step.get("cleanup") for step in decoders)
        # Without a decoder, the library puts spaces between all tokens.
        self.has_space_before = not self.suffix and (bool(self.prefix) or not decoders)

    def __call__(self, text: str) -> str:
        """The token's text, with the space that belongs to it."""
        if self.suffix:
            is_end = text.endswith(self.suffix)
            return f"{text.removesuffix(self.suffix)} " if is_end else text
        if not self.has_space_before:
            return text
        if self.prefix and text.startswith(self.prefix):
            return text.removeprefix(self.prefix)
        return text if self.cleans_up and text.startswith(_CLOSING) else f" {text}"


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


# --- text to ids -----------------------------------------------------------------------------------


class AnyEncoder:
    """Ordinary text to ids. Text without a token becomes the unknown token, as the model was trained.

    Args:
        model: of tokenizer.json.
        steps: before it.
        tokens: which of them are controls.
        where: the file, for errors.

    Raises:
        ModelError: the library refuses them.
    """

    def __init__(self, model: Mapping[str, Any], steps: JsonSteps, tokens: Tokens, where: str) -> None:
        self._where = where
        unknown_id = tokens.vocab.get(_text(model.get("unk_token")), model.get("unk_id"))
        self._barred_ids = tokens.reserved - {unknown_id}
        barred = {tokens.texts[i] for i in self._barred_ids}
        hidden = json.dumps(_with_barred_hidden(model, barred))
        try:
            self._inside = _tokenizer(hidden, steps.inside)
            self._opening = (
                self._inside if steps.opening == steps.inside else _tokenizer(hidden, steps.opening)
            )
        except BaseException as error:
            raise library_error(where, error, "cannot be used") from error

    def encode(self, text: str, *, is_first: bool) -> list[int]:
        """The ids; none of them is a control token.

        Raises:
            ModelError: the library gives up.
        """
        tokenizer = self._opening if is_first else self._inside
        try:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            raise library_error(self._where, error, "fails at this text") from error
        return [token_id for token_id in ids if token_id not in self._barred_ids]


def _tokenizer(model: str, steps: Steps) -> Any:
    """The library's tokenizer, without added tokens."""
    from tokenizers import Tokenizer

    normalizer, pre_tokenizer = json.dumps(steps.normalizer), json.dumps(steps.pre_tokenizer)
    return Tokenizer.from_str(
        f'{{"version": "1.0", "added_tokens": [], "normalizer": {normalizer}, '
        f'"pre_tokenizer": {pre_tokenizer}, "model": {model}}}'
    )


def _with_barred_hidden(model: Mapping[str, Any], barred: Set[str]) -> dict[str, Any]:
    """The model with other names for those tokens: drawn by chance, so that no text has them in it."""
    salt = secrets.token_hex(16)
    vocab = model["vocab"]
    if isinstance(vocab, list):
        named = [[f"{salt}{i}" if text in barred else text, score] for i, (text, score) in enumerate(vocab)]
        return {**model, "vocab": named}
    named_ids = {f"{salt}{i}" if text in barred else text: i for text, i in vocab.items()}
    found = {**model, "vocab": named_ids}
    if isinstance(merges := model.get("merges"), list):
        found["merges"] = [merge for merge in merges if not _touches(merge, barred, model)]
    return found


def _touches(merge: Any, barred: Set[str], model: Mapping[str, Any]) -> bool:
    """Whether the merge takes or makes one of those tokens."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return False  # the library says what is wrong with it
    whole = parts[0] + "".join(
        part.removeprefix(_text(model.get("continuing_subword_prefix"))) for part in parts[1:]
    )
    return not barred.isdisjoint([*parts, whole])
