"""ChatGPT's export becomes sessions: the tree, times and titles stay; tools and hidden nodes leave."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from test_exchange import bring_in, other

from llama_chat.conversation import Role
from llama_chat.sessions import SessionStore
from llama_chat.sessions.exchange import ExchangeError, json_array, read_sessions

__all__ = ["other"]  # a fixture


def node(name: str, parent: str | None, role: str, *parts: Any, **changes: Any) -> dict[str, Any]:
    message = {
        "author": {"role": role},
        "create_time": 1_700_000_100.5,
        "content": {"content_type": "text", "parts": list(parts)},
        "metadata": {"model_slug": "gpt-x"},
        "recipient": "all",
    }
    return {"id": name, "parent": parent, "children": [], "message": message | changes}


def conversation(*nodes: dict[str, Any], current: str, **changes: Any) -> dict[str, Any]:
    mapping = {"root": {"id": "root", "parent": None, "children": [], "message": None}}
    mapping |= {each["id"]: each for each in nodes}
    for each in nodes:
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(each["id"])
    values = {"title": "Kühe \x1b[2J", "create_time": 1_700_000_000.0, "update_time": 1_700_000_200.0}
    return {**values, "mapping": mapping, "current_node": current, "conversation_id": "c-1", **changes}


TREE = conversation(
    node("hidden", "root", "system", "secret", metadata={"is_visually_hidden_from_conversation": True}),
    node("ask", "hidden", "user", {"content_type": "image_asset_pointer"}, "What is this?"),
    node("call", "ask", "assistant", "search(cow)", recipient="browser"),
    node("tool", "call", "tool", "results"),
    node("first", "tool", "assistant", "A cow."),
    node("second", "ask", "assistant", "An ox."),
    node("empty", "second", "assistant", ""),
    node("more", "empty", "user", "Sure?"),
    current="first",
)


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("is_zip", [False, True])
def test_the_tree_times_and_titles_are_kept(is_zip: bool, tmp_path: Path, other: SessionStore) -> None:
    path = write(tmp_path / "conversations.json", [TREE])
    if is_zip:
        with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("chat.html", "no")
            archive.write(path, "export/conversations.json")
        path = tmp_path / "export.zip"
    (imported,) = bring_in(other, path)
    record = other.record(imported.info.id)
    assert (record.info.title, record.info.model, record.info.date) == ("Kühe \x1b[2J", "gpt-x", "2023-11-14")
    assert record.info.updated_at == 1_700_000_200.0
    tree = record.conversation
    assert [(m.role, m.text) for m in tree.path()] == [
        (Role.USER, "[image]\n\nWhat is this?"),
        (Role.ASSISTANT, "A cow."),
    ]
    ask = tree.path()[0]
    assert [message.text for message in tree.children(ask.id)] == ["A cow.", "An ox."]
    assert [m.text for m in tree.children(tree.children(ask.id)[1].id)] == ["Sure?"]
    assert ask.created_at == 1_700_000_100.5
    assert imported.left_out == 3  # hidden, the call, its result
    assert bring_in(other, path)[0].copy_of == imported.info.id


def test_a_conversation_of_nothing_that_is_kept_is_left_out(tmp_path: Path) -> None:
    nothing = conversation(node("a", "root", "tool", "x"), current="a", conversation_id="c-2")
    found = list(read_sessions(write(tmp_path / "c.json", [nothing, TREE])))
    assert [record.info.title for record in found] == [TREE["title"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '[{"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}}]',
            "conversation 1: 2 nodes are a cycle",
        ),
        ('[{"title": "T", "mapping": {"a": {"parent": "zz"}}}]', r"1 \('T'\): the parent 'zz' of node 'a'"),
        ('[{"mapping": []}]', "has no 'mapping'"),
        ('[\n{"mapping": {}},\n{]', "line 3, conversation 2: this is not JSON, or cut"),
        (json.dumps([TREE])[:-40], "conversation 1: this is not JSON, or cut"),
        (json.dumps([TREE])[:-1], "the file ends too early"),
        (json.dumps([TREE]) + "x", "something follows the list"),
        (json.dumps([TREE, TREE]), "conversation 2 .*its id is in the file twice"),
        ('[{"mapping": ' + "[" * 100_000, "nested too deeply"),
        ('[{"create_time": NaN}]', "NaN is no number"),
        ("[]", "holds no conversation"),
        ('{"mapping": {}}', "this is no session of llama-chat"),
    ],
)
def test_a_damaged_export_imports_nothing_and_says_where(
    content: str, words: str, tmp_path: Path, other: SessionStore
) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(content)
    with pytest.raises(ExchangeError, match=words):
        bring_in(other, path)
    assert other.list() == []


def test_an_archive_without_conversations_and_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("user.json", "{}")
    with pytest.raises(ExchangeError, match=r"holds no conversations\.json"):
        list(read_sessions(path))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ExchangeError, match="damaged archive"):
        list(read_sessions(path))


def test_conversations_are_read_one_by_one_and_none_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [{**TREE, "conversation_id": f"c-{n}", "title": "x" * 1000} for n in range(200)]
    path = write(tmp_path / "c.json", many)
    found = read_sessions(path)
    assert next(found).info.title == "x" * 1000
    assert sum(1 for _ in found) == 199
    monkeypatch.setattr(json_array, "MOST_ITEM_BYTES", 100_000)
    write(path, [*many, {"title": "y" * 400_000}])
    with pytest.raises(ExchangeError, match="conversation 201: it is longer than 100,000 bytes"):
        list(read_sessions(path))


def test_spaces_without_end_are_refused_at_once(tmp_path: Path) -> None:
    """They pack to nothing: 1 kB in a zip may be a megabyte to step over, 4 MB of it hours."""
    path = tmp_path / "conversations.json"
    path.write_bytes(b"[" + json.dumps(TREE).encode() + b" " * 20_000_000 + b"]")
    before_s = time.process_time()
    with pytest.raises(ExchangeError, match="more than 1,000,000 spaces follow each other"):
        list(read_sessions(path))
    assert time.process_time() - before_s < 1.0
    path.write_bytes(b"[" + b"\n" * 900_000 + json.dumps(TREE).encode() + b" \t\r\n]\n")
    assert len(list(read_sessions(path))) == 1


def test_an_archive_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b"[" + b'{"title": "           "},' * 1_000_000)
    with pytest.raises(ExchangeError, match="packed to less than a hundredth"):
        list(read_sessions(tmp_path / "export.zip"))
