"""One configuration in a process of its own: cold figures are cold, and its memory is its own."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import llama_chat
from llama_chat import errors
from llama_chat.benchmarks.records import Configuration
from llama_chat.errors import Interrupted, LlamaChatError

What: TypeAlias = Literal["speed", "quality"]

_START = "import sys; sys.path.append(sys.argv[1]); from llama_chat.cli.bench_child import main; main()"
"""Where this package lies comes last: what lies beside it must not hide Python's own modules."""

_POLL_S = 0.1
_PATIENCE_S = 3.0


def ask_child(
    configuration: Configuration,
    what: What,
    cancel: threading.Event,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What the child found: figures and machine, or the quality.

    Args:
        configuration: to be measured.
        what: of it.
        cancel: ends the child within a moment.
        tell: hears what it does.

    Raises:
        LlamaChatError: what the child could not do, as it says it, or that it ended without a word.
        Interrupted: `cancel` was set.
    """
    # -P: the folder that one is in is no place for modules. A group of its own: Ctrl+C is for us.
    command = [sys.executable, "-P", "-c", _START, str(Path(llama_chat.__file__).parent.parent)]
    started = time.time()
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        start_new_session=True,
    )  # fmt: skip
    asked = {"what": what, "configuration": configuration.as_data(), "started": started}
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(asked) + "\n")
        child.stdin.flush()
        for line in _lines(child, cancel):
            if "doing" in line:
                tell(str(line["doing"]))
            elif "error" in line:
                raise _error_of(line["error"])
            else:
                return dict(line["measured"] if what == "speed" else line["quality"])
    except BrokenPipeError:
        pass  # it ended before it was asked
    finally:
        _end(child)
    raise _death(child.returncode)


def _lines(child: subprocess.Popen[str], cancel: threading.Event) -> Iterator[dict[str, Any]]:
    """What it says, as it says it; ends with the child.

    Raises:
        Interrupted: `cancel` was set.
    """
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            said.put(line)
        said.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        if cancel.is_set():
            raise Interrupted("Stopped")
        try:
            line = said.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if line is None:
            return
        yield json.loads(line)


def _death(status: int) -> LlamaChatError:
    hint = "Please report the lines above."
    if status < 0:  # a signal's number
        hint = (
            "The system ended it, perhaps for want of memory: take a smaller model or fewer --prompt-tokens."
        )
    return LlamaChatError(
        f"The process that measures ended with status {status} and without a figure.", hint=hint
    )


def _error_of(data: dict[str, str]) -> LlamaChatError:
    kind = getattr(errors, data["kind"], LlamaChatError)
    return kind(data["message"], hint=data["hint"])


def _end(child: subprocess.Popen[str]) -> None:
    """The child has gone after this."""
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()  # it ends by itself
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
