"""Chat templates come with models from anywhere: they run without reach, time or memory beyond their task."""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llama_chat.errors import TemplateError
from llama_chat.template.syntax import CountingNodes, GenerationTag, SafeNamespace

RENDER_LIMIT_S = 2.0
MAX_SOURCE_CHARS = 200_000
"""Ten times what the longest templates of the Hub have."""
MAX_BUILT_CHARS = 100_000_000
"""All the text (and 8 for each item of a list) that one render may build on its way; memory follows it."""
MAX_NUMBER = 1_000_000
"""Largest number that a call, a product or a width may be given."""
MAX_EXPONENT = 1000

# What makes text out of any value, a list of lists too.
_TEXT_FILTERS = frozenset(
    ["capitalize", "center", "e", "escape", "forceescape", "indent", "lower", "safe", "string", "title",
     "trim", "truncate", "upper", "wordcount"]
)  # fmt: skip
# No chat template needs them: they multiply what they are given, take long, or differ from run to run.
_UNWANTED_FILTERS = ("batch", "slice", "wordwrap", "urlize", "striptags", "xmlattr", "pprint", "random")
_UNWANTED_METHODS = frozenset(["translate", "maketrans", "encode", "expandtabs", "format_map"])


@dataclass(slots=True)
class RenderBudget:
    """Time that several renders share."""

    total_s: float
    left_s: float


_budgets: ContextVar[tuple[RenderBudget, ...]] = ContextVar("budgets", default=())


@contextmanager
def render_budget(total_s: float | None = None) -> Iterator[RenderBudget]:
    """A budget for all renders in the block together, as much as one may take unless told otherwise.

    Only the time in templates counts; budgets may be nested.
    """
    total_s = RENDER_LIMIT_S if total_s is None else total_s
    budget = RenderBudget(total_s, total_s)
    token = _budgets.set((*_budgets.get(), budget))
    try:
        yield budget
    finally:
        _budgets.reset(token)


_JINJA_ARGUMENTS = ("_loop_vars", "_block_vars")  # what compiled templates add to calls


class SandboxedTemplate:
    """A chat template, compiled.

    Raises:
        TemplateError: the source is no template.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise TemplateError(f"The model's chat template has {len(source):,} characters, far too many")
        self._sandbox = _Sandbox()
        try:
            with _time_limit(RENDER_LIMIT_S):  # 200 nested loops compile in half a minute
                self._template = self._sandbox.from_string(source)
        except TemplateError:
            raise
        except (jinja2.TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise TemplateError(f"The model's chat template cannot be read: {_reason(error)}") from error

    def render(self, **variables: Any) -> str:
        """The text that the template makes of the variables.

        Raises:
            TemplateError: it fails, takes too long, or builds too much.
        """
        self._sandbox.built_chars = 0
        try:
            with _time_limit(RENDER_LIMIT_S):
                return self._template.render(raise_exception=_raise_exception, **variables)
        except TemplateError:
            raise
        except Exception as error:  # foreign code: whatever it raises is its own fault
            raise TemplateError(f"The model's chat template fails: {_reason(error)}") from error


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, which also keeps count of what is built in it.

    Whitespace is handled as transformers does (trim_blocks, lstrip_blocks).
    """

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
            finalize=self._written,
        )
        self.built_chars = 0
        self.globals["namespace"] = SafeNamespace
        del self.globals["lipsum"]
        for name in _UNWANTED_FILTERS:
            del self.filters[name]
        own = {"tojson": _to_json, "format": self._format, "replace": self._replace, "join": self._join}
        self.filters |= own
        self.filters = {name: self._counted(name, function) for name, function in self.filters.items()}
        self.filters |= {"joined": self._joined, "weighed": self._weighed, "sliced": self._sliced}

    def spend(self, chars: int) -> None:
        """Count what is built, or about to be.

        Raises:
            TemplateError: it is too much.
        """
        self.built_chars += chars
        if self.built_chars > MAX_BUILT_CHARS:
            raise TemplateError(f"The model's chat template builds more than {MAX_BUILT_CHARS:,} characters")

    def weigh(self, value: Any) -> int:
        """What the value is as text, about: the characters in it, and 8 for each item.

        Raises:
            TemplateError: more than a render may build.
        """
        chars, waiting = 0, [value]
        while waiting:
            item = waiting.pop()
            chars += len(item) if isinstance(item, str) else 8
            if isinstance(item, Mapping):
                waiting += [*item, *item.values()]
            elif isinstance(item, (list, tuple, set, frozenset)):
                waiting += item
            if chars + 8 * len(waiting) > MAX_BUILT_CHARS:
                self.spend(MAX_BUILT_CHARS)
        return chars

    # --- operators, calls and names

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = CountingNodes().visit(super()._parse(source, name, filename))
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The result of `+`, `*`, `**` or `%`, unless it would be out of all proportion."""
        if operator == "+" and isinstance(right, (str, list, tuple)):
            self.spend(self.weigh(right) + _shallow(left))  # what is in `left` was counted when it was built
        elif operator == "*":
            _check_numbers(left, right)
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, (str, list, tuple)) and isinstance(count, int):
                    self.spend(self.weigh(sequence) * max(0, count))
        elif operator == "**":
            _check_numbers(left, right, most=MAX_EXPONENT)
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
            self.spend(self.weigh(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of a call (jinja2 marks its parameters positional-only, with names of its own)."""
        _check_numbers(*args, *kwargs.values())
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        given = {key: value for key, value in kwargs.items() if key not in _JINJA_ARGUMENTS}
        if isinstance(owner, str) and name in ("replace", "join"):
            method = self._replace if name == "replace" else self._join_by
            return self._count(method(owner, *args, **given))
        if obj is dict:
            self.spend(self.weigh([args, given]))
        return self._count(super().call(context, obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use it."""
        return attr not in _UNWANTED_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """jinja2's safe `str.format`, for formats with small widths only."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__)
            self.spend(self.weigh([args, kwargs]))
            return wrapped(*args, **kwargs)

        return checked

    # --- filters

    def _count(self, value: Any) -> Any:
        self.spend(_shallow(value))
        return value

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter with its arguments checked and its result counted."""
        at = 1 if hasattr(function, "jinja_pass_arg") else 0  # of the value; the context may come first

        @functools.wraps(function)  # keeps that mark
        def counted(*args: Any, **kwargs: Any) -> Any:
            value, numbers = args[at], (*args[at + 1 :], *kwargs.values())
            _check_numbers(*numbers)
            if name in _TEXT_FILTERS and not isinstance(value, str):
                self.spend(self.weigh(value))
            if name == "indent":
                self.spend(str(value).count("\n") * max(map(_width, numbers), default=4))
            return self._count(function(*args, **kwargs))

        return counted

    @jinja2.pass_context  # which also keeps jinja2 from doing it once and for all when it compiles
    def _written(self, _context: Any, value: Any) -> Any:
        self.spend(self.weigh(value))
        return value

    def _weighed(self, value: Any) -> Any:
        if isinstance(value, (list, tuple, dict)):
            self.spend(self.weigh(value))
        return value

    def _joined(self, values: list[Any]) -> str:
        self.spend(self.weigh(values))
        return "".join(map(str, values))

    def _sliced(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        return self._count(value[start:stop:step])

    def _replace(self, value: Any, old: Any, new: Any, count: int | None = None) -> str:
        text, old, new = str(value), str(old), str(new)
        self.spend(text.count(old) * len(new))
        return text.replace(old, new, -1 if count is None else count)

    def _join(self, values: Any, separator: Any = "", attribute: Any = None) -> str:
        if attribute is not None:
            get = jinja2.filters.make_attrgetter(self, attribute)
            values = map(get, values)
        return self._join_by(str(separator), values)

    def _join_by(self, separator: str, values: Any) -> str:
        found = list(values)
        self.spend(len(separator) * len(found) + self.weigh(found))
        return separator.join(map(str, found))

    def _format(self, value: Any, *args: Any, **kwargs: Any) -> str:
        _check_format(str(value))
        self.spend(self.weigh([args, kwargs]))
        return str(value) % (kwargs or args)


def _shallow(value: Any) -> int:
    """Characters of a text, 8 for each item of a list; what is in the items was counted before."""
    if isinstance(value, str):
        return len(value)
    return 8 * len(value) if isinstance(value, (list, tuple, dict)) else 0


def _width(value: Any) -> int:
    return len(value) if isinstance(value, str) else int(value)


def _check_numbers(*values: Any, most: int = MAX_NUMBER) -> None:
    if any(isinstance(value, int) and abs(value) > most for value in values):
        raise TemplateError(f"The model's chat template counts beyond {most:,}")


def _check_format(template: str) -> None:
    """Refuse formats that write much out of nothing: large widths, or widths that come as values."""
    if sum(map(int, re.findall(r"\d{1,9}", template))) > MAX_NUMBER or re.search(r"\*|\{[^{}]*\{", template):
        raise TemplateError("The model's chat template formats with a width out of proportion")


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """As templates expect it: unlike jinja2's own filter, without escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=None if indent is None else min(indent, 16))


def _raise_exception(message: str) -> str:
    raise TemplateError(f"The model's chat template refuses this conversation: {str(message)[:500]}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Break off Python code of this thread that runs longer, whatever it does.

    The trace function is called for every line of the compiled template, so even a loop that writes nothing
    is seen. It makes a template of 11 ms to compile one of 42 ms, and a render of 100 messages one of 12 ms
    (2026-11-22).
    """
    budgets = (*_budgets.get(), RenderBudget(limit_s, limit_s))
    tightest = min(budgets, key=lambda budget: budget.left_s)
    started = time.monotonic()
    deadline = started + tightest.left_s
    before = sys.gettrace()

    def watch(frame: FrameType, _event: str, _argument: Any) -> Any:
        if time.monotonic() > deadline and _belongs_to_template(frame):
            raise TemplateError(f"The model's chat template takes more than {tightest.total_s:g} s")
        return watch

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
        for budget in budgets:
            budget.left_s -= time.monotonic() - started


def _belongs_to_template(frame: FrameType) -> bool:
    """Whether it runs the template or jinja2; a callback of the garbage collector, say, is not broken off."""
    module = str(frame.f_globals.get("__name__", ""))
    return frame.f_code.co_filename == "<template>" or module.startswith(("jinja2", __name__))
