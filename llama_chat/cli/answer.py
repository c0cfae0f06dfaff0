"""What `llama-chat run` does: loads a model, answers one prompt, prints."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any, TextIO

from llama_chat.cli.engines import load_for_command
from llama_chat.cli.history import History
from llama_chat.cli.talk import say, say_notices
from llama_chat.conversation import new_seed
from llama_chat.errors import Interrupted, PromptError, UsageError
from llama_chat.events import (
    Engine,
    Event,
    Failed,
    Finished,
    LiveSampling,
    ModelInfo,
    Piece,
    Prefilled,
    Sampling,
    Text,
    Token,
    Usage,
)
from llama_chat.log import start_log
from llama_chat.paths import Paths
from llama_chat.sanitize import complete_length, sanitize
from llama_chat.settings import LoadedSettings
from llama_chat.turn import build_prompt


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was asked on the command line."""

    prompt: str
    raw: bool = False
    count: int = 1
    as_json: bool = False
    stats: bool = False
    resume: str | None = None
    continue_last: bool = False
    is_system_given: bool = False
    """Whether the system prompt is to replace that of the session."""


@dataclass(slots=True)
class Answer:
    """One reply, gathered from its events."""

    seed: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    prefill_s: float = 0.0
    finished: Finished | None = None

    def feed(self, event: Event) -> str:
        """The text that came with the event.

        Raises:
            LlamaChatError: the reply failed.
        """
        if isinstance(event, Token):
            self.token_ids.append(event.token_id)
            self.text += event.text
            return event.text
        if isinstance(event, Finished):
            self.finished = event
            self.text += event.text
            return event.text
        if isinstance(event, Prefilled):
            self.prefill_s = event.seconds
        elif isinstance(event, Failed):
            raise event.error
        return ""


def run_prompt(request: RunRequest, loaded: LoadedSettings, paths: Paths) -> None:
    """Answer the prompt on stdout.

    Raises:
        UsageError: there is no prompt.
        LlamaChatError: it could not be done.
        Interrupted: Ctrl+C; what was printed stays.
    """
    if not request.prompt.strip():
        raise UsageError("The prompt is empty.", hint='Try: llama-chat run "What is a llama?"')
    start_log(paths.log_file)
    asked = History.open(
        loaded.settings,
        paths,
        resume=request.resume,
        continue_last=request.continue_last,
        is_system_given=request.is_system_given,
    )
    with cancel_on_interrupt() as cancel, asked as history:
        started = time.perf_counter()
        engine = load_for_command(loaded.settings, paths, cancel)
        load_s = time.perf_counter() - started
        say_notices(engine.info.notices)
        try:
            pieces = _pieces(request, engine, history, loaded.settings.sampling)
            for answer in _answers(request, engine, pieces, loaded, cancel, history):
                if request.as_json:
                    print(json.dumps(_as_json(answer, engine, loaded.settings.sampling, load_s)), flush=True)
                if request.stats:
                    say(_stats_line(answer, engine, load_s))
                if answer.finished is not None and answer.finished.reason == "stopped":
                    raise Interrupted("Stopped")
        finally:
            engine.close()


def _pieces(request: RunRequest, engine: Engine, history: History, sampling: Sampling) -> Sequence[Piece]:
    """The prompt: rendered with what came before it, or as it is."""
    if request.raw:
        return [Text(request.prompt)]
    if engine.info.chat_template is None:
        say(f"llama-chat: {engine.info.name} has no chat template; the prompt goes in raw.")
    history.ask(request.prompt)
    prompt = build_prompt(engine, history.path(), date=history.date, max_new_tokens=sampling.max_new_tokens)
    if prompt.dropped_messages:
        say(f"llama-chat: context full: the {prompt.dropped_messages} oldest messages are left out.")
    history.context_start = prompt.context_start
    return prompt.pieces


def _answers(
    request: RunRequest,
    engine: Engine,
    pieces: Sequence[Piece],
    loaded: LoadedSettings,
    cancel: threading.Event,
    history: History,
) -> Iterator[Answer]:
    """The answers, each printed as it comes unless JSON was asked for."""
    locked = loaded.settings.chat.seed
    for n in range(request.count):
        # Several answers to a locked seed must differ, and be the same ones every time.
        seed = new_seed() if locked < 0 else (locked + n) % 2**32
        answer = Answer(seed)
        if request.count > 1 and not request.as_json:
            say(f"--- {n + 1} of {request.count} · seed {seed} ---")
        events = engine.stream(
            pieces, sampling=LiveSampling(loaded.settings.sampling), seed=seed, cancel=cancel
        )
        with history.keeping(seed, loaded.settings.sampling, engine.info) as keep:
            printer = Printer()
            for event in events:
                keep(event)
                text = answer.feed(event)
                if not request.as_json:
                    printer.write(text)
        if not request.as_json:
            printer.end()
        yield answer


class Printer:
    """Prints a text that comes in pieces, as safe for a terminal as if it had come at once."""

    def __init__(self) -> None:
        self._waiting = ""
        self._is_line_open = True

    def write(self, text: str) -> None:
        """Print all of it that what follows cannot change."""
        self._waiting += text
        ready = complete_length(self._waiting)
        self._put(self._waiting[:ready])
        self._waiting = self._waiting[ready:]

    def end(self) -> None:
        """Print what is left, and end the line."""
        self._put(self._waiting)
        self._waiting = ""
        if self._is_line_open:
            self._put("\n")

    def _put(self, text: str) -> None:
        if text:
            self._is_line_open = not text.endswith("\n")
            print(sanitize(text), end="", flush=True)


def _as_json(answer: Answer, engine: Engine, sampling: Sampling, load_s: float) -> dict[str, Any]:
    finished, info = answer.finished, engine.info
    assert finished is not None, "every stream that does not fail is finished"
    return {
        "text": answer.text,
        "token_ids": answer.token_ids,
        "prompt_tokens": finished.usage.prompt_tokens,
        "reused_tokens": finished.usage.reused_tokens,
        "drafted_tokens": finished.usage.drafted_tokens,
        "accepted_tokens": finished.usage.accepted_tokens,
        "finish_reason": finished.reason,
        "seed": answer.seed,
        "sampling": asdict(sampling),
        "model": info.name,
        "engine": info.engine,
        "device": info.device,
        "dtype": info.dtype,
        "timings": {
            "load": round(load_s, 4),
            "prefill": round(answer.prefill_s, 4),
            "decode": round(finished.timings.decode_s, 4),
            "decode_tok_per_s": round(finished.timings.decode_tok_per_s(len(answer.token_ids)), 2),
        },
    }


def _stats_line(answer: Answer, engine: Engine, load_s: float) -> str:
    finished, info = answer.finished, engine.info
    assert finished is not None, "every stream that does not fail is finished"
    new_tokens = len(answer.token_ids)
    return (
        f"{info.name} · {info.dtype} · {info.device} · {engine_label(info)} · {info.threads} threads · "
        f"seed {answer.seed} · load {load_s:.2f} s · "
        f"prompt {finished.usage.prompt_tokens:,} tokens ({finished.usage.reused_tokens:,} reused) in "
        f"{answer.prefill_s:.2f} s · {new_tokens:,} new at "
        f"{finished.timings.decode_tok_per_s(new_tokens):.1f} tok/s{_drafted_words(finished.usage)} · "
        f"{finished.reason}"
    )


def _drafted_words(usage: Usage) -> str:
    """How many tokens were drafted, and how many of them saved a step."""
    if not usage.drafted_tokens:
        return ""
    return f" ({usage.accepted_tokens:,} of {usage.drafted_tokens:,} drafted tokens kept)"


def engine_label(info: ModelInfo) -> str:
    """Which engine it was, and why where the user left the choice to us."""
    why = f" ({info.engine_reason})" if info.engine_reason else ""
    return f"{info.engine} engine{why}"


@contextmanager
def cancel_on_interrupt() -> Iterator[threading.Event]:
    """A flag that Ctrl+C and SIGTERM set: work stops at the next token. A second Ctrl+C breaks off."""
    cancel = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if cancel.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        cancel.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_prompt(argument: str | None, stdin: TextIO | None) -> str:
    """The prompt: what is piped in, the argument, or the one after the other. A closed stdin is None.

    Raises:
        PromptError: what is piped in is not text.
    """
    piped = ""
    if stdin is not None and not stdin.isatty():
        with suppress(OSError):
            try:
                piped = stdin.read()
            except UnicodeDecodeError as error:
                raise PromptError("What is piped in is not UTF-8 text") from error
    return "\n\n".join(part for part in (piped.rstrip("\n"), argument or "") if part.strip())
