"""Writes settings on a thread of its own, so that a slow disk holds up neither the screen nor the store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from llama_chat.settings import SettingValue


class SettingsWriter:
    """A daemon thread, begun with the first setting: the process can end while the disk does not answer.

    Args:
        save: writes one setting: table, key, value.
    """

    def __init__(self, save: Callable[[str, str, SettingValue], None]) -> None:
        self._save = save
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="settings", daemon=True)

    def save(self, table: str, key: str, value: SettingValue) -> Future[None]:
        """Write it after those before it; the future tells how that went."""
        future: Future[None] = Future()

        def work() -> None:
            try:
                self._save(table, key, value)
            except Exception as error:  # told through the future; this thread goes on
                future.set_exception(error)
            else:
                future.set_result(None)

        self._jobs.put(work)
        if self._thread.ident is None:
            self._thread.start()
        return future

    def close(self, timeout_s: float) -> bool:
        """Write what is left; whether that was done in time."""
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
