"""A real `llama-chat` on a pseudo-terminal, to be killed: the installed command, or a fork with a fake model.

The fork is the whole program from the command line on, in a process of its own; only the loader of models is
another. It saves the 3 s that torch takes to be imported, which 200 runs would pay 200 times.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyte

os.environ["TEXTUAL_FPS"] = "500"  # as `open_chat` sets it before it imports textual, which is done below
from fake_network import INFO, REPLY, VOCAB_SIZE, FakeNetwork, byte_tokenizer

import llama_chat.cli
import llama_chat.cli.chat
import llama_chat.log
import llama_chat.turn
import llama_chat.ui.app
from llama_chat.engine.generate import LocalEngine
from llama_chat.events import Engine, Event, Loading
from llama_chat.patient_writer import PatientWriter, Write

COMMAND = Path(sys.executable).with_name("llama-chat")
TEMPLATE = (
    "{% for message in messages %}"
    "{{ ('<|user|>' if message['role'] == 'user' else '<|reply|>') + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)
LETTERS = "".join(map(chr, range(0x10D0, 0x10F1)))
"""Georgian ones: nothing else on the screen has them, and each is three tokens."""
CONTEXT_LENGTH = 100_000
WORDS_A_TURN = 5000
ASKS_FOR_WHOLE_FRAMES, TAKES_WHOLE_FRAMES = b"\x1b[?2026$p", "\x1b[?2026;2$y"
FRAME_START, FRAME_END = b"\x1b[?2026h", b"\x1b[?2026l"
STACKS = "stacks.txt"
"""In the home: where the threads of a fork that hangs are."""
WORDS_A_PARAGRAPH = 60


def word(number: int) -> str:
    """Three letters that no other number has."""
    return LETTERS[number // 33**2 % 33] + LETTERS[number // 33 % 33] + LETTERS[number % 33]


def said_in_turn(turn: int) -> str:
    """What the fake model says to the user's words of this number, from 0, if nobody stops it."""
    words = [word(turn * WORDS_A_TURN + n) for n in range(WORDS_A_TURN)]
    paragraphs = [words[n : n + WORDS_A_PARAGRAPH] for n in range(0, WORDS_A_TURN, WORDS_A_PARAGRAPH)]
    return "\n\n".join(map(" ".join, paragraphs))


def reciting(ids: Sequence[int]) -> Sequence[float]:
    """Logits that leave no choice, wherever the sliders stand: the letters of the turn, one by one."""
    place = next(n for n in range(len(ids) - 1, -1, -1) if ids[n] == REPLY)
    row = [0.0] * VOCAB_SIZE
    row[_spelled(ids.count(REPLY) - 1)[len(ids) - 1 - place]] = 500.0
    return row


_SPELLED: dict[int, bytes] = {}


def _spelled(turn: int) -> bytes:
    if turn not in _SPELLED:
        _SPELLED[turn] = said_in_turn(turn).encode()
    return _SPELLED[turn]


class KilledChat:
    """A chat on a terminal of its own, read as it comes.

    Args:
        home: its `LLAMA_CHAT_HOME`.
        arguments: behind `llama-chat`.
        size: columns and lines.
        run: in the child; ends it. None: the installed command.
    """

    def __init__(
        self,
        home: Path,
        arguments: Sequence[str],
        *,
        size: tuple[int, int],
        run: Callable[[Sequence[str]], None] | None,
    ) -> None:
        columns, lines = size
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw, self._waiting = b"", b""
        self._stacks_file = home / STACKS
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            _become(home, arguments, size, run)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._is_open, self._is_reaped = True, False

    @property
    def text(self) -> str:
        """All that stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float) -> bool:
        """Take in what comes within this time; False once the other side is gone."""
        deadline = time.monotonic() + seconds
        left_s = seconds
        while self._is_open and left_s >= 0:
            ready, _, _ = select.select([self._fd], [], [], left_s)
            left_s = deadline - time.monotonic()
            if not ready:
                break
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # Linux says so where others give nothing
                data = b""
            self._is_open = bool(data)
            self._take(data)
        return self._is_open

    def _take(self, data: bytes) -> None:
        """Draw whole frames, as the chat was told that its terminal does: one that is cut shows nothing."""
        if ASKS_FOR_WHOLE_FRAMES in data:
            self.send(TAKES_WHOLE_FRAMES)
        self.raw += data
        self._waiting += data
        end = self._waiting.rfind(FRAME_END) + len(FRAME_END) if FRAME_END in self._waiting else 0
        if FRAME_START not in self._waiting[end:]:
            end = len(self._waiting)
        self._stream.feed(self._waiting[:end])
        self._waiting = self._waiting[end:]

    def wait_for(self, condition: Callable[[], object], within_s: float = 40.0) -> None:
        """Read until it holds.

        Raises:
            AssertionError: it never did, or the chat ended; shows the screen.
        """
        deadline = time.monotonic() + within_s
        while not condition():
            is_there = self.read(0.01)
            if condition():
                return
            assert is_there, f"the chat ended:\n{self.text}"
            assert time.monotonic() < deadline, f"not within {within_s} s:\n{self.text}\n{self._stacks()}"

    def sees(self, words: str) -> None:
        """Read until the words stand on the screen."""
        self.wait_for(lambda: words in self.text)

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())

    def kill(self) -> None:
        """End it as a loss of power would, and take in all that it had written to its terminal."""
        os.kill(self.pid, signal.SIGKILL)
        while self.read(5.0):
            pass
        self._reap()

    def wait_for_end(self) -> int:
        """Its exit status."""
        deadline = time.monotonic() + 20
        while self.read(0.2):
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        return self._reap()

    def close(self) -> None:
        """End what is left of it."""
        if not self._is_reaped:
            self.kill()
        os.close(self._fd)

    def _stacks(self) -> str:
        """Where the threads of a fork are; what it has written to its terminal meanwhile is on the screen."""
        if not self._stacks_file.exists():
            return ""
        written = len(self.raw)
        self.read(1.0)
        os.kill(self.pid, signal.SIGUSR1)
        self.read(1.0)
        return f"{len(self.raw) - written} bytes in 2 s\n{self._stacks_file.read_text()}"

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._is_reaped = True
        return os.waitstatus_to_exitcode(status)


def _become(
    home: Path,
    arguments: Sequence[str],
    size: tuple[int, int],
    run: Callable[[Sequence[str]], None] | None,
) -> None:
    """In the child: the chat; does not return."""
    try:
        columns, lines = size
        for name in [name for name in os.environ if name.startswith("LLAMA_CHAT_")]:
            del os.environ[name]
        os.environ |= {
            "LLAMA_CHAT_HOME": str(home),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "COLUMNS": str(columns),
            "LINES": str(lines),
        }
        if run is None:
            os.execv(COMMAND, [str(COMMAND), *arguments])
        sys.stdin = sys.__stdin__ = open(0)  # type: ignore[misc]  # noqa: SIM115  (the parent's were pipes)
        sys.stdout = sys.__stdout__ = open(1, "w")  # type: ignore[misc]  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w")  # type: ignore[misc]  # noqa: SIM115
        run(arguments)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        traceback.print_exc()
    os._exit(70)


# --- the fork ----------------------------------------------------------------------------------------


def run_fake(arguments: Sequence[str], *, step_s: float, paint_first: bool = False) -> None:
    """The command with a fake network; does not return.

    Args:
        arguments: behind `llama-chat`.
        step_s: what a forward takes at least.
        paint_first: break the promise: everything is painted first, and kept a moment later.
    """

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        network = FakeNetwork(reciting, context_length=CONTEXT_LENGTH)
        network.before_forward = lambda number: time.sleep(step_s)
        info = replace(INFO, chat_template=TEMPLATE, context_length=CONTEXT_LENGTH)
        return LocalEngine(network, byte_tokenizer(), info)

    stacks = (Path(os.environ["LLAMA_CHAT_HOME"]) / STACKS).open("w")
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    llama_chat.cli.chat.engine_loader = lambda path, settings, **_: load  # type: ignore[assignment]  # instead of files
    llama_chat.cli.chat.find_model = lambda name, folder: Path("fake.gguf")  # type: ignore[assignment]  # the same
    if paint_first:
        PatientWriter.take = _take_late  # type: ignore[method-assign]  # a broken one, to see that it is found
    llama_chat.cli.main(arguments)


def _take_late(writer: PatientWriter, write: Write) -> None:
    """Instead of `PatientWriter.take`: shown at once, kept 0.3 s later."""
    shown: list[Event] = list(write.events)
    writer._hand_on(shown, True)
    if shown:
        time.sleep(0.3)
    write.work()
