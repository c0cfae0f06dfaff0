"""What the chat screen opens beside or over itself; each part is imported when it is first wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from textual.content import Content

from llama_chat.errors import LlamaChatError, StoreError
from llama_chat.sanitize import sanitize
from llama_chat.sessions import SessionInfo
from llama_chat.ui import notices
from llama_chat.ui.keys import KEY_ACTIONS, KeyAction, key_name
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, MORE_SETTINGS, SamplingPanel

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat import ChatScreen
    from llama_chat.ui.screens.download import DownloadScreen
    from llama_chat.ui.widgets.filter_list import Item

T = TypeVar("T")

STORE_PATIENCE_S = 3.0
PALETTE_HELP_CELLS = 60
"""A narrower screen has no room for what a command does, beside its name and its key."""


# --- sliders ------------------------------------------------------------------------------------------


def toggle_sampling(screen: ChatScreen) -> None:
    """Beside the transcript where the screen is wide; as a sheet above the prompt where it is not."""
    if screen.is_wide:
        _toggle_panel(screen)
    elif screen.query("SamplingPanel.-sheet"):
        close_sheet(screen)
    else:
        sheet = SamplingPanel(screen.bridge.sampling, MAIN_SETTINGS + MORE_SETTINGS, compact=True)
        screen.query_one("#center").mount(sheet, before="#prompt-row")
        screen.call_after_refresh(sheet.focus_first)


def _toggle_panel(screen: ChatScreen) -> None:
    panels = screen.query("#body > SamplingPanel").results(SamplingPanel)
    if (panel := next(iter(panels), None)) is None:
        panel = SamplingPanel(screen.bridge.sampling, MAIN_SETTINGS + MORE_SETTINGS)
        screen.query_one("#body").mount(panel)
        screen.call_after_refresh(panel.focus_first)
    elif panel.query("Slider:focus"):
        panel.display = False
        screen.prompt.focus()
    elif panel.display:
        panel.focus_first()
    else:
        panel.display = True
        panel.show_current()
        panel.focus_first()


def close_sheet(screen: ChatScreen) -> None:
    """Put the sheet of sliders away."""
    for sheet in screen.query("SamplingPanel.-sheet").results(SamplingPanel):
        sheet.save_now()
        screen.call_after_refresh(sheet.remove)
    screen.prompt.focus()


# --- sessions -----------------------------------------------------------------------------------------


async def ask_store(screen: ChatScreen, function: Callable[..., T], *args: object) -> T:
    """What the store answers.

    Raises:
        StoreError: it cannot, or it is busy for too long.
    """
    future = asyncio.wrap_future(screen.bridge.call(function, *args))
    try:
        return await asyncio.wait_for(asyncio.shield(future), STORE_PATIENCE_S)
    except TimeoutError:
        raise StoreError("The store of the sessions does not answer.", hint="Try again later.") from None


def open_first_session(screen: ChatScreen, resume: str | None) -> None:
    """Go on with what the command line asked for: the session whose id begins so, or the last one."""
    screen.chat.expect_session()
    screen.run_worker(_open_first_session(screen, resume), group="open", exclusive=True)


async def _open_first_session(screen: ChatScreen, resume: str | None) -> None:
    store = screen.bridge.store
    try:
        if resume is not None:
            info: SessionInfo | None = await ask_store(screen, store.find, resume)
        else:
            info = await ask_store(screen, store.last)
    except LlamaChatError as error:
        screen.chat.cannot_open(error)
        return
    if info is None:
        screen.notice("There is no session to go on with yet: this is a new chat.")
        screen.chat.open_none()
    else:
        await _read_session(screen, info)


def open_session(screen: ChatScreen, info: SessionInfo) -> None:
    """Go on with a session, read after the reply that runs was kept; the open one shows its end."""

    def read() -> None:
        screen.chat.expect_session()
        screen.run_worker(_read_session(screen, info), group="open", exclusive=True)

    if info.id == screen.chat.saved.session_id:
        screen.transcript.scroll_end(animate=False)
        screen.prompt.focus()
    else:
        screen.chat.when_idle(read, told=notices.STOPPED)


async def _read_session(screen: ChatScreen, info: SessionInfo) -> None:
    try:
        conversation = await ask_store(screen, screen.bridge.store.load, info.id)
    except LlamaChatError as error:
        screen.chat.cannot_open(error)
    else:
        screen.chat.open(info, conversation)
        screen.prompt.focus()


def toggle_sessions(screen: ChatScreen) -> None:
    """A list at the left where the screen is wide; a card where it is not."""
    from llama_chat.ui.widgets.session_panel import SessionPanel

    panel = next(iter(screen.query(SessionPanel)), None)
    if screen.is_wide and panel is not None:
        if panel.query("Input:focus"):
            panel.remove()
            screen.prompt.focus()
        else:
            panel.focus_input()
    else:
        screen.run_worker(_open_sessions(screen), group="sessions", exclusive=True)


async def _open_sessions(screen: ChatScreen) -> None:
    try:
        sessions = await ask_store(screen, screen.bridge.store.list)
    except LlamaChatError as error:
        screen.hint(str(error), "error")
        return
    current_id = screen.chat.saved.session_id
    if screen.is_wide:
        from llama_chat.ui.widgets.session_panel import SessionPanel

        panel = SessionPanel(sessions, current_id)
        await screen.query_one("#body").mount(panel, before=0)
        panel.focus_input()
    else:
        _pick_session(screen, sessions, current_id)


def refresh_sessions(screen: ChatScreen) -> None:
    """Show the list at the left as it is now, if it is there."""
    if screen.query("SessionPanel"):
        screen.run_worker(_refresh_sessions(screen), group="sessions", exclusive=True)


async def _refresh_sessions(screen: ChatScreen) -> None:
    from llama_chat.ui.widgets.session_panel import SessionPanel

    with contextlib.suppress(StoreError):  # the list stays as it was
        sessions = await ask_store(screen, screen.bridge.store.list)
        for panel in screen.query(SessionPanel):
            panel.show_sessions(sessions, screen.chat.saved.session_id)


def _pick_session(screen: ChatScreen, sessions: list[SessionInfo], current_id: str | None) -> None:
    from llama_chat.ui.screens.pick import PickScreen
    from llama_chat.ui.widgets.session_list import session_items

    def take(session_id: str | None) -> None:
        if session_id is not None:
            open_session(screen, next(info for info in sessions if info.id == session_id))

    items = session_items(sessions, current_id, date.today())
    card = PickScreen("Sessions", items, marked=current_id, empty="No sessions yet: say something first.")
    screen.app.push_screen(card, take)


# --- cards --------------------------------------------------------------------------------------------


def open_palette(screen: ChatScreen) -> None:
    """Everything that can be done, to be found by typing."""
    from llama_chat.ui.screens.pick import PickScreen

    def run(action: str | None) -> None:
        if action is not None:
            namespace = "app" if action == "quit" else "screen"
            screen.call_later(screen.run_action, f"{namespace}.{action}")

    has_room = screen.size.width >= PALETTE_HELP_CELLS
    items = [_palette_item(action, has_room) for action in KEY_ACTIONS if action.palette]
    screen.app.push_screen(PickScreen("Commands", items), run)


def _palette_item(action: KeyAction, has_room: bool) -> Item:
    from llama_chat.ui.widgets.filter_list import Item

    keys = key_name(action.keys[0]) if action.keys else action.command
    help_text = action.help if has_room else ""
    content = Content.assemble(
        (action.label.ljust(15), "bold"), (keys.ljust(11), "$primary"), (help_text, "$foreground 50%")
    )
    search = f"{action.label} {action.command}"
    return Item(action.action, content, search, name=action.label, details=action.help)


def take_theme(screen: ChatScreen, name: str) -> None:
    """Take the theme of that name, and keep it for the next start."""
    if name not in screen.app.available_themes:
        screen.notice(sanitize(f"There is no theme {name}. F9 shows what there is."), "warning")
        return
    screen.app.theme = name
    screen.bridge.save_setting("chat", "theme", name)


def choose_theme(screen: ChatScreen) -> None:
    """The themes; the screen shows the one under the cursor at once, Esc puts the old one back."""
    from llama_chat.ui.screens.pick import PickScreen
    from llama_chat.ui.screens.theme_items import theme_items

    app = screen.app
    before = app.theme

    def preview(name: str) -> None:
        app.theme = name

    def take(name: str | None) -> None:
        app.theme = name or before
        if name is not None:
            screen.bridge.save_setting("chat", "theme", name)

    items = theme_items(app)
    card = PickScreen("Themes", items, marked=before, preview=preview, hint="↑ ↓ preview · Enter · Esc back")
    app.push_screen(card, take)


def edit_system_prompt(screen: ChatScreen) -> None:
    """The system prompt in a card."""
    from llama_chat.ui.screens.system_prompt import SystemPromptScreen

    def take(text: str | None) -> None:
        if text is not None:
            screen.chat.set_system(text)

    screen.app.push_screen(SystemPromptScreen(screen.chat.conversation.system), take)


def show_keys(screen: ChatScreen) -> None:
    """All keys."""
    from llama_chat.ui.screens.key_help import KeyHelpScreen

    screen.app.push_screen(KeyHelpScreen())


def open_download(screen: ChatScreen) -> DownloadScreen:
    """The card with the progress of the download."""
    from llama_chat.ui.screens.download import DownloadScreen

    card = DownloadScreen(screen.chat.model_label)
    screen.app.push_screen(card, screen.download_left)
    return card
