"""A step of a walk as a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from llama_chat.drawing.views import StepView, WalkFacts
from llama_chat.errors import StoreError


def write_step(view: StepView, facts: WalkFacts, form: str) -> Path:
    """The file of the picture (`svg`) or the page (`html`), in the folder that the chat was started in.

    Raises:
        StoreError: it cannot be written.
    """
    if form == "svg":
        from llama_chat.drawing.svg import step_svg

        text = step_svg(view, facts)
    else:
        from llama_chat.drawing.html import walk_html

        text = walk_html([view], facts)
    for path in _places(view, form):
        with contextlib.suppress(FileExistsError):
            return _write_new(path, text)
    raise AssertionError("unreachable")


def _places(view: StepView, form: str) -> Iterator[Path]:
    """`walk-softmax-layer-7-head-4.svg`, then with numbers behind it."""
    where = [f"layer-{view.layer + 1}"] if view.layer is not None else []
    where += [f"head-{view.head + 1}"] if view.head is not None else []
    name = "-".join(("walk", view.step.name, *where))
    for number in count(1):
        yield Path(f"{name}{f'-{number}' if number > 1 else ''}.{form}").absolute()


def _write_new(path: Path, text: str) -> Path:
    """Write a file that its owner alone can read; one that is there is left alone."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path
