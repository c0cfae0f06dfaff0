"""The figures of a reply while it is written, and of the model behind it: plain data for the status bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llama_chat.chat.context.estimating import estimated_tokens
from llama_chat.conversation import Message, Role
from llama_chat.events import Awaiting, Event, Finished, Loading, ModelInfo, Prefilled, Token
from llama_chat.steering import Hold

ModelState: TypeAlias = Literal["loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """What the status bar says."""

    model_state: ModelState = "loading"
    doing: str = "starting"
    """What the program is at: a part of the loading as the engine names it, `ready`, `generating`."""
    fraction: float | None = None
    """Of the loading, 0 to 1; None where nobody knows."""
    is_replying: bool = False
    tok_per_s: float = 0.0
    """Of the reply that is written, or of the last one."""
    first_token_s: float | None = None
    context_used: int = 0
    is_estimate: bool = False
    """Whether nobody has counted all of `context_used`: after an edited reply, or words without a reply."""
    context_length: int = 0
    dropped_messages: int = 0
    """How many of the oldest messages the model no longer sees, because the context was full."""
    reused_tokens: int = 0
    is_saved: bool = True
    can_be_saved: bool = True
    """Off when the store never opened: what is not saved stays so."""
    hold: Hold = ""
    """Whether the reply is to wait for its user, or the next one is."""
    awaiting: Awaiting | None = None
    """What the next token of the reply is chosen from, while it waits."""
    engine: str = ""
    """`scratch` or `hf`, once the model is there."""
    engine_reason: str = ""

    def of_path(self, path: Sequence[Message]) -> Status:
        """What the context held at the last reply of the path that is over, and about what came after it.

        How fast that was stands beside the reply; here it would pass for what the model is at now.
        """
        replies = (message.reply for message in reversed(path) if message.reply is not None)
        last = next((reply for reply in replies if reply.finish_reason is not None), None)
        used, is_estimate = _held(path)
        return replace(
            self,
            context_used=used,
            is_estimate=is_estimate,
            dropped_messages=_messages_before(path, last.context_start) if last else 0,
            reused_tokens=0,
            tok_per_s=0.0,
            first_token_s=None,
        )

    def with_model(self, info: ModelInfo) -> Status:
        """The model is there."""
        return replace(
            self,
            model_state="ready",
            doing="ready",
            fraction=None,
            context_length=info.context_length,
            engine=info.engine,
            engine_reason=info.engine_reason,
        )


def _held(path: Sequence[Message]) -> tuple[int, bool]:
    """How many tokens the context holds at the end of the path, and whether that is an estimate.

    Counted is what a prompt led to. What came after that is estimated: copies of replies, replies that the
    user wrote, and words that nobody answers yet.
    """
    last = path[-1].reply if path else None
    is_being_answered = last is not None and last.finish_reason is None
    path = path[:-2] if is_being_answered else path
    if all(message.role is Role.SYSTEM for message in path):
        return 0, False
    counted = counted_place(path)
    if counted is None or (reply := path[counted].reply) is None:
        return estimated_tokens(path), True
    since = path[counted + 1 :]
    return reply.prompt_tokens + len(reply.token_ids) + estimated_tokens(since), bool(since)


def counted_place(path: Sequence[Message]) -> int | None:
    """Where the last reply stands whose prompt was counted; None: nowhere."""
    replies = ((n, path[n].reply) for n in range(len(path) - 1, -1, -1))
    return next((n for n, reply in replies if reply is not None and reply.prompt_tokens), None)


def _messages_before(path: Sequence[Message], message_id: str | None) -> int:
    """How many messages of the path, but the system prompt, come before this one; 0 where it is not there."""
    turns = [message.id for message in path if message.role is not Role.SYSTEM]
    return turns.index(message_id) if message_id in turns else 0


@dataclass(slots=True)
class LiveFigures:
    """Counts along with a reply."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    prefill_s: float = 0.0
    fraction: float | None = None
    """How much of a long prompt is read."""
    first_token_s: float | None = None
    tokens_before: int = 0
    """Those that a reply which goes on has had already."""
    tokens: int = 0
    decode_s: float = 0.0
    awaiting: Awaiting | None = None
    text: list[str] = field(default_factory=list)
    """What became readable since `take_text`."""

    def feed(self, event: Event) -> None:
        """Take one event into account."""
        self.awaiting = event if isinstance(event, Awaiting) else None
        match event:
            case Loading():
                self.fraction = event.fraction
            case Prefilled():
                self.fraction = None
                self.prompt_tokens, self.reused_tokens = event.prompt_tokens, event.reused_tokens
                self.prefill_s = event.seconds
            case Token(chosen_by="user", seconds=0):  # it was prefilled
                self.tokens_before += 1
                self.text.append(event.text)
            case Token():
                if self.first_token_s is None:
                    self.first_token_s = self.prefill_s + event.seconds
                else:
                    self.decode_s += event.seconds
                self.tokens += 1
                self.text.append(event.text)
            case Finished():
                self.text.append(event.text)

    def take_text(self) -> str:
        """The text that came since the last call."""
        text = "".join(self.text)
        self.text.clear()
        return text

    @property
    def tok_per_s(self) -> float:
        """Tokens a second after the first one; 0 before there are two."""
        return (self.tokens - 1) / self.decode_s if self.tokens > 1 and self.decode_s > 0 else 0.0

    def status(self, before: Status) -> Status:
        """The status with these figures; a reply that is being stopped stays so to its end."""
        doing = "generating" if self.tokens else "reading the prompt"
        return replace(
            before,
            doing="stopping" if before.doing == "stopping" else doing,
            fraction=self.fraction,
            tok_per_s=self.tok_per_s,
            first_token_s=self.first_token_s,
            context_used=self.prompt_tokens + self.tokens_before + self.tokens,
            is_estimate=False,
            reused_tokens=self.reused_tokens,
            awaiting=self.awaiting,
        )
