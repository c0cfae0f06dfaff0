"""The tokens of the models in the store: kept once, through migrations, deaths, damage, export and import."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_engine import INFO, VOCABULARY, FakeEngine
from store_helpers import build_tokens, build_turn
from test_chat_app import Home, chat

from llama_chat.chat.tokens.naming import ask_names, has_same_tokens
from llama_chat.conversation import Message
from llama_chat.distribution.names import TokenNames, vocabulary_digest
from llama_chat.events import ModelInfo
from llama_chat.sessions import SessionStore, vocabularies
from llama_chat.sessions.exchange.importing import Source, import_files
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.sessions.failures import UNREADABLE
from llama_chat.sessions.vocabularies import check_vocabulary, pack_vocabulary, unpack_vocabulary

DATE = "2026-11-22"
OLD_STORE = Path(__file__).parent / "data" / "store_v3.sqlite3.zlib"
"""By the llama-chat of 2026-11-22, before it kept vocabularies: a question and a reply of 5 tokens."""
PIECES = [b"<|end|>", b" fox", b"\n", b"\xe2\x80", b"", *(f" w{n}".encode() for n in range(5, 3000))]
DIGEST = vocabulary_digest(PIECES, (0,))
TINY = replace(
    INFO,
    name="tiny",
    fingerprint="f00d",
    chat_template="{{ messages }}",
    special_ids=(0,),
    vocabulary_digest=DIGEST,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(path)
    opened.open()
    yield opened
    opened.close()


def answered(store: SessionStore, info: ModelInfo = TINY) -> Message:
    """A reply of the model, with its question, in a session of its own."""
    session = store.create(date=DATE)
    conversation, reply = build_turn()
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    store.set_model(session.id, info)
    store.begin_reply(session.id, reply)
    tokens = build_tokens(3)
    store.append_tokens(reply.id, tokens)
    assert reply.reply is not None
    ids = tuple(token.token_id for token in tokens)
    ended = replace(reply, text="abc", reply=replace(reply.reply, token_ids=ids, finish_reason="end"))
    store.finish_reply(session.id, ended)
    return ended


def keep(store: SessionStore, pieces: Sequence[bytes] = PIECES) -> None:
    store.keep_vocabulary(vocabulary_digest(pieces, (0,)), len(pieces), pack_vocabulary(pieces, (0,)))


def rows_in(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


# --- packed -------------------------------------------------------------------------------------------


def test_a_vocabulary_comes_back_as_it_was() -> None:
    for pieces, special_ids in ((PIECES, (0, 4)), ([], ()), ([b""], (0,))):
        packed = pack_vocabulary(pieces, special_ids)
        names = unpack_vocabulary(packed)
        assert list(names.pieces) == pieces
        assert names.special_ids == set(special_ids)
        check_vocabulary(vocabulary_digest(pieces, special_ids), packed)
    assert (names.piece(0), names.piece(1), names.piece(-1)) == (b"", None, None)
    kept = unpack_vocabulary(pack_vocabulary(PIECES, (0,))).pieces
    assert isinstance(kept, vocabularies.CutPieces)
    assert (kept[-1], kept[1:3]) == (PIECES[-1], PIECES[1:3])
    with pytest.raises(IndexError):
        kept[len(PIECES)]


def test_what_is_none_is_told_by_its_digest() -> None:
    packed = pack_vocabulary(PIECES, (0,))
    for wrong in (
        b"",
        packed[:-9],
        packed[:40] + bytes([packed[40] ^ 1]) + packed[41:],
        zlib.compress(b"x" * 99),
    ):
        with pytest.raises(UNREADABLE):
            check_vocabulary(DIGEST, wrong)
    with pytest.raises(ValueError, match="not those"):
        check_vocabulary(DIGEST, pack_vocabulary(PIECES, (0, 1)))


# --- in the store -------------------------------------------------------------------------------------


def test_a_reply_knows_its_tokens_without_its_model(store: SessionStore, path: Path) -> None:
    reply = answered(store)
    assert len(store.vocabulary_of_reply(reply.id)) == 0
    assert not store.has_vocabulary(DIGEST)
    keep(store)
    store.close()
    store.open()
    names = store.vocabulary_of_reply(reply.id)
    assert [names.quoted(n) for n in (0, 1, 2, 3, 9999)] == ["<|end|>", '" fox"', r'"\n"', "⟨E2 80⟩", "#9999"]
    assert store.vocabulary_of_reply(reply.id) is names  # unpacked once
    assert len(store.vocabulary_of_reply("nobody")) == 0


def test_it_is_kept_once_and_shared_by_all_formats_of_a_model(store: SessionStore, path: Path) -> None:
    replies = [answered(store, replace(TINY, fingerprint=name, dtype=name)) for name in ("q4", "q8")]
    for _ in range(3):
        keep(store)
    assert rows_in(path, "SELECT digest, token_count FROM vocabularies") == [(DIGEST, len(PIECES))]
    assert {id(store.vocabulary_of_reply(reply.id)) for reply in replies} == {
        id(store.vocabulary_of_reply(replies[0].id))
    }


def test_a_damaged_one_is_as_if_it_were_not_there(store: SessionStore, path: Path) -> None:
    reply = answered(store)
    keep(store)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE vocabularies SET packed = x'00ff'")
    assert store.vocabulary_of_reply(reply.id).quoted(1) == "#1"


def test_a_model_whose_tokenizer_was_changed_is_named_by_the_new_one(store: SessionStore) -> None:
    reply = answered(store)
    changed = [*PIECES[:1], b" wolf", *PIECES[2:]]
    keep(store), keep(store, changed)
    answered(store, replace(TINY, vocabulary_digest=vocabulary_digest(changed, (0,))))
    names = store.vocabulary_of_reply(reply.id)
    assert names.quoted(1) == '" wolf"'
    assert not names.fits(store.load_tokens(reply.id))  # which who shows them can ask


# --- an older store -----------------------------------------------------------------------------------


def test_an_older_store_opens_and_its_replies_get_names_when_the_model_runs_again(path: Path) -> None:
    path.write_bytes(zlib.decompress(OLD_STORE.read_bytes()))
    ((reply_id,),) = rows_in(path, "SELECT message_id FROM replies")
    store = SessionStore(path)
    store.open()
    assert isinstance(reply_id, str)
    assert len(store.vocabulary_of_reply(reply_id)) == 0
    model = store.model_of_reply(reply_id)
    assert model is not None
    assert (model.name, model.fingerprint, model.path, model.vocabulary) == (
        *("tiny", "f00d", "/models/tiny.gguf", ""),
    )
    assert has_same_tokens(model, TINY)  # the weights are the same: the loaded model names them meanwhile
    assert not has_same_tokens(model, replace(TINY, fingerprint="beef"))
    assert [token.text for token in store.load_tokens(reply_id)] == [f" w{n}" for n in range(5)]
    answered(store, replace(TINY, device="cuda:0"))  # another row of models, the same weights
    keep(store)
    assert store.vocabulary_of_reply(reply_id).quoted(1) == '" fox"'
    store.close()
    assert (path.parent / f"{path.name}.v3.backup").exists()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- deaths and damage --------------------------------------------------------------------------------

_DIES = """
import os, sqlite3, sys
from llama_chat.sessions import SessionStore
from llama_chat.sessions.vocabularies import insert_vocabulary, pack_vocabulary
from pathlib import Path
store = SessionStore(Path(sys.argv[1]))
store.open()
with store.transaction() as connection:
    insert_vocabulary(connection, sys.argv[2], 40000, pack_vocabulary([b"x%d" % n for n in range(40000)], ()))
    print("written", flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_death_in_between_costs_the_names_alone(store: SessionStore, path: Path) -> None:
    reply = answered(store)
    died = subprocess.run([sys.executable, "-c", _DIES, str(path), DIGEST], capture_output=True, text=True)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "written\n"), died.stderr
    assert not store.has_vocabulary(DIGEST)
    assert len(store.load_tokens(reply.id)) == 3
    keep(store)
    assert store.vocabulary_of_reply(reply.id).quoted(1) == '" fox"'


def test_it_outlives_a_damaged_schema(path: Path) -> None:
    store = SessionStore(path)
    store.open()
    reply = answered(store)
    keep(store)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[100:3000] = random.Random(1).randbytes(2900)
    path.write_bytes(content)
    store.open()
    assert "damaged" in store.notices[0]
    assert store.vocabulary_of_reply(reply.id).quoted(1) == '" fox"'
    assert len(store.load_tokens(reply.id)) == 3
    store.close()


# --- export and import --------------------------------------------------------------------------------


def test_an_imported_session_is_named_by_a_vocabulary_that_is_here(
    store: SessionStore, path: Path, tmp_path: Path
) -> None:
    reply = answered(store)
    ((session_id,),) = rows_in(path, "SELECT session_id FROM messages WHERE role = 'assistant'")
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(jsonl_lines(store.record(str(session_id)))), encoding="utf-8")
    other = SessionStore(tmp_path / "other.sqlite3")
    other.open()
    import_files(other, [Source(file, file.name)])
    names = other.vocabulary_of_reply(reply.id)
    assert (len(names), names.quoted(1)) == (0, "#1")
    keep(other)
    assert other.vocabulary_of_reply(reply.id).quoted(1) == '" fox"'
    other.close()


def test_a_file_does_not_overrule_what_is_known_here(store: SessionStore, tmp_path: Path, path: Path) -> None:
    reply = answered(store)
    ((session_id,),) = rows_in(path, "SELECT session_id FROM messages WHERE role = 'assistant'")
    lines = "".join(jsonl_lines(store.record(str(session_id))))
    file = tmp_path / "talk.jsonl"
    file.write_text(lines.replace(DIGEST, "bad"), encoding="utf-8")
    import_files(store, [Source(file, file.name)])
    keep(store)
    assert rows_in(path, "SELECT vocabulary FROM models") == [(DIGEST,)]
    assert store.vocabulary_of_reply(reply.id).quoted(1) == '" fox"'


# --- in the chat --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (replace(INFO, fingerprint="f00d", vocabulary_digest=DIGEST), '" river"'),
        (replace(INFO, fingerprint="f00d", vocabulary_digest="0ther"), "#7"),
        (replace(INFO, fingerprint="beef", vocabulary_digest=DIGEST), '" river"'),
        (None, "#7"),
    ],
)
def test_until_it_is_kept_the_same_model_at_hand_names_them(
    store: SessionStore, info: ModelInfo | None, name: str
) -> None:
    reply = answered(store)
    engine = None if info is None else FakeEngine(info=info)
    worker = SimpleNamespace(ask=lambda function: function(engine) if engine is not None else None)
    done: Future[TokenNames] = Future()
    bridge = SimpleNamespace(store=store, worker=worker, read=lambda f, *a: (done.set_result(f(*a)), done)[1])
    assert ask_names(bridge, reply.id).result().quoted(7) == name  # type: ignore[arg-type]  # as much as it asks


async def test_the_first_reply_keeps_what_its_tokens_are_called(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await user.say("first")
        await user.idle()
        bridge = user.screen.bridge
        await user.until(lambda: bridge.store.has_vocabulary(INFO.vocabulary_digest), "kept")
        await user.say("second")
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1]
        names = ask_names(bridge, reply.id).result(10)
        assert names.quoted(7) == '" river"'
        assert isinstance(names.pieces, vocabularies.CutPieces)  # out of the store
        file = bridge.store.path
    assert rows_in(file, "SELECT digest, token_count FROM vocabularies") == [
        (INFO.vocabulary_digest, len(VOCABULARY))
    ]
    assert rows_in(file, "SELECT DISTINCT vocabulary FROM models") == [(INFO.vocabulary_digest,)]
    store = SessionStore(file)
    store.open()
    assert store.vocabulary_of_reply(reply.id).quoted(10) == '" ⟨E2 80⟩"'
    store.close()
