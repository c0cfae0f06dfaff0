"""The ways to a clipboard: which ones there are is a function of the environment, and what their bytes are.

A program of the system says whether it worked. The terminal (OSC 52) never does: it may take the text, refuse
it or not know what it is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

TerminalForm: TypeAlias = Literal["none", "plain", "tmux", "screen"]

OSC52_MOST_BYTES = 74_994
"""Of the text: many terminals, and the multiplexers between, take 100,000 characters of base64, no more."""
SCREEN_PIECE = 512
"""Characters of one string of GNU screen, which takes 768."""

_POWERSHELL = (
    "$in = New-Object IO.StreamReader([Console]::OpenStandardInput(), [Text.UTF8Encoding]::new($false)); "
    "Set-Clipboard -Value $in.ReadToEnd()"
)
_FORWARDED = re.compile(r"[^:/]+:\d")
"""A display that names its host is that of another machine: the one at which the user sits."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that takes the text on its standard input."""

    name: str
    arguments: tuple[str, ...] = ()
    timeout_s: float = 2.0


_WAYLAND = (Tool("wl-copy"),)
_X11 = (
    Tool("xclip", ("-selection", "clipboard", "-in")),
    Tool("xsel", ("--clipboard", "--input")),
)
_WINDOWS = (Tool("powershell.exe", ("-NoProfile", "-NonInteractive", "-Command", _POWERSHELL), 10.0),)
TMUX = Tool("tmux", ("load-buffer", "-w", "-"))
"""Takes the text into a buffer of tmux, and tmux passes it on to its terminal (from 3.2 on)."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How a text is copied here."""

    tools: tuple[Tool, ...] = ()
    """Tried in this order until one has worked."""
    terminal: TerminalForm = "none"
    """How the terminal is told."""
    is_watched_elsewhere: bool = False
    """A multiplexer: who looks at it may sit at another machine, so the terminal is told in any case."""


def ways_to_copy(environment: Mapping[str, str], platform: str, is_there: Callable[[str], object]) -> Ways:
    """The ways that this environment offers.

    Args:
        environment: of the process.
        platform: as `sys.platform` has it.
        is_there: whether a program of this name can be run.
    """
    term = environment.get("TERM", "")
    in_tmux = "TMUX" in environment
    in_screen = not in_tmux and ("STY" in environment or term.startswith("screen"))
    tools = tuple(tool for tool in _tools(environment, platform) if is_there(tool.name))
    if in_tmux:
        terminal: TerminalForm = "tmux"
    elif in_screen:
        terminal = "screen"
    else:
        terminal = "none" if platform == "win32" or term in ("", "dumb", "linux") else "plain"
    return Ways(tools, terminal, in_tmux or in_screen)


def _tools(environment: Mapping[str, str], platform: str) -> Sequence[Tool]:
    """Those of the machine at which the user sits."""
    display = environment.get("DISPLAY", "")
    if any(name in environment for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")):
        return _X11 if _FORWARDED.match(display) else ()
    if platform == "darwin":
        return (Tool("pbcopy"),)
    if platform == "win32" or "WSL_DISTRO_NAME" in environment or "WSL_INTEROP" in environment:
        return _WINDOWS
    if "TERMUX_VERSION" in environment:
        return (Tool("termux-clipboard-set"),)
    wayland = _WAYLAND if environment.get("WAYLAND_DISPLAY") else ()
    return (*wayland, *(_X11 if display else ()))


def terminal_sequence(text: str, form: TerminalForm) -> str:
    """The bytes that ask a terminal to take the text into its clipboard, in base64: nothing in it commands.

    Within tmux both ways are asked for: what tmux itself understands (`set-clipboard on`), and what it hands
    through (`allow-passthrough on`).
    """
    coded = base64.b64encode(encoded(text)).decode("ascii")
    plain = f"\x1b]52;c;{coded}\x07"
    match form:
        case "none":
            return ""
        case "plain":
            return plain
        case "tmux":
            return f"{plain}\x1bPtmux;\x1b{plain}\x1b\\"
        case "screen":
            pieces = (plain[n : n + SCREEN_PIECE] for n in range(0, len(plain), SCREEN_PIECE))
            return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)


def encoded(text: str) -> bytes:
    """The text as it goes into a clipboard; half of a pair of surrogates, which none takes, as `?`."""
    return text.encode("utf-8", errors="replace")
