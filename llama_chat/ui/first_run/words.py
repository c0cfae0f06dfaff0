"""What the screens for newcomers say, as content: made of plain data, looked at nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from llama_chat.chat.machine.devices import DevicesFound
from llama_chat.sanitize import sanitize

STEPS = ("this machine", "a model", "first words")
PROMISE = "Nothing you write leaves this machine; once the model is here, nothing needs a network."


@dataclass(frozen=True, slots=True)
class FirstPrompt:
    """Something to begin with."""

    text: str
    seen: str
    """What is to be seen then; keys by their default names."""


FIRST_PROMPTS = (
    FirstPrompt(
        "Tell me a story about a fox and a river.",
        "While it is told, Ctrl+O opens the sliders: they count from the very next word on.",
    ),
    FirstPrompt(
        "Write a Python function that counts the words in a text.",
        "Code comes in colours, in a block of its own.",
    ),
    FirstPrompt(
        "What is a llama? Answer in one sentence.",
        "Then Ctrl+R answers again, and Alt+← goes back to the first answer.",
    ),
)


def steps_line(step: int, cells: int) -> Content:
    """Which of the three it is: their names where there is room, else the number."""
    short = Content.styled(f"{step + 1} of {len(STEPS)}", "$foreground 60%")
    parts = []
    for n, name in enumerate(STEPS):
        style = "$primary bold" if n == step else "$foreground 40%"
        parts.append(Content.styled(f"{n + 1} {name}", style))
    long = Content("   ").join(parts)
    return long if long.cell_length <= cells else short


def device_verdict(found: DevicesFound) -> str:
    """What the devices come to, in a sentence."""
    best = found.best
    if best is None:
        return "No device answers: a model cannot run until that is mended."
    if not best.is_cpu:
        return f"Models run on {best.name}."
    if found.missing:
        return "Until that is mended, models run on the processor."
    return "No graphics card that torch could use: models run on the processor."


def bullet_lines(lines: Sequence[str], first_style: str = "") -> Content:
    """The lines, the first one in a style."""
    return Content("\n").join(
        Content.styled(sanitize(line), first_style if n == 0 and first_style else "$foreground 60%")
        for n, line in enumerate(lines)
    )
