"""How the installed `llama-chat` feels, measured on a real pseudo-terminal: `python tests/bench_chat.py`.

Prints, for the default model: the time of `--help`, from the start to a prompt that echoes a key (and whether
torch was loaded by then), the two worst echoes while torch and the model load and whether a key was lost, the
echo while a reply is written at full speed (median, 99th percentile, worst) in a new session and in one of
2,000 messages, the peak memory of the chat, and the time from a cold `llama-chat run` to its first token.

`--ratios` prints what holds on any machine: the start against the smallest Textual app's (smallest_app.py),
and the speed of a reply in the chat against `llama-chat run`, each in turn with the other in one run.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import platformdirs
from make_big_store import fill

from llama_chat.catalogue import DEFAULT, pull
from llama_chat.sessions import SessionStore

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As an installed program has it: its modules are compiled once, not at every start."""
COMMAND = str(Path(sys.executable).with_name("llama-chat"))
LETTERS = "жщюяђљњџґїєӂӝӟӣӥӧөӫӭӯӱӳӵӹ"
"""Typed one by one: no reply of the model contains them, so their bytes on the terminal are the echo."""
PROMPT = b"sk something"
"""Of the empty prompt; the cursor stands on the A."""

LOADING_S = 5.0
LONG_SESSION = 2_000


class Chat:
    """A chat on a pseudo-terminal of 120×36."""

    def __init__(self, home: Path, *arguments: str, command: Sequence[str] = (COMMAND,)) -> None:
        self.started_s = time.perf_counter()
        environment = {**ENVIRONMENT, "LLAMA_CHAT_HOME": str(home), "TERM": "xterm-256color"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            size = {"COLUMNS": "120", "LINES": "36"}
            os.execve(command[0], [*command, *arguments], {**environment, **size})
        self.seen = b""

    def read_until(self, wanted: bytes, within_s: float) -> float | None:
        """When the bytes came; None if they did not."""
        deadline = time.perf_counter() + within_s
        at = len(self.seen)
        while (left_s := deadline - time.perf_counter()) > 0:
            if select.select([self.fd], [], [], left_s)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:  # the other side is gone
                    return None
                if wanted in self.seen[max(0, at - len(wanted)) :]:
                    return time.perf_counter()
        return None

    def echo_s(self, letter: str) -> float | None:
        """Seconds from the key to its echo."""
        pressed_s = time.perf_counter()
        os.write(self.fd, letter.encode())
        echoed_s = self.read_until(letter.encode(), 5.0)
        return None if echoed_s is None else echoed_s - pressed_s

    def echoes_s(self, seconds: float, pause_s: float) -> list[float | None]:
        """The echo of one key after the other; the prompt is emptied now and then."""
        found: list[float | None] = []
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            found.append(self.echo_s(LETTERS[len(found) % len(LETTERS)]))
            if len(found) % len(LETTERS) == 0:
                os.write(self.fd, b"\x15")
                self.read_until(PROMPT, 1.0)
            self.read_until(b"\0", pause_s)
        return found

    def status(self, key: str) -> int:
        """A figure of /proc/PID/status, in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) // 1024
        return 0

    def has_torch(self) -> bool:
        """Whether torch's library is mapped."""
        return "libtorch" in Path(f"/proc/{self.pid}/maps").read_text()

    def quit(self) -> None:
        """Leave, and wait for the end."""
        os.write(self.fd, b"\x11")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            self.read_until(b"\0", 0.05)
        os.close(self.fd)


def measure_help() -> float:
    """Seconds of `llama-chat --help`, the median of nine."""

    def once() -> float:
        started = time.perf_counter()
        subprocess.run([COMMAND, "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    return statistics.median(once() for _ in range(9))


def measure_start(home: Path, command: Sequence[str] = (COMMAND,)) -> tuple[float, bool]:
    """Seconds from the start to the echo of a key, and whether torch was there by then."""
    chat = Chat(home, command=command)
    assert chat.read_until(PROMPT, 20) is not None
    assert chat.echo_s("ж") is not None
    ready_s, has_torch = time.perf_counter() - chat.started_s, chat.has_torch()
    chat.quit()
    return ready_s, has_torch


def measure_chat(home: Path, seconds: float) -> dict[str, object]:
    """Echoes while loading and while a reply runs, and the peak memory."""
    chat = Chat(home, "--max-new-tokens", "4000", "--seed", "7", "--temperature", "1")
    assert chat.read_until(PROMPT, 20) is not None
    loading = chat.echoes_s(LOADING_S, 0.01)
    assert chat.read_until(b"\0", 1.0) is None
    replying = _echoes_of_reply(chat, seconds)
    peak_mb = chat.status("VmHWM")
    chat.quit()
    worst = sorted((echo for echo in loading if echo is not None), reverse=True)
    return {
        "loading_worst_echo_ms": round(1e3 * worst[0], 1),
        "loading_second_worst_ms": round(1e3 * worst[1], 1),
        "keys_lost": sum(echo is None for echo in (*loading, *replying)),
        "replying_keys": len(replying),
        **_echo_figures("replying_echo_ms", replying),
        "peak_mb": peak_mb,
    }


def measure_long_session(folder: Path, model: Path, seconds: float) -> dict[str, object]:
    """Echoes while a reply runs in a session that has 2,000 messages."""
    file = folder / "long.sqlite3"
    fill(file, sessions=20, messages=10 * LONG_SESSION)
    store = SessionStore(file)
    store.open()
    longest = max(store.list(), key=lambda info: len(store.load(info.id).messages))
    store.close()
    home = home_of(folder / "long", model, file)
    options = ("--max-new-tokens", "4000", "--seed", "7", "--temperature", "1")
    chat = Chat(home, "--resume", longest.id, *options)
    assert chat.read_until(b"ready", 60) is not None
    replying = _echoes_of_reply(chat, seconds)
    chat.quit()
    return {
        "long_session_keys_lost": sum(echo is None for echo in replying),
        **_echo_figures("long_session_echo_ms", replying),
    }


def _echoes_of_reply(chat: Chat, seconds: float) -> list[float | None]:
    """Type while a reply is written at full speed; a session of another model asks once whether to go on."""
    for _ in range(2):
        os.write(chat.fd, b"\x15Write a very long story about a fox.\r")
        if chat.read_until(b"tok/s", 120) is not None:
            return chat.echoes_s(seconds, 0.03)
    raise AssertionError(chat.seen[-2000:])


def _echo_figures(name: str, echoes: Sequence[float | None]) -> dict[str, object]:
    heard = sorted(echo for echo in echoes if echo is not None)
    return {
        f"{name}_median": round(1e3 * statistics.median(heard), 1),
        f"{name}_p99": round(1e3 * heard[int(0.99 * len(heard))], 1),
        f"{name}_worst": round(1e3 * heard[-1], 1),
    }


def measure_ratios(home: Path) -> dict[str, object]:
    """The start against the smallest app's, and a reply in the chat against `run`; each in turn."""
    smallest = (sys.executable, str(Path(__file__).with_name("smallest_app.py")))
    ours, least = [], []
    for _ in range(9):
        least.append(measure_start(home, smallest)[0])
        ours.append(measure_start(home)[0])
    speeds = [(measure_reply(home), measure_run_speed(home)) for _ in range(3)]
    in_chat, in_run = (statistics.median(speed) for speed in zip(*speeds, strict=True))
    return {
        "start_s": round(statistics.median(ours), 3),
        "smallest_app_s": round(statistics.median(least), 3),
        "start_ratio": round(statistics.median(ours) / statistics.median(least), 2),
        "chat_tok_per_s": round(in_chat, 1),
        "run_tok_per_s": round(in_run, 1),
        "decode_ratio": round(in_chat / in_run, 3),
    }


REPLY = ("--max-new-tokens", "300", "--seed", "7", "--temperature", "1")
STORY = "Write a very long story about a fox."


def measure_reply(home: Path) -> float:
    """Tokens a second of a reply in the chat, as its record has it."""
    chat = Chat(home, *REPLY)
    assert chat.read_until(PROMPT, 20) is not None
    os.write(chat.fd, f"{STORY}\r".encode())
    assert chat.read_until(b"goes on", 120) is not None  # it offers to: 300 tokens are its most
    chat.quit()
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    (info, *_) = store.list()
    reply = store.load(info.id).path()[-1].reply
    store.close()
    assert reply is not None
    assert len(reply.token_ids) == 300
    return reply.decode_tok_per_s


def measure_run_speed(home: Path) -> float:
    """Tokens a second of the same reply by `run`."""
    command = [COMMAND, "run", "--json", *REPLY, STORY]
    environment = {**ENVIRONMENT, "LLAMA_CHAT_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, env=environment)
    return float(json.loads(done.stdout)["timings"]["decode_tok_per_s"])


def measure_run(home: Path) -> float:
    """Seconds from `llama-chat run` to the first bytes of its answer."""
    environment = {**ENVIRONMENT, "LLAMA_CHAT_HOME": str(home)}
    started = time.perf_counter()
    command = [COMMAND, "run", "--max-new-tokens", "2", "What is two plus two?"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        return time.perf_counter() - started


def measure_all(folder: Path, model: Path, seconds: float) -> dict[str, object]:
    """Every figure of a chat."""
    home = home_of(folder / "new", model)
    starts = [measure_start(home) for _ in range(5)]
    return {
        "help_s": round(measure_help(), 3),
        "start_to_echo_s": round(statistics.median(ready_s for ready_s, _ in starts), 3),
        "torch_loaded_by_then": any(has_torch for _, has_torch in starts),
        **measure_chat(home, seconds),
        **measure_long_session(folder, model, seconds),
        "run_first_token_s": round(statistics.median(measure_run(home) for _ in range(3)), 2),
    }


def home_of(folder: Path, model: Path, store: Path | None = None) -> Path:
    """A folder of the program's own with the model, and with a copy of the store."""
    models = folder / "data" / "models"
    models.mkdir(parents=True)
    (models / model.name).symlink_to(model)
    if store is not None:
        shutil.copyfile(store, folder / "data" / "sessions.sqlite3")
    return folder


def measure_starts(folder: Path, model: Path, store: Path) -> dict[str, object]:
    """Start to echo with no sessions and with those of the store, in turn; the medians of nine."""
    empty, full = home_of(folder / "empty", model), home_of(folder / "full", model, store)
    times: dict[Path, list[float]] = {empty: [], full: []}
    for _ in range(9):
        for home, taken in times.items():
            taken.append(measure_start(home)[0])
    without_s, with_s = (statistics.median(taken) for taken in times.values())
    return {
        "start_to_echo_s": round(without_s, 3),
        "with_the_store_s": round(with_s, 3),
        "more_s": round(with_s - without_s, 3),
    }


def main() -> None:
    """Print the figures, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of typing while a reply runs")
    parser.add_argument("--store", type=Path, help="only the start, with this store and with none")
    parser.add_argument("--ratios", action="store_true", help="only what is compared in one run")
    parser.add_argument(
        "--echo", action="store_true", help="only the echoes in the session of 2,000 messages"
    )
    arguments = parser.parse_args()
    cached = pull(
        DEFAULT, platformdirs.user_cache_path("llama-chat-tests"), lambda _: None, threading.Event()
    )
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store is not None:
            figures = measure_starts(Path(folder), cached, arguments.store)
        elif arguments.ratios:
            figures = measure_ratios(home_of(Path(folder), cached))
        elif arguments.echo:
            figures = measure_long_session(Path(folder), cached, arguments.seconds)
        else:
            figures = measure_all(Path(folder), cached, arguments.seconds)
    for name, value in figures.items():
        print(f"{name:26} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
