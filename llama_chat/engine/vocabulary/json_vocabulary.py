"""The tokens and merges of a tokenizer.json, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from pathlib import Path
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED, OTHER_ENGINE, shown
from llama_chat.engine.files.json_file import read_json
from llama_chat.errors import ModelError, NotOursError

# Llama 3's file has 17 MB and 128,256 tokens, Gemma's 33 MB and 262,144.
MAX_TOKENIZER_BYTES = 1 << 26
MAX_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that was put beside those of the merges."""

    token_id: int
    text: str
    is_special: bool
    """Whether readers do not see it."""


@dataclass(frozen=True, slots=True)
class JsonTokenizer:
    """What a tokenizer.json says."""

    where: str
    vocab: Mapping[str, int]
    """The tokens of the model, with their ids."""
    pairs: Sequence[tuple[str, str]]
    """The merges; parts and wholes are in the vocabulary."""
    added: Sequence[AddedToken]
    byte_fallback: bool
    ignore_merges: bool
    normalizer: Any
    pre_tokenizer: Any
    post_processor: Any
    decoder: Any

    def with_added(self, more: Iterable[AddedToken]) -> Sequence[AddedToken]:
        """The added tokens, and those of the others that take nothing from them."""
        texts = {token.text for token in self.added} | self.vocab.keys()
        ids = {token.token_id for token in self.added} | set(self.vocab.values())
        return (*self.added, *(t for t in more if t.text not in texts and t.token_id not in ids))


def read_tokenizer_json(path: Path) -> JsonTokenizer:
    """What the file says.

    Raises:
        ModelError: it is missing or damaged.
        NotOursError: its model is no byte-pair encoding of the kinds that are known.
    """
    found = read_json(path, MAX_TOKENIZER_BYTES)
    where = path.name
    model = found.get("model")
    if not isinstance(model, dict):
        raise ModelError(f"{where}: there is no 'model' in it", hint=DAMAGED)
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise NotOursError(
            f"{where}: the tokenizer is of the type {shown(str(kind))}, wanted BPE", hint=OTHER_ENGINE
        )
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise NotOursError(
                f"{where}: tokens are marked by a {name}, which is not known here", hint=OTHER_ENGINE
            )
    vocab = checked_vocab(model.get("vocab"), where)
    return JsonTokenizer(
        where=where,
        vocab=vocab,
        pairs=_pairs_of(model, vocab, where),
        added=added_tokens_of(found, vocab, where),
        byte_fallback=model.get("byte_fallback") is True,
        ignore_merges=model.get("ignore_merges") is True,
        **{name: found.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")},
    )


def checked_vocab(vocab: Any, where: str) -> dict[str, int]:
    """The vocabulary as it came, which is one: texts with ids of their own.

    Raises:
        ModelError: it is none, or an empty one.
    """
    if not isinstance(vocab, dict) or not vocab:
        raise ModelError(f"{where}: there are no tokens in it", hint=DAMAGED)
    if not _is_text("".join(vocab)) or not all(map(_is_id, vocab.values())):
        for text, token_id in vocab.items():
            _check_token(text, token_id, where)
    if len(set(vocab.values())) < len(vocab):
        raise ModelError(f"{where}: two tokens have the same id", hint=DAMAGED)
    return vocab


def _check_token(text: Any, token_id: Any, where: str) -> None:
    if not _is_id(token_id):
        raise ModelError(f"{where}: the id of {text!r:.80} is {token_id!r:.80}", hint=DAMAGED)
    if not isinstance(text, str) or not _is_text(text):
        raise ModelError(f"{where}: token {token_id} is {text!r:.80}, which is no text", hint=DAMAGED)


def _is_id(token_id: Any) -> bool:
    return type(token_id) is int and 0 <= token_id < MAX_TOKENS


_HALVES = re.compile("[\ud800-\udfff]")


def _is_text(text: str) -> bool:
    """Whether UTF-8 can carry it: JSON may spell halves of characters."""
    return text.isascii() or not _HALVES.search(text)


def _pairs_of(model: Mapping[str, Any], vocab: Mapping[str, int], where: str) -> list[tuple[str, str]]:
    """The merges, which come as `"left right"` or as `["left", "right"]`."""
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise ModelError(f"{where}: there are no merges in it", hint=DAMAGED)
    return _pairs_at_once(merges, vocab) or [_parted(merge, vocab, where) for merge in merges]


def _pairs_at_once(merges: list[Any], vocab: Mapping[str, int]) -> list[tuple[str, str]] | None:
    """The same in a third of the time (Llama 3 has 280,147); None where something is wrong."""
    parts = [merge.split(" ") if type(merge) is str else merge for merge in merges]
    if set(map(type, parts)) != {list} or set(map(len, parts)) != {2} or "" in vocab:
        return None
    lefts, rights = [part[0] for part in parts], [part[1] for part in parts]
    is_token = vocab.__contains__
    try:
        is_fine = all(all(map(is_token, texts)) for texts in (lefts, rights, map(add, lefts, rights)))
    except TypeError:
        return None
    return list(zip(lefts, rights, strict=True)) if is_fine else None


def _parted(merge: Any, vocab: Mapping[str, int], where: str) -> tuple[str, str]:
    """The parts of one merge."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise ModelError(f"{where}: {merge!r:.80} is no merge", hint=DAMAGED)
    left, right = parts
    if not (left and right and left in vocab and right in vocab and left + right in vocab):
        raise ModelError(f"{where}: the merge {merge!r:.80} joins, or makes, what is no token", hint=DAMAGED)
    return left, right


def added_tokens_of(found: Mapping[str, Any], vocab: Mapping[str, int], where: str) -> list[AddedToken]:
    """The tokens that a tokenizer.json lists beside those of its model.

    Raises:
        ModelError: it describes none, or one that takes the id or the text of another.
    """
    entries = found.get("added_tokens") or []
    if not isinstance(entries, list):
        raise ModelError(f"{where}: 'added_tokens' is no list", hint=DAMAGED)
    added: dict[str, AddedToken] = {}
    text_of = {token_id: text for text, token_id in vocab.items()}
    for entry in entries:
        token = added_token(entry, where)
        if not token.text or token.text in added:
            continue
        other = text_of.setdefault(token.token_id, token.text)
        if other != token.text or vocab.get(token.text, token.token_id) != token.token_id:
            raise ModelError(
                f"{where}: {token.text!r:.80} is added as token {token.token_id}, which is another one",
                hint=DAMAGED,
            )
        added[token.text] = token
    return list(added.values())


def added_token(entry: Any, where: str, token_id: Any = None) -> AddedToken:
    """The added token that an entry of tokenizer.json or tokenizer_config.json describes.

    Raises:
        ModelError: it does not describe one.
    """
    if not isinstance(entry, dict):
        raise ModelError(f"{where}: the added token {entry!r:.80} is no object", hint=DAMAGED)
    token_id, text = entry.get("id", token_id), entry.get("content")
    _check_token(text, token_id, where)
    return AddedToken(token_id, str(text), is_special=entry.get("special") is True)
