"""What the commands say on stderr, and the one place where errors become a line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable

import click

from llama_chat.errors import LlamaChatError

INTERRUPTED = 130


def say(text: str) -> None:
    """Print a line to stderr, safe for a terminal; nobody listening is no error."""
    from llama_chat.sanitize import sanitize

    try:
        print(sanitize(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a closed stderr
        return


def say_notices(notices: Iterable[str]) -> None:
    """Print what was passed over while the settings were read."""
    for notice in notices:
        say(f"llama-chat: {notice}")


def exit_status(work: Callable[[], object]) -> int:
    """Do the work; the process's exit status: 0 done, 1 could not be done, 2 wrong usage, 130 interrupted."""
    try:
        result = work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _tell(error.format_message(), _usage_hint(error), error.exit_code)
    except LlamaChatError as error:
        return _tell(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted.", "", INTERRUPTED)
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _tell(f"{where}{error.strerror or error}.", "", 1)
    except Exception as error:  # the outermost place: a bug is shown whole, and still ends in a line
        say(traceback.format_exc().rstrip("\n"))
        return _tell(
            f"a bug in llama-chat: {type(error).__name__}: {error}", "Please report the lines above.", 1
        )
    return result if isinstance(result, int) else 0


def _tell(message: str, hint: str, status: int) -> int:
    say(f"llama-chat: {message}")
    if hint:
        say(hint)
    return status


def _usage_hint(error: click.ClickException) -> str:
    if not isinstance(error, click.UsageError):
        return ""
    return f"Try '{error.ctx.command_path if error.ctx else 'llama-chat'} --help'."


def _forget_stdout() -> None:
    """Whoever read our output has gone; the interpreter must not complain about it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
