"""How many tokens words have that are not sent yet: counted beside the screen, the newest ones only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from llama_chat.chat.backstage.own_thread import give_way
from llama_chat.conversation import Message, Role
from llama_chat.errors import LlamaChatError
from llama_chat.events import Engine, Text

if TYPE_CHECKING:
    from llama_chat.template.chat_template import ChatTemplate

T = TypeVar("T")

SLICE_CHARACTERS = 4_096
"""Counted in one go: the library of SentencePiece models lets nobody else run meanwhile."""
MOST_KEPT = 64
_DAY = "2026-01-01"
"""Any date: all are about as long."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Tokens of the template around a message of the user's, the opening of the reply among them."""

    first: int
    """At the beginning of a chat: with the system prompt."""
    later: int
    """Behind a reply, with what ends that."""


class AskEngine(Protocol):
    """Asks the engine that is loaded, as `Worker.ask` does."""

    def __call__(self, function: Callable[[Engine], T], /) -> T | None:
        """What the function says of it, called on the caller's thread; None without an engine."""


@dataclass(slots=True)
class _Progress:
    """A text that is being counted."""

    at: int = 0
    tokens: int = 0


class TokenCounter:
    """Counts texts on a thread of its own, the shortest first.

    Args:
        ask: calls something with the engine that is loaded, on the caller's thread; None without one.
        told: called on the thread of the counter when something is counted.
    """

    def __init__(self, ask: AskEngine, told: Callable[[], object]) -> None:
        self._ask = ask
        self._told = told
        self._changed = threading.Condition()
        self._wanted: tuple[str, ...] = ()
        self._system: str | None = None
        self._counts: dict[str, int] = {}
        self._overheads: dict[str, Overhead] = {}
        self._progress: dict[str, _Progress] = {}
        self._model = 0
        self._thread: threading.Thread | None = None

    def want(self, texts: Sequence[str], system: str) -> None:
        """Count these, and what a template puts around a message under this system prompt."""
        with self._changed:
            self._wanted, self._system = tuple(texts), system
            if self._next() is None and system in self._overheads:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="counting tokens", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self) -> None:
        """Another model counts otherwise."""
        with self._changed:
            self._model += 1
            self._counts, self._overheads, self._progress = {}, {}, {}
            self._wanted, self._system = (), None

    def count_of(self, text: str) -> int | None:
        """How many tokens the text has, if that is counted."""
        return self._counts.get(text)

    def overhead_of(self, system: str) -> Overhead | None:
        """What the template puts around a message, if that is counted."""
        return self._overheads.get(system)

    # --- on its thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        give_way()  # a key must be seen first
        while True:
            with self._changed:
                while (step := self._step()) is None:
                    self._changed.wait()
                model = self._model
            try:
                is_new = step(model)
            except Exception:  # a tokenizer or template that fails tells the worker so; here is no figure
                is_new = False
                with self._changed:
                    self._wanted, self._system = (), None
            if is_new:
                with contextlib.suppress(RuntimeError):  # the screen is gone: nobody looks any more
                    self._told()

    def _step(self) -> Callable[[int], bool] | None:
        if (text := self._next()) is not None:
            return lambda model: self._count_slice(text, model)
        system = self._system
        if system is not None and system not in self._overheads:
            return lambda model: self._count_overhead(system, model)
        return None

    def _next(self) -> str | None:
        missing = (text for text in self._wanted if text not in self._counts)
        return min(missing, key=len, default=None)

    def _count_slice(self, text: str, model: int) -> bool:
        progress = self._progress.get(text) or _Progress()
        end = slice_end(text, progress.at)
        tokens = self._ask(lambda engine: tokens_of(engine, text[progress.at : end]))
        with self._changed:
            if tokens is None:
                self._wanted, self._system = (), None
            if model != self._model or tokens is None:
                return False
            progress = _Progress(end, progress.tokens + tokens)
            if end < len(text):
                self._progress[text] = progress
                return False
            self._progress.pop(text, None)
            self._counts[text] = progress.tokens
            for old in [old for old in self._counts if old not in self._wanted][:-MOST_KEPT]:
                del self._counts[old]
            return True

    def _count_overhead(self, system: str, model: int) -> bool:
        overhead = self._ask(lambda engine: template_overhead(engine, system))
        with self._changed:
            if overhead is None:
                self._system = None
            elif model == self._model:
                self._overheads[system] = overhead
                return True
        return False


def tokens_of(engine: Engine, text: str) -> int:
    """How many tokens ordinary text has, without the one that begins a text."""
    return engine.count_tokens((Text(text),)) - engine.count_tokens((Text(""),))


def slice_end(text: str, start: int) -> int:
    """Where a slice may end, so that the counts of the slices add up to that of the whole, or nearly so.

    Tokens do not reach over a line break into a word, nor over the space before one.
    """
    end = start + SLICE_CHARACTERS
    if end >= len(text):
        return len(text)
    line = text.rfind("\n", start + 1, end)
    while line > start and text[line + 1].isspace():
        line = text.rfind("\n", start + 1, line)
    if line > start:
        return line + 1
    space = text.rfind(" ", start + 1, end)
    return space if space > start else end


def template_overhead(engine: Engine, system: str) -> Overhead:
    """What the model's template puts around a message.

    Raises:
        TemplateError: it fails.
    """
    from llama_chat.template.chat_template import ChatTemplate  # brings jinja2

    template = ChatTemplate.of_model(engine.info)
    bare = engine.count_tokens((Text(""),))
    if template is None:
        return Overhead(bare, 0)
    word = engine.count_tokens((Text("x"),)) - bare
    user, reply = _said(Role.USER), _said(Role.ASSISTANT)
    opening = [_said(Role.SYSTEM, system)] if system else []
    alone = _rendered(engine, template, [user])
    first = _rendered(engine, template, [*opening, user]) - word
    try:
        later = _rendered(engine, template, [user, reply, user]) - alone - 2 * word
    except LlamaChatError:
        later = alone - word
    return Overhead(first, max(0, later))


def _rendered(engine: Engine, template: ChatTemplate, messages: Sequence[Message]) -> int:
    return engine.count_tokens(template.render(messages, today=_DAY))


def _said(role: Role, text: str = "x") -> Message:
    return Message(role.value, None, role, text, 0.0)
