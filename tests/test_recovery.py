"""A damaged store is set aside whole, what can be read is recovered, and the user is told where both lie."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from store_helpers import build_reply_message, build_tokens

from llama_chat.cli.sessions_transfer import export_command
from llama_chat.conversation import Conversation, Role
from llama_chat.errors import StoreError
from llama_chat.sessions import SessionStore
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.sessions.failures import StoreDamaged
from llama_chat.sessions.leaf_pages import leaf_rows, shape_of

PAGE = 4096
DATE = "2026-11-22"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite3"


def fill(path: Path, sessions: int = 12, turns: int = 6) -> dict[str, Conversation]:
    """What a chat would have written, by the id of the session; all of it in the file itself."""
    store = SessionStore(path)
    store.open()
    kept = {}
    for n in range(sessions):
        session = store.create(title=f"Session {n}", date=DATE)
        conversation = Conversation()
        for turn in range(turns):
            words = conversation.append(Role.USER, f"question {turn} of {n} " + "about llamas " * 20)
            store.add_messages(session.id, [words], words.id)
            reply = conversation.add(build_reply_message(words.id))
            assert reply.reply is not None
            store.begin_reply(session.id, reply)
            tokens = build_tokens(8)
            store.append_tokens(reply.id, tokens)
            ended = replace(reply.reply, token_ids=tuple(t.token_id for t in tokens), finish_reason="end")
            conversation.update(replace(reply, text="".join(t.text for t in tokens), reply=ended))
            store.finish_reply(session.id, conversation.messages[reply.id])
        kept[session.id] = conversation
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return kept


def spoil(path: Path, pages: list[int], chance: random.Random) -> bytes:
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)
    path.write_bytes(content)
    return bytes(content)


def open_until_sound(path: Path) -> tuple[SessionStore, list[str]]:
    """The store after it was used once and, where damage was found on the way, opened again."""
    notices: list[str] = []
    for _ in range(2):
        store = SessionStore(path)
        store.open()
        notices += store.notices
        try:
            for session in store.list():
                for message in store.load(session.id).messages.values():
                    if message.reply:
                        store.load_tokens(message.id)
            session = store.create(date=DATE)
            words = Conversation().append(Role.USER, "it goes on")
            store.add_messages(session.id, [words], words.id)
        except StoreError:
            store.close()
        else:
            return store, notices
    pytest.fail("what was recovered is damaged, too")


def check_sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def damaged_files(path: Path) -> list[Path]:
    return [file for file in path.parent.glob("*.damaged-*") if not file.name.endswith(("-wal", "-shm"))]


def test_what_lies_around_a_damaged_page_comes_back(path: Path) -> None:
    kept = fill(path)
    pages = path.stat().st_size // PAGE
    spoiled = spoil(path, [pages // 2], random.Random(1))
    store, notices = open_until_sound(path)
    store.close()
    check_sound(path)
    (damaged,) = damaged_files(path)
    assert damaged.read_bytes() == spoiled
    assert damaged.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0
    (notice,) = notices
    assert str(damaged) in notice
    assert str(path) in notice
    store.open()
    found = {session.id: store.load(session.id) for session in store.list()}
    whole = [id_ for id_ in kept if id_ in found and found[id_].messages == kept[id_].messages]
    assert len(whole) >= len(kept) // 2
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_pages_are_damaged_the_chat_opens(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kept = fill(path, sessions=4, turns=4)
    pages = path.stat().st_size // PAGE
    spoil(path, chance.sample(range(pages), chance.randint(1, 6)), chance)
    store, notices = open_until_sound(path)
    known = {message.id: message for tree in kept.values() for message in tree.messages.values()}
    for session in store.list():
        conversation = store.load(session.id)
        assert conversation.path()[-1].id == conversation.leaf_id
        for message in conversation.messages.values():
            if message.id in known and message.reply:
                store.load_tokens(message.id)
    store.close()
    assert bool(notices) == bool(damaged_files(path))
    if notices:  # else the damage is where nothing was looked for
        check_sound(path)


@pytest.mark.parametrize(
    "content", [b"Dear diary, " * 1000, bytes(3 * PAGE)], ids=["another text", "zeroes of a crash"]
)
def test_a_file_that_is_no_store_is_set_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = SessionStore(path)
    store.open()
    assert store.list() == []
    (damaged,) = damaged_files(path)
    assert damaged.read_bytes() == content
    assert "nothing in it could be read" in store.notices[0]
    store.close()
    store.open()
    assert store.notices == ()
    store.close()


def test_a_file_that_was_cut_gives_back_its_beginning(path: Path) -> None:
    fill(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    store, notices = open_until_sound(path)
    assert notices
    assert sum(session.message_count for session in store.list()) > 20
    store.close()
    check_sound(path)


def test_a_message_whose_session_and_parent_are_lost_is_found_again(path: Path) -> None:
    kept = fill(path, sessions=2, turns=2)
    lost, conversation = next(iter(kept.items()))
    first, second, *_ = conversation.path()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM sessions WHERE id = ?", (lost,))
        connection.execute("DELETE FROM messages WHERE id = ?", (second.id,))
    path.with_name(f"{path.name}.is-damaged").touch()
    store = SessionStore(path)
    store.open()
    session = store.find(lost)
    assert session.title.startswith("Recovered: question 0 of 0")
    texts = [message.text for message in store.load(lost).path()]
    assert texts == [message.text for message in conversation.path() if message.id != second.id]
    assert texts[0] == first.text
    store.close()


def test_a_damaged_store_that_is_in_use_is_left_where_it_is(path: Path) -> None:
    fill(path, sessions=1, turns=1)
    other = SessionStore(path)
    other.open()
    path.with_name(f"{path.name}.is-damaged").touch()
    store = SessionStore(path)
    with pytest.raises(StoreError, match="is damaged") as refused:
        store.open()
    assert "End every llama-chat" in refused.value.hint
    assert damaged_files(path) == []
    other.close()
    store.open()
    assert len(damaged_files(path)) == 1
    assert len(store.list()) == 1
    store.close()


def test_damage_that_is_found_while_chatting_is_mended_at_the_next_start(path: Path) -> None:
    fill(path)
    spoil(path, list(range(4, path.stat().st_size // PAGE - 4)), random.Random(3))
    store = SessionStore(path)
    store.open()
    if not store.notices:
        with pytest.raises(StoreError, match="damaged"):
            _ = [store.load(session.id) for session in store.list()]
        store.close()
        store.open()
    assert "was damaged" in store.notices[0]
    store.close()
    check_sound(path)


def test_a_disk_that_is_full_leaves_the_damaged_store_where_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, sessions=1, turns=1)
    content = path.read_bytes()
    path.with_name(f"{path.name}.is-damaged").touch()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    store = SessionStore(path)
    with pytest.raises(StoreError, match="No space left"):
        store.open()
    monkeypatch.undo()
    assert path.read_bytes() == content
    assert damaged_files(path) == []
    store.open()
    assert len(store.list()) == 1
    store.close()


def test_what_was_being_deleted_for_good_is_not_recovered(path: Path) -> None:
    kept = fill(path, sessions=2, turns=2)
    doomed, other = kept
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO deletions (session_id, stage) VALUES (?, 2)", (doomed,))
        connection.execute("UPDATE sessions SET deleted_at = 1 WHERE id = ?", (doomed,))
    path.with_name(f"{path.name}.is-damaged").touch()
    store = SessionStore(path)
    store.open()
    assert store.deleted() == []
    assert [session.id for session in store.list()] == [other]
    assert store.search('"of 0 about"') == []
    assert len(store.search('"of 1 about"')) == 2
    assert "kept for 30 days" in store.notices[0]
    store.tidy()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM deletions").fetchall() == []
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (4,)
    store.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
@pytest.mark.parametrize("steps", range(6))
def test_a_recovery_that_is_killed_is_finished_at_the_next_start(path: Path, steps: int) -> None:
    """After so many files changed their names or were removed; the last words are in the log alone."""
    kept = fill(path, sessions=2, turns=2)
    writer = SessionStore(path)
    writer.open()
    words = Conversation().append(Role.USER, "the last words")
    writer.add_messages(writer.create(date=DATE).id, [words], words.id)
    crashed = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    writer.close()
    for suffix, content in crashed.items():
        Path(f"{path}{suffix}").write_bytes(content)
    path.with_name(f"{path.name}.is-damaged").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(steps)], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = SessionStore(path)
    store.open()
    assert len(store.list()) == len(kept) + 1
    assert [hit.session.title for hit in store.search("last words")]
    store.close()
    (damaged,) = damaged_files(path)
    assert damaged.read_bytes() == crashed[""]
    assert Path(f"{damaged}-wal").read_bytes() == crashed["-wal"]
    assert "was damaged" in store.notices[0]
    left = {file.name for file in path.parent.iterdir() if file.name.startswith((".", path.name))}
    assert left <= {path.name, f"{path.name}.lock", damaged.name, f"{damaged.name}-wal"}


KILLED = """
import os, sys
from pathlib import Path
from llama_chat.sessions import SessionStore
steps = int(sys.argv[2])

def counted(method):
    def step(self, *more, **named):
        global steps
        if steps == 0:
            os.kill(os.getpid(), 9)
        steps -= 1
        return method(self, *more, **named)
    return step

Path.replace = counted(Path.replace)
Path.unlink = counted(Path.unlink)
SessionStore(Path(sys.argv[1])).open()
"""


def test_a_store_that_another_process_has_just_recovered_is_not_recovered_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, sessions=2, turns=2)
    path.with_name(f"{path.name}.is-damaged").touch()
    mine, other = SessionStore(path), SessionStore(path)
    recover_mine = mine._database._recover

    def too_late(damage: StoreDamaged) -> None:
        other.open()
        recover_mine(damage)

    monkeypatch.setattr(mine._database, "_recover", too_late)
    mine.open()
    assert len(damaged_files(path)) == 1
    assert mine.notices == ()
    assert len(mine.list()) == len(other.list()) == 2
    mine.close()
    other.close()


def damage_archives(path: Path, count: int) -> list[str]:
    """Flip a byte in the middle of so many packed blobs; the ids of their replies."""
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute(
            "SELECT message_id, packed FROM token_archives LIMIT ?", (count,)
        ).fetchall()
        for message_id, packed in found:
            spoiled = bytearray(packed)
            spoiled[len(packed) // 2] ^= 0xFF
            connection.execute(
                "UPDATE token_archives SET packed = ? WHERE message_id = ?", (spoiled, message_id)
            )
    return [message_id for message_id, _ in found]


def test_damaged_tokens_cost_nothing_but_themselves(path: Path) -> None:
    kept = fill(path, sessions=2, turns=2)
    (damaged,) = damage_archives(path, 1)
    store = SessionStore(path)
    store.open()
    for session_id, conversation in kept.items():
        record = store.record(session_id)
        assert record.conversation.messages == conversation.messages
        for message in record.conversation.messages.values():
            if message.reply:
                assert len(store.load_tokens(message.id)) == (0 if message.id == damaged else 8)
        lines = [json.loads(line) for line in jsonl_lines(record)]
        for data in lines:
            if data.get("role") == "assistant":
                assert bool(data["reply"]["tokens"]) is (data["id"] != damaged)
                assert data["reply"]["token_ids"]
    assert store.damaged_replies == (damaged,)
    store.close()


@pytest.mark.parametrize("form", ["md", "jsonl", "html"])
def test_every_session_is_exported_and_damaged_tokens_are_named(
    path: Path, form: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = fill(path, sessions=3, turns=2)
    damaged = damage_archives(path, 2)
    monkeypatch.setattr(
        "llama_chat.cli.sessions_store.user_paths", lambda: SimpleNamespace(sessions_file=path)
    )
    export_command.main(["--all", "--format", form], standalone_mode=False)
    told = capfd.readouterr()
    assert all(f"question 1 of {n}" in told.out for n in range(len(kept)))
    if form != "md":  # which tells no tokens
        assert all(message_id in told.err for message_id in damaged)


def test_damaged_columns_do_not_hide_the_session(path: Path) -> None:
    kept = fill(path, sessions=1, turns=2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE replies SET plan = 'p', sampling = '{', token_ids = x'0102'")
        connection.execute("UPDATE messages SET text = CAST(x'41ff42' AS TEXT) WHERE seq = 1")
    store = SessionStore(path)
    store.open()
    (conversation,) = [store.load(session_id) for session_id in kept]
    texts = [message.text for message in conversation.path()]
    assert texts[0] == "A\ufffdB"
    assert texts[1:] == [message.text for message in next(iter(kept.values())).path()][1:]
    store.close()


def check_all_came_back(path: Path, kept: dict[str, Conversation]) -> str:
    """Every message, reply and token is there again; the notice."""
    store = SessionStore(path)
    store.open()
    for session_id, conversation in kept.items():
        assert store.load(session_id).messages == conversation.messages
        for message in conversation.messages.values():
            if message.reply:
                assert [token.token_id for token in store.load_tokens(message.id)] == list(
                    message.reply.token_ids
                )
    (notice,) = store.notices
    store.close()
    check_sound(path)
    return notice


@pytest.mark.parametrize("begin", [0, 16, 100])
def test_rows_outlive_the_first_page(path: Path, begin: int) -> None:
    kept = fill(path, sessions=5, turns=3)
    content = bytearray(path.read_bytes())
    content[begin : begin + 3000] = random.Random(begin).randbytes(3000)
    path.write_bytes(content)
    notice = check_all_came_back(path, kept)
    assert "5 sessions with 30 messages" in notice
    assert "without their tokens" not in notice


def test_what_was_deleted_does_not_come_back_from_the_pages(path: Path) -> None:
    kept = fill(path, sessions=8, turns=3)
    store = SessionStore(path)
    store.open()
    for session_id in list(kept)[::2]:
        assert store.delete_now(session_id)
        del kept[session_id]
    session_id, conversation = next(iter(kept.items()))
    words = Conversation(dict(conversation.messages), conversation.leaf_id).append(Role.USER, "taken back")
    store.add_messages(session_id, [words], words.id)
    store.take_back(session_id, [words.id], conversation.leaf_id)
    store.close()
    content = bytearray(path.read_bytes())
    content[:3000] = random.Random(7).randbytes(3000)
    path.write_bytes(content)
    assert "4 sessions with 24 messages" in check_all_came_back(path, kept)


def test_rows_outlive_the_inner_pages_of_every_table(path: Path) -> None:
    kept = fill(path, sessions=12, turns=6)
    content = bytearray(path.read_bytes())
    inner = [at for at in range(PAGE, len(content), PAGE) if content[at] in (0x02, 0x05)]
    assert inner
    for at in inner:
        content[at : at + PAGE] = bytes(PAGE)
    path.write_bytes(content)
    check_all_came_back(path, kept)


def test_a_log_beside_a_lost_first_page_is_read_too(path: Path, tmp_path: Path) -> None:
    kept = fill(path, sessions=3, turns=2)
    store = SessionStore(path)
    store.open()
    session_id, conversation = next(iter(kept.items()))
    words = conversation.append(Role.USER, "in the log only")
    store.add_messages(session_id, [words], words.id)
    crashed = tmp_path / "crashed" / path.name
    crashed.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{crashed}{suffix}")
    store.close()
    content = bytearray(crashed.read_bytes())
    content[:3000] = random.Random(5).randbytes(3000)
    crashed.write_bytes(content)
    check_all_came_back(crashed, kept)


@pytest.mark.parametrize(
    ("place", "content"),
    [
        (0, b"\xff"),
        (16, b"\x00\x03"),
        (18, b"\x09"),
        (19, b"\x09"),
        (21, b"\x41"),
        (28, b"\xff\xff\xff\xff"),
        (44, b"\x7f\xff\xff\xff"),
        (56, b"\x00\x00\x00\x02"),
        (60, b"\x00\x00\x00\x00"),
        (60, b"\x00\x00\x00\x01"),
        (60, b"\x6b\x00\x00\x01"),
        (68, b"\xde\xad\xbe\xef"),
    ],
)
def test_a_damaged_header_costs_nothing(path: Path, place: int, content: bytes) -> None:
    kept = fill(path, sessions=2, turns=2)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)
    store = SessionStore(path)
    store.open()
    assert {session.id for session in store.list()} == kept.keys()
    for session_id, conversation in kept.items():
        assert store.load(session_id).messages == conversation.messages
    store.close()
    check_sound(path)


def test_other_programs_and_newer_versions_are_refused_as_before(path: Path, tmp_path: Path) -> None:
    fill(path, sessions=1, turns=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    other = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    for file, words in ((path, "newer llama-chat"), (other, "another program")):
        content = file.read_bytes()
        with pytest.raises(StoreError, match=words):
            SessionStore(file).open()
        assert file.read_bytes() == content
        assert damaged_files(file) == []
    with other.open("r+b") as raw:  # "unsupported file format", but nothing says that it is ours
        raw.seek(44)
        raw.write(b"\x7f\xff\xff\xff")
    with pytest.raises(StoreError, match="unsupported file format"):
        SessionStore(other).open()
    assert damaged_files(other) == []


def test_the_notice_tells_what_is_lost(path: Path) -> None:
    kept = fill(path, sessions=2, turns=2)
    damage_archives(path, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        (lost,) = connection.execute("SELECT id FROM messages WHERE seq = 3").fetchone()
        connection.execute("DELETE FROM messages WHERE id = ?", (lost,))
    path.with_name(f"{path.name}.is-damaged").touch()
    store = SessionStore(path)
    store.open()
    (notice,) = store.notices
    assert f"{len(kept)} sessions with 7 messages" in notice
    assert "1 reply came back without its tokens" in notice
    assert "up to 1 message before the last one is lost" in notice
    store.close()


def test_an_emptied_store_is_told_of_once(path: Path) -> None:
    fill(path, sessions=1, turns=1)
    backup = path.with_name(f"{path.name}.v2.backup")
    shutil.copyfile(path, backup)
    path.write_bytes(b"")
    store = SessionStore(path)
    for expected in (1, 0):
        store.open()
        assert len(store.notices) == expected
        if expected:
            assert "was empty: a power cut can do that" in store.notices[0]
            assert str(backup) in store.notices[0]
        store.close()
    assert damaged_files(path) == []


def test_the_log_of_an_emptied_store_is_read(path: Path, tmp_path: Path) -> None:
    store = SessionStore(path)
    store.open()
    session = store.create(date=DATE)
    conversation = Conversation()
    words = conversation.append(Role.USER, "only in the log")
    store.add_messages(session.id, [words], words.id)
    crashed = tmp_path / "crashed" / path.name
    crashed.parent.mkdir()
    shutil.copyfile(f"{path}-wal", f"{crashed}-wal")
    crashed.touch()
    store.close()
    check_all_came_back(crashed, {session.id: conversation})


def test_nonsense_is_no_row_and_takes_no_time(path: Path) -> None:
    store = SessionStore(path)
    store.open()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        shapes = [shape_of(connection, table, is_by_key=False) for table in ("messages", "token_archives")]
    begin_s = time.process_time()
    for seed in range(25):
        path.write_bytes(nonsense(random.Random(seed), pages=8))
        assert len(list(leaf_rows(path, PAGE, shapes))) < 5
    assert time.process_time() - begin_s < 10


def nonsense(chance: random.Random, *, pages: int) -> bytes:
    """Pages that look like leaves of a table or an index; half of them promise one long row 900 times."""
    content = bytearray(chance.randbytes(pages * PAGE))
    for at in range(0, pages * PAGE, PAGE):
        content[at] = chance.choice((0x0D, 0x0A, 0x02))
        content[at + 3 : at + 5] = chance.randrange(2100).to_bytes(2, "big")
        if chance.random() < 0.5:
            codes = b"\x2d" + varint(2 * chance.randrange(2**28) + 12)  # 16 letters, and then many bytes
            length = 1 + len(codes) + 16 + (unvarint(codes[1:]) - 12) // 2
            cell = b"".join((varint(length), b"\x05", bytes([1 + len(codes)]), codes))
            content[at + 2000 : at + 2000 + len(cell)] = cell
            content[at] = 0x0D
            content[at + 3 : at + 5] = (900).to_bytes(2, "big")
            content[at + 8 : at + 8 + 2 * 900] = (2000).to_bytes(2, "big") * 900
    return bytes(content[: chance.randrange(pages * PAGE)])


def varint(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def unvarint(content: bytes) -> int:
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
    return value
