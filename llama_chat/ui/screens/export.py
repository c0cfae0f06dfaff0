"""`/export`: the open session into a file, written beside everything else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llama_chat.chat.exporting import ExportWish, export_session
from llama_chat.errors import LlamaChatError
from llama_chat.sessions import SessionStore
from llama_chat.ui.screens.session_openers import ask_store

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

T = TypeVar("T")

HINT_S = 12.0
"""A path is longer to read than a sentence."""


def export(screen: ChatViewScreen, wish: ExportWish) -> None:
    """Write the open session, and say where."""
    screen.run_worker(_export(screen, wish), group="export")


async def _export(screen: ChatViewScreen, wish: ExportWish) -> None:
    try:
        await ask_store(screen, _nothing)  # what was said before is kept by now
        session_id = screen.chat.saved.session_id
        if session_id is None:
            screen.hint("There is nothing to export yet: say something first.")
            return
        screen.hint("Writing the file…")
        path = await _in_thread(lambda: _written(screen.bridge.store, session_id, wish))
    except LlamaChatError as error:
        screen.hint(str(error), "error")
    else:
        screen.hint(f"Exported to {path}", seconds=HINT_S)


def _nothing() -> None:
    pass


def _written(store: SessionStore, session_id: str, wish: ExportWish) -> Path:
    return export_session(store, session_id, wish)


async def _in_thread(function: Callable[[], T]) -> T:
    """What the function gives, called on a daemon thread: a slow disk must not keep the program alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_value: Callable[..., None], value: object) -> None:
        if not future.cancelled():
            set_value(value)

    def work() -> None:
        try:
            result = function()
        except Exception as error:  # whatever it is, whoever waits hears of it
            loop.call_soon_threadsafe(settle, future.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, future.set_result, result)

    threading.Thread(target=work, name="export", daemon=True).start()
    return await future
