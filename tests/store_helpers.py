"""Replies for the tests of the store: tokens as an engine would give them, without an engine."""

from __future__ import annotations

import math
import random
import threading
import time
from array import array
from collections.abc import Callable, Sequence

from llama_chat.conversation import Conversation, Message, Reply, Role, new_id
from llama_chat.errors import LlamaChatError
from llama_chat.events import (
    Candidates,
    ComputePlan,
    Event,
    Failed,
    Finished,
    FinishReason,
    Forward,
    Prefilled,
    Sampling,
    Timings,
    Token,
    Usage,
)

PLAN = ComputePlan(
    (Forward(0, 36, 36, "prefill"), Forward(36, 1, 12, "step")), "bf16", "cpu", 2, "2.13.0", "aoti-256"
)


def build_candidates(
    seed: int = 0, *, count: int = 64, bins: int = 300, penalised: bool = False
) -> Candidates:
    """Candidates as a real model's in f32: 8 logits from the first to the last, ids of 14 bits, a wide tail.

    (SmolLM2-135M, 2026-11: 7 logits, 14 bits after compression, 300 bins.)
    """
    chance = random.Random(seed)
    best = 18 + chance.random()
    logits = array("f", sorted((best - chance.expovariate(0.6) for _ in range(count)), reverse=True))
    heights = [math.exp(-(((b / 8 - 17) / 4.5) ** 2)) for b in range(bins)]
    counts = array(
        "i", [round(49_000 * h / sum(heights) + chance.random() ** 3) for h in heights] if bins else []
    )
    sums = [
        math.log(n) + logits[0] - (b + 0.5) / 8 + chance.gauss(0, 0.03) / math.sqrt(n) if n else -math.inf
        for b, n in enumerate(counts)
    ]
    lower = array("f", [v / 1.1 if penalised and i % 7 == 3 else v for i, v in enumerate(logits)])
    ids = array("i", {int(49_152 * chance.random() ** 2): None for _ in range(2 * count)})[:count]
    return Candidates(ids, logits, lower, counts, array("f", sums), best + 0.7)


def build_token(index: int, text: str = "", *, sampling: Sampling | None = None, **changes: object) -> Token:
    """A token whose text is `text` or tells its index."""
    text = text or f" w{index}"
    values: dict[str, object] = {
        "index": index,
        "token_id": 100 + index,
        "piece": text.encode("utf-8", "surrogatepass"),
        "text": text,
        "chosen_by": "user" if index % 5 == 4 else "sampler",
        "logprob": -0.1 * (index + 1) / 3,
        "rank": index % 70 + 1,
        "candidates": build_candidates(index, count=4, bins=20),
        "seconds": 0.01 + index / 7919,
        "sampling": sampling or Sampling(),
    }
    return Token(**(values | changes))  # type: ignore[arg-type]  # values by name, for brevity of the tests


def build_tokens(count: int, start: int = 0) -> list[Token]:
    """Tokens that follow each other."""
    return [build_token(index) for index in range(start, start + count)]


def build_reply_message(parent_id: str | None, *, text: str = "", token_ids: tuple[int, ...] = ()) -> Message:
    """An assistant's message that is about to be written."""
    reply = Reply(seed=2**32 - 1, sampling=Sampling(), model="tiny", token_ids=token_ids)
    return Message(new_id(), parent_id, Role.ASSISTANT, text, time.time(), reply)


def build_turn(text: str = "Hello") -> tuple[Conversation, Message]:
    """A conversation with a system prompt and a user's message, and the reply to begin."""
    conversation = Conversation()
    conversation.append(Role.SYSTEM, "Be brief.")
    user = conversation.append(Role.USER, text)
    return conversation, build_reply_message(user.id)


def build_end(new_tokens: int, reason: FinishReason = "end", text: str = "") -> Finished:
    """The last event of a reply that went well."""
    return Finished(reason, Usage(36, 10, new_tokens, 2048), Timings(0.25, 1.5), PLAN, text)


PREFILLED = Prefilled(36, 10, 0.2)
FAILED = Failed(LlamaChatError("The device is gone.", hint="Plug it in."))


class Screen:
    """What a screen does with deliveries: it keeps them, and tests wait for them."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[Event], bool]] = []
        self._changed = threading.Condition()

    def deliver(self, events: list[Event], saved: bool) -> None:
        with self._changed:
            self.batches.append((events, saved))
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[Screen], bool], timeout_s: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout_s), self.batches

    @property
    def events(self) -> list[Event]:
        return [event for events, _ in self.batches for event in events]

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def marks(self) -> list[bool]:
        return [saved for _, saved in self.batches]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token | Finished))
