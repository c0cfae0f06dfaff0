"""Fixtures that many tests share, and how a run of all tests is shared by two processes."""

from __future__ import annotations

import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from fake_hub import fake_hub  # noqa: F401  (a fixture for all)

from llama_chat.catalogue import DEFAULT, pull

# What waits for another thread sleeps: with two threads on busy cores torch spends most of its time waiting
# (`llama-chat run` with 12 tokens: 4.4 s of processor time, else 6 to 15; 2026-11-22). Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# pytest loads GNU readline, which leaves the size of a terminal to all that pytest starts: the processes that
# share the tests, and what those start, would take every terminal for one of 80 by 24.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

TEST_MODELS = "LLAMA_CHAT_TEST_MODELS"
"""Names the folder that keeps the default model between test runs."""


# --- two processes ----------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests are shared by two processes, named ones run in this one; `-n 0` runs all in this one."""
    is_whole_suite = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return 2 if is_whole_suite and (os.cpu_count() or 1) > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from sharing import AloneAtTheEnd

    return AloneAtTheEnd(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("alone"):
        item.add_marker(pytest.mark.xdist_group("alone"))


def pytest_collection_finish() -> None:
    """What has been imported is not looked through for garbage again and again (0.1 s a time; 2026-11-22)."""
    gc.collect()
    gc.freeze()


# --- fixtures ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def pilots_settle_soon() -> None:
    """Textual's pilots do not sleep more than they must."""
    from settling import settle_soon

    settle_soon()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_counts() -> None:
    """What the tests start ends at Ctrl+C, also under `pytest &`, where all inherit that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def default_model() -> Path:
    """The default model's GGUF, fetched on the first run ever, checked on every later one."""
    folder = os.environ.get(TEST_MODELS) or platformdirs.user_cache_path("llama-chat-tests")
    return pull(DEFAULT, Path(folder), lambda progress: None, threading.Event())


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the Hub's cache of whoever runs it, nor the Hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.getbasetemp() / "no-hub-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def no_other_shelves(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the models that other programs have fetched for whoever runs it."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path_factory.getbasetemp() / "no-ollama"))
    monkeypatch.setattr("llama_chat.shelves.lm_studio._HOMES", ())
    monkeypatch.setattr("llama_chat.shelves.lm_studio._POINTER", "/nowhere/pointer")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `LLAMA_CHAT_HOME`; no other setting comes in from the environment."""
    for name in [name for name in os.environ if name.startswith("LLAMA_CHAT_") and name != TEST_MODELS]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LLAMA_CHAT_HOME", str(folder))
    return folder


@pytest.fixture
def home_with_model(home: Path, default_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home in which the default model is already fetched; nothing is compiled or unpacked in it."""
    monkeypatch.setenv("LLAMA_CHAT_CACHE", "off")
    models = home / "data" / "models"
    models.mkdir(parents=True)
    try:
        (models / default_model.name).hardlink_to(default_model)
    except OSError:  # another file system
        (models / default_model.name).symlink_to(default_model)
    return home
