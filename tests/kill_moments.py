"""The moments at which `kill_runs.py` kills a chat, and what a user does up to them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kill_chat import LETTERS, KilledChat

ESCAPE, ENTER, RIGHT = "\x1b", "\r", "\x1b[C"
CTRL_O, CTRL_Q, CTRL_R, CTRL_S, F5 = "\x0f", "\x11", "\x12", "\x13", "\x1b[15~"
USER_LETTERS = "".join(map(chr, range(0x561, 0x587)))
"""Armenian ones: the user's words are known by them."""
ENDED = r"(Stopped\. [\d,]+ tokens? kept|Cut at max new tokens \([\d,]+\))\. F5 goes on\."
"""The foot of a reply that can go on: what it says once the reply is over."""


@dataclass
class Run:
    """One chat and its end."""

    seed: int
    home: Path
    chat: KilledChat
    chance: random.Random
    questions: list[str] = field(default_factory=list)
    shown: int = 0
    """Characters of the reply on the screen at the end."""
    kept: int = 0
    """Characters of all replies in the store."""
    drafted: int = 0
    """Tokens that were drafted in them."""

    @property
    def store_path(self) -> Path:
        return self.home / "data" / "sessions.sqlite3"

    # --- what a user does ---------------------------------------------------------------------------

    def ask(self) -> None:
        """Send words that were never said before."""
        question = "".join(self.chance.choices(USER_LETTERS, k=12))
        self.questions.append(question)
        self.chat.sees("sk something")
        self.chat.send(question)
        self.chat.sees(question)
        self.chat.send(ENTER)

    def wait_for_tokens(self) -> None:
        """Until the model has begun to speak."""
        self.chat.wait_for(lambda: re.search(r"\d tokens? · ", self.chat.text), 120)

    def wait_for_rest(self) -> None:
        """Until the reply has ended."""
        self.chat.wait_for(lambda: re.search(ENDED, self.chat.text))

    def live(self, seconds: float) -> None:
        """Look on for up to this long."""
        self.chat.read(self.chance.uniform(0, seconds))


# --- moments -------------------------------------------------------------------------------------------


def before_the_first_token(run: Run) -> None:
    run.ask()
    run.live(run.chance.choice((0.04, 0.3)))


def in_mid_reply(run: Run) -> None:
    run.ask()
    run.wait_for_tokens()
    run.live(1.0)


def at_its_end(run: Run) -> None:
    run.ask()
    run.chat.wait_for(lambda: re.search(rf"{ENDED}|\b(1\d\d|[23]\d\d) tokens", run.chat.text))
    run.live(0.7)


def while_it_is_packed(run: Run) -> None:
    run.ask()
    run.wait_for_rest()
    run.live(0.15)


def in_the_second_turn(run: Run) -> None:
    run.ask()
    run.wait_for_rest()
    run.ask()
    run.live(0.6)


def in_another_answer(run: Run) -> None:
    run.ask()
    run.wait_for_rest()
    run.chat.send(CTRL_R)
    run.chat.sees("2/2 ›")
    run.wait_for_tokens()
    run.live(0.6)


def while_a_slider_moves(run: Run) -> None:
    run.ask()
    run.wait_for_tokens()
    run.chat.send(CTRL_O)
    for _ in range(run.chance.randrange(1, 40)):
        run.chat.send(RIGHT)
        run.chat.read(0.02)


def right_after_esc(run: Run) -> None:
    run.ask()
    run.wait_for_tokens()
    run.live(0.4)
    run.chat.send(ESCAPE)
    run.live(0.15)


def with_the_list_open(run: Run) -> None:
    run.ask()
    run.wait_for_tokens()
    run.chat.send(CTRL_S)
    run.live(0.6)


def while_it_goes_on(run: Run) -> None:
    run.ask()
    run.wait_for_tokens()
    run.chat.send(ESCAPE)
    run.wait_for_rest()
    run.chat.send(F5)
    run.live(0.6)


Moment = Callable[[Run], None]
MOMENTS: dict[Moment, int] = {
    before_the_first_token: 100_000,
    in_mid_reply: 100_000,
    at_its_end: 300,
    while_it_is_packed: 300,
    in_the_second_turn: 150,
    in_another_answer: 150,
    while_a_slider_moves: 100_000,
    right_after_esc: 100_000,
    with_the_list_open: 100_000,
    while_it_goes_on: 100_000,
}
"""With max new tokens."""
MOMENTS_OF_A_REAL_MODEL = (before_the_first_token, in_mid_reply, while_a_slider_moves, right_after_esc)
CUT = (before_the_first_token, in_mid_reply, while_a_slider_moves, with_the_list_open)
"""Those at which no reply can have had an end."""


def letters(text: str) -> str:
    """The fake model's."""
    return "".join(character for character in text if character in LETTERS)
