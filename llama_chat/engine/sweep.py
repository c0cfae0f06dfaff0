"""One prompt under a row of settings: one prefill, a copy of the cache for each, a token of each in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor

from llama_chat.compute_plan import Shape
from llama_chat.engine.cache import KVCache, cache_capacity
from llama_chat.engine.devices import free_memory, is_out_of_memory
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.network import Cache, Network
from llama_chat.errors import LlamaChatError
from llama_chat.events import Event, Failed, Finished, LiveSampling, Loading, Piece, Prefilled
from llama_chat.sweep.asking import EVERY, InTurns, SweepEvent
from llama_chat.sweep.columns import MOST_COLUMNS, SweepColumn

MEMORY_SHARE = 0.8
"""Of what is free, for copies of the cache: the machine has other uses for the rest."""
_WORTH_COPYING = 64  # ids in common with the chat's cache; fewer are as quickly computed as it is copied


class BranchingCache(LiveCache):
    """A cache that keeps the last logits of a prompt: who goes on behind the same ids computes nothing."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.prompt_ids: tuple[int, ...] = ()
        self.logits_V: Tensor | None = None

    def reuse(self, ids: Sequence[int], shapes: Sequence[Shape | None] = ()) -> int:
        """As for every live cache, but all of the ids where their last logits are known."""
        if tuple(ids) == self.prompt_ids and self.rewind(len(ids)) == len(ids):
            return len(ids)
        self.prompt_ids, self.logits_V = (), None
        return super().reuse(ids, shapes)

    def prefill(
        self, ids: Sequence[int], is_cancelled: Callable[[], bool], shapes: Sequence[Shape | None] = ()
    ) -> Iterator[Tensor | None]:
        """As for every live cache; where `reuse` kept all, the logits that are known."""
        if self.logits_V is not None:
            yield self.logits_V
            return
        for logits_V in super().prefill(ids, is_cancelled, shapes):
            if logits_V is not None:
                self.prompt_ids, self.logits_V = tuple(ids), logits_V.clone()
            yield logits_V

    def fork(self) -> BranchingCache:
        """A copy that can go another way; costs one copy of the memory that is filled."""
        other = copy_of(self)
        other.prompt_ids, other.logits_V = self.prompt_ids, self.logits_V
        return other


def copy_of(live: LiveCache) -> BranchingCache:
    """A copy of what the cache holds."""
    other = BranchingCache(live.network)
    other.cache = live.cache.fork()
    other.ids, other.forwards, other.altered_by = list(live.ids), list(live.forwards), live.altered_by
    return other


def sweep(
    engine: LocalEngine, pieces: Sequence[Piece], columns: Sequence[SweepColumn], cancel: threading.Event
) -> Iterator[SweepEvent]:
    """As `llama_chat.sweep.asking.Sweeps` has it.

    The first column of a turn prefills the prompt and goes on in that cache, the others in copies of it.
    Where there is no memory for so many, the rest is done in further turns: the first cache is taken back to
    the end of the prompt, or, where it cannot be cut (sliding windows, recurrent layers), the prompt is
    computed again.
    """
    try:
        ids = engine.encode(pieces)
    except LlamaChatError as error:
        yield EVERY, Failed(error)
        return
    trunk = LocalEngine(engine.network, engine.tokenizer, engine.info)
    trunk.live = _first_cache(engine.live, ids)
    done = 0
    while done < len(columns):
        turn = _Turn(trunk, pieces, dict(list(enumerate(columns))[done:]), cancel)
        yield from turn.run(is_first=done == 0)
        if not turn.has_begun:
            return
        done += len(turn.columns)


def _first_cache(live: LiveCache, ids: Sequence[int]) -> BranchingCache:
    """A copy of the engine's own cache where that holds much of the prompt, else an empty one."""
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(live.ids, ids, strict=False)))
    return copy_of(live) if common >= _WORTH_COPYING else BranchingCache(live.network)


@dataclass(slots=True)
class _Turn:
    """Columns that are computed at the same time."""

    trunk: LocalEngine
    pieces: Sequence[Piece]
    columns: dict[int, SweepColumn]
    """By number, in order; those that there is no memory for leave it."""
    cancel: threading.Event
    has_begun: bool = False
    """Whether the prompt is in the cache."""

    def run(self, *, is_first: bool) -> Iterator[SweepEvent]:
        if not isinstance(self.trunk.live, BranchingCache):  # after a failure the loop puts another there
            self.trunk.live = BranchingCache(self.trunk.network)
        number, column = next(iter(self.columns.items()))
        events = self.stream(self.trunk, column)
        for event in events:
            self.has_begun = isinstance(event, Prefilled)
            if is_first or not self.has_begun:
                # Before anything has begun, an end is the end of all; later it is that of this column.
                yield EVERY if is_first or isinstance(event, Loading) else number, event
            if self.has_begun:
                break
        if not self.has_begun:
            self.has_begun, self.columns = not is_first, {number: column}
            return
        wanted = len(self.columns)
        replies = {number: events, **self.copies(number)}
        self.columns = {number: self.columns[number] for number in replies}
        if is_first and len(replies) < wanted:
            yield EVERY, InTurns(len(replies))
        yield from _in_turn(replies)

    def copies(self, first: int) -> dict[int, Iterator[Event]]:
        """Replies in copies of the cache, as many as there is memory for."""
        live = self.trunk.live
        assert isinstance(live, BranchingCache)
        others = [number for number in self.columns if number != first]
        replies: dict[int, Iterator[Event]] = {}
        for number in others[: _room_for(live, self.columns.values())]:
            engine = LocalEngine(self.trunk.network, self.trunk.tokenizer, self.trunk.info)
            try:
                engine.live = live.fork()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            replies[number] = self.stream(engine, self.columns[number])
        return replies

    def stream(self, engine: LocalEngine, column: SweepColumn) -> Iterator[Event]:
        sampling = LiveSampling(column.sampling)
        return engine.stream(self.pieces, sampling=sampling, seed=column.seed, cancel=self.cancel)


def _in_turn(replies: dict[int, Iterator[Event]]) -> Iterator[SweepEvent]:
    """One token of each after the other, until all have ended."""
    while replies:
        for number, events in list(replies.items()):
            event = next((event for event in events if not isinstance(event, Prefilled | Loading)), None)
            if event is not None:
                yield number, event
            if event is None or isinstance(event, Finished | Failed):
                del replies[number]


def _room_for(live: BranchingCache, columns: Iterable[SweepColumn]) -> int:
    """How many copies of the cache fit into memory, with all tokens that they will hold; at least 0."""
    longest = max(column.sampling.max_new_tokens for column in columns)
    need_bytes = bytes_at(live.cache, len(live.ids) + longest)
    assert live.logits_V is not None
    free_bytes = free_memory(live.logits_V.device)
    if free_bytes is None or need_bytes == 0:
        return MOST_COLUMNS
    # The cache that is there grows, too; before the last one is full it is copied once more.
    return max(0, int(free_bytes * MEMORY_SHARE) // need_bytes - 1)


def bytes_at(cache: Cache, length: int) -> int:
    """What the cache will take with so many tokens in it; 0 where it does not say what it takes now."""
    if isinstance(cache, KVCache):
        return cache.nbytes * cache_capacity(length) // max(cache.capacity, 1)
    taken: int = getattr(cache, "nbytes", 0)
    return taken * length // max(cache.length, 1)
