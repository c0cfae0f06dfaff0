"""A model that knows a few words, for sweeps: what it says is readable where the temperature is low."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from fake_network import END, END_TOO, FakeNetwork, byte_tokenizer
from torch import Tensor

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.network import Cache, LogitsWanted, NetworkInfo
from llama_chat.engine.vocabulary.bpe import GPT2_PATTERN, BytePairEncoder, PreTokenizer
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.events import Engine, Loading, ModelInfo

STORY = (
    "Once upon a time a fox sat by the river and asked it why it never slept. The river said: I sleep "
    "where I am deep. Then the fox went home and thought about it for a long time. "
)
WORDS = tuple(dict.fromkeys(f" {word}" for word in STORY.split()))
FIRST_WORD = 261


def word_tokenizer() -> Tokenizer:
    """One token a byte, and one for each word of the story, which no text becomes."""
    vocabulary = byte_tokenizer().vocabulary
    ranks = {piece: byte for byte, piece in enumerate(vocabulary.pieces[:256])}
    wordy = replace(vocabulary, pieces=[*vocabulary.pieces, *(word.encode() for word in WORDS)])
    return Tokenizer(wordy, BytePairEncoder(wordy, ranks, PreTokenizer(GPT2_PATTERN)))


def telling(ids: Sequence[int]) -> Sequence[float]:
    """The next word of the story is the likeliest; all else is out of a hash of the ids."""
    row = np.random.default_rng(crc32(array("i", ids).tobytes())).standard_normal(FIRST_WORD + len(WORDS))
    row[:FIRST_WORD] -= 60
    row[[END, END_TOO]] = -np.inf
    said = [f" {word}" for word in STORY.split()]
    place = sum(1 for token_id in ids if token_id >= FIRST_WORD) % len(said)
    row[FIRST_WORD + WORDS.index(said[place])] += 5
    return row.tolist()


@dataclass
class WordNetwork(FakeNetwork):
    """A `FakeNetwork` with more tokens."""

    logits_of: Callable[[Sequence[int]], Sequence[float]] = telling

    @property
    def info(self) -> NetworkInfo:
        return replace(super().info, vocab_size=FIRST_WORD + len(WORDS))

    def forward(self, token_ids: Sequence[int], cache: Cache, logits: LogitsWanted) -> Tensor | None:
        found = super().forward(token_ids, cache, logits)
        return None if found is None else found.to(torch.float32)

    def engine(self) -> LocalEngine:
        made = super().engine()
        info = replace(made.info, name="storyteller", vocab_size=FIRST_WORD + len(WORDS))
        return LocalEngine(self, word_tokenizer(), info)


def loader_of_words(network: WordNetwork) -> Callable[[Callable[[Loading], None], threading.Event], Engine]:
    """As the worker wants it."""

    def load(_report: Callable[[Loading], None], _cancel: threading.Event) -> Engine:
        return network.engine()

    return load


def model_info() -> ModelInfo:
    """Of the storyteller."""
    return WordNetwork().engine().info
