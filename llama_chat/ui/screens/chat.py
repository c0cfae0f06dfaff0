"""The chat: puts the parts together, hands keys to the chat, and shows what the chat says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from llama_chat.conversation import Message
from llama_chat.errors import LlamaChatError, StoreError
from llama_chat.sanitize import sanitize
from llama_chat.sessions import SessionInfo
from llama_chat.ui import notes
from llama_chat.ui.bridge import Bridge
from llama_chat.ui.chat import Chat
from llama_chat.ui.commands import Command, parse_command, parse_setting
from llama_chat.ui.keys import screen_bindings
from llama_chat.ui.screens import openers
from llama_chat.ui.setup import ChatSetup
from llama_chat.ui.view import NoticeKind
from llama_chat.ui.widgets.header import Header, model_line
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, MORE_SETTINGS, SamplingPanel
from llama_chat.ui.widgets.status_bar import StatusBar
from llama_chat.ui.widgets.transcript import Transcript
from llama_chat.ui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from llama_chat.ui.screens.download import DownloadScreen
    from llama_chat.ui.widgets.session_panel import SessionPanel

T = TypeVar("T")

WIDE_CELLS = 110
STORE_PATIENCE_S = 3.0
_WIDTHS = [(0, "-tiny"), (30, "-narrow"), (WIDE_CELLS, "-wide")]
_HEIGHTS = [(0, "-low"), (9, "-short"), (20, "-roomy")]


class ChatScreen(Screen[None]):
    """The one screen that is always there.

    Args:
        setup: what the program was started with.
        bridge: to the engine and the store.
    """

    AUTO_FOCUS = "Prompt"
    BINDINGS: ClassVar[list[BindingType]] = [*screen_bindings()]
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    def __init__(self, setup: ChatSetup, bridge: Bridge) -> None:
        super().__init__()
        self._setup = setup
        self.bridge = bridge
        self.chat = Chat(bridge, self, setup.settings.chat, setup.model_label)
        self.prompt = Prompt(enter_sends=setup.settings.chat.enter_sends, id="prompt")
        self.transcript = Transcript(id="transcript")
        self._header = Header()
        self._welcome = Welcome()
        self._status_bar = StatusBar()
        self._download: DownloadScreen | None = None
        self._is_download_left = False
        self._notices: list[tuple[str, NoticeKind]] = []

    def compose(self) -> ComposeResult:
        """Header, transcript, prompt, status; panels come when they are asked for."""
        yield self._header
        with Horizontal(id="body"):
            with Vertical(id="center"):
                yield self._welcome
                yield self.transcript
                with Horizontal(id="prompt-row"):
                    yield self.prompt
            if self.app.size.width >= WIDE_CELLS:
                yield SamplingPanel(self.bridge.sampling, MAIN_SETTINGS + MORE_SETTINGS)
        yield self._status_bar

    def on_mount(self) -> None:
        """Show the empty chat."""
        self.show_path([])
        self.status_changed()

    @property
    def is_wide(self) -> bool:
        """Whether panels stand beside the transcript."""
        return self.size.width >= WIDE_CELLS

    # --- the view of the chat ---------------------------------------------------------------------------

    def _show_transcript(self, is_shown: bool) -> None:
        self._welcome.display = not is_shown
        self.transcript.display = is_shown

    def show_path(self, messages: Sequence[Message], *, keep_notices: bool = False) -> None:
        """Show these messages instead of all others; notices stay, below them, where that is wanted."""
        notices, self._notices = self._notices if keep_notices else [], []
        self.transcript.show(messages)
        self._show_transcript(bool(messages))
        for text, kind in notices:
            self.notice(text, kind)

    def add_message(self, message: Message) -> None:
        """Show one more."""
        self._show_transcript(True)
        self.transcript.add(message)

    def append_text(self, message_id: str, text: str) -> None:
        """The reply goes on."""
        self.transcript.append_text(message_id, text)

    def replace_message(self, message: Message) -> None:
        """The reply is over."""
        self.transcript.replace(message)

    def set_head(self, message_id: str, text: str) -> None:
        """What stands beside the name of the speaker."""
        self.transcript.set_head(message_id, text)

    def set_place(self, message_id: str, place: int, count: int) -> None:
        """Which of its siblings a message is."""
        self.transcript.set_place(message_id, place, count)

    def notice(self, text: str, kind: NoticeKind = "info") -> None:
        """A line of the program's own."""
        self._show_transcript(True)
        self._notices.append((text, kind))
        self.transcript.add_notice(text, kind=kind)

    def give_back(self, text: str) -> None:
        """Put the words into the prompt again."""
        self.prompt.take_back(text)

    def pulling(self, note: notes.Pulling) -> None:
        """Show how far the download is, unless the user has left it."""
        if self._is_download_left:
            return
        if self._download is None:
            self._download = openers.open_download(self)
        self._download.show(note.progress)

    def pull_ended(self) -> None:
        """Take the download screen away."""
        self._is_download_left = False
        if self._download is not None:
            screen, self._download = self._download, None
            if screen.is_current:
                screen.dismiss(None)

    def download_left(self, wants_stop: bool | None) -> None:
        """The user left the download screen."""
        self._download = None
        if wants_stop:
            self._is_download_left = True
            self.bridge.worker.stop_loading()

    def session_changed(self) -> None:
        """Show it in the list, if there is one."""
        openers.refresh_sessions(self)

    def status_changed(self) -> None:
        """Show title, model and figures."""
        self._header.title_text = self.chat.title
        self._header.model_text = model_line(self.chat.info, self.chat.model_label)
        self._welcome.model = self.chat.model_label
        self._status_bar.status = self.chat.status

    def drain(self) -> None:
        """Take in what happened on the other threads."""
        for note in self.bridge.drain():
            self.chat.take(note)

    # --- what the user does -----------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Give the prompt what was typed before it had the focus, while the program started.

        The prompt lets none of these keys through, so they did not come from there.
        """
        if self.focused in (None, self.prompt) and (
            event.is_printable or event.key in ("enter", "backspace")
        ):
            self.prompt.post_message(events.Key(event.key, event.character))

    @on(Prompt.Sent)
    def _send(self, event: Prompt.Sent) -> None:
        try:
            command = parse_command(event.text)
        except LlamaChatError as error:
            self.notice(sanitize(str(error)), "warning")
            return
        if command is not None:
            event.prompt.clear_all()
            self.call_later(self._run_command, command)
        elif self.chat.is_replying:
            self.app.notify("A reply is being written. Esc stops it, then Enter sends.", markup=False)
        elif self.chat.send(event.text):
            event.prompt.clear_all()

    async def _run_command(self, command: Command) -> None:
        if command.action == "sampling" and command.rest:
            self._set(command.rest)
        elif command.action == "theme" and command.rest:
            openers.take_theme(self, command.rest)
        elif command.action == "quit":
            await self.app.run_action("quit")
        else:
            await self.run_action(command.action)

    def _set(self, words: str) -> None:
        try:
            setting, value = parse_setting(words)
        except LlamaChatError as error:
            self.notice(str(error), "warning")
            return
        self.bridge.sampling.change(**{setting: value})
        self.bridge.save_setting("sampling", setting, value)
        for panel in self.query(SamplingPanel):
            panel.show_current()
        self.app.notify(f"{setting} = {value}", markup=False)

    @on(SamplingPanel.Rested)
    def _save_sampling(self, event: SamplingPanel.Rested) -> None:
        self.bridge.save_setting("sampling", event.setting, event.value)

    @on(Transcript.BelowChanged)
    def _show_below(self, event: Transcript.BelowChanged) -> None:
        self.prompt.border_title = f"↓ {event.lines:,} more lines" if event.lines else None

    def on_session_panel_opened(self, event: SessionPanel.Opened) -> None:
        """Go on with the session that was chosen in the list."""
        self.open_session(event.info)

    def action_stop(self) -> None:
        """Stop the reply; without one, go back to the prompt."""
        if self.chat.is_replying:
            self.chat.stop()
        elif self.query("SamplingPanel.-sheet") and not self.is_wide:
            openers.close_sheet(self)
        else:
            self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Copy the selection, else stop the reply, else ask whether to leave."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self.app.notify("Copied.", timeout=1.5, markup=False)
        elif self.chat.is_replying:
            self.chat.stop()
        else:
            await self.run_action("app.quit_on_second_press")

    def action_regenerate(self) -> None:
        """Answer again."""
        self.chat.regenerate()

    def action_sibling(self, step: int) -> None:
        """Show another reply to the same words."""
        self.chat.show_sibling(step)

    def action_new_chat(self) -> None:
        """Begin another chat."""
        self.chat.new()
        self.prompt.focus()

    def action_load_model(self) -> None:
        """Try again to load the model."""
        self.chat.load_again()

    def action_system_prompt(self) -> None:
        """Edit the system prompt."""
        openers.edit_system_prompt(self)

    def action_sampling(self) -> None:
        """Show or hide the sliders."""
        openers.toggle_sampling(self)

    def action_sessions(self) -> None:
        """Show or hide the list of sessions."""
        openers.toggle_sessions(self)

    def action_theme(self) -> None:
        """Choose a theme."""
        openers.choose_theme(self)

    def action_palette(self) -> None:
        """Everything that can be done."""
        openers.open_palette(self)

    def action_key_help(self) -> None:
        """All keys."""
        openers.show_keys(self)

    # --- sessions -----------------------------------------------------------------------------------------

    def open_session(self, info: SessionInfo) -> None:
        """Go on with a session, read after the reply that runs was kept; the open one shows its end."""
        if info.id == self.chat.saved.session_id:
            self.transcript.scroll_end(animate=False)
            self.prompt.focus()
        else:
            self.chat.when_idle(lambda: self._begin_to_read(info))

    def _begin_to_read(self, info: SessionInfo) -> None:
        self.run_worker(self.read_session(info), group="open", exclusive=True)

    async def ask_store(self, function: Callable[..., T], *args: object) -> T:
        """What the store answers.

        Raises:
            StoreError: it cannot, or it is busy for too long.
        """
        future = asyncio.wrap_future(self.bridge.call(function, *args))
        try:
            return await asyncio.wait_for(asyncio.shield(future), STORE_PATIENCE_S)
        except TimeoutError:
            raise StoreError("The store of the sessions does not answer.", hint="Try again later.") from None

    async def read_session(self, info: SessionInfo) -> None:
        """Go on with it, or say why not."""
        try:
            conversation = await self.ask_store(self.bridge.store.load, info.id)
        except LlamaChatError as error:
            self.notice(str(error), "error")
        else:
            self.chat.open(info, conversation)
            self.prompt.focus()

    def start(self, notices: Sequence[str]) -> None:
        """What may happen only after the first paint."""
        self.bridge.start()
        for text in (*self._setup.notices, *notices):
            self.notice(sanitize(text), "warning")
        if self._setup.resume is not None or self._setup.continue_last:
            self.run_worker(
                openers.open_first_session(self, self._setup.resume), group="open", exclusive=True
            )
