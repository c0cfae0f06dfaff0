"""A sweep whose prompt, words, tokens and failures are anything."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hostile_stage import Stage, user

from llama_chat.chat.sweeping.run import SweepRun
from llama_chat.chat.sweeping.source import SweepSource
from llama_chat.distribution.names import TokenNames
from llama_chat.errors import ModelError
from llama_chat.events import Candidates, ComputePlan, Failed, Prefilled, Sampling, Token
from llama_chat.sweep.asking import EVERY
from llama_chat.ui.sweep.screen import SweepScreen

_COLUMNS = 5


def _token(index: int, text: str, count: int) -> Token:
    logits = array("f", [float(-n) / 4 for n in range(count)])
    candidates = Candidates(array("i", range(count)), logits, logits, array("i"), array("f"), 2.0)
    return Token(
        index, index, text.encode("utf-8", "replace"), text, "sampler", -1.0, 1, candidates, 0.1, Sampling()
    )


class _ToldRun(SweepRun):
    """All columns say the lines; the last one fails with one of them."""

    lines: list[str]

    def begin(self, _compute: object) -> Future[None]:
        plan = ComputePlan((), "f32", "cpu", 1, "torch")
        self._came.append((EVERY, Prefilled(3, 0, 0.1, plan)))
        self.names = TokenNames([line.encode("utf-8", "replace") for line in self.lines])
        for number in range(_COLUMNS):
            for index, line in enumerate(self.lines):
                self._came.append((number, _token(index, line, len(self.lines))))
        self._came.append((_COLUMNS - 1, Failed(ModelError(self.lines[-1]))))
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _run_of(screen: SweepScreen, lines: list[str]) -> Callable[[], SweepRun]:
    def new_run() -> SweepRun:
        made = _ToldRun(screen.source, screen._variation, Sampling(), 1)
        made.lines = lines
        return made

    return new_run


async def sweeps(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 6, 18):
        source = SweepSource((user(stage.take(40)),), "2026-11-22")
        screen: Any = SweepScreen(stage.chat, source)
        screen._new_run = _run_of(screen, lines)
        async with stage.card(screen):
            await stage.until(lambda screen=screen: screen.has_class("-troubled"), "the failure")
            await stage.press("right", "down", "down", "right")


SHARES = {sweeps: 0.6}
"""Of a hundred texts, so many."""
