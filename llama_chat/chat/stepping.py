"""The reply waits for its user: paused, or at each token in step mode; what he does with the next token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.steering import Hold

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

NOTHING_TO_PAUSE = "Nothing is being written that could be paused."
STEPPING_NEXT = "Step mode: the next reply waits for you at each token. Alt+Shift+J ends it."
STEPPING_OVER = "Step mode is over."
RUNS_ON = "The reply goes on by itself. Alt+J pauses it, Esc stops it."


class Stepping:
    """Holds the reply that runs, or the next one; `chat.status` tells how it stands."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @property
    def hold(self) -> Hold:
        """Whether the reply waits, and why."""
        return self._chat.bridge.steering.hold

    def toggle_pause(self) -> None:
        """Let the reply wait at its next token; one that waits goes on by itself."""
        if not self._chat.is_replying:
            self._chat.view.hint(NOTHING_TO_PAUSE)
        elif self.hold:
            self.run_on()
        else:
            self._chat.bridge.steering.pause()
            self._tell()

    def toggle_stepping(self) -> None:
        """Let the reply wait at each token, or the next reply; in step mode, end that."""
        if self.hold == "stepping":
            self.run_on()
            return
        self._chat.bridge.steering.begin_stepping()
        self._tell()
        if not self._chat.is_replying:
            self._chat.view.hint(STEPPING_NEXT, holds=lambda: self.hold == "stepping")

    def run_on(self) -> None:
        """Let the reply go on by itself."""
        self._chat.bridge.steering.resume()
        self._tell()
        words = RUNS_ON if self._chat.is_replying else STEPPING_OVER
        self._chat.view.hint(words, is_quiet=True, holds=lambda: not self.hold)

    def leave(self) -> bool:
        """End step mode, and let a reply that waits go on; whether it was in step mode."""
        is_stepping = self.hold == "stepping"
        if is_stepping:
            self.run_on()
        return is_stepping

    def take(self, token_id: int) -> None:
        """Take this candidate as the next token; the one that the sampler would take is the sampler's."""
        if (awaiting := self._chat.status.awaiting) is not None:
            self._chat.bridge.steering.choose(awaiting.index, token_id)

    def step(self) -> None:
        """Take what the sampler would."""
        if (awaiting := self._chat.status.awaiting) is not None:
            self._chat.bridge.steering.step(awaiting.index)

    def type_in(self, text: str) -> None:
        """Let the reply go on with these words."""
        awaiting = self._chat.status.awaiting
        if awaiting is not None and text:
            self._chat.bridge.steering.type_in(awaiting.index, text)

    def look(self) -> None:
        """The sliders were moved: a reply that waits looks what the sampler would take now."""
        self._chat.bridge.steering.look()

    def _tell(self) -> None:
        self._chat.set_status(replace(self._chat.status, hold=self.hold))
