"""Where a network's compiled step comes from: the folder, or a process that makes it meanwhile."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from llama_chat.engine.fused.compiler import NO_COMPILER, find_compiler, signature_of
from llama_chat.engine.fused.shelf import StepShelf
from llama_chat.engine.fused.spec import LayerSpec
from llama_chat.engine.fused.step import FusedStep
from llama_chat.engine.model import Llama
from llama_chat.paths import make_private_folder, write_atomically

_SAID_BYTES = 2000
RETRIED_AFTER_DAYS = 7
"""A compilation that failed: the compiler may have been mended meanwhile."""

_log = logging.getLogger(__name__)


class StepSource:
    """The compiled step of one network.

    Args:
        llama: whose weights it runs with.
        spec: of its layers.
        shelf: where it is kept.
    """

    def __init__(self, llama: Llama, spec: LayerSpec, shelf: StepShelf) -> None:
        self._llama = llama
        self._spec = spec
        self._shelf = shelf
        self._step: FusedStep | None = None
        self._is_broken = False
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    @property
    def is_being_made(self) -> bool:
        """Whether a process is at it."""
        return self._process is not None and self._process.poll() is None

    def best(self) -> FusedStep | None:
        """The step, if it is there; looked for again once the process that makes it has ended."""
        if self._step is None and not self._is_broken and not self.is_being_made:
            self._note_end()
            self._step = self._load()
        return self._step

    def _load(self) -> FusedStep | None:
        code = self._shelf.find(self._spec.name)
        if code is None or set(code) != set(self._spec.parts):
            return None
        try:
            # Which products it takes was decided by timing: made again, the layer may round otherwise.
            content = b"".join(code[part].read_bytes() for part in self._spec.parts)
            digest = hashlib.sha256(content).hexdigest()[:8]
            return FusedStep(code, f"compiled {self._spec.name[:8]}-{digest}", self._llama)
        except (RuntimeError, ImportError, OSError) as error:  # torch's words for what it cannot load
            _log.warning("the compiled step %s cannot be loaded: %s", self._spec.name, error)
            self._is_broken = True
            return None

    def make(self, *, waits: bool = False) -> None:
        """Have it made by a process of its own, if it is not there and can be; never fails.

        Args:
            waits: come back when it is made; otherwise at once.
        """
        if self._step is not None or self._is_broken or self.is_being_made or self.best() is not None:
            return
        if (why_not := self.obstacle()) is not None:
            _log.info("the decode step is not compiled: %s", why_not)
            return
        try:
            make_private_folder(self._shelf.folder)
            self._shelf.clear_old()
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (read when the process has ended)
            self._process = _start(self._spec, self._shelf.folder, self._errors)
        except OSError as error:
            _log.warning("the decode step is not compiled: %s", error)
            return
        if waits:
            self._process.wait()

    def obstacle(self) -> str | None:
        """Why it cannot be made here; None where it can."""
        if (compiler := find_compiler()) is None:
            return NO_COMPILER
        failed, days = self._failure_file, RETRIED_AFTER_DAYS
        with suppress(OSError):
            failed_with = failed.read_text(errors="replace").partition("\n")[0]
            is_late = time.time() - failed.stat().st_mtime > days * 86_400
            if not is_late and failed_with == signature_of(compiler):
                return f"it failed lately and is tried again after {days} days, or when {failed} is deleted"
        return None

    def untold_obstacle(self) -> str | None:
        """The same where there is no compiled step, once for this machine; None where it was said before."""
        if self.best() is not None or (why_not := self.obstacle()) is None:
            return None
        told = self._shelf.folder / "told"
        with suppress(OSError):
            if told.read_text() == why_not:
                return None
        with suppress(OSError):  # then it is said again
            make_private_folder(self._shelf.folder)
            write_atomically(told, why_not.encode())
        return why_not

    @property
    def _failure_file(self) -> Path:
        return self._shelf.folder / f"{self._spec.name}.failed"

    def _note_end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        said = self._said()
        if process.returncode <= 0:  # made; or ended by a signal, which does not mean that it cannot be made
            return
        _log.warning("compiling the decode step failed (%d): %s", process.returncode, said)
        with suppress(OSError):
            compiler = signature_of(find_compiler() or "")
            write_atomically(self._failure_file, f"{compiler}\n{said}".encode())

    def _said(self) -> str:
        """The end of what the process wrote to its stderr."""
        if self._errors is None:
            return ""
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SAID_BYTES))
            return errors.read().decode(errors="replace")

    def pause(self) -> None:
        """Let the process stand still: a reply needs the processor. Windows has no such signal."""
        self._signal("SIGSTOP")

    def resume(self) -> None:
        """Let it go on."""
        self._signal("SIGCONT")

    def close(self) -> None:
        """End the process; the compiled step is let go with its network."""
        if self.is_being_made:
            assert self._process is not None
            self._signal("SIGKILL")
            self._process.kill()
            self._process.wait()
        self._process = self._step = None

    def _signal(self, name: str) -> None:
        """Send it to the process and to the compiler that it started, which are a group."""
        number = getattr(signal, name, None)
        if number is None or not self.is_being_made or self._process is None:
            return
        with suppress(OSError):
            os.killpg(self._process.pid, number)


def _start(spec: LayerSpec, folder: Path, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """The process; -P keeps what lies in the current folder from being imported in the place of modules.

    Comes back when the process has seen to it that it ends with this one: stopped before, it could stay.
    """
    module = ["-P", "-m", "llama_chat.engine.fused.build", str(folder), str(os.getpid())]
    process = start_group([sys.executable, *module], errors)
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(spec.as_json().encode())
        process.stdin.close()
    with process.stdout as ready:
        ready.read(1)
    return process


def start_group(command: list[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, so that its children stand still and go on with it.

    Not in a session of its own: when this process ends, however it ends, the group is an orphan, and the
    kernel ends those of an orphaned group that stand still (POSIX, `_exit`): a compiler, too.
    """
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, process_group=0
    )
