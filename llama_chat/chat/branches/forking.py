"""A reply goes on from one of its tokens with another one, on a new branch; the old branch stays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.replying import Request
from llama_chat.compute_plan import cut
from llama_chat.conversation import Message, Reply, Role, new_id
from llama_chat.errors import ModelError, PromptError
from llama_chat.events import Engine, FinishReason

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat
    from llama_chat.sessions.forking import ForkPoint


class Forking:
    """Takes another token of a reply, or words of the user's in its place; the seed stays.

    The noise of the sampler belongs to a seed and a place, so what follows differs only by what was changed.
    What stands before the fork is not computed again where it is in the cache.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def take(self, message: Message, index: int, token_id: int) -> None:
        """Let the reply go on with this token instead of the one of that index.

        A reply that runs is stopped and kept before. A token that ends the turn ends the branch.

        Args:
            message: a reply of the conversation.
            index: of one of its tokens.
            token_id: one of that token's candidates.

        Raises:
            LlamaChatError: it cannot; the hint says what can be done.
        """
        reply = self._checked(message, index)
        if index >= len(reply.token_ids):
            raise PromptError(f"The reply has no token {index}.", hint="Type your own words to go on.")
        if self._piece_of(token_id) is None:
            raise PromptError(f"The model has no token {token_id}.", hint="Choose one that is shown.")
        self._chat.when_idle(lambda: self._take(message.id, index, token_id))

    def type_in(self, message: Message, index: int, text: str) -> None:
        """Let the reply go on with the user's words in the place of its tokens from that index on.

        Raises:
            LlamaChatError: as `take` has it; or there are no words.
        """
        self._checked(message, index)
        if not text:
            raise PromptError("There are no words to go on with.", hint="Type what is to come here.")
        self._chat.when_idle(lambda: self._type_in(message.id, index, text))

    def _checked(self, message: Message, index: int) -> Reply:
        """The reply, if the loaded model can go on with it."""
        chat, reply = self._chat, message.reply
        if reply is None or not reply.token_ids:
            raise PromptError(
                "This message cannot fork: its tokens were not chosen here.", hint=notices.ASK_INSTEAD
            )
        if chat.is_foreign(message):
            raise PromptError("Another chat is writing this reply.", hint="Ctrl+R asks for one of your own.")
        if not 0 <= index <= len(reply.token_ids):
            raise PromptError(f"The reply has no token {index}.", hint="Choose one that is shown.")
        if chat.info is None:
            is_coming = chat.status.model_state == "loading"
            hint = "It is being loaded: wait a moment." if is_coming else "F4 shows the models at hand."
            raise ModelError("To go on from here, a model must be loaded.", hint=hint)
        if reply.model not in ("", chat.info.name):
            raise ModelError(
                f"{reply.model} wrote this reply, and {chat.info.name} is loaded.",
                hint=f"F4 shows the models at hand: if {reply.model} is one of them, it can go on from here.",
            )
        return reply

    # --- once nothing runs --------------------------------------------------------------------------------

    def _take(self, message_id: str, index: int, token_id: int) -> None:
        message, info = self._chat.conversation.messages.get(message_id), self._chat.info
        if message is None or (reply := message.reply) is None or info is None:  # gone meanwhile
            self._chat.view.hint(notices.NOT_FORKED, "warning")
            return
        from llama_chat.sessions.forking import ForkPoint

        before = reply.token_ids[:index]
        if token_id in info.end_ids:
            text = "".join(self._texts(before))
            ended = self._branch(message, ForkPoint(index), before, text, finish_reason="end")
            self._chat.bridge.call(self._chat.bridge.store.pack_tokens, ended.id)
            self._chat.show()
            self._chat.view.hint(notices.FORKED_TO_END, holds=lambda: self._chat.rests_at(ended.id))
            return
        texts = self._texts((*before, token_id))
        leaf_before = self._chat.conversation.leaf_id
        fork = ForkPoint(index, token_id, self._piece_of(token_id) or b"", texts[-1] if texts else "")
        forked = self._branch(message, fork, (*before, token_id), "".join(texts))
        self._answer(message, forked, leaf_before)

    def _type_in(self, message_id: str, index: int, text: str) -> None:
        message = self._chat.conversation.messages.get(message_id)
        if message is None or (reply := message.reply) is None:
            self._chat.view.hint(notices.NOT_FORKED, "warning")
            return
        leaf_before = self._chat.conversation.leaf_id
        if index == 0:
            self._begin_with(message, reply, leaf_before, text)
            return
        from llama_chat.sessions.forking import ForkPoint

        before = reply.token_ids[:index]
        forked = self._branch(message, ForkPoint(index), before, "".join(self._texts(before)))
        self._answer(message, forked, leaf_before, text)

    def _begin_with(self, message: Message, reply: Reply, leaf_before: str | None, text: str) -> None:
        """A reply that begins with the words: as any other that is asked for, but for its seed."""
        chat = self._chat
        chat.conversation.begin_step(notices.step_name("the fork of", message))
        anew = chat.conversation.add_sibling(message.id, "", reply=replace(chat.new_reply(), seed=reply.seed))
        chat.show()
        chat.answer(Request(anew, leaf_before, prefill=text))

    def _piece_of(self, token_id: int) -> bytes | None:
        """The token's bytes; None where the loaded model has no such token."""

        def piece_in(engine: Engine) -> bytes | None:
            if not 0 <= token_id < engine.info.vocab_size:
                return None
            pieces = engine.pieces()
            return pieces[token_id] if token_id < len(pieces) else b""  # some leave ids at the end unused

        return self._chat.bridge.worker.ask(piece_in)

    def _texts(self, token_ids: Sequence[int]) -> Sequence[str]:
        def texts_of(engine: Engine) -> Sequence[str]:
            return engine.texts_of(token_ids)

        return self._chat.bridge.worker.ask(texts_of) or []

    def _branch(
        self,
        message: Message,
        fork: ForkPoint,
        token_ids: tuple[int, ...],
        text: str,
        finish_reason: FinishReason = "stopped",
    ) -> Message:
        """A sibling with what the reply says up to the fork, kept; the path ends with it."""
        chat, reply = self._chat, message.reply
        assert reply is not None
        plan = reply.plan and cut(reply.plan, reply.prompt_tokens + fork.index)
        if plan is not None and finish_reason == "end":
            plan = replace(plan, ended_by="user")
        share = fork.index / len(reply.token_ids) if reply.token_ids else 0.0
        forked_reply = replace(
            reply,
            token_ids=token_ids,
            finish_reason=finish_reason,
            error="",
            plan=plan,
            decode_s=reply.decode_s * share,
        )
        chat.conversation.begin_step(notices.step_name("the fork of", message))
        forked = chat.conversation.add(
            Message(new_id(), message.parent_id, Role.ASSISTANT, text, time.time(), forked_reply)
        )
        chat.keep_all([forked])
        chat.bridge.copy_tokens(chat.saved, message.id, forked.id, fork)
        return forked

    def _answer(self, message: Message, forked: Message, leaf_before: str | None, given: str = "") -> None:
        assert forked.reply is not None
        chat = self._chat
        chat.make_room(forked.reply)
        begun = replace(forked, reply=replace(forked.reply, finish_reason=None))
        chat.conversation.update(begun)
        chat.answer(
            Request(
                forked,
                leaf_before,
                prefill=given,
                is_continuation=True,
                is_copy=True,
                forked_from=message.id,
            ),
            showing=chat.show,  # 7 ms, in which the first token may come (2026-11-22)
        )
        chat.view.hint(notices.FORKED, is_quiet=True)
