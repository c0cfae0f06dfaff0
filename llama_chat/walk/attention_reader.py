"""Where the positions of a long context look: the mean over layers and heads, and attention rollout.

The mean needs one row only: the query of that position against keys that are cached. Where the chat's own
cache has them it is borrowed, so that a context of 8,000 tokens costs one step. Rollout needs all rows of all
layers; they are folded into one matrix as they pass, layer by layer.

Shapes: T positions, S the same looked at, R heads that share keys and values, W positions of a window.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from llama_chat.alteration import UNALTERED, parse_alteration
from llama_chat.engine.cache import KVCache
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.probing import Place, probing
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import Interrupted, ModelError, PromptError
from llama_chat.events import Engine
from llama_chat.walk.checks import MOST_TOKENS

WINDOW_STEP = 500
"""Tokens by which a rollout's window moves, so that the next token of a reply finds it computed."""
_ROWS_AT_ONCE = 256


class AttentionReader:
    """Reads attention from the network's own modules. Belongs to the thread of its engine.

    It keeps a cache of what the chat's own has not got, and the rollout of the last context.
    """

    def __init__(self, engine: Engine, alteration: str = "") -> None:
        """Look at what the engine is; nothing is computed.

        Args:
            engine: a from-scratch one.
            alteration: signature of the one that the reply was written under, in which it is read, too.

        Raises:
            ModelError: its network cannot be looked into.
            UsageError: it has no such layer or head.
        """
        network = engine.network if isinstance(engine, LocalEngine) else None
        if not isinstance(engine, LocalEngine) or not isinstance(network, ScratchNetwork):
            why = f": {engine.info.engine_reason}" if engine.info.engine_reason else ""
            raise ModelError(
                f"{engine.info.name} is run by transformers{why}; only the from-scratch engine can be looked "
                "into",
                hint="Take a model of the Llama family, and --engine auto.",
            )
        self._engine, self._network = engine, network
        self._alteration = parse_alteration(alteration) if alteration else UNALTERED
        engine.check_alteration(self._alteration)
        self._own = LiveCache(network)
        self._rollout: tuple[tuple[int, ...], Tensor] | None = None

    def is_of(self, engine: Engine) -> bool:
        """Whether it reads this engine."""
        return engine is self._engine

    @torch.inference_mode()
    def mean(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        """The share of each position up to `at` in what that one looks at; they sum to 1.

        Raises:
            PromptError: the context is too long for the model, or has an id that the model does not have.
            ModelError: the attention is no number.
            Interrupted: `cancel` was set.
        """
        self._check(ids)
        with self._network.altered(self._alteration):
            return self._mean(ids, at, cancel, report)

    def _mean(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        cache = self._cache_before(ids, at, cancel, report)
        config = self._network.llama.config
        total_S = torch.zeros(at + 1, device=self._network.precision.device)

        def see(place: Place, _layer: int, values: Tensor) -> None:
            if cancel.is_set():
                raise _interrupted()
            if place == "weights":
                total_S.add_(values[:, -1].sum(0))

        with _borrowed(cache, at), probing(self._network.llama, see):
            self._network.forward([ids[at]], cache, "none")
        return _shares(total_S / (config.n_layers * config.n_heads))

    def rollout(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> tuple[float, ...]:
        """What has come to the position `at` from each, through all layers; they sum to 1.

        Of a long context only the last tokens are looked at; those before them have the share 0.

        Raises:
            PromptError: as `mean`.
            ModelError: as `mean`.
            Interrupted: `cancel` was set.
        """
        self._check(ids)
        start, stop = _window(len(ids), at)
        window = tuple(ids[start:stop])
        if self._rollout is None or self._rollout[0] != window:
            self._rollout = None  # one matrix at a time
            with self._network.altered(self._alteration):
                self._rollout = window, self._rolled_out(window, cancel, report)
        row_W = self._rollout[1][at - start, : at - start + 1]
        return (*(0.0 for _ in range(start)), *_shares(row_W))

    def _check(self, ids: Sequence[int]) -> None:
        info = self._engine.info
        if len(ids) > info.context_length:
            raise PromptError(
                f"With what came before it the reply has {len(ids):,} tokens; the context holds "
                f"{info.context_length:,}.",
                hint="Start with a greater --context.",
            )
        wrong = next((token_id for token_id in ids if not 0 <= token_id < info.vocab_size), None)
        if wrong is not None:
            raise PromptError(
                f"There is a token {wrong}; {info.name} has the tokens 0 to {info.vocab_size - 1}.",
                hint="Another model wrote it: load that one.",
            )

    # --- one row --------------------------------------------------------------------------------------

    def _cache_before(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Callable[[float], None]
    ) -> KVCache:
        """One that has the keys of all positions before `at`."""
        live = self._engine.live
        if not self._has(live, ids[:at]):
            live = self._own
            if not self._has(live, ids[:at]):
                live.reuse(ids)
                for _ in live.prefill(ids, cancel.is_set):
                    report(len(live.ids) / len(ids))
            if len(live.ids) < at:
                raise _interrupted()
        assert isinstance(live.cache, KVCache)
        return live.cache

    def _has(self, live: LiveCache, ids: Sequence[int]) -> bool:
        """Whether the keys of these ids are in the cache, under the alteration that counts now."""
        return live.altered_by == self._network.altered_by and live.ids[: len(ids)] == list(ids)

    # --- all rows -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _rolled_out(
        self, ids: Sequence[int], cancel: threading.Event, report: Callable[[float], None]
    ) -> Tensor:
        """The rollout of every position, [W, W]: Π (I + mean attention of the layer) / 2.

        Each layer hands on half of the stream as it is, and half by the mean of its heads' attention (Abnar
        and Zuidema, arXiv:2005.00928).
        """
        llama, device = self._network.llama, self._network.precision.device
        config = llama.config
        rolled_WW = torch.eye(len(ids), device=device)
        mean_TS, groups = torch.zeros(len(ids), len(ids), device=device), 0

        def see(place: Place, layer: int, values: Tensor) -> None:
            nonlocal groups
            if cancel.is_set():
                raise _interrupted()
            if place != "weights":
                return
            mean_TS.add_(values.sum(0))
            groups += 1
            if groups == config.n_kv_heads:
                _roll(rolled_WW, mean_TS.div_(config.n_heads))
                mean_TS.zero_()
                groups = 0
                report((layer + 1) / config.n_layers)

        with probing(llama, see):
            llama(torch.tensor(ids, device=device), self._network.new_cache())
        return rolled_WW


def _roll(rolled_WW: Tensor, mean_TS: Tensor) -> None:
    """Half of the rows as they are, half mixed by the layer; in place.

    From the last rows up: what a row is mixed of stands above it and is still the layer's before. Nothing is
    right of the diagonal, so half of the products are left out.
    """
    for first in reversed(range(0, len(rolled_WW), _ROWS_AT_ONCE)):
        end = min(first + _ROWS_AT_ONCE, len(rolled_WW))
        mixed = mean_TS[first:end, :end] @ rolled_WW[:end, :end]
        rolled_WW[first:end, :end].add_(mixed).div_(2)


def _window(length: int, at: int) -> tuple[int, int]:
    """The positions that a rollout is worked out over: at most `MOST_TOKENS`, `at` among them."""
    if length <= MOST_TOKENS:
        return 0, length
    stop = min(length, -(-(at + 1) // WINDOW_STEP) * WINDOW_STEP)
    return max(0, stop - MOST_TOKENS), stop


@contextmanager
def _borrowed(cache: KVCache, at: int) -> Iterator[None]:
    """Work during which the cache ends before the position `at`; afterwards it is as it was, bit for bit."""
    length = cache.length
    stores = [store for stores in cache.stores() for store in stores]
    kept = [(store, store[:, at].clone()) for store in stores] if at < length else []
    cache.rewind(at)
    try:
        yield
    finally:
        for store, row in kept:
            store[:, at] = row
        cache.rewind(at)
        cache.advance(length - at)


def _shares(row_S: Tensor) -> tuple[float, ...]:
    if not bool(row_S.isfinite().all()):
        raise ModelError(
            "The model gave no number (NaN) as its attention",
            hint="Its weights may be damaged, or the precision too low for it: try --dtype f32.",
        )
    return tuple(row_S.tolist())


def _interrupted() -> Interrupted:
    return Interrupted("Stopped")
