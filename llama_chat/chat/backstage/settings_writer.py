"""Writes settings, one after the other, on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.settings import SettingValue


class SettingsWriter(OwnThread):
    """Keeps what the user changes.

    Args:
        save: writes one setting: table, key, value.
    """

    def __init__(self, save: Callable[[str, str, SettingValue], None]) -> None:
        super().__init__("settings")
        self._save = save

    def save(self, table: str, key: str, value: SettingValue) -> Future[None]:
        """Write it after those before it; the future tells how that went."""
        return self.do(lambda: self._save(table, key, value))
