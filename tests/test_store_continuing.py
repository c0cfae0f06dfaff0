from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_helpers import PREFILLED, build_token, build_turn

from llama_chat.conversation import Message, Role
from llama_chat.errors import StoreError
from llama_chat.events import FinishReason, Prefilled, Sampling, Token
from llama_chat.sessions import SessionStore, migrations
from llama_chat.sessions.lease import build_lease

DATE = "2026-11-22"
CUT = replace(build_token(2, piece=b"\xf0\x9f"), text="")
TOKENS = [build_token(0, "Once"), build_token(1, " more"), CUT]
HOT = Sampling(temperature=1.7)
MORE = [build_token(3, "🦙", piece=b"\xa6\x99", sampling=HOT), build_token(4, "!", sampling=HOT)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    yield store
    store.close()


def ended(message: Message, text: str, tokens: list[Token], reason: FinishReason = "stopped") -> Message:
    assert message.reply is not None
    ids = tuple(token.token_id for token in tokens)
    return replace(
        message,
        text=text,
        reply=replace(
            message.reply, token_ids=ids, finish_reason=reason, decode_s=2.5, prompt_tokens=36, prefill_s=0.2
        ),
    )


def keep_stopped(store: SessionStore, *, pack: bool = True) -> tuple[str, Message]:
    """A session, and its reply that was stopped inside a character."""
    conversation, reply = build_turn()
    session = store.create(date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    store.begin_reply(session.id, reply)
    store.note_prefill(reply.id, PREFILLED)
    store.append_tokens(reply.id, TOKENS)
    message = ended(reply, "Once more\ufffd", TOKENS)
    store.finish_reply(session.id, message, pack=pack)
    return session.id, message


def kill_writer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE leases SET boot_id = 'an earlier boot', pid = 1")
        connection.commit()


@pytest.mark.parametrize("pack", [True, False])
def test_a_stopped_reply_goes_on_and_keeps_all_it_had(store: SessionStore, pack: bool) -> None:
    session_id, message = keep_stopped(store, pack=pack)
    for _ in range(2):  # an unclear failure is repeated
        begun = store.reopen_reply(session_id, message)
    assert begun.reply is not None
    assert (begun.text, begun.reply.finish_reason) == ("Once more", None)
    assert begun.reply.token_ids == (100, 101, 102)
    assert store.load(session_id).messages[message.id] == begun
    store.note_prefill(message.id, Prefilled(39, 39, 0.01))
    store.append_tokens(message.id, MORE[:1])
    running = store.load(session_id).messages[message.id]
    assert running.text == "Once more🦙"
    assert running.reply is not None
    assert running.reply.decode_s == 2.5
    store.append_tokens(message.id, MORE[1:])
    whole = ended(begun, "Once more🦙!", [*TOKENS, *MORE], "end")
    store.finish_reply(session_id, whole)
    assert store.load(session_id).messages[message.id] == whole
    assert store.load(session_id).leaf_id == message.id
    tokens = store.load_tokens(message.id)
    assert [(t.index, t.text, t.sampling) for t in tokens] == [
        (t.index, t.text, t.sampling) for t in [*TOKENS, *MORE]
    ]
    assert [hit.message_id for hit in store.search("once")] == [message.id]


def test_a_crash_in_a_continued_reply_loses_nothing(store: SessionStore) -> None:
    session_id, message = keep_stopped(store)
    store.reopen_reply(session_id, message)
    store.note_prefill(message.id, Prefilled(39, 39, 0.01))
    store.append_tokens(message.id, MORE)
    kill_writer(store.path)
    crashed = store.load(session_id).messages[message.id]
    assert crashed.reply is not None
    assert (crashed.text, crashed.reply.finish_reason) == ("Once more🦙!", "interrupted")
    assert crashed.reply.token_ids == (100, 101, 102, 103, 104)
    assert crashed.reply.prompt_tokens == 36
    assert crashed.reply.prefill_s == PREFILLED.seconds
    assert crashed.reply.decode_s == pytest.approx(2.5 + MORE[1].seconds)
    begun = store.reopen_reply(session_id, crashed)
    assert begun.text == crashed.text
    assert [token.text for token in store.load_tokens(message.id)] == ["Once", " more", "", "🦙", "!"]


def test_a_mark_that_the_model_wrote_stays(store: SessionStore) -> None:
    conversation, reply = build_turn()
    session = store.create(date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    tokens = [build_token(0, "odd \ufffd")]
    store.begin_reply(session.id, reply)
    store.append_tokens(reply.id, tokens)
    store.finish_reply(session.id, ended(reply, "odd \ufffd", tokens))
    stopped = store.load(session.id).messages[reply.id]
    assert store.reopen_reply(session.id, stopped).text == "odd \ufffd"


def test_a_reply_that_another_chat_writes_is_not_taken_over(store: SessionStore) -> None:
    session_id, message = keep_stopped(store)
    store.reopen_reply(session_id, message)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("UPDATE leases SET pid = ?, boot_id = '', started = ''", (other.pid,))
            connection.commit()
        with pytest.raises(StoreError, match="written by another chat"):
            store.reopen_reply(session_id, message)
        store.append_tokens(message.id, MORE)
    with pytest.raises(StoreError, match=r"5 tokens in the store, not the 3") as refused:
        store.reopen_reply(session_id, message)
    assert refused.value.hint
    assert store.load(session_id).messages[message.id].text == "Once more🦙!"


def test_a_reply_that_the_store_does_not_have_is_begun(store: SessionStore) -> None:
    conversation, reply = build_turn()
    session = store.create(date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    message = ended(reply, "Once", TOKENS[:1])
    store.reopen_reply(session.id, message)
    running = store.load(session.id)
    assert running.leaf_id == message.id
    assert running.messages[message.id].text == "Once"


# --- tidying and holding ------------------------------------------------------------------------------


def test_tidying_ends_the_replies_of_dead_processes_only(store: SessionStore) -> None:
    session_id, message = keep_stopped(store)
    store.reopen_reply(session_id, message)
    kill_writer(store.path)
    living_id, living = keep_stopped(store)
    store.reopen_reply(living_id, living)
    store.append_tokens(living.id, MORE)
    store.tidy()
    with closing(sqlite3.connect(store.path)) as connection:
        ends = dict(connection.execute("SELECT message_id, finish_reason FROM replies"))
    assert ends == {message.id: "interrupted", living.id: None}
    assert [hit.message_id for hit in store.search("once")] == [living.id, message.id]


def test_who_has_a_session_open_is_known(store: SessionStore) -> None:
    session_id, _ = keep_stopped(store)
    assert not store.hold(session_id)
    assert not store.hold(session_id), "twice in one process is no other"
    script = (
        "import sys\nfrom pathlib import Path\nfrom llama_chat.sessions import SessionStore\n"
        "store = SessionStore(Path(sys.argv[1])); store.open()\n"
        "print(store.hold(sys.argv[2]), flush=True); input(); store.let_go(sys.argv[2]); store.close()\n"
        "print('let go', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(store.path), session_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert store.hold(session_id)
        print(file=other.stdin, flush=True)
        assert other.stdout.readline() == "let go\n"
        assert not store.hold(session_id)
        print(file=other.stdin, flush=True)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("INSERT INTO session_leases VALUES (?, 1, 'an earlier boot', '7')", (session_id,))
        connection.commit()
        assert not store.hold(session_id)
        holders = connection.execute("SELECT pid FROM session_leases").fetchall()
    assert holders == [(build_lease().pid,)], "the dead are forgotten"
    store.let_go(session_id)
    store.let_go(session_id)
    with pytest.raises(StoreError, match="no session"):
        store.hold("nope")


def test_a_reply_being_written_elsewhere_holds_its_session(store: SessionStore) -> None:
    session_id, message = keep_stopped(store)
    store.reopen_reply(session_id, message)
    assert not store.hold(session_id)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("UPDATE leases SET pid = ?, boot_id = '', started = ''", (other.pid,))
            connection.commit()
        assert store.hold(session_id)


# --- the second version -------------------------------------------------------------------------------


def test_a_store_of_the_first_version_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, path, migrations.MIGRATIONS[:1])
        connection.execute("INSERT INTO models VALUES (1, 'tiny', 'f00d', 'scratch', 'cpu', 'f32', '')")
        connection.execute(
            "INSERT INTO sessions VALUES ('5e55', 'Old', 1, 2, 3, '2026-11-01', 'tiny', 1, NULL, 2, NULL)"
        )
        connection.execute("INSERT INTO messages VALUES (7, 'm1', '5e55', NULL, 'user', 'An old llama', 1)")
        connection.execute("INSERT INTO messages VALUES (9, 'm2', '5e55', 'm1', 'assistant', '', 2)")
        connection.execute(
            "INSERT INTO replies VALUES ('m2', 'tiny', 1, 5, '{}', x'', NULL, '', 0, 0, 0, 0, NULL, NULL)"
        )
        connection.execute(
            "INSERT INTO tokens VALUES ('m2', 0, 100, NULL, 'Indeed', 'sampler', -1.0, 1, 0.1, ?)",
            (sqlite3.Binary(bytes(13)),),
        )
        connection.execute("INSERT INTO leases VALUES ('m2', 1, 'an earlier boot', '')")
    store = SessionStore(path)
    store.open()
    assert [hit.message_id for hit in store.search("llama")] == ["m1"]
    store.tidy()
    assert [hit.message_id for hit in store.search("indeed")] == ["m2"]
    record = store.record("5e55")
    assert record.models["m2"].path == ""
    assert [m.role for m in record.conversation.messages.values()] == [Role.USER, Role.ASSISTANT]
    assert [token.text for token in record.tokens_of("m2")] == ["Indeed"]
    store.close()
    with closing(sqlite3.connect(migrations.backup_path(path, 1))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT text FROM messages").fetchall() == [("An old llama",), ("",)]
