"""`llama-chat sessions show`, `export` and `import`: what was said, out of the store and into it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llama_chat.cli.completing import complete_sessions
from llama_chat.cli.sessions_output import STDOUT, check_is_free, write_parts
from llama_chat.cli.sessions_store import find_session, opened_store
from llama_chat.cli.talk import say
from llama_chat.conversation import short_id
from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.conversation import Message
    from llama_chat.sessions import SessionRecord, SessionStore
    from llama_chat.sessions.exchange.importing import Imported, Source

_FORMAT_NAMES = {"md": "Markdown", "jsonl": "JSONL", "html": "HTML"}
_FORMATS = {".md": "md", ".markdown": "md", ".jsonl": "jsonl", ".html": "html", ".htm": "html"}


@click.command("show")
@click.argument("session", shell_complete=complete_sessions)
@click.option("--json", "as_json", is_flag=True, help="Print all branches, with every token and its numbers.")
def show_command(session: str, as_json: bool) -> None:
    """Show the path of SESSION that was taken last, as text."""
    with opened_store() as store:
        record = store.record(find_session(store, session).id)
        write_parts(_json_parts(record) if as_json else _text_parts(record), STDOUT, force=False)


@click.command("export")
@click.argument("session", required=False, shell_complete=complete_sessions)
@click.option("--all", "all_sessions", is_flag=True, help="Every session, the oldest first.")
@click.option(
    "--format",
    "chosen_format",
    type=click.Choice(["md", "jsonl", "html"]),
    help="Markdown to read, JSONL with everything for import and replay, HTML with the tokens' colours. "
    "Without it, what FILE ends in, else md.",
)
@click.option("--output", "-o", default=STDOUT, metavar="FILE", help="Write to FILE instead of stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--branches", is_flag=True, help="In Markdown, all branches; the others always have them.")
def export_command(
    session: str | None,
    all_sessions: bool,
    chosen_format: str | None,
    output: str,
    force: bool,
    branches: bool,
) -> None:
    """Write SESSION, or --all of them, as Markdown, JSONL or HTML."""
    if (session is None) is not all_sessions:
        raise UsageError("Export takes a SESSION or --all.", hint="Give one of them.")
    form = chosen_format or _FORMATS.get(Path(output).suffix.lower(), "md")
    if output != STDOUT:
        check_is_free(Path(output), force=force)
    with opened_store() as store:
        ids = (
            [find_session(store, session).id]
            if session is not None
            else [info.id for info in reversed(store.list())]
        )
        write_parts(_parts(store, ids, form, branches), output, force=force)
    if output != STDOUT:
        from llama_chat.cli.tables import count_text

        is_told = chosen_format or Path(output).suffix.lower() in _FORMATS
        form_words = "" if is_told else f" as {_FORMAT_NAMES[form]}; --format chooses another"
        say(f"Wrote {count_text(len(ids), 'session')} to {output}{form_words}.")


@click.command("import", short_help="Bring in exported sessions, or those of ChatGPT.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def import_command(files: tuple[str, ...], as_json: bool) -> None:
    """Bring in the sessions of FILE...: JSONL from an export, or ChatGPT's conversations.json or .zip.

    All of them or, where anything is wrong, none. `-` reads stdin. What is there already stays; the same
    session again becomes a copy.
    """
    from llama_chat.sessions.exchange.importing import import_files

    with ExitStack() as stack:
        sources = [_source(name, stack) for name in files]
        with opened_store(is_made=True) as store:
            found = import_files(store, sources)
    if as_json:
        click.echo(json.dumps([_imported_data(each) for each in found], indent=2))
    else:
        _print_imported(found)


def _source(name: str, stack: ExitStack) -> Source:
    """The file of that name; stdin is written to a file first, as it is read twice."""
    from llama_chat.sessions.exchange.importing import Source

    if name != STDOUT:
        return Source(Path(name), name)
    spool = stack.enter_context(tempfile.TemporaryDirectory(prefix="llama-chat-"))
    path = Path(spool) / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return Source(path, "stdin")


def _print_imported(found: Sequence[Imported]) -> None:
    from llama_chat.cli.tables import Column, at_words, count_text, table_lines, width_of

    rows = [(short_id(each.info.id), " ".join(each.info.title.split()), _note(each)) for each in found]
    columns = (Column(), Column(shrinks=True), Column(wraps=at_words))
    click.echo("\n".join(table_lines(columns, rows, width=width_of(sys.stdout))))
    messages = count_text(sum(each.info.message_count for each in found), "message")
    say(f"Imported {count_text(len(found), 'session')}, {messages}.")


def _note(imported: Imported) -> str:
    notes = [f"a copy: {short_id(imported.copy_of)} is here already"] if imported.copy_of else []
    if imported.left_out:
        notes.append(f"{imported.left_out} of tools or hidden left out")
    return ", ".join(notes)


def _imported_data(imported: Imported) -> dict[str, object]:
    data = asdict(imported.info)
    return data | {"copy_of": imported.copy_of or None, "left_out": imported.left_out}


def _parts(store: SessionStore, ids: Iterable[str], form: str, branches: bool) -> Iterator[str]:
    records = (store.record(session_id) for session_id in ids)
    if form == "html":
        from llama_chat.sessions.exchange.html import html_parts

        yield from html_parts(records)
        return
    from llama_chat.sessions.exchange.jsonl import jsonl_lines
    from llama_chat.sessions.exchange.markdown import markdown_parts

    for place, record in enumerate(records):
        if form == "jsonl":
            yield from jsonl_lines(record)
        else:
            yield "\n" if place else ""
            yield from markdown_parts(record, branches=branches)


def _text_parts(record: SessionRecord) -> Iterator[str]:
    from llama_chat.cli.tables import count_text
    from llama_chat.sanitize import one_line, sanitize
    from llama_chat.sessions.words import name_of, when_text

    info, conversation = record.info, record.conversation
    model = f"  {one_line(info.model)}" if info.model else ""
    yield f"{one_line(info.title)}\n{info.id}  {when_text(info.created_at)}{model}\n"
    path = conversation.path()
    for message in path:
        versions = conversation.siblings(message.id)
        place = f"  {versions.index(message) + 1} of {len(versions)}" if len(versions) > 1 else ""
        yield f"\n{name_of(message, record)}  {when_text(message.created_at)}{place}\n"
        yield f"{sanitize(message.text)}\n"
        yield _end_line(message, record)
    if others := len(conversation.messages) - len(path):
        yield f"\n[{count_text(others, 'message')} of other branches not shown; all of them: "
        yield f"llama-chat sessions export {short_id(info.id)} --branches]\n"


def _end_line(message: Message, record: SessionRecord) -> str:
    """That the reply was cut off, where it was."""
    from llama_chat.sessions.words import end_words

    reply = message.reply
    if reply is None or reply.finish_reason in ("end", None):
        return "[still being written]\n" if reply is not None and reply.finish_reason is None else ""
    read = record.plain_tokens_of or record.tokens_of
    tokens = read(message.id) if reply.finish_reason == "length" else ()
    return f"[{end_words(reply, tokens[-1].sampling if tokens else None)}]\n"


def _json_parts(record: SessionRecord) -> Iterator[str]:
    """One object, a message at a time."""
    from llama_chat.sessions.exchange.jsonl import message_data

    path = [message.id for message in record.conversation.path()]
    head = json.dumps(asdict(record.info) | {"path": path}, indent=2)
    yield f'{head.removesuffix("}").rstrip()},\n  "messages": ['
    for place, message in enumerate(record.conversation.messages.values()):
        tokens = record.tokens_of(message.id) if message.reply else ()
        data = message_data(message, tokens)
        model = record.models.get(message.id)
        if model is not None:
            data["reply"]["model_record"] = asdict(model)
        yield f"{',' if place else ''}\n    {json.dumps(data)}"
    yield "\n  ]\n}\n"
