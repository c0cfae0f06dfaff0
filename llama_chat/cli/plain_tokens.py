"""`/tokens` of the plain chat: the tokens of the last reply, a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.tokens.naming import ask_names
from llama_chat.chat.tokens.reading import read_tokens
from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import figures_of_sheet, table_of_tokens, why_no_tokens
from llama_chat.cli.tables import Column, table_lines
from llama_chat.cli.talk import say
from llama_chat.conversation import Role
from llama_chat.distribution.names import TokenNames

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

PATIENCE_S = 10.0
"""The store answers in some milliseconds; a disk may take its time."""
_COLUMNS = (
    Column(is_right=True),
    Column("token"),
    Column("probability", is_right=True),
    Column("rank", is_right=True),
    Column("surprise in bits", is_right=True),
)


def tokens(plain: PlainChat, _rest: str) -> None:
    """The tokens of the last reply: how likely each was, and the figures of all of them."""
    path = plain.chat.conversation.path()
    reply = next((message for message in reversed(path) if message.role is Role.ASSISTANT), None)
    if reply is None:
        say("There is no reply yet.")
        return
    found = read_tokens(plain.bridge, reply, with_candidates=False).result(PATIENCE_S)
    if not found:
        say(why_no_tokens(reply))
        return
    names = ask_names(plain.bridge, reply.id).result(PATIENCE_S)
    sheet = TokenSheet(reply, found, names if len(names) else TokenNames.of_tokens(found))
    for line in table_lines(_COLUMNS, table_of_tokens(sheet)):
        say(line)
    say(" · ".join(figures_of_sheet(sheet)))
