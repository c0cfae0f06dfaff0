"""How likely a text is: every token of it with its place among what the model would have chosen.

Shapes: T ids of one forward, V the vocabulary.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from llama_chat.engine.devices import is_out_of_memory
from llama_chat.engine.live_cache import PREFILL_CHUNK
from llama_chat.engine.network import Network
from llama_chat.engine.sampler import describe_given
from llama_chat.engine.vocabulary.tokenizer import Detokenizer, Tokenizer
from llama_chat.errors import Interrupted, ModelError, PromptError
from llama_chat.events import ModelInfo, Token
from llama_chat.scoring import PLAIN, Window, windows

SCORED_CHUNK = 64
"""Ids of one forward that gives the logits of all: of 128,256 each, 33 MB."""


class ScoringEngine:
    """A part of `LocalEngine`: `llama_chat.scoring.Scores`."""

    network: Network
    tokenizer: Tokenizer

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""
        raise NotImplementedError

    def score(self, token_ids: Sequence[int], start: int, cancel: threading.Event) -> Iterator[Token]:
        """The ids from `start` on, as `Scores` has it; in the memory of one cache and 64 rows of logits."""
        vocab_size = self.info.vocab_size
        if wrong := [token_id for token_id in token_ids if not 0 <= token_id < vocab_size]:
            raise PromptError(f"There is no token {wrong[0]}; {self.info.name} has 0 to {vocab_size - 1}.")
        if self.info.context_length < 2 <= len(token_ids):
            raise PromptError(
                "A context of one token has no room for what stands before it.",
                hint="Start with a greater --context.",
            )
        detokenizer = self.tokenizer.decoder()
        try:
            for window in windows(len(token_ids), start, self.info.context_length):
                yield from self._score_window(token_ids, window, start, detokenizer, cancel)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the tensors that there was no room for
            raise ModelError(
                f"{self.info.device} ran out of memory while the text was scored.",
                hint="Try a shorter --context: longer texts are scored in several windows then.",
            ) from error

    def _score_window(
        self,
        token_ids: Sequence[int],
        window: Window,
        start: int,
        detokenizer: Detokenizer,
        cancel: threading.Event,
    ) -> Iterator[Token]:
        cache = self.network.new_cache()
        at = window.begin
        while at < window.end - 1:
            if cancel.is_set():
                raise Interrupted("Scoring was stopped.")
            is_before = at < window.first - 1
            stop = min(at + PREFILL_CHUNK, window.first - 1) if is_before else window.end - 1
            end = min(stop, at + (PREFILL_CHUNK if is_before else SCORED_CHUNK))
            with torch.inference_mode():
                logits = self.network.forward(token_ids[at:end], cache, "none" if is_before else "all")
            if not is_before:
                assert logits is not None
                rows_TV = logits.float().cpu()
                for place, row_V in enumerate(rows_TV, at + 1):
                    yield self._token(row_V, token_ids[place], place, start, detokenizer)
            at = end

    def _token(
        self, logits_V: Tensor, token_id: int, place: int, start: int, detokenizer: Detokenizer
    ) -> Token:
        choice = describe_given(logits_V, PLAIN, token_id, place, (), of="text")
        return Token(
            index=place - start,
            token_id=token_id,
            piece=self.tokenizer.piece(token_id),
            text=detokenizer.feed(token_id),
            chosen_by="user",
            logprob=choice.logprob,
            rank=choice.rank,
            candidates=choice.candidates,
            seconds=0.0,
            sampling=PLAIN,
        )
