"""The conversation that is open: what of it is shown, which reply runs, what the bridge reports of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from llama_chat.chat import notices
from llama_chat.chat.backstage import notes
from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.chat.branches.siblings import forks, shown_path
from llama_chat.chat.context.figures import ContextWatch
from llama_chat.chat.live import Status
from llama_chat.chat.replying import Replying, Request
from llama_chat.chat.view import ChatView
from llama_chat.conversation import Conversation, Message, Role
from llama_chat.errors import LlamaChatError
from llama_chat.events import Failed, Finished, ModelInfo
from llama_chat.settings import ChatSettings


class Talk:
    """Shows a conversation, has its replies written, and knows a view by its methods; `Chat` adds the user.

    Args:
        bridge: to the engine and the store.
        view: shows it.
        settings: the system prompt and the seed of new chats.
        model_label: the model's name until the engine is there.
    """

    def __init__(self, bridge: Bridge, view: ChatView, settings: ChatSettings, model_label: str) -> None:
        self.bridge = bridge
        self.view = view
        self._settings = settings
        self._replying: Replying | None = None
        self._then: list[Callable[[], None]] = []
        self._afterwards: Callable[[], None] | None = None
        self._context_watch = ContextWatch()
        self._told: set[str] = set()
        self.model_label = model_label
        self.info: ModelInfo | None = None
        self.load_error: LlamaChatError | None = None
        """Why no model could be loaded, if that was tried last."""
        self.status = Status()
        self.begin()

    # --- which conversation ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Another one, without words and in no session yet."""
        saved = SavedSession(self.bridge.store, date=date.today().isoformat(), model=self.model_label)
        self.go_to(Conversation(), saved, "")
        if self._settings.system:
            self._unkept.append(self.conversation.append(Role.SYSTEM, self._settings.system))

    def take_settings(self, settings: ChatSettings) -> None:
        """New chats begin with this system prompt, new replies with this seed."""
        self._settings = settings

    def go_to(self, conversation: Conversation, saved: SavedSession, title: str) -> None:
        """This one, kept there; `show` shows it."""
        self.conversation, self.saved, self.title = conversation, saved, title
        self._unkept: list[Message] = []
        self.bridge.enter(saved)

    @property
    def has_words(self) -> bool:
        """Whether anything was said, on whatever branch."""
        return any(message.role is not Role.SYSTEM for message in self.conversation.messages.values())

    def keep_all(self, added: Sequence[Message]) -> None:
        """Keep new messages and the path, if there is a session for them; else with the first words."""
        if self.has_words:
            self.bridge.keep(self.saved, added, self.conversation.leaf_id)
        else:
            self._unkept += added

    def choose_path(self) -> None:
        """Show the path that was taken, and remember it."""
        self.bridge.choose(self.saved, self.conversation.leaf_id)
        self.show()

    def show(self, *, keep_notices: bool = False) -> None:
        """Show the path as it is now."""
        path = self.conversation.path()
        shown = shown_path(self.conversation, path)
        self.view.show_path(shown, keep_notices=keep_notices)
        for fork in forks(self.conversation, shown):
            self.view.set_place(fork.message_id, fork.place, len(fork.siblings))
        if path and self.is_foreign(path[-1]):
            self.view.set_head(path[-1].id, notices.WRITTEN_ELSEWHERE)
        self.set_status(self.status.of_path(path))
        notices.mark_context(self.view, self.conversation, self.status.dropped_messages)
        notices.mark_summary(self.view, self.conversation)
        self.view.session_changed()

    def message_now(self, message_id: str) -> Message | None:
        """The message as it is now, also while it is being written; None where there is none."""
        running = self._current(message_id)
        return running.message if running is not None else self.conversation.messages.get(message_id)

    def rests_at(self, message_id: str) -> bool:
        """Whether the path ends with this message and nothing is written."""
        return not self.is_replying and self.conversation.leaf_id == message_id

    def is_foreign(self, message: Message) -> bool:
        """Whether another chat is writing this reply."""
        reply = message.reply
        return reply is not None and reply.finish_reason is None and self._current(message.id) is None

    # --- how a reply goes -----------------------------------------------------------------------------

    @property
    def running_id(self) -> str | None:
        """Of the reply that runs or waits."""
        return self._replying.id if self._replying is not None else None

    def take_in_running(self) -> None:
        """Put what the running reply says so far into the conversation: the chat is about to end."""
        if self._replying is not None:
            self.conversation.update(self._replying.message)

    @property
    def is_replying(self) -> bool:
        """Whether a reply runs, or waits for the model."""
        return self._replying is not None

    def answer(
        self,
        request: Request,
        new: Sequence[Message] = (),
        *,
        afterwards: Callable[[], None] | None = None,
        showing: Callable[[], None] = lambda: None,
    ) -> None:
        """Have the reply at the end of the path written.

        Args:
            request: the reply.
            new: messages before it that are not kept yet.
            afterwards: called when the reply is over or was not taken, before anything else follows.
            showing: shows the reply, where that has not been done: while the model begins already.
        """
        turn = request.turn(self.conversation.path()[:-1], self.saved)
        leaf_id = request.reply.id if request.is_continuation else request.reply.parent_id
        kept = self.bridge.keep(self.saved, [*self._unkept, *new], leaf_id)
        self._unkept = []
        self._replying = Replying(turn, request)
        self._afterwards = afterwards
        self.load_again()
        self.bridge.answer(turn, self.saved, kept)
        showing()
        self._set_live_head(self._replying)
        self.set_status(replace(self.status, is_replying=True, first_token_s=None))

    def load_again(self) -> None:
        """Try to load the model once more, if it could not be."""
        if self.status.model_state == "failed":
            self.view.drop_notices(notices.ABOUT_MODEL)
            self.set_status(replace(self.status, model_state="loading", doing="loading", fraction=None))
            self.bridge.worker.load()

    def stop(self) -> None:
        """End the reply that runs; what it says so far is kept."""
        if (replying := self._replying) is None:
            return
        if self.bridge.stop(replying.turn):
            self._refused(replying.id, notices.STOPPED_BEFORE)
        else:
            self.set_status(replace(self.status, doing="stopping"))

    def when_idle(self, action: Callable[[], None], *, told: str = "") -> None:
        """Do it now, or once the reply that runs was stopped and kept, which is then `told`.

        What was to be done then already is done before; a reply that this begins is stopped in turn.
        """
        replying = self._replying
        if replying is None:
            action()
            return

        def then() -> None:
            action()
            if told and replying.was_stopped:
                self.view.hint(told)

        self._then.append(then)
        self.stop()

    def rest(self) -> None:
        """Nothing runs any more."""
        doing = {"ready": "ready", "failed": "no model"}.get(self.status.model_state, self.status.doing)
        fraction = self.status.fraction if self.status.model_state == "loading" else None
        hold = self.bridge.steering.rest()
        status = replace(self.status, doing=doing, fraction=fraction, hold=hold, awaiting=None)
        self.set_status(replace(status, is_replying=False))

    def _ended(self, finish_reason: str | None = None) -> None:  # noqa: ARG002  (for `Chat`)
        self._replying = None
        self.rest()
        self.view.session_changed()
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is not None:
            afterwards()
        waiting, self._then = self._then, []
        for then in waiting:
            self.when_idle(then)

    def set_status(self, status: Status) -> None:
        """Show what the program is at; a context that fills up is told of."""
        self.status = status
        self.view.status_changed()
        if words := self._context_watch.words(status):
            self.view.hint(words, "warning")

    # --- what the bridge reports ----------------------------------------------------------------------

    def take(self, note: notes.Note) -> None:
        """Take one note in."""
        match note:
            case notes.Pulling():
                self.view.pulling(note)
            case notes.LoadingNote(progress):
                self.view.pull_ended()
                self.set_status(replace(self.status, doing=progress.what, fraction=progress.fraction))
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
                self.set_status(replace(self.status, is_saved=is_saved, can_be_saved=can_be))
                if is_saved:
                    self.view.drop_notices(notices.ABOUT_STORE)
            case notes.NotKept(error):
                notices.tell_not_kept(self.view, error, self._told)
            case notes.OfStore(text):
                self.view.notice(text, "warning")
            case notes.OpenElsewhere(saved):
                if saved is self.saved:
                    notices.tell_open_elsewhere(self.view)

    def _loaded(self, info: ModelInfo) -> None:
        self.info, self.model_label, self.load_error = info, info.name, None
        if self.saved.session_id is None:
            self.saved.model = info.name
        self.view.pull_ended()
        self.view.drop_notices(notices.ABOUT_MODEL)
        self.set_status(self.status.with_model(info))
        notices.tell_of_model(self.view, info)
        self.tell_other_model()

    def tell_other_model(self) -> None:
        """Say so if another model than the one that is loaded has written the session."""
        if self.info is not None and self.saved.is_of_other_model(self.info):
            notices.tell_other_model(self.view, self.saved.written_with, self.info)

    def _not_loaded(self, error: LlamaChatError) -> None:
        self.load_error = error
        self.view.pull_ended()
        self.set_status(replace(self.status, model_state="failed", doing="no model", fraction=None))
        if self._replying is None:  # else its turn is refused next, and says so
            notices.tell_refusal(self.view, error, is_model_missing=True)

    def _current(self, reply_id: str) -> Replying | None:
        return self._replying if self._replying is not None and self._replying.id == reply_id else None

    def _begun(self, note: notes.Begun) -> None:
        if (replying := self._current(note.reply_id)) is None:
            return
        prompt = note.prompt
        replying.begin(prompt, model=self.model_label)
        self.view.drop_notices(notices.ABOUT_PROMPT)
        status = replace(self.status, dropped_messages=prompt.dropped_messages)
        self.set_status(replying.figures.status(status))
        notices.mark_context(self.view, self.conversation, prompt.dropped_messages)
        if replying.request.is_continuation and self.info is not None:
            notices.tell_where_it_goes_on(self.view, replying.turn.reply, self.info)

    def _refused(self, reply_id: str, error: LlamaChatError) -> None:
        if (replying := self._current(reply_id)) is None:
            return
        refused = replying.take_back(self.conversation)
        for words in refused:
            if words.role is Role.USER:
                self._give_back(words.text, replying.request.edited)
        self.bridge.take_back(
            self.saved, refused, self.conversation.leaf_id, is_everything=not self.has_words
        )
        if not self.has_words:
            self._unkept, self.title = list(self.conversation.messages.values()), ""
        self._replying = None
        self.show(keep_notices=True)
        if self.status.model_state != "loading":
            is_missing = self.status.model_state == "failed"
            notices.tell_refusal(self.view, error, is_model_missing=is_missing)
        self._ended()

    def _give_back(self, text: str, edited: Message | None) -> None:
        if edited is None:
            self.view.give_back(text)
        else:
            self.view.edit_again(edited, text)

    def _happened(self, note: notes.Happened) -> None:
        if (replying := self._current(note.reply_id)) is None:
            return
        text = replying.feed(note.events)
        if replying.take_rewritten():
            self.view.replace_message(replying.message)
        elif text:
            self.view.append_text(note.reply_id, text)
        if figures := replying.thoughts.take_figures():
            self.view.set_thoughts(note.reply_id, figures)
        self.set_status(replying.figures.status(self.status))
        if isinstance(note.events[-1], Finished | Failed):
            self.conversation.update(replying.message)
            self.view.replace_message(replying.message)
            is_all = not self._then
            reply = replying.message.reply
            self._ended(reply.finish_reason if reply is not None else None)
            if is_all and self._replying is None:
                notices.tell_how_to_go_on(self.view, replying.message, lambda: self.rests_at(replying.id))
        else:
            self._set_live_head(replying)

    def _set_live_head(self, replying: Replying) -> None:
        is_ready = self.status.model_state == "ready"
        self.view.set_head(replying.id, replying.head(is_model_ready=is_ready))
