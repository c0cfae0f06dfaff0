"""The seam between whatever computes and whatever shows: sampling settings in, events out.

Nothing here knows of torch or of a screen. An `Engine` turns prompt pieces into a stream of events; the
chat, `run`, the store and replay consume them. All events are frozen, so they may cross threads.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from llama_chat.candidates import CANDIDATE_COUNT as CANDIDATE_COUNT  # part of this seam, as Sampling is
from llama_chat.candidates import TAIL_BINS_PER_LOGIT as TAIL_BINS_PER_LOGIT
from llama_chat.candidates import Candidate as Candidate
from llama_chat.candidates import Candidates as Candidates
from llama_chat.errors import LlamaChatError
from llama_chat.sampling import Sampling as Sampling  # part of this seam; apart, for a quick `--help`
from llama_chat.steering import Steering

# --- what a prompt is made of ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Special:
    """A control token that the template itself wrote, by its text (`<|im_start|>`)."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Ordinary text: whatever it contains, it never becomes a control token."""

    text: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids taken as they were recorded, instead of tokenising `text` again."""

    token_ids: tuple[int, ...]
    text: str = ""


Piece: TypeAlias = Special | Text | Ids


# --- how the next token is chosen -----------------------------------------------------------------


class LiveSampling:
    """The settings as they are now: read once for every token, swapped whole by whoever moves a slider.

    Swapping a reference is atomic, so the reader needs no lock and sees the old snapshot or the new one.
    """

    def __init__(self, sampling: Sampling | None = None) -> None:
        self._current = sampling or Sampling()

    @property
    def current(self) -> Sampling:
        """The snapshot that the next token is drawn with."""
        return self._current

    @current.setter
    def current(self, sampling: Sampling) -> None:
        self._current = sampling

    def change(self, **changes: Any) -> Sampling:
        """The new snapshot, with these fields replaced, which counts from the next token on."""
        self._current = replace(self._current, **changes)
        return self._current


# --- how a reply was computed ----------------------------------------------------------------------

ChosenBy: TypeAlias = Literal["sampler", "user"]


@dataclass(frozen=True, slots=True)
class Forward:
    """A stretch of the cache and the computation that filled it.

    `kind` "prefill" is one forward of `rows` tokens at `start`, of which `kept` are still in the cache;
    "step" stands for `kept` forwards of one token each.
    """

    start: int
    rows: int
    kept: int
    kind: Literal["prefill", "step"]


@dataclass(frozen=True, slots=True)
class ComputePlan:
    """What must be done again to get the same bits: the forwards, and where they ran."""

    forwards: Sequence[Forward]
    dtype: str
    device: str
    threads: int
    torch: str
    step: str = "eager"
    """Which artefact ran the decode steps."""
    machine: str = ""
    """Name of the processor or GPU; empty where it is not known."""
    prompt_digest: str = ""
    """Of the prompt's token ids (`digest_of`): who computes again knows whether it is the same prompt."""
    alteration: str = ""
    """Which heads and layers were switched off or scaled (`Alteration.signature`); empty for none."""
    ended_by: ChosenBy = "sampler"
    """Who chose the token that ended the reply, where one did."""


def digest_of(token_ids: Sequence[int]) -> str:
    """16 hexadecimal digits that other ids do not have."""
    from hashlib import sha256  # 4 ms, and nothing at the start needs it

    return sha256(array("I", token_ids).tobytes()).hexdigest()[:16]


# --- events ----------------------------------------------------------------------------------------

FinishReason: TypeAlias = Literal["end", "length", "stopped", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Loading:
    """A model is on its way into memory, or a long prompt (`what` is "prompt") into the cache; 0 to 1."""

    fraction: float
    what: str


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The prompt is in the cache."""

    prompt_tokens: int
    reused_tokens: int
    seconds: float
    plan: ComputePlan | None = None
    """How, so that a reply which is never finished can be computed again; its steps follow one by one."""
    forced_text: str | None = None
    """What the forced ids say, but for a character that they leave incomplete; None: not told."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token was chosen.

    `text` is what became readable by it: empty while a character is incomplete, several characters when
    one is completed. The texts of a reply, joined, are its text.
    """

    index: int
    """Place in the reply, from 0, forced ids included."""
    token_id: int
    piece: bytes
    text: str
    chosen_by: ChosenBy
    logprob: float
    """Natural logarithm of its probability before sampling (temperature 1, after the penalty)."""
    rank: int
    """Exact, 1 is the likeliest of the whole vocabulary."""
    candidates: Candidates
    seconds: float
    """Since the token before, or since the prefill ended."""
    sampling: Sampling
    forward: tuple[int, int] | None = field(default=None, compare=False)
    """Start and rows of the forward that its logits came from, where others did, too (drafting).

    Told while the reply runs, for the plan of one that is never finished; a finished one's plan has them all.
    """


@dataclass(frozen=True, slots=True)
class Awaiting:
    """The reply stands still until the user says which token comes next; told again when the sliders move."""

    index: int
    """Of the token in the reply."""
    candidates: Candidates
    would_take: int
    """The token that the sampler would take, with the settings as they are."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply."""

    prompt_tokens: int
    reused_tokens: int
    new_tokens: int
    context_length: int
    drafted_tokens: int = 0
    """Guessed, and computed along with others (`engine.drafting`)."""
    accepted_tokens: int = 0
    """Those of them that were chosen then, each of which saved a step."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one reply."""

    prefill_s: float
    decode_s: float

    def decode_tok_per_s(self, new_tokens: int) -> float:
        """Tokens a second after the first one, 0 where there is nothing to divide."""
        return (new_tokens - 1) / self.decode_s if new_tokens > 1 and self.decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply is over. `text` is what the decoder still held back (a cut character, as U+FFFD)."""

    reason: FinishReason
    usage: Usage
    timings: Timings
    plan: ComputePlan
    text: str = ""
    end: Token | None = None
    """Where the model ended it: the end token that was chosen, and what else it could have been."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The reply could not go on; what came before it stays."""

    error: LlamaChatError


Event: TypeAlias = Loading | Prefilled | Token | Awaiting | Finished | Failed


# --- the engine ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known about a loaded model, as plain data."""

    name: str
    path: str
    engine: Literal["scratch", "hf"]
    architecture: str
    device: str
    dtype: str
    """What the products run in, as the user knows it: `Q4_1`, `bf16`, `f32`."""
    context_length: int
    vocab_size: int
    parameters: int
    weights_bytes: int
    fingerprint: str
    chat_template: str | None
    """Jinja source; None means that the model starts raw."""
    special_tokens: tuple[str, ...]
    """Texts of the tokens that ordinary text never becomes."""
    bos_text: str = ""
    eos_text: str = ""
    threads: int = 1
    torch: str = ""
    visible_tokens: tuple[str, ...] = ()
    """Those of the special tokens that readers see, such as `<think>`."""
    engine_reason: str = ""
    """Why this engine: empty where the user named it."""
    longest_context: int = 0
    """What the model was made for, whatever `--context` made of it; 0 where its files do not say."""
    machine: str = ""
    """Name of the processor or GPU that computes; empty where it is not known."""
    notices: tuple[str, ...] = ()
    """What the user should know of the model's files: which of two formats was taken, what was guessed."""
    end_ids: tuple[int, ...] = ()
    """Tokens that end a reply, rising; empty where they are not known."""
    special_ids: tuple[int, ...] = ()
    """Control and user-defined tokens, rising: no ordinary text becomes one of them."""
    vocabulary_digest: str = ""
    """Names all its tokens (`distribution.names.vocabulary_digest`); empty where it is not known."""


@runtime_checkable
class Engine(Protocol):
    """Whatever answers prompts with events."""

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""
        ...

    def count_tokens(self, pieces: Sequence[Piece]) -> int:
        """How many ids the pieces become; may be asked by any thread, at any time.

        So it uses nothing but the tokenizer, which `close` leaves whole: neither the cache nor what else
        changes while a reply is computed.
        """
        ...

    def encode(self, pieces: Sequence[Piece]) -> Sequence[int]:
        """The ids that the pieces become; may be asked by any thread, at any time, as `count_tokens`."""
        ...

    def pieces(self) -> Sequence[bytes]:
        """The bytes of every token by its id, of control tokens their text; asked as `count_tokens` is."""
        ...

    def texts_of(self, token_ids: Sequence[int]) -> Sequence[str]:
        """What becomes readable by each token of a reply; on any thread, as `count_tokens`."""
        ...

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
        """Prefill the pieces and the forced ids, then choose tokens until an end.

        Forced ids count as tokens of the reply but are not given out again. With a `plan`, the ids that it
        covers go through the model in its forwards, whatever is quicker: only so do they give the same bits.
        What is `given` is text that the user lets the reply go on with, behind the forced ids: its tokens are
        prefilled, and given out as chosen by the user before any is drawn; they do not count as new ones.
        Where the user holds the reply, `Awaiting` tells so, and the next event comes when he has decided.
        `cancel` is looked at before every token and every prefill chunk. The last event is `Finished` or
        `Failed`; no exception passes but for bugs.
        """
        ...

    def close(self) -> None:
        """Free the weights and the cache."""
        ...


EngineLoader: TypeAlias = Callable[[Callable[[Loading], None], threading.Event], Engine]
"""Called on the thread that will own the engine, with a callback for progress and a cancel flag."""
