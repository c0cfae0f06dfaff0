"""Logits to tokens to events: the one loop, for every network."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llama_chat.engine.alterable_engine import AlterableEngine
from llama_chat.engine.altering import altered_by
from llama_chat.engine.device_sampler import DeviceSampler
from llama_chat.engine.devices import is_out_of_memory
from llama_chat.engine.holding import Drawn, Holding
from llama_chat.engine.live_cache import LiveCache, wanted_shapes
from llama_chat.engine.network import Network
from llama_chat.engine.sampler import Choice, choose, describe_given
from llama_chat.engine.scoring import ScoringEngine
from llama_chat.engine.vocabulary.tokenizer import Detokenizer, Tokenizer
from llama_chat.errors import LlamaChatError, ModelError, PromptError
from llama_chat.events import (
    ChosenBy,
    ComputePlan,
    Event,
    Failed,
    Finished,
    FinishReason,
    Forward,
    LiveSampling,
    Loading,
    ModelInfo,
    Piece,
    Prefilled,
    Sampling,
    Timings,
    Token,
    Usage,
    digest_of,
)
from llama_chat.giving_way import GivesWay
from llama_chat.steering import Steering
from llama_chat.sweep.asking import SweepEvent
from llama_chat.sweep.columns import SweepColumn
from llama_chat.turn import prompt_too_long

GIVEN_CHUNK = 64
"""Ids of one forward that gives the logits of all: of 128,256 each, 33 MB."""


class LocalEngine(AlterableEngine, ScoringEngine):
    """An `Engine` of a network and a tokenizer. Belongs to the thread that made it."""

    def __init__(self, network: Network, tokenizer: Tokenizer, info: ModelInfo) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self._info = info
        self.live = LiveCache(network)
        self.device_sampler = DeviceSampler()

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""
        return self._info

    def count_tokens(self, pieces: Sequence[Piece]) -> int:
        """How many ids the pieces become."""
        return len(self.tokenizer.encode_pieces(pieces))

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """The ids that the pieces become."""
        return self.tokenizer.encode_pieces(pieces)

    def pieces(self) -> Sequence[bytes]:
        """The bytes of every token by its id, of control tokens their text."""
        return self.tokenizer.vocabulary.pieces

    def texts_of(self, token_ids: Sequence[int]) -> list[str]:
        """What becomes readable by each token of a reply."""
        return list(map(self.tokenizer.decoder().feed, token_ids))

    def give_way_at(self, gate: Callable[[], None]) -> None:
        """Call the gate before every layer, where the network has such a place."""
        if isinstance(self.network, GivesWay):
            self.network.give_way_at(gate)

    def close(self) -> None:
        """Free the weights and the cache."""
        del self.live  # first: what a network gives back to its device includes the cache
        self.network.close()

    def stream(
        self,
        pieces: Sequence[Piece],
        *,
        sampling: LiveSampling,
        seed: int,
        forced_ids: Sequence[int] = (),
        plan: Sequence[Forward] = (),
        given: str = "",
        steering: Steering | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Prefill what is not in the cache yet, then choose tokens until an end.

        Forced ids count as tokens of the reply (they shift the index, and with it the noise) but are not
        given out again: a reply that goes on does so as if it had never stopped. Where they end inside a
        character, the first text completes it; the `Finished.text` that stood for it is then void.

        The cache is used again as far as ids and, where there is a plan, forwards agree with what is in it.
        Beyond the plan forced ids go one by one, as they were chosen. A plan may come out of any file: from
        where it cannot be followed on, it is as if it ended there.

        What is `given` is tokenised by itself, as the beginning of a reply. All of it is in the cache before
        the first of its tokens is given out. What the user types while the reply is held goes token by token.
        """
        flag = cancel or threading.Event()
        holding = Holding(steering or Steering(), sampling, flag, self._encode_typed)
        reply = _Reply(self, sampling, seed, flag, holding, index=len(forced_ids))
        try:
            ids = self.tokenizer.encode_pieces(pieces)
            self._check_forced(forced_ids)
            given_ids = self.tokenizer.encode(given, is_first=not forced_ids) if given else []
            yield from reply.run([*ids, *forced_ids], len(ids), plan, given_ids)
        except ModelError as error:
            self.live = LiveCache(self.network)  # where logits are no numbers, keys and values may be none
            yield Failed(error)
        except LlamaChatError as error:
            yield Failed(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.live = LiveCache(self.network)
            yield Failed(_out_of_memory(error, self.info))

    def sweep(
        self, pieces: Sequence[Piece], columns: Sequence[SweepColumn], cancel: threading.Event
    ) -> Iterator[SweepEvent]:
        """Several replies to one prompt, side by side, as `llama_chat.sweep.asking.Sweeps` has it."""
        from llama_chat.engine.sweep import sweep

        return sweep(self, pieces, columns, cancel)

    def _encode_typed(self, text: str, is_first: bool) -> list[int]:
        return self.tokenizer.encode(text, is_first=is_first)

    def _check_forced(self, forced_ids: Sequence[int]) -> None:
        vocab_size = self.info.vocab_size
        wrong = next((token_id for token_id in forced_ids if not 0 <= token_id < vocab_size), None)
        if wrong is not None:
            raise PromptError(
                f"The reply has a token {wrong}; {self.info.name} has the tokens 0 to {vocab_size - 1}.",
                hint="Another model wrote it: go on with that one.",
            )


def _out_of_memory(error: RuntimeError | MemoryError, info: ModelInfo) -> ModelError:
    traceback.clear_frames(error.__traceback__)  # they hold the tensors that there was no room for
    reason = str(error).splitlines()[0] if str(error) else "out of memory"
    failure = ModelError(
        f"{info.device} ran out of memory: {reason}", hint="Try a shorter --context or a smaller --dtype."
    )
    failure.__cause__ = error
    return failure


@dataclass(slots=True)
class _Reply:
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

    def run(
        self, ids: list[int], prompt_tokens: int, plan: Sequence[Forward], given_ids: Sequence[int] = ()
    ) -> Iterator[Event]:
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
        live, tokenizer, end = self.engine.live, self.engine.tokenizer, None
        end_ids, context_length = tokenizer.vocabulary.end_ids, self.engine.info.context_length
        last = time.perf_counter()
        while (reason := self.reason_to_stop(len(live.ids), context_length)) is None:
            snapshot = self.sampling.current
            drawn = Drawn(self.choose(logits_V, snapshot), snapshot)
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
            if (reason := self.reason_to_stop(len(live.ids) + 1, context_length)) is not None:
                break
            with torch.inference_mode():
                step = live.extend([token_id], "last", "step")
            assert step is not None
            logits_V = step
        yield self.finished(reason, detokenizer.flush(), end)

    def hold(self, logits_V: Tensor, drawn: Drawn) -> Generator[Event, None, Drawn]:
        """What the user takes instead of what is drawn, or lets be taken."""

        def describe(token_id: int, sampling: Sampling) -> Choice:
            return describe_given(logits_V, sampling, token_id, self.index, self.engine.live.ids)

        return (
            yield from self.holding.decide(
                self.index, drawn, lambda sampling: self.choose(logits_V, sampling), describe
            )
        )

    def reason_to_stop(self, used: int, context_length: int) -> FinishReason | None:
        """Why no further token may be chosen, if so."""
        if self.cancel.is_set():
            return "stopped"
        if self.index - self.first_new >= self.sampling.current.max_new_tokens or used >= context_length:
            return "length"
        return None

    @torch.inference_mode()
    def choose(self, logits_V: Tensor, snapshot: Sampling) -> Choice:
        pick = choose if logits_V.device.type == "cpu" else self.engine.device_sampler.choose
        return pick(logits_V, snapshot, seed=self.seed, index=self.index, seen_ids=self.engine.live.ids)

    def token(
        self, choice: Choice, text: str, seconds: float, snapshot: Sampling, by: ChosenBy = "sampler"
    ) -> Token:
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
        )

    def count(self, token: Token) -> None:
        self.index += 1
        self.new_tokens += 1
        if self.new_tokens > 1:
            self.decode_s += token.seconds

    def plan(self) -> ComputePlan:
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
        )

    def finished(self, reason: FinishReason, text: str = "", end: Token | None = None) -> Finished:
        context_length = self.engine.info.context_length
        usage = Usage(self.prompt_tokens, self.reused_tokens, self.new_tokens, context_length)
        plan = replace(self.plan(), ended_by=end.chosen_by) if end is not None else self.plan()
        return Finished(reason, usage, Timings(self.prefill_s, self.decode_s), plan, text, end)
