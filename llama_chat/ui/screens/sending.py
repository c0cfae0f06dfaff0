"""What becomes of the words in the prompt when they are sent: a slash command, or why they must wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from llama_chat.chat.commands import parse_command
from llama_chat.chat.live import Status

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat import ChatScreen


def plan_command(screen: ChatScreen, text: str) -> Callable[[], object] | None:
    """What the slash command in the text does, to be called later; None for words to the model.

    A command with words behind it is done at once, so that what is wrong with them is told of here.

    Raises:
        UsageError: there is no such command, or its words do not fit.
        LlamaChatError: it could not be done.
    """
    command = parse_command(text)
    if command is None:
        return None
    if command.rest:
        getattr(screen, f"action_{command.action}")(command.rest)
        return _nothing
    namespace = screen.app if command.action == "quit" else screen
    return partial(namespace.run_action, command.action)


def _nothing() -> None:
    """It is done already."""


def why_not_now(status: Status) -> str:
    """Why other words cannot take the place of a message: some wait already for the session to be read."""
    what = "model is still loading" if status.model_state == "loading" else "session is still being read"
    return f"The {what}. Your words wait for it; Esc gives them back."
