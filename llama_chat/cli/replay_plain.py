"""A replay line by line: for pipes, and for terminals that can only print."""

from __future__ import annotations

import time
from itertools import takewhile

from llama_chat.cli.answer import Printer
from llama_chat.cli.talk import say
from llama_chat.conversation import Message, Role, title_of
from llama_chat.events import Sampling
from llama_chat.replay import Moment, Player, Timeline, sampling_moves
from llama_chat.sanitize import one_line
from llama_chat.sessions.words import end_words


def print_replay(timeline: Timeline, *, speed: float | None) -> int:
    """Print what was said to stdout, and what was done beside it to stderr; 0.

    Args:
        timeline: of the session.
        speed: 2 is twice the original pace; None is all at once.
    """
    lines = PlainReplay(timeline)
    if speed is None:
        lines.tell(0, len(timeline))
        return 0
    player = Player(timeline, speed=speed)
    player.play()
    told = 0
    try:
        while True:
            lines.tell(told, player.count)
            told = player.count
            if player.is_at_end:
                return 0
            time.sleep(player.next_wait_s())
            player.advance(time.monotonic())
    finally:
        lines.end()


class PlainReplay:
    """Prints moments, one after the other."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._printer: Printer | None = None
        self._sampling: Sampling | None = None
        self._last: Message | None = None

    def tell(self, told: int, count: int) -> None:
        """Print the moments from the one place to the other."""
        for place in range(told, count):
            self._tell(self._timeline.moments[place], place + 1)

    def _tokens_by_user(self, place: int) -> int:
        """How many tokens the user chose from this moment on; 0 where it is not the first of them."""
        moments = self._timeline.moments
        if moments[place - 1].chosen_by == "user":
            return 0
        return sum(1 for _ in takewhile(lambda moment: moment.chosen_by == "user", moments[place:]))

    def end(self) -> None:
        """End the line that is open."""
        if self._printer is not None:
            self._printer.end()
            self._printer = None

    def _tell(self, moment: Moment, count: int) -> None:
        message = self._timeline.messages[moment.message_id]
        self._tell_moves(moment.sampling)
        match moment.kind:
            case "token":
                assert self._printer is not None, "a reply begins before its tokens"
                if moment.chosen_by == "user" and (tokens := self._tokens_by_user(count - 1)):
                    what = "token was" if tokens == 1 else f"{tokens:,} tokens were"
                    say(f"[the next {what} chosen by the user]")
                self._printer.write(moment.text)
            case "end":
                self._finish(message, moment.sampling)
            case "path":
                words = title_of([message]) if message.role is Role.USER else _first_words(message.text)
                say(f"[in the end the branch was chosen that ends with: {words}]")
            case "begin" | "message":
                self._begin(message, count)
                if moment.kind == "message":
                    self._write(message.text)
                    self._finish(message)

    def _tell_moves(self, sampling: Sampling) -> None:
        if self._sampling is not None and (moves := sampling_moves(self._sampling, sampling)):
            say(f"[{moves}]")
        self._sampling = sampling

    def _begin(self, message: Message, count: int) -> None:
        """The name of the speaker, and that it is beside what was said before, where it is."""
        if self._last is not None:
            print()
        if self._last is not None and message.parent_id != self._last.id:
            places = [place for place in self._timeline.state_at(count).places if place[0] == message.id]
            which = f", {places[0][1]} of {places[0][2]}" if places else ""
            parent = self._timeline.messages.get(message.parent_id or "")
            after = f" after: {_first_words(parent.text)}" if parent else ""
            say(f"[another branch{which}{after}]")
        print(f"{speaker(message)}:", flush=True)
        self._printer = Printer()
        self._last = message

    def _write(self, text: str) -> None:
        assert self._printer is not None
        self._printer.write(text)

    def _finish(self, message: Message, last: Sampling | None = None) -> None:
        self.end()
        if words := end_words(message.reply, last):
            say(f"[{words}]")


def speaker(message: Message) -> str:
    """`you`, `system`, or the model's name where that is known."""
    if message.role is Role.ASSISTANT:
        return one_line(message.reply.model if message.reply else "") or "model"
    return "you" if message.role is Role.USER else "system"


def _first_words(text: str, limit: int = 50) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"
