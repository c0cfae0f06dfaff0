"""`llama-chat replay`: a saved session watched again, as it happened; or run again and checked."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llama_chat.cli.chat import DUMB_TERMINALS, FRAMES_PER_S
from llama_chat.cli.completing import complete_sessions_or_files
from llama_chat.cli.options import MODEL_OPTIONS, RunOptions, model_options, option_name
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import StoreError, UsageError
from llama_chat.paths import Paths

if TYPE_CHECKING:
    from llama_chat.replay import Timeline
    from llama_chat.sessions import SessionRecord
    from llama_chat.settings import LoadedSettings

DEFAULT_SIZE = "100x30"
_TOLD = 3
"""So many ids are told where a file holds more than one session."""
_ID = re.compile(r"[0-9a-fA-F]+")
_WATCHING = ("speed", "instant", "plain", "cast", "size", "force")
_APART = (
    ("speed", "instant"),
    ("cast", "instant"),
    ("cast", "plain"),
    *(("rerun", option) for option in _WATCHING),
)
"""Options that exclude each other."""
_BELONGS = (("size", "cast"), ("force", "cast"), ("json", "rerun"))
"""Options that mean nothing without another one."""


def _checked_speed(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """The speed; NaN is neither below nor above a bound, so click lets it pass."""
    if value is not None and math.isnan(value):
        raise click.BadParameter(f"{value} is not a number.", ctx, param)
    return value


@click.command(
    short_help="A saved session watched again, or run again and checked.",
    epilog="""\b
Examples:
  llama-chat replay 3fa8
  llama-chat replay talk.jsonl --speed 4
  llama-chat replay 3fa8 --plain --instant | less
  llama-chat replay 3fa8 --cast talk.cast --size 100x30
  llama-chat replay 3fa8 --rerun""",
)
@click.argument("session", metavar="SESSION|FILE", shell_complete=complete_sessions_or_files)
@click.option(
    "--speed",
    type=click.FloatRange(0.01, 1000),
    callback=_checked_speed,
    metavar="X",
    help="So many times as fast.",
)
@click.option("--instant", is_flag=True, help="All of it at once.")
@click.option("--plain", is_flag=True, help="Line by line, as to a pipe, instead of the chat's screen.")
@click.option("--session", "session_id", metavar="ID", help="Which session of a file that holds several.")
@click.option("--cast", type=click.Path(path_type=Path), metavar="FILE", help="Write an asciicast v2 file.")
@click.option(
    "--size",
    metavar="COLUMNSxLINES",
    help=f"Of the screen that is written to the file. [default: {DEFAULT_SIZE}]",
)
@click.option("--force", is_flag=True, help="Replace the file, if it is there.")
@click.option("--rerun", is_flag=True, help="Generate the replies again and compare them token by token.")
@click.option("--json", "as_json", is_flag=True, help="With --rerun: print a JSON object.")
@model_options
@click.pass_context
def replay(
    ctx: click.Context,
    session: str,
    speed: float | None,
    instant: bool,
    plain: bool,
    session_id: str | None,
    cast: Path | None,
    size: str | None,
    force: bool,
    rerun: bool,
    as_json: bool,
) -> int:
    """Watch a session again: SESSION is its id or the beginning of it, FILE an exported .jsonl file.

    The replies come as quickly as they came then, and the sliders move as they were moved; pauses between
    turns last 2 seconds at most. No model is needed. Keys: Space pauses, F1 shows the others.

    With --rerun, the recorded model answers again, with the same seeds and settings; the exit status is 0
    when every token is identical. The model options belong to --rerun: another model (or another --dtype,
    or --engine) is asked the same and both answers are shown; there is nothing to judge, and the exit
    status is 0.
    """
    options = ctx.ensure_object(RunOptions)
    given = {
        **{"speed": speed is not None, "instant": instant, "plain": plain, "cast": cast is not None},
        **{"size": size is not None, "force": force, "rerun": rerun, "json": as_json},
    }
    _check(given, options)
    loaded, paths = options.load()
    with _opened(session, session_id, paths) as record:
        if rerun:
            from llama_chat.cli.rerun import run_rerun

            wanted = {option_name(name) for name in MODEL_OPTIONS}
            model_flags = [option for option in options.given() if option in wanted]
            return run_rerun(record, loaded, paths, given_options=model_flags, as_json=as_json)
        from llama_chat.replay import build_timeline

        timeline = build_timeline(record)
        if not len(timeline):
            raise StoreError("The session has no messages: there is nothing to see.")
        if cast is None and not plain and _has_screen():  # tokens are read when they are looked at
            return _show(timeline, record, loaded, paths, speed or 1.0, instant=instant)
    if cast is not None:
        from llama_chat.cli.cast import write_cast

        return write_cast(timeline, loaded, paths, cast, size or DEFAULT_SIZE, speed or 1.0, force=force)
    from llama_chat.cli.replay_plain import print_replay

    say_notices(loaded.notices)
    return print_replay(timeline, speed=None if instant else speed or 1.0)


def _check(given: dict[str, bool], options: RunOptions) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: with the two of them.
    """
    for one, other in _APART:
        if given[one] and given[other]:
            raise UsageError(f"--{one} and --{other} exclude each other.", hint="Give one of them.")
    for one, other in _BELONGS:
        if given[one] and not given[other]:
            raise UsageError(f"--{one} belongs to --{other}.", hint=f"Leave it out, or add --{other}.")
    if options.given() and not given["rerun"]:
        raise UsageError(
            f"{options.given()[0]} belongs to --rerun: to watch a session needs no model.",
            hint="Leave it out, or add --rerun.",
        )


def _has_screen() -> bool:
    """Whether the whole screen can be drawn on."""
    streams = (sys.stdin, sys.stdout, sys.stderr)  # textual draws on stderr
    is_terminal = all(stream is not None and stream.isatty() for stream in streams)
    return is_terminal and os.environ.get("TERM") not in DUMB_TERMINALS


def _show(
    timeline: Timeline,
    record: SessionRecord,
    loaded: LoadedSettings,
    paths: Paths,
    speed: float,
    *,
    instant: bool,
) -> int:
    os.environ.setdefault("TEXTUAL_FPS", str(FRAMES_PER_S))  # read when textual is imported
    from llama_chat.log import start_log
    from llama_chat.replay import Player
    from llama_chat.ui.replay.app import ReplayLooks, run_replay

    start_log(paths.log_file)
    player = Player(timeline, speed=speed)
    if instant:
        player.seek_end()
    else:
        player.play()
    looks = ReplayLooks(loaded.settings.chat.theme, paths.user_themes, loaded.notices)
    return run_replay(player, looks, record)


# --- where the session comes from --------------------------------------------------------------------


@contextmanager
def _opened(argument: str, session_id: str | None, paths: Paths) -> Iterator[SessionRecord]:
    """The session, out of the store or of a file.

    Raises:
        StoreError: there is none, or more than one; the file or the store cannot be read.
        UsageError: --session without a file.
    """
    path = Path(argument)
    if _ID.fullmatch(argument) is None and (path.exists() or _is_path(argument)):
        yield _from_file(path, session_id)
        return
    if session_id is not None:
        raise UsageError("--session belongs to a FILE.", hint="Leave it out, or name an exported file.")
    from llama_chat.cli.sessions_store import find_session, opened_store

    with opened_store(paths.sessions_file) as store:
        yield store.record(find_session(store, argument).id)


def _is_path(argument: str) -> bool:
    return "/" in argument or os.sep in argument or argument.endswith((".jsonl", ".json", ".zip"))


def _from_file(path: Path, session_id: str | None) -> SessionRecord:
    """The session of the file: the wanted one, or the first; says so where there are more.

    Raises:
        StoreError: the file has no such session, none at all, or cannot be read.
    """
    from llama_chat.conversation import short_id
    from llama_chat.sessions.exchange import read_sessions

    wanted = (session_id or "").strip().lower()
    records = (record for record in read_sessions(path) if record.info.id.startswith(wanted))
    fitting = list(islice(records, _TOLD + 1))
    if not fitting:
        which = f"No session of {path} begins with {session_id!r}." if wanted else f"{path} holds no session."
        raise StoreError(which, hint="Give another one." if wanted else "")
    if len(fitting) > 1:
        ids = ", ".join(short_id(record.info.id) for record in fitting[:_TOLD])
        more = ", ..." if len(fitting) > _TOLD else ""
        if wanted:
            raise StoreError(f"{session_id!r} fits more than one session ({ids}{more}).")
        say(f"llama-chat: {path} holds more than one session ({ids}{more}); this is the first.")
        say("--session ID chooses another one.")
    return fitting[0]
