"""The rerun itself: each reply is generated again, and every token of it is judged.

Where the rerun chooses otherwise, the recorded token is fed in the place of its choice and it goes on from
there: so one early difference does not make all that follows a difference.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from llama_chat.alteration import altered_as_begun
from llama_chat.decode_steps import stepping_as_begun
from llama_chat.errors import LlamaChatError
from llama_chat.events import (
    ComputePlan,
    Engine,
    Event,
    Failed,
    Finished,
    LiveSampling,
    ModelInfo,
    Piece,
    Prefilled,
    Token,
)
from llama_chat.rerun.changes import changes_between
from llama_chat.rerun.differing import difference_at, logprob_difference
from llama_chat.rerun.recorded import RecordedReply, recorded_replies
from llama_chat.rerun.verdict import Difference, ReplyVerdict, Verdict, worst
from llama_chat.sessions import SessionRecord

SHOWN_TEXTS = 3
"""After so many differences of a reply the rerun is let go on for a while, to show where it would lead."""
RUN_ON_TOKENS = 12
"""How far."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rerun is."""

    number: int
    """Of the reply, from 1."""
    tokens: int
    of_tokens: int


def rerun(
    record: SessionRecord,
    engine: Engine,
    *,
    message_ids: Collection[str] | None = None,
    cancel: threading.Event | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Iterator[ReplyVerdict]:
    """A verdict on every reply of the session, of all branches, in the order in which they were written.

    A reply that cannot be compared (its prompt comes out different, the engine fails) is "diverged", and
    its `reason` says why. After a cancel the verdict on what was judged of the running reply is the last.

    Args:
        record: of the session.
        engine: the one that wrote the replies, or what is to be held against it.
        message_ids: judge these replies only.
        cancel: ends the rerun at the next token.
        report: is told how far it is.
    """
    stop = cancel or threading.Event()
    for recorded in recorded_replies(record):
        if message_ids is not None and recorded.message.id not in message_ids:
            continue
        if stop.is_set():
            return
        yield _Judge(engine, recorded.with_tokens(record), stop, report).verdict()


class _NotComparable(Exception):  # noqa: N818  (no error of anybody's: it ends in a verdict)
    """The reply cannot be judged token by token, or not further."""


@dataclass(slots=True)
class _Judge:
    """One reply at work."""

    engine: Engine
    recorded: RecordedReply
    cancel: threading.Event
    report: Callable[[Progress], None]
    judged: int = 0
    largest: float | None = None
    differences: list[Difference] = field(default_factory=list)
    plan: ComputePlan | None = None
    is_stopped: bool = False

    def verdict(self) -> ReplyVerdict:
        """The reply, judged from its first token to its end."""
        reason = ""
        try:
            self._judge_all()
        except _NotComparable as why:
            reason = str(why)
        except LlamaChatError as error:
            reason = str(error)
        recorded, info = self.recorded, self.engine.info
        found: Verdict = "diverged" if reason else worst(each.verdict for each in self.differences)
        return ReplyVerdict(
            number=recorded.number,
            message_id=recorded.message.id,
            model=info.name,
            verdict=found,
            tokens=len(recorded.ids),
            judged=self.judged,
            by_user=sum(map(recorded.is_by_user, range(len(recorded.ids)))),
            differences=tuple(self.differences),
            reason=reason,
            largest_logprob_difference=self.largest,
            changes=changes_between(recorded.model, recorded.reply.plan, info, self.plan),
            setting=setting_of(info, self.plan),
            is_whole=not self.is_stopped,
        )

    def _judge_all(self) -> None:
        pieces = self.recorded.prompt(self.engine.info)
        place = self._next_judged(0)
        recorded = self.recorded
        with (
            altered_as_begun(self.engine, recorded.alteration),
            stepping_as_begun(self.engine, recorded.step),
        ):
            while place < self.recorded.places and not self.is_stopped:
                place = self._next_judged(self._judge_from(pieces, place))

    def _next_judged(self, place: int) -> int:
        """The first choice from this place on that was the sampler's."""
        while self.recorded.is_by_user(place):
            place += 1
        return place

    def _judge_from(self, pieces: tuple[Piece, ...], place: int) -> int:
        """Judge as far as the rerun chooses what was recorded; the place to go on from, after feeding."""
        recorded = self.recorded
        live = LiveSampling()
        self._set_sampling(live, place)
        events = self.engine.stream(
            pieces,
            sampling=live,
            seed=recorded.reply.seed,
            forced_ids=recorded.ids[:place],
            plan=recorded.forwards,
            cancel=self.cancel,
        )
        for event in events:
            self._check(event)
            choice = event if isinstance(event, Token) else self._end_of(event)
            if self.is_stopped:
                return place
            if choice is None:
                continue
            if not self._is_as_recorded(choice, place, is_end=isinstance(event, Finished)):
                rest = self._run_on(events, live, place) if isinstance(event, Token) else ""
                self._note_difference(choice, place, rest, is_end=isinstance(event, Finished))
                return place + 1
            place += 1
            if place >= recorded.places or recorded.is_by_user(place):
                return place
            self._set_sampling(live, place)
        raise _NotComparable("the engine ended without saying how")

    def _set_sampling(self, live: LiveSampling, place: int) -> None:
        """The recorded settings; but where the reply ends is for the record to say, not for a limit."""
        enough = len(self.recorded.ids) + RUN_ON_TOKENS + 1
        live.current = replace(self.recorded.sampling_at(place), max_new_tokens=enough)

    def _check(self, event: Event) -> None:
        """Stop where the reply cannot be compared."""
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Prefilled):
            self.plan = event.plan
            self._check_prompt(event)

    def _check_prompt(self, now: Prefilled) -> None:
        reply = self.recorded.reply
        recorded_digest = reply.plan.prompt_digest if reply.plan is not None else ""
        digest = now.plan.prompt_digest if now.plan is not None else ""
        is_known = bool(recorded_digest and digest)
        is_same = recorded_digest == digest if is_known else reply.prompt_tokens in (0, now.prompt_tokens)
        if not is_same:
            raise _NotComparable(
                f"the prompt came out different: {now.prompt_tokens:,} tokens now, "
                f"{reply.prompt_tokens:,} when it was recorded"
            )

    def _end_of(self, event: Event) -> Token | None:
        """The end token, where the model ended the reply; a stop by the user is noted."""
        if not isinstance(event, Finished):
            return None
        if event.reason == "stopped":
            self.is_stopped = True
            return None
        if event.reason != "end":
            raise _NotComparable(f"the rerun had to end early ({event.reason})")
        if event.end is None:
            raise _NotComparable("the model ended the reply early, and does not tell what else it could say")
        return event.end

    def _is_as_recorded(self, choice: Token, place: int, *, is_end: bool) -> bool:
        recorded = self.recorded
        self.judged += 1
        self.report(Progress(recorded.number, min(place + 1, len(recorded.ids)), len(recorded.ids)))
        if place == len(recorded.ids):
            return is_end
        apart = logprob_difference(recorded, place, choice)
        if apart is not None:
            self.largest = max(self.largest or 0.0, apart)
        return not is_end and choice.token_id == recorded.ids[place]

    def _run_on(self, events: Iterator[Event], live: LiveSampling, place: int) -> str:
        """The text with which the rerun would have gone on."""
        if len(self.differences) >= SHOWN_TEXTS:
            return ""
        texts: list[str] = []
        for n in range(1, RUN_ON_TOKENS):
            self._set_sampling(live, place + n)
            event = next(events, None)
            if not isinstance(event, Token):
                break
            texts.append(event.text)
        return "".join(texts)

    def _note_difference(self, choice: Token, place: int, rest: str, *, is_end: bool) -> None:
        end_ids = self.engine.info.end_ids
        self.differences.append(difference_at(self.recorded, place, choice, rest, end_ids, is_end=is_end))


def setting_of(info: ModelInfo, plan: ComputePlan | None) -> str:
    """What computes, in one line."""
    parts = [
        *(info.name, info.dtype, info.device, f"{info.engine} engine"),
        f"torch {info.torch}" if info.torch else "",
        f"{info.threads} thread{'s' * (info.threads != 1)}",
        plan.machine if plan is not None else info.machine,
    ]
    return " · ".join(filter(None, parts))
