"""One sitting at a real terminal, under a shell: pastes, mouse, sizes, a stay in the shell, the way out."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("pexpect")
pytest.importorskip("pyte")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from pty_terminal import Terminal

pytestmark = pytest.mark.alone

BASH = shutil.which("bash")
TESTS = Path(__file__).parent
WIDE = (130, 36)
PASTE, END_PASTE = "\x1b[200~", "\x1b[201~"
CTRL_A_LINE, CTRL_K, CTRL_P, CTRL_Q = "\x01", "\x0b", "\x10", "\x11"
REFUSED_RESIZE = "\x1b[48;5;5;5;5t"
"""What a terminal sends when it has another size; out of a paste it is text."""


def mouse(button: int, column: int, row: int, end: str = "M") -> str:
    """A report of the mouse as terminals send it; 32 is a move with the left button held, 64 the wheel up."""
    return f"\x1b[<{button};{column + 1};{row + 1}{end}"


def place_of(terminal: Terminal, pattern: str) -> tuple[int, int]:
    """Column and row of what stands on the screen."""
    for row, line in enumerate(terminal.screen.display):
        if found := re.search(pattern, line):
            return found.start(), row
    raise AssertionError(f"{pattern!r} is not there:\n{terminal.text}")


def words_shown(terminal: Terminal) -> list[int]:
    return [int(number) for number in re.findall(r"\bword(\d+)\b", terminal.text)]


@pytest.fixture
def terminal(tmp_path: Path):
    """A shell with job control, and the chat with an endless reply as its job."""
    if BASH is None:
        pytest.skip("no bash")
    environment = {
        "LLAMA_CHAT_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "PS1": "shell> ",
        "HISTFILE": "",
    }
    shell = Terminal("--norc", "--noprofile", "-i", environment=environment, size=WIDE, command=BASH)
    with shell:
        shell.wait_for("shell>")
        shell.send("unset TMUX STY DISPLAY WAYLAND_DISPLAY\r")  # their clipboards would come first
        shell.send(f"{shlex.quote(sys.executable)} {shlex.quote(str(TESTS / 'fake_chat.py'))}\r")
        shell.wait_for("Ask something")
        shell.wait_for("ready")
        yield shell


def test_a_sitting_at_a_terminal(terminal: Terminal) -> None:
    paste_much(terminal)
    paste_escapes(terminal)
    move_a_slider_with_the_mouse(terminal)
    pull_it_smaller_and_back(terminal)
    terminal.send("/set max_new_tokens 8000\r")
    terminal.wait_for("8,000")
    terminal.send("count\r")
    terminal.wait_for(r"\bword30\b")
    change_sizes_during_the_reply(terminal)
    turn_the_wheel(terminal)
    terminal.send("\x1b")
    terminal.wait_for("Stopped.*F5 goes on")
    drag_and_copy(terminal)
    stay_in_the_shell(terminal)
    terminal.send(CTRL_Q)
    terminal.wait_for(r"--resume \w+ goes on with this chat")
    terminal.wait_for("shell>")


def paste_much(terminal: Terminal) -> None:
    """A megabyte becomes a mark of its own, at once, and goes at one key."""
    terminal.send(PASTE + "llama " * 170_000 + END_PASTE)
    terminal.wait_for(r"1,020,000|1\.0 MB|pasted")
    terminal.send("\x7f")
    terminal.wait_for("Ask something")


def paste_escapes(terminal: Terminal) -> None:
    """Escape sequences in a paste are neither keys nor sizes, and do not come out again."""
    terminal.send(f"{PASTE}red\x1b[31mhot{REFUSED_RESIZE}\x1b[B end{END_PASTE}")
    terminal.wait_for(r"red.*hot.* end")
    assert REFUSED_RESIZE.encode() not in terminal.raw
    assert max(len(line.rstrip()) for line in terminal.screen.display) > WIDE[0] // 2  # not five cells wide
    terminal.send(CTRL_A_LINE + CTRL_K)
    terminal.wait_for("Ask something")


def move_a_slider_with_the_mouse(terminal: Terminal) -> None:
    """A click on the track takes the knob there."""
    column, row = place_of(terminal, "temperature")
    assert "0.70" in terminal.text
    terminal.send(mouse(0, column + 2, row + 1) + mouse(0, column + 2, row + 1, "m"))
    terminal.wait_for(lambda: not re.search(r"temperature +\S* *0\.70", terminal.text))
    prompt = place_of(terminal, "Ask something")
    terminal.send(mouse(0, *prompt) + mouse(0, *prompt, "m"))


def pull_it_smaller_and_back(terminal: Terminal) -> None:
    """What a smaller terminal cut off is drawn again, even if the chat only hears of a size that it had."""
    settle(terminal)
    before = terminal.text
    terminal.resize(5, 3)
    terminal.resize(*WIDE)
    assert terminal.text != before
    terminal.wait_for(lambda: terminal.text == before)


def change_sizes_during_the_reply(terminal: Terminal) -> None:
    """Storms of sizes, the smallest 5 by 3, leave the reply running and the screen whole."""
    for columns, lines in [(5, 3), (200, 60), (1, 1), (40, 12), (5, 3)] * 4:
        terminal.resize(columns, lines)
    terminal.read()
    terminal.resize(*WIDE)
    before = max(words_shown(terminal), default=0)
    terminal.wait_for(lambda: max(words_shown(terminal), default=0) > before + 20)
    terminal.wait_for("Ask something")
    terminal.wait_for("temperature")


def turn_the_wheel(terminal: Terminal) -> None:
    """Up: the transcript stays where it is, and says what is below; down: it follows the end again."""
    place = WIDE[0] // 4, WIDE[1] // 2
    terminal.wait_for(lambda: max(words_shown(terminal), default=0) > 450)  # more than fits the screen
    terminal.send(mouse(64, *place) * 5)
    terminal.wait_for("more lines")
    terminal.send(mouse(65, *place) * 40)
    terminal.wait_for(lambda: "more lines" not in terminal.text)


def drag_and_copy(terminal: Terminal) -> None:
    """What is dragged over is copied by Ctrl+C, through the terminal as well."""
    settle(terminal)
    column, row = place_of(terminal, r"\bword\d+ word\d+")
    line = terminal.screen.display[row]
    first = re.search(r"word\d+ word\d+", line)
    assert first is not None
    end = first.end() - 1  # the cell of the last letter
    moves = "".join(mouse(32, at, row) for at in range(column + 1, end + 1))
    terminal.send(mouse(0, column, row) + moves + mouse(0, end, row, "m"))
    terminal.send("\x03")
    terminal.wait_for(lambda: first[0] in copied_texts(terminal))


def settle(terminal: Terminal) -> None:
    """Read until nothing is painted any more: what is pointed at must stay where it is."""
    while True:
        before = len(terminal.raw)
        terminal.read(0.5)
        if len(terminal.raw) == before:
            return


def copied_texts(terminal: Terminal) -> list[str]:
    """What went to the clipboard of the terminal."""
    found = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", terminal.raw)
    return [base64.b64decode(coded).decode() for coded in found]


def stay_in_the_shell(terminal: Terminal) -> None:
    """Suspended from the palette; `fg` brings all of the screen back."""
    terminal.send(CTRL_P)
    terminal.wait_for("Commands")
    terminal.send("suspend")
    terminal.wait_for(r"suspend +Ctrl\+Z")
    terminal.send("\r")
    terminal.wait_for(r"Stopped +.*fake_chat")
    terminal.wait_for("shell>")
    terminal.screen.reset()
    terminal.send("fg\r")
    terminal.wait_for("Ask something")
    terminal.wait_for(r"\bword\d+")
    terminal.wait_for("temperature")
    prompt = place_of(
        terminal, "Ask something"
    )  # letters mean something else where the drag has left the focus
    terminal.send(mouse(0, *prompt) + mouse(0, *prompt, "m") + "still here")
    terminal.wait_for("still here")
    terminal.send(CTRL_A_LINE + CTRL_K)
