"""A click group whose subcommands are imported when they are called, not when they are listed."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group that knows its subcommands by `name -> (module:attribute, short help)`."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in their given order."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.lazy[n][1]) for n in self.list_commands(ctx) if n in self.lazy])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The subcommands that begin so, without importing them, and the options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(n, help=words) for n, (_, words) in self.lazy.items() if n.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Words that are no subcommand are a question, or a slip of the finger.

        Raises:
            UsageError: no such subcommand.
        """
        if args and args[0] not in self.lazy and not args[0].startswith("-"):
            raise _no_such_command(args, list(self.lazy))
        return super().resolve_command(ctx, args)


def _no_such_command(args: list[str], known: list[str]) -> UsageError:
    import difflib

    near = difflib.get_close_matches(args[0].lower(), known, n=1, cutoff=0.7)
    hint = f"Did you mean 'llama-chat {near[0]}'? " if near else ""
    hint += f"To ask one question: llama-chat run {shlex.quote(' '.join(args))}"
    return UsageError(f"There is no command '{args[0]}'.", hint=hint)
