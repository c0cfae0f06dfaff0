"""The errors that a user can meet: each says what happened, what to do next, and how the process ends."""

from __future__ import annotations


class LlamaChatError(Exception):
    """Something that could not be done; one clear line, and a hint where one helps.

    Args:
        message: what, where, got and wanted, in one line: the breaks in a file's name become spaces.
        hint: the next step for the user, as a full sentence; empty where there is none.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(message.splitlines())
        self.hint = " ".join(hint.splitlines())

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(LlamaChatError):
    """The command was called with words that do not fit."""

    exit_code = 2


class SettingsError(LlamaChatError):
    """The settings file cannot be read or written."""


class ModelError(LlamaChatError):
    """A model cannot be found, read or run."""


class NotOursError(ModelError):
    """A model that the from-scratch engine does not run, but transformers may.

    Args:
        message: as `LlamaChatError`.
        hint: as `LlamaChatError`.
        by_auto: whether `--engine auto` hands it on; otherwise only who asks for `--engine hf` gets it tried.
    """

    def __init__(self, message: str, *, hint: str = "", by_auto: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.by_auto = by_auto


class DeviceError(LlamaChatError):
    """The device that was asked for is not there."""


class PullError(LlamaChatError):
    """A model could not be fetched; nothing half-written was left behind."""


class TemplateError(LlamaChatError):
    """The model's chat template cannot be rendered."""


class PromptError(LlamaChatError):
    """The prompt cannot be answered as it is: empty, or longer than the context."""


class StoreError(LlamaChatError):
    """Sessions cannot be read or kept."""


class Interrupted(LlamaChatError):  # noqa: N818  (an interruption is no error of anybody's)
    """The user stopped the work before it was done."""

    exit_code = 130
