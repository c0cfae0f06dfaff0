"""One reply, from logits to tokens to events: the one loop, for every network."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llama_chat.decode_steps import step_name
from llama_chat.engine.altering import altered_by
from llama_chat.engine.drafting.lookahead import Lookahead
from llama_chat.engine.holding import Drawn, Holding
from llama_chat.engine.live_cache import shapes_behind, wanted_shapes
from llama_chat.engine.sampler import Choice, choose, describe_given
from llama_chat.engine.vocabulary.tokenizer import Detokenizer
from llama_chat.errors import PromptError
from llama_chat.events import (
    ChosenBy,
    ComputePlan,
    Event,
    Finished,
    FinishReason,
    Forward,
    LiveSampling,
    Loading,
    Prefilled,
    Sampling,
    Timings,
    Token,
    Usage,
    digest_of,
)
from llama_chat.turn import prompt_too_long

if TYPE_CHECKING:
    from llama_chat.engine.generate import LocalEngine

GIVEN_CHUNK = 64
"""Ids of one forward that gives the logits of all: of 128,256 each, 33 MB."""


@dataclass(slots=True)
class Reply:
    """One run of the loop."""

    engine: LocalEngine
    sampling: LiveSampling
    seed: int
    cancel: threading.Event
    holding: Holding
    index: int
    """Of the next token in the reply."""
    prompt_tokens: int = 0
    prompt_digest: str = ""
    reused_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    new_tokens: int = 0
    first_new: int = 0
    """Index of the first token that counts as new, behind those that the user gave."""
    ahead: Lookahead = field(init=False)
    """Where the logits come from, once the prompt is in the cache."""

    def __post_init__(self) -> None:
        engine = self.engine
        self.ahead = Lookahead(engine.live, engine.drafting, engine.tokenizer.vocabulary.end_ids)

    def run(
        self, ids: list[int], prompt_tokens: int, plan: Sequence[Forward], given_ids: Sequence[int] = ()
    ) -> Iterator[Event]:
        """From the ids of the prompt and the forced ones to `Finished`."""
        live, context_length = self.engine.live, self.engine.info.context_length
        self.prompt_tokens, self.prompt_digest = prompt_tokens, digest_of(ids[:prompt_tokens])
        if not ids:
            raise PromptError("The prompt is empty", hint="Write something to answer.")
        if len(ids) + len(given_ids) >= context_length:
            raise prompt_too_long(len(ids) + len(given_ids), self.engine.info)
        shapes = wanted_shapes(
            plan, prompt_tokens=prompt_tokens, length=len(ids), context_length=context_length
        )
        started = time.perf_counter()
        live.verified_from = prompt_tokens
        kept = live.reuse(ids, shapes)
        self.reused_tokens = min(kept, prompt_tokens)
        logits_V: Tensor | None = None
        for logits_V in live.prefill(ids, self.cancel.is_set, shapes):
            if logits_V is None:
                yield Loading(len(live.ids) / len(ids), "prompt")
        given: list[Choice] = []
        if logits_V is not None and given_ids:
            logits_V = yield from self.give(given_ids, logits_V, given)
        self.prefill_s = time.perf_counter() - started
        if logits_V is None:
            yield self.finished("stopped")
            return
        detokenizer = self.engine.tokenizer.decoder()
        text = "".join(map(detokenizer.feed, ids[prompt_tokens:]))
        yield Prefilled(prompt_tokens, self.reused_tokens, self.prefill_s, self.plan(), text)
        for choice in given:
            text = detokenizer.feed(choice.token_id)
            yield self.token(choice, text, 0.0, self.sampling.current, "user")
            self.index += 1
        self.first_new = self.index if given else 0
        self.ahead.begin(() if given else shapes_behind(plan, len(ids), context_length), self.draw)
        yield from self.decode(logits_V, detokenizer)

    def give(
        self, given_ids: Sequence[int], logits_V: Tensor, found: list[Choice]
    ) -> Generator[Event, None, Tensor | None]:
        """The logits behind the given ids; None when cancelled. What each was among goes into `found`.

        The last id goes alone: out of a forward that gives the logits of one row they are the same to the
        last bit when the reply goes on or is computed again, out of one for many rows they are not.
        """
        live, before_V, last = self.engine.live, logits_V, len(given_ids) - 1
        starts = range(0, last, GIVEN_CHUNK)
        for part in (*(given_ids[at : min(at + GIVEN_CHUNK, last)] for at in starts), given_ids[last:]):
            if self.cancel.is_set():
                return None
            seen_ids = list(live.ids)
            with torch.inference_mode():
                before_V = before_V.clone()  # a network may write the next logits into the same memory
                logits_TV = live.extend(part, "all", "prefill")
            assert logits_TV is not None
            for token_id, after_V in zip(part, logits_TV, strict=True):
                found.append(describe_given(before_V, self.sampling.current, token_id, len(found), seen_ids))
                seen_ids.append(token_id)
                before_V = after_V
            yield Loading(len(found) / len(given_ids), "prompt")
        return before_V

    def decode(self, logits_V: Tensor, detokenizer: Detokenizer) -> Iterator[Event]:
        """Tokens until an end. A token is given out before the next forward: who stops, stops there."""
        ahead, tokenizer, end = self.ahead, self.engine.tokenizer, None
        end_ids, context_length = tokenizer.vocabulary.end_ids, self.engine.info.context_length
        last = time.perf_counter()
        while (reason := self.reason_to_stop(ahead.length, context_length)) is None:
            snapshot = self.sampling.current
            drawn = Drawn(self.choose(logits_V, snapshot), snapshot)
            ahead.chosen()
            now = time.perf_counter()
            seconds = now - last
            if self.holding.is_wanted:
                drawn = yield from self.hold(logits_V, drawn)
                now = time.perf_counter()  # for how long the user thought is not the time of any token
                if self.cancel.is_set():
                    reason = "stopped"
                    break
            token_id = drawn.choice.token_id
            if token_id in end_ids:
                reason, end = "end", self.token(drawn.choice, "", seconds, drawn.sampling, drawn.by)
                break
            text = detokenizer.feed(token_id)
            token = self.token(drawn.choice, text, seconds, drawn.sampling, drawn.by)
            self.count(token)
            last = now
            yield token
            if (reason := self.reason_to_stop(ahead.length + 1, context_length)) is not None:
                break
            logits_V = ahead.after(token_id, self.most_drafted(context_length))
        ahead.settle()
        yield self.finished(reason, detokenizer.flush(), end)

    def hold(self, logits_V: Tensor, drawn: Drawn) -> Generator[Event, None, Drawn]:
        """What the user takes instead of what is drawn, or lets be taken."""

        def describe(token_id: int, sampling: Sampling) -> Choice:
            return describe_given(logits_V, sampling, token_id, self.index, self.ahead.ids)

        return (
            yield from self.holding.decide(
                self.index, drawn, lambda sampling: self.choose(logits_V, sampling), describe
            )
        )

    def most_drafted(self, context_length: int) -> int:
        """How many of the tokens behind the next one could be given out; none while the user decides."""
        if self.holding.is_wanted:
            return 0
        left = self.sampling.current.max_new_tokens - (self.index - self.first_new)
        return max(0, min(left, context_length - self.ahead.length) - 1)

    def reason_to_stop(self, used: int, context_length: int) -> FinishReason | None:
        """Why no further token may be chosen, if so."""
        if self.cancel.is_set():
            return "stopped"
        if self.index - self.first_new >= self.sampling.current.max_new_tokens or used >= context_length:
            return "length"
        return None

    @torch.inference_mode()
    def choose(self, logits_V: Tensor, snapshot: Sampling) -> Choice:
        """The next token with these settings."""
        pick = choose if logits_V.device.type == "cpu" else self.engine.device_sampler.choose
        return pick(logits_V, snapshot, seed=self.seed, index=self.index, seen_ids=self.ahead.ids)

    def draw(self, logits_V: Tensor, further: int, seen_ids: Sequence[int]) -> int:
        """What would be chosen by these logits, so many tokens further on."""
        snapshot, index = self.sampling.current, self.index + further
        return choose(logits_V, snapshot, seed=self.seed, index=index, seen_ids=seen_ids).token_id

    def token(
        self, choice: Choice, text: str, seconds: float, snapshot: Sampling, by: ChosenBy = "sampler"
    ) -> Token:
        """The event of the next token."""
        return Token(
            index=self.index,
            token_id=choice.token_id,
            piece=self.engine.tokenizer.piece(choice.token_id),
            text=text,
            chosen_by=by,
            logprob=choice.logprob,
            rank=choice.rank,
            candidates=choice.candidates,
            seconds=seconds,
            sampling=snapshot,
            forward=self.ahead.forward,
        )

    def count(self, token: Token) -> None:
        """The token is given out."""
        self.index += 1
        self.new_tokens += 1
        if self.new_tokens > 1:
            self.decode_s += token.seconds

    def plan(self) -> ComputePlan:
        """How all that is in the cache was computed."""
        info = self.engine.info
        return ComputePlan(
            tuple(self.engine.live.forwards),
            info.dtype,
            info.device,
            info.threads,
            info.torch,
            machine=info.machine,
            prompt_digest=self.prompt_digest,
            alteration=altered_by(self.engine.network),
            step=step_name(self.engine.network),
        )

    def finished(self, reason: FinishReason, text: str = "", end: Token | None = None) -> Finished:
        """The last event."""
        context_length = self.engine.info.context_length
        usage = Usage(
            self.prompt_tokens,
            self.reused_tokens,
            self.new_tokens,
            context_length,
            drafted_tokens=self.ahead.drafted,
            accepted_tokens=self.ahead.accepted,
        )
        plan = replace(self.plan(), ended_by=end.chosen_by) if end is not None else self.plan()
        return Finished(reason, usage, Timings(self.prefill_s, self.decode_s), plan, text, end)
