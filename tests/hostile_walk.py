"""Walks through models, texts and tokens that are called anything."""

from __future__ import annotations

from hostile_stage import Stage
from walk_stage import FakeWalk, opener_of

from llama_chat.chat.walking.source import source_of
from llama_chat.errors import ModelError
from llama_chat.ui.walk.screen import WalkScreen

_STEPS = 20


async def walks(stage: Stage, count: int) -> None:
    """Every step of them, and its pictures."""
    for line in stage.lines(count, cells=30):
        screen = WalkScreen(stage.chat, source_of(line), opener_of(FakeWalk((line, line, line), line)))
        async with stage.card(screen):
            await stage.until(lambda screen=screen: screen.view is not None, "the walk")  # type: ignore[misc]
            for step in range(_STEPS):
                await stage.until(
                    lambda screen=screen, step=step: screen.view.number == step + 1,  # type: ignore[misc]
                    "the step",
                )
                await stage.press("v")
                if step == 8:
                    await stage.press("t", "left", "f", "escape")
                if step < _STEPS - 1:
                    await stage.press("down")


async def no_walks(stage: Stage, count: int) -> None:
    """What is said where there is none."""
    for line in stage.lines(count):

        def refuse(*_: object, line: str = line) -> FakeWalk:
            raise ModelError(line, hint=line)

        screen = WalkScreen(stage.chat, source_of(line), refuse)  # type: ignore[arg-type]
        async with stage.card(screen):
            await stage.until(lambda screen=screen: "no walk" in screen.picture_title, "the reason")  # type: ignore[misc]
            await stage.frame()


SHARES = {walks: 0.05, no_walks: 0.05}
