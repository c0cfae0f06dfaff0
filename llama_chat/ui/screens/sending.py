"""What becomes of the words in the prompt when they are sent: a slash command, or why they must wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from llama_chat.errors import UsageError
from llama_chat.sampling import setting_label, setting_value
from llama_chat.ui.commands import parse_command, parse_setting
from llama_chat.ui.exporting import parse_export
from llama_chat.ui.live import Status
from llama_chat.ui.opening import OPENING
from llama_chat.ui.screens import openers
from llama_chat.ui.widgets.sampling_panel import SamplingPanel

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat import ChatScreen


def plan_command(screen: ChatScreen, text: str) -> Callable[[], object] | None:
    """What the slash command in the text does, to be called later; None for words to the model.

    Raises:
        UsageError: there is no such command, setting, value or theme.
    """
    command = parse_command(text)
    if command is None:
        return None
    if command.action == "sampling" and command.rest:
        return partial(_set, screen, *parse_setting(command.rest))
    if command.action == "theme" and command.rest:
        if command.rest not in screen.app.available_themes:
            raise UsageError(f"There is no theme {command.rest}.", hint="F9 shows what there is.")
        return partial(openers.take_theme, screen, command.rest)
    if command.action == "model":
        return partial(openers.choose_model, screen, command.rest)
    if command.action == "search":
        return partial(screen.action_search, command.rest)
    if command.action == "rename":
        return partial(screen.action_rename, command.rest)
    if command.action == "export":
        return partial(openers.export, screen, parse_export(command.rest))
    if command.action == "quit":
        return partial(screen.app.run_action, "quit")
    return partial(screen.run_action, command.action)


def _set(screen: ChatScreen, setting: str, value: float | None) -> None:
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
