"""The tokens of a message on a screen of their own: what each was chosen from, and going on from another."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Input

from llama_chat.chat.tokens.naming import ask_names, names_at_hand
from llama_chat.chat.tokens.reading import LiveTokens, read_tokens
from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import (
    IS_SCORED,
    NO_MODEL_TO_SCORE,
    SCORE_OFFER,
    end_ids_of,
    why_no_tokens,
)
from llama_chat.chat.view import NoticeKind
from llama_chat.conversation import Message, Role
from llama_chat.distribution.names import TokenNames
from llama_chat.errors import LlamaChatError
from llama_chat.events import Token
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.tokens.look import TokenLook
from llama_chat.ui.walk.opening import path_to
from llama_chat.ui.walk.waiting import heard

if TYPE_CHECKING:
    from llama_chat.chat.tokens.scoring import MessageScores
    from llama_chat.ui.screens.chat_view import ChatViewScreen

STANDS_THERE = "That is the token that stands there: choose another one to go on from here."
NO_TOKEN_YET = "The reply has no token yet; each is shown as it comes."
NO_TOKEN = "The reply ended before its first token."
_EMPTY_KEYS = ("Enter scores it · Esc back", "Esc back")


class TokenScreen(TokenLook):
    """Over the chat, which goes on behind it; Esc goes back.

    Args:
        chat_screen: whose message it is.
        message: as far as it is written.
        scores: asks the model of a text that nobody kept tokens of.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "type_in", "Your own words", show=False),
        Binding("w", "walk", "Walk", show=False),
        Binding("a", "looks", "Where it looked", show=False),
        Binding("f4", "models", "Another model", show=False),
    ]

    def __init__(self, chat_screen: ChatViewScreen, message: Message, scores: MessageScores) -> None:
        super().__init__(TokenSheet(message), chat_screen.bridge.sampling)
        self._chat_screen = chat_screen
        self._chat = chat_screen.chat
        self._scores = scores
        self._tokens: list[Token] = []
        self._live: LiveTokens | None = None
        self._asking: asyncio.Task[None] | None = None
        self._cancel = threading.Event()

    def on_mount(self) -> None:
        """Ask the store for the tokens."""
        super().on_mount()
        self._asking = asyncio.ensure_future(self._load_or_say_why_not())

    def on_unmount(self) -> None:
        """Listen no more, and keep where the sliders stand."""
        self._cancel.set()
        if self._live is not None:
            self._live.close()
        if self._asking is not None:
            self._asking.cancel()
        for setting, value in self.moved.items():
            self._chat.bridge.save_setting("sampling", setting, value)
        if self.moved:
            self._chat_screen.sampling_changed()

    def hint(self, words: str, kind: NoticeKind = "info") -> None:
        """Say something in passing, with the keys as they are bound."""
        super().hint(self._chat_screen.keys.in_words(words), kind)

    # --- what there is to see -----------------------------------------------------------------------------

    @property
    def message(self) -> Message:
        """The message, as far as it is written."""
        return self._chat.message_now(self.sheet.message.id) or self.sheet.message

    async def _load_or_say_why_not(self) -> None:
        try:
            await self._load()
        except LlamaChatError as error:  # the store does not answer
            self.show_empty(self._chat_screen.keys.in_words(str(error)), "Esc back")

    async def _load(self) -> None:
        """The tokens without candidates at once, with them a moment later, and what comes meanwhile."""
        bridge, message = self._chat.bridge, self.sheet.message
        if message.id == self._chat.running_id:
            self._live = LiveTokens(self._chat, message.id, self._take_new)
        names = heard(ask_names(bridge, message.id))
        plain = await asyncio.wrap_future(read_tokens(bridge, message, with_candidates=False))
        if plain:
            self._take(plain, TokenNames.of_tokens(plain))
        whole = await asyncio.wrap_future(read_tokens(bridge, message, with_candidates=True))
        try:
            known = await names
        except LlamaChatError:
            known = TokenNames()
        if not len(known) and self._live is not None:
            known = names_at_hand(bridge)
        self._take(whole, known if len(known) and known.fits(whole) else TokenNames.of_tokens(whole))
        self._take_new()
        if not self._tokens:
            self._say_why_empty()
        elif self._live is not None:
            self.view.go_to(len(self._tokens) - 1)

    def _take(self, tokens: list[Token], names: TokenNames) -> None:
        self._tokens = tokens
        end_ids = end_ids_of(names, self._chat.info)
        self.show_sheet(TokenSheet(self.message, tokens, names, end_ids, self._is_running))

    @property
    def _is_running(self) -> bool:
        return self._live is not None and not self._live.is_over

    def _take_new(self) -> None:
        """Show what the reply that runs has said since."""
        if self._live is None or not self.is_mounted:
            return
        new = self._live.take_behind(self._tokens)
        is_over = not self._is_running and self.sheet.is_running
        if not new and not is_over:
            return
        is_first = bool(new) and not self._tokens
        self._tokens = [*self._tokens, *new]
        names = self.sheet.names
        if not all(names.piece(token.token_id) == token.piece for token in new):
            names = TokenNames.of_tokens(self._tokens)
        sheet = self.sheet.with_more(self.message, self._tokens, names, is_running=self._is_running)
        self.show_sheet(sheet, is_longer=not is_first)
        if is_first and self.has_class("-empty"):
            self.remove_class("-empty")
            self.view.focus()
            self.view.go_to(len(new) - 1)
        elif not self._tokens:
            self._say_why_empty()

    # --- what nobody kept tokens of -----------------------------------------------------------------------

    def _say_why_empty(self) -> None:
        """Why there are no tokens, and who could be asked; of a reply that runs, that they come."""
        if self._live is not None:
            self.show_empty(NO_TOKEN_YET if self._is_running else NO_TOKEN, "Esc back")
            return
        message = self.message
        can_be_asked = self._chat.info is not None
        offer = SCORE_OFFER if can_be_asked else NO_MODEL_TO_SCORE
        if message.role is Role.SYSTEM or not message.text.strip():
            offer = ""
        words = self._chat_screen.keys.in_words(f"{why_no_tokens(message)} {offer}".strip())
        self.show_empty(words, *(_EMPTY_KEYS if offer and can_be_asked else _EMPTY_KEYS[1:]))

    def action_enter(self) -> None:
        """To the candidates; where there are none, ask the model."""
        if not self.has_class("-empty"):
            super().action_enter()
        elif self._live is None and (self._asking is None or self._asking.done()):
            self._asking = asyncio.ensure_future(self._score())

    async def _score(self) -> None:
        message = self.message
        self.show_empty(IS_SCORED, "Esc back")
        path = path_to(self._chat.conversation, message)
        try:
            asked = self._scores.score(path, self._chat.saved.date, self._cancel)
            found = await asyncio.wrap_future(asked)
        except LlamaChatError as error:
            self.show_empty(self._chat_screen.keys.in_words(str(error)), "Esc back")
            return
        self._tokens = list(found.tokens)
        self.remove_class("-empty")
        end_ids = end_ids_of(found.names, self._chat.info)
        self.show_sheet(TokenSheet(message, self._tokens, found.names, end_ids, judged_by=found.model))
        self.view.focus()

    # --- going on from here -------------------------------------------------------------------------------

    @on(CandidateBars.Picked)
    def _fork(self, event: CandidateBars.Picked) -> None:
        event.stop()
        token = self._tokens[self.view.cursor]
        if event.token_id == token.token_id:
            self.hint(STANDS_THERE)
            return
        try:
            self._chat.forking.take(self.message, token.index, event.token_id)
        except LlamaChatError as error:
            self.hint(str(error), "warning")
        else:
            self.action_leave()

    def action_type_in(self) -> None:
        """Ask for words to go on with from here."""
        if len(self.sheet):
            self.add_class("-typing")
            self.typed.value = ""
            self.typed.focus()

    @on(Input.Submitted)
    def _type_in(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self._chat.forking.type_in(self.message, self._tokens[self.view.cursor].index, event.value)
        except LlamaChatError as error:
            self.hint(str(error), "warning")
        else:
            self.action_leave()

    # --- other ways to look at it -------------------------------------------------------------------------

    @property
    def _index(self) -> int | None:
        """Of the token under the cursor in its reply; None where the message is no reply of that model."""
        token = self._tokens[self.view.cursor]
        return None if self.sheet.is_opinion else token.index

    def action_walk(self) -> None:
        """The way through the model to this token."""
        from llama_chat.ui.walk.opening import open_walk

        if len(self.sheet):
            open_walk(self._chat_screen, self.message, self._index)

    def action_looks(self) -> None:
        """Where the model looked for this token, in the transcript."""
        from llama_chat.ui.looks.opening import open_looks

        if not len(self.sheet):
            return
        try:
            open_looks(self._chat_screen, self.message, self._index or 0)  # it leaves this screen
        except LlamaChatError as error:
            self.hint(str(error), "warning")

    def action_models(self) -> None:
        """The models at hand; the chat goes on with the one that is chosen."""
        self.action_leave()
        self._chat_screen.call_later(self._chat_screen.run_action, "screen.model")
