"""The personas of the user's folder as they are now: read anew, and written on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, TypeVar

from llama_chat.personas import (
    LoadedPersonas,
    Persona,
    delete_persona,
    load_personas,
    own_path,
    save_persona,
)

T = TypeVar("T")


class AskDisk(Protocol):
    """Runs a function that writes or reads files, on another thread; `Bridge.ask_disk` is one."""

    def __call__(self, function: Callable[[], T]) -> Future[T]:
        """What the function returns or raises."""


class PersonaShelf:
    """Ours and the user's.

    Args:
        folder: of the user's.
        ask_disk: runs what reads and writes them.
    """

    def __init__(self, folder: Path, ask_disk: AskDisk) -> None:
        self.folder = folder
        self._ask_disk = ask_disk

    async def load(self) -> LoadedPersonas:
        """All there are, after what was written before."""
        return await asyncio.wrap_future(self._ask_disk(lambda: load_personas(self.folder)))

    async def save_as(self, title: str, text: str) -> Persona:
        """Keep the text under this title.

        Raises:
            UsageError: it cannot be called so.
            SettingsError: it cannot be written.
        """
        path = own_path(self.folder, title)
        return await asyncio.wrap_future(self._ask_disk(lambda: save_persona(path, title, text)))

    async def save(self, persona: Persona, text: str) -> Persona:
        """Give the persona another text; of one of ours the user gets a copy.

        Raises:
            SettingsError: it cannot be written.
        """
        path = persona.path or own_path(self.folder, persona.name)
        return await asyncio.wrap_future(self._ask_disk(lambda: save_persona(path, persona.title, text)))

    async def delete(self, persona: Persona) -> None:
        """Take the user's file away.

        Raises:
            SettingsError: that cannot be done.
        """
        await asyncio.wrap_future(self._ask_disk(lambda: delete_persona(persona)))
