"""What is done with the chosen message: another reply, other words, another branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from llama_chat.chat import notices
from llama_chat.conversation import Message, Role
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.screens.editing import MARK_REPLY
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.ui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from llama_chat.ui.screens.tree import TreeWish


class BranchActions(ChatViewScreen):
    """The cursor over the messages, and the keys that act on the one under it, or on the last."""

    def action_choose(self, step: int) -> None:
        """Choose the message above or below; the transcript takes the keys from then on."""
        if self.transcript.display and self.transcript.move_cursor(step):
            self.transcript.focus(scroll_visible=False)
        else:
            self.hint(notices.NOTHING_TO_CHOOSE)

    def leave_cursor(self) -> bool:
        """Choose no message any more and go back to the prompt; whether one was chosen."""
        was_chosen = self.transcript.cursor_id is not None
        if was_chosen:
            self.transcript.leave_cursor()
            self.focus_home()
        return was_chosen

    @on(Prompt.Changed)
    def _leave_cursor_for_words(self, event: Prompt.Changed) -> None:
        if event.control is self.prompt and self.prompt.has_focus:
            self.transcript.leave_cursor()

    @on(Transcript.SiblingWanted)
    def _show_clicked_sibling(self, event: Transcript.SiblingWanted) -> None:
        self.action_sibling(event.step)

    def _target_id(self) -> str | None:
        """Of the chosen message; None without a cursor."""
        return self.transcript.cursor_id

    def _chosen_or_hint(self) -> Message | None:
        if (message := self.chosen_message()) is None:
            self.hint(notices.NOTHING_TO_CHOOSE)
        return message

    def action_regenerate(self) -> None:
        """Answer again."""
        self._hint_line.clear()
        self.chat.regenerate(self._target_id())

    def action_go_on(self) -> None:
        """Go on with a reply, or with what stands in the prompt for it."""
        self._hint_line.clear()
        if self.editing.is_reply:
            self._go_on_from_edit()
        else:
            self.chat.go_on(self._target_id())

    def _go_on_from_edit(self) -> None:
        """Keep what stands in the prompt as the reply's beginning, and let the model go on from there."""
        edited, text = self.editing.message, self.prompt.full_text
        if edited is not None and self.chat.branching.keep_edited(edited.id, text):
            self.editing.end()
            self.chat.when_idle(self.chat.go_on)

    def action_edit_last(self) -> None:
        """Take the chosen words, or the user's last ones, into the prompt to say them otherwise."""
        message = self.chosen_message() if self._target_id() is not None else self.chat.last_words()
        if message is None:
            self.hint(notices.NOTHING_TO_EDIT)
        elif message.role is Role.SYSTEM:
            openers.edit_system_prompt(self)
        elif message.role is Role.ASSISTANT:
            self.editing.begin(message, MARK_REPLY)
            self.prompt.focus()
        else:
            self.editing.begin(message)
            self.prompt.focus()

    def action_branch(self) -> None:
        """Let the path end behind the chosen message, and say something else there."""
        if (message := self._chosen_or_hint()) is not None:
            self.chat.branching.branch(message.id)
            self.transcript.leave_cursor()
            self.prompt.focus()

    def action_delete_from_here(self) -> None:
        """Let the path end before the chosen message."""
        if (message := self._chosen_or_hint()) is not None:
            self.chat.branching.delete_from(message.id)

    def action_tree(self) -> None:
        """Show all branches."""
        from llama_chat.ui.screens.tree import TreeScreen

        if not self.chat.has_words:
            self.hint(notices.NO_TREE)
            return
        self.chat.take_in_running()
        marked = self.transcript.cursor_id or self.chat.conversation.leaf_id
        self.app.push_screen(TreeScreen(self.chat.conversation, marked), self._take_from_tree)

    def _take_from_tree(self, wish: TreeWish | None) -> None:
        if wish is not None and wish.what == "delete":
            self.chat.branching.delete_from(wish.message_id)
        elif wish is not None:
            self._show_from_tree(wish.message_id)

    def _show_from_tree(self, message_id: str) -> None:
        path = {message.id for message in self.chat.conversation.path()}

        def show() -> None:
            self.chat.steps.show_branch(message_id)
            if self.transcript.choose(message_id):
                self.transcript.focus(scroll_visible=False)

        if message_id in path:  # a reply that runs need not be stopped for that
            show()
        else:
            self.chat.when_idle(show, told=notices.STOPPED)

    def action_sibling(self, step: int) -> None:
        """Show another branch where the chosen message has siblings, else where the path forks last."""
        self.chat.steps.show_sibling(step, self._target_id())
