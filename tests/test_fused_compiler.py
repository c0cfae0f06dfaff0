"""What compiles: that it is there, stands still while a reply runs, and ends with the chat."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from test_fused import PROMPT, SETTINGS, network_of, reply
from tiny_models import TinyModel

from llama_chat.decode_steps import EAGER
from llama_chat.engine.fused.compiler import signature_of
from llama_chat.engine.fused.source import RETRIED_AFTER_DAYS, StepSource
from llama_chat.engine.load import load_engine
from llama_chat.events import Ids, LiveSampling, Sampling


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel(dim=64, n_layers=1).write(tmp_path_factory.mktemp("compiling") / "tiny.gguf")


def test_without_a_compiler_or_after_a_failure_the_network_runs_as_it_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_engine(model, SETTINGS, cache_folder=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    source = network_of(engine).steps
    assert source is not None
    assert "no C++ compiler" in (source.obstacle() or "")
    engine.build_step(waits=True)
    assert EAGER in reply(engine)[1].plan.step
    engine.close()


def test_a_build_that_fails_is_not_tried_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler that the environment names ends with an error."""
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    engine = load_engine(model, SETTINGS, cache_folder=tmp_path / "cache")
    source = network_of(engine).steps
    assert source is not None
    engine.build_step(waits=True)
    assert EAGER in reply(engine)[1].plan.step
    assert "failed lately" in (source.obstacle() or "")
    [failed] = (tmp_path / "cache" / "steps").glob("*.failed")
    broken.write_text("#!/bin/sh\nexit 0 # mended\n")
    assert source.obstacle() is None, "another compiler"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    failed.write_text(f"{signature_of(str(broken))}\nbroken")
    assert source.obstacle() is not None
    os.utime(failed, (0, time.time() - (RETRIED_AFTER_DAYS + 1) * 86_400))
    assert source.obstacle() is None, "what it lacked may be there now"
    engine.close()


def test_that_there_is_no_compiler_is_said_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    told = []
    for _ in range(2):
        engine = load_engine(model, SETTINGS, cache_folder=tmp_path / "cache")
        told.append([notice for notice in engine.info.notices if "no C++ compiler" in notice])
        engine.close()
    assert [len(notices) for notices in told] == [1, 0]
    assert "Decoding is slower than it could be" in told[0][0]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no process")
def test_what_compiles_stands_still_while_a_reply_runs_and_ends_with_the_engine(
    model: Path, tmp_path: Path
) -> None:
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("there is no C++ compiler")
    engine = load_engine(model, SETTINGS, cache_folder=tmp_path)
    source = network_of(engine).steps
    assert isinstance(source, StepSource)
    engine.build_step()
    process = source._process
    assert process is not None
    sampling = LiveSampling(Sampling(max_new_tokens=4))
    events = engine.stream([Ids(PROMPT)], sampling=sampling, seed=1)
    next(events)
    assert wait_for_state(process.pid, "T")
    list(events)
    assert wait_for_state(process.pid, "SRD")
    engine.close()
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def wait_for_state(pid: int, states: str) -> bool:
    """Whether the kernel comes to say so of the process."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in states:
            return True
        time.sleep(0.005)
    return False


BUILD = """
import os, subprocess, sys
from llama_chat.engine.fused.build import end_with_parent
end_with_parent(int(sys.argv[1]))
subprocess.run(["sleep", "600"])
"""

CHAT = f"""
import os, signal, sys, tempfile, time
from llama_chat.engine.fused.source import start_group
build = start_group([sys.executable, "-c", {BUILD!r}, str(os.getpid())], tempfile.TemporaryFile())
children = f"/proc/{{build.pid}}/task/{{build.pid}}/children"
while len(open(children).read().split()) < 2: time.sleep(0.01)
os.killpg(build.pid, signal.SIGSTOP)
print(build.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

CHAT_AT_ONCE = """
import os, signal, tempfile
from pathlib import Path
from llama_chat.engine.fused.source import _start
from llama_chat.engine.fused.spec import LayerSpec
spec = LayerSpec(64, 4, 2, 16, 96, ("int4",) * 4, "bf16", 0, 1)
build = _start(spec, Path(tempfile.mkdtemp()), tempfile.TemporaryFile())
os.killpg(build.pid, signal.SIGSTOP)
print(build.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

SHELL = """
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
chat = subprocess.run([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(chat.stdout, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this Python waits for no process but its children")
@pytest.mark.parametrize("chat", [CHAT, CHAT_AT_ONCE], ids=["while the compiler runs", "at once"])
def test_a_compiler_that_stands_still_ends_with_the_chat_in_a_container_too(
    chat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the shell that runs first inherits what is left, in the same session: so it is no orphan."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, chat], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert shell.stdout is not None
    group = int(shell.stdout.readline())
    assert until(lambda: not members(group)), members(group)
    shell.communicate("", timeout=20)


def members(group: int) -> list[str]:
    """The states of the group's processes that are not gone."""
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                states.append(fields[0])
    return states


def until(is_so: Callable[[], bool]) -> bool:
    """Whether it comes to be so."""
    deadline_s = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return is_so()
