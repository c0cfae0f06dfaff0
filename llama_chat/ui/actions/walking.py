"""The way of a message, or of any text, through the model."""

from __future__ import annotations

from llama_chat.ui.screens.chat_view import ChatViewScreen


class WalkActions(ChatViewScreen):
    """What the keys about the walk do."""

    def action_walk(self, words: str = "") -> None:
        """The walk of the text; without one, of the chosen message, else of the last."""
        from llama_chat.ui.walk.opening import NOTHING_TO_WALK, open_walk

        what = words or self.chosen_message()
        if what is None:
            self.hint(NOTHING_TO_WALK)
        else:
            open_walk(self, what)
