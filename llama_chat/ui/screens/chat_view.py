"""The parts of the chat's screen, and what the chat asks of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message as TextualMessage
from textual.screen import Screen

from llama_chat.chat.backstage import notes
from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.chat import Chat
from llama_chat.chat.picks.preset_shelf import PresetShelf
from llama_chat.chat.setup import ChatSetup
from llama_chat.chat.thoughts import ThoughtFigures
from llama_chat.chat.view import NoticeKind
from llama_chat.conversation import Message
from llama_chat.key_wishes import KeyWish
from llama_chat.settings import SettingValue
from llama_chat.ui.attention import Attention
from llama_chat.ui.compositor import FrugalCompositor
from llama_chat.ui.prompt_figures import PromptFigures
from llama_chat.ui.rebinding import laid_over, rebound
from llama_chat.ui.safe_app import SafeApp
from llama_chat.ui.screens import openers, session_openers
from llama_chat.ui.screens.editing import Editing
from llama_chat.ui.widgets.header import Header, model_line, name_and_type
from llama_chat.ui.widgets.hint_line import HINT_S, HintLine
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.ui.widgets.sampling_panel import SamplingPanel
from llama_chat.ui.widgets.status_bar import StatusBar
from llama_chat.ui.widgets.transcript import Transcript
from llama_chat.ui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from llama_chat.ui.first_run.screen import FirstRunScreen
    from llama_chat.ui.screens.download import DownloadScreen

WIDE_CELLS = 110
_WIDTHS = [(0, "-tiny"), (30, "-narrow"), (WIDE_CELLS, "-wide")]
_HEIGHTS = [(0, "-low"), (9, "-short"), (20, "-roomy")]


class ChatViewScreen(Screen[None]):
    """Shows the chat; `ChatScreen` adds the keys.

    Args:
        setup: what the program was started with.
        bridge: to the engine and the store.
    """

    class KeysChanged(TextualMessage):
        """The actions have other keys."""

    AUTO_FOCUS = "Prompt"
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    def __init__(self, setup: ChatSetup, bridge: Bridge) -> None:
        super().__init__()
        self._compositor = FrugalCompositor()
        self._setup = setup
        self.bridge = bridge
        self.chat = Chat(bridge, self, setup.settings.chat, name_and_type(setup.model_label)[0])
        if setup.resume is not None or setup.continue_last:
            self.chat.opening.expect()
        self.presets = PresetShelf(bridge, setup.settings.presets, setup.paths.settings_file)
        self.keys = rebound(setup.settings.keys)
        self.settings = setup.settings
        """As they are now: `setting_changes` changes them."""
        self.key_save: Future[None] | None = None
        """Of the key that was given last in the settings: the file may not have it yet."""
        self.values: dict[str, SettingValue] = {}
        """Settings that were changed since the start."""
        self._attention = Attention(self._write_to_terminal, lambda: self.app.app_focus, os.environ)
        self.prompt = Prompt(enter_sends=setup.settings.chat.enter_sends, id="prompt")
        self.prompt.take_keys(self.keys)
        self._own_bindings, self._bindings = self._bindings, laid_over(self._bindings, self.keys)
        self.transcript = Transcript(id="transcript")
        self.transcript.take_letters()
        self.transcript.offer = self.keys.in_words("F5 goes on.")
        self.editing = Editing(self.prompt)
        self.figures = PromptFigures(self.prompt, self.chat, bridge.worker.ask)
        self._shown = self.chat.conversation
        self.chosen_commands: Counter[str] = Counter()
        """How often each action was taken from the palette."""
        self.emptied = ""
        """What Ctrl+C took out of the prompt, until something else is sent."""
        self.last_deleted: session_openers.Deleted | None = None
        """What `undo` brings back, until something else is done."""
        self._header = Header()
        self._welcome = Welcome(self.keys.actions)
        self._status_bar = StatusBar(self.keys.actions)
        self._hint_line = HintLine()
        self._download: DownloadScreen | FirstRunScreen | None = None
        self._is_download_left = False

    def compose(self) -> ComposeResult:
        """Header, transcript, prompt, status; panels come when they are asked for."""
        self._take_size_classes()
        yield self._header
        with Horizontal(id="body"):
            with Vertical(id="center"):
                yield self._welcome
                yield self.transcript
                with Vertical(id="prompt-row"):
                    yield self._hint_line
                    yield self.prompt
            if self.app.size.width >= WIDE_CELLS:
                yield openers.new_panel(self)
        yield self._status_bar

    def _take_size_classes(self) -> None:
        """Textual gives them after the first layout only: all would be styled and painted twice, 25 ms."""
        width, height = self.app.size
        sizes = ((width, _WIDTHS), (height, _HEIGHTS))
        self.add_class(*([name for least, name in limits if cells >= least][-1] for cells, limits in sizes))

    def on_mount(self) -> None:
        """Show the empty chat."""
        self.show_path([])
        self.status_changed()
        self.apply_settings()

    def apply_settings(self) -> None:
        """Let the settings of the chat count as they are now."""
        chat = self.settings.chat
        self.chat.take_settings(chat)
        openers.show_panel_facts(self)
        self.prompt.enter_sends = chat.enter_sends
        self.transcript.folds_thoughts = chat.fold_thinking
        self._attention.kind = chat.notify
        if isinstance(self.app, SafeApp):
            self.app.reduce_motion(chat.reduced_motion)

    @property
    def are_keys_being_saved(self) -> bool:
        """Whether the settings file may have older keys than count here."""
        return self.key_save is not None and not self.key_save.done()

    def take_keys(self, wishes: tuple[KeyWish, ...]) -> None:
        """Let these keys count from now on, and name them wherever keys are named."""
        self.settings = replace(self.settings, keys=wishes)
        self.keys = rebound(wishes)
        self._bindings = laid_over(self._own_bindings, self.keys)
        self.prompt.take_keys(self.keys)
        self.transcript.take_offer(self.keys.in_words("F5 goes on."))
        self._welcome.take_actions(self.keys.actions)
        self._status_bar.take_actions(self.keys.actions)
        self.refresh_bindings()
        self.post_message(self.KeysChanged())

    def _write_to_terminal(self, sequence: str) -> None:
        if isinstance(self.app, SafeApp):
            self.app.write_to_terminal(sequence)

    @property
    def setup(self) -> ChatSetup:
        """What the program was started with."""
        return self._setup

    def chosen_message(self) -> Message | None:
        """The message under the cursor, as far as it is written; without a cursor the last of the path."""
        chosen = self.transcript.cursor_id or self.chat.conversation.leaf_id
        return self.chat.message_now(chosen) if chosen is not None else None

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
        if self.chat.conversation is not self._shown:
            self._shown = self.chat.conversation
            self.transcript.leave_cursor()
        self.transcript.show(messages, keep_notices=keep_notices)
        self.editing.check(self.chat.conversation)
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

    def set_thoughts(self, message_id: str, figures: tuple[ThoughtFigures | None, ...]) -> None:
        """How long each thought of a reply took."""
        self.transcript.set_thoughts(message_id, figures)

    def set_place(self, message_id: str, place: int, count: int) -> None:
        """Which of its siblings a message is."""
        self.transcript.set_place(message_id, place, count)

    def notice(
        self, text: str, kind: NoticeKind = "info", *, about: str = "", before: str | None = None
    ) -> None:
        """A line of the program's own: at the end, or right above the message of that id."""
        self._show_transcript(True)
        self.transcript.add_notice(self.keys.in_words(text), kind=kind, about=about, before=before)

    def drop_notices(self, about: str) -> None:
        """What was said about this is true no longer."""
        self.transcript.drop_notices(about)
        self._show_transcript(not self.transcript.is_empty)

    def go_to_message(self, message_id: str) -> None:
        """Scroll to the message and mark it."""
        self.transcript.go_to_message(message_id)

    def show_beginning(self, message_id: str) -> None:
        """Scroll no further than is needed to see where the message begins."""
        self.transcript.show_beginning(message_id)

    def shows_end(self) -> bool:
        """Whether the end of the chat is in sight."""
        return self.transcript.follows_end

    def sampling_changed(self) -> None:
        """Show the settings as they are now."""
        for panel in self.query(SamplingPanel):
            panel.show_current()

    def hint(
        self,
        text: str,
        kind: NoticeKind = "info",
        *,
        is_quiet: bool = False,
        seconds: float = HINT_S,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Say something in passing, above the prompt; it goes by itself, or when it `holds` no longer."""
        if not (is_quiet and self._hint_line.is_passing):
            self._hint_line.say(self.keys.in_words(text), kind, seconds=seconds, holds=holds)

    def focus_home(self) -> None:
        """Give the keyboard back to where the user goes on: the prompt, or what waits for him above it."""
        self.prompt.focus()

    def give_back(self, text: str) -> None:
        """Put the words into the prompt again."""
        self.prompt.take_back(text)

    def edit_again(self, message: Message, text: str) -> None:
        """Put the words into the prompt again, to take the place of the message."""
        self.editing.begin(message, text=text)

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
            card, self._download = self._download, None
            card.end()

    def download_left(self, wants_stop: bool | None) -> None:
        """The user left the download screen."""
        self._download = None
        if wants_stop:
            self._is_download_left = True
            self.bridge.worker.stop_loading()

    @property
    def unsent(self) -> str:
        """Words that were written and are not kept anywhere."""
        written = self.prompt.full_text or self.emptied
        return (self.chat.opening.unsent + self.chat.waiting.text + written).strip()

    def session_changed(self) -> None:
        """Show it in the list, if there is one, and the seed of its last reply."""
        openers.show_panel_facts(self)
        session_openers.refresh_sessions(self)

    def status_changed(self) -> None:
        """Show title, model and figures."""
        self._header.title_text = self.chat.title
        label = self.chat.switching.label or self._setup.model_label
        self._header.model_text = model_line(self.chat.info, label)
        self._welcome.model = model_line(self.chat.info, label, with_device=False)
        self._status_bar.status = self.chat.status
        self.figures.follow()
        self._hint_line.check()
        self._attention.follow(self.chat.status, self.chat.model_label)
        if isinstance(self.app, SafeApp):
            self.app.hold_cursor(self.chat.status.is_replying)

    def drain(self) -> None:
        """Take in what happened on the other threads."""
        for note in self.bridge.drain():
            self.chat.take(note)
