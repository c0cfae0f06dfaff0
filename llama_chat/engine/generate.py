"""An engine of our own networks: it answers prompts with events, out of one cache."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

from llama_chat.engine.alterable_engine import AlterableEngine
from llama_chat.engine.device_sampler import DeviceSampler
from llama_chat.engine.devices import is_out_of_memory
from llama_chat.engine.drafting.draft_model import ModelDrafter
from llama_chat.engine.drafting.drafting import Drafting
from llama_chat.engine.fused.seam import SteppingEngine
from llama_chat.engine.fused.source import StepSource
from llama_chat.engine.holding import Holding
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.network import Network
from llama_chat.engine.reply import Reply
from llama_chat.engine.scoring import ScoringEngine
from llama_chat.engine.unpacked import UnpackedLayers
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import LlamaChatError, ModelError, PromptError
from llama_chat.events import Event, Failed, Forward, LiveSampling, ModelInfo, Piece
from llama_chat.giving_way import GivesWay
from llama_chat.steering import Steering
from llama_chat.sweep.asking import SweepEvent
from llama_chat.sweep.columns import SweepColumn


class LocalEngine(AlterableEngine, ScoringEngine, SteppingEngine):
    """An `Engine` of a network and a tokenizer. Belongs to the thread that made it."""

    def __init__(self, network: Network, tokenizer: Tokenizer, info: ModelInfo) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self._info = info
        self.live = LiveCache(network)
        self.device_sampler = DeviceSampler()
        self.drafting: Drafting | None = None
        """What drafts tokens; None: nothing does."""

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
        if self.drafting is not None:
            self.drafting.drafter.close()
        del self.live  # first: what a network gives back to its device includes the cache
        self.device_sampler.close()
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
        reply = Reply(self, sampling, seed, flag, holding, index=len(forced_ids))
        try:
            ids = self.tokenizer.encode_pieces(pieces)
            self._check_forced(forced_ids)
            given_ids = self.tokenizer.encode(given, is_first=not forced_ids) if given else []
            with self.replying():
                yield from reply.run([*ids, *forced_ids], len(ids), plan, given_ids)
        except ModelError as error:
            self.live = LiveCache(self.network)  # where logits are no numbers, keys and values may be none
            yield Failed(error)
        except LlamaChatError as error:
            yield Failed(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            del reply  # it holds the cache, and the error's traceback this frame
            self.live = LiveCache(self.network)
            yield Failed(_out_of_memory(error, self.info))

    def sweep(
        self, pieces: Sequence[Piece], columns: Sequence[SweepColumn], cancel: threading.Event
    ) -> Iterator[SweepEvent]:
        """Several replies to one prompt, side by side, as `llama_chat.sweep.asking.Sweeps` has it."""
        from llama_chat.engine.sweep import sweep

        return sweep(self, pieces, columns, cancel)

    def _made_parts(self) -> list[StepSource | UnpackedLayers]:
        """Its own, and those of a smaller model that drafts for it."""
        parts = super()._made_parts()
        drafter = self.drafting.drafter if self.drafting is not None else None
        return [*parts, *drafter.engine._made_parts()] if isinstance(drafter, ModelDrafter) else parts

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
