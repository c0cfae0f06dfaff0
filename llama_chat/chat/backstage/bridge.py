"""Connects worker, recorder and screen: an event is committed first, then waits in a queue for the screen.

The screen is woken once when the queue becomes non-empty, never per token, and drains it when it paints.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from llama_chat.chat.backstage import notes
from llama_chat.chat.backstage.housekeeping import PATIENCE_S, Housekeeping
from llama_chat.chat.backstage.kept import KeptWatch
from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.chat.backstage.settings_writer import SettingsWriter
from llama_chat.chat.notices import other_model
from llama_chat.chat.setup import ChatSetup
from llama_chat.conversation import Message
from llama_chat.errors import LlamaChatError, PromptError, StoreError
from llama_chat.events import Event, Failed, Finished, LiveSampling, Loading, ModelInfo
from llama_chat.paths import write_atomically
from llama_chat.recorder import Recorder
from llama_chat.sessions import SessionStore
from llama_chat.settings import SettingValue
from llama_chat.shelves.used import FILE_NAME, UsedModels
from llama_chat.steering import Steering
from llama_chat.worker import Turn, Worker

if TYPE_CHECKING:
    from llama_chat.chat.backstage.remembering import Remembering
    from llama_chat.pull import PullProgress
    from llama_chat.sessions.forking import ForkPoint
    from llama_chat.turn import Prompt

T = TypeVar("T")

PATIENCE_AT_END = 4
"""The disk is waited for longer than the engine: what was said must be kept."""

LEAVING_PATIENCE_S = 0.1
SLOW_STORE_S = 0.1
"""A store that takes so long to keep a message is not waited for with the next one."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A turn on its way, and where its words and its reply go."""

    saved: SavedSession
    kept: Future[str]


class Bridge:
    """Everything behind the screen, and the queue in between.

    Args:
        setup: what the chat was started with.
        wake: called on some thread when there is something to drain; must be quick.
    """

    def __init__(self, setup: ChatSetup, wake: Callable[[], None]) -> None:
        self._setup = setup
        self._wake = wake
        self._queue: deque[notes.Note] = deque()
        self._lock = threading.Lock()
        self._is_store_slow = False
        self.has_end = False
        """Whether a reply ends in what waits for `drain`: then the prompt waits for it, too."""
        self._pending: dict[str, _Pending] = {}
        self._recording: deque[str] = deque()
        self._settings_writer = SettingsWriter(setup.save_setting)
        self._saved_sampling: dict[str, SettingValue] = asdict(setup.settings.sampling)
        self._info: ModelInfo | None = None
        self.waits_for = ""
        """While `close` runs: what it waits for, in words."""
        self.are_words_kept = True
        """After `close`: whether all that was said is on the disk."""
        self.sampling = LiveSampling(setup.settings.sampling)
        self.used = UsedModels(setup.paths.data / FILE_NAME)
        self.store = SessionStore(setup.paths.sessions_file)
        self._kept = KeptWatch(self.store, self._put)
        self.recorder = Recorder(self.store, self._deliver, patience_s=PATIENCE_S)
        self.steering = Steering()
        self.worker = Worker(setup.loader, self, self.sampling, steering=self.steering, pull=setup.pull)
        self._entered: SavedSession | None = None
        self._reader = OwnThread("reading")
        self._memory: Remembering | None = None
        self._housekeeping = Housekeeping(self.store, self._put)
        # In line before all else: whoever asks the store from now on gets an answer once it is open.
        self._kept.watched(self.call(self._housekeeping.open), whose=self.store)

    # --- called by the screen -----------------------------------------------------------------------

    def start(self, *, is_loading: bool = True) -> None:
        """Open the store and begin to load the model, each on its own thread.

        Args:
            is_loading: off while the user has yet to choose a model.
        """
        self.recorder.start()
        self.worker.start(is_loading=is_loading)

    def call(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Run something on the thread of the store, after all that was asked before."""
        future: Future[T] = self.recorder.call(function, *args)
        return future

    def read(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Run something that reads from the store, and sees all that was asked before.

        It may take a second (20,000 messages, many common words): no commit waits for it.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel it: it is told on other threads

        def begin(done: Future[None]) -> None:
            if (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                self._reader.do(lambda: function(*args), future)

        self.call(_nothing).add_done_callback(begin)
        return future

    def keep(self, saved: SavedSession, messages: Sequence[Message], leaf_id: str | None) -> Future[str]:
        """Store the messages; a failure is told as a `NotKept`.

        Before they are painted, they are kept: whoever asks waits for that (some milliseconds), unless the
        store is in trouble, or took its time the last time: then keys come first.
        """
        last = saved.add(messages)
        asked_s = time.monotonic()
        kept = self._kept.watched(self.call(saved.keep, leaf_id, last), whose=saved)
        kept.add_done_callback(lambda _: self._note_store_speed(time.monotonic() - asked_s))
        if self.recorder.is_alive and not self.recorder.unsaved and not self._is_store_slow:
            wait([kept], PATIENCE_S)
        return kept

    def _note_store_speed(self, seconds: float) -> None:
        self._is_store_slow = seconds > SLOW_STORE_S

    def enter(self, saved: SavedSession) -> None:
        """This session is open from now on, not the one before; `OpenElsewhere` tells of another chat."""
        left, self._entered = self._entered, saved
        if left is not None:
            self._kept.watched(self.call(left.let_go))
        if saved.session_id is not None:
            self._kept.watched(self.call(self._hold, saved))

    def _hold(self, saved: SavedSession) -> None:
        if saved.hold():
            self._put(notes.OpenElsewhere(saved))

    def note_model(self, saved: SavedSession, info: ModelInfo) -> None:
        """Keep which model goes on with the session; a failure is told as a `NotKept`."""
        self._kept.watched(self.call(saved.note_model, info))

    def rename(self, saved: SavedSession, title: str) -> None:
        """Give the session another name; a failure is told as a `NotKept`."""
        self._kept.watched(self.call(saved.rename, title))

    def choose(self, saved: SavedSession, leaf_id: str | None) -> None:
        """Remember the path; a failure is told as a `NotKept`."""
        self._kept.watched(self.call(saved.choose, leaf_id))

    def copy_tokens(self, saved: SavedSession, message_id: str, copy_id: str, *fork: ForkPoint) -> None:
        """Give a copy of a reply its tokens, those up to a fork; a failure is told as a `NotKept`."""
        self._kept.watched(self.call(saved.copy_tokens, message_id, copy_id, *fork))

    def take_back(
        self, saved: SavedSession, messages: Sequence[Message], leaf_id: str | None, *, is_everything: bool
    ) -> None:
        """Forget messages that were refused; a failure is told as a `NotKept`."""
        self._kept.watched(self.call(saved.take_back, messages, leaf_id, is_everything))

    def take_back_unfinished(
        self, saved: SavedSession, messages: Sequence[Message], leaf_id: str | None
    ) -> None:
        """Forget what an earlier run has left, unless another chat may be at it; as `take_back`."""
        self._kept.watched(self.call(saved.take_back_unfinished, messages, leaf_id))

    def save_setting(self, table: str, key: str, value: SettingValue) -> Future[None]:
        """Write a setting, on a thread of its own: the one of the store may wait for a disk for long.

        A failure is told as a `NotKept`, and by the future.
        """
        if table == "sampling":
            self._saved_sampling[key] = value
        return self._kept.watched(self._settings_writer.save(table, key, value))

    def write(self, function: Callable[[], T]) -> Future[T]:
        """Write a file of the user's on the thread of the settings; a failure is told as a `NotKept`."""
        return self._kept.watched(self._settings_writer.do(function))

    def ask_disk(self, function: Callable[[], T]) -> Future[T]:
        """Read or write a file of the user's, after those before; whoever asks tells how it went."""
        return self._settings_writer.do(function)

    def answer(self, turn: Turn, saved: SavedSession, kept: Future[str]) -> None:
        """Let the model answer, once the words that it answers are kept."""
        self._pending[turn.reply.id] = _Pending(saved, kept)
        self.worker.answer(turn)

    def stop(self, turn: Turn) -> bool:
        """End the turn; True when it had not begun and never will: nothing more is told of it."""
        if self.worker.withdraw(turn):
            self._pending.pop(turn.reply.id, None)
            return True
        self.worker.stop()
        return False

    def drain(self) -> list[notes.Note]:
        """What happened since the last time, in order."""
        with self._lock:
            drained = list(self._queue)
            self._queue.clear()
            self.has_end = False
        return notes.merged(drained)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop what runs, keep it, and end both threads; whether all is kept."""
        self.waits_for = "the model to stop"
        self.worker.close(timeout_s)
        for key, value in asdict(self.sampling.current).items():
            if self._saved_sampling[key] != value:  # a slider that had not rested yet
                self.save_setting("sampling", key, value)
        self.waits_for = "the settings to be written"
        are_settings_written = self._settings_writer.close(timeout_s)
        self.waits_for = "the last messages to be kept"
        self.are_words_kept = is_kept = self.recorder.close(PATIENCE_AT_END * timeout_s)
        if not self.recorder.is_alive:  # else it may be in the middle of a write
            if self._entered is not None and is_kept:
                self._leave(self._entered)
            if is_kept:
                self.waits_for = "what was deleted to be erased"
                self._housekeeping.finish()
            self.store.close()
        return is_kept and are_settings_written

    def _leave(self, saved: SavedSession) -> None:
        self.store.wait_at_most(LEAVING_PATIENCE_S)
        with contextlib.suppress(StoreError):
            saved.let_go()

    # --- called by the worker, on its thread ----------------------------------------------------------

    def pulling(self, progress: PullProgress) -> None:
        """Pass the progress on."""
        self._put(notes.Pulling(progress))

    def loading(self, progress: Loading) -> None:
        """Pass the progress on."""
        self._put(notes.LoadingNote(progress))

    def loaded(self, info: ModelInfo) -> None:
        """Pass the news on."""
        from llama_chat.chat.backstage.remembering import Remembering  # not for the first paint

        self._info = info
        self._memory = Remembering(self.used, self._settings_writer, self.store, self.call, self.read)
        self._memory.loaded(info)
        self._put(notes.Loaded(info))

    def not_loaded(self, error: LlamaChatError) -> None:
        """Pass the news on."""
        self._put(notes.NotLoaded(error))

    def not_switched(self, error: LlamaChatError, info: ModelInfo | None) -> None:
        """Pass the news on."""
        self._put(notes.NotSwitched(error, info))

    def prepared(self, turn: Turn, prompt: Prompt) -> None:
        """Have the reply recorded, after the words that it answers."""
        pending = self._pending.pop(turn.reply.id)
        if self._info is not None and pending.saved.must_ask(
            self._info
        ):  # it was loaded after the words came
            question = other_model(pending.saved.written_with, self._info)
            raise PromptError(question, hint="Send it again to go on.")
        assert turn.reply.reply is not None
        # Whoever asks before the model is there asks it by another name.
        model = self._info.name if self._info is not None else turn.reply.reply.model
        reply = replace(turn.reply.reply, model=model, context_start=prompt.context_start)
        self._note_model(pending.saved)
        # The recorder writes in order: when it begins the reply, the future is done.
        self.recorder.begin(lambda: pending.kept.result(0), replace(turn.reply, reply=reply))
        self._recording.append(turn.reply.id)  # its events are pushed by this thread, so after this
        self._put(notes.Begun(turn.reply.id, prompt))

    def _note_model(self, saved: SavedSession) -> None:
        if self._info is not None:
            self.note_model(saved, self._info)

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        """Pass the news on."""
        self._pending.pop(turn.reply.id, None)
        self._put(notes.Refused(turn.reply.id, error))

    def event(self, turn: Turn, event: Event) -> None:  # noqa: ARG002  (as Listener has it)
        """Record the event first; the recorder hands it on."""
        self.recorder.push(event)
        if self._info is not None and self._memory is not None and isinstance(event, Finished):
            self._memory.answered(self._info, event, self.worker.ask(lambda engine: engine.pieces()))

    def note_welcomed(self) -> None:
        """Keep that the screens for newcomers were seen; without a disk they are shown again."""
        file = self._setup.paths.welcomed_file

        def write() -> None:
            with contextlib.suppress(OSError):
                write_atomically(file, b"")

        self._settings_writer.do(write)

    # --- called by the recorder, on its thread --------------------------------------------------------

    def _deliver(self, batch: Sequence[Event], saved: bool) -> None:
        self._kept.delivered(saved, self.recorder.trouble)
        while batch:
            reply_id = self._recording[0]
            end = next((i for i, event in enumerate(batch) if isinstance(event, Finished | Failed)), None)
            cut = len(batch) if end is None else end + 1
            self._put(notes.Happened(reply_id, tuple(batch[:cut])))
            if end is not None:
                self._recording.popleft()
            batch = batch[cut:]

    # --- the queue ------------------------------------------------------------------------------------

    def _put(self, note: notes.Note) -> None:
        with self._lock:
            is_end = notes.is_end(note)
            is_news = not self._queue or is_end
            self._queue.append(note)
            self.has_end |= is_end
        if is_news:
            self._wake()


def _nothing() -> None:
    """What was asked for before is done by the time that this is."""
