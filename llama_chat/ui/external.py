"""Out of the screen into another program, and back."""

from __future__ import annotations

from typing import Any

from textual.app import App, SuspendNotSupported

from llama_chat.editor import edit_text
from llama_chat.errors import LlamaChatError, SettingsError
from llama_chat.ui.widgets.prompt import without_controls


def edit_outside(app: App[Any], text: str) -> str:
    """The text as the user leaves it in his editor, which has the terminal meanwhile.

    The screen stands still; what the other threads do, a reply and its keeping, goes on.

    Raises:
        LlamaChatError: the editor could not be used, or the terminal not be lent; the text is as it was.
    """
    failure: LlamaChatError | None = None
    edited = text
    try:
        with app.suspend():  # what is raised in here would leave the terminal to the shell
            try:
                edited = edit_text(text)
            except LlamaChatError as error:
                failure = error
            except OSError as error:
                failure = SettingsError(f"No editor can be given the text: {error.strerror or error}.")
    except SuspendNotSupported:
        failure = SettingsError("No editor can be opened on this terminal.")
    if failure is not None:
        raise failure
    return without_controls(edited)
