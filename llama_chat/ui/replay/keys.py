"""Every key of the replay as data: the bindings and the help are made of it."""

from __future__ import annotations

from typing import NamedTuple

from textual.binding import Binding


class ReplayKey(NamedTuple):
    """One thing that can be done."""

    keys: str
    """As Textual names them, parted by commas."""
    action: str
    shown: str
    """As they are printed on the keyboard."""
    help: str


REPLAY_KEYS = (
    ReplayKey(
        "space", "play_or_pause", "Space", "Pause, or go on; from the beginning when it is at the end."
    ),
    ReplayKey("right", "step(1)", "→", "The next token, and pause."),
    ReplayKey("left", "step(-1)", "←", "Back by one token, and pause."),
    ReplayKey("shift+right,pagedown", "message(1)", "PgDn", "The next message; also Shift+→."),
    ReplayKey("shift+left,pageup", "message(-1)", "PgUp", "The message before; also Shift+←."),
    ReplayKey("home", "seek(0)", "Home", "To the beginning."),
    ReplayKey("end,i", "finish", "End", "To the end, at once; also i."),
    *(
        ReplayKey(str(tenth), f"seek({tenth / 10})", "0 … 9" if tenth == 0 else "", "To a tenth of the time.")
        for tenth in range(10)
    ),
    ReplayKey(
        "t,ctrl+t", "tokens", "t", "The tokens of the last reply: what each was chosen from; also Ctrl+T."
    ),
    ReplayKey("plus,equals_sign", "speed(1)", "+", "Twice as fast, up to 64 times."),
    ReplayKey("minus", "speed(-1)", "-", "Half as fast, down to a quarter."),
    ReplayKey("up", "scroll(-1)", "↑", "Read further up; the mouse wheel does it, too."),
    ReplayKey("down", "scroll(1)", "↓", "Read further down; at the end the text is followed again."),
    ReplayKey("shift+up", "scroll(-10)", "Shift+↑", "Ten lines up."),
    ReplayKey("shift+down", "scroll(10)", "Shift+↓", "Ten lines down."),
    ReplayKey("f1,question_mark", "help", "F1", "Show these keys; also ?."),
    ReplayKey("ctrl+c", "copy_or_leave", "Ctrl+C", "Copy what is selected with the mouse, else leave."),
    ReplayKey("ctrl+z", "app.suspend_process", "Ctrl+Z", "Go back to the shell; `fg` returns."),
    ReplayKey("q,escape", "leave", "q", "Leave; also Esc and Ctrl+Q."),
)


def replay_bindings() -> list[Binding]:
    """The bindings of the replay's screen."""
    return [Binding(key.keys, key.action, key.help, show=False) for key in REPLAY_KEYS]
