"""Where a conversation is kept: what is put in line while the store is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.chat.context.summaries import INSTRUCTION, take_out_unfinished
from llama_chat.conversation import Conversation, Role
from llama_chat.sessions import SessionStore, StoreUnavailable


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


@pytest.mark.parametrize(
    ("others", "is_taken_out"),
    [(False, True), (True, False), (None, False)],
    ids=["alone", "shared", "locked"],
)
def test_what_never_ended_goes_only_where_no_other_chat_can_be_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: bool | None, is_taken_out: bool
) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    conversation = Conversation()
    said = [conversation.append(Role.USER, "one"), conversation.append(Role.ASSISTANT, "1")]
    older = conversation.leaf_id
    said += [conversation.append(Role.USER, "two"), conversation.append(Role.ASSISTANT, "2")]
    other = [conversation.add_sibling(said[2].id, "three"), conversation.append(Role.ASSISTANT, "3")]
    conversation.leaf_id = said[3].id
    later = [conversation.append(Role.USER, "four")]
    conversation.leaf_id = older
    question = conversation.append(Role.USER, INSTRUCTION)
    info = store.create(title="title", model="Model", date="2026-11-22")
    store.add_messages(info.id, [*said, *other, *later, question], question.id)

    def hold(_: str) -> bool:
        if others is None:
            raise StoreUnavailable("It is locked.")
        return others

    monkeypatch.setattr(store, "hold", hold)
    saved = SavedSession(store, date=info.date, model=info.model, session_id=info.id)
    saved.hold()
    read = store.load(info.id)
    gone = take_out_unfinished(read)
    assert read.leaf_id == later[0].id, "not what was written last"
    saved.take_back_unfinished(gone, read.leaf_id)
    stored = store.load(info.id)
    assert (question.id not in stored.messages) is is_taken_out
    assert stored.leaf_id == (later[0].id if is_taken_out else question.id)
    assert store.find(info.id).message_count == 7 + (not is_taken_out)
    store.close()


def test_the_path_that_is_stored_stays_where_it_does_not_lead_to_what_goes(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()
    conversation = Conversation()
    said = [conversation.append(Role.USER, "one"), conversation.append(Role.ASSISTANT, "1")]
    question = conversation.append(Role.USER, INSTRUCTION)
    info = store.create(title="title", model="Model", date="2026-11-22")
    store.add_messages(info.id, [*said, question], said[0].id)
    saved = SavedSession(store, date=info.date, model=info.model, session_id=info.id)
    saved.hold()
    saved.take_back_unfinished([question], said[1].id)
    assert store.load(info.id).leaf_id == said[0].id
    store.close()
