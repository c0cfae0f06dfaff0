"""A chat without a screen that records itself: what a session is made of, in memory or in a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from llama_chat.conversation import Conversation, Message, Reply, Role, new_id
from llama_chat.events import Engine, Finished, LiveSampling, Sampling, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.sessions import ModelRecord, SessionInfo, SessionRecord, SessionStore
from llama_chat.turn import build_prompt

DATE = "2026-11-22"
SAMPLING = Sampling(temperature=0.8, top_k=40, max_new_tokens=16)


@dataclass
class RecordedChat:
    """One session as it comes to be, with every token; `record` is what a rerun takes.

    With a store all of it is kept there too, and the record is what the store gives back.
    """

    engine: Engine
    store: SessionStore | None = None
    conversation: Conversation = field(default_factory=Conversation)
    tokens: dict[str, list[Token]] = field(default_factory=dict)
    models: dict[str, ModelRecord] = field(default_factory=dict)
    session: SessionInfo = field(
        default_factory=lambda: SessionInfo(new_id(), "Chat", 0.0, 0.0, "fake", DATE, 0)
    )

    def __post_init__(self) -> None:
        if self.store is not None:
            self.session = self.store.create(title="Chat", date=DATE)
            self.store.set_model(self.session.id, self.engine.info)

    def system(self, text: str) -> None:
        """Another system prompt."""
        self._keep(self.conversation.set_system(text)[0])

    def say(self, text: str, **wishes: object) -> Message:
        """The reply to a new message of the user; the wishes are those of `regenerate`."""
        self._keep([self.conversation.append(Role.USER, text)])
        return self._reply(**wishes)  # type: ignore[arg-type]  # handed on

    def regenerate(self, message: Message, **wishes: object) -> Message:
        """Another reply beside this one."""
        self.conversation.leaf_id = message.parent_id
        return self._reply(**wishes)  # type: ignore[arg-type]  # handed on

    def go_on(self, message: Message, *, stop_after: int | None = None) -> Message:
        """The same reply, continued; with the settings that it ended with, and room for as many tokens."""
        assert message.reply is not None
        before = message.reply.plan.forwards if message.reply.plan is not None else ()
        sampling = self.tokens[message.id][-1].sampling
        sampling = replace(sampling, max_new_tokens=len(message.reply.token_ids) + SAMPLING.max_new_tokens)
        opened = replace(message, reply=replace(message.reply, finish_reason=None))
        if self.store is not None:
            opened = self.store.reopen_reply(self.session.id, message)
        path = self._path_to(message)
        return self._stream(opened, path, sampling, {}, stop_after, message.reply.token_ids, before)

    def swap(self, message: Message, index: int, token_id: int) -> Message:
        """A branch in which the user chose the token `index` of the reply."""
        assert message.reply is not None
        kept = self.tokens[message.id][: index + 1]
        piece = bytes([token_id]) if token_id < 256 else b""
        kept[index] = replace(kept[index], token_id=token_id, piece=piece, chosen_by="user")
        ids = tuple(token.token_id for token in kept)
        self.conversation.leaf_id = message.parent_id
        reply = replace(message.reply, token_ids=ids, finish_reason=None)
        fork = self.conversation.add(
            replace(message, id=new_id(), created_at=time.time(), reply=reply, text="")
        )
        self.tokens[fork.id] = kept
        return self._stream(fork, self._path_to(fork), kept[-1].sampling, {}, None, ids, ())

    @property
    def record(self) -> SessionRecord:
        """All of it."""
        if self.store is not None:
            return self.store.record(self.session.id)
        return SessionRecord(
            self.session, self.conversation, self.models, lambda id_: self.tokens.get(id_, [])
        )

    # --- how ------------------------------------------------------------------------------------------

    def _reply(
        self,
        *,
        sampling: Sampling = SAMPLING,
        seed: int = 7,
        moves: Mapping[int, Sampling] | None = None,
        stop_after: int | None = None,
        given: str = "",
    ) -> Message:
        path = self.conversation.path()
        reply = Reply(seed, sampling, self.engine.info.name)
        message = self.conversation.append(Role.ASSISTANT, "", reply=reply)
        if self.store is not None:
            self.store.begin_reply(self.session.id, message)
        return self._stream(message, path, sampling, moves or {}, stop_after, given=given)

    def _stream(
        self,
        message: Message,
        path: Sequence[Message],
        sampling: Sampling,
        moves: Mapping[int, Sampling],
        stop_after: int | None,
        forced_ids: Sequence[int] = (),
        plan: Sequence[object] = (),
        given: str = "",
    ) -> Message:
        assert message.reply is not None
        builder, live, cancel = ReplyBuilder(message), LiveSampling(sampling), threading.Event()
        prompt = build_prompt(self.engine, path, date=DATE, max_new_tokens=sampling.max_new_tokens)
        kept = self.tokens.setdefault(message.id, [])
        for event in self.engine.stream(
            prompt.pieces,
            sampling=live,
            seed=message.reply.seed,
            forced_ids=forced_ids,
            plan=plan,  # type: ignore[arg-type]  # forwards
            given=given,
            cancel=cancel,
        ):
            builder.feed(event)
            if isinstance(event, Token):
                kept.append(event)
                if self.store is not None:
                    self.store.append_tokens(message.id, [event])
                live.current = moves.get(event.index + 1, live.current)
                if stop_after is not None and event.index + 1 >= stop_after:
                    cancel.set()
        assert isinstance(event, Finished), event
        return self._finish(builder.message, event.end)

    def _finish(self, message: Message, end: Token | None) -> Message:
        self.conversation.update(message)
        info = self.engine.info
        self.models[message.id] = ModelRecord(
            *(info.name, info.fingerprint, info.engine, info.device, info.dtype),
            template=info.chat_template or "",
            path=info.path,
        )
        if self.store is not None:
            self.store.finish_reply(self.session.id, message, end=end)
        return message

    def _keep(self, messages: Sequence[Message]) -> None:
        if self.store is not None:
            self.store.add_messages(self.session.id, messages, self.conversation.leaf_id)

    def _path_to(self, message: Message) -> list[Message]:
        whole, self.conversation.leaf_id = self.conversation.leaf_id, message.parent_id
        path = self.conversation.path()
        self.conversation.leaf_id = whole
        return path
