"""ChatGPT's export as sessions: `conversations.json`, a list of trees, alone or in its .zip.

Each conversation has a `mapping` of nodes (parent, children, message) and a `current_node`. Messages of the
user, the assistant and the system are kept with their tree, times and titles. What goes to or comes from
a tool, what is hidden or empty is left out, and what followed it is joined to the nearest message that was
kept. Parts that are no text are noted: "[image]", "[audio]". Ids are made out of theirs, so that the same
conversation has the same ids each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, BinaryIO, TypeAlias

from llama_chat.conversation import Conversation, Message, Role, title_of
from llama_chat.sessions.exchange.fields import (
    LATEST_TIME,
    LONGEST_NAME,
    BadValueError,
    ExchangeError,
    Fields,
    is_number,
    shown,
)
from llama_chat.sessions.exchange.json_array import items_of
from llama_chat.sessions.exchange.records import FileSession
from llama_chat.sessions.records import SessionInfo, SessionRecord

_Nodes: TypeAlias = Mapping[str, Mapping[str, Any]]
_HIDDEN_KINDS = ("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context")
_PART_NAMES = (("image", "[image]"), ("audio", "[audio]"), ("video", "[video]"))


def read_chatgpt(file: BinaryIO, name: str) -> Iterator[FileSession]:
    """The conversations of the open `conversations.json`; those without a message that is kept are left out.

    Raises:
        ExchangeError: it is none, or damaged; names the conversation.
    """
    seen: set[str] = set()
    count = 0
    for value in items_of(file, name):
        count += 1
        try:
            session = _session_from(value)
            if session.record.info.id in seen:
                raise BadValueError("its id is in the file twice")
        except BadValueError as error:
            title = value.get("title") if isinstance(value, Mapping) else None
            named = f" ({shown(title)})" if title else ""
            raise ExchangeError(f"{name}, conversation {count}{named}: {error}.") from error
        seen.add(session.record.info.id)
        if session.record.conversation.messages:
            yield session
    if count == 0:
        raise ExchangeError(f"{name} holds no conversation.")


def _session_from(value: object) -> FileSession:
    source = Fields(value, "it")
    nodes = _nodes(source.take("mapping"))
    created_at = _time(source.take("create_time"), 0.0)
    updated_at = _time(source.take("update_time"), created_at)
    kept = _Kept(_key(source, nodes), created_at)
    for node_id in _in_order(nodes):
        kept.add(node_id, nodes[node_id])
    conversation = Conversation(kept.messages, _leaf(source.take("current_node"), kept))
    title = source.take("title")
    title = title[:LONGEST_NAME] if isinstance(title, str) else ""
    info = SessionInfo(
        id=kept.id_of("conversation"),
        title=title if title.strip() else title_of(list(kept.messages.values())),
        created_at=created_at,
        updated_at=updated_at,
        model=kept.model,
        date=datetime.fromtimestamp(created_at, UTC).date().isoformat(),
        message_count=len(kept.messages),
    )
    record = SessionRecord(info, conversation, {}, lambda _: ())
    return FileSession(record, lambda _: None, kept.left_out)


def _leaf(current: object, kept: _Kept) -> str | None:
    """The message at the end of the path: the current one, else the last."""
    return kept.nearest.get(current, kept.last_id) if isinstance(current, str) else kept.last_id


def _key(source: Fields, nodes: _Nodes) -> str:
    """What names the conversation among all others."""
    for name in ("conversation_id", "id"):
        value = source.take(name)
        if isinstance(value, str) and value:
            return value
    return "\n".join(nodes)


def _nodes(mapping: object) -> _Nodes:
    if not isinstance(mapping, Mapping):
        raise BadValueError("it has no 'mapping' of messages; another program wrote it")
    for node_id, node in mapping.items():
        if not isinstance(node, Mapping):
            raise BadValueError(f"node {shown(node_id)} is no object")
        parent = node.get("parent")
        if parent is not None and (not isinstance(parent, str) or parent not in mapping):
            raise BadValueError(f"the parent {shown(parent)} of node {shown(node_id)} is missing")
    return mapping


def _in_order(nodes: _Nodes) -> Iterator[str]:
    """The ids of the nodes, parents first, siblings as their parent lists them.

    Raises:
        BadValueError: some hang together in a cycle.
    """
    below: dict[str | None, list[str]] = {None: []}
    for node_id, node in nodes.items():
        below.setdefault(node.get("parent"), []).append(node_id)
    reached = 0
    waiting = below[None][::-1]
    while waiting:
        node_id = waiting.pop()
        reached += 1
        yield node_id
        places = _places(nodes[node_id].get("children"))
        waiting += sorted(below.get(node_id, []), key=lambda each: -places.get(each, len(places)))
    if reached < len(nodes):
        raise BadValueError(f"{len(nodes) - reached} nodes are a cycle")


def _places(children: object) -> dict[str, int]:
    listed = children if isinstance(children, list) else []
    return {each: n for n, each in enumerate(listed) if isinstance(each, str)}


class _Kept:
    """The messages that are kept of one conversation, as they are met, parents first."""

    def __init__(self, key: str, created_at: float) -> None:
        self._key, self._created_at = key, created_at
        self.messages: dict[str, Message] = {}
        # By node: the message that it became, or the nearest above it that was kept.
        self.nearest: dict[str | None, str | None] = {None: None}
        self.last_id: str | None = None
        self.model = ""
        self.left_out = 0

    def id_of(self, name: str) -> str:
        """16 digits that name this part of the conversation each time."""
        return sha256(f"{self._key}\n{name}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def add(self, node_id: str, node: Mapping[str, Any]) -> None:
        """Keep the node's message, if it is one for people to read."""
        parent_id = self.nearest[node.get("parent")]
        found = _role_and_text(node.get("message"))
        if found is None:
            self.left_out += _has_content(node.get("message"))
            self.nearest[node_id] = parent_id
            return
        role, text = found
        message = node["message"]
        when = _time(message.get("create_time"), self._created_at)
        self.last_id = self.nearest[node_id] = message_id = self.id_of(f"node {node_id}")
        self.messages[message_id] = Message(message_id, parent_id, role, text, when)
        model = _mapping(message.get("metadata")).get("model_slug")
        if role is Role.ASSISTANT and isinstance(model, str):
            self.model = model


def _role_and_text(message: object) -> tuple[Role, str] | None:
    """Who says what; None for what nobody reads."""
    fields = _mapping(message)
    role = _mapping(fields.get("author")).get("role")
    content = _mapping(fields.get("content"))
    is_hidden = (
        _mapping(fields.get("metadata")).get("is_visually_hidden_from_conversation") is True
        or fields.get("recipient") not in (None, "all")
        or content.get("content_type") in _HIDDEN_KINDS
    )
    if is_hidden or not isinstance(role, str) or role not in set(Role):
        return None
    text = _text_of(content)
    return (Role(role), text) if text.strip() else None


def _text_of(content: Mapping[str, Any]) -> str:
    if isinstance(text := content.get("text"), str):
        return text
    parts = content.get("parts")
    return "\n\n".join(filter(None, map(_part_text, parts))) if isinstance(parts, list) else ""


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    fields = _mapping(part)
    if isinstance(text := fields.get("text"), str):
        return text
    kind = str(fields.get("content_type") or "")
    return next((shown_as for word, shown_as in _PART_NAMES if word in kind), "[attachment]")


def _has_content(message: object) -> bool:
    return bool(_text_of(_mapping(_mapping(message).get("content"))).strip())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _time(value: object, otherwise: float) -> float:
    return float(value) if is_number(value, 0, LATEST_TIME) else otherwise  # type: ignore[arg-type]  # a number
