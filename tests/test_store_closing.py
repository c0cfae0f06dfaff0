"""The store is closed, cannot be written, is given what no file takes; the commands say what it says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_helpers import build_reply_message, build_turn

from llama_chat.cli import invoke
from llama_chat.cli.chat import _found_session
from llama_chat.cli.sessions_store import opened_store
from llama_chat.cli.talk import exit_status
from llama_chat.conversation import Message, Role
from llama_chat.errors import StoreError
from llama_chat.events import ModelInfo
from llama_chat.paths import user_paths
from llama_chat.sessions import SessionStore, StoreUnavailable, shelf
from llama_chat.sessions.exchange import fields
from llama_chat.sessions.exchange.importing import Source, import_files
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.sessions.records import LONGEST_TITLE

DATE = "2026-11-22"
NOT_UTF8 = b"mod\xe8le".decode("utf-8", "surrogateescape")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


def opened(path: Path) -> SessionStore:
    store = SessionStore(path)
    store.open()
    return store


def keep(store: SessionStore, text: str = "Tell me of llamas.") -> str:
    conversation, _ = build_turn(text)
    session = store.create(title="Llamas", date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    return session.id


# --- closed under a running thread ----------------------------------------------------------------------


CLOSED_UNDER = """
import random, sys, threading, time
from pathlib import Path
from llama_chat.errors import StoreError
from llama_chat.sessions import SessionStore
path, session_id = Path(sys.argv[1]), sys.argv[2]
wrong = []
def read(store):
    try:
        while True:
            store.search("llam")
            store.load(session_id)
    except StoreError:
        pass
    except BaseException as error:
        wrong.append(error)
for _ in range(25):
    store = SessionStore(path)
    store.open()
    threads = [threading.Thread(target=read, args=(store,)) for _ in range(3)]
    for thread in threads: thread.start()
    time.sleep(random.random() * 0.02)
    store.close()
    for thread in threads: thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
assert not wrong, wrong
"""


def test_a_store_may_be_closed_while_other_threads_read_from_it(path: Path) -> None:
    """In a process of its own: it was ended by SIGSEGV."""
    store = opened(path)
    session_id = store.create(date=DATE).id
    talk = [Message(f"m{n}", None, Role.USER, f"llamas and {n} more", 0.0) for n in range(1500)]
    store.add_messages(session_id, talk, talk[-1].id)
    store.close()
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_UNDER, path, session_id], check=False, timeout=60, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_closing_interrupts_a_long_call_and_does_not_wait_for_it(path: Path) -> None:
    store = opened(path)
    outcome: list[Exception] = []
    is_running = threading.Event()

    def call() -> None:
        try:
            with store._database.reading() as connection:
                is_running.set()
                connection.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
                ).fetchone()
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert is_running.wait(10)
    begin_s = time.monotonic()
    store.close()
    thread.join(10)
    assert time.monotonic() - begin_s < 5
    (error,) = outcome
    assert isinstance(error, StoreError)
    assert "was closed meanwhile" in str(error)
    with pytest.raises(StoreError, match="is not open"):
        store.list()
    store.open()
    assert store.list() == []
    store.close()


def test_a_call_that_cannot_be_interrupted_closes_its_connection_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_chat.sessions.database.CLOSING_PATIENCE_S", 0.05)
    store = opened(path)
    may_end, is_running = threading.Event(), threading.Event()
    found: list[sqlite3.Connection] = []

    def call() -> None:
        with store._database.reading() as connection:
            found.append(connection)
            is_running.set()
            may_end.wait(10)
            assert connection.execute("SELECT 1").fetchone() == (1,)

    thread = threading.Thread(target=call)
    thread.start()
    assert is_running.wait(10)
    store.close()
    may_end.set()
    thread.join(10)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        found[0].execute("SELECT 1")


# --- cannot be written ------------------------------------------------------------------------------------


def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so SQLite itself is told to open files for reading."""
    connect = sqlite3.connect

    def reading(file: Any, *, uri: bool = False, **more: Any) -> sqlite3.Connection:
        return connect(file if uri else f"file:{file}?mode=ro", uri=True, **more)

    monkeypatch.setattr(sqlite3, "connect", reading)


def test_a_store_on_a_read_only_disk_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = user_paths().sessions_file
    store = opened(file)
    session_id = keep(store)
    store.close()
    before = file.read_bytes()
    refuse_writing(monkeypatch)
    with pytest.raises(StoreUnavailable, match="read-only"):
        SessionStore(file).open()
    with opened_store() as reading:
        assert [info.id for info in reading.list()] == [session_id]
        assert len(reading.search("llamas")) == 1
        assert len(reading.record(session_id).conversation.messages) == 2
        with pytest.raises(StoreUnavailable, match="read-only"):
            reading.rename(session_id, "Other")
    assert file.read_bytes() == before


def test_what_a_killed_program_left_in_the_log_is_read_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(path)
    session_id = keep(store)  # in the log: the store stays open
    refuse_writing(monkeypatch)
    with opened_store(path) as reading:
        assert [info.id for info in reading.list()] == [session_id]
    store.close()


def test_an_old_store_that_cannot_be_brought_up_to_date_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    refuse_writing(monkeypatch)
    store = SessionStore(path)
    with pytest.raises(StoreUnavailable, match="of an older llama-chat"):
        store.open_for_reading()


# --- what no file takes -----------------------------------------------------------------------------------


def info_of(name: str, path: str) -> ModelInfo:
    facts: dict[str, Any] = {"context_length": 1, "vocab_size": 1, "parameters": 1, "weights_bytes": 1}
    words: dict[str, Any] = {"architecture": "llama", "device": "cpu", "dtype": "f32", "engine": "scratch"}
    more: dict[str, Any] = {"fingerprint": "f", "chat_template": None, "special_tokens": ()}
    return ModelInfo(name=name, path=path, **facts, **words, **more)


def test_a_model_in_a_folder_whose_name_is_not_utf8_is_recorded(path: Path) -> None:
    store = opened(path)
    session_id = keep(store)
    store.set_model(session_id, info_of(NOT_UTF8, f"/models/{NOT_UTF8}.gguf"))
    reply = build_reply_message(store.load(session_id).leaf_id)
    assert reply.reply is not None
    reply = replace(reply, reply=replace(reply.reply, model=NOT_UTF8))
    store.begin_reply(session_id, reply)
    assert reply.reply is not None
    store.finish_reply(session_id, replace(reply, reply=replace(reply.reply, finish_reason="end")))
    model = store.model_of(session_id)
    assert model is not None
    assert (model.name, model.path) == (NOT_UTF8, f"/models/{NOT_UTF8}.gguf")
    kept = store.load(session_id).path()[-1].reply
    assert kept is not None
    assert kept.model == NOT_UTF8
    assert store.record(session_id).models[reply.id] == model
    store.close()


def test_what_is_renamed_or_written_before_1970_can_be_exported_and_imported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONGEST_TITLE == fields.LONGEST_NAME
    monkeypatch.setattr(shelf.time, "time", lambda: -86_400.0)
    store = opened(path)
    session_id = keep(store)
    store.rename(session_id, "t" * (LONGEST_TITLE + 1))
    exported = path.with_name("export.jsonl")
    exported.write_text("".join(jsonl_lines(store.record(session_id))))
    (imported,) = import_files(store, [Source(exported, exported.name)])
    assert imported.info.title == "t" * LONGEST_TITLE
    assert imported.info.created_at == 0.0
    store.close()


# --- what the commands say of it --------------------------------------------------------------------------


def with_damage(home: Path) -> tuple[Path, str]:
    file = user_paths().sessions_file
    store = opened(file)
    session_id = keep(store)
    store.close()
    file.with_name(f"{file.name}.is-damaged").touch()
    return file, session_id


@pytest.mark.parametrize("command", ["replay", "run"])
def test_a_command_says_that_it_recovered_the_store(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    _, session_id = with_damage(home)
    more = {
        "replay": [session_id[:8], "--plain", "--instant"],
        "run": ["--resume", session_id, "--model", "/no", "Hello"],
    }
    exit_status(lambda: invoke([command, *more[command]]))
    assert "The store of the sessions was damaged" in capsys.readouterr().err


def test_the_chat_is_told_what_was_recovered_before_it_opened(home: Path) -> None:
    file, session_id = with_damage(home)
    found, notices = _found_session(file, session_id[:8])
    assert found == session_id
    assert "The store of the sessions was damaged" in notices[0]


@pytest.mark.parametrize("arguments", [["replay", "abcdef"], ["run", "-c", "hi"]])
def test_a_command_that_reads_makes_no_store(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert exit_status(lambda: invoke(arguments)) == 1
    assert "session" in capsys.readouterr().err
    assert not user_paths().sessions_file.exists()
