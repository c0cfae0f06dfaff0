"""Sessions as the chat's screen opens, lists, renames and deletes them; the store works on its own thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from llama_chat.chat import notices
from llama_chat.chat.opening import read_session
from llama_chat.conversation import short_id
from llama_chat.errors import LlamaChatError, StoreError
from llama_chat.sanitize import one_line
from llama_chat.sessions import SessionInfo
from llama_chat.ui.widgets.filter_list import SHOWN, FilterList

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen
    from llama_chat.ui.widgets.session_list import SessionList

T = TypeVar("T")

STORE_PATIENCE_S = 3.0
TITLE_CELLS = 40
"""So much of a title names a session in a hint."""


async def ask_store(screen: ChatViewScreen, function: Callable[..., T], *args: object) -> T:
    """What comes of a change of the store.

    Raises:
        StoreError: it cannot be made, or the store is busy for too long.
    """
    return await _answer(screen.bridge.call(function, *args))


async def read_store(screen: ChatViewScreen, function: Callable[..., T], *args: object) -> T:
    """What is read from the store, while what is said goes on being kept.

    Raises:
        StoreError: it cannot be read, or the store is busy for too long.
    """
    return await _answer(screen.bridge.read(function, *args))


async def _answer(promised: Future[T]) -> T:
    try:
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(promised)), STORE_PATIENCE_S)
    except TimeoutError:
        raise StoreError("The store of the sessions does not answer.", hint="Try again later.") from None


# --- opening ------------------------------------------------------------------------------------------


def open_first_session(screen: ChatViewScreen, resume: str | None) -> None:
    """Go on with what the command line asked for: the session whose id begins so, or the last one.

    The screen has expected it since it was made: words may wait for it already.
    """
    screen.run_worker(_open_first_session(screen, resume), group="open", exclusive=True)


async def _open_first_session(screen: ChatViewScreen, resume: str | None) -> None:
    store = screen.bridge.store
    try:
        if resume is not None:
            info: SessionInfo | None = await read_store(screen, store.find, resume)
        else:
            info = await read_store(screen, store.last)
    except LlamaChatError as error:
        screen.chat.opening.fail(error)
        return
    if info is None:
        screen.notice("There is no session to go on with yet: this is a new chat.")
        screen.chat.opening.open_none()
    else:
        await _read_session(screen, info, None)


def open_session(screen: ChatViewScreen, info: SessionInfo, message_id: str | None = None) -> None:
    """Go on with a session, read after the reply that runs was kept; the open one shows its end.

    Args:
        screen: the chat's.
        info: the session.
        message_id: of a message to be shown, on the branch that holds it.
    """

    def read() -> None:
        screen.chat.opening.expect()
        screen.run_worker(_read_session(screen, info, message_id), group="open", exclusive=True)

    if info.id != screen.chat.saved.session_id:
        screen.chat.when_idle(read, told=notices.STOPPED)
        return
    if message_id is not None:
        screen.chat.steps.show_message(message_id)
    else:
        screen.transcript.scroll_end(animate=False)
    screen.focus_home()


async def _read_session(screen: ChatViewScreen, info: SessionInfo, message_id: str | None) -> None:
    try:
        opened = await read_store(screen, read_session, screen.bridge.store, info)
    except LlamaChatError as error:
        screen.chat.opening.fail(error)
    else:
        screen.chat.opening.open(opened, message_id)
        screen.prompt.focus()


# --- the list -----------------------------------------------------------------------------------------


def toggle_sessions(screen: ChatViewScreen, words: str = "") -> None:
    """A list at the left where the screen is wide; a card where it is not. Words are looked for in it."""
    from llama_chat.ui.widgets.session_panel import SessionPanel

    panel = next(iter(screen.query(SessionPanel)), None)
    if screen.is_wide and panel is not None:
        if words:
            panel.focus_input(words)
        elif panel.query("Input:focus"):
            panel.remove()
            screen.focus_home()
        else:
            panel.focus_input()
    else:
        screen.run_worker(_open_sessions(screen, words), group="sessions", exclusive=True)


async def _open_sessions(screen: ChatViewScreen, words: str) -> None:
    try:
        sessions = await read_store(screen, screen.bridge.store.list, SHOWN)
    except LlamaChatError as error:
        screen.hint(str(error), "error")
        return
    current_id = screen.chat.saved.session_id
    if screen.is_wide:
        from llama_chat.ui.widgets.session_panel import SessionPanel

        panel = SessionPanel(sessions, current_id)
        await screen.query_one("#body").mount(panel, before=0)
        panel.focus_input(words)
    else:
        from llama_chat.ui.screens.session_card import SessionCard

        card = SessionCard(screen, sessions, current_id)
        await screen.app.push_screen(card)
        if words:
            card.query_one("SessionList", FilterList).type(words)
    if len(sessions) == SHOWN:  # the others come when these are seen: to read 10,000 takes 0.1 s (2026-11)
        screen.call_after_refresh(refresh_sessions, screen)


def refresh_sessions(screen: ChatViewScreen) -> None:
    """Show the list as it is now, if it is there."""
    if _lists(screen):
        screen.run_worker(_refresh_sessions(screen), group="sessions", exclusive=True)


async def _refresh_sessions(screen: ChatViewScreen) -> None:
    with contextlib.suppress(StoreError):  # the list stays as it was
        sessions = await read_store(screen, screen.bridge.store.list)
        for shown in _lists(screen):
            shown.show_sessions(sessions, screen.chat.saved.session_id)


def _lists(screen: ChatViewScreen) -> list[SessionList]:
    """The lists of sessions that are open: beside the transcript, or over it."""
    from llama_chat.ui.widgets.session_list import SessionList

    return [found for part in screen.app.screen_stack for found in part.query(SessionList)]


# --- names --------------------------------------------------------------------------------------------


def rename_current(screen: ChatViewScreen, title: str) -> None:
    """Give the open session this name; ask for one where none is given."""
    if title:
        screen.chat.rename(title)
        screen.hint(f"This session is called “{_short(title)}” now.")
        screen.call_later(refresh_sessions, screen)
    else:
        _ask_name(screen, screen.chat.title, lambda name: rename_current(screen, name))


def rename_session(screen: ChatViewScreen, info: SessionInfo) -> None:
    """Ask for another name of a session in the list."""

    def take(title: str) -> None:
        if info.id == screen.chat.saved.session_id:
            rename_current(screen, title)
        else:
            screen.run_worker(_change(screen, screen.bridge.store.rename, info.id, title))

    _ask_name(screen, info.title, take)


def _ask_name(screen: ChatViewScreen, title: str, take: Callable[[str], None]) -> None:
    from llama_chat.ui.screens.rename import RenameScreen

    def taken(name: str | None) -> None:
        if name is not None and name != title:
            take(name)

    screen.app.push_screen(RenameScreen(title), taken)


async def _change(screen: ChatViewScreen, function: Callable[..., None], *args: object) -> bool:
    """Whether the store did it; the line above the prompt says why not."""
    try:
        await ask_store(screen, function, *args)
    except LlamaChatError as error:
        screen.hint(str(error), "error")
        return False
    refresh_sessions(screen)
    return True


# --- deleting -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deleted:
    """A session that was deleted a moment ago."""

    info: SessionInfo
    was_open: bool


def delete_session(screen: ChatViewScreen, info: SessionInfo) -> None:
    """Delete a session, so that it can be brought back; after the open one, a new chat begins."""
    if info.id != screen.chat.saved.session_id:
        screen.run_worker(_delete(screen, Deleted(info, was_open=False)))
        return

    def leave_and_delete() -> None:
        screen.chat.new()
        screen.run_worker(_delete(screen, Deleted(info, was_open=True)))

    screen.chat.when_idle(leave_and_delete)


async def _delete(screen: ChatViewScreen, deleted: Deleted) -> None:
    info = deleted.info
    if await _change(screen, screen.bridge.store.delete, info.id):
        screen.last_deleted = deleted
        later = f"Later, llama-chat sessions undelete {short_id(info.id)} does, for 30 days."
        screen.hint(f"“{_short(info.title)}” is deleted. Alt+Z brings it back. {later}")


def bring_back(screen: ChatViewScreen, deleted: Deleted) -> None:
    """Undo the deletion."""
    screen.last_deleted = None
    screen.run_worker(_bring_back(screen, deleted))


async def _bring_back(screen: ChatViewScreen, deleted: Deleted) -> None:
    if await _change(screen, screen.bridge.store.undelete, deleted.info.id):
        screen.hint(f"“{_short(deleted.info.title)}” is back.")
        if deleted.was_open and not screen.chat.has_words:
            open_session(screen, deleted.info)


def _short(title: str) -> str:
    from llama_chat.ui.widgets.fitting import cut

    return cut(one_line(title), TITLE_CELLS)
