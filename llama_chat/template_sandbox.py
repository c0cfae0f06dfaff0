"""Chat templates come with models from anywhere: they run without reach, time or memory beyond their task."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llama_chat.errors import TemplateError

RENDER_LIMIT_S = 2.0
MAX_RENDERED_CHARS = 50_000_000
MAX_REPEAT = 1_000_000
"""Largest factor, exponent, width or other number that an operation may be given."""


class SandboxedTemplate:
    """A chat template, compiled.

    Raises:
        TemplateError: the source is no template.
    """

    def __init__(self, source: str) -> None:
        try:
            self._template = _Sandbox().from_string(source)
        except (jinja2.TemplateError, RecursionError, MemoryError) as error:
            raise TemplateError(f"The model's chat template cannot be read: {error}") from error

    def render(self, **variables: Any) -> str:
        """The text that the template makes of the variables.

        Raises:
            TemplateError: it fails, takes too long, or writes too much.
        """
        try:
            with _time_limit(RENDER_LIMIT_S):
                return _collect(self._template.generate(raise_exception=_raise_exception, **variables))
        except TemplateError:
            raise
        except Exception as error:  # foreign code: whatever it raises is its own fault
            raise TemplateError(f"The model's chat template fails: {error}") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, which also refuses what would fill the memory in one step.

    Whitespace is handled as transformers does (trim_blocks, lstrip_blocks).
    """

    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        self.filters["tojson"] = _to_json
        self.filters["format"] = _format
        for name in ("center", "indent", "wordwrap"):
            self.filters[name] = _bounded(self.filters[name])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The result of `*`, `**` or `%`, unless a number in it is out of all proportion."""
        if operator == "%":
            _check_format(left)
        else:
            _check_numbers(left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """The result of a call (jinja2 marks its parameters positional-only, with names of its own)."""
        _check_numbers(*args, *kwargs.values())
        return super().call(context, obj, *args, **kwargs)


def _check_numbers(*values: Any) -> None:
    if any(isinstance(value, int) and abs(value) > MAX_REPEAT for value in values):
        raise TemplateError(f"The model's chat template counts beyond {MAX_REPEAT:,}")


def _check_format(template: Any) -> None:
    if isinstance(template, str) and re.search(r"\d{6,}|\*", template):
        raise TemplateError("The model's chat template formats with a width out of proportion")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        _check_numbers(*args, *kwargs.values())
        return function(*args, **kwargs)

    return checked


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    _check_format(str(value))
    return str(value) % (kwargs or args)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """As templates expect it: unlike jinja2's own filter, without escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise_exception(message: str) -> str:
    raise TemplateError(f"The model's chat template refuses this conversation: {message}")


def _collect(parts: Iterator[str]) -> str:
    """The rendered text, which may not grow without end."""
    found, length = [], 0
    for part in parts:
        found.append(part)
        length += len(part)
        if length > MAX_RENDERED_CHARS:
            raise TemplateError(f"The model's chat template writes more than {MAX_RENDERED_CHARS:,} characters")
    return "".join(found)


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Break off Python code of this thread that runs longer, whatever it does.

    The trace function is called for every line of the compiled template, so even a loop that writes nothing
    is seen. A render takes about a millisecond with it.
    """
    deadline = time.monotonic() + limit_s
    before = sys.gettrace()

    def watch(_frame: FrameType, _event: str, _argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise TemplateError(f"The model's chat template takes more than {limit_s:g} s")
        return watch

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
