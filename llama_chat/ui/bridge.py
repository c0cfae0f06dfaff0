"""Connects worker, recorder and screen: an event is committed first, then waits in a queue for the screen.

The screen is woken once when the queue becomes non-empty, never per token, and drains it when it paints.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from llama_chat.ui.setup import ChatSetup
from llama_chat.worker import Turn, Worker

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress
    from llama_chat.turn import Prompt

T = TypeVar("T")

PATIENCE_S = 0.25
FIRST_PATIENCE_S = 2.0
"""A new session has no id before it is on the disk, and without one its first reply cannot be recorded."""


@dataclass(slots=True)
class _Pending:
    """A turn on its way: whether its words are kept, and whether its reply is."""

    turn: Turn
    saved: SavedSession
    kept: Future[str]
    recorded: bool = False

    def session_id(self) -> str:
        """Where the reply goes, once the words that it answers are kept.

        A session that exists need not be waited for: the recorder writes in order.
        """
        if self.saved.session_id is not None and not self.kept.done():
            with contextlib.suppress(TimeoutError):
                return self.kept.result(PATIENCE_S)
            return self.saved.session_id
        return self.kept.result(FIRST_PATIENCE_S)


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
        self._settings_writer: ThreadPoolExecutor | None = None
        self._saved_sampling: dict[str, SettingValue] = asdict(setup.settings.sampling)
        self._has_told_unavailable = False
        self._was_saved = True
        self._info: ModelInfo | None = None
        self.sampling = LiveSampling(setup.settings.sampling)
        self.store = SessionStore(setup.paths.sessions_file)
        self.recorder = Recorder(self.store, self._deliver)
        self.worker = Worker(setup.loader, self, self.sampling, pull=setup.pull)

    # --- called by the screen -----------------------------------------------------------------------

    def start(self) -> None:
        """Open the store and begin to load the model, each on its own thread."""
        self.recorder.start()
        self._watched(self.call(self._open_store))
        self.worker.start()

    def _open_store(self) -> None:
        """Open it; the recorder repeats this while the disk refuses, the user hears of it once."""
        try:
            self.store.open()
        except StoreUnavailable as error:
            if not self._has_told_unavailable:
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
        return self._watched(self.call(saved.keep, leaf_id))

    def choose(self, saved: SavedSession, leaf_id: str | None) -> None:
        """Remember the path; a failure is told as a `NotKept`."""
        self._watched(self.call(saved.choose, leaf_id))

    def save_setting(self, table: str, key: str, value: SettingValue) -> None:
        """Write a setting, on a thread of its own: the one of the store may wait for a disk for long.

        A failure is told as a `NotKept`.
        """
        if self._settings_writer is None:
            self._settings_writer = ThreadPoolExecutor(1, "settings")
        if table == "sampling":
            self._saved_sampling[key] = value
        future = self._settings_writer.submit(self._setup.save_setting, table, key, value)
        self._watched(future, is_setting=True)

    def answer(self, turn: Turn, saved: SavedSession, kept: Future[str]) -> None:
        """Let the model answer, once the words that it answers are kept."""
        self._pending[turn.reply.id] = _Pending(turn, saved, kept)
        self.worker.answer(turn)

    def drain(self) -> list[notes.Note]:
        """What happened since the last time, in order."""
        with self._lock:
            drained = list(self._queue)
            self._queue.clear()
        return drained

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop what runs, keep it, and end both threads; whether all is kept."""
        self.worker.close(timeout_s)
        for key, value in asdict(self.sampling.current).items():
            if self._saved_sampling[key] != value:  # a slider that had not rested yet
                self.save_setting("sampling", key, value)
        if self._settings_writer is not None:
            self._settings_writer.shutdown()
        return self.recorder.close(timeout_s)

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
        """Wait until the user's words are on the disk, then have the reply recorded."""
        pending = self._pending[turn.reply.id]
        assert turn.reply.reply is not None
        reply = replace(turn.reply.reply, context_start=prompt.context_start)
        try:
            session_id = pending.session_id()
        except Exception:  # told as a NotKept when the future failed; the reply is shown all the same
            self._tell_saved(is_saved=False)
        else:
            self._note_model(pending.saved)
            self._recording.append(turn.reply.id)
            self.recorder.begin(session_id, replace(turn.reply, reply=reply))
            pending.recorded = True
        self._put(notes.Begun(turn.reply.id, prompt, pending.recorded))

    def _note_model(self, saved: SavedSession) -> None:
        if self._info is not None:
            self._watched(self.call(saved.note_model, self._info))

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        """Pass the news on."""
        self._pending.pop(turn.reply.id, None)
        self._put(notes.Refused(turn.reply.id, error))

    def event(self, turn: Turn, event: Event) -> None:
        """Record the event first, or show it at once when there is nowhere to record it."""
        if self._pending[turn.reply.id].recorded:
            self.recorder.push(event)
        else:
            self._put(notes.Happened(turn.reply.id, (event,)))
        if isinstance(event, Finished | Failed):
            del self._pending[turn.reply.id]

    # --- called by the recorder, on its thread --------------------------------------------------------

    def _deliver(self, batch: Sequence[Event], saved: bool) -> None:
        self._tell_saved(saved)
        while batch:
            reply_id = self._recording[0]
            end = next((i for i, event in enumerate(batch) if isinstance(event, Finished | Failed)), None)
            cut = len(batch) if end is None else end + 1
            self._put(notes.Happened(reply_id, tuple(batch[:cut])))
            if end is not None:
                self._recording.popleft()
            batch = batch[cut:]

    def _tell_saved(self, is_saved: bool) -> None:
        if is_saved != self._was_saved:
            self._was_saved = is_saved
            self._put(notes.Kept(is_saved))

    # --- the queue ------------------------------------------------------------------------------------

    def _put(self, note: notes.Note) -> None:
        with self._lock:
            was_empty = not self._queue
            self._queue.append(note)
        if was_empty:
            self._wake()

    def _watched(self, future: Future[T], *, is_setting: bool = False) -> Future[T]:
        def tell(done: Future[T]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, LlamaChatError):
                self._put(notes.NotKept(error, is_setting))
            elif error is not None:
                self._put(notes.NotKept(StoreError(f"Something could not be kept: {error}"), is_setting))

        future.add_done_callback(tell)
        return future
