"""Both answers to the same questions: the recorded one, and another model's as it comes."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from llama_chat.cli.answer import Printer
from llama_chat.cli.tables import at_words, cells_of, cut, painter_for, pictured_line, width_of, wrapped
from llama_chat.conversation import Message
from llama_chat.errors import Interrupted, PromptError
from llama_chat.events import Engine, Finished, ModelInfo, Token
from llama_chat.rerun import Change
from llama_chat.rerun.asking import Interview, Question, questions_of
from llama_chat.rerun.changes import changes_between
from llama_chat.rerun.judge import setting_of
from llama_chat.sanitize import complete_length, sanitize
from llama_chat.sessions import SessionRecord

LEAST_CELLS_FOR_COLUMNS = 100
_BETWEEN = " │ "
_NO_ANSWER = "(no answer)"
_OF_THE_MACHINE = ("device", "threads", "torch")


class _Page(Protocol):
    """Where the two answers to a question are shown."""

    def begin(self, question: Question) -> None: ...

    def write(self, text: str) -> None: ...

    def end(self) -> None: ...


def ask_again(record: SessionRecord, engine: Engine, *, as_json: bool, cancel: threading.Event) -> None:
    """Put the session's questions to the engine and print both answers to each, as they come.

    A question that cannot be put to it (an empty one, one too long) is passed over, and why is said.

    Raises:
        LlamaChatError: the engine fails.
        Interrupted: Ctrl+C; what was said so far is printed.
    """
    interview = Interview(record, engine)
    info = engine.info
    if not as_json:
        for line in wrapped(setting_line(record, info), width_of(sys.stdout)):
            print(painter_for(sys.stdout, os.environ).bold(line), flush=True)
    page = _page(as_json, record, label_of(info.name, info.dtype, info.engine))
    answered: list[dict[str, Any]] = []
    for question in questions_of(record):
        page.begin(question)
        try:
            for event in interview.ask(question, cancel):
                if isinstance(event, Token | Finished):
                    page.write(event.text)
            now = _answer_data(interview.answer)
        except PromptError as error:
            page.write(f"({error})")
            now = {"error": str(error)}
        page.end()
        answered.append(_as_data(question, now))
        if cancel.is_set():
            break
    if as_json:
        print(json.dumps(_all_data(record, engine, answered), indent=2), flush=True)
    if cancel.is_set():
        raise Interrupted("Stopped")


def setting_line(record: SessionRecord, info: ModelInfo) -> str:
    """What computes now, as the check says it, and what of the machine was otherwise then."""
    replies = (message.reply for message in record.conversation.path())
    plan = next((reply.plan for reply in replies if reply is not None and reply.plan is not None), None)
    found = changes_between(None, plan, info, None) if plan is not None else ()
    changes = [str(change) for change in found if change.what in _OF_THE_MACHINE]
    if plan is not None and plan.machine and info.machine and plan.machine != info.machine:
        changes.append(str(Change("machine", plan.machine, info.machine)))
    if plan is not None and plan.alteration:
        changes.append(f"the model is not altered (recorded: {plan.alteration})")
    words = f" · not as recorded: {', '.join(changes)}" if changes else ""
    return f"{setting_of(info, None)}{words}"


def _page(as_json: bool, record: SessionRecord, label: str) -> _Page:
    width = width_of(sys.stdout)
    if as_json:
        return _Silent()
    if width is not None and width >= LEAST_CELLS_FOR_COLUMNS:
        return _Columns(record, label, width)
    return _Below(record, label)


class _Silent:
    """For JSON, which is printed at the end."""

    def begin(self, question: Question) -> None:
        """Nothing."""

    def write(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class _Below:
    """One answer below the other."""

    def __init__(self, record: SessionRecord, label: str) -> None:
        self._record, self._label = record, label
        self._painter = painter_for(sys.stdout, os.environ)
        self._printer = Printer()

    def begin(self, question: Question) -> None:
        """Print the question and the recorded answer."""
        bold = self._painter.bold
        print(bold(f"{question.number}. you:"), sanitize(question.message.text), sep="\n")
        print(bold(f"recorded, {pictured_line(recorded_label(self._record, question))}:"))
        print(sanitize(question.answer.text) if question.answer is not None else _NO_ANSWER)
        print(bold(f"now, {pictured_line(self._label)}:"), flush=True)
        self._printer = Printer()

    def write(self, text: str) -> None:
        """Print what came of the new answer."""
        self._printer.write(text)

    def end(self) -> None:
        """End it."""
        self._printer.end()
        print(flush=True)


class _Columns:
    """The recorded answer at the left, the new one at the right, line by line as it comes."""

    def __init__(self, record: SessionRecord, label: str, width: int) -> None:
        self._record, self._label = record, label
        self._painter = painter_for(sys.stdout, os.environ)
        self._width = width
        self._cells = (width - len(_BETWEEN)) // 2
        self._left: Iterator[str] = iter(())
        self._open = ""
        """The last line of the new answer, which may still grow."""
        self._raw = ""

    def begin(self, question: Question) -> None:
        """Print the question and the heads of the columns."""
        for line in lines_of(f"{question.number}. you: {question.message.text}", self._width):
            print(self._painter.bold(line))
        recorded = question.answer.text if question.answer is not None else _NO_ANSWER
        self._left = iter(lines_of(recorded, self._cells))
        self._open = self._raw = ""
        heads = (f"recorded, {recorded_label(self._record, question)}", f"now, {self._label}")
        left, right = (cut(pictured_line(head), self._cells) for head in heads)
        print(self._painter.dim(self._row(left, right)), flush=True)

    def write(self, text: str) -> None:
        """Print the lines that are complete by what came."""
        self._raw += text
        ready = complete_length(self._raw)
        self._open += self._raw[:ready]
        self._raw = self._raw[ready:]
        *whole, self._open = lines_of(self._open, self._cells)
        for line in whole:
            self._print(line)

    def end(self) -> None:
        """Print the last line, and what is left of the recorded answer."""
        for line in lines_of(self._open + self._raw, self._cells):
            self._print(line)
        for line in self._left:
            print(self._row(line, ""))
        print(flush=True)

    def _print(self, right: str) -> None:
        print(self._row(next(self._left, ""), right), flush=True)

    def _row(self, left: str, right: str) -> str:
        return f"{left}{' ' * (self._cells - cells_of(left))}{_BETWEEN}{right}".rstrip()


def lines_of(text: str, cells: int) -> list[str]:
    """The text as safe lines of so many cells; at least one."""
    safe = sanitize(text).expandtabs(4)
    return [line for part in safe.split("\n") for line in at_words(part, cells)]


def label_of(*parts: str) -> str:
    """A model as its answer is headed: name, precision and engine, as far as they are known."""
    return " · ".join(filter(None, parts)) or "unknown"


def recorded_label(record: SessionRecord, question: Question) -> str:
    """Of the model that answered then."""
    answer = question.answer
    model = record.models.get(answer.id) if answer is not None else None
    if model is not None:
        return label_of(model.name, model.dtype, model.engine)
    return label_of(answer.reply.model if answer is not None and answer.reply is not None else "")


def _as_data(question: Question, now: dict[str, Any]) -> dict[str, Any]:
    return {
        "question": question.message.text,
        "recorded": None if question.answer is None else _answer_data(question.answer),
        "now": now,
    }


def _answer_data(message: Message) -> dict[str, Any]:
    reply = message.reply
    if reply is None:
        return {"text": message.text}
    return {
        "text": message.text,
        "model": reply.model,
        "seed": reply.seed,
        "token_ids": list(reply.token_ids),
        "finish_reason": reply.finish_reason,
    }


def _all_data(record: SessionRecord, engine: Engine, answered: list[dict[str, Any]]) -> dict[str, Any]:
    info = engine.info
    return {
        "session": record.info.id,
        "model": info.name,
        "engine": info.engine,
        "device": info.device,
        "dtype": info.dtype,
        "torch": info.torch,
        "threads": info.threads,
        "machine": info.machine,
        "turns": answered,
    }
