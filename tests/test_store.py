from __future__ import annotations

import json
import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_helpers import (
    PLAN,
    PREFILLED,
    build_candidates,
    build_reply_message,
    build_token,
    build_tokens,
    build_turn,
)

from llama_chat.conversation import Conversation, Message, Role
from llama_chat.errors import StoreError
from llama_chat.events import Candidates, Forward, ModelInfo, Sampling, Token
from llama_chat.sessions import SessionInfo, SessionStore, StoreUnavailable, lease, migrations
from llama_chat.sessions.archive import pack_archive, unpack_archive
from llama_chat.sessions.lease import Lease, build_lease, is_alive
from llama_chat.sessions.packing import pack_candidates, unpack_candidates
from llama_chat.sessions.records import plan_from, plan_json

DATE = "2026-11-22"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    store = SessionStore(path)
    store.open()
    yield store
    store.close()


def keep_turn(store: SessionStore) -> tuple[SessionInfo, Conversation, Message]:
    """A session with a prompt and a user's message in the store, and a reply begun."""
    conversation, reply = build_turn()
    session = store.create(date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    store.begin_reply(session.id, reply)
    return session, conversation, reply


def finished(message: Message, tokens: list[Token]) -> Message:
    assert message.reply is not None
    reply = replace(
        message.reply,
        token_ids=tuple(token.token_id for token in tokens),
        finish_reason="length",
        prompt_tokens=36,
        reused_tokens=10,
        prefill_s=0.1,
        decode_s=2.5,
        context_start=message.parent_id,
        plan=PLAN,
    )
    return replace(message, text="".join(token.text for token in tokens), reply=reply)


def rows_in(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


# --- sessions ---------------------------------------------------------------------------------------


def test_a_session_is_listed_from_its_first_message_on(store: SessionStore) -> None:
    session = store.create(title="A ship", model="tiny", date=DATE)
    assert store.list() == []
    assert store.last() is None
    conversation, _ = build_turn()
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    (listed,) = store.list()
    assert (listed.id, listed.title, listed.model, listed.date) == (session.id, "A ship", "tiny", DATE)
    assert listed.message_count == 2
    assert listed.updated_at >= listed.created_at == session.created_at


def test_newest_comes_first_even_when_the_clock_jumps_back(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    made = []
    for offset_s in (0, 3600, -7200):
        monkeypatch.setattr(time, "time", lambda at=now + offset_s: at)
        made.append(keep_turn(store)[0].id)
    assert [session.id for session in store.list()] == made[::-1]
    last = store.last()
    assert last is not None
    assert last.id == made[2]
    assert [session.id for session in store.list(limit=1, offset=1)] == [made[1]]


def test_find_takes_what_fits_one_session_only(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["ab01", "ab02", "cd03"])
    monkeypatch.setattr("llama_chat.sessions.shelf.new_id", lambda: next(ids))
    for _ in range(3):
        store.create(date=DATE)
    assert store.find("c").id == "cd03"
    assert store.find(" AB02 ").id == "ab02"
    with pytest.raises(StoreError, match=r"more than one session \(ab01, ab02\)") as several:
        store.find("ab")
    assert several.value.hint
    for nothing in ("", "ff", "%", "ab'; DROP TABLE sessions"):
        with pytest.raises(StoreError, match="No session begins"):
            store.find(nothing)


def test_delete_hides_and_undelete_brings_back(store: SessionStore) -> None:
    session, _, reply = keep_turn(store)
    store.rename(session.id, "Ships \ud800 and\x00 more")
    store.delete(session.id)
    assert store.list() == []
    assert store.last() is None
    with pytest.raises(StoreError):
        store.find(session.id)
    store.undelete(session.id)
    assert store.find(session.id[:8]).title == "Ships \ud800 and\x00 more"
    assert reply.id in store.load(session.id).messages


def test_what_is_not_there_is_said(store: SessionStore) -> None:
    conversation, reply = build_turn()
    messages = list(conversation.messages.values())
    for act in (
        lambda: store.load("nope"),
        lambda: store.rename("nope", "x"),
        lambda: store.delete("nope"),
        lambda: store.undelete("nope"),
        lambda: store.select_leaf("nope", None),
    ):
        with pytest.raises(StoreError, match="no session 'nope'"):
            act()
    for act in (
        lambda: store.add_messages("nope", messages, messages[-1].id),
        lambda: store.begin_reply("nope", reply),
        lambda: store.load_tokens("nope"),
        lambda: store.append_tokens("nope", build_tokens(1)),
    ):
        with pytest.raises(StoreError):
            act()
    assert rows_in(store.path, "SELECT count(*) FROM messages") == [(0,)]


def test_the_model_of_a_session_and_its_replies_is_known(store: SessionStore) -> None:
    info = ModelInfo(
        *("tiny", "/models/tiny.gguf", "scratch", "llama", "cpu", "Q4_1", 2048, 512, 1_000, 4_000, "f00d"),
        chat_template="{{ messages }}",
        special_tokens=(),
    )
    session = store.create(date=DATE)
    store.set_model(session.id, replace(info, path="/models/where/it/was.gguf"))
    store.set_model(session.id, info)
    store.begin_reply(session.id, build_reply_message(None))
    assert store.find(session.id).model == "tiny"
    assert rows_in(
        store.path,
        "SELECT d.name, d.fingerprint, d.engine, d.device, d.dtype, d.template "
        "FROM replies JOIN models d ON d.id = replies.model_id",
    ) == [("tiny", "f00d", "scratch", "cpu", "Q4_1", "{{ messages }}")]
    assert rows_in(store.path, "SELECT count(*) FROM models") == [(1,)]
    (record,) = store.record(session.id).models.values()
    assert (record.name, record.path, record.template) == ("tiny", "/models/tiny.gguf", "{{ messages }}")


# --- the tree ----------------------------------------------------------------------------------------


def test_the_tree_comes_back_as_it_was(store: SessionStore) -> None:
    session, conversation, reply = keep_turn(store)
    tokens = build_tokens(3)
    conversation.add(finished(reply, tokens))
    store.append_tokens(reply.id, tokens)
    store.finish_reply(session.id, conversation.messages[reply.id])
    user_id = reply.parent_id
    assert user_id is not None
    edited = conversation.add_sibling(user_id, "Hello\r\n\ud83d \x1b[31m\x00 – 你好 👩‍🚀")
    store.add_messages(session.id, [edited], edited.id)
    assert store.load(session.id) == conversation
    conversation.select(user_id)
    store.select_leaf(session.id, conversation.leaf_id)
    loaded = store.load(session.id)
    assert loaded == conversation
    assert list(loaded.messages) == list(conversation.messages)
    assert [message.role for message in loaded.path()] == [Role.SYSTEM, Role.USER, Role.ASSISTANT]
    assert store.find(session.id).message_count == 4


def test_adding_is_all_or_nothing_and_may_be_repeated(store: SessionStore) -> None:
    conversation, _ = build_turn()
    session = store.create(date=DATE)
    first, second = conversation.messages.values()
    orphan = replace(second, id="orphan", parent_id="nowhere")
    with pytest.raises(StoreError):
        store.add_messages(session.id, [first, orphan], first.id)
    assert store.load(session.id) == Conversation()
    for _ in range(2):
        store.add_messages(session.id, [first, second], second.id)
    assert store.load(session.id) == conversation
    assert store.find(session.id).message_count == 2


# --- replies and tokens ------------------------------------------------------------------------------


def test_a_running_reply_of_this_process_has_its_text_and_no_end(store: SessionStore) -> None:
    session, _, reply = keep_turn(store)
    store.note_prefill(reply.id, PREFILLED)
    tokens = build_tokens(5)
    store.append_tokens(reply.id, tokens[:3])
    store.append_tokens(reply.id, tokens[2:])  # one twice, as after a failure that was none
    message = store.load(session.id).messages[reply.id]
    assert message.text == " w0 w1 w2 w3 w4"
    assert message.reply is not None
    assert message.reply.finish_reason is None
    assert message.reply.token_ids == (100, 101, 102, 103, 104)
    assert message.reply.prompt_tokens == 36
    assert message.reply.prefill_s == 0.2
    assert message.reply.decode_s == pytest.approx(sum(token.seconds for token in tokens[1:]))


def test_tokens_come_back_while_running_and_after_the_end(store: SessionStore, path: Path) -> None:
    session, _, reply = keep_turn(store)
    hot = Sampling(temperature=1.5, top_k=7)
    half = {"piece": b"\xf0\x9f", "logprob": -math.inf, "candidates": build_candidates(1, penalised=True)}
    tokens = [
        build_token(0, sampling=hot),
        build_token(1, "\x00", sampling=hot, **half),
        build_token(2, "🦙\ud800"),
        build_token(3, candidates=Candidates(*(array(c) for c in "iffif"), -math.inf)),
        *build_tokens(30, start=4),
    ]
    for token in tokens:
        store.append_tokens(reply.id, [token])
    assert store.load_tokens(reply.id) == tokens
    store.finish_reply(session.id, finished(reply, tokens))
    assert rows_in(path, "SELECT count(*) FROM tokens") == [(0,)]
    assert rows_in(path, "SELECT place FROM sampling_changes") == [(0,), (2,)]
    packed = store.load_tokens(reply.id)
    assert [without_tail(token) for token in packed] == [without_tail(token) for token in tokens]
    assert store.load(session.id).messages[reply.id] == finished(reply, tokens)


def without_tail(token: Token) -> Token:
    empty = {"tail_counts": array("i"), "tail_logsumexp": array("f")}
    return replace(token, candidates=replace(token.candidates, **empty))


def test_a_token_without_a_probability_is_kept(store: SessionStore) -> None:
    session, _, reply = keep_turn(store)
    broken = Candidates(
        array("i", [1]), *(array("f", [math.nan]),) * 2, array("i", [5]), array("f", [math.nan]), math.nan
    )
    store.append_tokens(reply.id, [build_token(0, logprob=math.nan, candidates=broken)])
    assert math.isnan(store.load_tokens(reply.id)[0].logprob)
    store.finish_reply(session.id, finished(reply, build_tokens(1)))
    (token,) = store.load_tokens(reply.id)
    assert math.isnan(token.logprob)
    assert math.isnan(token.candidates.logits[0])
    assert list(token.candidates.tail_counts) == [5]


def test_what_comes_after_the_end_is_packed_too(store: SessionStore, path: Path) -> None:
    session, _, reply = keep_turn(store)
    tokens = build_tokens(6)
    store.append_tokens(reply.id, tokens[:4])
    store.finish_reply(session.id, finished(reply, tokens[:4]))
    store.append_tokens(reply.id, tokens[4:])  # somebody took a living process for dead
    assert [token.index for token in store.load_tokens(reply.id)] == [0, 1, 2, 3, 4, 5]
    store.finish_reply(session.id, finished(reply, tokens))
    assert [without_tail(t) for t in store.load_tokens(reply.id)] == [without_tail(t) for t in tokens]
    assert rows_in(path, "SELECT count(*) FROM tokens") == [(0,)]


def test_a_reply_that_was_continued_keeps_what_it_began_with(store: SessionStore, path: Path) -> None:
    conversation, _ = build_turn()
    session = store.create(date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    reply = build_reply_message(conversation.leaf_id, text="Once upon", token_ids=(7, 8))
    store.begin_reply(session.id, reply)
    store.append_tokens(reply.id, [build_token(2, " a"), build_token(3, " time")])
    message = store.load(session.id).messages[reply.id]
    assert message.text == "Once upon a time"
    assert message.reply is not None
    assert message.reply.token_ids == (7, 8, 102, 103)


def test_a_thousand_tokens_with_64_candidates_take_at_most_350_kb() -> None:
    tokens = [build_token(i, candidates=build_candidates(i, bins=512)) for i in range(250)]
    packed = pack_archive(tokens)
    assert len(packed) * 4 <= 350_000
    found = unpack_archive(packed, [(0, Sampling())])
    assert [without_tail(token) for token in found] == [without_tail(token) for token in tokens]


@pytest.mark.parametrize("bins", [0, 1, 2, 63, 64, 65, 66, 72, 73, 127, 128, 129, 130, 161, 300, 512])
def test_the_tail_comes_back_near(bins: int) -> None:
    token = build_token(0, candidates=build_candidates(3, bins=bins))
    kept = token.candidates
    (found,) = unpack_archive(pack_archive([token]), [(0, Sampling())])
    near = found.candidates
    assert len(near.tail_counts) == len(near.tail_logsumexp) == bins
    assert near.tail_counts[:64] == kept.tail_counts[:64]
    assert sum(near.tail_counts) == sum(kept.tail_counts)
    assert near.tail_logsumexp[:64] == pytest.approx(kept.tail_logsumexp[:64], abs=1 / 64 + 1e-5)
    mass, near_mass = (sum(math.exp(v - 18) for v in c.tail_logsumexp) for c in (kept, near))
    assert near_mass == pytest.approx(mass, rel=0.01)


@pytest.mark.parametrize("penalised", [False, True])
def test_candidates_of_a_row_are_exact(penalised: bool) -> None:
    candidates = build_candidates(5, penalised=penalised)
    assert unpack_candidates(pack_candidates(candidates)) == candidates


# --- whose reply -------------------------------------------------------------------------------------


def test_this_process_is_alive_and_another_of_its_number_is_not() -> None:
    mine = build_lease()
    assert mine.pid == os.getpid()
    assert is_alive(mine)
    if mine.started:
        assert not is_alive(replace(mine, started=mine.started + "1"))
    if mine.boot_id:
        assert not is_alive(replace(mine, boot_id="another boot"))


def test_a_process_that_has_ended_is_dead_reaped_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        theirs = Lease(process.pid, lease._boot_id(), lease._started(process.pid))
        assert is_alive(theirs)
        process.kill()
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, still in the table
            if theirs.started:
                assert not is_alive(theirs)
    assert not is_alive(theirs)


def test_where_nothing_but_the_number_is_known_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_BOOT_ID", Path("/nowhere/boot_id"))
    monkeypatch.setattr(lease, "_stat_fields", lambda pid: [])
    mine = build_lease()
    assert (mine.boot_id, mine.started) == ("", "")
    assert is_alive(mine)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert not is_alive(Lease(process.pid, "", ""))


def kill_writer(path: Path) -> None:
    """Make the leases those of a process that is gone."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE leases SET boot_id = 'an earlier boot', pid = 1")
        connection.commit()


def test_a_reply_of_a_dead_process_is_interrupted_and_stays_so(store: SessionStore, path: Path) -> None:
    session, _, reply = keep_turn(store)
    later = keep_turn(store)[0]
    store.append_tokens(reply.id, build_tokens(3))
    kill_writer(path)
    message = store.load(session.id).messages[reply.id]
    assert message.reply is not None
    assert (message.text, message.reply.finish_reason) == (" w0 w1 w2", "interrupted")
    assert rows_in(path, f"SELECT finish_reason FROM replies WHERE message_id = '{reply.id}'") == [
        ("interrupted",)
    ]
    assert store.load(session.id).messages[reply.id] == message
    assert len(store.load_tokens(reply.id)) == 3
    last = store.last()
    assert last is not None
    assert last.id == later.id, "looking at a session does not make it the last one"


@pytest.mark.alone
def test_an_interrupted_reply_is_seen_though_the_store_is_locked(store: SessionStore, path: Path) -> None:
    session, _, reply = keep_turn(store)
    store.append_tokens(reply.id, build_tokens(2))
    kill_writer(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin_s = time.monotonic()
        message = store.load(session.id).messages[reply.id]
        assert time.monotonic() - begin_s < 2
    assert message.reply is not None
    assert (message.text, message.reply.finish_reason) == (" w0 w1", "interrupted")


# --- several at once ---------------------------------------------------------------------------------


def test_two_chats_write_at_once_and_see_each_other(store: SessionStore, path: Path) -> None:
    other = SessionStore(path)
    other.open()

    def write(mine: SessionStore, ids: list[str]) -> None:
        session, _, reply = keep_turn(mine)
        for token in build_tokens(100):
            mine.append_tokens(reply.id, [token])
        mine.finish_reply(session.id, finished(reply, build_tokens(100)))
        ids.append(session.id)

    ids: list[str] = []
    threads = [threading.Thread(target=write, args=(mine, ids)) for mine in (store, other, store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ids) == sorted(session.id for session in other.list())
    assert len(ids) == 4
    for session_id in ids:
        assert store.load(session_id) == other.load(session_id)
    other.close()
    assert rows_in(path, "PRAGMA integrity_check") == [("ok",)]


def test_another_process_sees_what_is_committed_and_leaves_the_reply_alone(
    store: SessionStore, path: Path
) -> None:
    session, _, reply = keep_turn(store)
    store.append_tokens(reply.id, build_tokens(2))
    script = (
        "import sys\nfrom pathlib import Path\nfrom llama_chat.sessions import SessionStore\n"
        "store = SessionStore(Path(sys.argv[1])); store.open()\n"
        "message = store.load(sys.argv[2]).messages[sys.argv[3]]\n"
        "print(repr((message.text, message.reply.finish_reason)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", script, path, session.id, reply.id], capture_output=True, text=True, check=True
    )
    assert seen.stdout.strip() == repr((" w0 w1", None))
    store.append_tokens(reply.id, build_tokens(1, start=2))
    assert store.load(session.id).messages[reply.id].text == " w0 w1 w2"


def test_several_processes_may_make_the_store_at_once(path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom llama_chat.sessions import SessionStore\n"
        "store = SessionStore(Path(sys.argv[1])); input(); store.open(); store.create(date='2026-11-22')"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 4
    assert rows_in(path, "SELECT count(*) FROM sessions") == [(4,)]


# --- the file ----------------------------------------------------------------------------------------


def test_nothing_happens_before_open(path: Path) -> None:
    store = SessionStore(path)
    assert not path.parent.exists()
    with pytest.raises(StoreError, match="not open"):
        store.list()
    store.close()
    assert not path.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes; the user's folder is private there")
def test_files_are_readable_by_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SessionStore(path)
        store.open()
        keep_turn(store)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((path.name + suffix for suffix in ("", "-wal", "-shm", ".lock")), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    store.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()


def test_it_is_in_wal_mode_with_foreign_keys(store: SessionStore, path: Path) -> None:
    assert rows_in(path, "PRAGMA journal_mode") == [("wal",)]
    session, _, _ = keep_turn(store)
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.select_leaf(session.id, "nowhere")


def test_a_newer_store_is_refused_and_left_as_it_is(path: Path) -> None:
    store = SessionStore(path)
    store.open()
    keep_turn(store)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    content, changed_at = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(StoreError, match="newer llama-chat: its version is 99") as refused:
        store.open()
    assert "Update llama-chat" in refused.value.hint
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, changed_at)
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f"{path.name}.lock"}
    with pytest.raises(StoreError, match="newer llama-chat: its version is 99") as refused_again:
        store.list()
    assert refused_again.value.hint == refused.value.hint


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sessions (recipe TEXT)")
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SessionStore(path).open()
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written") as refused:
        SessionStore(tmp_path / "file" / "data" / "sessions.sqlite3").open()
    assert "LLAMA_CHAT_HOME" in refused.value.hint
    (tmp_path / "folder.sqlite3").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        SessionStore(tmp_path / "folder.sqlite3").open()


def test_a_read_only_store_is_noticed_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SessionStore(path)
    store.open()
    keep_turn(store)
    store.close()
    connect = sqlite3.connect
    # Root may write everywhere, so SQLite itself is told to open the file for reading.
    monkeypatch.setattr(
        sqlite3, "connect", lambda file, **more: connect(f"file:{file}?mode=ro", uri=True, **more)
    )
    with pytest.raises(StoreUnavailable, match="read-only"):
        store.open()


def test_a_lock_is_waited_for_and_then_named(store: SessionStore, path: Path) -> None:
    store.wait_at_most(0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked by another program"):
            store.create(date=DATE)
        assert store.list() == []  # reading goes on
        late = SessionStore(path)
        late.open()  # and so does opening
        late.close()
    assert store.create(date=DATE).id


def test_a_full_disk_is_named_and_nothing_is_half_done(store: SessionStore, path: Path) -> None:
    session, conversation, _ = keep_turn(store)
    before = store.load(session.id)
    store._database.connection().execute("PRAGMA max_page_count = 1")
    big = conversation.append(Role.USER, "x" * 5_000_000)
    with pytest.raises(StoreUnavailable, match="no space is left"):
        store.add_messages(session.id, [big], big.id)
    assert store.load(session.id) == before
    store._database.connection().execute("PRAGMA max_page_count = 1000000000")
    store.add_messages(session.id, [big], big.id)
    assert store.load(session.id).messages[big.id] == big


# --- migrations --------------------------------------------------------------------------------------


def _add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")


def _break(connection: sqlite3.Connection) -> None:
    _add_colour(connection)
    raise sqlite3.OperationalError("stopped half way")


@pytest.mark.parametrize("version", range(len(migrations.MIGRATIONS) + 1))
def test_every_older_version_comes_up_to_date(path: Path, version: int) -> None:
    path.parent.mkdir()
    if version:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrations.migrate(connection, path, migrations.MIGRATIONS[:version])
    store = SessionStore(path)
    store.open()
    session, _, reply = keep_turn(store)
    assert reply.id in store.load(session.id).messages
    store.close()
    assert rows_in(path, "PRAGMA user_version") == [(len(migrations.MIGRATIONS),)]


def test_a_backup_is_made_before_a_migration(store: SessionStore, path: Path) -> None:
    session, _, _ = keep_turn(store)
    version = len(migrations.MIGRATIONS)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, path, (*migrations.MIGRATIONS, _add_colour))
    assert rows_in(path, "SELECT id, colour FROM sessions") == [(session.id, "red")]
    backup = migrations.backup_path(path, version)
    assert rows_in(backup, "PRAGMA user_version") == [(version,)]
    assert rows_in(backup, "SELECT id FROM sessions") == [(session.id,)]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600 or os.name == "nt"
    assert sorted(file.name for file in path.parent.glob("*backup*")) == [backup.name]
    with pytest.raises(StoreError, match="newer"):
        SessionStore(path).open()


def test_a_migration_that_fails_changes_nothing(store: SessionStore, path: Path) -> None:
    keep_turn(store)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError, match="half way"),
    ):
        migrations.migrate(connection, path, (*migrations.MIGRATIONS, _break))
    assert rows_in(path, "PRAGMA user_version") == [(len(migrations.MIGRATIONS),)]
    assert "colour" not in str(rows_in(path, "SELECT sql FROM sqlite_master"))
    assert len(store.list()) == 1


def test_a_new_file_needs_no_backup(store: SessionStore, path: Path) -> None:
    assert not list(path.parent.glob("*backup*"))


# --- how a reply was computed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forwards", "is_short"),
    [
        ((), True),
        ((Forward(0, 36, 36, "prefill"), Forward(36, 1, 12, "step"), Forward(48, 20, 18, "prefill")), True),
        ((Forward(5, 36, 36, "prefill"), Forward(36, 2, 12, "step")), False),
    ],
)
def test_a_plan_comes_back_and_is_short_where_it_can_be(
    forwards: tuple[Forward, ...], is_short: bool
) -> None:
    plan = replace(PLAN, forwards=forwards)
    text = plan_json(plan)
    assert text is not None
    assert plan_from(text) == plan
    assert isinstance(json.loads(text)["forwards"], str) is is_short
