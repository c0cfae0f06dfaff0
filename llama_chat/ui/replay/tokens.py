"""The tokens of a reply that is watched again: looked at as in the chat, but nothing goes on from them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import end_ids_of, why_no_tokens
from llama_chat.conversation import Message, Role, short_id
from llama_chat.distribution.names import TokenNames
from llama_chat.events import LiveSampling, Token
from llama_chat.sessions import SessionRecord
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.tokens.look import TokenLook

if TYPE_CHECKING:
    from textual.app import App

    from llama_chat.replay import ReplayState

NO_REPLY = "There is no reply yet whose tokens could be shown."
_TEXT_KEYS = (
    "← → token · ⇧← ⇧→ least likely · ^← ^→ word · Enter candidates · Tab sliders · s shade · ? keys · Esc",
    "← → token · ⇧→ least likely · Enter candidates · s shade · ? all keys · Esc",
    "← → token · Enter candidates · Esc",
    "← → token · Esc",
)
_BARS_KEYS = ("↑ ↓ candidate · ← → token · Tab sliders · Esc text", "↑ ↓ candidate · Esc text")


async def show_tokens(app: App[None], record: SessionRecord | None, state: ReplayState) -> str:
    """Show the tokens of the last reply up to now; else why they cannot be."""
    reply = next((each for each in reversed(state.path) if each.role is Role.ASSISTANT), None)
    if reply is None or record is None:
        return NO_REPLY
    written = state.reply_tokens if state.is_replying and reply is state.message else None
    tokens, names = await asyncio.to_thread(_read, record, reply)
    tokens = tokens if written is None else tokens[:written]
    if not tokens:
        return NO_REPLY if written == 0 else why_no_tokens(reply)
    known = names if len(names) and names.fits(tokens) else TokenNames.of_tokens(tokens)
    sheet = TokenSheet(reply, tokens, known, end_ids_of(known, None))
    app.push_screen(ReplayTokens(sheet, LiveSampling(state.sampling), short_id(record.info.id)))
    return ""


def _read(record: SessionRecord, message: Message) -> tuple[Sequence[Token], TokenNames]:
    names = record.names_of(message.id) if record.names_of is not None else TokenNames()
    return record.tokens_of(message.id), names


class ReplayTokens(TokenLook):
    """Over the replay; the sliders move the bars, and nothing else.

    Args:
        sheet: what there is to see.
        sampling: where the sliders stand.
        session: how the session is named on the command line.
    """

    TEXT_KEYS: ClassVar[tuple[str, ...]] = _TEXT_KEYS
    BARS_KEYS: ClassVar[tuple[str, ...]] = _BARS_KEYS
    IS_CHAT: ClassVar[bool] = False

    def __init__(self, sheet: TokenSheet, sampling: LiveSampling, session: str) -> None:
        super().__init__(sheet, sampling)
        self._session = session

    @on(CandidateBars.Picked)
    def _say_where_to_go_on(self, event: CandidateBars.Picked) -> None:
        event.stop()
        self.hint(f"A replay stays as it was: llama-chat --resume {self._session} can go on from here.")
