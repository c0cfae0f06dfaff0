"""Where a token of a reply looked: the tokens of the chat with the most attention, over all layers and heads.

A token was chosen at the position before it; what that position looked at is what it was chosen by. The
attention itself is read on the thread of the engine (`AttentionReader`); here it becomes plain data.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

from llama_chat.chat.tokens.source_ids import Source, SourceIds, source_ids, sources_of, why_not_by_ids
from llama_chat.chat.words import name_of
from llama_chat.conversation import Message, Role
from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import percent
from llama_chat.errors import PromptError, UsageError
from llama_chat.events import Engine, digest_of

Measure: TypeAlias = Literal["mean", "rollout"]
Report: TypeAlias = Callable[[float], None]

TOP = 12
"""Sources that are listed."""
_KEPT = 64
"""Rows that are kept, so that going back and forth along a reply computes nothing twice."""


class AttentionReader(Protocol):
    """Reads attention on the thread of the engine."""

    def is_of(self, engine: Engine) -> bool:
        """Whether it reads this engine."""
        ...

    def mean(self, ids: Sequence[int], at: int, cancel: threading.Event, report: Report) -> tuple[float, ...]:
        """The share of each position up to `at` in what that one looks at, over all layers and heads."""
        ...

    def rollout(
        self, ids: Sequence[int], at: int, cancel: threading.Event, report: Report
    ) -> tuple[float, ...]:
        """What has come to the position `at` from each, through all layers."""
        ...


ReaderOpener: TypeAlias = Callable[[Engine, str], AttentionReader]
"""From an engine and the signature of the alteration that the reply was written under."""


# --- what is asked ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """How attention is measured and shown."""

    measure: Measure = "mean"
    with_first: bool = False
    """The first token of a context takes most of the attention, whatever it is (attention sink)."""
    is_own_row: bool = False
    """The row of the token itself, instead of the one that it was chosen at."""

    @property
    def label(self) -> str:
        """`mean, without the first token`."""
        return f"{self.measure}, {'with' if self.with_first else 'without'} the first token"


WAYS = tuple(Way(measure, with_first) for measure in ("mean", "rollout") for with_first in (False, True))
EXPLAINED: dict[Measure, str] = {
    "mean": "how much it looks at each, on average over layers and heads",
    "rollout": "what came to it from each, followed through all layers",
}
FIRST_EXPLAINED = (
    "The rest is 100 % here. The first token takes what goes nowhere else, and says little of the text."
)
FIRST_SHORT = "It takes what goes nowhere else, and says little of the text."


# --- what comes of it ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """All that stood before and in a reply, as tokens."""

    found: SourceIds
    sources: tuple[Source, ...]
    names: TokenNames
    notes: tuple[str, ...]
    """What whoever looks should know: that the tokens are not the ones it was written in, and the like."""

    @property
    def length(self) -> int:
        """Tokens of the reply."""
        return len(self.found.ids) - self.found.prompt_tokens

    def position(self, index: int) -> int:
        """Of a token of the reply among all."""
        return self.found.prompt_tokens + index

    def name(self, position: int) -> str:
        """The token as it is shown."""
        return self.names.quoted(self.found.ids[position])

    def place(self, position: int) -> str:
        """Which part of the chat it stands in: `you`, `system`, `this reply`, `chat template`."""
        message_id = self.sources[position].message_id
        if message_id is None:
            return "chat template"
        reply = self.found.message
        if reply is not None and message_id == reply.id:
            return "this reply"
        return next((name_of(each) for each in self.found.messages if each.id == message_id), "")


@dataclass(frozen=True, slots=True)
class Looked:
    """One token that was looked at."""

    position: int
    share: float
    name: str
    place: str
    source: Source


@dataclass(frozen=True, slots=True)
class Looks:
    """Where one token of a reply looked."""

    context: Context
    index: int
    """Of the token in the reply."""
    way: Way
    row: int
    """The position whose attention it is."""
    raw: tuple[float, ...]
    """The share of each position up to there, as it was measured."""

    @property
    def left_out(self) -> int:
        """Tokens at the beginning that were not looked at: rollout takes the last ones of a long context."""
        return next((n for n, share in enumerate(self.raw) if share > 0), 0) if self._is_rollout else 0

    @property
    def _is_rollout(self) -> bool:
        return self.way.measure == "rollout"

    @property
    def first_share(self) -> float:
        """What the first token has of all, also where it is left out."""
        return self.raw[self.left_out]

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each position, as the way wants it; where the first token is left out, the rest sums to 1."""
        first, rest = self.left_out, sum(self.raw) - self.first_share
        if self.way.with_first or rest <= 0:
            return self.raw
        return tuple(0.0 if n <= first else share / rest for n, share in enumerate(self.raw))

    def top(self, count: int = TOP) -> tuple[Looked, ...]:
        """The tokens that were looked at most, the most first."""
        shares = self.shares
        best = sorted(range(len(shares)), key=lambda n: (-shares[n], n))[:count]
        return tuple(self.looked(n) for n in best if shares[n] > 0)

    def looked(self, position: int) -> Looked:
        """One of them."""
        return Looked(
            position,
            self.shares[position],
            self.context.name(position),
            self.context.place(position),
            self.context.sources[position],
        )

    @property
    def token_name(self) -> str:
        """The token that is asked about."""
        return self.context.name(self.context.position(self.index))

    def sentences(self) -> tuple[str, ...]:
        """What this is, in plain words."""
        at, row = self.token_name, self.context.name(self.row)
        if self.row == self.context.position(self.index):
            told = f"The position of {at} itself, from where the token behind it was chosen."
        else:
            told = f"{at} was chosen at {row}, the token before it: this is where that one looked."
        if self.way.with_first or len(self.raw) < 2:
            first = f"The first token has {percent(self.first_share)} of it."
        else:
            first = f"Left out: the first token, with {percent(self.first_share)} of it."
        long = (
            f"Only the last {len(self.raw) - self.left_out:,} tokens are looked at." if self.left_out else ""
        )
        return tuple(filter(None, (told, first, long, *self.context.notes)))


# --- asking -------------------------------------------------------------------------------------------


class Looking:
    """Asks where the tokens of one reply looked; what is asked last counts, what was before is given up.

    Args:
        compute: of the worker.
        open_reader: gives what reads attention.
        path: from the root to the reply.
        date: of the session.
    """

    def __init__(
        self,
        compute: Callable[[Callable[[Engine], Looks], threading.Event], Future[Looks]],
        open_reader: ReaderOpener,
        path: Sequence[Message],
        date: str,
    ) -> None:
        self._compute, self._open_reader = compute, open_reader
        self._path, self._date = tuple(path), date
        self._cancel = threading.Event()
        self._reader: AttentionReader | None = None
        self._context: Context | None = None
        self._rows: OrderedDict[tuple[Measure, int], tuple[float, ...]] = OrderedDict()

    def ask(self, index: int, way: Way, report: Report = lambda _: None) -> Future[Looks]:
        """Where the token looked; an index beyond the reply is that of its last token.

        The future fails with a `LlamaChatError`: no model, another model, too long, or `Interrupted` where
        something else was asked meanwhile.

        Args:
            index: of the token in the reply.
            way: to measure and show it.
            report: hears on the engine's thread what fraction is done.
        """
        self._cancel.set()
        cancel = self._cancel = threading.Event()
        return self._compute(lambda engine: self._look(engine, index, way, cancel, report), cancel)

    def shown_otherwise(self, looks: Looks, way: Way) -> Looks | None:
        """The same numbers shown in another way; None where they must be measured."""
        is_same = (looks.way.measure, looks.way.is_own_row) == (way.measure, way.is_own_row)
        return replace(looks, way=way) if is_same else None

    def give_up(self) -> None:
        """What is asked is not wanted any more."""
        self._cancel.set()

    def close(self) -> None:
        """Give up what is asked, and let go of what was kept for it."""
        self._cancel.set()
        self._reader = self._context = None
        self._rows.clear()

    # --- on the engine's thread -------------------------------------------------------------------

    def _look(self, engine: Engine, index: int, way: Way, cancel: threading.Event, report: Report) -> Looks:
        reader, context = self._reader, self._context  # read once: `close` comes from another thread
        if reader is None or context is None or not reader.is_of(engine):
            reply = self._path[-1].reply
            self._rows.clear()
            context = self._context = context_of(engine, self._path, self._date)
            reader = self._open_reader(engine, (reply.plan.alteration if reply and reply.plan else ""))
            self._reader = reader
        if not context.length:
            raise PromptError("The reply has no tokens yet.", hint="Let the model answer first.")
        index = min(max(index, 0), context.length - 1)
        position = context.position(index)
        row = position if way.is_own_row else max(0, position - 1)
        raw = self._rows.get((way.measure, row))
        if raw is None:
            read = reader.rollout if way.measure == "rollout" else reader.mean
            raw = read(context.found.ids, row, cancel, report)
            self._rows[way.measure, row] = raw
            if len(self._rows) > _KEPT:
                self._rows.popitem(last=False)
        return Looks(context, index, way, row, raw)


def parse_token_number(words: str) -> int:
    """The index, from 0, of the token that the words name from 1 on; without words the first.

    Raises:
        UsageError: they are no such number.
    """
    if not words:
        return 0
    if not words.isascii() or not words.isdigit() or not 0 < int(words[:10]) < 10**9:
        raise UsageError(f"{words!r} is no number of a token.", hint="For example /looks 12.")
    return int(words[:10]) - 1


def context_of(engine: Engine, path: Sequence[Message], date: str) -> Context:
    """The context of the path's last message, a reply.

    Raises:
        PromptError: another model wrote it, or the prompt does not fit.
        TemplateError: the model's template fails.
    """
    message = path[-1]
    assert message.role is Role.ASSISTANT, "only replies are chosen token by token"
    if (
        message.reply is not None
        and message.reply.token_ids
        and (why := why_not_by_ids(engine.info, message))
    ):
        raise why
    found = source_ids(engine, path, date=date)
    names = TokenNames.of_engine(engine)
    sources = sources_of(found, lambda token_id: names.piece(token_id) or b"")
    return Context(found, tuple(sources), names, tuple(_notes(found)))


def _notes(found: SourceIds) -> list[str]:
    notes = []
    if found.is_retold:
        notes.append("It was not written here: its text was made into tokens of the loaded model.")
    reply = found.message.reply if found.message is not None else None
    then = reply.plan.prompt_digest if reply is not None and reply.plan is not None else ""
    if then and not found.is_retold and then != digest_of(found.ids[: found.prompt_tokens]):
        notes.append("The prompt comes out differently today than when this was written.")
    if reply is not None and reply.plan is not None and reply.plan.alteration:
        notes.append(f"Read as it was written, with the model altered: {reply.plan.alteration}.")
    return notes
