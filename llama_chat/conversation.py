"""A conversation is a tree of messages; the path from its root to its leaf is what the model sees.

Editing or regenerating makes a sibling and deletes nothing. Everything is plain data: the store keeps it,
the template renders it, the screen draws it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from llama_chat.compute_plan import drafted_forwards
from llama_chat.events import ComputePlan, FinishReason, Forward, Sampling
from llama_chat.markup.attached import in_short


class Role(StrEnum):
    """Who speaks. A closed set: no text of a user can add to it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


def new_id() -> str:
    """A random id of 16 hexadecimal digits; a prefix that fits one only names it, as in git."""
    return secrets.token_hex(8)


SHOWN_ID_DIGITS = 8
"""32 bits name one session of many thousands."""


def short_id(whole_id: str) -> str:
    """The beginning of an id, as the user is shown it and `--resume` takes it."""
    return whole_id[:SHOWN_ID_DIGITS]


def new_seed() -> int:
    """A fresh seed for one reply, below 2**32."""
    return secrets.randbits(32)


@dataclass(frozen=True, slots=True)
class Reply:
    """How an assistant's message came to be; empty fields are not known yet (or never will be)."""

    seed: int
    sampling: Sampling
    """The settings when it began."""
    model: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    """None while it is being written."""
    error: str = ""
    """What went wrong, when `finish_reason` is "failed"."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    context_start: str | None = None
    """Id of the oldest message (but the system prompt) that the model saw; None: all of the path."""
    plan: ComputePlan | None = None

    @property
    def decode_tok_per_s(self) -> float:
        """Tokens a second after the first one; 0 where there is nothing to divide."""
        if self.decode_s <= 0:
            return 0.0
        return max(0, len(self.token_ids) - 1 - self._prefilled_tokens) / self.decode_s

    @property
    def _prefilled_tokens(self) -> int:
        """Tokens of the reply that the user gave: they went through the model together, as a prompt does."""
        forwards = self.plan.forwards if self.plan is not None else ()
        in_reply = (f.kept for f in forwards if f.start >= self.prompt_tokens > 0 and f.kind == "prefill")
        return sum(in_reply) - sum(forward.kept for forward in self.drafted_forwards)

    @property
    def drafted_forwards(self) -> Sequence[Forward]:
        """Those that verified guessed tokens (`engine.drafting`)."""
        return drafted_forwards(self.plan.forwards, self.prompt_tokens) if self.plan is not None else ()

    @property
    def drafted_tokens(self) -> int:
        """Guessed, and computed along with others."""
        return sum(forward.rows - 1 for forward in self.drafted_forwards)

    @property
    def accepted_tokens(self) -> int:
        """Those of them that were chosen then, each of which saved a step."""
        return sum(forward.kept - 1 for forward in self.drafted_forwards)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; changed only by being replaced."""

    id: str
    parent_id: str | None
    role: Role
    text: str
    created_at: float
    """Unix time in seconds."""
    reply: Reply | None = None
    """For the assistant's messages that a model wrote."""


class _Step(NamedTuple):
    """A step that can be gone over again."""

    leaf_id: str | None
    """Of the path on its other side."""
    what: str
    """It was, in the user's words for it."""


@dataclass(slots=True)
class Conversation:
    """The tree of one session, and which path through it is taken."""

    messages: dict[str, Message] = field(default_factory=dict)
    """By id, parents before children; `add`, `update` and `remove` change it."""
    leaf_id: str | None = None
    _below: dict[str | None, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Ids of the children, the oldest first: a session may have 20,000 messages."""
    gone_over: str = field(default="", init=False, repr=False, compare=False)
    """What the step was that `undo` or `redo` went over last, as `begin_step` was told."""
    _undone_to: list[_Step] = field(default_factory=list, init=False, repr=False, compare=False)
    _redone_to: list[_Step] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for message in self.messages.values():
            self._below.setdefault(message.parent_id, []).append(message.id)

    def path(self) -> list[Message]:
        """From the root to the leaf; empty for a conversation without messages."""
        return list(reversed(list(self._ancestors(self.leaf_id))))

    def _ancestors(self, message_id: str | None) -> Iterator[Message]:
        while message_id is not None:
            message = self.messages[message_id]
            yield message
            message_id = message.parent_id

    @property
    def system(self) -> str:
        """The system prompt of the path, empty when there is none."""
        path = self.path()
        return path[0].text if path and path[0].role is Role.SYSTEM else ""

    @property
    def turns(self) -> list[Message]:
        """The path without its system prompt."""
        return [message for message in self.path() if message.role is not Role.SYSTEM]

    def children(self, message_id: str | None) -> list[Message]:
        """The messages right below, oldest first; with None, the roots."""
        return [self.messages[child_id] for child_id in self._below.get(message_id, ())]

    def siblings(self, message_id: str) -> list[Message]:
        """The message and the others below the same parent, oldest first."""
        return self.children(self.messages[message_id].parent_id)

    def add(self, message: Message) -> Message:
        """The message, put into the tree as the new leaf.

        Raises:
            KeyError: its parent is not in the tree.
            ValueError: its id is in the tree already.
        """
        if message.id in self.messages:
            raise ValueError(f"message {message.id} is in the conversation already")
        if message.parent_id is not None and message.parent_id not in self.messages:
            raise KeyError(message.parent_id)
        self.messages[message.id] = message
        self._below.setdefault(message.parent_id, []).append(message.id)
        self.leaf_id = message.id
        return message

    def remove(self, message_id: str) -> None:
        """Take a message out that nothing follows; a leaf that it was becomes its parent.

        Raises:
            KeyError: there is none.
            ValueError: something follows it.
        """
        if self._below.get(message_id):
            raise ValueError(f"message {message_id} has others below it")
        message = self.messages.pop(message_id)
        self._below[message.parent_id].remove(message_id)
        if self.leaf_id == message_id:
            self.leaf_id = message.parent_id

    def append(self, role: Role, text: str, *, reply: Reply | None = None) -> Message:
        """A new message below the leaf; it becomes the leaf."""
        return self.add(Message(new_id(), self.leaf_id, role, text, time.time(), reply))

    def add_sibling(self, message_id: str, text: str, *, reply: Reply | None = None) -> Message:
        """A new message beside the named one (an edit, another reply); it becomes the leaf."""
        beside = self.messages[message_id]
        return self.add(Message(new_id(), beside.parent_id, beside.role, text, time.time(), reply))

    def update(self, message: Message) -> None:
        """Replace the message of the same id, in its place.

        Raises:
            KeyError: there is none.
            ValueError: it would hang below another parent.
        """
        if self.messages[message.id].parent_id != message.parent_id:
            raise ValueError(f"message {message.id} has another parent")
        self.messages[message.id] = message

    def set_system(self, text: str) -> tuple[list[Message], dict[str, str]]:
        """Give the path another system prompt; the new messages, to be stored, and the originals of copies.

        What was said so far is copied below the new prompt, so the old branch stays as the model saw it.
        An empty text takes the system prompt away.
        """
        turns = self.turns
        if text == self.system:
            return [], {}
        self.leaf_id = None
        added = [self.append(Role.SYSTEM, text)] if text else []
        copies, originals = self.append_copies(turns)
        return added + copies, originals

    def append_copies(self, turns: Sequence[Message]) -> tuple[list[Message], dict[str, str]]:
        """Copies below the leaf of what was said elsewhere, and the ids of the originals by theirs.

        A copy keeps its text, its time, its token ids and the settings; how it was computed behind what stood
        before it stays with the original.
        """
        new_ids = {turn.id: new_id() for turn in turns}
        copies: list[Message] = []
        for turn in turns:
            copy = with_ids(replace(turn, reply=turn.reply and _not_computed(turn.reply)), new_ids)
            copies.append(self.add(replace(copy, parent_id=self.leaf_id)))
        return copies, {new: old for old, new in new_ids.items()}

    def select(self, message_id: str) -> None:
        """Take the path that leads through the message, on to its newest descendant."""
        leaf = self.messages[message_id].id
        while below := self.children(leaf):
            leaf = below[-1].id
        self.leaf_id = leaf

    # --- there and back ---------------------------------------------------------------------------

    def begin_step(self, what: str = "") -> None:
        """Remember the path that is taken now: the step that follows can be undone.

        Args:
            what: it is, for the user: `your edit of “Tell me …”`.
        """
        self._undone_to.append(_Step(self.leaf_id, what))
        self._redone_to.clear()

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would take another path."""
        return any(map(self._is_elsewhere, self._undone_to))

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would take another path."""
        return any(map(self._is_elsewhere, self._redone_to))

    def undo(self) -> bool:
        """Take the path of before the last step, whose messages stay; whether there was one."""
        return self._go(self._undone_to, self._redone_to)

    def redo(self) -> bool:
        """Take the path that was left by `undo`; whether there was one."""
        return self._go(self._redone_to, self._undone_to)

    def _go(self, there: list[_Step], back: list[_Step]) -> bool:
        while there:
            step = there.pop()
            if self._is_elsewhere(step):
                back.append(_Step(self.leaf_id, step.what))
                self.leaf_id, self.gone_over = step.leaf_id, step.what
                return True
        return False

    def _is_elsewhere(self, step: _Step) -> bool:
        leaf_id = step.leaf_id
        is_known = leaf_id is None or leaf_id in self.messages  # a refused turn takes its words with it
        return is_known and leaf_id != self.leaf_id


def with_ids(message: Message, new_ids: Mapping[str, str]) -> Message:
    """The message under its new ids, if there are any: its own, its parent's and what its reply names."""
    reply, parent_id = message.reply, message.parent_id
    if reply is not None and reply.context_start is not None:
        reply = replace(reply, context_start=new_ids.get(reply.context_start, reply.context_start))
    return replace(
        message,
        id=new_ids.get(message.id, message.id),
        parent_id=parent_id and new_ids.get(parent_id, parent_id),
        reply=reply,
    )


def _not_computed(reply: Reply) -> Reply:
    """The reply behind another prompt than the one that it was written behind."""
    return replace(reply, prompt_tokens=0, reused_tokens=0, prefill_s=0.0, plan=None)


def title_of(messages: Sequence[Message], *, limit: int = 60) -> str:
    """A session's name: the first words that the user said, in one line."""
    for message in messages:
        if message.role is Role.USER and (words := " ".join(in_short(message.text).split())):
            return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"
    return "New chat"
