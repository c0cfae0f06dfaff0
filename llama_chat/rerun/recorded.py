"""A reply as a rerun needs it: which tokens, who chose them, with which settings, after which prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Forward, ModelInfo, Piece, Sampling, Token
from llama_chat.sessions import ModelRecord, SessionRecord
from llama_chat.template.chat_template import ChatTemplate, render_raw
from llama_chat.template.sandbox import render_budget
from llama_chat.turn import TEMPLATE_LIMIT_S


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """One reply out of a session."""

    number: int
    """From 1, in the order of the session."""
    message: Message
    reply: Reply
    path: tuple[Message, ...]
    """What it answers: from the root to the user's message."""
    date: str
    model: ModelRecord | None
    tokens: Sequence[Token] = ()
    """By index; empty until they are read, and where only the ids were kept."""
    end_sampling: Sampling | None = None
    """The settings of the end, where they are others than those of the last token."""

    def with_tokens(self, record: SessionRecord) -> RecordedReply:
        """The same, its tokens read."""
        tokens = record.tokens_of(self.message.id)
        is_whole = [token.token_id for token in tokens] == list(self.ids)
        end_sampling = record.end_sampling_of(self.message.id)
        return replace(self, tokens=tokens if is_whole else (), end_sampling=end_sampling)

    @property
    def ids(self) -> tuple[int, ...]:
        """Of its tokens."""
        return self.reply.token_ids

    @property
    def forwards(self) -> Sequence[Forward]:
        """How it was computed."""
        return self.reply.plan.forwards if self.reply.plan is not None else ()

    @property
    def step(self) -> str | None:
        """Which code computed its decode steps; None where that was not recorded."""
        return self.reply.plan.step if self.reply.plan is not None else None

    @property
    def alteration(self) -> str | None:
        """Signature of what was altered in the model; None where that is not known."""
        return self.reply.plan.alteration if self.reply.plan is not None else None

    @property
    def ends_itself(self) -> bool:
        """Whether the model chose its end: that is judged as a token is; an end of the user's is not."""
        is_by_user = self.reply.plan is not None and self.reply.plan.ended_by == "user"
        return self.reply.finish_reason == "end" and not is_by_user

    @property
    def places(self) -> int:
        """How many choices there were: one a token, and the end."""
        return len(self.ids) + self.ends_itself

    def token_at(self, place: int) -> Token | None:
        """What is known of the token."""
        return self.tokens[place] if place < len(self.tokens) else None

    def is_by_user(self, place: int) -> bool:
        """Whether the user chose the token."""
        token = self.token_at(place)
        return token is not None and token.chosen_by == "user"

    def logprob_at(self, place: int) -> float | None:
        """The recorded token's log-probability, if it was kept."""
        token = self.token_at(place)
        return token.logprob if token is not None and math.isfinite(token.logprob) else None

    def sampling_at(self, place: int) -> Sampling:
        """The settings that the token, or behind the last one the end, was drawn with."""
        if place >= len(self.ids) and self.end_sampling is not None:
            return self.end_sampling
        if not self.tokens:
            return self.reply.sampling
        return self.tokens[min(place, len(self.tokens) - 1)].sampling

    def text_between(self, start: int, end: int) -> str:
        """The text of these tokens; empty where only ids were kept."""
        return "".join(token.text for token in self.tokens[max(0, start) : end])

    def prompt(self, info: ModelInfo) -> tuple[Piece, ...]:
        """What the model was given: by the template of that time, without the messages left out then.

        Raises:
            TemplateError: the recorded template fails.
        """
        if self.model is not None:
            info = replace(info, name=self.model.name, chat_template=self.model.template or None)
        system = [message for message in self.path[:1] if message.role is Role.SYSTEM]
        turns = self.path[len(system) :]
        ids = [message.id for message in turns]
        start = ids.index(self.reply.context_start) if self.reply.context_start in ids else 0
        messages = [*system, *turns[start:]]
        template = ChatTemplate.of_model(info)
        if template is None:
            return tuple(render_raw(messages, info.name))
        with render_budget(TEMPLATE_LIMIT_S):
            return tuple(template.render(messages, today=self.date))


def sampling_of(reply: Reply, tokens: Sequence[Token]) -> list[Sampling]:
    """The settings by token; one where the tokens were not kept."""
    return [token.sampling for token in tokens] or [reply.sampling]


def recorded_replies(record: SessionRecord) -> list[RecordedReply]:
    """Every reply that a model wrote, of all branches, in the order in which they were begun.

    Their tokens are not read yet: each `with_tokens` reads its own. A reply that was copied below another
    system prompt is there once, where it was written.
    """
    found: list[RecordedReply] = []
    seen: set[tuple[object, ...]] = set()
    for message in record.conversation.messages.values():
        reply = message.reply
        if reply is None or not (reply.token_ids or reply.finish_reason == "end"):
            continue
        written = (message.created_at, reply.seed, reply.token_ids)
        if written in seen:
            continue
        seen.add(written)
        found.append(_recorded(record, message, reply, len(found) + 1))
    return found


def _recorded(record: SessionRecord, message: Message, reply: Reply, number: int) -> RecordedReply:
    messages = record.conversation.messages
    path: list[Message] = []
    parent_id = message.parent_id
    while parent_id is not None:
        path.append(messages[parent_id])
        parent_id = messages[parent_id].parent_id
    return RecordedReply(
        number=number,
        message=message,
        reply=reply,
        path=tuple(reversed(path)),
        date=record.info.date,
        model=record.models.get(message.id),
    )
