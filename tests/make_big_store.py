"""Fill a store with sessions that look like real ones: `python tests/make_big_store.py FILE [--sessions N]`.

The rows go through the store's own tables, so triggers and indexes do what they do in the chat. One session
(the first that was made) holds 20,000 of the messages.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import ComputePlan, Forward, Sampling
from llama_chat.sessions import SessionStore, replies

COMMON = """
    the of and to a in is it you that he was for on are with as I his they be at one have this from
    or had by hot but some what there we can out other were all your when up use word how said an
    each she which do their time if will way about many then them would write like so these her long
    make thing see him two has look more day could go come did my sound no most number who over know
    water than call first people may down side been now find any new work part take get place made
    live where after back little only round man year came show every good me give our under name
    very through just form great think
"""
LONG_SESSION = 20_000
_STARTED = 1_780_000_000.0
_PLAN = ComputePlan((Forward(0, 36, 36, "prefill"), Forward(36, 1, 60, "step")), "Q4_1", "cpu", 2, "2.13.0")


class Writer:
    """Texts whose words are as frequent as those of a language: the n-th has a share of 1/n."""

    def __init__(self, chance: random.Random, words: int = 30_000) -> None:
        self._chance = chance
        parts = [c + v for c in "bdfghklmnprstvz" for v in ("a", "e", "i", "o", "u", "ei", "ou", "ar")]
        rare = {"".join(chance.choices(parts, k=chance.randint(2, 4))) for _ in range(words)}
        self._words = COMMON.split() + sorted(rare - set(COMMON.split()), key=len)
        self._weights = list(accumulate(1 / n for n in range(1, len(self._words) + 1)))

    def text(self, words: int) -> str:
        """A text of about so many words."""
        count = max(1, round(self._chance.lognormvariate(0, 0.7) * words))
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=count)) + "."


def fill(path: Path, sessions: int, messages: int, seed: int = 0) -> None:
    """Make the store, with so many sessions and messages in all."""
    chance = random.Random(seed)
    writer = Writer(chance)
    store = SessionStore(path)
    store.open()
    long = min(LONG_SESSION, messages // 10)
    each, more = divmod(messages - long, max(1, sessions - 1))
    # One transaction: each commit would add a piece to the full-text index, which are then merged again.
    with store._database.transaction(full=False) as connection:
        for number in range(sessions):
            count = long if number == 0 else each + (number <= more)
            _add_session(connection, chance, writer, number, count)
    store.close()


def _add_session(
    connection: sqlite3.Connection, chance: random.Random, writer: Writer, number: int, count: int
) -> None:
    session_id, at = f"{chance.getrandbits(64):016x}", _STARTED + 600 * number
    connection.execute(
        "INSERT INTO sessions (id, title, created_at, updated_at, touched, message_count, model, date) "
        "VALUES (?, ?, ?, ?, ?, ?, 'SmolLM2-135M-Instruct', '2026-11-22')",
        (session_id, writer.text(6), at, at + count, number + 1, count),
    )
    last = None
    for message in _messages(chance, writer, count, at):
        replies.insert_message(connection, session_id, message)
        last = message.id
    connection.execute("UPDATE sessions SET leaf_id = ? WHERE id = ?", (last, session_id))


def _messages(chance: random.Random, writer: Writer, count: int, at: float) -> Iterator[Message]:
    parent_id = None
    for place in range(count):
        message_id = f"{chance.getrandbits(64):016x}"
        if place % 2:
            seed, token_ids = chance.getrandbits(32), tuple(range(300, 400))
            reply = Reply(seed, Sampling(), "SmolLM2-135M-Instruct", token_ids, "end", plan=_PLAN)
            yield Message(message_id, parent_id, Role.ASSISTANT, writer.text(70), at + place, reply)
        else:
            yield Message(message_id, parent_id, Role.USER, writer.text(15), at + place)
        parent_id = message_id


def main() -> None:
    """Fill the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=200_000)
    options = parser.parse_args()
    begin_s = time.perf_counter()
    fill(options.path, options.sessions, options.messages)
    size_mb = options.path.stat().st_size / 1e6
    print(f"{options.path}: {size_mb:.0f} MB in {time.perf_counter() - begin_s:.0f} s")


if __name__ == "__main__":
    main()
