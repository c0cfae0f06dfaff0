"""Sessions out of the store as JSONL and back: nothing is lost; a damaged file is refused as a whole."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_helpers import (
    PREFILLED,
    build_candidates,
    build_end,
    build_reply_message,
    build_token,
    build_tokens,
)

from llama_chat.conversation import Conversation, Message, Reply, Role, new_id
from llama_chat.events import ModelInfo, Sampling, Token
from llama_chat.reply_builder import ReplyBuilder
from llama_chat.sessions import SessionRecord, SessionStore
from llama_chat.sessions.archive import pack_archive, unpack_archive
from llama_chat.sessions.exchange import ExchangeError, archive_check, importing, lines, read_sessions
from llama_chat.sessions.exchange.archive_check import check_archive
from llama_chat.sessions.exchange.fields import BadValueError, parse_json, shown
from llama_chat.sessions.exchange.importing import Imported, Source, import_files
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.sessions.words import end_words, notes_of

INFO = ModelInfo(
    name="tiny-Q4",
    path="models/tiny.gguf",
    engine="scratch",
    architecture="llama",
    device="cpu",
    dtype="Q4_1",
    context_length=2048,
    vocab_size=49152,
    parameters=1,
    weights_bytes=1,
    fingerprint="f1",
    chat_template="{{ messages }}",
    special_tokens=(),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "one" / "sessions.sqlite3")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "two" / "sessions.sqlite3")
    opened.open()
    yield opened
    opened.close()


def answer(store: SessionStore, session_id: str, parent_id: str, tokens: list[Token]) -> Message:
    """A reply of these tokens, written and ended in the store."""
    reply = Reply(2**32 - 1, tokens[0].sampling, INFO.name, context_start=parent_id)
    builder = ReplyBuilder(Message(new_id(), parent_id, Role.ASSISTANT, "", time.time(), reply))
    store.begin_reply(session_id, builder.message)
    store.append_tokens(builder.message.id, tokens)
    for event in (PREFILLED, *tokens, build_end(len(tokens), "length")):
        builder.feed(event)
    store.finish_reply(session_id, builder.message)
    return builder.message


def build_session(store: SessionStore, title: str = "Tests \x1b[31m\u202e <b>") -> str:
    """A tree with two branches, moved sliders, a token of half a character, and odd characters."""
    session = store.create(title=title, model=INFO.name, date="2026-11-22")
    store.set_model(session.id, INFO)
    conversation = Conversation()
    conversation.append(Role.SYSTEM, "Be brief.")
    question = conversation.append(Role.USER, "Was heißt das?\r\n```\n\x1b]0;x\x07 \ud800 \x00 \u2028 🦙")
    store.add_messages(session.id, list(conversation.messages.values()), question.id)
    hot = Sampling(temperature=1.5, top_k=7)
    rich = [
        replace(token, candidates=build_candidates(n, penalised=True))
        for n, token in enumerate(build_tokens(3))
    ]
    answer(store, session.id, question.id, rich)
    cut = [build_token(0, piece=b"\xf0\x9f", text=""), build_token(1, "🦙", piece=b"\xa6\x99", sampling=hot)]
    cut[0] = replace(cut[0], text="", logprob=float("nan"))
    second = answer(
        store, session.id, question.id, [*cut, *[replace(t, sampling=hot) for t in build_tokens(3, 2)]]
    )
    follow = Message(new_id(), second.id, Role.USER, "And then?", time.time())
    store.add_messages(session.id, [follow], follow.id)
    return session.id


def write(store: SessionStore, path: Path, *session_ids: str) -> Path:
    parts = [line for each in session_ids for line in jsonl_lines(store.record(each))]
    path.write_text("".join(parts), encoding="utf-8", newline="")
    return path


def bring_in(store: SessionStore, *paths: Path) -> list[Imported]:
    return import_files(store, [Source(path, path.name) for path in paths])


def assert_equal(left: SessionRecord, right: SessionRecord) -> None:
    assert left.info == right.info
    assert list(left.conversation.messages.values()) == list(right.conversation.messages.values())
    assert left.conversation.leaf_id == right.conversation.leaf_id
    assert left.models == right.models
    for message in left.conversation.messages.values():
        if message.reply is not None:
            assert repr(list(left.tokens_of(message.id))) == repr(list(right.tokens_of(message.id)))  # nan


def test_an_exported_session_comes_back_equal_with_every_token(
    store: SessionStore, other: SessionStore, tmp_path: Path
) -> None:
    session_id = build_session(store)
    path = write(store, tmp_path / "talk.jsonl", session_id)
    recorded = store.record(session_id)
    (from_file,) = read_sessions(path)
    assert_equal(recorded, from_file)
    (imported,) = bring_in(other, path)
    assert not imported.copy_of
    assert_equal(recorded, other.record(session_id))
    assert write(other, tmp_path / "again.jsonl", session_id).read_bytes() == path.read_bytes()
    assert other.search("heißt")[0].session.id == session_id
    assert other.last() == other.find(session_id)


def test_a_file_of_many_sessions_keeps_their_order(
    store: SessionStore, other: SessionStore, tmp_path: Path
) -> None:
    ids = [build_session(store, f"Session {n}") for n in range(3)]
    path = write(store, tmp_path / "all.jsonl", *ids)
    bring_in(other, path)
    assert [info.id for info in other.list()] == [info.id for info in store.list()] == ids[::-1]


def test_a_session_that_is_there_becomes_a_copy_under_new_ids(store: SessionStore, tmp_path: Path) -> None:
    session_id = build_session(store)
    path = write(store, tmp_path / "talk.jsonl", session_id)
    (imported,) = bring_in(store, path)
    assert imported.copy_of == session_id
    original, copy = store.record(session_id), store.record(imported.info.id)
    assert not original.conversation.messages.keys() & copy.conversation.messages.keys()
    pairs = list(
        zip(original.conversation.messages.values(), copy.conversation.messages.values(), strict=True)
    )
    new_ids = {old.id: new.id for old, new in pairs} | {None: None}
    for old, new in pairs:
        assert (new.role, new.text, new.parent_id) == (old.role, old.text, new_ids[old.parent_id])
        if old.reply is not None and new.reply is not None:
            assert new.reply == replace(old.reply, context_start=new_ids[old.reply.context_start])
            assert repr(copy.tokens_of(new.id)) == repr(original.tokens_of(old.id))
    assert copy.conversation.leaf_id == new_ids[original.conversation.leaf_id]


def test_a_reply_that_was_being_written_comes_back_as_interrupted(
    store: SessionStore, other: SessionStore, tmp_path: Path
) -> None:
    session_id = build_session(store)
    leaf_id = store.load(session_id).leaf_id
    running = Message(new_id(), leaf_id, Role.ASSISTANT, "", time.time(), Reply(7, Sampling(), INFO.name))
    store.begin_reply(session_id, running)
    store.append_tokens(running.id, build_tokens(2))
    bring_in(other, write(store, tmp_path / "talk.jsonl", session_id))
    reply = other.load(session_id).messages[running.id].reply
    assert reply is not None
    assert (reply.finish_reason, len(reply.token_ids)) == ("interrupted", 2)


# --- files that are damaged or meant badly ----------------------------------------------------------


def change_line(number: int, change: Callable[[dict[str, Any]], Any]) -> Callable[[list[str]], list[str]]:
    def changed(written: list[str]) -> list[str]:
        value = json.loads(written[number - 1])
        found = change(value)
        text = found if isinstance(found, str) else json.dumps(value)
        return [*written[: number - 1], text, *written[number:]]

    return changed


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda line: line.update(values)


def in_reply(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda line: line["reply"].update(values)


def in_tokens(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda line: line["reply"]["tokens"].update(values)


def as_text(old: str, new: str) -> Callable[[dict[str, Any]], str]:
    return lambda line: json.dumps(line).replace(old, new)


def bomb(line: dict[str, Any]) -> None:
    line["reply"]["tokens"]["packed"] = b64encode(zlib.compress(bytes(1_000_001), 1)).decode()


DAMAGES: list[tuple[str, Callable[[list[str]], list[str]], str]] = [
    ("cut in a line", lambda w: [*w[:3], w[3][:100]], "line 4: the file ends in the middle of it"),
    ("cut after a line", lambda w: w[:3], "line 1: the file ends after 2 of the 5 messages of this session"),
    ("not JSON", lambda w: [w[0], "hello", *w[2:]], "line 2: this is not JSON"),
    ("not an object", lambda w: [w[0], "[1]", *w[2:]], "line 2: the message should be an object, not a list"),
    ("newer", change_line(1, put(version=2)), "line 1: it was written by a newer llama-chat"),
    ("another program", change_line(1, put(format="other")), "line 1: this is no session of llama-chat"),
    ("unknown field", change_line(3, put(more=1)), "line 3: the message has a field 'more'"),
    (
        "cycle",
        change_line(2, lambda v: v.update(parent_id=v["id"])),
        "line 2: no line before it is its parent",
    ),
    ("missing parent", change_line(3, put(parent_id="0" * 16)), "line 3: no line before it is its parent"),
    ("twice", lambda w: [*w, *w], "line 7: the id"),
    ("too many", lambda w: [*w, w[1]], "line 7: this is no session"),
    ("role", change_line(3, put(role="tool")), "line 3: 'role' of the message should be one of system, user"),
    ("type", change_line(3, put(text=5)), "line 3: 'text' of the message should be a text, not 5"),
    ("no text", change_line(3, lambda v: v.pop("text") and None), "line 3: the message has no 'text'"),
    ("id", change_line(3, put(id="../../x")), "line 3: 'id' of the message should be 16 hexadecimal digits"),
    ("bool", change_line(3, put(created_at=True)), "line 3: 'created_at' of the message should be a number"),
    ("NaN", change_line(3, put(created_at=float("nan"))), "line 3: NaN is no number of JSON"),
    ("huge", change_line(3, as_text('"created_at": 1', '"created_at": 1e999')), "line 3: "),
    ("digits", change_line(3, as_text('"role": "user"', f'"role": {"9" * 5000}')), "too many digits"),
    ("seed", change_line(4, in_reply(seed=2**80)), "line 4: 'seed' of the reply should be a whole number"),
    ("sampling", change_line(4, in_reply(sampling={"temperature": -1.0})), "line 4: 'temperature'"),
    ("reason", change_line(4, in_reply(finish_reason=[])), "line 4: 'finish_reason' should be one of"),
    ("plan", change_line(4, in_reply(plan={"forwards": [{"start": -1}]})), "line 4: 'start' of a forward"),
    ("token ids", change_line(4, in_reply(token_ids=[1, -2])), "line 4: 'token_ids' should be whole numbers"),
    ("other ids", change_line(4, in_reply(token_ids=[9, 9, 9])), "line 4: the packed tokens are not those"),
    ("model", change_line(4, in_reply(model_record=5)), "line 4: 'model_record' should count"),
    ("base64", change_line(4, in_tokens(packed="%%")), "line 4: 'packed' is not base64"),
    ("no zlib", change_line(4, in_tokens(packed=b64encode(b"x" * 99).decode())), "line 4: the packed tokens"),
    ("bomb", change_line(4, bomb), "line 4: the packed tokens are damaged"),
    ("changes", change_line(4, in_tokens(sampling_changes=[[0]])), "line 4: a change of the sampling"),
    ("leaf", change_line(1, put(leaf_id="0" * 16)), "line 1: the session's 'leaf_id'"),
    ("nested", lambda w: [w[0], "[" * 100_000, *w[2:]], "line 2: it is nested too deeply"),
    ("date", change_line(1, put(date="tomorrow")), "line 1: 'date' of the line should be a date"),
    ("long title", change_line(1, put(title="x" * 10_001)), "line 1: 'title' of the line is longer than"),
    ("half a name", change_line(4, in_reply(model="\ud800")), "line 4: 'model' of the reply holds half"),
    ("empty", lambda w: [], "is empty"),
    ("a picture", lambda w: ["\x89PNG"], "line 1: this is no export of sessions"),
]


@pytest.mark.parametrize(("damage", "words"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_a_damaged_file_imports_nothing_and_names_the_line(
    damage: Callable[[list[str]], list[str]],
    words: str,
    store: SessionStore,
    other: SessionStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_check, "MOST_UNPACKED_BYTES", 1_000_000)
    good = write(store, tmp_path / "good.jsonl", build_session(store))
    bad = tmp_path / "bad.jsonl"
    written = good.read_text(encoding="utf-8").splitlines()
    text = "\n".join(damage(written))
    bad.write_text(text if "ends in the middle" in words else f"{text}\n" * bool(text), encoding="utf-8")
    with pytest.raises(ExchangeError) as caught:
        bring_in(other, good, bad)
    assert words in caught.value.message
    assert caught.value.message.startswith("bad.jsonl")
    assert other.list() == []


def test_a_folder_a_missing_file_and_a_line_too_long(
    tmp_path: Path, other: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 1000)
    long = tmp_path / "long.jsonl"
    long.write_text('{"a": "' + "x" * 2000 + '"}\n')
    for path, words in (
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "none", "cannot be read: No such file"),
        (long, "line 1: it is longer than 1,000 bytes"),
    ):
        with pytest.raises(ExchangeError, match=words):
            bring_in(other, path)


def test_a_failure_while_writing_leaves_the_store_as_it_was(
    store: SessionStore, other: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(store, tmp_path / "all.jsonl", build_session(store), build_session(store))
    monkeypatch.setattr(importing, "_reveal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bring_in(other, path)
    assert other.list() == other.deleted() == other.search("heißt") == []


def test_a_chat_that_writes_meanwhile_hardly_waits(
    tmp_path: Path, other: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read between the steps, not within one, and nothing is shown before all is there."""
    path, count = tmp_path / "long.jsonl", 50
    with path.open("w", encoding="utf-8") as file:
        for n in range(2):
            head = session_line(id=f"{n + 1:016x}", messages=count)
            file.write(json.dumps(head) + "\n")
            for k in range(count):
                file.write(
                    json.dumps(message_line(f"{n * count + k + 100:016x}", text="word " * 4000)) + "\n"
                )
    chat = SessionStore(other.path)
    chat.open()
    mine = chat.create(title="Mine", model="m", date="")
    writes, inside = [], []

    def write_meanwhile(_pause_s: float) -> None:
        message = Message(new_id(), None, Role.USER, "x", 1.0)
        chat.add_messages(mine.id, [message], message.id)  # within a write of the import it would wait 5 s
        writes.append([info.title for info in chat.list()])

    def packed_of(session: object, message_id: str) -> None:
        inside.append(other._database.connection().in_transaction)

    monkeypatch.setattr(importing.time, "sleep", write_meanwhile)
    monkeypatch.setattr("llama_chat.sessions.exchange.reading._Session._packed_of", packed_of)
    bring_in(other, path)
    chat.close()
    assert len(writes) >= 5
    assert {tuple(titles) for titles in writes} == {("Mine",)}
    assert len(inside) == 2 * count
    assert not any(inside)
    assert len(other.list()) == 3


def test_what_a_chat_writes_during_an_export_does_not_spoil_it(
    store: SessionStore, other: SessionStore, tmp_path: Path
) -> None:
    """The record tells how long the reply was; the tokens are read later."""
    session = store.create(title="Live", model=INFO.name, date="")
    question = Message(new_id(), None, Role.USER, "Hello?", 1.0)
    store.add_messages(session.id, [question], question.id)
    reply = build_reply_message(question.id)
    store.begin_reply(session.id, reply)
    store.append_tokens(reply.id, build_tokens(3))
    exported = jsonl_lines(store.record(session.id))
    parts = [next(exported)]
    store.append_tokens(reply.id, build_tokens(2, 3))
    path = tmp_path / "live.jsonl"
    path.write_text("".join([*parts, *exported]))
    bring_in(other, path)
    assert [token.token_id for token in other.load_tokens(reply.id)] == [100, 101, 102]
    exported = jsonl_lines(store.record(session.id))
    parts = [next(exported)]
    ended = replace(reply, reply=replace(reply.reply, token_ids=tuple(range(100, 106)), finish_reason="end"))
    store.append_tokens(reply.id, [build_token(5)])
    store.finish_reply(session.id, ended)  # packed, and longer than the record
    path.write_text("".join([*parts, *exported]))
    (imported,) = bring_in(other, path)
    (_, copy) = other.load(imported.info.id).path()
    assert len(other.load_tokens(copy.id)) == 5


def session_line(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"format": "llama-chat session", "version": 1, "id": "0" * 16, "title": "t"}
    values |= {"model": "m", "created_at": 1, "updated_at": 1, "date": "", "leaf_id": None}
    return values | {"messages": 0, "models": []} | changes


def message_line(message_id: str, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"id": message_id, "parent_id": None, "role": "user", "text": "Hi"}
    return values | {"created_at": 1, "reply": None} | changes


def test_a_hostile_line_takes_no_memory_to_speak_of(tmp_path: Path) -> None:
    """12 MB of empty objects would be 400; brackets in a text are nothing but text."""
    path = tmp_path / "hostile.jsonl"
    head = json.dumps(session_line(messages=1))
    path.write_text(head.replace('"models": []', '"models": [' + ",".join(["{}"] * 4_000_000) + "]") + "\n")
    tracemalloc.start()
    with pytest.raises(ExchangeError, match="more than 2,000,000 values"):
        list(read_sessions(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80_000_000
    path.write_text(f"{head}\n{json.dumps(message_line('1' * 16, text='[{,' * 800_000))}\n")
    assert len(list(read_sessions(path))) == 1


def test_more_ids_models_or_messages_than_can_be_are_refused(
    store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_ = write(store, tmp_path / "talk.jsonl", build_session(store)).read_text().splitlines()
    values = [json.loads(line) for line in lines_]
    path = tmp_path / "hostile.jsonl"

    def refused(values: list[Any], what: str) -> None:
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
        with pytest.raises(ExchangeError, match=what):
            list(read_sessions(path))

    refused([values[0] | {"models": values[0]["models"] * 1001}, *values[1:]], "more than 1,000 items")
    reply = next(value["reply"] for value in values[1:] if value["reply"])
    kept, reply["token_ids"] = reply["token_ids"], [1] * 200_001
    refused(values, "more than 200,000 items")
    reply["token_ids"] = kept
    monkeypatch.setattr("llama_chat.sessions.exchange.reading._MOST_MEMORY_BYTES", 3000)
    refused(values, "takes more than 3,000 bytes of memory")


def test_a_file_that_changes_while_it_is_imported_is_not_imported(
    store: SessionStore, other: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(store, tmp_path / "talk.jsonl", build_session(store))
    reveal = importing._reveal

    def change_it(*values: Any) -> None:
        reveal(*values)
        path.write_text(path.read_text() + "\n")

    monkeypatch.setattr(importing, "_reveal", change_it)
    with pytest.raises(ExchangeError, match="was changed while it was read"):
        bring_in(other, path)
    assert other.list() == other.deleted() == []


def test_a_long_file_is_read_in_little_memory(tmp_path: Path, other: SessionStore) -> None:
    """24 MB in 60 sessions: what is held at a time is one of them."""
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(60):
            head = {
                "format": "llama-chat session",
                "version": 1,
                "id": f"{n:08x}{0:08x}",
                "title": "t",
                "model": "",
            }
            head |= {
                "created_at": 1,
                "updated_at": 1,
                "date": "",
                "leaf_id": None,
                "messages": 4,
                "models": [],
            }
            file.write(json.dumps(head) + "\n")
            for k in range(4):
                line = {"id": f"{n:08x}{k + 1:08x}", "parent_id": None, "role": "user", "created_at": 1}
                file.write(json.dumps(line | {"text": "words " * 16_000, "reply": None}) + "\n")
    tracemalloc.start()
    assert sum(1 for _ in read_sessions(path)) == 60
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 20_000_000
    assert peak_bytes < 4_000_000


def test_whatever_passes_the_check_can_be_unpacked() -> None:
    chance = random.Random(4)
    tokens = [replace(token, candidates=build_candidates(token.index)) for token in build_tokens(4)]
    good = zlib.decompress(pack_archive(tokens))
    samplings = [(0, Sampling())]
    passed = 0
    for _ in range(400):
        changed = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(changed))
            if chance.random() < 0.3:
                changed[place : place + 4] = struct.pack("<I", chance.choice((0, 1, 2**31, 2**32 - 1)))
            else:
                changed[place] = chance.randrange(256)
        packed = zlib.compress(bytes(changed[: chance.choice((len(changed), place))]), 1)
        try:
            _, ids = check_archive(packed)
        except BadValueError:
            continue
        passed += 1
        assert [token.token_id for token in unpack_archive(packed, samplings)] == list(ids)
    assert 20 < passed < 380


def test_packed_tokens_are_packed_to_the_same_bytes_again() -> None:
    tokens = [replace(token, candidates=build_candidates(token.index, bins=512)) for token in build_tokens(9)]
    packed = pack_archive(tokens)
    assert pack_archive(unpack_archive(packed, [(0, Sampling())])) == packed


def test_packed_says_what_readable_says(store: SessionStore, tmp_path: Path) -> None:
    path = write(store, tmp_path / "talk.jsonl", build_session(store))
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[3])
    tokens = line["reply"]["tokens"]
    unpacked = unpack_archive(b64decode(tokens["packed"]), [(0, Sampling())])
    assert tokens["readable"]["text"] == [token.text for token in unpacked]
    assert tokens["readable"]["rank"] == [token.rank for token in unpacked]
    assert not any(character in path.read_text(encoding="utf-8") for character in "\x1b\u202e\u2028\x7f")


def test_notes_tell_of_sliders_that_were_moved() -> None:
    warm = Sampling(temperature=0.85)
    tokens = [build_token(n, sampling=warm if n >= 4 else Sampling()) for n in range(6)]
    reply = Reply(7, Sampling(), token_ids=tuple(range(6)), finish_reason="end")
    message = Message(new_id(), None, Role.ASSISTANT, "", 0.0, reply)
    assert notes_of(message) == ["6 tokens", "seed 7", "temperature 0.7"]
    assert notes_of(message, tokens)[2:] == ["temperature 0.7 → 0.85 at token 4"]
    dragged = [build_token(n, sampling=Sampling(top_k=40 - n)) for n in range(20)]
    assert notes_of(message, dragged)[2:] == [
        "temperature 0.7",
        "top-k 40 → 39 at token 1 → 38 at token 2 → 37 at token 3 → … → 21 at token 19",
    ]


@pytest.mark.parametrize(
    ("count", "last", "words"),
    [
        (512, None, "cut: max new tokens was 512"),
        (9, Sampling(max_new_tokens=9), "cut: max new tokens was 9"),
        (500, None, "cut: the context was full (512 tokens), or max new tokens was set lower"),
    ],
)
def test_what_cut_a_reply_is_told_where_it_is_known(count: int, last: Sampling | None, words: str) -> None:
    ids = tuple(range(count))
    assert (
        end_words(Reply(7, Sampling(), token_ids=ids, finish_reason="length", prompt_tokens=12), last)
        == words
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"a": "b', "(Unterminated string starting at character 7)"),
        ('{"a": "\n"}', "(Invalid control character at character 8)"),
        ("{", "at character 2)"),
    ],
)
def test_what_is_no_json_is_told_in_a_sentence(line: str, words: str) -> None:
    with pytest.raises(BadValueError) as raised:
        parse_json(line)
    assert words in str(raised.value)


def test_values_are_shown_as_json_has_them() -> None:
    assert [shown(value) for value in (None, True, 1, "a")] == ["null", "true", "1", "'a'"]
