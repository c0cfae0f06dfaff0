"""The installed command on a real terminal with the real model, from the first key to a session reopened."""

import os
import re
import signal
import sqlite3

import pytest
from pty_terminal import Terminal

pytestmark = pytest.mark.alone

CTRL_O, CTRL_Q, CTRL_S, DELETE, ESCAPE, RIGHT = "\x0f", "\x11", "\x13", "\x1b[3~", "\x1b", "\x1b[C"


@pytest.fixture
def environment(home_with_model):
    return {"LLAMA_CHAT_HOME": str(home_with_model)}


def stored_texts(home, role="assistant"):
    with sqlite3.connect(home / "data" / "sessions.sqlite3") as store:
        return [text for (text,) in store.execute("select text from messages where role = ?", (role,))]


def ask(terminal, words):
    terminal.wait_for("Ask something")
    terminal.send(words)
    terminal.wait_for(re.escape(words))
    terminal.send("\r")


def mouse(button, column, row, end="M"):
    """A report of the mouse as terminals send it (SGR); 32 is a move with the left button held."""
    return f"\x1b[<{button};{column + 1};{row + 1}{end}"


def tokens_shown(terminal):
    found = re.findall(r"(\d+) tokens", terminal.text)
    return int(found[-1]) if found else 0


def drag_the_temperature(terminal):
    """With the mouse to the left end of its track while the reply runs; with keys back to where it was."""
    lines = terminal.screen.display
    row = next(row for row, line in enumerate(lines) if re.search(r"temperature +0\.7", line)) + 1
    track = list(re.finditer(r"[━┴]+●", lines[row]))[-1]
    knob = track.end() - 1
    tokens = tokens_shown(terminal)
    terminal.send(mouse(0, knob, row) + mouse(32, knob - 1, row) + mouse(32, track.start(), row))
    terminal.wait_for(r"temperature +0\.00")
    terminal.wait_for(lambda: tokens_shown(terminal) > tokens)
    terminal.send(mouse(0, track.start(), row, "m") + DELETE + RIGHT)
    terminal.wait_for(r"temperature +0\.7[1-9]")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_a_chat_from_the_first_key_to_the_session_found_again(environment, home_with_model, size):
    with Terminal("--max-new-tokens", "4000", "--seed", "7", environment=environment, size=size) as terminal:
        ask(terminal, "Tell me about foxes.")
        terminal.wait_for(lambda: tokens_shown(terminal) >= 5)
        before = tokens_shown(terminal)
        terminal.send(CTRL_O)
        terminal.wait_for(r"temperature[^\n]*0\.70")
        terminal.send(RIGHT)
        terminal.wait_for(r"temperature[^\n]*0\.7[1-9]")
        if size[0] < 110:
            terminal.send(CTRL_O)  # closes the sheet; Esc would stop the reply
            terminal.wait_for(lambda: "top-k" not in terminal.text)
        else:
            drag_the_temperature(terminal)
        terminal.wait_for(lambda: tokens_shown(terminal) > before)
        terminal.send(ESCAPE)
        terminal.wait_for("Stopped")
        terminal.send(CTRL_Q)
        assert terminal.wait_for_end() == 0
    (reply,) = stored_texts(home_with_model)
    assert len(reply) > 20
    assert "temperature = 0.7" in (home_with_model / "config" / "settings.toml").read_text()
    with Terminal(environment=environment, size=size) as terminal:
        terminal.wait_for("Ask something")
        terminal.send(CTRL_S)
        terminal.wait_for("Tell me about foxes.")
        terminal.send("\r")
        terminal.wait_for(re.search(r"\w{3,}", reply)[0])
        terminal.send(CTRL_Q)
        assert terminal.wait_for_end() == 0


def test_continue_shows_the_last_session(environment, home_with_model):
    with Terminal("--max-new-tokens", "8", "--seed", "7", environment=environment) as terminal:
        ask(terminal, "Name a colour.")
        terminal.wait_for(r"max new tokens")
        terminal.send(CTRL_Q)
        terminal.wait_for_end()
    (reply,) = stored_texts(home_with_model)
    with Terminal("--continue", environment=environment) as terminal:
        terminal.wait_for("Name a colour.")
        terminal.wait_for(re.search(r"\w{3,}", reply)[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_chat_that_is_ended_in_mid_reply_has_lost_nothing(environment, home_with_model, number):
    with Terminal("--max-new-tokens", "4000", "--seed", "7", environment=environment) as terminal:
        ask(terminal, "Tell me about foxes.")
        terminal.wait_for(lambda: tokens_shown(terminal) >= 10)
        shown = [line.strip(" ▍") for line in terminal.text.splitlines() if "▍" in line][1:]
        os.kill(terminal.process.pid, number)
        terminal.wait_for_end()
    with Terminal("--continue", environment=environment) as terminal:
        terminal.wait_for("Tell me about foxes.")
        terminal.wait_for(re.escape(shown[0][:30]))
        terminal.wait_for("Interrupted" if number == signal.SIGKILL else "Stopped|Interrupted")
    with sqlite3.connect(home_with_model / "data" / "sessions.sqlite3") as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_closed_terminal_ends_the_process(environment):
    terminal = Terminal("--max-new-tokens", "4000", "--seed", "7", environment=environment)
    ask(terminal, "Tell me about foxes.")
    terminal.wait_for(lambda: tokens_shown(terminal) >= 3)
    os.close(terminal.process.child_fd)
    terminal.process.closed = True
    terminal.process.child_fd = -1
    for _ in range(100):
        if not terminal.process.isalive():
            break
        signal.sigtimedwait([], 0.1)
    assert not terminal.process.isalive()


def test_who_leaves_while_torch_is_loaded_hears_nothing_of_it(tmp_path):
    """The first screen asks for the devices; the interpreter must not be taken down around that."""
    with Terminal(environment={"LLAMA_CHAT_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for("Enter")
        before = len(terminal.raw)
        terminal.send(CTRL_Q)
        assert terminal.wait_for_end() == 0
        said = terminal.raw[before:].split(b"\x1b[?1049l")[-1]
        assert b"terminate" not in said
        assert b"rror" not in said


def test_ctrl_c_stops_and_the_second_press_quits(environment):
    with Terminal("--max-new-tokens", "4000", "--seed", "7", environment=environment) as terminal:
        ask(terminal, "Tell me about foxes.")
        terminal.wait_for(lambda: tokens_shown(terminal) >= 3)
        terminal.send("\x03")
        terminal.wait_for("Stopped")
        terminal.send("\x03\x03")  # the first is enough within two seconds; a busy machine may take longer
        assert terminal.wait_for_end() == 0


def test_a_missing_model_is_one_line(environment):
    with Terminal("--model", "/nowhere/at/all.gguf", environment=environment) as terminal:
        assert terminal.wait_for_end() == 1
        assert "/nowhere/at/all.gguf" in terminal.text
        assert "Traceback" not in terminal.text
