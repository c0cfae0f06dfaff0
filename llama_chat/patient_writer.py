"""Writes that must reach the store in order, and what to do while it takes none."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from llama_chat.errors import StoreError
from llama_chat.events import Event
from llama_chat.sessions import StoreUnavailable

Deliver: TypeAlias = Callable[[list[Event], bool], None]

_log = logging.getLogger(__name__)
_PAUSE_S = 0.01
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Write:
    """One step for the store, and the events that may be shown once it is done."""

    work: Callable[[], None]
    events: list[Event] = field(default_factory=list)
    failed: Callable[[Exception], None] | None = None
    """Told when the work can never be done; without it something is lost, and `unsaved` stays."""
    is_needed: bool = True
    """Whether anybody would miss it; if not, nobody waits for it."""
    reply_id: str = ""
    """The reply that it belongs to."""
    is_whole_reply: bool = False
    """Whether it keeps all of the reply's text, and so makes good what was lost of it before."""


class PatientWriter:
    """Does writes in order on the thread that calls it, and hands their events on in time.

    Args:
        deliver: gets events, and whether they are kept.
        patience_s: how long events wait for the store before they are handed on all the same.
    """

    def __init__(self, deliver: Deliver, patience_s: float) -> None:
        self._deliver = deliver
        self._patience_s = patience_s
        self._waiting: deque[Write] = deque()
        self._is_behind = False
        self._lost: set[str] = set()
        self._trouble: StoreUnavailable | None = None
        self._backoff_s = _FIRST_BACKOFF_S
        self._retry_at = 0.0

    @property
    def unsaved(self) -> bool:
        """Whether something that was handed on is not in the store (yet)."""
        return self._is_behind or bool(self._lost)

    @property
    def trouble(self) -> StoreUnavailable | None:
        """Why the store takes nothing, while something that was handed on waits for it."""
        return self._trouble if self._is_behind else None

    @property
    def retry_in_s(self) -> float | None:
        """How long until `catch_up` should be called; None when nothing waits."""
        return max(0.0, self._retry_at - time.monotonic()) if self._waiting else None

    def take(self, write: Write) -> None:
        """Do the write, or queue it behind those that wait; its events are handed on either way."""
        if self._waiting:
            self._hold(write)
            return
        deadline = time.monotonic() + (self._patience_s if write.is_needed else 0.0)
        while not self._is_settled(write):
            if time.monotonic() >= deadline:
                self._retry_at = time.monotonic() + self._backoff_s
                self._hold(write)
                return
            time.sleep(_PAUSE_S)
        self._hand_on(write.events, not self.unsaved)

    def catch_up(self) -> None:
        """Try what waits, up to the first write that still fails."""
        while self._waiting:
            if not self._is_settled(self._waiting[0]):
                self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)
                self._retry_at = time.monotonic() + self._backoff_s
                if self._is_behind:
                    self._deliver_safely([], False)
                return
            self._waiting.popleft()
        self._trouble = None
        self._backoff_s = _FIRST_BACKOFF_S
        if self._is_behind:
            self._is_behind = False
            self._deliver_safely([], not self.unsaved)

    def close(self, deadline: float) -> None:
        """Try what waits until the deadline, once at least; what is left then is given up."""
        while True:
            self.catch_up()
            if not self._waiting or time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_S)
        for write in self._waiting:
            _log.error("not kept at the end: %d events", len(write.events))
            if write.failed:
                write.failed(StoreUnavailable("The store took no more before the program ended."))

    def _hold(self, write: Write) -> None:
        self._waiting.append(write)
        if write.is_needed:
            self._is_behind = True
            self._hand_on(write.events, False)

    def _is_settled(self, write: Write) -> bool:
        """Whether the write needs no other attempt: it is done, or can never be."""
        try:
            write.work()
        except StoreUnavailable as error:
            is_known, self._trouble = str(error) == str(self._trouble), error
            if not is_known:  # once, not at every attempt
                _log.warning("the store takes nothing: %s", error)
            return False
        except Exception as error:  # whatever it is, this thread goes on: the rest must be kept
            self._give_up(write, error)
        else:
            if write.is_whole_reply:
                self._lost.discard(write.reply_id)
        return True

    def _give_up(self, write: Write, error: Exception) -> None:
        if write.failed:
            write.failed(error)
            return
        _log.error("%d events cannot be kept", len(write.events), exc_info=error)
        if write.is_needed:
            self._lost.add(write.reply_id)

    def _hand_on(self, events: list[Event], saved: bool) -> None:
        if events or not saved:
            self._deliver_safely(events, saved)

    def _deliver_safely(self, events: list[Event], saved: bool) -> None:
        try:
            self._deliver(events, saved)
        except Exception:  # a screen that is gone must not keep the store from its work
            _log.exception("events could not be handed on")


def nothing() -> None:
    """The work of events that need no keeping."""


def without_reply() -> None:
    """The work of tokens that no reply was begun for: there is nowhere to keep them."""
    raise StoreError("Tokens came before a reply was begun.")
