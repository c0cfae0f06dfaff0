"""Keys, pastes and the closed terminal, as `SafeParser` and `SafeDriver` read them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from llama_chat.ui.driver import driver_class
from llama_chat.ui.safe_parser import SafeParser

START, END = "\x1b[200~", "\x1b[201~"


def read(*pieces: str) -> list[Message]:
    parser = SafeParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def keys(*pieces: str) -> list[str]:
    return [event.key for event in read(*pieces) if isinstance(event, events.Key)]


def pastes(*pieces: str) -> list[str]:
    return [event.text for event in read(*pieces) if isinstance(event, events.Paste)]


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("\x1b\r", "alt+enter"),
        ("\x1b1", "alt+1"),
        ("\x1bc", "alt+c"),
        ("\x1bE", "alt+shift+e"),
        ("\x1b,", "alt+comma"),
        ("\x1b[27;2;13~", "shift+enter"),
        ("\x1b[27;5;13~", "ctrl+enter"),
        ("\x1b[A", "up"),
        ("\x1bOP", "f1"),
        ("\x1b[1;3D", "alt+left"),
        ("\x1bb", "ctrl+left"),
        ("\x01", "ctrl+a"),
        ("é", "é"),
    ],
)
def test_keys(typed: str, key: str) -> None:
    assert keys(typed) == [key]
    assert keys(*typed) == [key]


def test_a_key_that_cannot_be_is_not_fatal() -> None:
    assert "x" in keys("\x1b[27;2;999999~", "x")


def test_a_paste_is_one_event_and_what_is_in_it_is_text() -> None:
    text = "a\x1b[48;1;1;1;1t\x1b[A\x1bq\r\nb\x00"
    found = read("k", START + text + END + "z")
    assert [type(event) for event in found] == [events.Key, events.Paste, events.Key]
    assert pastes(START + text + END) == [text.replace("\x00", "")]


def test_a_paste_does_not_lose_its_order_among_keys() -> None:
    found = read(f"a{START}one{END}b{START}{END}c{START}two{END}")
    words = [event.text if isinstance(event, events.Paste) else event.key for event in found]  # type: ignore[attr-defined]
    assert words == ["a", "one", "b", "", "c", "two"]


@given(st.text(st.sampled_from("ab\x1b[20~1\r")), st.lists(st.integers(1, 7), min_size=1))
def test_a_paste_may_be_cut_anywhere(text: str, sizes: list[int]) -> None:
    text = text.replace(END, "")
    stream = f"k{START}{text}{END}z"
    pieces: list[str] = []
    while stream:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream[:size])
        stream = stream[size:]
    assert pastes(*pieces) == [text.split(END)[0]]
    assert keys(*pieces) == ["k", "z"]


CHILD = """
import sys
from textual import events
from textual.app import App
from llama_chat.ui.driver import driver_class

class Echo(App):
    def on_ready(self):
        self.app_resume_signal.subscribe(self, lambda _app: self.say("resumed"))
        self.say("ready")
    def on_resize(self, event): self.say(f"size {event.size.width} {event.size.height}")
    def on_key(self, event): self.say("key " + event.key)
    def on_paste(self, event): self.say("paste " + ascii(event.text))
    def say(self, words): print(words, file=log, flush=True)

log = open(sys.argv[1], "a")
app = Echo(driver_class=driver_class())
app.run()
print("exit", app.return_code, file=log, flush=True)
"""


def resize(terminal: int, columns: int, lines: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def child_on_terminal(
    log: Path, size: tuple[int, int] = (0, 0), **environment: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A small app on a pseudo-terminal of its own, and the other end of it."""
    import pty

    ours, theirs = pty.openpty()
    resize(ours, *size)
    command = [sys.executable, "-c", CHILD, str(log)]
    child = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    os.close(theirs)
    try:
        yield ours, child
    finally:
        child.kill()
        child.wait()


def wait_for(words: str, log: Path, terminal: int | None) -> None:
    """Until the app has said so; what it paints meanwhile is read, or it would have to wait."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        if log.exists() and words in log.read_text(encoding="utf-8"):
            return
        ready, _, _ = select.select([terminal] if terminal is not None else [], [], [], 0.02)
        if ready and terminal is not None:
            os.read(terminal, 65_536)
    pytest.fail(f"never said {words!r}; said {log.read_text(encoding='utf-8') if log.exists() else None!r}")


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_on_a_real_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child_on_terminal(log) as (terminal, child):
        wait_for("ready", log, terminal)
        os.write(terminal, b"\x1b\r")
        wait_for("key alt+enter", log, terminal)
        os.write(terminal, f"{START}x\x1b[Ay{END}".encode())
        wait_for("paste 'x\\x1b[Ay'", log, terminal)
        os.write(terminal, b"\x1b")
        wait_for("key escape", log, terminal)
        os.close(terminal)  # whoever looked at it has gone
        wait_for("exit 129", log, None)
        assert child.wait(timeout=20) == 0


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_the_terminal_is_believed_more_than_the_environment(tmp_path: Path) -> None:
    """A program with GNU readline hands on COLUMNS and LINES, which nobody changes when the terminal does."""
    log = tmp_path / "log"
    with child_on_terminal(log, (140, 30), COLUMNS="80", LINES="24") as (terminal, child):
        wait_for("ready", log, terminal)
        resize(terminal, 100, 20)
        child.send_signal(signal.SIGWINCH)  # a terminal that nobody controls sends none
        wait_for("size 100 20", log, terminal)
        os.write(terminal, b"a")
        wait_for("key a", log, terminal)
    sizes = [line for line in log.read_text().splitlines() if line.startswith("size")]
    assert list(dict.fromkeys(sizes)) == ["size 140 30", "size 100 20"]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_terminal_that_does_not_know_its_size_leaves_it_to_the_environment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child_on_terminal(log, COLUMNS="120", LINES="36") as (terminal, _):
        wait_for("size 120 36", log, terminal)


def threads_of(child: subprocess.Popen[bytes]) -> int:
    return len(list(Path(f"/proc/{child.pid}/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads where Linux lists them")
@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_going_on_after_a_stop_from_outside(tmp_path: Path, is_stopped_first: bool) -> None:
    """Each key is read once: nothing is left of the threads that were there before."""
    log = tmp_path / "log"
    with child_on_terminal(log) as (terminal, child):
        wait_for("ready", log, terminal)
        os.write(terminal, b"a")
        wait_for("key a", log, terminal)
        threads = threads_of(child)
        if is_stopped_first:
            child.send_signal(signal.SIGSTOP)
        child.send_signal(signal.SIGCONT)
        wait_for("resumed", log, terminal)  # what is typed before may be lost, as at `fg`
        for key in "bcdefghi":
            os.write(terminal, key.encode())
            wait_for(f"key {key}", log, terminal)
        assert threads_of(child) == threads


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_terminal_that_has_gone_is_written_to_without_an_error() -> None:
    import pty

    from llama_chat.ui.driver import HangupProof

    ours, theirs = pty.openpty()
    terminal = HangupProof(theirs)
    assert terminal.write(b"seen") == 4
    assert os.read(ours, 99) == b"seen"
    os.close(ours)
    for _ in range(100):
        assert terminal.write(b"unseen" * 1000) == 6000
    os.close(theirs)


def test_other_platforms_keep_their_driver() -> None:
    assert (driver_class() is None) == (sys.platform == "win32")
