"""A chat is killed at a random moment of a reply, again and again; whatever was on the screen must be kept.

    python tests/kill_runs.py [--runs 200] [--seed N] [--model fake|default]

After each run the file must be sound, every character of the reply and of the user's words that had reached
the terminal must be in the store, and every tenth time the chat opens again and goes on with the reply. The
first loss ends it with status 1 and names the seed of the run: `--seed N --runs 1` tries that one again.
`fake` (about 1 s a run) is the whole program around a network without weights, in a forked process, at 10
kinds of moments; `default` is the installed command with the default model, greedy, so that it repeats itself
and tokens are drafted: what was kept of each reply must run again identically.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kill_chat import LETTERS, KilledChat, run_fake, said_in_turn
from kill_moments import (
    CTRL_Q,
    CUT,
    ENDED,
    ESCAPE,
    F5,
    MOMENTS,
    MOMENTS_OF_A_REAL_MODEL,
    Moment,
    Run,
    letters,
)

from llama_chat.catalogue import DEFAULT, pull
from llama_chat.conversation import Conversation, Message, Role
from llama_chat.engine.load import load_engine
from llama_chat.rerun import rerun
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings

SIZES = ((80, 24), (120, 36), (160, 48))
STEPS_S = (0.0005, 0.002, 0.008)
REOPENED_EVERY = 10
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[\]P_][^\x07\x1b]*(\x07|\x1b\\)|[ -/]*[0-~])")


class LossError(Exception):
    """Something that was on the screen is not kept, or what is kept is not sound."""


# --- what must hold ------------------------------------------------------------------------------------


def check(run: Run) -> list[Conversation]:
    """The sessions as the next program finds them; right after the kill.

    Raises:
        LossError: something is lost.
    """
    with closing(sqlite3.connect(run.store_path)) as file:
        for pragma, wanted in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            if (found := file.execute(f"PRAGMA {pragma}").fetchall()) != wanted:
                raise LossError(f"{pragma}: {found}")
    store = SessionStore(run.store_path)
    store.open()
    try:
        conversations = [store.load(info.id) for info in store.list()]
        for reply in replies(conversations):
            if "".join(token.text for token in store.load_plain_tokens(reply.id)) != reply.text.rstrip(
                "\ufffd"
            ):
                raise LossError(f"the tokens of reply {reply.id} are not its text")
    finally:
        store.close()
    check_words(run, conversations)
    for reply in replies(conversations):
        assert reply.reply is not None
        if reply.reply.finish_reason is None:
            raise LossError(f"reply {reply.id} of a dead process has no end")
    return conversations


def check_words(run: Run, conversations: Sequence[Conversation]) -> None:
    """Whether the words of the user which stood in the transcript are kept."""
    kept = {m.text for each in conversations for m in each.messages.values() if m.role is Role.USER}
    for question in run.questions:
        is_said = any("▍" in row and question in row for row in run.chat.text.splitlines())
        if is_said and question not in kept:
            raise LossError(f"the words {question!r} are not kept")


def check_letters(run: Run, conversations: Sequence[Conversation]) -> None:
    """Whether all letters of the fake model that reached the terminal are kept, and no others are."""
    paths = [letters(path_text(each, m)) for each in conversations for m in each.messages.values()]
    for reply in replies(conversations):
        turn = sum(m.role is Role.USER for m in path_to(conversations[0], reply)) - 1
        if not said_in_turn(turn).startswith(reply.text.rstrip("\ufffd")):
            raise LossError(f"reply {reply.id} is not what was said: …{reply.text[-40:]!r}")
    shown = letters(run.chat.text)
    run.shown, run.kept = len(shown), sum(len(letters(reply.text)) for reply in replies(conversations))
    if shown and not any(shown in path for path in paths):
        raise LossError(f"the screen is not kept as it stood; kept: …{paths[-1][-60:]!r}\n{run.chat.text}")
    ever = set(re.findall(rf"[{LETTERS}]+", plain(run.chat.raw)))  # in a frame that the kill cut, too
    kept = {path[n : n + size] for path in paths for size in (1, 2, 3) for n in range(0, len(path), 3)}
    cut = {found for found in ever if len(found) < 3 and any(found in path for path in paths)}
    if lost := ever - kept - cut:
        raise LossError(f"characters that reached the terminal are not kept: {sorted(lost)}")


def check_prose(run: Run, conversations: Sequence[Conversation]) -> None:
    """Whether the rows of a real model's reply are in the store, letters and digits by letters and digits."""
    rows = run.chat.screen.display
    heads = [n for n, row in enumerate(rows) if "SmolLM2" in row and n > 0]
    shown = "".join(row.split("▍", 1)[1][:100] for row in rows[max(heads, default=0) :] if "▍" in row)
    shown = "".join(filter(str.isalnum, shown)) if heads else ""
    texts = ["".join(filter(str.isalnum, reply.text)) for reply in replies(conversations)]
    run.shown, run.kept = len(shown), sum(map(len, texts))
    if shown and not any(shown in text for text in texts):
        raise LossError(f"on the screen …{shown[-60:]!r}, kept …{[text[-60:] for text in texts]}")


def check_again(run: Run, conversations: Sequence[Conversation], model: Path) -> None:
    """Whether what a real model said reads as it stood, and is what a fresh engine says by the kept plan."""
    check_prose(run, conversations)
    engine = load_engine(model, ModelSettings(), cache_folder=run.home / "cache")
    store = SessionStore(run.store_path)
    store.open()
    try:
        for info in store.list():
            for verdict in rerun(store.record(info.id), engine):
                if verdict.verdict != "identical":
                    raise LossError(f"run again it is {verdict.verdict}: {verdict}")
    finally:
        store.close()
        engine.close()
    run.drafted = sum(each.reply.drafted_tokens for each in replies(conversations) if each.reply)


def replies(conversations: Sequence[Conversation]) -> list[Message]:
    """Of all sessions."""
    return [message for each in conversations for message in each.messages.values() if message.reply]


def path_to(conversation: Conversation, message: Message) -> list[Message]:
    """From the root to the message."""
    conversation.leaf_id = message.id
    return conversation.path()


def path_text(conversation: Conversation, message: Message) -> str:
    """What the model said on it."""
    return "".join(m.text for m in path_to(conversation, message) if m.role is Role.ASSISTANT)


def plain(raw: bytes) -> str:
    """What was written to the terminal, a line break in the place of each movement of the cursor."""
    text = raw.decode(errors="ignore")
    return _ESCAPE_SEQUENCE.sub(lambda found: "" if found[0].endswith("m") else "\n", text)


# --- opened again ----------------------------------------------------------------------------------------


def check_opened_again(
    run: Run, open_chat: Callable[..., KilledChat], conversations: list[Conversation]
) -> None:
    """Open the last session in the chat and go on with its last reply, if it has one.

    Raises:
        LossError: what it said before is not there, or it did not grow.
    """
    if not conversations:
        return
    before = conversations[0].path()[-1]
    assert before.reply is not None or before.role is Role.USER
    chat = open_chat("--continue", "--max-new-tokens", "100000")
    try:
        chat.sees(run.questions[0][:6])
        reply = before.reply
        if reply is None or reply.finish_reason == "end":
            return
        if reply.finish_reason == "interrupted":
            chat.sees("Interrupted.")
        chat.send(F5)
        chat.wait_for(
            lambda: (after_s := stored_text(run, before.id)) and len(after_s) > len(before.text) + 20
        )
        chat.send(ESCAPE)
        chat.wait_for(lambda: re.search(ENDED, chat.text))
        chat.send(CTRL_Q)
        if (status := chat.wait_for_end()) != 0:
            raise LossError(f"the chat that went on ended with {status}:\n{chat.text}")
    finally:
        chat.close()
    if not stored_text(run, before.id).startswith(before.text.rstrip("\ufffd")):
        raise LossError("the reply that went on has lost its beginning")


def stored_text(run: Run, message_id: str) -> str:
    """Of a reply that may be running."""
    store = SessionStore(run.store_path)
    store.open()
    try:
        return store.load(store.list()[0].id).messages[message_id].text
    finally:
        store.close()


# --- many runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """Which chat is killed, and what is looked at."""

    moments: Sequence[Moment]
    sizes: Sequence[tuple[int, int]]
    check: Callable[[Run, Sequence[Conversation]], None]
    paint_first: bool = False
    model: Path | None = None
    arguments: Sequence[str] = ()
    """Of the chat, besides."""

    def opener(self, home: Path, seed: int) -> Callable[..., KilledChat]:
        """Opens the chat in this home."""
        chance = random.Random(seed)
        size, step_s = chance.choice(self.sizes), chance.choice(STEPS_S)
        fake = partial(run_fake, step_s=step_s, paint_first=self.paint_first)
        run = fake if self.model is None else None
        return lambda *arguments: KilledChat(home, (*self.arguments, *arguments), size=size, run=run)


FAKE = Kind(tuple(MOMENTS), SIZES, check_letters)


def play(kind: Kind, seed: int, moment: Moment, *, is_reopened: bool) -> Run:
    """One chat that is killed at this kind of moment, and checked.

    Raises:
        LossError: something is lost.
    """
    with tempfile.TemporaryDirectory(prefix="llama-chat-kill-") as folder:
        home = Path(folder)
        if kind.model is not None:
            (home / "data" / "models").mkdir(parents=True)
            (home / "data" / "models" / kind.model.name).symlink_to(kind.model)
        open_chat = kind.opener(home, seed)
        chat = open_chat("--max-new-tokens", str(MOMENTS[moment]))
        run = Run(seed, home, chat, random.Random(seed))
        try:
            moment(run)
            chat.kill()
        finally:
            chat.close()
        conversations = check(run)
        if moment in CUT and any(
            m.reply.finish_reason != "interrupted" for m in replies(conversations) if m.reply
        ):
            raise LossError("a reply that was cut off is not marked as interrupted")
        kind.check(run, conversations)
        if is_reopened:
            check_opened_again(run, open_chat, conversations)
        return run


def play_all(kind: Kind, runs: int, seed: int) -> int:
    """The exit status: 1 at the first loss."""
    shown: Counter[str] = Counter()
    started = time.monotonic()
    found: list[Run] = []
    for number in range(runs):
        moment = (
            kind.moments[number % len(kind.moments)] if runs > 1 else kind.moments[seed % len(kind.moments)]
        )
        is_reopened = number % REOPENED_EVERY == (seed + number // REOPENED_EVERY) % REOPENED_EVERY
        try:
            run = play(kind, seed + number, moment, is_reopened=is_reopened)
        except (LossError, AssertionError) as error:
            name = moment.__name__.replace("_", " ")
            print(f"LOST in run {number + 1}, killed {name}, --seed {seed + number}: {error}", flush=True)
            return 1
        found.append(run)
        shown[moment.__name__.replace("_", " ")] += run.shown
    for name, count in shown.items():
        print(f"{name:28}{count:8,} characters on the screen")
    seen = sum(run.shown > 0 for run in found)
    print(
        f"{runs} runs, {seen} with a reply on the screen: {sum(run.shown for run in found):,} characters, "
        f"all among the {sum(run.kept for run in found):,} that are kept; {time.monotonic() - started:.0f} s"
    )
    if kind.model is not None:
        drafted = sum(run.drafted for run in found)
        print(f"all replies ran again identically; {drafted:,} tokens were drafted in them")
    return 0


def main() -> int:
    """The exit status: 0 when nothing is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--model", choices=("fake", "default"), default="fake")
    parser.add_argument(
        "--paint-first", action="store_true", help="with a broken recorder, which must be found"
    )
    asked = parser.parse_args()
    seed = random.randrange(10**6) * 10 if asked.seed is None else asked.seed
    kind = FAKE
    if asked.model == "default":
        import platformdirs

        folder = platformdirs.user_cache_path("llama-chat-tests")
        model = pull(DEFAULT, folder, lambda progress: None, threading.Event())
        kind = Kind(
            *(MOMENTS_OF_A_REAL_MODEL, ((160, 48),), partial(check_again, model=model)),
            model=model,
            arguments=("--temperature", "0"),
        )
    elif asked.paint_first:
        kind = Kind(FAKE.moments, FAKE.sizes, FAKE.check, paint_first=True)
    print(f"seed {seed}", flush=True)
    return play_all(kind, asked.runs, seed)


if __name__ == "__main__":
    sys.exit(main())
