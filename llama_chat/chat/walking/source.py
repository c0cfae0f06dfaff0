"""What is walked through: a text, ids, or what the model had before it at a token of a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.chat.tokens.source_ids import ids_of_text, source_ids
from llama_chat.conversation import Message
from llama_chat.errors import PromptError
from llama_chat.events import Engine

MOST_TOKENS = 2000
"""Of a walk (`walk.checks`, which has it for whoever asks with more)."""


@dataclass(frozen=True, slots=True)
class WalkText:
    """The ids of a walk, and what is to be said of them."""

    ids: tuple[int, ...]
    note: str = ""
    alteration: str | None = None
    """Signature of what was altered when they were written; None: as the engine runs."""


@dataclass(frozen=True, slots=True)
class WalkSource:
    """Where the ids come from; they are made on the engine's thread.

    One of the three is given.
    """

    text: str = ""
    ids: tuple[int, ...] = ()
    path: tuple[Message, ...] = ()
    """From the root to the message."""
    date: str = ""
    at: int | None = None
    """Of the message's reply: the token that is chosen in the end, from 0. Of a text or ids: how many of them
    are taken. None: what comes behind all of it."""

    def text_for(self, engine: Engine) -> WalkText:
        """The ids for this engine.

        Raises:
            PromptError: there is no token, or they cannot be found.
            TemplateError: the model's template fails.
        """
        if self.path:
            return self._of_message(engine)
        ids = self.ids or ids_of_text(engine, self.text)
        if not ids:
            raise PromptError(
                "The text has no tokens.", hint="Give some words: /walk The capital of France is"
            )
        return WalkText(ids if self.at is None else ids[: max(1, self.at)])

    def _of_message(self, engine: Engine) -> WalkText:
        found = source_ids(engine, self.path, date=self.date, index=self.at)
        told = [
            f"Its tokens were another model's, or are not known: this is its text in those of "
            f"{engine.info.name}."
            if found.is_retold and self.path[-1].text  # of a reply stopped before its first token: nothing
            else "",
            f"The last {MOST_TOKENS:,} of {len(found.ids):,} tokens, as if nothing had been before them."
            if len(found.ids) > MOST_TOKENS
            else "",
        ]
        reply = self.path[-1].reply
        plan = reply.plan if reply is not None and not found.is_retold else None
        return WalkText(
            found.ids[-MOST_TOKENS:],
            " ".join(filter(None, told)),
            plan.alteration if plan is not None else None,  # another model may not have these layers
        )


def source_of(what: str | Sequence[int], at: int | None = None) -> WalkSource:
    """Of a text, or of ids."""
    return WalkSource(text=what, at=at) if isinstance(what, str) else WalkSource(ids=tuple(what), at=at)
