"""The sessions in a plain chat: listed by number, found by words, opened, named, exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.exporting import export_session, parse_export
from llama_chat.chat.opening import read_session
from llama_chat.cli.plain_words import quoted
from llama_chat.cli.tables import count_text
from llama_chat.cli.talk import say
from llama_chat.conversation import short_id
from llama_chat.errors import LlamaChatError, UsageError
from llama_chat.sanitize import one_line
from llama_chat.sessions import SessionInfo
from llama_chat.sessions.words import WHO, when_text

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

MOST_LISTED = 20


def open_first(plain: PlainChat, resume: str | None, *, is_last_wanted: bool) -> None:
    """Go on with what the command line asked for: the session whose id begins so, or the last one."""
    if resume is None and not is_last_wanted:
        return
    store = plain.bridge.store
    info = plain.ask(store.find, resume) if resume is not None else plain.ask(store.last)
    if info is None:
        plain.view.notice("There is no session to go on with yet: this is a new chat.")
    else:
        open_session(plain, info, None)


def open_session(plain: PlainChat, info: SessionInfo, message_id: str | None) -> None:
    """Go on with the session, on the branch that holds the message if one is named."""
    chat = plain.chat
    if info.id == chat.saved.session_id and message_id is None:
        say(f"{quoted(info.title)} is open already.")
        return
    plain.editing = None
    if info.id == chat.saved.session_id and message_id is not None:
        chat.steps.show_message(message_id)
        return
    chat.opening.expect()
    try:
        opened = plain.ask(read_session, plain.bridge.store, info)
    except LlamaChatError:
        chat.opening.give_up()
        raise
    if plain.reader.is_terminal:
        say(f"{quoted(info.title)}, {count_text(info.message_count, 'message')}:")
    chat.opening.open(opened, message_id)


def list_sessions(plain: PlainChat, rest: str) -> None:
    """`/sessions [WORDS]`: the last ones, or the last with these words in the title, by number."""
    words = rest.casefold().split()
    among = plain.ask(plain.bridge.store.list, None if words else MOST_LISTED)
    fitting = [info for info in among if all(word in info.title.casefold() for word in words)]
    found = fitting[:MOST_LISTED]
    plain.listed = [(info.id, None) for info in found]
    for number, info in enumerate(found, 1):
        here = ", open here" if info.id == plain.chat.saved.session_id else ""
        count = count_text(info.message_count, "message")
        say(
            f"{number}. {short_id(info.id)} {quoted(info.title)}, {count}, {when_text(info.updated_at)}{here}"
        )
    none = "No session has these words in its title." if words else "There are no sessions yet."
    say("/resume NUMBER opens one." if found else none)


def search(plain: PlainChat, rest: str) -> None:
    """`/search WORDS`: the messages that hold them, by number."""
    if not rest:
        raise UsageError("/search needs words to look for.", hint="For example: /search river fox")
    hits = plain.ask(plain.bridge.store.search, rest, MOST_LISTED)
    plain.listed = [(hit.session.id, hit.message_id) for hit in hits]
    for number, hit in enumerate(hits, 1):
        snippet = one_line("".join(text for text, _ in hit.snippet))
        say(f"{number}. {quoted(hit.session.title)}, {WHO[hit.role]}: {snippet}")
    say("/resume NUMBER opens one." if hits else "No message holds these words.")


def resume(plain: PlainChat, rest: str) -> None:
    """`/resume NUMBER|ID`: a session of the last list, or one whose id begins so."""
    if not rest:
        raise UsageError("/resume needs a session.", hint="/sessions lists them; /resume 1 opens the first.")
    session_id, message_id = rest, None
    if rest.isascii() and rest.isdigit() and 1 <= int(rest) <= len(plain.listed):
        session_id, message_id = plain.listed[int(rest) - 1]
    open_session(plain, plain.ask(plain.bridge.store.find, session_id), message_id)
    plain.go_on_with_this_model()


def save(plain: PlainChat, rest: str) -> None:
    """`/save [NAME]`: a name for what is kept anyway."""
    if rest.strip():
        rename(plain, rest)
    elif plain.chat.has_words:
        say(f"It is kept already, as {quoted(plain.chat.title)}. /save NAME gives it another name.")
    else:
        say("There is nothing to keep yet: say something first. All that is said is kept.")


def rename(plain: PlainChat, rest: str) -> None:
    """`/rename NAME`."""
    title = " ".join(rest.split())
    if not title:
        raise UsageError("/rename needs a name.", hint="For example: /rename The fox and the river")
    plain.chat.rename(title)
    say(f"This session is called {quoted(title)} now.")


def export(plain: PlainChat, rest: str) -> None:
    """`/export [md|jsonl|html] [PATH]`."""
    wish = parse_export(rest)
    plain.ask(lambda: None)  # what was said before is kept by now
    session_id = plain.chat.saved.session_id
    if session_id is None:
        raise UsageError("There is nothing to export yet: say something first.")
    say(f"Exported to {export_session(plain.bridge.store, session_id, wish)}")
