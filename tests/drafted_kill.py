"""A reply that is written with drafts into a store, by a process that kills itself in the midst of it.

    python tests/drafted_kill.py MODEL.gguf STORE SEED CUT [--dtype D] [--threads N]

The guesses are the reply itself, with mistakes: some forwards are kept whole, some in part, some not at all.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorded_chat import RecordedChat

from llama_chat.conversation import Message
from llama_chat.engine.drafting.drafting import Drafter, Drafting
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Event, LiveSampling, Prefilled, Sampling, Token
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings
from llama_chat.turn import build_prompt

QUESTION = "the other day you sang in the rain, the other day you sang in the rain"
SAMPLING = Sampling(temperature=0.3, top_k=20, max_new_tokens=48)


class Guesser:
    """A `Drafter` that knows what the reply was without it, and errs now and then."""

    seconds_a_token = 1e-9  # not free: its drafts are never on paper only

    def __init__(self, reply: Sequence[int], seed: int = 1, slips: float = 0.3) -> None:
        self.reply, self.chance, self.slips = list(reply), random.Random(seed), slips
        self.place = 0

    def begin(self, ids: Sequence[int], draw: object) -> None:
        """Another reply."""
        self.place = 0

    def learn(self, token_id: int) -> None:
        """One token further."""
        self.place += 1

    def chances(self, most: int) -> list[float]:
        """Of as many as it likes."""
        return [0.9] * self.chance.randrange(most + 1)

    def draft(self, count: int) -> list[int]:
        """What comes, or something else."""
        guessed = self.reply[self.place : self.place + count]
        return [self.chance.randrange(256) if self.chance.random() < self.slips else i for i in guessed]

    def close(self) -> None:
        """It holds nothing."""


def cheap(drafter: Drafter) -> Drafting:
    """Several rows seem to take hardly more than one, whatever is measured."""
    drafting = Drafting(drafter)
    for _ in range(3):
        drafting.costs.note(1, 1.0)
    drafting.costs.note = lambda rows, seconds: None  # type: ignore[method-assign]  # drafts whatever it costs
    drafting.costs.begin = lambda computed_by: None  # type: ignore[method-assign]  # likewise
    return drafting


@dataclass
class CutChat(RecordedChat):
    """Writes into its store as the program does; something befalls it after so many tokens of a reply."""

    cut: int = 0
    befalls: Callable[[], None] = lambda: None

    def _stream(self, message: Message, path: Sequence[Message], *rest: object, **more: object) -> Message:
        assert self.store is not None
        engine, reply = self.engine, message.reply
        assert isinstance(engine, LocalEngine)
        assert reply is not None
        prompt = build_prompt(
            engine, path, date=self.session.date, max_new_tokens=reply.sampling.max_new_tokens
        )

        def events() -> Iterator[Event]:
            return engine.stream(prompt.pieces, sampling=LiveSampling(reply.sampling), seed=reply.seed)

        engine.drafting = None
        plain = [event.token_id for event in events() if isinstance(event, Token)]
        engine.drafting = cheap(Guesser(plain, reply.seed))
        written = 0
        for event in events():
            if isinstance(event, Prefilled):
                self.store.note_prefill(message.id, event)
            elif isinstance(event, Token):
                self.store.append_tokens(message.id, [event])
                written += 1
                if written == min(self.cut, len(plain)):
                    self.befalls()
                    break
        return message


def write_until(
    engine: LocalEngine, store: SessionStore, seed: int, cut: int, befalls: Callable[[], None] = lambda: None
) -> CutChat:
    """A session whose one reply stands in the store up to so many tokens, without an end."""
    chat = CutChat(engine, store, cut=cut, befalls=befalls)
    chat.say(QUESTION, sampling=SAMPLING, seed=seed)
    return chat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("cut", type=int)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    engine = load_engine(asked.model, ModelSettings(threads=asked.threads, dtype=asked.dtype, draft="off"))
    store = SessionStore(asked.store)
    store.open()
    write_until(engine, store, asked.seed, asked.cut, lambda: os.kill(os.getpid(), signal.SIGKILL))


if __name__ == "__main__":
    main()
