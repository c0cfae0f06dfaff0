"""What is asked of the worker, and what it tells: one reply that is wanted, and whoever wants to know."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llama_chat.conversation import Message
from llama_chat.errors import LlamaChatError
from llama_chat.events import Event, Forward, Loading, ModelInfo

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress
    from llama_chat.sessions import ModelRecord
    from llama_chat.turn import Prompt


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply that is wanted."""

    reply: Message
    """The assistant's message to fill; its `reply` holds the seed. Empty so far, or it goes on."""
    path: tuple[Message, ...]
    """What is answered: from the root to the user's message."""
    date: str
    """The ISO date that the template may ask for, fixed per session."""
    cancel: threading.Event = field(default_factory=threading.Event)
    forced_ids: tuple[int, ...] = ()
    """The tokens that a reply has which goes on."""
    plan: tuple[Forward, ...] = ()
    """How they were computed."""
    written_by: Callable[[], ModelRecord | None] | None = None
    """Tells which model computed them, where that is known; asked on the worker's thread."""
    given: str = ""
    """What a new reply begins with, in the user's words."""
    is_held: bool = True
    """Whether a pause or step mode holds it."""

    @classmethod
    def going_on(
        cls,
        reply: Message,
        path: Sequence[Message],
        date: str,
        written_by: Callable[[], ModelRecord | None] | None = None,
    ) -> Turn:
        """The turn that continues a reply from its last token, as if it had never stopped."""
        assert reply.reply is not None
        plan = reply.reply.plan
        return cls(
            reply,
            tuple(path),
            date,
            forced_ids=reply.reply.token_ids,
            plan=tuple(plan.forwards) if plan else (),
            written_by=written_by,
        )

    @property
    def is_continued(self) -> bool:
        """Whether the reply has a beginning."""
        return bool(self.forced_ids or self.reply.text)

    def as_begun(self, engine: object) -> AbstractContextManager[object]:
        """Work during which the engine computes as it did when the reply was begun, where it goes on.

        Raises:
            LlamaChatError: it cannot run altered like that.
        """
        from llama_chat.alteration import altered_as_begun
        from llama_chat.decode_steps import stepping_as_begun

        plan = self.reply.reply.plan if self.reply.reply is not None and self.is_continued else None
        with ExitStack() as both:
            both.enter_context(altered_as_begun(engine, self.alteration))
            both.enter_context(stepping_as_begun(engine, plan.step if plan is not None else None))
            return both.pop_all()

    @property
    def alteration(self) -> str | None:
        """Signature of what was altered in the model when the reply was begun; None for a new reply."""
        plan = self.reply.reply.plan if self.reply.reply is not None and self.is_continued else None
        return plan.alteration if plan is not None else None

    @property
    def seed(self) -> int:
        """What the tokens are drawn with."""
        assert self.reply.reply is not None
        return self.reply.reply.seed


class Listener(Protocol):
    """Whoever wants to know; every method is called on the worker's thread."""

    def pulling(self, progress: PullProgress) -> None:
        """The model's file is being fetched."""

    def loading(self, progress: Loading) -> None:
        """The model is on its way into memory."""

    def loaded(self, info: ModelInfo) -> None:
        """The model can answer."""

    def not_loaded(self, error: LlamaChatError) -> None:
        """There is no model; `Interrupted` when the user did not want to wait."""

    def not_switched(self, error: LlamaChatError, info: ModelInfo | None) -> None:
        """Another model was wanted, and cannot run. `info`: of the one that is still there.

        None: that one was closed already, or there was none; it is loaded now, which is told as any loading.
        """

    def prepared(self, turn: Turn, prompt: Prompt) -> None:
        """The turn fits the model; its events follow, up to one `Finished` or `Failed`."""

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        """The turn cannot be answered; no event follows."""

    def event(self, turn: Turn, event: Event) -> None:
        """Something came out of the engine."""
