"""The handle by which a user holds a reply: it waits at each token until he says which one, or lets it go."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, TypeAlias

LOOK_S = 0.05
"""How often a reply that waits looks at the sliders, and whether it was stopped."""

Hold: TypeAlias = Literal["", "paused", "stepping"]
"""Why the reply waits; empty: it does not."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to come next: this token, these words, or, with neither, what the sampler would take."""

    token_id: int | None = None
    text: str = ""


class Steering:
    """Pause, step and choice of one chat: asked by the engine at every token, told by whoever has the keys.

    A reply that runs reads one attribute per token.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.hold: Hold = ""
        """Read it on any thread; the methods change it."""
        self._waits_at: int | None = None
        self._order: Order | None = None

    # --- called by whoever has the keys -----------------------------------------------------------------

    def pause(self) -> None:
        """Let the reply wait at its next token, whichever hold there was before."""
        self._set_hold("paused")

    def begin_stepping(self) -> None:
        """Let the reply wait at every token; it may be begun before there is a reply."""
        self._set_hold("stepping")

    def resume(self) -> None:
        """Let the reply go on by itself."""
        self._set_hold("")

    def reset(self) -> None:
        """The reply is over: the next one is not held, and nothing that was ordered counts for it."""
        with self._changed:
            self.hold, self._waits_at, self._order = "", None, None
            self._changed.notify_all()

    def rest(self) -> Hold:
        """The hold that the next reply begins with: a pause is over where nothing is written."""
        if self.hold == "paused":
            self.resume()
        return self.hold

    def step(self, index: int) -> bool:
        """Take what the sampler would, if the reply waits at this token; whether it did."""
        return self._give(index, Order())

    def choose(self, index: int, token_id: int) -> bool:
        """Take this token, if the reply waits at that place; whether it did.

        It counts as the sampler's where the sampler would take it, too.
        """
        return self._give(index, Order(token_id=token_id))

    def type_in(self, index: int, text: str) -> bool:
        """Let the reply go on with these words, if it waits at that place; whether it did."""
        return self._give(index, Order(text=text))

    @property
    def is_waiting(self) -> bool:
        """Whether the reply stands still, and what is ordered counts."""
        return self._waits_at is not None

    def look(self) -> None:
        """Let a reply that waits look at the sliders and at its cancel flag now."""
        with self._changed:
            self._changed.notify_all()

    def _set_hold(self, hold: Hold) -> None:
        with self._changed:
            self.hold = hold
            self._changed.notify_all()

    def _give(self, index: int, order: Order) -> bool:
        with self._changed:
            if self._waits_at != index or self._order is not None:
                return False
            self._order = order
            self._changed.notify_all()
        return True

    # --- called by the engine -----------------------------------------------------------------------------

    def stand_still(self, index: int) -> None:
        """The reply waits at this token from now on: what is ordered for it counts."""
        with self._changed:
            self._waits_at = index

    def wait(self) -> Order | None:
        """What is ordered for the token that it waits at; None: nothing within `LOOK_S`, or it is let go."""
        with self._changed:
            if self.hold and self._order is None:
                self._changed.wait(LOOK_S)
            order, self._order = self._order, None
            if order is not None:
                self._waits_at = None
            return order

    def go_on(self) -> None:
        """The reply waits no longer; what was ordered too late does not count."""
        with self._changed:
            self._waits_at, self._order = None, None
