"""A network without weights: its logits are a function of the ids, and it counts what is asked of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.network import Cache, LogitsWanted, NetworkInfo
from llama_chat.engine.vocabulary.bpe import GPT2_PATTERN, BytePairEncoder, PreTokenizer
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.engine.vocabulary.vocabulary import Vocabulary
from llama_chat.events import ModelInfo, Special, Text

USER, REPLY, END, END_TOO, HIDDEN = 256, 257, 258, 259, 260
"""Ids of the control tokens; the 256 bytes come before them."""
SPECIALS = {
    "<|user|>": USER,
    "<|reply|>": REPLY,
    "<|end|>": END,
    "<|end_too|>": END_TOO,
    "<|hidden|>": HIDDEN,
}
VOCAB_SIZE = 256 + len(SPECIALS)

LogitsOf = Callable[[Sequence[int]], Sequence[float]]
Rewind = Callable[[int, int], int]
"""(length, wanted) -> kept, at most the wanted."""

INFO = ModelInfo(
    name="fake",
    path="",
    engine="scratch",
    architecture="llama",
    device="cpu",
    dtype="f32",
    context_length=4096,
    vocab_size=VOCAB_SIZE,
    parameters=0,
    weights_bytes=0,
    fingerprint="fake",
    chat_template=None,
    special_tokens=tuple(SPECIALS),
    torch="fake",
    end_ids=(END, END_TOO),
)


def byte_tokenizer() -> Tokenizer:
    """One token a byte, and the control tokens; two of them end a reply."""
    bytes_ = [bytes([byte]) for byte in range(256)]
    vocabulary = Vocabulary(
        pieces=[*bytes_, *(text.encode() for text in SPECIALS)],
        special_ids=SPECIALS,
        hidden_ids=frozenset(SPECIALS.values()),
        end_ids=frozenset({END, END_TOO}),
        bos_id=None,
        eos_id=END,
        adds_bos=False,
    )
    ranks = {piece: byte for byte, piece in enumerate(bytes_)}
    return Tokenizer(vocabulary, BytePairEncoder(vocabulary, ranks, PreTokenizer(GPT2_PATTERN)))


def question(text: str) -> list[Special | Text]:
    """The pieces of a prompt of one turn."""
    return [Special("<|user|>"), Text(text), Special("<|reply|>")]


# --- what it says ----------------------------------------------------------------------------------


def saying(answer: Sequence[int], then: int = END) -> LogitsOf:
    """Every reply spells these ids and ends, with a logit of 9 against 0."""

    def logits(ids: Sequence[int]) -> Sequence[float]:
        said = len(ids) - 1 - max((i for i, token_id in enumerate(ids) if token_id == REPLY), default=0)
        row = [0.0] * VOCAB_SIZE
        row[answer[said] if said < len(answer) else then] = 9.0
        return row

    return logits


def babbling(seed: int = 0) -> LogitsOf:
    """Random logits out of a hash of all ids: whoever computes from other ids gives itself away.

    No reply ends by itself.
    """

    def logits(ids: Sequence[int]) -> Sequence[float]:
        row = np.random.default_rng(crc32(array("i", ids).tobytes(), seed)).standard_normal(VOCAB_SIZE) * 3
        row[[END, END_TOO]] = -np.inf
        return row.tolist()

    return logits


# --- the network -----------------------------------------------------------------------------------


@dataclass
class FakeCache:
    """The ids themselves, and how far back they can be taken."""

    ids: list[int] = field(default_factory=list)
    rewinds: Rewind = lambda length, wanted: wanted
    shapes: list[int] = field(default_factory=list)
    """Of each id: where its forward started and how many rows that had, as one number."""
    cuts_anywhere: bool = False
    """Whether it says that it may be drafted with."""

    @property
    def length(self) -> int:
        return len(self.ids)

    def rewind(self, length: int) -> int:
        if length < len(self.ids):
            del self.ids[self.rewinds(len(self.ids), length) :]
            del self.shapes[len(self.ids) :]
        return len(self.ids)

    def fork(self) -> FakeCache:
        return FakeCache(list(self.ids), self.rewinds, list(self.shapes), self.cuts_anywhere)


@dataclass
class FakeNetwork:
    """A `Network`: logits by `logits_of`, every forward written down."""

    logits_of: LogitsOf = field(default_factory=babbling)
    rewinds: Rewind = lambda length, wanted: wanted
    context_length: int = 4096
    before_forward: Callable[[int], None] = lambda number: None
    """Called with the number of the forward, from 0; may raise, before anything is in the cache."""
    after_writing: Callable[[int], None] = lambda number: None
    """The same, when the ids are in the cache already."""
    rows: list[int] = field(default_factory=list)
    """Ids of each forward."""
    logits_wanted: list[LogitsWanted] = field(default_factory=list)
    is_closed: bool = False
    feels_shapes: bool = False
    """Whether the logits depend on the forwards too, much more than in a real network."""
    cuts_anywhere: bool = False
    """Of its caches."""

    @property
    def info(self) -> NetworkInfo:
        return NetworkInfo(self.context_length, VOCAB_SIZE, 0, 0, "cpu", "f32", 1)

    def new_cache(self) -> FakeCache:
        return FakeCache(rewinds=self.rewinds, cuts_anywhere=self.cuts_anywhere)

    def forward(self, token_ids: Sequence[int], cache: Cache, logits: LogitsWanted) -> Tensor | None:
        assert isinstance(cache, FakeCache)
        assert len(token_ids) > 0
        number = len(self.rows)
        self.rows.append(len(token_ids))
        self.logits_wanted.append(logits)
        self.before_forward(number)
        start = cache.length
        cache.ids.extend(token_ids)
        cache.shapes.extend([start * 1000 + len(token_ids) if len(token_ids) > 1 else 0] * len(token_ids))
        self.after_writing(number)
        if logits == "none":
            return None
        ends = range(start + 1, cache.length + 1) if logits == "all" else (cache.length,)
        rows = torch.tensor([list(self.logits_of(self._seen(cache, end))) for end in ends])
        return rows if logits == "all" else rows[0]

    def _seen(self, cache: FakeCache, end: int) -> list[int]:
        return cache.ids[:end] + (cache.shapes[:end] if self.feels_shapes else [])

    def close(self) -> None:
        self.is_closed = True

    def engine(self) -> LocalEngine:
        """The real loop around it."""
        return LocalEngine(self, byte_tokenizer(), replace(INFO, context_length=self.context_length))


def raising(error: Exception, *numbers: int) -> Callable[[int], None]:
    """For `before_forward` or `after_writing`: the forwards of these numbers fail."""

    def fail(number: int) -> None:
        if number in numbers:
            raise error

    return fail


def in_blocks_of(size: int) -> Rewind:
    """A cache that can be cut at multiples of `size` only."""
    return lambda length, wanted: wanted // size * size


def sliding(window: int) -> Rewind:
    """A cache that forgot what lies further back than the window: then nothing can be kept."""
    return lambda length, wanted: wanted if length <= window else 0
