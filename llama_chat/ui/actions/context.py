"""The context: what is in it, and making room in it."""

from __future__ import annotations

from llama_chat.ui.screens.chat_view import ChatViewScreen


class ContextActions(ChatViewScreen):
    """What is done about a context that fills up."""

    def action_context(self) -> None:
        """Show what is in it."""
        from llama_chat.chat.context.figures import context_rows
        from llama_chat.ui.screens.context_card import ContextScreen

        path = [self.chat.message_now(message.id) or message for message in self.chat.conversation.path()]
        status = self.chat.status

        def do_next(action: str | None) -> None:
            if action is not None:
                self.call_later(self.run_action, f"screen.{action}")

        self.app.push_screen(ContextScreen(context_rows(path, status), status, self.keys), do_next)

    def action_compact(self) -> None:
        """Let the model summarise the older part."""
        self.chat.compacting.begin()
