"""One chat as it goes on: what is said, which reply runs, what is kept. Knows a view by its methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from llama_chat.conversation import Conversation, Message, Reply, Role, new_seed, title_of
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import Failed, Finished, ModelInfo
from llama_chat.recorder import ReplyBuilder
from llama_chat.sessions import SessionInfo
from llama_chat.settings import ChatSettings
from llama_chat.ui import notes
from llama_chat.ui.bridge import Bridge
from llama_chat.ui.live import LiveFigures, Status
from llama_chat.ui.saved import SavedSession
from llama_chat.ui.view import ChatView
from llama_chat.worker import Turn


@dataclass(slots=True)
class _Running:
    """The reply that is being written or waits for the model."""

    turn: Turn
    builder: ReplyBuilder
    leaf_before: str | None
    words: Message | None
    """The user's message that it answers, when that is new."""
    figures: LiveFigures = field(default_factory=LiveFigures)
    has_begun: bool = False


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
        self._running: _Running | None = None
        self._then: Callable[[], None] | None = None
        self._dropped_messages = 0
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
        self._dropped_messages = 0
        self.saved = SavedSession(self._bridge.store, date=date.today().isoformat(), model=self.model_label)

    # --- what the user does ---------------------------------------------------------------------------

    @property
    def is_replying(self) -> bool:
        """Whether a reply runs, or waits for the model."""
        return self._running is not None

    def send(self, text: str) -> bool:
        """Say something to the model; whether it was taken."""
        if self._running is not None or not text.strip():
            return False
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
        self.when_idle(self._regenerate)

    def _regenerate(self) -> None:
        leaf_before = self.conversation.leaf_id
        path = self.conversation.path()
        if not path or path[-1].role is Role.SYSTEM:
            return
        if path[-1].role is Role.ASSISTANT:
            reply = self.conversation.add_sibling(path[-1].id, "", reply=self._new_reply())
        else:
            reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        self._show()
        self._answer(reply, [], leaf_before, None)

    def stop(self) -> None:
        """End the reply; what it says so far is kept. Words that wait for the model are given back."""
        if (running := self._running) is None:
            return
        if self._bridge.stop(running.turn):
            self._refused(running.turn.reply.id, Interrupted("Stopped before the reply began."))
        else:
            self._update(replace(self.status, doing="stopping"))

    def new(self) -> None:
        """Begin another chat, after the reply that runs was stopped and kept."""
        self.when_idle(self._new)

    def _new(self) -> None:
        self._begin()
        self._show()

    def open(self, info: SessionInfo, conversation: Conversation) -> None:
        """Go on with a session."""

        def take() -> None:
            self.conversation, self.title = conversation, info.title
            self._unkept, self._dropped_messages = [], 0
            self.saved = SavedSession(
                self._bridge.store, date=info.date, model=info.model, session_id=info.id
            )
            self._show()

        self.when_idle(take)

    def set_system(self, text: str) -> None:
        """Give the chat another system prompt, from the next reply on."""
        self.when_idle(lambda: self._set_system(text))

    def _set_system(self, text: str) -> None:
        if text == self.conversation.system:
            return
        added = self.conversation.set_system(text)
        if self.conversation.turns:
            self._bridge.keep(self.saved, added, self.conversation.leaf_id)
        else:
            self._unkept = added
        self._show()
        self._view.notice("The system prompt counts from the next reply on." if text else "No system prompt.")

    def show_sibling(self, step: int) -> None:
        """Show the next reply (or the one before) where the path last forked."""
        self.when_idle(lambda: self._show_sibling(step))

    def _show_sibling(self, step: int) -> None:
        for message in reversed(self.conversation.path()):
            siblings = self.conversation.siblings(message.id)
            if len(siblings) > 1:
                at = [sibling.id for sibling in siblings].index(message.id) + step
                if 0 <= at < len(siblings):
                    self.conversation.select(siblings[at].id)
                    self._bridge.choose(self.saved, self.conversation.leaf_id)
                    self._show()
                return

    def load_again(self) -> None:
        """Try to load the model once more."""
        if self.status.model_state == "failed":
            self.status = replace(self.status, model_state="loading", doing="loading", fraction=None)
            self._bridge.worker.load()
            self._view.status_changed()

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
        self._running = _Running(turn, ReplyBuilder(reply), leaf_before, words)
        self.load_again()
        self._bridge.answer(turn, self.saved, kept)
        self._set_live_head(self._running)
        self._update(replace(self.status, is_replying=True, first_token_s=None))

    def when_idle(self, action: Callable[[], None]) -> None:
        """Do it now, or once the reply that runs was stopped and kept."""
        if self._running is None:
            action()
        else:
            self._then = action
            self.stop()

    def _ended(self) -> None:
        self._running = None
        doing = {"ready": "ready", "failed": "no model"}.get(self.status.model_state, self.status.doing)
        self._update(replace(self.status, is_replying=False, doing=doing))
        self._view.session_changed()
        then, self._then = self._then, None
        if then is not None:
            then()

    def _show(self, *, keep_notices: bool = False) -> None:
        path = self.conversation.path()
        self._view.show_path(path, keep_notices=keep_notices)
        for message in path:
            if len(siblings := self.conversation.siblings(message.id)) > 1:
                place = next(i for i, sibling in enumerate(siblings, 1) if sibling.id == message.id)
                self._view.set_place(message.id, place, len(siblings))
        self._update(self.status.of_path(path))
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
            case notes.Kept(saved):
                if saved != self.status.is_saved:
                    self._update(replace(self.status, is_saved=saved))
            case notes.NotKept(error):
                self._complain(error)

    def _loaded(self, info: ModelInfo) -> None:
        self.info, self.model_label = info, info.name
        if self.saved.session_id is None:
            self.saved.model = info.name
        self._view.pull_ended()
        self._update(self.status.with_model(info))
        if info.chat_template is None:
            self._view.notice("This model has no chat template: it goes on with your words as they stand.")

    def _not_loaded(self, error: LlamaChatError) -> None:
        self._view.pull_ended()
        self._update(replace(self.status, model_state="failed", doing="no model", fraction=None))
        if self._running is None:  # else its turn is refused next, and says so
            self._complain(error)

    def _complain(self, error: LlamaChatError) -> None:
        if not isinstance(error, Interrupted):
            self._view.notice(f"{error.message}\n{error.hint}".rstrip(), "error")
        elif self.status.model_state == "failed":
            self._view.notice("The model was not fetched. Send a message, or /load, to fetch it after all.")

    def _current(self, reply_id: str) -> _Running | None:
        running = self._running
        return running if running is not None and running.turn.reply.id == reply_id else None

    def _begun(self, note: notes.Begun) -> None:
        if (running := self._current(note.reply_id)) is None:
            return
        running.has_begun = True
        reply = running.turn.reply.reply
        assert reply is not None
        model = self.model_label
        context_start = note.prompt.context_start
        running.builder = ReplyBuilder(
            replace(running.turn.reply, reply=replace(reply, model=model, context_start=context_start))
        )
        if (dropped := note.prompt.dropped_messages) > self._dropped_messages:
            self._view.notice(
                f"Context full: the {dropped} oldest messages have left; the model no longer sees them.",
                "warning",
            )
        self._dropped_messages = dropped
        self._update(running.figures.status(replace(self.status, context_used=note.prompt.tokens)))

    def _refused(self, reply_id: str, error: LlamaChatError) -> None:
        if (running := self._current(reply_id)) is None:
            return
        del self.conversation.messages[reply_id]
        self.conversation.leaf_id = running.leaf_before
        if running.words is not None:
            del self.conversation.messages[running.words.id]
            self._view.give_back(running.words.text)
        has_turns = bool(self.conversation.turns)
        refused = [] if running.words is None else [running.words]
        self._bridge.take_back(self.saved, refused, self.conversation.leaf_id if has_turns else None)
        if not has_turns:
            self._unkept, self.title = self.conversation.path(), ""
        self._show(keep_notices=True)
        if self.status.model_state != "loading":
            self._complain(error)
        self._ended()

    def _happened(self, note: notes.Happened) -> None:
        if (running := self._current(note.reply_id)) is None:
            return
        for event in note.events:
            running.builder.feed(event)
            running.figures.feed(event)
        if text := running.figures.take_text():
            self._view.append_text(note.reply_id, text)
        self._update(running.figures.status(self.status))
        if isinstance(note.events[-1], Finished | Failed):
            self._finished(running)
        else:
            self._set_live_head(running)

    def _finished(self, running: _Running) -> None:
        message = running.builder.message
        self.conversation.update(message)
        self._view.replace_message(message)
        self._ended()

    def _set_live_head(self, running: _Running) -> None:
        if running.has_begun:
            figures = running.figures
            head = (
                f"{figures.tok_per_s:.0f} tok/s · {figures.tokens} tokens" if figures.tokens else "reading…"
            )
        elif self.status.model_state == "ready":
            head = "…"
        else:
            head = "waits for the model"
        self._view.set_head(running.turn.reply.id, head)
