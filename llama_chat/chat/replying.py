"""The reply that is being written, or waits for the model: what it says so far, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.chat.live import LiveFigures
from llama_chat.chat.thoughts import ThoughtMeter
from llama_chat.chat.words import format_figures
from llama_chat.conversation import Conversation, Message
from llama_chat.events import Event, Prefilled, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.worker import Turn

if TYPE_CHECKING:
    from llama_chat.turn import Prompt  # brings jinja2, which the first paint need not wait for


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the model, and what is undone if it does not take the turn."""

    reply: Message
    """The message at the end of the path, empty or as far as it goes."""
    leaf_before: str | None
    """Where the path goes back to, if the model does not take the turn."""
    words: Message | None = None
    """The user's message that it answers, when that is new."""
    edited: Message | None = None
    """The message that those words take the place of."""
    prefill: str = ""
    """What a new reply begins with, or one goes on with, in the user's words."""
    is_continuation: bool = False
    """Whether the reply is there already, and goes on from its last token."""
    is_held: bool = True
    """Whether the user may let it wait; off for what the program asks on its own account."""
    is_copy: bool = False
    """Whether it was copied to be gone on with: then it goes again."""
    forked_from: str = ""
    """The id of the reply that its beginning is of."""

    def turn(self, path: Sequence[Message], saved: SavedSession) -> Turn:
        """The turn for the worker.

        Args:
            path: what stands before the reply.
            saved: where the reply is kept.
        """
        if self.is_continuation:
            written_by = partial(saved.model_of_reply, self.forked_from or self.reply.id)
            return replace(Turn.going_on(self.reply, path, saved.date, written_by), given=self.prefill)
        return Turn(self.reply, tuple(path), saved.date, given=self.prefill, is_held=self.is_held)


@dataclass(slots=True)
class Replying:
    """One reply from the moment that it is wanted to its last event."""

    turn: Turn
    request: Request
    figures: LiveFigures = field(default_factory=LiveFigures)
    thoughts: ThoughtMeter = field(default_factory=ThoughtMeter)
    _builder: ReplyBuilder | None = None
    _is_rewritten: bool = False

    @property
    def id(self) -> str:
        """The id of the assistant's message."""
        return self.turn.reply.id

    @property
    def has_begun(self) -> bool:
        """Whether the model has taken the turn."""
        return self._builder is not None

    @property
    def was_stopped(self) -> bool:
        """Whether it was ended on the way, by the user or by what he did next."""
        reply = self.message.reply
        return reply is not None and reply.finish_reason == "stopped"

    @property
    def message(self) -> Message:
        """What it is so far."""
        return self._builder.message if self._builder else self.turn.reply

    def take_back(self, conversation: Conversation) -> list[Message]:
        """The messages that come out of the conversation, with the reply, which the model did not take.

        A reply that should have gone on is what it was.
        """
        request = self.request
        if request.is_copy:
            conversation.remove(self.id)
            conversation.leaf_id = request.leaf_before
            return [self.turn.reply]
        if request.is_continuation:
            conversation.update(self.turn.reply)
            return []
        words = [] if request.words is None else [request.words]
        for message_id in (self.id, *(message.id for message in words)):
            conversation.remove(message_id)
        conversation.leaf_id = request.leaf_before
        return words

    def begin(self, prompt: Prompt, *, model: str) -> None:
        """The model of this name has taken the turn, and reads that prompt."""
        self.figures.prompt_tokens = prompt.tokens
        self.figures.tokens_before = len(self.turn.forced_ids)
        reply = self.turn.reply.reply
        assert reply is not None
        record = replace(reply, model=model, context_start=prompt.context_start)
        if self.request.is_continuation:
            self.thoughts = ThoughtMeter(self.turn.reply.text)
        self._builder = ReplyBuilder(replace(self.turn.reply, reply=record))

    def feed(self, events: Iterable[Event]) -> str:
        """The text that came with the events."""
        assert self._builder is not None, "events of a turn that was not taken"
        for event in events:
            self._builder.feed(event)
            self.figures.feed(event)
            if isinstance(event, Token):
                self.thoughts.feed(event.text, event.seconds)
            if (
                isinstance(event, Prefilled)
                and event.forced_text is not None
                and self.request.is_continuation
            ):
                self._is_rewritten |= event.forced_text != self.turn.reply.text
            if isinstance(event, Prefilled) and event.plan is not None and event.plan.alteration:
                self._is_rewritten = True  # its head says so from now on
        return self.figures.take_text()

    def take_rewritten(self) -> bool:
        """Whether the text that was there is another now, since the last call: a cut character went."""
        was_rewritten, self._is_rewritten = self._is_rewritten, False
        return was_rewritten

    def head(self, *, is_model_ready: bool) -> str:
        """What stands beside the name of the speaker meanwhile."""
        if not self.has_begun:
            return "…" if is_model_ready else "waits for the model"
        if not self.figures.tokens:
            return "reading…"
        return format_figures(self.figures.tokens_before + self.figures.tokens, self.figures.tok_per_s)
