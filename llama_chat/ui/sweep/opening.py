"""How a sweep is opened: by a key, or with a prompt behind its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.sweeping.source import source_of

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen


def open_sweep(screen: ChatViewScreen, words: str = "") -> None:
    """The screen of a sweep over the chosen message in its context, else the last one, or over the words.

    Raises:
        UsageError: there is nothing to answer.
    """
    chat = screen.chat
    source = source_of(chat.conversation, screen.chosen_message(), words, chat.saved.date)
    from llama_chat.ui.sweep.screen import SweepScreen

    screen.app.push_screen(SweepScreen(screen, source))
