"""What GGUF, tokenizer.json and tokenizer.model say of a tokenizer, whether it can be run here or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.files.find import CONFIG_NAME
from llama_chat.engine.files.hf_config import GENERATION_CONFIG_NAME, end_ids_of
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.inspect.listing import SPECIAL_TYPES, TokenizerFacts
from llama_chat.engine.vocabulary.vocabulary import end_ids_among
from llama_chat.errors import ModelError

MAX_JSON_BYTES = 128 << 20
"""Llama 3's tokenizer.json has 9 MB, Gemma's 33."""

_MAX_STEPS_DEPTH = 8


def gguf_tokenizer(metadata: Mapping[str, Any], file: str) -> TokenizerFacts | None:
    """The tokenizer in the metadata of a GGUF file; None where there is none."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list):
        return None
    types = metadata.get("tokenizer.ggml.token_type")
    special = {
        token.decode("utf-8", "replace"): i
        for i, (token, kind) in enumerate(zip(tokens, types if isinstance(types, list) else (), strict=False))
        if kind in SPECIAL_TYPES and isinstance(token, bytes)
    }
    named = {name: metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "eot", "eom")}
    ids = {name: i for name, i in named.items() if isinstance(i, int) and 0 <= i < len(tokens)}
    return TokenizerFacts(
        file=file,
        kind=_gguf_kind(metadata.get("tokenizer.ggml.model")),
        size=len(tokens),
        special_tokens=special,
        pattern=_gguf_pattern(metadata.get("tokenizer.ggml.pre")),
        bos_id=ids.get("bos"),
        end_ids=_sorted_ends((i for name, i in ids.items() if name != "bos"), special, len(tokens)),
    )


def _sorted_ends(named: Iterable[int | None], special: Mapping[str, int], count: int) -> tuple[int, ...]:
    return tuple(sorted(end_ids_among(named, special, count)))


def _gguf_kind(model: object) -> str:
    known = {"gpt2": "byte-pair", "llama": "SentencePiece", "bert": "WordPiece", "t5": "Unigram"}
    return f"{known[str(model)]} ({model})" if str(model) in known else str(model)


def _gguf_pattern(pre: object) -> str | None:
    from llama_chat.engine.vocabulary.bpe import PRE_TOKENIZERS

    if not isinstance(pre, str):
        return None
    known = PRE_TOKENIZERS.get(pre)
    if known is None:
        return pre
    return f"{pre}: {'each digit by itself, then ' if known.single_digits else ''}{known.pattern}"


def json_tokenizer(path: Path) -> TokenizerFacts:
    """What tokenizer.json and the configurations beside it say.

    Raises:
        ModelError: it is no tokenizer.
    """
    found = read_json(path, MAX_JSON_BYTES)
    model = found.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(vocab, dict | list):
        raise ModelError(f"{path.name}: there is no vocabulary in it", hint=DAMAGED)
    added = dict(_added_tokens(found.get("added_tokens")))
    ids = {text: i for text, (i, _) in added.items()}
    taken = {i for i in vocab.values() if type(i) is int} if isinstance(vocab, dict) else {*range(len(vocab))}
    taken |= set(ids.values())
    patterns = list(dict.fromkeys(_patterns(found.get("pre_tokenizer"))))
    special = {text: i for text, (i, is_special) in added.items() if is_special}
    settings = list(_beside(path, "tokenizer_config.json"))
    bos = next((_token_text(each.get("bos_token")) for each in settings), None)
    eos = next((_token_text(each.get("eos_token")) for each in settings), None)
    return TokenizerFacts(
        file=path.name,
        kind=str(model.get("type") or "byte-pair"),
        size=len(taken),
        special_tokens=special,
        pattern=" then ".join(patterns) or None,
        bos_id=ids.get(bos or ""),
        end_ids=_sorted_ends((*_named_end_ids(path), ids.get(eos or "")), ids, 1 + max(taken, default=-1)),
    )


def _added_tokens(entries: Any) -> Iterator[tuple[str, tuple[int, bool]]]:
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("content"), str):
            yield entry["content"], (entry["id"], entry.get("special") is True)


def _patterns(found: Any, depth: int = 0) -> Iterator[str]:
    """The regular expressions by which a pre-tokenizer cuts, and the names of its other steps."""
    if not isinstance(found, dict) or depth > _MAX_STEPS_DEPTH:
        return
    steps = found.get("pretokenizers")
    if isinstance(steps, list):
        for step in steps:
            yield from _patterns(step, depth + 1)
        return
    pattern = found.get("pattern")
    if isinstance(pattern, dict):
        yield from (text for text in pattern.values() if isinstance(text, str))
    elif isinstance(found.get("type"), str):
        yield found["type"]


def _named_end_ids(path: Path) -> Iterator[int]:
    """As the chat reads them; of a file that it would refuse, none."""
    for name in (GENERATION_CONFIG_NAME, CONFIG_NAME):
        for found in _beside(path, name):
            with suppress(ModelError):
                yield from end_ids_of(found, name)


def _beside(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The object in a file of the same folder, where there is one that can be read."""
    try:
        yield read_json(path.with_name(name), MAX_JSON_BYTES)
    except ModelError:
        return


def _token_text(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def model_tokenizer(path: Path) -> TokenizerFacts:
    """What tokenizer.model says: Meta's list of tokens by rank, or SentencePiece's.

    Raises:
        ModelError: it is neither.
    """
    from llama_chat.engine.inspect.sentencepiece import is_sentencepiece, sentencepiece_tokenizer

    if is_sentencepiece(path):
        return sentencepiece_tokenizer(path)
    from llama_chat.engine.vocabulary.bpe import LLAMA3_PATTERN
    from llama_chat.engine.vocabulary.from_tiktoken import vocabulary_from_tiktoken

    vocabulary = vocabulary_from_tiktoken(path)
    return TokenizerFacts(
        file=path.name,
        kind="byte-pair (tiktoken)",
        size=len(vocabulary.pieces),
        special_tokens=vocabulary.special_ids,
        pattern=LLAMA3_PATTERN,
        bos_id=vocabulary.bos_id,
        end_ids=tuple(sorted(vocabulary.end_ids)),
    )
