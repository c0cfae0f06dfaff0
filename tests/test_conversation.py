"""The tree: paths, siblings, what is undone and redone, and that a long one stays quick."""

import time
from dataclasses import replace

import pytest

from llama_chat.conversation import Conversation, Message, Reply, Role, new_id
from llama_chat.events import Sampling


@pytest.fixture
def conversation():
    talk = Conversation()
    talk.append(Role.USER, "one")
    talk.append(Role.ASSISTANT, "first")
    return talk


def texts(conversation):
    return [message.text for message in conversation.path()]


@pytest.mark.parametrize("place", [0, 1])
def test_an_edit_of_any_message_makes_a_sibling_and_deletes_nothing(conversation, place):
    edited = conversation.path()[place]
    sibling = conversation.add_sibling(edited.id, "other")
    assert conversation.path()[-1] == sibling
    assert [message.text for message in conversation.siblings(edited.id)] == [edited.text, "other"]
    conversation.select(edited.id)
    assert texts(conversation) == ["one", "first"]


def test_steps_are_undone_and_done_again(conversation):
    reply = conversation.path()[-1]
    conversation.begin_step()
    conversation.add_sibling(reply.id, "second")
    conversation.begin_step()
    conversation.append(Role.USER, "two")

    assert conversation.undo()
    assert texts(conversation) == ["one", "second"]
    assert conversation.undo()
    assert texts(conversation) == ["one", "first"]
    assert not conversation.undo()
    assert conversation.redo()
    assert conversation.redo()
    assert texts(conversation) == ["one", "second", "two"]
    assert not conversation.redo()


def test_a_new_step_ends_what_could_be_done_again(conversation):
    conversation.begin_step()
    conversation.append(Role.USER, "two")
    conversation.undo()
    conversation.begin_step()
    conversation.append(Role.USER, "three")
    assert not conversation.redo()
    assert texts(conversation) == ["one", "first", "three"]


def test_what_is_gone_is_not_gone_back_to(conversation):
    conversation.begin_step()
    words = conversation.append(Role.USER, "refused")
    conversation.begin_step()
    conversation.undo()
    conversation.remove(words.id)
    assert not conversation.redo()
    assert texts(conversation) == ["one", "first"]


def test_only_a_message_that_nothing_follows_is_removed(conversation):
    first, reply = conversation.path()
    with pytest.raises(ValueError, match="below it"):
        conversation.remove(first.id)
    conversation.remove(reply.id)
    assert conversation.leaf_id == first.id
    assert conversation.children(first.id) == []
    with pytest.raises(KeyError):
        conversation.remove(reply.id)


def test_a_message_is_replaced_in_its_place_only(conversation):
    first, reply = conversation.path()
    conversation.update(replace(reply, text="better"))
    assert texts(conversation) == ["one", "better"]
    with pytest.raises(ValueError, match="another parent"):
        conversation.update(replace(reply, parent_id=None))
    assert conversation.children(first.id)[0].text == "better"


def test_the_siblings_of_20_000_messages_are_found_quickly():
    messages: dict[str, Message] = {}
    parent_id = None
    for n in range(20_000):
        message = Message(new_id(), parent_id, Role.USER if n % 2 == 0 else Role.ASSISTANT, str(n), float(n))
        messages[message.id] = message
        parent_id = message.id
    conversation = Conversation(messages, parent_id)
    began = time.perf_counter()
    assert all(conversation.siblings(message.id) == [message] for message in conversation.path())
    assert time.perf_counter() - began < 1.0  # looked for one by one in all messages it would be a minute


def test_a_copied_reply_keeps_where_its_context_began() -> None:
    """Under the new id of that message: by the old one nothing could go on behind the copy."""
    chat = Conversation()
    chat.append(Role.USER, "One?")
    chat.append(Role.ASSISTANT, "One.")
    start = chat.append(Role.USER, "Two?")
    chat.append(Role.ASSISTANT, "Two.", reply=Reply(1, Sampling(), context_start=start.id))
    chat.set_system("Be brief.")
    *_, copied_start, copied = chat.path()
    assert copied.reply is not None
    assert copied_start.text == "Two?"
    assert copied.reply.context_start == copied_start.id != start.id
