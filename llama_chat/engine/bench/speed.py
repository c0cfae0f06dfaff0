"""How fast a loaded model is: prompts in, greedy tokens out, by the network itself and as in a chat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from llama_chat.engine.bench.bandwidth import wait_for
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import Interrupted
from llama_chat.events import Failed, Finished, LiveSampling, Piece, Sampling, Token, Usage

WARM_UP_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One prompt and what followed it."""

    prefill_s: float
    """All ids of the prompt up to the first chosen token."""
    decode_s: float
    """`new_tokens` forwards of one id, each with the choice of the likeliest next."""


@dataclass(frozen=True, slots=True)
class ChatRun:
    """The same as a chat does it: sampler, 64 candidates, text, events."""

    first_token_s: float
    first_token_at: float
    """By `time.time`."""
    decode_tok_per_s: float
    usage: Usage
    token_ids: tuple[int, ...]


@torch.inference_mode()
def run_network(
    engine: LocalEngine,
    ids: Sequence[int],
    new_tokens: int,
    cancel: threading.Event,
    *,
    device: torch.device,
    decoding: Callable[[], None] = lambda: None,
) -> Run:
    """Prefill all of the ids, then decode greedily past any end: the work that other programs are timed by.

    Args:
        engine: loaded; what its cache holds is forgotten, its memory is used again.
        ids: the prompt.
        new_tokens: forwards after it.
        cancel: ends it at the next token.
        device: where it computes.
        decoding: called when the prompt is through, and the time of decoding begins.

    Raises:
        Interrupted: `cancel` was set.
    """
    with engine.replying():
        return _run_network(engine, ids, new_tokens, cancel, device, decoding)


def _run_network(
    engine: LocalEngine,
    ids: Sequence[int],
    new_tokens: int,
    cancel: threading.Event,
    device: torch.device,
    decoding: Callable[[], None],
) -> Run:
    live = engine.live
    live.rewind(0)
    live.reuse(ids)
    wait_for(device)
    started = time.perf_counter()
    logits_V = None
    for after_V in live.prefill(ids, cancel.is_set):
        logits_V = after_V
    if logits_V is None:
        raise Interrupted("Stopped")
    token_id = int(logits_V.argmax())
    prefilled = time.perf_counter()
    decoding()
    began = time.perf_counter()
    for _ in range(new_tokens):
        if cancel.is_set():
            raise Interrupted("Stopped")
        logits_V = live.extend([token_id], "last", "step")
        assert logits_V is not None
        token_id = int(logits_V.argmax())
    return Run(prefilled - started, time.perf_counter() - began)


def run_chat(
    engine: LocalEngine,
    ids: Sequence[int],
    new_tokens: int,
    cancel: threading.Event,
    *,
    ends: bool = False,
) -> ChatRun:
    """The same through the loop of a chat.

    Args:
        engine: loaded, with what drafts for it.
        ids: the prompt.
        new_tokens: at most.
        cancel: ends it at the next token.
        ends: whether the reply may end before.

    Raises:
        Interrupted: `cancel` was set.
    """
    sampling = LiveSampling(Sampling(temperature=0.0, max_new_tokens=max(2, new_tokens)))
    first_token_s = first_token_at = 0.0
    engine.live.rewind(0)
    token_ids: list[int] = []
    with _answering(engine, ids, ends=ends):
        started = time.perf_counter()
        for event in engine.stream([], sampling=sampling, seed=0, cancel=cancel):
            if isinstance(event, Token):
                if not token_ids:
                    first_token_s, first_token_at = time.perf_counter() - started, time.time()
                token_ids.append(event.token_id)
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished):
                if event.reason == "stopped":
                    raise Interrupted("Stopped")
                rate = event.timings.decode_tok_per_s(event.usage.new_tokens)
                return ChatRun(first_token_s, first_token_at, rate, event.usage, tuple(token_ids))
    raise AssertionError("a stream without an end")


class MeasuringTokenizer(Tokenizer):
    """One by which the prompt is these ids, control tokens among them, and no token need end a reply."""

    def __init__(self, known: Tokenizer, ids: Sequence[int], *, ends: bool) -> None:
        vocabulary = known.vocabulary if ends else replace(known.vocabulary, end_ids=frozenset())
        super().__init__(vocabulary, known._encoder)
        self._ids = ids

    def encode_pieces(self, pieces: Iterable[Piece]) -> list[int]:
        """The ids that were given."""
        del pieces
        return list(self._ids)


@contextmanager
def _answering(engine: LocalEngine, ids: Sequence[int], *, ends: bool) -> Iterator[None]:
    """As long as this lasts, the engine's prompt is the ids, and a token may end the reply or not."""
    known = engine.tokenizer
    engine.tokenizer = MeasuringTokenizer(known, ids, ends=ends)
    try:
        yield
    finally:
        engine.tokenizer = known
