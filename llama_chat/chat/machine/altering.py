"""A model with heads or layers switched off or scaled: from the next reply on, until it is reset."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from llama_chat.alteration import UNALTERED, Alterable, Alteration, alter_engine, changed_by
from llama_chat.chat.backstage import notes
from llama_chat.errors import LlamaChatError, ModelError
from llama_chat.events import Engine, ModelInfo
from llama_chat.sanitize import one_line

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

RESET = "reset"
NOTHING_ALTERED = (
    "The model is not altered. /alter L3.H4 switches off head 4 of layer 3, /alter L7 0.5 halves layer 7."
)
IS_RESET = "The model is as it was again."
NO_MODEL = "There is no model yet that could be altered."


class Altering:
    """What the user has altered in the model that runs; another model is never altered."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.current = UNALTERED
        """As it counts for the next reply."""
        self._begun_before: str | None = None
        """The reply that runs still as it was before."""

    def say(self, words: str) -> str:
        """Do what stands behind `/alter`, and what came of it, in a sentence; nothing said is a reset.

        Raises:
            UsageError: the words name no head or layer of this model.
            LlamaChatError: it cannot be altered, or there is none.
        """
        words = words.strip()
        if words.casefold() == RESET or not words:
            return self.take(UNALTERED) if self.current else NOTHING_ALTERED
        return self.take(changed_by(self.current, words))

    def take(self, alteration: Alteration) -> str:
        """Let this count from the next reply on; what to say of it.

        Raises:
            LlamaChatError: as `say`.
        """
        chat, info = self._chat, self._chat.info
        if info is None:
            raise ModelError(NO_MODEL, hint="Wait until it is loaded.")
        chat.bridge.worker.ask(lambda engine: _check(engine, alteration))
        chat.bridge.worker.compute(lambda engine: _alter(engine, alteration, info), threading.Event())
        self.current = alteration
        self._begun_before = chat.running_id
        chat.view.status_changed()
        if not alteration:
            return IS_RESET
        return f"{self._from_when()}{alteration.words}."

    def take_note(self, note: notes.Note) -> None:
        """Another model, or this one loaded anew, runs as it is."""
        if isinstance(note, notes.Loaded) and self.current:
            words, self.current = self.current.words, UNALTERED
            self._chat.view.hint(f"{one_line(note.info.name)} runs as it is; altered was: {words}.")
            self._chat.view.status_changed()

        elif isinstance(note, notes.Begun):
            self._tell_as_begun(note.reply_id)

    def _tell_as_begun(self, reply_id: str) -> None:
        """A reply that goes on does so as it was begun, whatever counts for the next one."""
        message = self._chat.message_now(reply_id)
        plan = message.reply.plan if message is not None and message.reply is not None else None
        if plan is not None and plan.alteration != self.current.signature:
            how = f"altered ({one_line(plan.alteration)})" if plan.alteration else "with nothing altered"
            self._chat.view.hint(f"It goes on as it was begun, {how}; the next reply runs as you have it.")

    @property
    def bar(self) -> str:
        """What the chat says of it as long as it counts; empty: nothing is altered."""
        if not self.current:
            return ""
        return f"{self._from_when() or 'The model is altered: '}{self.current.words}"

    def _from_when(self) -> str:
        is_later = self._begun_before is not None and self._begun_before == self._chat.running_id
        return "From the next reply on the model is altered: " if is_later else "The model is altered: "


def _check(engine: Engine, alteration: Alteration) -> None:
    if not isinstance(engine, Alterable):
        alter_engine(engine, alteration)  # says why not
    else:
        engine.check_alteration(alteration)


def _alter(engine: Engine, alteration: Alteration, info: ModelInfo) -> None:
    if engine.info is not info:
        raise LlamaChatError("Another model was loaded meanwhile.")
    alter_engine(engine, alteration)
