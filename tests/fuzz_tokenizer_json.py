"""Broken tokenizer folders by the thousand: `python tests/fuzz_tokenizer_json.py [--rounds N] [--seed N]`.

A folder may be refused with a ModelError, or give a tokenizer that works: it encodes whatever it is given,
never to a control token, and decodes every id. Anything else is a fault; the folder that shows it is kept.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzzing import run
from tokenizer_folders import byte_level, llama3_split, smollm_split, spaced, train_sentencepiece, with_bos

from llama_chat.engine.vocabulary.from_json import chat_template_of, tokenizer_from_json
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError

SLOW_S = 5.0
NAMES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TEXTS = (
    "",
    " ",
    "Hello  world 123\n",
    "<s></s><|end|><0x0A>",
    "漢字 🦙 e\u0301 ½",
    "\x00\x04\x7f\x85",
    "a" * 300,
)
_EVIL: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 299, 300, 1 << 19, 1 << 31, 1 << 32, 1 << 64, 0.5, 1e308, float("nan")),
    *("", " ", "▁", "Ġ", "\ud800", "a", "aa", "<s>", "<0x41>", "\x1b[31m", "never", "first", "always"),
    *("BPE", "Unigram", "ByteLevel", "Sequence", "Metaspace", "Prepend", "Removed", "(", "(a*)*b", r"\p{L}+"),
    *([], {}, [[]], [{}], {"type": "NFC"}, {"type": "Sequence", "normalizers": []}, ["a", "b"], "a b"),
    *({"String": ""}, {"Regex": "["}, {"Regex": ""}, {"id": 3, "content": "x", "special": True}),
)


def whole_folders() -> list[list[str]]:
    """The three files of tokenizers of each kind."""
    pieces = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b" t", b"  "]
    merges = [(b"t", b"h"), (b"th", b"e"), (b" ", b"t"), (b" ", b" ")]
    trained = train_sentencepiece(600)
    made = [
        byte_level(pieces, merges, ["<s>", "</s>"], split=smollm_split()),
        with_bos(
            byte_level(pieces, merges, ["<s>", "</s>"], split=llama3_split(), ignore_merges=True), "<s>"
        ),
        byte_level(pieces, merges, ["<|end|>"], split=llama3_split(r"\p{L}+|\s")),
        spaced(trained),
        spaced(trained, scheme="first"),
    ]
    config = {
        "bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True,
        "chat_template": "{{ 1 }}",
        "added_tokens_decoder": {"900": {"content": "<think>", "special": False}},
    }  # fmt: skip
    beside = [json.dumps(config), json.dumps({"unk_token": "<unk>"})]
    return [[tokenizer.to_str(), *beside] for tokenizer in made]


def mutated(whole: list[str], rng: random.Random) -> list[Any]:
    """The three objects with some values replaced, moved, dropped or added."""
    files = [json.loads(text) for text in whole]
    for _ in range(rng.choice((1, 1, 1, 2, 4, 12))):
        owner, key = _place(files[rng.choice((0, 0, 0, 0, 1, 2))], rng)
        kind = rng.random()
        if kind < 0.55:
            owner[key] = copy.deepcopy(rng.choice(_EVIL))
        elif kind < 0.7:
            del owner[key]
        elif kind < 0.85:
            other, other_key = _place(files[0], rng)
            owner[key] = copy.deepcopy(other[other_key])
        elif isinstance(owner, dict):
            owner[str(rng.choice(_EVIL))] = owner.pop(key)
        else:
            owner.insert(key, copy.deepcopy(rng.choice(_EVIL)))
    return files


def _place(file: Any, rng: random.Random) -> tuple[Any, Any]:
    """Some value in it, by what holds it and where; mostly not one of the thousand tokens."""
    owner, key = {"": file}, ""
    while True:
        inner = owner[key]
        if (
            not isinstance(inner, (dict, list))
            or not inner
            or (owner[key] is not file and rng.random() < 0.2)
        ):
            return owner, key
        owner, key = inner, rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))


def broken_texts(files: list[Any], rng: random.Random) -> list[bytes]:
    """The files as bytes; a few are cut or overwritten, too."""
    raw = [json.dumps(file).encode() for file in files]
    if rng.random() < 0.15:
        n = rng.randrange(3)
        data = bytearray(raw[n])
        at = rng.randrange(len(data))
        data[at : at + rng.randrange(3)] = rng.choice(
            (b"", b"\xff", b"[" * 3000, b"\x00", b'"', b"1e999", b"}")
        )
        raw[n] = bytes(data)
    return raw


def check_works(tokenizer: Tokenizer) -> None:
    """Fails where the tokenizer does not do what every tokenizer does."""
    control = set(tokenizer.vocabulary.special_ids.values())
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert not control & set(ids), f"{text!r} became a control token"
        assert all(0 <= token_id < len(tokenizer) for token_id in ids)
    decoder = tokenizer.decoder()
    for token_id in range(len(tokenizer)):
        decoder.feed(token_id)
    decoder.flush()
    assert all(0 <= token_id < len(tokenizer) for token_id in tokenizer.vocabulary.end_ids)
    for text in tokenizer.special_tokens:
        assert tokenizer.text_of(tokenizer.vocabulary.special_ids[text]) == text


def outcome(folder: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    started = time.monotonic()
    try:
        chat_template_of(folder)
        check_works(tokenizer_from_json(folder, end_ids=(0, 10**9)))
        found = "read"
    except ModelError:
        found = "refused"
    except BaseException as error:  # what is hunted here; a Rust panic is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    return found if seconds < SLOW_S else f"took {seconds:.1f} s"


def damaged_folders(seed: int) -> Iterator[list[bytes]]:
    """Endless damaged copies of the three files."""
    rng = random.Random(seed)
    wholes = whole_folders()
    while True:
        yield broken_texts(mutated(rng.choice(wholes), rng), rng)


def fuzz(folder: Path, rounds: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many folders were read and refused, and a line for each fault."""
    counts, faults = {"read": 0, "refused": 0}, []
    path = folder / "damaged"
    path.mkdir()
    for n, files in zip(range(rounds), damaged_folders(seed), strict=False):
        for name, raw in zip(NAMES, files, strict=True):
            (path / name).write_bytes(raw)
        found = outcome(path)
        if found in counts:
            counts[found] += 1
        else:
            kept = folder / f"fault-{seed}-{n}"
            shutil.copytree(path, kept)
            faults.append(f"{kept.name}: {found}")
    return counts, faults


if __name__ == "__main__":
    sys.exit(run(__doc__, "tokenizer-json", fuzz))
