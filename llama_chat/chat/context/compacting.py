"""`/compact`: the model summarises the older part of the path; the summary begins a branch with the rest.

Meanwhile the question and the summary hang below the older part, to be read and streamed as any reply. They
are taken away again: nothing but the new branch stays, or nothing at all where it was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.branches.siblings import end_of_own_path
from llama_chat.chat.context.estimating import estimated_tokens
from llama_chat.chat.context.summaries import (
    INSTRUCTION,
    SUMMARY_MESSAGES,
    Parts,
    count_of,
    parts_of,
    put_in,
    summarised_messages,
    summary_text,
)
from llama_chat.chat.replying import Request
from llama_chat.conversation import Conversation, Message, Reply, Role

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat


@dataclass(frozen=True, slots=True)
class _Going:
    """A summary that is being written."""

    conversation: Conversation
    parts: Parts
    system_id: str | None
    leaf_before: str | None
    question: Message
    reply_id: str


class Compacting:
    """Shortens the path that is shown. Never done unasked: a summary leaves out what it leaves out."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def begin(self) -> None:
        """Let the model summarise all but the last exchanges."""
        chat = self._chat
        conversation = chat.conversation
        if chat.is_replying or chat.opening.is_going_on:
            chat.view.hint(notices.STILL_WRITTEN)
            return
        if conversation.leaf_id != end_of_own_path(conversation, chat.is_foreign):
            chat.view.hint(notices.NOT_COMPACTED_ELSEWHERE)
            return
        parts = parts_of(conversation.turns)
        if parts is None:
            chat.view.hint(notices.NOTHING_TO_COMPACT)
        elif not chat.must_ask("Alt+K again asks for the summary."):
            self._ask(parts)

    def _ask(self, parts: Parts) -> None:
        chat, conversation = self._chat, self._chat.conversation
        first = conversation.path()[0]
        leaf_before = conversation.leaf_id
        conversation.leaf_id = parts.older[-1].id
        question = conversation.append(Role.USER, INSTRUCTION)
        reply = conversation.append(Role.ASSISTANT, "", reply=chat.new_reply())
        system_id = first.id if first.role is Role.SYSTEM else None
        going = _Going(conversation, parts, system_id, leaf_before, question, reply.id)
        chat.show()
        chat.view.hint(notices.compacting(count_of(parts.older)))
        request = Request(reply, leaf_before, is_held=False)
        chat.answer(request, [question], afterwards=lambda: self._ended(going))

    def _ended(self, going: _Going) -> None:
        """Put the summary in; without one, all is as it was."""
        chat, conversation = self._chat, going.conversation
        message = conversation.messages.get(going.reply_id)
        reply = message.reply if message is not None else None
        working = [each for each in (message, going.question) if each is not None]
        for each in working:
            conversation.remove(each.id)
        conversation.leaf_id = going.leaf_before
        if message is not None and reply is not None and _is_summary(message, reply):
            self._put_in(going, message)
        elif message is not None:
            chat.view.hint(notices.not_compacted(reply), "info" if _was_stopped(reply) else "warning")
        chat.bridge.take_back(chat.saved, working, conversation.leaf_id, is_everything=False)
        chat.show(keep_notices=message is None)  # why it was refused is said there
        if conversation.leaf_id != going.leaf_before and message is not None and reply is not None:
            self._tell(going, reply)

    def _put_in(self, going: _Going, message: Message) -> None:
        text = summary_text(message.text, count_of(going.parts.older))
        self._begin_branch(going.conversation, going.system_id, text, going.parts.kept)

    def is_summary(self, message_id: str, text: str) -> bool:
        """Whether the path begins with this message, which is a summary, and would with this text."""
        first = next(iter(self._chat.conversation.turns), None)
        is_one = first is not None and first.id == message_id and summarised_messages(first) > 0
        return is_one and first is not None and summarised_messages(replace(first, text=text)) > 0

    def keep_edited(self, text: str) -> bool:
        """Put other words into the place of the summary that the path begins with; what follows it stays."""
        self._chat.when_idle(lambda: self._keep_edited(text), told=notices.STOPPED)
        return True

    def _keep_edited(self, text: str) -> None:
        conversation = self._chat.conversation
        first, turns = conversation.path()[:1], conversation.turns
        system_id = next((message.id for message in first if message.role is Role.SYSTEM), None)
        if turns and summarised_messages(turns[0]):
            self._begin_branch(conversation, system_id, text, turns[SUMMARY_MESSAGES:])
            self._chat.show()
            self._chat.view.hint(notices.SUMMARY_KEPT)

    def _begin_branch(
        self, conversation: Conversation, system_id: str | None, summary: str, kept: Sequence[Message]
    ) -> None:
        chat = self._chat
        conversation.begin_step(notices.SUMMARY_STEP)
        added, originals = put_in(conversation, system_id, summary, kept)
        chat.keep_copies(added, originals)

    def _tell(self, going: _Going, reply: Reply) -> None:
        older = going.parts.older
        left_out = next((n for n, each in enumerate(older) if each.id == reply.context_start), 0)
        words = notices.compacted(
            count_of(older),
            estimated_tokens(older),
            len(reply.token_ids),
            left_out,
            reply.finish_reason == "length",
        )
        notices.mark_summary(self._chat.view, going.conversation, words)
        self._chat.view.hint(notices.COMPACTED)


def _is_summary(message: Message, reply: Reply) -> bool:
    return bool(message.text.strip()) and reply.finish_reason in ("end", "length")


def _was_stopped(reply: Reply | None) -> bool:
    return reply is not None and reply.finish_reason == "stopped"
