"""Another model in the middle of a chat: the reply is stopped and kept, the conversation goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.backstage import notes
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import ModelInfo
from llama_chat.sanitize import one_line
from llama_chat.shelves.to_load import ModelToLoad

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

ABOUT_SWITCH = "switch"


class Switching:
    """The model that is wanted instead of the one that runs, from the wish to its end."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._label_before = ""
        self._info_before: ModelInfo | None = None
        self.wanted: ModelToLoad | None = None
        """None: no other model is on its way."""
        self.label = ""
        """Of the model that runs or is on its way; empty: the one that the chat was started with."""
        self.error: LlamaChatError | None = None
        """Why the last one that was wanted did not come."""

    def begin_first(self, model: ModelToLoad) -> None:
        """Load this one, where none is loaded; if it does not come, none is."""
        chat = self._chat
        self.label, self.error, chat.load_error = model.label, None, None
        chat.view.drop_notices(notices.ABOUT_MODEL)
        chat.set_status(replace(chat.status, model_state="loading", doing="header", fraction=None))
        chat.bridge.worker.load(model)

    def begin(self, model: ModelToLoad) -> None:
        """Load this one instead, after the reply that runs was stopped and kept."""
        self._chat.when_idle(lambda: self._begin(model), told=notices.STOPPED)

    def _begin(self, model: ModelToLoad) -> None:
        chat, self.error = self._chat, None
        if self.wanted is None:
            self._label_before = self.label
            self._info_before = chat.info
        self.wanted, self.label, chat.info = model, model.label, None
        chat.view.drop_notices(notices.ABOUT_MODEL)
        status = replace(chat.status, context_length=0, engine="", engine_reason="")
        chat.set_status(replace(status, model_state="loading", doing="header", fraction=None))
        chat.bridge.worker.switch(model)

    def stop(self) -> None:
        """Go back to the model that ran before."""
        if self.wanted is not None:
            self._chat.bridge.worker.stop_loading()

    def take(self, note: notes.Note) -> bool:
        """Take a note in if it is about the switch alone; whether it was."""
        if self.wanted is None:
            return False
        match note:
            case notes.NotLoaded():  # the loading that was given up for this one
                return True
            case notes.Loaded(info):
                self._loaded(info)
            case notes.NotSwitched(error, info):
                self._failed(error, info)
                return True
        return False

    def _loaded(self, info: ModelInfo) -> None:
        """Before the chat takes it in."""
        chat = self._chat
        self.wanted, self.label = None, info.name
        chat.saved.accept_model()
        chat.bridge.note_model(chat.saved, info)
        before, name = self._info_before, one_line(info.name)
        has_moved = before is not None and before.path == info.path and before.device != info.device
        if chat.has_words:
            words = f"{name} runs on {info.device}" if has_moved else f"{name} answers"
            chat.view.drop_notices(ABOUT_SWITCH)
            chat.view.notice(f"{words} from here on.", about=ABOUT_SWITCH)
        else:
            chat.view.hint(f"{name} runs on {info.device}." if has_moved else f"{name} is loaded.")

    def _failed(self, error: LlamaChatError, info: ModelInfo | None) -> None:
        chat, wanted = self._chat, self.wanted
        assert wanted is not None
        self.wanted, self.label, self.error = None, self._label_before, error
        chat.view.pull_ended()
        if isinstance(error, Interrupted):
            chat.view.hint(f"{one_line(wanted.label)} was not loaded.")
        else:
            words = f"{one_line(wanted.label)} could not be loaded: {error.message}\n{error.hint}"
            chat.view.notice(words.rstrip(), "error", about=ABOUT_SWITCH)
        if info is not None:
            chat.info = info
            chat.set_status(chat.status.with_model(info))
        else:
            chat.set_status(replace(chat.status, doing="starting", fraction=None))

    def take_error(self) -> LlamaChatError | None:
        """Why the model that was wanted last did not come; told once."""
        chat = self._chat
        error, chat.load_error, self.error = chat.load_error or self.error, None, None
        return error
