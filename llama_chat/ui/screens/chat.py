"""The chat: hands keys and commands to the chat, and opens what stands beside or over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.widgets import Input, TextArea

from llama_chat.chat.commands import PREFIX
from llama_chat.chat.exporting import parse_export
from llama_chat.errors import LlamaChatError
from llama_chat.sanitize import sanitize
from llama_chat.ui.actions.attaching import AttachActions
from llama_chat.ui.actions.branches import BranchActions
from llama_chat.ui.actions.context import ContextActions
from llama_chat.ui.actions.copying import CopyActions
from llama_chat.ui.actions.letters import LetterActions
from llama_chat.ui.actions.looking import LookActions
from llama_chat.ui.actions.machine import MachineActions
from llama_chat.ui.actions.personas import PersonaActions
from llama_chat.ui.actions.prompting import PromptActions
from llama_chat.ui.actions.sampling import SamplingActions
from llama_chat.ui.actions.stepping import SteppingActions
from llama_chat.ui.actions.sweeping import SweepActions
from llama_chat.ui.actions.tokens import TokenActions
from llama_chat.ui.actions.transcript import TranscriptActions
from llama_chat.ui.actions.walking import WalkActions
from llama_chat.ui.rebinding import screen_bindings
from llama_chat.ui.screens import openers, session_openers
from llama_chat.ui.screens.chat_view import WIDE_CELLS as WIDE_CELLS
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.screens.editing import UNSENT
from llama_chat.ui.screens.sending import plan_command, why_not_now
from llama_chat.ui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from llama_chat.ui.widgets.session_list import SessionList

_log = logging.getLogger(__name__)

SECOND_PRESS_S = 2.0
"""Of Ctrl+C, which leaves then."""
SECOND_ESC_S = 3.0
ESC_AGAIN = "Esc again empties the prompt."
EMPTIED_BY_ESC = "The prompt is empty. Ctrl+_ brings the words back."
EMPTIED = f"{EMPTIED_BY_ESC} Ctrl+C again quits."


class ChatScreen(
    PromptActions,
    AttachActions,
    BranchActions,
    LetterActions,
    TranscriptActions,
    ContextActions,
    CopyActions,
    SamplingActions,
    PersonaActions,
    MachineActions,
    TokenActions,
    WalkActions,
    SteppingActions,
    SweepActions,
    LookActions,
    ChatViewScreen,
):
    """The one screen that is always there."""

    BINDINGS: ClassVar[list[BindingType]] = [*screen_bindings()]

    # --- what the user does -----------------------------------------------------------------------------

    async def take_key(self, event: events.Key) -> bool:
        """Take a key before Textual does, in the order of the keys; whether it was taken."""
        return self._take_early_key(event) if self.focused is None else await self.take_letter(event)

    def _take_early_key(self, event: events.Key) -> bool:
        """Give the prompt what was typed before it had the focus; whether the key was one for it."""
        if event.key == "backspace":  # a binding of the prompt's: it is not found by posting the key
            return self.prompt.call_later(self.prompt.action_delete_left)
        is_typing = event.is_printable or event.key in ("enter", "ctrl+j")
        return is_typing and self.prompt.post_message(events.Key(event.key, event.character))

    def on_key(self, event: events.Key) -> None:
        """A letter that means nothing where the keyboard is was meant for the prompt."""
        is_writing = isinstance(self.focused, Input | TextArea)
        if event.is_printable and not is_writing and not set(event.aliases) & self.active_bindings.keys():
            event.stop()
            event.prevent_default()
            self.write_into_prompt(event)

    def on_resize(self) -> None:
        """Take the keyboard back from what the smaller screen does not show."""
        self.call_after_refresh(self._leave_hidden)

    def _leave_hidden(self) -> None:
        if self.focused is not None and self.focused not in self.focus_chain:
            self.focus_home()

    @on(Prompt.Sent)
    def _send(self, event: Prompt.Sent) -> None:
        """Send the words, or run the command; what is refused comes back, and the line above says why."""
        self._hint_line.clear()
        try:
            run_command = plan_command(self, event.text)
        except Exception as error:
            if not isinstance(error, LlamaChatError):  # no typo may end the chat
                _log.exception("a command failed")
                error = LlamaChatError(f"That did not work: {error or type(error).__name__}.")
            self.hint(str(error), "warning")
            event.prompt.restore(event)
            if event.text.strip() != PREFIX:  # that is gone on with; all else is typed anew
                event.prompt.select_all()
            return
        must_wait = self.chat.is_replying and event.text.strip() and self.editing.message is None
        if run_command is not None:
            self.call_later(run_command)
        elif too_long := self.figures.why_too_long(event):
            event.prompt.restore(event)
            refused = event.prompt.text
            self.hint(too_long, "warning", seconds=12.0, holds=lambda: event.prompt.text == refused)
            return
        elif must_wait:
            self.chat.waiting.put(event.text)
        elif self._say(event.text):
            self.last_deleted = None
        else:
            event.prompt.restore(event)
            if self.chat.is_replying and event.text.strip():
                self._say_why_not_now()
            return
        self.emptied = ""
        self.history.said.add(event.text)

    def _say(self, text: str) -> bool:
        """Send the words, or have them stand in the place of those that are edited; whether it was done."""
        if self.editing.message is None:
            return self.chat.send(text)
        is_taken = self.chat.edit(self.editing.message.id, text)
        if is_taken:
            self.editing.end()
        return is_taken

    def _say_why_not_now(self) -> None:
        reason = why_not_now(self.chat.status)

        def holds() -> bool:
            return self.chat.is_replying and why_not_now(self.chat.status) == reason

        self.hint(reason, holds=holds)

    def on_session_list_opened(self, event: SessionList.Opened) -> None:
        """Go on with the session that was chosen in the list."""
        session_openers.open_session(self, event.info)

    def on_session_list_rename_wanted(self, event: SessionList.RenameWanted) -> None:
        """Ask for another name of the session."""
        session_openers.rename_session(self, event.info)

    def on_session_list_delete_wanted(self, event: SessionList.DeleteWanted) -> None:
        """Delete the session."""
        session_openers.delete_session(self, event.info)

    def action_stop(self) -> None:
        """Close the find bar or go back to a choice, else end step mode or stop; at last go to the prompt."""
        if self.leave_finding() or (not self.chat.is_replying and self.leave_looks()):
            return
        if self.come_back() or self.chat.stepping.leave():
            pass
        elif self.chat.is_replying:
            self.chat.stop()
        elif self.chat.switching.wanted is not None:
            self.chat.switching.stop()
        elif self.query("SamplingPanel.-sheet") and not self.is_wide:
            openers.close_sheet(self)
        elif self.editing.message is not None and self.prompt.has_focus:
            self._leave_editing()
        elif self.leave_cursor():
            pass
        elif self.prompt.has_focus and self.prompt.text:
            self._empty_at_second_press()
        else:
            self.focus_home()

    def _empty_at_second_press(self) -> None:
        if self._hint_line.text == self.keys.in_words(ESC_AGAIN):
            self.prompt.empty()
            self.hint(EMPTIED_BY_ESC)
        else:
            self.hint(ESC_AGAIN, seconds=SECOND_ESC_S)

    def _leave_editing(self) -> None:
        if self.editing.may_end():
            self.editing.end()
        else:
            self.hint(UNSENT)

    async def action_interrupt(self) -> None:
        """Copy the selection; else stop the reply, or empty the prompt; leave at the second press."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        else:
            is_typed = bool(self.prompt.text) and self.prompt.has_focus and not self.chat.is_replying
            if is_typed:
                self.emptied = self.prompt.full_text
                self.prompt.empty()
            elif self.chat.is_replying:
                self.chat.stop()
            await self.run_action("app.quit_on_second_press")
            if is_typed:
                self.hint(EMPTIED, seconds=SECOND_PRESS_S)

    def action_undo_step(self) -> None:
        """Bring back what was deleted just now; else take the path of before the last step."""
        if self.last_deleted is not None:
            session_openers.bring_back(self, self.last_deleted)
        else:
            self.chat.steps.undo()

    def action_redo_step(self) -> None:
        """Take the path again that was left by undoing."""
        self.chat.steps.redo()

    def action_new_chat(self) -> None:
        """Begin another chat."""
        self.chat.new()
        self.prompt.focus()

    def action_load_model(self) -> None:
        """Try again to load the model."""
        self.chat.load_again()

    def action_model(self, name: str = "") -> None:
        """Run another model, or choose one."""
        openers.choose_model(self, name)

    def action_sessions(self, words: str = "") -> None:
        """Show or hide the list of sessions; with words, those that hold them."""
        session_openers.toggle_sessions(self, words)

    def action_search(self, words: str = "") -> None:
        """Search in all sessions."""
        openers.open_search(self, words)

    def action_rename(self, title: str = "") -> None:
        """Give the open session another name."""
        session_openers.rename_current(self, title)

    def action_export(self, words: str = "") -> None:
        """Write the open session into a file."""
        openers.export(self, parse_export(words))

    def action_theme(self, name: str = "") -> None:
        """Take a theme, or choose one."""
        if name:
            openers.take_theme(self, name)
        else:
            openers.choose_theme(self)

    def action_settings(self) -> None:
        """All settings."""
        openers.open_settings(self)

    def action_palette(self) -> None:
        """Everything that can be done."""
        openers.open_palette(self)

    def action_key_help(self) -> None:
        """All keys."""
        openers.show_keys(self)

    # --- the start ----------------------------------------------------------------------------------------

    def start(self, notices: Sequence[str]) -> None:
        """What may happen only after the first paint."""
        self.bridge.start(is_loading=not self._setup.is_first_run)
        for text in (*self._setup.notices, *self.keys.notices, *notices):
            self.notice(sanitize(text), "warning")
        if self._setup.resume is not None or self._setup.continue_last:
            session_openers.open_first_session(self, self._setup.resume)
        if self._setup.is_first_run:
            openers.open_first_run(self, is_first=True)
