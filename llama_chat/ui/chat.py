"""One chat as it goes on: what is said, which reply runs, what is kept. Knows a view by its methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from llama_chat.conversation import Conversation, Message, Reply, Role, new_seed, title_of
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import Failed, Finished, ModelInfo
from llama_chat.sessions import SessionInfo
from llama_chat.settings import ChatSettings
from llama_chat.ui import notes, notices
from llama_chat.ui.bridge import Bridge
from llama_chat.ui.live import Status
from llama_chat.ui.replying import Replying
from llama_chat.ui.saved import SavedSession
from llama_chat.ui.siblings import forks, last_fork
from llama_chat.ui.view import ChatView
from llama_chat.worker import Turn

OPENING = "opening the session"
"""What the program is at while words wait for a session that is being read."""


class Chat:
    """Sends, stops, answers again, opens and begins chats, and takes in what the bridge reports.

    Args:
        bridge: to the engine and the store.
        view: shows it.
        settings: the system prompt and the seed of new chats.
        model_label: the model's name until the engine is there.
    """

    def __init__(self, bridge: Bridge, view: ChatView, settings: ChatSettings, model_label: str) -> None:
        self._bridge = bridge
        self._view = view
        self._settings = settings
        self._replying: Replying | None = None
        self._then: Callable[[], None] | None = None
        self._is_opening = False
        self.unsent = ""
        """Words that wait for a session that is being read."""
        self._told: set[str] = set()
        self.model_label = model_label
        self.info: ModelInfo | None = None
        self.status = Status()
        self._begin()

    def _begin(self) -> None:
        self.conversation = Conversation()
        self._unkept: list[Message] = []
        if self._settings.system:
            self._unkept.append(self.conversation.append(Role.SYSTEM, self._settings.system))
        self.title = ""
        self.saved = SavedSession(self._bridge.store, date=date.today().isoformat(), model=self.model_label)

    # --- what the user does ---------------------------------------------------------------------------

    @property
    def is_replying(self) -> bool:
        """Whether a reply runs, or waits for the model or for the session that it belongs to."""
        return self._replying is not None or bool(self.unsent)

    def send(self, text: str) -> bool:
        """Say something to the model; whether it was taken."""
        if self.is_replying or not text.strip():
            return False
        if self._is_opening:
            self._hold(text)
            return True
        leaf_before = self.conversation.leaf_id
        words = self.conversation.append(Role.USER, text)
        self.title = self.title or title_of([words])
        self._view.add_message(words)
        reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        self._view.add_message(reply)
        self._answer(reply, [*self._unkept, words], leaf_before, words)
        return True

    def regenerate(self) -> None:
        """Let the model answer the last words again, beside what it said."""
        if self.conversation.turns:
            self.when_idle(self._regenerate)
        elif not self._is_opening:
            self._view.hint(notices.NOTHING_TO_ANSWER)

    def _regenerate(self) -> None:
        leaf_before = self.conversation.leaf_id
        path = self.conversation.path()
        if not self.conversation.turns or self._is_opening:
            return
        if path[-1].role is Role.ASSISTANT:
            reply = self.conversation.add_sibling(path[-1].id, "", reply=self._new_reply())
        else:
            reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        self._show()
        self._answer(reply, [], leaf_before, None)

    def stop(self) -> None:
        """End the reply; what it says so far is kept. Words that wait are given back."""
        if (replying := self._replying) is None:
            self._give_held_back()
        elif self._bridge.stop(replying.turn):
            self._refused(replying.id, Interrupted("Stopped before the reply began."))
        else:
            self._update(replace(self.status, doing="stopping"))

    def new(self) -> None:
        """Begin another chat, after the reply that runs was stopped and kept."""
        self.when_idle(self._new, told=notices.STOPPED)

    def _new(self) -> None:
        self._is_opening = False
        self._give_held_back()
        self._begin()
        self._show()

    def set_system(self, text: str) -> None:
        """Give the chat another system prompt, from the next reply on."""
        if text == self.conversation.system:
            self._view.hint(notices.SYSTEM_UNCHANGED)
        else:
            told = f"{notices.STOPPED} {notices.system_kept(text)}"
            self.when_idle(lambda: self._set_system(text), told=told)

    def _set_system(self, text: str) -> None:
        added = self.conversation.set_system(text)
        if self.conversation.turns:
            self._bridge.keep(self.saved, added, self.conversation.leaf_id)
        else:
            self._unkept = added
        self._show()
        self._view.hint(notices.system_kept(text))

    def show_sibling(self, step: int) -> None:
        """Show the next reply (or the one before) where the path last forked."""
        fork = last_fork(self.conversation)
        if fork is None:
            self._view.hint(notices.NO_SIBLINGS)
        elif (beside := fork.beside(step)) is None:
            self._view.hint(fork.end_words(step))
        else:
            self.when_idle(lambda: self._select(beside), told=notices.STOPPED)

    def _select(self, message_id: str) -> None:
        if message_id in self.conversation.messages:  # another chat may have been opened meanwhile
            self.conversation.select(message_id)
            self._bridge.choose(self.saved, self.conversation.leaf_id)
            self._show()

    def load_again(self) -> None:
        """Try to load the model once more."""
        if self.status.model_state == "failed":
            self._view.drop_notices(notices.ABOUT_MODEL)
            self._update(replace(self.status, model_state="loading", doing="loading", fraction=None))
            self._bridge.worker.load()

    # --- another session ------------------------------------------------------------------------------

    def expect_session(self) -> None:
        """A session is being read: what is sent from now on waits for it, and goes into it."""
        self._give_held_back()
        self._is_opening = True

    def open(self, info: SessionInfo, conversation: Conversation) -> None:
        """Go on with the session that was expected, unless another chat was begun meanwhile."""
        if self._is_opening:
            self.when_idle(lambda: self._open(info, conversation))

    def _open(self, info: SessionInfo, conversation: Conversation) -> None:
        had_turns = bool(self.conversation.turns)
        self.conversation, self.title, self._unkept = conversation, info.title, []
        self.saved = SavedSession(self._bridge.store, date=info.date, model=info.model, session_id=info.id)
        self._show(keep_notices=not had_turns)  # what was said at the start is still to be read
        self.open_none()

    def open_none(self) -> None:
        """No session is expected any more; what waited for one goes into the chat that is there."""
        self._is_opening = False
        held, self.unsent = self.unsent, ""
        if held:
            self.send(held)

    def cannot_open(self, error: LlamaChatError) -> None:
        """The session that was expected cannot be read: say so, and give back what waited for it."""
        self._is_opening = False
        self._view.notice(str(error), "error")
        self._give_held_back()

    def _hold(self, text: str) -> None:
        self.unsent = text
        doing = self.status.doing if self.status.model_state == "loading" else OPENING
        self._update(replace(self.status, is_replying=True, doing=doing))

    def _give_held_back(self) -> None:
        held, self.unsent = self.unsent, ""
        if held:
            self._view.give_back(held)
            self._rest()

    # --- how a reply goes -----------------------------------------------------------------------------

    def _new_reply(self) -> Reply:
        seed = self._settings.seed if self._settings.seed >= 0 else new_seed()
        model = self.info.name if self.info else self.model_label
        return Reply(seed=seed, sampling=self._bridge.sampling.current, model=model)

    def _answer(
        self, reply: Message, new: Sequence[Message], leaf_before: str | None, words: Message | None
    ) -> None:
        path = self.conversation.path()[:-1]
        self._unkept = []
        kept = self._bridge.keep(self.saved, new, path[-1].id)
        turn = Turn(reply, tuple(path), self.saved.date)
        self._replying = Replying(turn, leaf_before, words)
        self.load_again()
        self._bridge.answer(turn, self.saved, kept)
        self._set_live_head(self._replying)
        self._update(replace(self.status, is_replying=True, first_token_s=None))

    def when_idle(self, action: Callable[[], None], *, told: str = "") -> None:
        """Do it now, or once the reply that runs was stopped and kept, which is then `told`."""
        replying = self._replying
        if replying is None:
            action()
            return

        def then() -> None:
            action()
            if told and replying.was_stopped:
                self._view.hint(told)

        self._then = then
        self.stop()

    def _rest(self) -> None:
        doing = {"ready": "ready", "failed": "no model"}.get(self.status.model_state, self.status.doing)
        fraction = self.status.fraction if self.status.model_state == "loading" else None
        self._update(replace(self.status, is_replying=False, doing=doing, fraction=fraction))

    def _ended(self) -> None:
        self._replying = None
        self._rest()
        self._view.session_changed()
        then, self._then = self._then, None
        if then is not None:
            then()

    def _show(self, *, keep_notices: bool = False) -> None:
        path = self.conversation.path()
        self._view.show_path(path, keep_notices=keep_notices)
        for fork in forks(self.conversation):
            self._view.set_place(fork.message_id, fork.place, len(fork.siblings))
        self._update(self.status.of_path(path))
        notices.mark_context(self._view, self.conversation, self.status.dropped_messages)
        self._view.session_changed()

    def _update(self, status: Status) -> None:
        self.status = status
        self._view.status_changed()

    # --- what the bridge reports ----------------------------------------------------------------------

    def take(self, note: notes.Note) -> None:
        """Take one note in."""
        match note:
            case notes.Pulling():
                self._view.pulling(note)
            case notes.LoadingNote(progress):
                self._view.pull_ended()
                self._update(replace(self.status, doing=progress.what, fraction=progress.fraction))
            case notes.Loaded(info):
                self._loaded(info)
            case notes.NotLoaded(error):
                self._not_loaded(error)
            case notes.Begun():
                self._begun(note)
            case notes.Refused(reply_id, error):
                self._refused(reply_id, error)
            case notes.Happened():
                self._happened(note)
            case notes.Kept(is_saved, can_be):
                self._update(replace(self.status, is_saved=is_saved, can_be_saved=can_be))
                if is_saved:
                    self._view.drop_notices(notices.ABOUT_STORE)
            case notes.NotKept(error):
                notices.tell_not_kept(self._view, error, self._told)

    def _loaded(self, info: ModelInfo) -> None:
        self.info, self.model_label = info, info.name
        if self.saved.session_id is None:
            self.saved.model = info.name
        self._view.pull_ended()
        self._view.drop_notices(notices.ABOUT_MODEL)
        self._update(self.status.with_model(info))
        notices.tell_of_model(self._view, info)

    def _not_loaded(self, error: LlamaChatError) -> None:
        self._view.pull_ended()
        self._update(replace(self.status, model_state="failed", doing="no model", fraction=None))
        if self._replying is None:  # else its turn is refused next, and says so
            notices.tell_refusal(self._view, error, is_model_missing=True)

    def _current(self, reply_id: str) -> Replying | None:
        return self._replying if self._replying is not None and self._replying.id == reply_id else None

    def _begun(self, note: notes.Begun) -> None:
        if (replying := self._current(note.reply_id)) is None:
            return
        prompt = note.prompt
        replying.begin(prompt, model=self.model_label)
        self._view.drop_notices(notices.ABOUT_PROMPT)
        status = replace(self.status, dropped_messages=prompt.dropped_messages)
        self._update(replying.figures.status(status))
        notices.mark_context(self._view, self.conversation, prompt.dropped_messages)

    def _refused(self, reply_id: str, error: LlamaChatError) -> None:
        if (replying := self._current(reply_id)) is None:
            return
        refused = replying.take_back(self.conversation)
        for words in refused:
            self._view.give_back(words.text)
        has_turns = bool(self.conversation.turns)
        self._bridge.take_back(self.saved, refused, self.conversation.leaf_id if has_turns else None)
        if not has_turns:
            self._unkept, self.title = self.conversation.path(), ""
        self._show(keep_notices=True)
        if self.status.model_state != "loading":
            is_missing = self.status.model_state == "failed"
            notices.tell_refusal(self._view, error, is_model_missing=is_missing)
        self._ended()

    def _happened(self, note: notes.Happened) -> None:
        if (replying := self._current(note.reply_id)) is None:
            return
        if text := replying.feed(note.events):
            self._view.append_text(note.reply_id, text)
        self._update(replying.figures.status(self.status))
        if isinstance(note.events[-1], Finished | Failed):
            self.conversation.update(replying.message)
            self._view.replace_message(replying.message)
            self._ended()
        else:
            self._set_live_head(replying)

    def _set_live_head(self, replying: Replying) -> None:
        is_ready = self.status.model_state == "ready"
        self._view.set_head(replying.id, replying.head(is_model_ready=is_ready))
