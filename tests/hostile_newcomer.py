"""The screens for newcomers: devices, models, downloads and errors of hostile names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fake_engine import INFO
from hostile_stage import Stage

from llama_chat.chat.machine.devices import DevicesFound
from llama_chat.chat.machine.recommending import Circumstances
from llama_chat.device_facts import DeviceFacts
from llama_chat.errors import ModelError
from llama_chat.pull_progress import PullProgress
from llama_chat.shelves.facts import Facts
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.listing import FoundModel
from llama_chat.ui.first_run.screen import FirstRunScreen
from llama_chat.ui.first_run.try_step import TryStep
from llama_chat.ui.model_rows import ModelRow


def model_row(line: str, number: int) -> ModelRow:
    """A model that is called so, with a header that says so."""
    model = FoundModel(
        line,
        ("models", "recent", "ollama")[number % 3],
        Path("/x") / line.replace("/", "|"),
        10**9,
        line if number % 3 == 2 else "",
    )
    facts = Facts(line, line[-7:], 4096, line, engine="hf", problem=line if number % 3 == 1 else "")
    return ModelRow(model, facts, ShortFit("fits", 1, 2, line))


async def newcomer(stage: Stage, count: int) -> None:
    """Its three steps, with all that can be said in each."""
    for lines in stage.batches(count, 12, 50):
        screen = FirstRunScreen(stage.chat, is_first=False)
        async with stage.card(screen):
            await _devices(stage, screen, lines)
            screen._go_to("model")
            await stage.frame()
            screen.post_message(screen.Learned([model_row(line, n) for n, line in enumerate(lines)]))
            await stage.frame()
            await stage.press("home", *["down"] * 3)
            screen._model_step.say(lines[-1])
            screen._say_why(ModelError(lines[0], hint=lines[-1]))
            await stage.frame()
            screen._go_to("try")
            await _tries(stage, screen.query_one(TryStep), lines)
        stage.chat.transcript.clear()


async def _devices(stage: Stage, screen: FirstRunScreen, lines: list[str]) -> None:
    facts = tuple(DeviceFacts(line[:9], line, line, problem=line * (n % 2)) for n, line in enumerate(lines))
    known = Circumstances(device=facts[0])
    for found in (DevicesFound(lines[0], facts[:6], tuple(lines[6:])), None):
        screen.post_message(screen.FoundDevices(found, known, lines[-1]))
        await stage.frame()


async def _tries(stage: Stage, step: TryStep, lines: list[str]) -> None:
    for line in lines:
        step.begin(line)
        step.show(PullProgress(5, 10, 1.0, line))
        await stage.frame()
        step.is_there(replace(INFO, name=line, dtype=line, device=line))
        await stage.frame()


SHARES = {newcomer: 0.2}
"""Of a hundred texts, so many."""
