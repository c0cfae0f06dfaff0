from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_helpers import build_reply_message, build_tokens

from llama_chat.conversation import Conversation, Role, new_id
from llama_chat.sessions import SearchHit, SessionStore
from llama_chat.sessions.search import query_items

DATE = "2026-11-22"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    yield store
    store.close()


def keep(store: SessionStore, *texts: str) -> str:
    """The id of a new session of these messages."""
    conversation = Conversation()
    for place, text in enumerate(texts):
        conversation.append(Role.ASSISTANT if place % 2 else Role.USER, text)
    session = store.create(title=texts[0], date=DATE)
    store.add_messages(session.id, list(conversation.messages.values()), conversation.leaf_id)
    return session.id


def found(store: SessionStore, words: str) -> list[str]:
    """The texts around the hits, the matches in brackets."""
    return ["".join(f"[{t}]" if match else t for t, match in hit.snippet) for hit in store.search(words)]


def check_index(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO message_words (message_words, rank) VALUES ('integrity-check', 1)")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_hit_tells_where_it_is(store: SessionStore) -> None:
    session_id = keep(store, "Where do llamas live?", "Llamas live in the Andes.")
    keep(store, "Nothing here")
    (hit,) = store.search("Andes")
    message = next(m for m in store.load(session_id).messages.values() if "Andes" in m.text)
    assert hit == SearchHit(
        store.find(session_id),
        message.id,
        Role.ASSISTANT,
        message.created_at,
        (("Llamas live in the ", False), ("Andes", True), (".", False)),
    )
    assert len(store.search("llamas live")) == 2
    assert len(store.search("llamas live", limit=1)) == 1
    assert store.search("llamas live", limit=0) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ship", ["A [ship] sails.", "[Shipwrecks] and sails"]),  # the last word is a prefix
        ("ship sails", ["A [ship] [sails]."]),
        ("ship* sails", ["A [ship] [sails].", "[Shipwrecks] and [sails]"]),
        ('"ship sails"', ["A [ship sails]."]),
        ('"and sai', ["Shipwrecks [and sails]"]),  # still being typed
        ('"and sai"', []),
        ('"and sai"*', ["Shipwrecks [and sails]"]),
        ("SAILS élan", ["Vélos, [elan] & [sails] – “naïve”"]),
        ("naive velos", ["[Vélos], elan & sails – “[naïve]”"]),
        ("what's", ["NEAR AND [what's] (here): NOT"]),
        ("near AND (here): NOT", ["[NEAR] [AND] what's ([here]): [NOT]"]),
        ("wonder", []),
    ],
)
def test_words_phrases_and_prefixes(store: SessionStore, words: str, expected: list[str]) -> None:
    keep(store, "A ship sails.")
    keep(store, "Shipwrecks and sails")
    keep(store, "Vélos, elan & sails – “naïve”")
    keep(store, "NEAR AND what's (here): NOT")
    assert sorted(found(store, words)) == sorted(expected)


@pytest.mark.parametrize(
    "words",
    [
        *(
            '"',
            '""',
            "''",
            "*",
            "-",
            ":",
            "(",
            ")",
            "^",
            "+",
            "{",
            "}",
            "\\",
            ";--",
            "a:b",
            "text:ship",
            "-ship",
        ),
        *(
            "ship*",
            "sh*p",
            "NOT ship",
            "ship OR",
            "AND",
            "NEAR(ship sails, 2)",
            "^ship",
            "ship + sails",
            "a\0b",
        ),
        *(
            '"ship" "',
            'ship"sails',
            '"ship*" OR"',
            "\ud800",
            "ship\ud800",
            "🦙",
            "%",
            "_",
            "rank",
            "{text}: ship",
        ),
        *("ship " * 500, "x" * 100_000, '"' * 99, "۝", "ſhip", "İ", "ⅷ", "\ue000", "a\u0301", "\u0301"),
    ],
)
def test_whatever_is_typed_is_searched_for(store: SessionStore, words: str) -> None:
    keep(store, "A ship sails.", words or "-")
    hits = store.search(words)
    is_word = any(char.isalnum() or char == "\ue000" for char in words)
    assert any(hit.role is Role.ASSISTANT for hit in hits) == is_word or len(words) > 2000


def test_nothing_but_signs_finds_nothing(store: SessionStore) -> None:
    keep(store, "?! -- ( )")
    for words in ("", "  ", "?!", "-- ( )", '"()"', "*"):
        assert query_items(words) == []
        assert store.search(words) == []
    assert query_items("ship -- !") == ['"ship" *']


def test_the_best_comes_first_and_the_newer_among_equals(store: SessionStore) -> None:
    keep(store, "Of many things this message speaks at length, and once of a llama, among all the others.")
    older, newer = keep(store, "llama llama"), keep(store, "llama llama")
    assert [hit.session.id for hit in store.search("llama")][:2] == [newer, older]


def test_common_words_are_found_newest_first(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_chat.sessions.search._COMMON", 4)
    monkeypatch.setattr("llama_chat.sessions.search._RANKED", 3)
    ids = [
        keep(store, f"common and {'rare rare' if n == 3 else 'long and rare with more'}") for n in range(6)
    ]
    assert [hit.session.id for hit in store.search("common", limit=3)] == ids[:2:-1]
    keep(store, "a single time")
    assert [hit.session.title for hit in store.search("time")] == ["a single time"]
    assert found(store, "common sing") == []


def test_a_snippet_is_one_short_line_around_the_match(store: SessionStore) -> None:
    keep(store, f"{'before ' * 200}\n\n\tneedle\r\n{'after ' * 200}")
    keep(store, "好" * 3000 + " needle " + "世" * 3000)
    keep(store, "\x00\x1b[31m \ud83d needle\x00 more \x02\x03")
    lines = found(store, "needle")
    assert len(lines) == 3
    for line in lines:
        assert "[needle]" in line
        assert "\n" not in line
        assert len(line.split()) <= 30
        assert len(line) <= 260
    long = next(line for line in lines if "before" in line)
    assert long.startswith("…before ")
    assert long.endswith(" after…")


def test_messages_of_deleted_sessions_are_not_found(store: SessionStore) -> None:
    kept, deleted = keep(store, "a llama"), keep(store, "another llama")
    store.delete(deleted)
    assert [hit.session.id for hit in store.search("llama")] == [kept]
    store.undelete(deleted)
    assert len(store.search("llama")) == 2


def test_the_index_follows_every_change(store: SessionStore) -> None:
    session_id = keep(store, "first")
    conversation = store.load(session_id)
    reply = build_reply_message(conversation.leaf_id)
    store.begin_reply(session_id, reply)
    tokens = build_tokens(3)
    store.append_tokens(reply.id, tokens)
    assert reply.reply is not None
    ids = tuple(token.token_id for token in tokens)
    for text in ("half of it", "all of it"):
        ended = replace(reply, text=text, reply=replace(reply.reply, token_ids=ids, finish_reason="end"))
        store.finish_reply(session_id, ended)
    assert found(store, "it") == ["all of [it]"]
    assert found(store, "half") == []
    later = replace(ended, id=new_id(), parent_id=reply.id, role=Role.USER, text="taken back", reply=None)
    store.add_messages(session_id, [later], later.id)
    assert found(store, "taken") == ["[taken] back"]
    store.take_back(session_id, [later.id], reply.id)
    assert found(store, "taken") == []
    check_index(store.path)
