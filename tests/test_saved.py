"""Where a conversation is kept: what is put in line while the store is slow."""

from __future__ import annotations

from pathlib import Path

from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.conversation import Conversation, Role
from llama_chat.sessions import SessionStore


def test_words_said_before_a_refusal_is_written_outlive_the_session_that_it_takes_back(tmp_path: Path):
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    saved = SavedSession(store, date="2026-11-22", model="Model")
    refused = Conversation().append(Role.USER, "too long")
    words = Conversation().append(Role.USER, "short")
    first, second = saved.add([refused]), saved.add([words])  # both, while the store is busy
    saved.keep(refused.id, first)
    saved.take_back([refused], None, True)
    session_id = saved.keep(words.id, second)
    assert list(store.load(session_id).messages.values()) == [words]
    assert [info.title for info in store.list()] == ["short"]
    store.close()
