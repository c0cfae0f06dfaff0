"""A chat whose replies can be looked at without a model: its engine knows words, its reader makes up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from fake_engine import INFO, STORY, FakeEngine, _words
from looks_stage import THOUGHTS
from test_chat_app import Home

from llama_chat.chat.setup import ChatSetup
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import Engine, Ids, ModelInfo, Piece, Special
from llama_chat.settings import ChatSettings

FIRST_REPLY_ID, REPLY_TOKENS = 100, 84
"""Of the session that `looks_stage.fill` writes."""


class WordEngine(FakeEngine):
    """Its tokens are words: those of the answer from 100 on, others as they come."""

    def __init__(
        self, answer: str = STORY, *, spelled: str | None = None, tokens: int = 0, info: ModelInfo = INFO
    ) -> None:
        super().__init__([answer], info=replace(info, special_ids=(0, 1), vocab_size=4000))
        words = [*_words(answer if spelled is None else spelled)]
        if tokens and len(words) > tokens:
            words[tokens - 1 :] = ["".join(words[tokens - 1 :])]
        self._pieces = [b"<|im_start|>", b"<|im_end|>", *([b"?"] * (FIRST_REPLY_ID - 2))]
        self._pieces += [word.encode() for word in words]
        self._first_word = len(self._pieces)

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        found: list[int] = []
        for piece in pieces:
            if isinstance(piece, Special):
                found.append(self._pieces.index(piece.text.encode()))
            elif isinstance(piece, Ids) and piece.token_ids:
                found += piece.token_ids
            else:
                found += [self._id_of(word.encode(errors="replace")) for word in _words(piece.text)]
        return found

    def _id_of(self, word: bytes) -> int:
        if word not in self._pieces[self._first_word :]:
            self._pieces.append(word)
        return self._pieces.index(word, self._first_word)

    def pieces(self) -> list[bytes]:
        return self._pieces


class MadeUpReader:
    """Gives every second neighbour some attention, and the first token a third of it.

    Args:
        engine: that it claims to read.
        goes_on: waited for before each answer, if there is one.
    """

    def __init__(
        self, engine: Engine, goes_on: threading.Event | None = None, error: LlamaChatError | None = None
    ) -> None:
        self._engine, self._goes_on, self._error = engine, goes_on, error
        self.asked: list[tuple[str, int]] = []

    def is_of(self, engine: Engine) -> bool:
        return engine is self._engine

    def mean(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        return self._made_up("mean", at, cancel, report)

    def rollout(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        return self._made_up("rollout", at, cancel, report)

    def _made_up(
        self, measure: str, at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        self.asked.append((measure, at))
        report(0.25)
        while self._goes_on is not None and not self._goes_on.wait(0.01):
            if cancel.is_set():
                raise Interrupted("Stopped")
        if self._error is not None:
            raise self._error
        power = 2 if measure == "mean" else 3
        weights = [1 / (1 + (7 * n + 3 * at) % 23) ** power for n in range(at + 1)]
        weights[0] = (sum(weights) - weights[0]) / 2 or 1.0
        return tuple(weight / sum(weights) for weight in weights)


def looking_setup(
    home: Home,
    engine: FakeEngine,
    *,
    chat: ChatSettings | None = None,
    continue_last: bool = False,
    goes_on: threading.Event | None = None,
    error: LlamaChatError | None = None,
    readers: list[MadeUpReader] | None = None,
) -> ChatSetup:
    """A chat that can be looked into."""

    def open_attention(engine: Engine, _alteration: str) -> MadeUpReader:
        reader = MadeUpReader(engine, goes_on, error)
        if readers is not None:
            readers.append(reader)
        return reader

    setup = home.setup(engine, chat=chat, continue_last=continue_last)
    return replace(setup, open_attention=open_attention)


def session_engine() -> WordEngine:
    """What has written the session that the looks are taken of."""
    return WordEngine(spelled=THOUGHTS + STORY, tokens=REPLY_TOKENS)
