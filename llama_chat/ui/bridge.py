"""Connects worker, recorder and screen: an event is committed first, then waits in a queue for the screen.

The screen is woken once when the queue becomes non-empty, never per token, and drains it when it paints.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from llama_chat.conversation import Message
from llama_chat.errors import LlamaChatError, StoreError
from llama_chat.events import Event, Failed, Finished, LiveSampling, Loading, ModelInfo
from llama_chat.recorder import Recorder
from llama_chat.sessions import SessionStore, StoreUnavailable
from llama_chat.settings import SettingValue
from llama_chat.ui import notes
from llama_chat.ui.saved import SavedSession
from llama_chat.ui.settings_writer import SettingsWriter
from llama_chat.ui.setup import ChatSetup
from llama_chat.worker import Turn, Worker

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress
    from llama_chat.turn import Prompt

T = TypeVar("T")

PATIENCE_AT_END = 4
"""The disk is waited for longer than the engine: what was said must be kept."""

PATIENCE_S = 0.25
"""How long the store may take before the user hears of it."""


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
        self._pending: dict[str, _Pending] = {}
        self._recording: deque[str] = deque()
        self._settings_writer = SettingsWriter(setup.save_setting)
        self._saved_sampling: dict[str, SettingValue] = asdict(setup.settings.sampling)
        self._unavailable_since_s: float | None = None
        self._has_told_unavailable = False
        self._is_written = True
        self._failed: set[object] = set()
        self._told = notes.Kept(True)
        self._info: ModelInfo | None = None
        self.waits_for = ""
        """While `close` runs: what it waits for, in words."""
        self.sampling = LiveSampling(setup.settings.sampling)
        self.store = SessionStore(setup.paths.sessions_file)
        self.recorder = Recorder(self.store, self._deliver, patience_s=PATIENCE_S)
        self.worker = Worker(setup.loader, self, self.sampling, pull=setup.pull)
        # In line before all else: whoever asks the store from now on gets an answer once it is open.
        self._watched(self.call(self._open_store), whose=self.store)

    # --- called by the screen -----------------------------------------------------------------------

    def start(self) -> None:
        """Open the store and begin to load the model, each on its own thread."""
        self.recorder.start()
        self.worker.start()

    def _open_store(self) -> None:
        """Open it; the recorder repeats this while the disk refuses, and the user hears of it if it lasts."""
        try:
            self.store.open()
        except StoreUnavailable as error:
            now_s = time.monotonic()
            self._unavailable_since_s = self._unavailable_since_s or now_s
            if now_s - self._unavailable_since_s >= PATIENCE_S and not self._has_told_unavailable:
                self._has_told_unavailable = True
                self._put(notes.NotKept(error))
            raise

    def call(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Run something on the thread of the store, after all that was asked before."""
        future: Future[T] = self.recorder.call(function, *args)
        return future

    def keep(self, saved: SavedSession, messages: Sequence[Message], leaf_id: str | None) -> Future[str]:
        """Store the messages; a failure is told as a `NotKept`."""
        saved.add(messages)
        return self._watched(self.call(saved.keep, leaf_id), whose=saved)

    def choose(self, saved: SavedSession, leaf_id: str | None) -> None:
        """Remember the path; a failure is told as a `NotKept`."""
        self._watched(self.call(saved.choose, leaf_id))

    def take_back(self, saved: SavedSession, messages: Sequence[Message], leaf_id: str | None) -> None:
        """Forget messages that were refused; a failure is told as a `NotKept`."""
        self._watched(self.call(saved.take_back, messages, leaf_id))

    def save_setting(self, table: str, key: str, value: SettingValue) -> None:
        """Write a setting, on a thread of its own: the one of the store may wait for a disk for long.

        A failure is told as a `NotKept`.
        """
        if table == "sampling":
            self._saved_sampling[key] = value
        self._watched(self._settings_writer.save(table, key, value))

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
        return drained

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
        is_kept = self.recorder.close(PATIENCE_AT_END * timeout_s)
        if not self.recorder.is_alive:  # else it may be in the middle of a write
            self.store.close()
        return is_kept and are_settings_written

    # --- called by the worker, on its thread ----------------------------------------------------------

    def pulling(self, progress: PullProgress) -> None:
        """Pass the progress on."""
        self._put(notes.Pulling(progress))

    def loading(self, progress: Loading) -> None:
        """Pass the progress on."""
        self._put(notes.LoadingNote(progress))

    def loaded(self, info: ModelInfo) -> None:
        """Pass the news on."""
        self._info = info
        self._put(notes.Loaded(info))

    def not_loaded(self, error: LlamaChatError) -> None:
        """Pass the news on."""
        self._put(notes.NotLoaded(error))

    def prepared(self, turn: Turn, prompt: Prompt) -> None:
        """Have the reply recorded, after the words that it answers."""
        pending = self._pending.pop(turn.reply.id)
        assert turn.reply.reply is not None
        reply = replace(turn.reply.reply, context_start=prompt.context_start)
        self._note_model(pending.saved)
        # The recorder writes in order: when it begins the reply, the future is done.
        self.recorder.begin(lambda: pending.kept.result(0), replace(turn.reply, reply=reply))
        self._recording.append(turn.reply.id)  # its events are pushed by this thread, so after this
        self._put(notes.Begun(turn.reply.id, prompt))

    def _note_model(self, saved: SavedSession) -> None:
        if self._info is not None:
            self._watched(self.call(saved.note_model, self._info))

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        """Pass the news on."""
        self._pending.pop(turn.reply.id, None)
        self._put(notes.Refused(turn.reply.id, error))

    def event(self, turn: Turn, event: Event) -> None:  # noqa: ARG002  (as Listener has it)
        """Record the event first; the recorder hands it on."""
        self.recorder.push(event)

    # --- called by the recorder, on its thread --------------------------------------------------------

    def _deliver(self, batch: Sequence[Event], saved: bool) -> None:
        self._is_written = saved
        self._tell_saved()
        while batch:
            reply_id = self._recording[0]
            end = next((i for i, event in enumerate(batch) if isinstance(event, Finished | Failed)), None)
            cut = len(batch) if end is None else end + 1
            self._put(notes.Happened(reply_id, tuple(batch[:cut])))
            if end is not None:
                self._recording.popleft()
            batch = batch[cut:]

    def _tell_saved(self) -> None:
        now = notes.Kept(self._is_written and not self._failed, can_be=self.store not in self._failed)
        if now != self._told:
            self._told = now
            self._put(now)

    # --- the queue ------------------------------------------------------------------------------------

    def _put(self, note: notes.Note) -> None:
        with self._lock:
            was_empty = not self._queue
            self._queue.append(note)
        if was_empty:
            self._wake()

    def _watched(self, future: Future[T], *, whose: object | None = None) -> Future[T]:
        """Tell of a failure; while what is `whose` has failed last, not all is saved."""

        def tell(done: Future[T]) -> None:
            error = done.exception()
            if whose is not None:
                (self._failed.discard if error is None else self._failed.add)(whose)
                self._tell_saved()
            if isinstance(error, LlamaChatError):
                self._put(notes.NotKept(error))
            elif error is not None:
                self._put(notes.NotKept(StoreError(f"Something could not be kept: {error}")))

        future.add_done_callback(tell)
        return future
