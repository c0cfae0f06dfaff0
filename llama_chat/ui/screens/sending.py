"""What becomes of the words in the prompt when they are sent: a slash command, or why they must wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from llama_chat.chat.commands import parse_command, parse_setting
from llama_chat.chat.live import Status
from llama_chat.chat.opening import OPENING
from llama_chat.sampling import setting_label, setting_value
from llama_chat.ui.widgets.sampling_panel import SamplingPanel

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


def set_sampling(screen: ChatScreen, words: str) -> None:
    """Change a setting of the sampling, as in `temperature 0.3`; without a value, say what it is.

    Raises:
        UsageError: there is no such setting, or the value does not fit.
    """
    setting, value = parse_setting(words)
    if value is None:
        now = getattr(screen.bridge.sampling.current, setting)
        screen.hint(
            f"{setting_label(setting)} is {setting_value(setting, now)}. /set {setting} 1 would change it."
        )
        return
    screen.bridge.sampling.change(**{setting: value})
    screen.bridge.save_setting("sampling", setting, value)
    for panel in screen.query(SamplingPanel):
        panel.show_current()
    screen.hint(f"{setting_label(setting)} is {setting_value(setting, value)} from the next token on.")


def why_not_now(status: Status) -> str:
    """Why another message cannot be sent while a reply is wanted, and what to do."""
    if status.model_state == "loading":
        return "The model is still loading. Your words wait for it; Esc gives them back."
    if status.doing == OPENING:
        return "The session is still being read. Your words wait for it; Esc gives them back."
    if status.doing == "stopping":
        return "The reply is being stopped. Press Enter again in a moment."
    if status.doing == "generating":
        return "A reply is being written. Esc stops it, then Enter sends."
    return "The model reads your last message. Esc stops it, then Enter sends."
