"""The questions of a session, put to another model: with the same seeds and settings, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.errors import PromptError
from llama_chat.events import Engine, Event, Failed, LiveSampling, Sampling, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.rerun.recorded import sampling_of
from llama_chat.sessions import SessionRecord
from llama_chat.turn import build_prompt


@dataclass(frozen=True, slots=True)
class Question:
    """What the user said at one point of the path, and what was answered."""

    number: int
    """From 1."""
    message: Message
    answer: Message | None
    """None where the session ends with the question."""


def questions_of(record: SessionRecord) -> list[Question]:
    """What was answered on the path that the session shows, and a last question without an answer."""
    path = record.conversation.path()
    found: list[Question] = []
    for message, below in zip(path, [*path[1:], None], strict=True):
        is_answered = below is None or below.role is Role.ASSISTANT
        if message.role is Role.USER and is_answered:
            found.append(Question(len(found) + 1, message, below))
    return found


class Interview:
    """Another model's own conversation about the same questions.

    Args:
        record: of the session.
        engine: that is asked.
    """

    def __init__(self, record: SessionRecord, engine: Engine) -> None:
        self._record, self._engine = record, engine
        self._conversation = Conversation()
        self._conversation.set_system(record.conversation.system)
        self._before = [message for message in record.conversation.path() if message.role is Role.USER]

    def ask(self, question: Question, cancel: threading.Event) -> Iterator[Event]:
        """The events of the answer, which is `answer` afterwards.

        Where the sliders were moved in the recorded answer, they move at the same tokens.

        Raises:
            PromptError: the question cannot be put; the next one can, as if this one had not been said.
            LlamaChatError: there is no answer.
        """
        samplings = self._samplings(question)
        answered_id = self._conversation.leaf_id
        self._say_up_to(question)
        try:
            prompt = build_prompt(
                self._engine,
                self._conversation.path(),
                date=self._record.info.date,
                max_new_tokens=samplings[0].max_new_tokens,
            )
        except PromptError:
            self._conversation.leaf_id = answered_id
            raise
        reply = question.answer.reply if question.answer is not None else None
        seed = reply.seed if reply is not None else 0
        builder = ReplyBuilder(
            self._conversation.append(
                Role.ASSISTANT,
                "",
                reply=Reply(seed, samplings[0], self._engine.info.name, context_start=prompt.context_start),
            )
        )
        live = LiveSampling(samplings[0])
        for event in self._engine.stream(prompt.pieces, sampling=live, seed=seed, cancel=cancel):
            if isinstance(event, Failed):
                raise event.error
            builder.feed(event)
            self._conversation.update(builder.message)
            yield event
            if isinstance(event, Token):
                live.current = samplings[min(event.index + 1, len(samplings) - 1)]

    @property
    def answer(self) -> Message:
        """What it said last."""
        return self._conversation.path()[-1]

    def _say_up_to(self, question: Question) -> None:
        """Put in what the user said since the last answer; mostly that is the question alone."""
        while self._before:
            message = self._before.pop(0)
            self._conversation.append(Role.USER, message.text)
            if message.id == question.message.id:
                return

    def _samplings(self, question: Question) -> list[Sampling]:
        """The settings by token."""
        answer = question.answer
        if answer is None or answer.reply is None:
            return [Sampling()]
        tokens_of = self._record.plain_tokens_of or self._record.tokens_of
        return sampling_of(answer.reply, tokens_of(answer.id))
