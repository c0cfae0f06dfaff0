from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_helpers import build_tokens, build_turn

from llama_chat.conversation import Message, Role
from llama_chat.errors import StoreError
from llama_chat.sessions import SessionStore, backups, deleting, migrations
from llama_chat.sessions.backups import backups_of, damaged_stores
from llama_chat.sessions.database import Database

DATE = "2026-11-22"
DAY_S = 24 * 3600.0
WORD = "Xylophonquartz"
PIECES = [WORD[i : i + 5].lower() for i in range(len(WORD) - 4)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as a list of one number, which may be changed."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def keep(store: SessionStore, word: str = "llama") -> str:
    """The id of a new session that has the word in its title, in both messages and in a token."""
    conversation, reply = build_turn(f"Tell me of {word}s and {word}, of a {word.upper()}.")
    session = store.create(title=f"About {word}", date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    store.begin_reply(session.id, reply)
    tokens = [replace(token, text=f" {word}", piece=f" {word}".encode()) for token in build_tokens(40)]
    store.append_tokens(reply.id, tokens)
    store.finish_reply(session.id, ended(reply, f" {word}" * 40))
    return session.id


def ended(message: Message, text: str) -> Message:
    assert message.reply is not None
    return replace(message, text=text, reply=replace(message.reply, finish_reason="end"))


def traces(folder: Path) -> dict[str, list[str]]:
    """In which files of the folder pieces of the rare word are."""
    contents = {file.name: file.read_bytes().lower() for file in folder.iterdir() if file.is_file()}
    found = {name: [p for p in PIECES if p.encode() in content] for name, content in contents.items()}
    return {name: pieces for name, pieces in found.items() if pieces}


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)")
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_deleted_session_can_be_seen_found_and_brought_back(
    store: SessionStore, clock: list[float]
) -> None:
    first, second, third = (keep(store) for _ in range(3))
    store.delete(first)
    clock[0] -= 3600  # the clock jumped back
    store.delete(second)
    assert [(info.id, info.deleted_at) for info in store.deleted()] == [
        (second, clock[0]),
        (first, clock[0] + 3600),
    ]
    assert [info.id for info in store.list()] == [third]
    assert store.find(first, include_deleted=True).deleted_at == clock[0] + 3600
    with pytest.raises(StoreError, match="No session begins"):
        store.find(first)
    assert store.record(first).info.id == first
    store.undelete(first)
    assert store.find(first).deleted_at is None
    assert [info.id for info in store.deleted()] == [second]


def test_nothing_of_what_is_deleted_for_good_is_left_in_any_file(store: SessionStore) -> None:
    kept = keep(store)
    doomed = keep(store, WORD)
    for _ in range(3):
        keep(store)
    backup = migrations.backup_path(store.path, 1)
    migrations._back_up(store.path, backup)
    old_version(migrations.backup_path(store.path, 0), doomed)
    made_at = time.time() - 10 * DAY_S
    os.utime(backup, (made_at, made_at))
    before = traces(store.path.parent)
    assert set(before) >= {f"{store.path.name}-wal", backup.name, f"{store.path.name}.v0.backup"}
    assert store.delete_now(doomed)
    assert traces(store.path.parent) == {}
    assert len(store.list()) == 4
    assert len(store.search("llama")) == 8
    assert store.load(kept).messages
    assert is_sound(store.path)
    assert is_sound(backup)
    assert backup.stat().st_mtime == pytest.approx(made_at), "its age still counts"
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (4,)
    for gone in (store.delete_now, store.undelete, store.load, store.hold):
        with pytest.raises(StoreError, match="no session"):
            gone(doomed)


def old_version(path: Path, session_id: str) -> None:
    """A copy as the first version would have made it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, path, migrations.MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO sessions (id, title, created_at, updated_at, touched, date, model) "
            "VALUES (?, ?, 0, 0, 1, '', '')",
            (session_id, WORD),
        )
        connection.execute(
            "INSERT INTO messages VALUES (1, 'm', ?, NULL, 'user', ?, 0)", (session_id, f"{WORD} " * 5000)
        )


def test_many_sessions_deleted_one_by_one_leave_nothing(store: SessionStore) -> None:
    """Rows of many sizes between each other, so that pages were split, joined and let go."""
    doomed = []
    for number in range(24):
        session_id = keep(store, WORD if number % 3 == 0 else "llama")
        leaf = store.load(session_id).leaf_id
        text = f"{WORD if number % 3 == 0 else 'llama'} and more of it " * (number * 17 % 60)
        more = Message(f"more{number}", leaf, Role.USER, text, 0.0)
        store.add_messages(session_id, [more], more.id)
        if number % 3 == 0:
            doomed.append(session_id)
    for session_id in doomed:
        assert store.delete_now(session_id)
    assert traces(store.path.parent) == {}
    assert len(store.list()) == 16
    assert is_sound(store.path)


def test_what_was_deleted_30_days_ago_goes_for_good(store: SessionStore, clock: list[float]) -> None:
    doomed, kept = keep(store, WORD), keep(store)
    store.delete(doomed)
    clock[0] += 29 * DAY_S
    store.delete(kept)
    store.tidy()
    assert len(store.deleted()) == 2
    clock[0] += 2 * DAY_S
    store.tidy()
    assert [info.id for info in store.deleted()] == [kept]
    assert traces(store.path.parent) == {}
    store.undelete(kept)
    assert len(store.search("llama")) == 2


def test_a_session_deleted_in_the_future_has_30_days_from_today(
    store: SessionStore, clock: list[float]
) -> None:
    session_id = keep(store)
    clock[0] += 10_000 * DAY_S
    store.delete(session_id)
    clock[0] -= 10_000 * DAY_S
    store.tidy()
    assert [info.deleted_at for info in store.deleted()] == [clock[0]]
    clock[0] += deleting.KEPT_S + 1
    store.tidy()
    assert store.deleted() == []


def test_backups_expire(store: SessionStore, clock: list[float]) -> None:
    ages_d = {"v1.backup": 31, "v2.backup": 29, "v3.backup": -400, "v4.backup.part": 2, "v5.other": 99}
    for name, age_d in ages_d.items():
        file = store.path.with_name(f"{store.path.name}.{name}")
        file.write_bytes(b"")
        os.utime(file, (clock[0] - age_d * DAY_S,) * 2)
    store.tidy()
    names = {file.name.removeprefix(f"{store.path.name}.") for file in store.path.parent.iterdir()}
    assert names & set(ages_d) == {"v2.backup", "v3.backup", "v5.other"}
    clock[0] += 31 * DAY_S
    store.tidy()
    assert backups_of(store.path) == []


def test_what_could_not_be_finished_is_done_the_next_time(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "_LOG_PATIENCE_S", 0.05)
    doomed = keep(store, WORD)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        assert not store.delete_now(doomed)
    assert traces(store.path.parent)
    assert store.list() == store.deleted() == store.search(WORD) == []
    with pytest.raises(StoreError):
        store.undelete(doomed)
    with pytest.raises(StoreError):
        store.find(doomed, include_deleted=True)
    store.close()
    store.open()
    store.tidy()
    assert traces(store.path.parent) == {}
    assert deletions_of(store) == []


def deletions_of(store: SessionStore) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(store.path)) as connection:
        return connection.execute("SELECT session_id, stage FROM deletions").fetchall()


def test_a_backup_that_cannot_be_read_goes_with_what_was_deleted(store: SessionStore) -> None:
    doomed = keep(store, WORD)
    nonsense, cut = (migrations.backup_path(store.path, version) for version in (0, 1))
    nonsense.write_bytes(WORD.encode() * 1000)
    migrations._back_up(store.path, cut)
    cut.write_bytes(cut.read_bytes()[: 8 * 4096])
    assert store.delete_now(doomed)
    assert traces(store.path.parent) == {}
    assert not nonsense.exists()


def test_a_backup_that_cannot_be_changed_costs_one_rewriting(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what is deleted from being done with, but not by a rewriting at every start."""
    doomed = keep(store, WORD)
    rewrites: list[Path] = []
    rewrite = Database.rewrite
    monkeypatch.setattr(Database, "rewrite", lambda self: [rewrites.append(self.path), rewrite(self)])
    backup = migrations.backup_path(store.path, 1)
    migrations._back_up(store.path, backup)
    with closing(sqlite3.connect(backup, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(backups, "_PATIENCE_S", 0.05)
        assert not store.delete_now(doomed)
        for _ in range(3):
            store.tidy()
        assert deletions_of(store) == [(doomed, deleting.Stage.REWRITTEN)]
    assert len(rewrites) == 1
    store.tidy()
    assert traces(store.path.parent) == {}
    assert deletions_of(store) == []
    assert len(rewrites) == 1


def test_a_long_talk_is_deleted_from_backups_too(store: SessionStore) -> None:
    """Each message is the child of the one before: SQLite follows 1,000 generations."""
    doomed = store.create(date=DATE).id
    talk = [Message(f"m{n}", f"m{n - 1}" if n else None, Role.USER, f"{WORD} {n}", 0.0) for n in range(1500)]
    store.add_messages(doomed, talk, talk[-1].id)
    backup = migrations.backup_path(store.path, 1)
    migrations._back_up(store.path, backup)
    assert store.delete_now(doomed)
    assert traces(store.path.parent) == {}
    assert is_sound(backup)


def test_new_words_bring_a_deleted_session_back(store: SessionStore) -> None:
    """A chat that has it open goes on; what is said there must not go with the rest in 30 days."""
    session_id = keep(store)
    leaf = store.load(session_id).leaf_id
    store.delete(session_id)
    reply = Message("r", leaf, Role.ASSISTANT, "", 0.0, store.load(session_id).path()[-1].reply)
    store.finish_reply(session_id, reply)  # its words came before
    assert len(store.deleted()) == 1
    more = Message("more", leaf, Role.USER, "Are you there?", 0.0)
    store.add_messages(session_id, [more], more.id)
    assert store.deleted() == []
    assert [info.id for info in store.list()] == [session_id]


def test_damaged_stores_that_were_set_aside_expire(store: SessionStore, clock: list[float]) -> None:
    old, new = (store.path.with_name(f"{store.path.name}.damaged-{n}") for n in (1, 2))
    for file, age_d in ((old, 31), (Path(f"{old}-wal"), 31), (new, 29)):
        file.write_text(WORD)
        os.utime(file, (clock[0] - age_d * DAY_S,) * 2)
    store.tidy()
    assert damaged_stores(store.path) == [new]


def test_a_program_killed_while_it_deletes_leaves_a_sound_store(store: SessionStore) -> None:
    doomed = keep(store, WORD)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom llama_chat.sessions import SessionStore, deleting\n"
        "deleting._forget_words = lambda database: os.kill(os.getpid(), 9)\n"
        "store = SessionStore(Path(sys.argv[1])); store.open(); store.delete_now(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", script, store.path, doomed], check=False)
    assert store.list() == store.deleted() == []
    store.tidy()
    assert traces(store.path.parent) == {}
    assert is_sound(store.path)


def test_a_session_that_another_chat_has_open_is_not_deleted_for_good(
    store: SessionStore, clock: list[float]
) -> None:
    session_id = keep(store)
    store.delete(session_id)
    clock[0] += 31 * DAY_S
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("INSERT INTO session_leases VALUES (?, ?, '', '')", (session_id, other.pid))
            connection.commit()
        with pytest.raises(StoreError, match="open in another chat"):
            store.delete_now(session_id)
        store.tidy()
        assert len(store.deleted()) == 1
    store.tidy()
    assert store.deleted() == []


def test_a_large_file_is_written_anew_when_nobody_else_has_it_open(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "QUICK_TO_REWRITE_BYTES", 0)
    doomed = keep(store, WORD)
    script = (
        "import sys\nfrom pathlib import Path\nfrom llama_chat.sessions import SessionStore\n"
        "store = SessionStore(Path(sys.argv[1])); store.open(); print(flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        assert not store.delete_now(doomed)
    assert store.list() == store.deleted() == []
    size_bytes = store.path.stat().st_size
    store.tidy()
    assert deletions_of(store) == [(doomed, deleting.Stage.ROWS_GONE)], "a chat's own writing would wait"
    assert store.finish_deleting()
    assert store.path.stat().st_size < size_bytes
    assert traces(store.path.parent) == {}
    assert deletions_of(store) == []


@pytest.mark.alone
def test_others_write_while_much_is_deleted(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small steps: the write that waited longest waited for one step."""
    monkeypatch.setattr(deleting, "_STEP_S", 0.01)
    monkeypatch.setattr(deleting, "_MERGED_PAGES", 4)
    doomed = keep(store, WORD)
    texts = [Message(f"m{n}", None, Role.USER, f"{WORD} and word{n} " * 20, 0.0) for n in range(500)]
    store.add_messages(doomed, texts, texts[-1].id)
    other = keep(store)
    thread = threading.Thread(target=store.delete_now, args=(doomed,))
    thread.start()
    written = 0
    longest_s = 0.0
    mine = SessionStore(store.path)
    mine.open()
    while thread.is_alive():
        begin_s = time.monotonic()
        mine.rename(other, f"Number {written}")
        longest_s = max(longest_s, time.monotonic() - begin_s)
        written += 1
        thread.join(1 / 60)  # a frame
    mine.close()
    assert written > 1
    assert longest_s < 2.0  # a quiet machine: 0.02
    store.tidy()
    assert traces(store.path.parent) == {}
