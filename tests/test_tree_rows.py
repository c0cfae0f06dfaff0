"""The lines of a conversation's tree: every message once, parents first, forks beside a straight path."""

from __future__ import annotations

import random
import time

import pytest

from llama_chat.chat.branches.tree import TreeRow, branch_count, first_words, rows_with, tree_rows
from llama_chat.conversation import Conversation, Message, Role


def drawn(talk: Conversation) -> list[str]:
    return [
        f"{row.rails}{'●' if row.is_on_path else '○'} {talk.messages[row.message_id].text}"
        for row in tree_rows(talk)
    ]


def say(talk: Conversation, *texts: str) -> Message:
    for text in texts:
        last = talk.append(Role.USER if text.isupper() else Role.ASSISTANT, text)
    return last


def grown(seed: int, messages: int) -> Conversation:
    """A random tree, on a random path."""
    chance, talk = random.Random(seed), Conversation()
    for n in range(messages):
        if talk.messages and chance.random() < 0.3:
            talk.leaf_id = chance.choice([None, *talk.messages])
        talk.append(Role.USER, str(n))
    talk.select(chance.choice(list(talk.messages)))
    return talk


def test_a_straight_talk_does_not_drift() -> None:
    talk = Conversation()
    say(talk, *(["Q", "a"] * 500))
    assert {row.rails for row in tree_rows(talk)} == {""}


def test_branches_are_drawn_beside_the_path_before_it_goes_on() -> None:
    talk = Conversation()
    first = say(talk, "Q")
    say(talk, "one", "R", "two")
    talk.leaf_id = first.id
    say(talk, "three", "S")
    four = say(talk, "four")
    talk.add_sibling(four.id, "five")
    talk.leaf_id = first.id
    say(talk, "six")
    assert drawn(talk) == [
        "● Q",
        "├─○ one",
        "│ ○ R",
        "│ ○ two",
        "├─○ three",
        "│ ○ S",
        "│ ├─○ four",
        "│ ○ five",
        "● six",
    ]
    talk.leaf_id = four.id
    assert drawn(talk) == [
        "● Q",
        "├─○ one",
        "│ ○ R",
        "│ ○ two",
        "├─○ six",
        "● three",
        "● S",
        "├─○ five",
        "● four",
    ]
    assert branch_count(talk) == 4


def test_several_beginnings_hang_on_nothing() -> None:
    talk = Conversation()
    root = say(talk, "A")
    say(talk, "one")
    talk.add_sibling(root.id, "B")
    talk.add_sibling(root.id, "C")
    assert drawn(talk) == ["╭─○ A", "│ ○ one", "├─○ B", "● C"]
    assert tree_rows(Conversation()) == []


@pytest.mark.parametrize("seed", range(40))
def test_every_message_is_there_once_below_its_parent(seed: int) -> None:
    talk = grown(seed, 60)
    rows = tree_rows(talk)
    places = {row.message_id: n for n, row in enumerate(rows)}
    assert len(rows) == len(places) == len(talk.messages)
    path = [message.id for message in talk.path()]
    assert [row.message_id for row in rows if row.is_on_path] == path
    for row in rows:
        message = talk.messages[row.message_id]
        siblings = [sibling.id for sibling in talk.siblings(message.id)]
        assert (row.place, row.siblings) == (siblings.index(message.id) + 1, len(siblings))
        if row.is_on_path:
            assert row.rails == ""
        if message.parent_id is not None:
            assert places[message.parent_id] < places[message.id]
        check_rails(row, rows[places[message.parent_id]] if message.parent_id is not None else None)


def check_rails(row: TreeRow, parent: TreeRow | None) -> None:
    """As far right as the parent, or one step further where others go on from there."""
    above = len(parent.rails) if parent is not None else 0
    assert len(row.rails) in ((above,) if row.siblings == 1 else (above, above + 2))


def test_a_deep_and_wide_tree_is_quick() -> None:
    talk = Conversation()
    for n in range(1_000):
        last = say(talk, "Q", "a")
        if n % 3 == 0:
            talk.add_sibling(last.id, "b")
    started = time.thread_time()  # of the processor: the machine may be busy
    assert len(tree_rows(talk)) == len(talk.messages)
    assert time.thread_time() - started < 0.1


def test_words_are_found_in_whole_messages_whatever_their_case() -> None:
    talk = Conversation()
    say(talk, "Q", "The fox " + "and so on " * 100 + "River", "a river")
    rows = tree_rows(talk)
    assert [row.message_id for row in rows_with(rows, "river FOX")] == [rows[1].message_id]
    assert rows_with(rows, " ") == rows


def test_first_words_are_one_safe_line() -> None:
    message = Message("1", None, Role.USER, "  a\x1b[31m\n\n\tb ", 0.0)
    assert "\x1b" not in first_words(message)
    assert first_words(message).endswith("b")
    assert first_words(Message("1", None, Role.USER, " \n", 0.0)) == "(empty)"
