"""The options that commands share, made from the settings' own fields: their help, ranges and choices.

An option lands in the `RunOptions` of the context, not in the command's parameters: so one that stands
before the subcommand counts as well, and one behind it counts more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llama_chat.errors import UsageError
from llama_chat.paths import Paths, user_paths
from llama_chat.setting_values import parsed_value
from llama_chat.settings import LoadedSettings, SettingField, load_settings, setting_fields

MODEL_OPTIONS = ("model", "engine", "device", "dtype", "kv_dtype", "context", "threads")
SAMPLING_OPTIONS = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens"),
    "seed",
)

_METAVARS = {
    "model": "PATH|ID|NAME",
    "device": "auto|cpu|mps|cuda[:N]|rocm[:N]|xpu[:N]",
    "system": "TEXT",
    "theme": "NAME",
    "draft": "off|auto|MODEL",
}
_LETTERS = {int: "N", float: "F", str: "TEXT"}

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class RunOptions:
    """What the command line asks for, before and behind the subcommand."""

    flags: dict[str, object] = field(default_factory=dict)
    """Settings by name, for `load_settings`."""
    resume: str | None = None
    continue_last: bool = False
    repeated: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """The values of settings that were given several times, to a command that takes that."""
    preset: str | None = None
    """Counts more than the file and the environment, less than the flags."""

    def load(self) -> tuple[LoadedSettings, Paths]:
        """The settings with these flags over the environment and the file, and the user's folders.

        Raises:
            UsageError: two options that exclude each other, or a value that does not fit.
        """
        if self.resume is not None and self.continue_last:
            raise UsageError("--continue and --resume exclude each other.", hint="Give one of them.")
        paths = user_paths()
        loaded = load_settings(paths.settings_file, os.environ, self.flags, preset=self.preset)
        return loaded, paths

    def given(self) -> list[str]:
        """The options that were used, as they are written."""
        names = [option_name(name) for name in self.flags]
        names += ["--preset"] * (self.preset is not None)
        return names + ["--resume"] * (self.resume is not None) + ["--continue"] * self.continue_last


if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _ParamType = click.ParamType[Any]  # takes a parameter from click 8.5 on only
else:
    _ParamType = click.ParamType


class SettingType(_ParamType):
    """A setting's value as a text, checked by the field's own rules."""

    def __init__(self, known: SettingField) -> None:
        self.known = known
        self.name = known.field.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The checked value; anything else is wrong usage."""
        try:
            return parsed_value(self.known.field, str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Values that begin so."""
        del ctx, param
        from llama_chat.cli.completing import complete_setting

        return complete_setting(self.known, incomplete)


def option_name(name: str) -> str:
    """How the setting is written on the command line."""
    return f"--{name.replace('_', '-')}"


def model_options(command: _Command) -> _Command:
    """Add the options that choose a model and where it runs."""
    return _with_settings(command, MODEL_OPTIONS)


def draft_option(command: _Command) -> _Command:
    """Add --draft."""
    return _with_settings(command, ("draft",))


def repeatable_model_options(command: _Command) -> _Command:
    """Add the same, each of which may be given several times."""
    return _with_settings(command, MODEL_OPTIONS, multiple=True)


def sampling_options(command: _Command) -> _Command:
    """Add the options that choose tokens, and the system prompt."""
    return _with_settings(command, (*SAMPLING_OPTIONS, "system"))


def varying_options(command: _Command) -> _Command:
    """The same for a command that varies one of them; -n says how many tokens."""
    return _with_settings(command, (*SAMPLING_OPTIONS, "system"), letters={"max_new_tokens": "-n"})


def preset_option(command: _Command) -> _Command:
    """Add --preset."""
    return click.option(
        "--preset",
        metavar="NAME",
        expose_value=False,
        callback=_keep_preset,
        shell_complete=_complete_presets,
        help="Sampling by name: precise, balanced, creative or your own; other options count more.",
    )(command)


def theme_option(command: _Command) -> _Command:
    """Add --theme."""
    return _with_settings(command, ("theme",))


def session_options(command: _Command) -> _Command:
    """Add -c/--continue and --resume."""
    resume = click.option(
        "--resume",
        metavar="SESSION",
        expose_value=False,
        callback=_keep_resume,
        shell_complete=_complete_sessions,
        help="Go on with this session: its id, or the beginning of it.",
    )
    go_on = click.option(
        "-c",
        "--continue",
        "continue_last",
        is_flag=True,
        expose_value=False,
        callback=_keep_continue,
        help="Go on with the last session.",
    )
    return go_on(resume(command))


def _with_settings(
    command: _Command,
    names: tuple[str, ...],
    *,
    letters: Mapping[str, str] | None = None,
    multiple: bool = False,
) -> _Command:
    for name in reversed(names):  # click lists the one added last first
        known = setting_fields()[name]
        command = click.option(
            *(letter for letter in [(letters or {}).get(name)] if letter),
            option_name(name),
            name,
            type=SettingType(known),
            metavar=_metavar(known),
            expose_value=False,
            multiple=multiple,
            callback=_keep_flags if multiple else _keep_flag,
            help=known.field.metadata["help"],
        )(command)
    return command


def _complete_sessions(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    from llama_chat.cli.completing import complete_sessions

    return complete_sessions(ctx, param, incomplete)


def _complete_presets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    del ctx, param
    from llama_chat.cli.completing import complete_presets

    return complete_presets(incomplete)


def _metavar(known: SettingField) -> str:
    choices = known.field.metadata.get("choices")
    return _METAVARS.get(known.field.name) or (
        "|".join(choices) if choices else _LETTERS[type(known.field.default)]
    )


def _keep_flag(ctx: click.Context, param: click.Parameter, value: object) -> None:
    options = ctx.ensure_object(RunOptions)
    if value is not None:
        assert param.name is not None
        options.flags[param.name] = value


def _keep_flags(ctx: click.Context, param: click.Parameter, values: tuple[object, ...]) -> None:
    if values:
        _keep_flag(ctx, param, values[0])
        assert param.name is not None
        ctx.ensure_object(RunOptions).repeated[param.name] = tuple(dict.fromkeys(values))


def _keep_preset(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    options = ctx.ensure_object(RunOptions)
    if value is not None:
        options.preset = value


def _keep_resume(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    options = ctx.ensure_object(RunOptions)
    if value is not None:
        options.resume = value


def _keep_continue(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    options = ctx.ensure_object(RunOptions)
    options.continue_last = options.continue_last or value
