"""Sessions to be replayed, made without a model: every token takes as long as one says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.events import FinishReason, Sampling, Token
from llama_chat.sessions import ModelRecord, SessionInfo, SessionRecord
from llama_chat.sessions.records import NO_CANDIDATES

BEGAN_AT = 1_763_640_000.0
MODEL = ModelRecord("SmolLM2-135M-Instruct", "f00d", "scratch", "cpu", "Q4_1", "")
TOKEN_S = 0.1
PREFILL_S = 0.5


class Script:
    """Writes a session down, message by message, on a clock of its own."""

    def __init__(self, title: str = "The fox and the river") -> None:
        self.conversation = Conversation()
        self.title = title
        self.now = BEGAN_AT
        self.tokens: dict[str, list[Token]] = {}

    def say(
        self, text: str, *, parent_id: str | None = None, role: Role = Role.USER, after_s: float = 1.0
    ) -> str:
        """A message of the user's (or the system's), so long after what came before; its id."""
        self.now += after_s
        parent = parent_id or self.conversation.leaf_id
        return self._add(Message(self._id(), parent, role, text, self.now)).id

    def reply(
        self,
        words: Sequence[str],
        *,
        parent_id: str | None = None,
        sampling: Sampling | None = None,
        moved: dict[int, Sampling] | None = None,
        reason: FinishReason = "end",
        by_user: Sequence[int] = (),
        keeps_tokens: bool = True,
    ) -> str:
        """A reply of these tokens, `moved` from these places on; its id."""
        sampling = sampling or Sampling()
        in_force, tokens = sampling, []
        for place, word in enumerate(words):
            in_force = (moved or {}).get(place, in_force)
            tokens.append(
                Token(
                    index=place,
                    token_id=100 + place,
                    piece=word.encode(),
                    text=word,
                    chosen_by="user" if place in by_user else "sampler",
                    logprob=-0.5,
                    rank=1,
                    candidates=NO_CANDIDATES,
                    seconds=TOKEN_S,
                    sampling=in_force,
                )
            )
        reply = Reply(
            seed=7,
            sampling=sampling,
            model=MODEL.name,
            token_ids=tuple(token.token_id for token in tokens),
            finish_reason=reason,
            prompt_tokens=36,
            prefill_s=PREFILL_S,
            decode_s=TOKEN_S * (len(words) - 1),
        )
        parent = parent_id or self.conversation.leaf_id
        message = self._add(Message(self._id(), parent, Role.ASSISTANT, "".join(words), self.now, reply))
        if keeps_tokens:
            self.tokens[message.id] = tokens
        self.now += PREFILL_S + TOKEN_S * len(words)
        return message.id

    def record(self) -> SessionRecord:
        """The session as the store gives it."""
        messages = self.conversation.messages
        info = SessionInfo(
            "5e55104" + "0" * 9, self.title, BEGAN_AT, self.now, MODEL.name, "2025-11-20", len(messages)
        )
        models = {message.id: MODEL for message in messages.values() if message.reply is not None}
        return SessionRecord(
            info, self.conversation, models, lambda message_id: self.tokens.get(message_id, [])
        )

    def _id(self) -> str:
        return f"{len(self.conversation.messages):016x}"

    def _add(self, message: Message) -> Message:
        return self.conversation.add(replace(message))


def words_of(text: str) -> list[str]:
    """The text as tokens: every word with the space before it."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def fox_session() -> SessionRecord:
    """Two turns, a reply that was written again, a slider moved in mid-reply, the first branch at last."""
    script = Script()
    question = script.say("Tell me about the **fox** and the river.", after_s=0)
    script.reply(
        words_of("Once upon a time, there was a fox named Felix. He lived by a wide, slow river."),
        moved={8: Sampling(temperature=1.2)},
    )
    first = script.conversation.leaf_id
    script.now += 30
    script.reply(words_of("A fox crossed the river, and the river kept quiet."), parent_id=question)
    script.say("And then?", after_s=5)
    script.reply(words_of("Then it slept."), sampling=Sampling(top_k=0), reason="stopped", by_user=[1])
    script.conversation.leaf_id = first
    return script.record()


def long_session(turns: int, tokens: int) -> SessionRecord:
    """Many turns with `tokens` tokens in all."""
    script = Script("A long talk")
    for turn in range(turns):
        script.say(f"Question {turn}: what comes next, and *why*?")
        script.reply([f" w{n}" for n in range(tokens // turns)])
    return script.record()
