"""Sessions of the default model, each recorded by one engine and run again by a fresh one; as a script, 20.

    python tests/rerun_sessions.py MODEL.gguf [--sessions 20] [--tokens 24] [--threads 2]

Prints a line a session and ends with status 0 when every reply of every session is identical.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from recorded_chat import RecordedChat

from llama_chat.engine.load import load_engine
from llama_chat.events import Engine, Sampling
from llama_chat.rerun import ReplyVerdict, rerun
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings

QUESTIONS = (
    "What is a llama?", "Write a haiku about rain.", "Why is the sky blue?", "Name three rivers.",
    "How do I boil an egg?", "Say it with emojis: 🦙 in the snow.", "Count from one to ten.",
    "What did I ask before?", "Shorter, please.", "And in French?",
)  # fmt: skip


def draw_sampling(chance: random.Random, tokens: int) -> Sampling:
    """Settings as somebody who plays with the sliders would have them."""
    return Sampling(
        temperature=chance.choice((0.0, 0.5, 0.8, 1.2)),
        top_k=chance.choice((0, 5, 40)),
        top_p=chance.choice((1.0, 0.9)),
        min_p=chance.choice((0.0, 0.05)),
        repetition_penalty=chance.choice((1.0, 1.1)),
        max_new_tokens=tokens,
    )


def play(engine: Engine, number: int, store: SessionStore, tokens: int) -> RecordedChat:
    """The session of this number: sliders always move; replies are continued or have another beside them."""
    chance = random.Random(number)
    chat = RecordedChat(engine, store)
    if chance.random() < 0.5:
        chat.system(chance.choice(("Be brief.", "You are a pirate.")))
    for turn in range(1 + number % 3):
        sampling = draw_sampling(chance, tokens)
        moves = {index: draw_sampling(chance, tokens) for index in chance.sample(range(1, tokens), 2)}
        wishes: dict[str, object] = {"sampling": sampling, "moves": moves, "seed": chance.randrange(2**32)}
        kind = (number + turn) % 3
        if kind == 0:
            wishes["stop_after"] = chance.randrange(2, tokens - 2)
        reply = chat.say(chance.choice(QUESTIONS), **wishes)
        if reply.reply is not None and reply.reply.finish_reason == "stopped":
            chat.go_on(reply)
        if kind == 1:
            chat.regenerate(reply, sampling=replace(sampling, temperature=1.0), seed=chance.randrange(2**32))
    return chat


def check(
    make: Callable[[], Engine], numbers: Sequence[int], folder: Path, tokens: int
) -> list[list[ReplyVerdict]]:
    """The verdicts of a fresh engine on each of the sessions, as they are in a store."""
    store = SessionStore(folder / f"{numbers[0]}.sqlite3")
    store.open()
    try:
        with closing(make()) as engine:
            records = [play(engine, number, store, tokens).record for number in numbers]
        with closing(make()) as fresh:
            return [list(rerun(record, fresh)) for record in records]
    finally:
        store.close()


def main() -> int:
    """The exit status: 0 when all is identical."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=24, help="of each reply, at most")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    settings = ModelSettings(threads=asked.threads)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.sessions):
            started = time.perf_counter()
            (found,) = check(lambda: load_engine(asked.model, settings), [number], Path(folder), asked.tokens)
            different += any(verdict.verdict != "identical" for verdict in found)
            told = ", ".join(f"{verdict.verdict} ({verdict.judged})" for verdict in found)
            largest = max(verdict.largest_logprob_difference or 0.0 for verdict in found)
            print(f"{number:2}: {told}; {largest:.2g}; {time.perf_counter() - started:.1f} s", flush=True)
    print(f"{asked.sessions - different} of {asked.sessions} sessions are identical")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
