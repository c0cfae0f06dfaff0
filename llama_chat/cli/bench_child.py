"""The process in which one configuration is measured; `benchmarks.children` starts it.

Its first line of input says what is wanted; lines of JSON come out. When its input ends, whoever started it
has gone, and it ends, too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llama_chat.benchmarks.records import Configuration
from llama_chat.errors import LlamaChatError

if TYPE_CHECKING:
    from llama_chat.engine.generate import LocalEngine
    from llama_chat.events import Loading

STOPPED = 1
_PATIENCE_S = 2.0


@dataclass(slots=True)
class Answers:
    """Lines of JSON for the process that asked."""

    stream: TextIO

    def tell(self, what: str) -> None:
        """What is done now."""
        self.send("doing", what)

    def send(self, kind: str, data: Any) -> None:
        """One line."""
        self.stream.write(json.dumps({kind: data}) + "\n")
        self.stream.flush()


@dataclass(slots=True)
class LoadingTimes:
    """When torch was there and the weights began to come."""

    began: float = field(default_factory=time.perf_counter)
    weights_at: float | None = None

    def __call__(self, loading: Loading) -> None:
        """Hear how far it is."""
        if loading.what == "weights" and self.weights_at is None:
            self.weights_at = time.perf_counter()


def main() -> None:
    """Measure what the first line of stdin asks for."""
    answers = Answers(_own_stdout())
    asked = json.loads(sys.stdin.readline())
    cancel = threading.Event()
    threading.Thread(target=_cancel_with_the_input, args=[cancel], daemon=True).start()
    wanted = Configuration.of_data(asked["configuration"])
    try:
        if asked["what"] == "quality":
            answers.send("quality", _quality(wanted, answers, cancel))
        else:
            answers.send("measured", _speed(wanted, asked["started"], answers, cancel))
    except LlamaChatError as error:
        answers.send("error", {"kind": type(error).__name__, "message": error.message, "hint": error.hint})


def _own_stdout() -> TextIO:
    """The stream for the answers; whatever else is printed goes to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _cancel_with_the_input(cancel: threading.Event) -> None:
    sys.stdin.read()
    cancel.set()
    time.sleep(_PATIENCE_S)
    os._exit(STOPPED)  # something that looks at no flag


def _speed(
    wanted: Configuration, started: float, answers: Answers, cancel: threading.Event
) -> dict[str, Any]:
    answers.tell("loading")
    engine, import_s, load_s = _loaded(wanted, cancel)
    from llama_chat.engine.bench.machine import machine_record
    from llama_chat.engine.bench.measure import Start, ids_of, measure
    from llama_chat.engine.devices import find_device

    device = find_device(wanted.settings.device)
    start = Start(started, import_s, load_s)
    try:
        ids = ids_of(engine, wanted)
        found = measure(engine, wanted, ids, start, device=device, cancel=cancel, tell=answers.tell)
    finally:
        engine.close()  # what is compiled for it ends, too
    return {"figures": found.as_data(), "machine": asdict(machine_record(device))}


def _quality(wanted: Configuration, answers: Answers, cancel: threading.Event) -> dict[str, Any]:
    answers.tell("quality: loading")
    fast, _, _ = _loaded(wanted, cancel)
    from llama_chat.engine.bench.measure import build_step
    from llama_chat.engine.bench.quality import measure_quality

    try:
        build_step(fast, cancel, answers.tell)
        answers.tell("quality: loading in f32")
        in_f32 = replace(wanted.settings, dtype="f32", kv_dtype="auto", engine=fast.info.engine)
        exact, _, _ = _loaded(replace(wanted, settings=in_f32), cancel)
        return asdict(measure_quality(fast, exact, answers.tell))
    finally:
        fast.close()


def _loaded(wanted: Configuration, cancel: threading.Event) -> tuple[LocalEngine, float, float]:
    """The engine as every command loads it, the seconds up to its first weights, and those that they took."""
    from llama_chat.cli.engines import engine_loader

    times = LoadingTimes()
    engine = engine_loader(Path(wanted.settings.model), wanted.settings)(times, cancel)
    ended = time.perf_counter()
    from llama_chat.engine.generate import LocalEngine

    assert isinstance(engine, LocalEngine)
    weights_at = times.weights_at or ended
    return engine, weights_at - times.began, ended - weights_at
