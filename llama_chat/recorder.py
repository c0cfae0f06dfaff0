"""Before it is painted, it is kept: the one thread that writes to the store and then hands events on.

The engine's thread pushes, the recorder commits at most once a frame, and only then `deliver` is called. When
the store does not answer in time (locked, no space), events are handed on all the same, marked as not saved,
and are written in their order as soon as that works.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ParamSpec, TypeAlias, TypeVar

from llama_chat.conversation import Message
from llama_chat.errors import StoreError
from llama_chat.events import Event, Failed, Finished, Prefilled, Token
from llama_chat.patient_writer import Deliver, PatientWriter, Write, nothing, without_reply
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.sessions import SessionStore, StoreUnavailable

__all__ = ["Recorder", "ReplyBuilder"]

P = ParamSpec("P")
R = TypeVar("R")

_BUSY_S = 0.02
"""How long one attempt waits for another program's lock; longer patience is made of several attempts."""


@dataclass(frozen=True, slots=True)
class _Begin:
    session_id: Callable[[], str]
    message: Message


@dataclass(frozen=True, slots=True)
class _Stop:
    deadline: float


_Item: TypeAlias = Event | _Begin | Write | _Stop


class Recorder:
    """One daemon thread that writes everything in the order in which it was asked for.

    Args:
        store: open; nothing else in this process should write to it.
        deliver: called on the recorder's thread with events and whether they are kept: `([], False)` says
            that something waits for the store, `([], True)` that everything is kept again. It must not wait
            for the thread that calls `close`.
        frame_s: tokens are collected for at most this long, and committed at most once in it; may be changed.
        patience_s: how long events wait for the store.
    """

    def __init__(
        self, store: SessionStore, deliver: Deliver, frame_s: float = 1 / 30, patience_s: float = 0.25
    ) -> None:
        self._store = store
        self.frame_s = frame_s
        self._patience_s = patience_s
        self._writer = PatientWriter(deliver, patience_s)
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._is_closed = False
        self._is_done = False
        self._frame_end = 0.0
        self._session_id: Callable[[], str] = str
        self._builder: ReplyBuilder | None = None

    # --- for other threads ------------------------------------------------------------------------

    @property
    def unsaved(self) -> bool:
        """Whether something that was handed on is not in the store (yet)."""
        return self._writer.unsaved

    @property
    def trouble(self) -> StoreUnavailable | None:
        """Why the store takes nothing, while something that was handed on waits for it."""
        return self._writer.trouble

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call a method of the store, in order with everything else; the future has its result.

        While the store is locked or full the call is tried again and again, so the future may take long:
        the screen's thread must not wait for it without a limit.
        """
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel it any more: what is asked for is done
        if self._is_closed:
            future.set_exception(StoreError("The recorder is closed."))
            return future

        def work() -> None:
            future.set_result(function(*args, **kwargs))

        self._inbox.put(Write(work, failed=future.set_exception))
        return future

    def begin(self, session_id: str | Callable[[], str], message: Message) -> None:
        """Keep the assistant's message; the events pushed from now on are its own, until it ends.

        Args:
            session_id: the id, or what tells it on the recorder's thread once all that was asked for
                before is done: a session may get its id from a `call` that still waits for the disk.
            message: empty so far, or one that has token ids and goes on.
        """
        tell = (lambda: session_id) if isinstance(session_id, str) else session_id
        self._inbox.put(_Begin(tell, message))

    def push(self, event: Event) -> None:
        """Take an event from the engine; never blocks."""
        self._inbox.put(event)

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there, and with it its use of the store."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = 2.0) -> bool:
        """Write what is left, trying until the time is over; whether everything is kept."""
        if self._thread.ident is None:
            return True
        if not self._is_closed:
            self._is_closed = True
            self._inbox.put(_Stop(time.monotonic() + timeout_s))
        self._thread.join(timeout_s + self._patience_s)
        return self._is_done and not self.unsaved

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        self._store.wait_at_most(_BUSY_S)
        stop: _Stop | None = None
        while stop is None:
            items = self._gather()
            for write in self._plan(items):
                self._writer.take(write)
            if self._writer.retry_in_s == 0:
                self._writer.catch_up()
            stop = next((item for item in items if isinstance(item, _Stop)), None)
        self._writer.close(stop.deadline)
        self._is_done = True

    def _gather(self) -> list[_Item]:
        """What came in: something, unless a retry is due; tokens up to the end of their frame."""
        items: list[_Item] = []
        try:
            items.append(self._inbox.get(timeout=self._writer.retry_in_s))
            while isinstance(items[-1], Token):
                items.append(self._inbox.get(timeout=max(0.0, self._frame_end - time.monotonic())))
        except queue.Empty:
            pass
        if items and isinstance(items[0], Token):
            self._frame_end = time.monotonic() + self.frame_s
        return items

    def _plan(self, items: Iterable[_Item]) -> Iterator[Write]:
        """The writes that the items ask for; tokens that follow each other are one."""
        tokens: list[Token] = []
        for item in items:
            if isinstance(item, Token):
                tokens.append(item)
                continue
            yield from self._plan_tokens(tokens)
            tokens = []
            if isinstance(item, Write):
                yield item
            elif isinstance(item, _Begin):
                yield self._plan_begin(item)
            elif not isinstance(item, _Stop):
                yield from self._plan_event(item)
        yield from self._plan_tokens(tokens)

    def _plan_begin(self, begin: _Begin) -> Write:
        self._session_id, self._builder = begin.session_id, ReplyBuilder(begin.message)
        message, begun = self._builder.message, begin.message.reply

        def work() -> None:
            if begun is not None and (begun.token_ids or begun.finish_reason is not None):
                self._store.reopen_reply(begin.session_id(), message)
            else:
                self._store.begin_reply(begin.session_id(), message)

        return Write(work, reply_id=message.id)

    def _plan_tokens(self, tokens: list[Token]) -> Iterator[Write]:
        if tokens and self._builder is None:
            yield Write(without_reply, [*tokens])
        elif tokens and self._builder is not None:
            for token in tokens:
                self._builder.feed(token)
            message_id = self._builder.message_id
            yield Write(lambda: self._store.append_tokens(message_id, tokens), [*tokens], reply_id=message_id)

    def _plan_event(self, event: Event) -> Iterator[Write]:
        if self._builder is None:
            yield Write(nothing, [event])
            return
        self._builder.feed(event)
        message_id = self._builder.message_id
        if isinstance(event, Prefilled):
            yield Write(lambda: self._store.note_prefill(message_id, event), [event], reply_id=message_id)
        elif isinstance(event, Finished | Failed):
            session_id, message = self._session_id, self._builder.message
            end = event.end if isinstance(event, Finished) else None
            self._builder = None
            yield Write(
                lambda: self._store.finish_reply(session_id(), message, end=end, pack=False),
                [event],
                reply_id=message_id,
                is_whole_reply=True,
            )
            yield Write(lambda: self._store.pack_tokens(message_id), is_needed=False)
        else:
            yield Write(nothing, [event])
