"""What is kept of a model that runs: that it did, how fast it answered, and what its tokens are called."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.events import Finished, ModelInfo
from llama_chat.sessions import SessionStore
from llama_chat.shelves.used import UsedModels

TELLING_TOKENS = 16
"""The speed of a shorter reply says little of the model."""


class Remembering:
    """Keeps it on threads that no token waits for.

    Args:
        used: the models that ran here.
        writer: the thread that writes the user's files.
        store: of the sessions.
        call: runs something on the thread of the store.
        read: runs something that reads from the store on a thread of its own.
    """

    def __init__(
        self,
        used: UsedModels,
        writer: OwnThread,
        store: SessionStore,
        call: Callable[..., Future[Any]],
        read: Callable[..., Future[Any]],
    ) -> None:
        self._used = used
        self._writer = writer
        self._store = store
        self._call = call
        self._read = read
        self._kept_digest = ""

    def loaded(self, info: ModelInfo) -> None:
        """Keep for the list of models that this one ran."""
        self._note(info, 0.0)

    def answered(self, info: ModelInfo, end: Finished, pieces: Sequence[bytes] | None) -> None:
        """Keep how fast it was, and with the first reply what its tokens are called.

        Args:
            info: of the model.
            end: of the reply.
            pieces: its tokens (`Engine.pieces`); None where they cannot be asked for.
        """
        if (tokens := end.usage.new_tokens) >= TELLING_TOKENS:
            self._note(info, end.timings.decode_tok_per_s(tokens))
        if pieces and info.vocabulary_digest not in ("", self._kept_digest):
            self._kept_digest = info.vocabulary_digest
            self._read(self._keep, info, pieces).add_done_callback(self._forget_if_failed)

    def _keep(self, info: ModelInfo, pieces: Sequence[bytes]) -> None:
        """Once for all sessions: packing takes 50 ms, a look whether it is there less than one."""
        if self._store.has_vocabulary(info.vocabulary_digest):
            return
        from llama_chat.sessions.vocabularies import pack_vocabulary

        packed = pack_vocabulary(pieces, info.special_ids)
        kept = self._call(self._store.keep_vocabulary, info.vocabulary_digest, len(pieces), packed)
        kept.add_done_callback(self._forget_if_failed)

    def _forget_if_failed(self, done: Future[Any]) -> None:
        """The next reply tries again: without it, tokens are shown by their numbers, and nothing else."""
        if done.exception() is not None:
            self._kept_digest = ""

    def _note(self, info: ModelInfo, tok_per_s: float) -> None:
        self._writer.do(lambda: self._used.note(info, time.time(), tok_per_s))
