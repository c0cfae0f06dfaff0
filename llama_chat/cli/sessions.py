"""`llama-chat sessions`: list, show, search, export, import, rename, delete, undelete."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

import click

from llama_chat.cli.completing import complete_sessions
from llama_chat.cli.sessions_store import find_session, opened_store
from llama_chat.cli.sessions_transfer import export_command, import_command, show_command
from llama_chat.cli.tables import (
    Column,
    Painter,
    at_words,
    count_text,
    cut,
    painter_for,
    pictured_line,
    table_lines,
    width_of,
)
from llama_chat.cli.talk import say
from llama_chat.conversation import short_id
from llama_chat.errors import Interrupted, UsageError
from llama_chat.paths import user_paths
from llama_chat.sanitize import sanitize
from llama_chat.sessions import SearchHit, SessionInfo
from llama_chat.sessions.words import WHO, when_text

_COLUMNS = (
    Column("id"),
    Column("title", shrinks=True),
    Column("model", shrinks=True, goes=1),
    Column("messages", is_right=True, goes=2),
    Column("last written", goes=3),
)
_INDENT = "    "
_LEAST_TITLE_CELLS = 6
_LIMIT = click.IntRange(1, 10**9)
"""SQLite takes no number of more than 63 bits."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="The saved sessions.", invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.pass_context
def sessions(ctx: click.Context) -> None:
    """The saved sessions: find, show, export, bring in, rename or delete them. Alone, list them.

    SESSION is an id or the beginning of one, as the list shows it.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@sessions.command("list")
@click.option("--deleted", is_flag=True, help="List what can be undeleted.")
@click.option("--limit", type=_LIMIT, metavar="N", help="Only the last N.")
@json_option
def list_command(deleted: bool, limit: int | None, as_json: bool) -> None:
    """List the sessions, the one last written to first."""
    found: list[SessionInfo] = []
    if user_paths().sessions_file.exists():
        with opened_store() as store:
            found = store.deleted()[:limit] if deleted else store.list(limit)
    if as_json:
        click.echo(json.dumps([asdict(info) for info in found], indent=2))
    elif found:
        rows = [_row(info) for info in found]
        painter = painter_for(sys.stdout, os.environ)
        click.echo("\n".join(table_lines(_COLUMNS, rows, painter=painter, width=width_of(sys.stdout))))
    else:
        say("No session is deleted." if deleted else "There are no sessions yet.")


@sessions.command("search", short_help="Search all messages for WORDS.")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=_LIMIT, default=50, metavar="N", help="At most N messages (50).")
@json_option
def search_command(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Search all messages for the WORDS: all must be there, the last may be the beginning of one.

    '"two words"' in quotes are searched for as they stand together.
    """
    with opened_store() as store:
        found = store.search(" ".join(words), limit)
    if as_json:
        click.echo(json.dumps([_hit_data(hit) for hit in found], indent=2))
        return
    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    for hit in found:
        click.echo("\n".join(_hit_lines(hit, painter, width)))
    if not found:
        say("No message holds these words.")


for command in (show_command, export_command, import_command):
    sessions.add_command(command)


@sessions.command("rename")
@click.argument("session", shell_complete=complete_sessions)
@click.argument("name")
@json_option
def rename_command(session: str, name: str, as_json: bool) -> None:
    """Give SESSION another NAME."""
    title = " ".join(name.split())
    if not title:
        raise UsageError("The name is empty.", hint="Give the session a name of at least one character.")
    with opened_store() as store:
        info = find_session(store, session)
        store.rename(info.id, title)
        info = store.find(info.id)
    if as_json:
        _print_json(info)
    else:
        say(f"{short_id(info.id)} is now {_quoted(info.title)}.")


@sessions.command("delete")
@click.argument("session", shell_complete=complete_sessions)
@click.option("--now", is_flag=True, help="For good, at once: out of the index and out of backups, too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting for good.")
@json_option
def delete_command(session: str, now: bool, yes: bool, as_json: bool) -> None:
    """Delete SESSION; for 30 days it can be undeleted."""
    with opened_store() as store:
        info = find_session(store, session, include_deleted=now)
        what = f"{short_id(info.id)} {_quoted(info.title)}"
        if not now:
            store.delete(info.id)
            if as_json:
                _print_json(store.find(info.id, include_deleted=True), for_good=False)
                return
            say(f"Deleted {what}; 'llama-chat sessions undelete {short_id(info.id)}' brings it back.")
            return
        if not yes:
            _ask_before_deleting(info, what)
        is_gone = store.delete_now(info.id)
    if as_json:
        _print_json(info, for_good=True, has_traces=not is_gone)
        return
    say(f"Deleted {what} for good, {count_text(info.message_count, 'message')}.")
    _tell_of_traces(is_gone)


@sessions.command("undelete")
@click.argument("session", shell_complete=complete_sessions)
@json_option
def undelete_command(session: str, as_json: bool) -> None:
    """Bring a deleted SESSION back."""
    with opened_store() as store:
        info = find_session(store, session, include_deleted=True)
        if info.deleted_at is None:
            say(f"{short_id(info.id)} {_quoted(info.title)} is not deleted: it is in the list.")
            return
        store.undelete(info.id)
        info = store.find(info.id)
    if as_json:
        _print_json(info)
        return
    say(f"{short_id(info.id)} {_quoted(info.title)} is back.")


def _print_json(info: SessionInfo, **more: object) -> None:
    click.echo(json.dumps(asdict(info) | more, indent=2))


def _ask_before_deleting(info: SessionInfo, what: str) -> None:
    """Raises `Interrupted` if the user says no, `UsageError` if there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UsageError(
            "Deleting for good cannot be undone, and nobody is here to be asked.", hint="Add --yes."
        )
    count = count_text(info.message_count, "message")
    if not click.confirm(f"Delete {what}, {count}, for good?", err=True):
        raise Interrupted("Nothing was deleted.")


def _tell_of_traces(is_gone: bool) -> None:
    if not is_gone:
        say(
            "Another program reads the store, or a backup cannot be changed: traces stay until the chat "
            "is opened the next time."
        )
    path = user_paths().sessions_file
    for copy in sorted(path.parent.glob(f"{path.name}.damaged-*")):
        say(f"A damaged store that was set aside may still hold it: {copy}")


def _row(info: SessionInfo) -> Sequence[str]:
    title = " ".join(info.title.split())
    written = when_text(info.updated_at)
    return (short_id(info.id), title, info.model, f"{info.message_count:,}", written)


def _hit_lines(hit: SearchHit, painter: Painter, width: int | None = None) -> list[str]:
    """Where it was said, and the text, which wraps at words."""
    about = f"{short_id(hit.session.id)}  {when_text(hit.created_at)}  {WHO[hit.role]}"
    title = f"  {pictured_line(hit.session.title)}"
    if width is not None:
        about = cut(about, width)
        title = cut(title, width - len(about)) if len(about) + _LEAST_TITLE_CELLS <= width else ""
    parts = [(pictured_line(text), is_match) for text, is_match in hit.snippet]
    lines = _painted_lines(parts, painter, width and max(1, width - len(_INDENT)))
    return [f"{painter.dim(about)}{title}".rstrip(), *(f"{_INDENT}{line}" for line in lines)]


def _painted_lines(parts: Sequence[tuple[str, bool]], painter: Painter, cells: int | None) -> Iterator[str]:
    """The text in lines of so many cells, with its matches bold."""
    text = "".join(part for part, _ in parts)
    is_match = [is_match for part, is_match in parts for _ in part]
    end = 0
    for line in at_words(text, cells):
        begin = text.index(line, end)
        end = begin + len(line)
        groups = groupby(range(begin, end), key=is_match.__getitem__)
        pieces = [(is_bold, "".join(text[place] for place in places)) for is_bold, places in groups]
        yield "".join(painter.bold(piece) if is_bold else piece for is_bold, piece in pieces)


def _hit_data(hit: SearchHit) -> dict[str, object]:
    return {
        "session": asdict(hit.session),
        "message_id": hit.message_id,
        "role": hit.role.value,
        "created_at": hit.created_at,
        "snippet": [{"text": text, "is_match": is_match} for text, is_match in hit.snippet],
    }


def _quoted(title: str) -> str:
    return f"“{' '.join(sanitize(title).split())}”"
