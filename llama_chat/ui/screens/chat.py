"""The chat: puts the parts together, hands keys to the chat, and shows what the chat says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from llama_chat.conversation import Message
from llama_chat.errors import LlamaChatError
from llama_chat.sanitize import sanitize
from llama_chat.ui import notes
from llama_chat.ui.bridge import Bridge
from llama_chat.ui.chat import Chat
from llama_chat.ui.commands import PREFIX
from llama_chat.ui.keys import screen_bindings
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.sending import plan_command, why_not_now
from llama_chat.ui.setup import ChatSetup
from llama_chat.ui.view import NoticeKind
from llama_chat.ui.widgets.header import Header, model_line, name_and_type
from llama_chat.ui.widgets.hint_line import HINT_S, HintLine
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, MORE_SETTINGS, SamplingPanel
from llama_chat.ui.widgets.slider import Slider
from llama_chat.ui.widgets.status_bar import StatusBar
from llama_chat.ui.widgets.transcript import Transcript
from llama_chat.ui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from llama_chat.ui.screens.download import DownloadScreen
    from llama_chat.ui.widgets.session_panel import SessionPanel

WIDE_CELLS = 110
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
        self.chat = Chat(bridge, self, setup.settings.chat, name_and_type(setup.model_label)[0])
        if setup.resume is not None or setup.continue_last:
            self.chat.expect_session()
        self.prompt = Prompt(enter_sends=setup.settings.chat.enter_sends, id="prompt")
        self.transcript = Transcript(id="transcript")
        self._header = Header()
        self._welcome = Welcome()
        self._status_bar = StatusBar()
        self._hint_line = HintLine()
        self._download: DownloadScreen | None = None
        self._is_download_left = False

    def compose(self) -> ComposeResult:
        """Header, transcript, prompt, status; panels come when they are asked for."""
        yield self._header
        with Horizontal(id="body"):
            with Vertical(id="center"):
                yield self._welcome
                yield self.transcript
                with Vertical(id="prompt-row"):
                    yield self._hint_line
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
        self.transcript.show(messages, keep_notices=keep_notices)
        self._show_transcript(not self.transcript.is_empty)

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

    def notice(
        self, text: str, kind: NoticeKind = "info", *, about: str = "", before: str | None = None
    ) -> None:
        """A line of the program's own: at the end, or right above the message of that id."""
        self._show_transcript(True)
        self.transcript.add_notice(text, kind=kind, about=about, before=before)

    def drop_notices(self, about: str) -> None:
        """What was said about this is true no longer."""
        self.transcript.drop_notices(about)
        self._show_transcript(not self.transcript.is_empty)

    def hint(
        self,
        text: str,
        kind: NoticeKind = "info",
        *,
        seconds: float = HINT_S,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Say something in passing, above the prompt; it goes by itself, or when it `holds` no longer."""
        self._hint_line.say(text, kind, seconds=seconds, holds=holds)

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

    @property
    def unsent(self) -> str:
        """Words that were written and are not kept anywhere."""
        return (self.chat.unsent + self.prompt.full_text).strip()

    def session_changed(self) -> None:
        """Show it in the list, if there is one."""
        openers.refresh_sessions(self)

    def status_changed(self) -> None:
        """Show title, model and figures."""
        self._header.title_text = self.chat.title
        self._header.model_text = model_line(self.chat.info, self._setup.model_label)
        self._welcome.model = model_line(self.chat.info, self._setup.model_label, with_device=False)
        self._status_bar.status = self.chat.status
        self._hint_line.check()

    def drain(self) -> None:
        """Take in what happened on the other threads."""
        for note in self.bridge.drain():
            self.chat.take(note)

    # --- what the user does -----------------------------------------------------------------------------

    def take_early_key(self, event: events.Key) -> bool:
        """Give the prompt what was typed before it had the focus; whether the key was one for it."""
        if event.key == "backspace":  # a binding of the prompt's: it is not found by posting the key
            return self.prompt.call_later(self.prompt.action_delete_chip_left)
        is_typing = event.is_printable or event.key in ("enter", "ctrl+j")
        return is_typing and self.prompt.post_message(events.Key(event.key, event.character))

    @on(Prompt.Sent)
    def _send(self, event: Prompt.Sent) -> None:
        """Send the words, or run the command; what is refused comes back, and the line above says why."""
        self._hint_line.clear()
        try:
            run_command = plan_command(self, event.text)
        except LlamaChatError as error:
            self.hint(str(error), "warning")
            event.prompt.restore(event)
            if event.text.strip() != PREFIX:  # that is gone on with; all else is typed anew
                event.prompt.select_all()
            return
        if run_command is not None:
            self.call_later(run_command)
        elif self.chat.is_replying and event.text.strip():
            self._say_why_not_now()
            event.prompt.restore(event)
        elif not self.chat.send(event.text):
            event.prompt.restore(event)

    def _say_why_not_now(self) -> None:
        reason = why_not_now(self.chat.status)

        def holds() -> bool:
            return self.chat.is_replying and why_not_now(self.chat.status) == reason

        self.hint(reason, holds=holds)

    @on(SamplingPanel.Rested)
    def _save_sampling(self, event: SamplingPanel.Rested) -> None:
        self.bridge.save_setting("sampling", event.setting, event.value)

    @on(Slider.Refused)
    def _say_why_not(self, event: Slider.Refused) -> None:
        self.hint(event.why, "warning")

    @on(Transcript.BelowChanged)
    def _show_below(self, event: Transcript.BelowChanged) -> None:
        self.prompt.border_title = f"↓ {event.lines:,} more lines" if event.lines else None

    def on_session_panel_opened(self, event: SessionPanel.Opened) -> None:
        """Go on with the session that was chosen in the list."""
        openers.open_session(self, event.info)

    def action_stop(self) -> None:
        """Stop the reply; without one, go back to the prompt."""
        if self.chat.is_replying:
            self.chat.stop()
        elif self.query("SamplingPanel.-sheet") and not self.is_wide:
            openers.close_sheet(self)
        else:
            self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Copy the selection; else stop the reply, and leave at the second press."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self.hint("Copied.", seconds=2.0)
        else:
            if self.chat.is_replying:
                self.chat.stop()
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

    # --- the start ----------------------------------------------------------------------------------------

    def start(self, notices: Sequence[str]) -> None:
        """What may happen only after the first paint."""
        self.bridge.start()
        for text in (*self._setup.notices, *notices):
            self.notice(sanitize(text), "warning")
        if self._setup.resume is not None or self._setup.continue_last:
            openers.open_first_session(self, self._setup.resume)
