"""The hands at the prompt: completion, what was said before, the user's editor, words that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.widgets import TextArea

from llama_chat.chat import notices
from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.setup import ChatSetup
from llama_chat.errors import LlamaChatError
from llama_chat.sanitize import one_line
from llama_chat.ui.completer import Completer
from llama_chat.ui.history_walk import HistoryWalk
from llama_chat.ui.screens import session_openers
from llama_chat.ui.screens.chat_view import ChatViewScreen

if TYPE_CHECKING:
    from llama_chat.ui.widgets.completion_list import CompletionList
    from llama_chat.ui.widgets.waiting_line import WaitingLine


class PromptActions(ChatViewScreen):
    """What helps to write, and what becomes of words that cannot be sent yet.

    Args:
        setup: what the program was started with.
        bridge: to the engine and the store.
    """

    def __init__(self, setup: ChatSetup, bridge: Bridge) -> None:
        super().__init__(setup, bridge)
        self.completer = Completer(self)
        self.history = HistoryWalk(self, self.completer.pass_over)
        self.prompt.key_takers += [self.completer.take_key, self.history.take_key]
        self._waiting_line: WaitingLine | None = None
        self._waiting_words = ""

    # --- completion ---------------------------------------------------------------------------------------

    @on(TextArea.Changed, "#prompt")
    @on(TextArea.SelectionChanged, "#prompt")
    def _complete(self) -> None:
        self.completer.follow()

    def on_completion_list_taken(self, event: CompletionList.Taken) -> None:
        """A row of the list was clicked."""
        self.completer.take(event.place, is_final=True)

    # --- what was said ------------------------------------------------------------------------------------

    def action_history(self, words: str = "") -> None:
        """Choose from all that was said before."""
        self.run_worker(self._choose_said(words), group="said", exclusive=True)

    async def _choose_said(self, words: str) -> None:
        from llama_chat.ui.screens.said import choose_said

        said = await self.history.read()
        choose_said(self, said, words, lambda text: self.history.show(said, text))

    # --- the editor ---------------------------------------------------------------------------------------

    def action_editor(self) -> None:
        """Write the prompt in the user's own editor; nothing is sent by that."""
        from llama_chat.ui.external import edit_outside

        before = self.prompt.full_text
        try:
            text = edit_outside(self.app, before)
        except LlamaChatError as error:
            self.hint(str(error), "warning")
        else:
            if text != before:
                self.prompt.clear_all()
                self.prompt.take_back(text)
        self.focus_home()

    # --- words that wait ----------------------------------------------------------------------------------

    def action_queue(self) -> None:
        """Take the words that wait back into the prompt."""
        if text := self.chat.waiting.take():
            self.give_back(text)
        else:
            self.hint(notices.NOTHING_WAITS)

    def status_changed(self) -> None:
        """Show title, model, figures, and what waits."""
        super().status_changed()
        if self.chat.waiting.text != self._waiting_words:
            self._waiting_words = self.chat.waiting.text
            self._show_waiting(self._waiting_words, self.chat.waiting.count)

    def _show_waiting(self, words: str, count: int) -> None:
        if self._waiting_line is None:
            from llama_chat.ui.widgets.waiting_line import WaitingLine

            self._waiting_line = WaitingLine(self.keys.name_of("queue"))
            self.query_one("#prompt-row").mount(self._waiting_line, after=self._hint_line)
        self._waiting_line.show(words, count)

    # --- the session --------------------------------------------------------------------------------------

    def action_save(self, name: str = "") -> None:
        """Give the session a name; without one, say that it is kept."""
        if name:
            session_openers.rename_current(self, name)
        elif self.chat.has_words:
            title = one_line(self.chat.title)
            self.hint(f"It is kept already, as “{title}”. /save NAME gives it another name.")
        else:
            self.hint("There is nothing to keep yet: say something first. All that is said is kept.")
