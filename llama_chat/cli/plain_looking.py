"""`/looks` of the plain chat: where a token of the last reply looked, a line for each source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.looking import FIRST_EXPLAINED, Looking, Looks, Way, parse_token_number
from llama_chat.cli.tables import Column, table_lines
from llama_chat.cli.talk import say
from llama_chat.conversation import Role
from llama_chat.distribution.told import percent

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

LOOKS_WORDS = "[N] [rollout]"
LOOKS_HELP = (
    "List what the last reply looked at when it chose its N-th token: the mean attention, or its rollout."
)
_COLUMNS = (Column("token"), Column("share", is_right=True), Column("where"), Column("before", is_right=True))


def looks(plain: PlainChat, rest: str) -> None:
    """The sources of the N-th token, else of the first.

    Raises:
        UsageError: N is no number of a token.
        LlamaChatError: it cannot be looked into.
    """
    words = [word for word in rest.split() if word != "rollout"]
    index = parse_token_number(" ".join(words))
    way = Way("rollout" if "rollout" in rest.split() else "mean")
    path = plain.chat.conversation.path()
    while path and path[-1].role is not Role.ASSISTANT:
        path.pop()
    if not path or plain.setup.open_attention is None:
        say("There is no reply yet." if not path else "Nothing can be looked into here.")
        return
    plain.wait_for_model()
    asking = Looking(plain.bridge.worker.compute, plain.setup.open_attention, path, plain.chat.saved.date)
    try:
        found = plain.wait_for(asking.ask(index, way), asking.give_up)
    finally:
        asking.close()
    _tell(found)


def _tell(found: Looks) -> None:
    say(f"Token {found.index + 1:,} of {found.context.length:,}, {found.way.label}.")
    for sentence in found.sentences():
        say(sentence)
    say(FIRST_EXPLAINED)
    here = found.context.position(found.index)
    rows = [(each.name, percent(each.share), each.place, f"{here - each.position:,}") for each in found.top()]
    for line in table_lines(_COLUMNS, rows):
        say(line)
