"""Writes docs/walk.md: the walk of one text through the default model, in f32, as the program tells it.

Run: python tests/make_walk_doc.py MODEL.gguf
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from llama_chat.cli.tables import Painter
from llama_chat.cli.walk_text import picture_lines
from llama_chat.drawing.svg import step_title
from llama_chat.drawing.views import LETTERS, StepView
from llama_chat.engine.load import load_engine
from llama_chat.settings import ModelSettings
from llama_chat.walk.walk import Walk

PAGE = Path(__file__).parent.parent / "docs" / "walk.md"
TEXT = "The capital of France is"
LAYER, HEAD = 14, 9
"""From 1. This head looks from `is` at `capital`."""

_BEGINNING = f"""\
# From a text to its next token

What happens inside a Llama between a text and the token that follows it, step by step and with real numbers:
those of the default model on the text "{TEXT}", in f32. All of it is the output of

    llama-chat walk "{TEXT}" --layer {LAYER} --head {HEAD} --dtype f32

which does the same with any text and any model of the family. `--step NAME` shows one step, `--layer` and
`--head` choose what is shown of the layers, `--svg` and `--html` write pictures in colour, `--json` gives the
numbers.
"""


def walk_page(model: Path) -> str:
    """The page, in Markdown."""
    engine = load_engine(model, ModelSettings(device="cpu", dtype="f32", threads=1))
    walk = Walk(engine, TEXT)
    sizes = ", ".join(f"{letter} {size:,} ({LETTERS[letter]})" for letter, size in walk.facts.sizes)
    parts = [_BEGINNING, f"The letters of the shapes: {sizes}.\n"]
    for step in walk.steps:
        view = walk.step(step.name, LAYER - 1, HEAD - 1)
        parts.append(f"## {step_title(view, walk.facts)}\n\n" + "\n".join(_section(view)))
    engine.close()
    return "\n".join(parts)


def _section(view: StepView) -> Iterator[str]:
    yield f"`--step {view.step.name}` · `{view.step.formula}`\n"
    if view.shapes:
        yield " · ".join(f"{shape.name} `{shape.text}`" for shape in view.shapes) + "\n"
    for sentence in view.sentences:
        yield f"{sentence}\n"
    yield "```text"
    yield from list(picture_lines(view, Painter(), 80))[1:]
    yield "```\n"


if __name__ == "__main__":
    PAGE.write_text(walk_page(Path(sys.argv[1])), encoding="utf-8")
