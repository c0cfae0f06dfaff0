"""What happened in a session, in the order in which it happened, on a clock that starts at 0."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from llama_chat.conversation import Conversation, Message, Role
from llama_chat.events import ChosenBy, Sampling, Token
from llama_chat.replay.state import ReplayState, Shown
from llama_chat.sessions.records import SessionRecord

LONGEST_PAUSE_S = 2.0
"""Between two turns: who watches a session again need not wait as long as somebody once thought."""
LONGEST_STEP_S = 60.0
"""Of one prefill or token: beyond it the machine slept."""
SWITCH_S = 1.0
"""Before the path that was chosen last is shown; when that was done is not recorded."""

MomentKind: TypeAlias = Literal["message", "begin", "token", "end", "path"]


class Moment(NamedTuple):
    """Something happens."""

    at_s: float
    """On the clock of the replay."""
    kind: MomentKind
    """A message appears whole; a reply begins, gets a token, ends; another path is shown."""
    message_id: str
    sampling: Sampling
    """Where the sliders stand from now on."""
    tokens: int
    """Of the whole session up to now."""
    place: int = -1
    """Of the token in its reply, from 0."""
    text: str = ""
    """What became readable by the token."""
    chosen_by: ChosenBy = "sampler"


class Timeline:
    """All moments of one session, and what there was to see after each of them.

    A count of moments is a place: after 0 of them nothing is there yet.

    Args:
        record: the session.
        moments: rising in time.
    """

    def __init__(self, record: SessionRecord, moments: Sequence[Moment]) -> None:
        self.info = record.info
        self.models = record.models
        self.moments = tuple(moments)
        self._conversation = record.conversation
        self._times = [moment.at_s for moment in moments]
        self._shown = Shown(record.conversation)
        self._written = (0, 0, "")
        """First and last place of the text that was asked for last, and the text."""
        self.message_starts = [
            count for count, moment in enumerate(moments, 1) if moment.kind in ("message", "begin", "path")
        ]
        """The places at which a message has just appeared."""

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def total_s(self) -> float:
        """How long it takes at the original pace."""
        return self._times[-1] if self._times else 0.0

    @property
    def token_count(self) -> int:
        """Tokens of all replies."""
        return self.moments[-1].tokens if self.moments else 0

    @property
    def messages(self) -> Mapping[str, Message]:
        """Every message as it was in the end, by its id."""
        return self._conversation.messages

    def count_at(self, at_s: float) -> int:
        """How many moments have happened by then."""
        return bisect_right(self._times, at_s)

    def time_of(self, count: int) -> float:
        """When the place is reached."""
        return self._times[count - 1] if count else 0.0

    def state_at(self, count: int) -> ReplayState:
        """What there is to see once so many moments have happened."""
        if not self.moments:
            return ReplayState()
        now = self.moments[max(0, count - 1)]
        if not count:
            return ReplayState(sampling=now.sampling)
        message = self.messages[now.message_id]
        before = self._shown.above(message)
        places = self._shown.places(message, newest=self._newest(now, count))
        if now.kind not in ("begin", "token"):
            return ReplayState(before, message, places, sampling=now.sampling, tokens=now.tokens)
        written = now.place + 1
        begin, first = self.moments[count - 1 - written], self.moments[count - max(1, written)]
        prefill_s = message.reply.prefill_s if message.reply else 0.0
        return ReplayState(
            before,
            self._shown.cut(message, self._text_of(count - written, count), written),
            places,
            is_replying=True,
            sampling=now.sampling,
            tokens=now.tokens,
            reply_tokens=written,
            tok_per_s=_tok_per_s(written, now.at_s - first.at_s),
            first_token_s=first.at_s - begin.at_s if written else None,
            prefill_s=prefill_s,
            is_by_user=now.chosen_by == "user",
        )

    def _text_of(self, start: int, end: int) -> str:
        """The text of these moments: for the same reply that of the last call, grown or cut.

        Joining 30,000 tokens takes 4 ms (2026-11), for every frame.
        """
        known_start, known_end, text = self._written
        if start != known_start or end < known_end - (known_end - start) // 2:
            known_end, text = start, ""
        if end < known_end:
            text = text[: len(text) - sum(len(step.text) for step in self.moments[end:known_end])]
        else:
            text += "".join(step.text for step in self.moments[known_end:end])
        self._written = (start, end, text)
        return text

    def _newest(self, now: Moment, count: int) -> str:
        """The message that came last: there are no siblings yet that are younger."""
        return self.moments[count - 2].message_id if now.kind == "path" and count > 1 else now.message_id


def _tok_per_s(tokens: int, took_s: float) -> float:
    """Tokens a second after the first one; 0 where there is nothing to divide."""
    return (tokens - 1) / took_s if took_s > 0 else 0.0


def build_timeline(record: SessionRecord) -> Timeline:
    """The timeline of the session; reads the tokens of all its replies.

    Messages come in the order in which they were written, whatever branch they are on. Replies of which
    no tokens are kept appear whole, and so do the copies that a new system prompt makes.
    """
    return Timeline(record, list(_Teller(record).moments()))


class _Teller:
    """Goes through a session and says what happens when."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._tokens_of = record.plain_tokens_of or record.tokens_of
        self._at_s = 0.0
        self._ended_at: float | None = None
        """Unix time at which what was told last was over."""
        self._tokens = 0
        self._sampling = _first_sampling(record.conversation)

    def moments(self) -> Iterator[Moment]:
        conversation = self._record.conversation
        told: set[tuple[float, Role, str]] = set()
        for message in conversation.messages.values():
            origin = (message.created_at, message.role, message.text)
            is_copy = origin in told
            told.add(origin)
            if not is_copy:
                self._wait_until(message.created_at)
            tokens = [] if message.reply is None or is_copy else list(self._tokens_of(message.id))
            if tokens:
                yield from self._reply(message, tokens)
            else:
                yield self._moment("message", message)
            if not is_copy:
                self._ended_at = message.created_at + _duration_s(message, tokens)
        yield from self._last_path(conversation)

    def _reply(self, message: Message, tokens: Sequence[Token]) -> Iterator[Moment]:
        assert message.reply is not None
        self._sampling = message.reply.sampling
        yield self._moment("begin", message)
        self._at_s += _step_s(message.reply.prefill_s)
        for place, token in enumerate(tokens):
            self._at_s += _step_s(token.seconds)
            self._sampling = token.sampling
            self._tokens += 1
            yield self._moment("token", message, place, token.text, token.chosen_by)
        yield self._moment("end", message)

    def _last_path(self, conversation: Conversation) -> Iterator[Moment]:
        """Another branch was chosen after the last message was written."""
        last = next(reversed(conversation.messages), None)
        if conversation.leaf_id is not None and conversation.leaf_id != last:
            self._at_s += SWITCH_S
            yield self._moment("path", conversation.messages[conversation.leaf_id])

    def _wait_until(self, created_at: float) -> None:
        """Let the recorded pause pass; a clock that jumped makes none that is negative or too long."""
        if self._ended_at is not None:
            pause_s = created_at - self._ended_at
            self._at_s += min(max(pause_s, 0.0), LONGEST_PAUSE_S) if math.isfinite(pause_s) else 0.0

    def _moment(
        self,
        kind: MomentKind,
        message: Message,
        place: int = -1,
        text: str = "",
        chosen_by: ChosenBy = "sampler",
    ) -> Moment:
        return Moment(self._at_s, kind, message.id, self._sampling, self._tokens, place, text, chosen_by)


def _first_sampling(conversation: Conversation) -> Sampling:
    """Where the sliders stood when the session began, as far as that is known."""
    replies = (message.reply for message in conversation.messages.values())
    return next((reply.sampling for reply in replies if reply is not None), Sampling())


def _duration_s(message: Message, tokens: Sequence[Token]) -> float:
    if message.reply is None:
        return 0.0
    steps_s = sum(_step_s(token.seconds) for token in tokens) if tokens else _step_s(message.reply.decode_s)
    return _step_s(message.reply.prefill_s) + steps_s


def _step_s(seconds: float) -> float:
    """The seconds, within what one step can take; 0 for what is no number."""
    return min(max(seconds, 0.0), LONGEST_STEP_S) if math.isfinite(seconds) else 0.0
