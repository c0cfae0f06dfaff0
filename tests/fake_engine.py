"""An engine of plain events for tests: scripted or endless text, at a pace that the test sets."""

from __future__ import annotations

import itertools
import math
import threading
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import (
    Awaiting,
    Candidates,
    ComputePlan,
    Event,
    Failed,
    Finished,
    FinishReason,
    Forward,
    Ids,
    LiveSampling,
    Loading,
    ModelInfo,
    Piece,
    Prefilled,
    Sampling,
    Special,
    Text,
    Timings,
    Token,
    Usage,
)
from llama_chat.scoring import PLAIN
from llama_chat.steering import Order, Steering

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n'}}{% endif %}"
)
INFO = ModelInfo(
    name="SmolLM2-135M-Instruct",
    path="/models/fake.gguf",
    engine="scratch",
    architecture="llama",
    device="cpu",
    dtype="Q4_1",
    context_length=8192,
    vocab_size=49152,
    parameters=134_515_008,
    weights_bytes=98_000_000,
    fingerprint="fake",
    chat_template=CHATML,
    special_tokens=("<|im_start|>", "<|im_end|>"),
    eos_text="<|im_end|>",
    end_ids=(1,),
    special_ids=(0, 1),
    vocabulary_digest="fa4e",
)
PLAN = ComputePlan((), "Q4_1", "cpu", 2, "fake")
STORY = (
    "Once upon a time, there was a fox named **Felix**. He lived by a wide, slow river, and every evening he "
    'asked it the same question.\n\n```python\ndef ask(river: River) -> str:\n    return river.answer("Why?")'
    "\n```\n\nThe river never hurried. It said:\n\n- listen,\n- wait, and\n- ask again tomorrow.\n"
)
VOCABULARY = [b"<|im_start|>", b"<|im_end|>", *(f" w{n}".encode() for n in range(2, 2000))]
"""Bytes of its tokens by id; those that its candidates are, and two that cannot be read."""
VOCABULARY[7:11] = [b" river", b" fox", b"\n", b" \xe2\x80"]
VOCABULARY[20:32] = [
    *(b" and", b" the", b" river", b" fox", b",", b" of", b" a", b" slow", b" wide", b" old", b" to", b"."),
]


@dataclass
class Pace:
    """How fast tokens come: at once, or one for each `step`."""

    is_stepped: bool = False
    _steps: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def step(self, tokens: int = 1) -> None:
        """Let so many more tokens out."""
        self._steps.release(tokens)

    def wait(self, cancel: threading.Event | None) -> None:
        """Until the next token may come, or it is not wanted any more."""
        while self.is_stepped and not self._steps.acquire(timeout=0.01):
            if cancel is not None and cancel.is_set():
                return


class FakeEngine:
    """Answers every prompt with the words of `answers`, the last one again and again.

    One token a word: with forced ids it goes on behind as many words.

    Args:
        answers: texts; None is a text without an end.
        pace: when tokens come.
        fail_after: a reply fails after so many tokens, with `error`.
        info: the model that it claims to be.
        token_s: seconds that each token claims to have taken.
    """

    def __init__(
        self,
        answers: Sequence[str | None] = (STORY,),
        *,
        pace: Pace | None = None,
        fail_after: int | None = None,
        error: LlamaChatError | None = None,
        info: ModelInfo = INFO,
        token_s: float = 1 / 112,
    ) -> None:
        self._answers = list(answers)
        self.pace = pace or Pace()
        self._fail_after = fail_after
        self._error = error or LlamaChatError("The engine broke.", hint="Try again.")
        self._info = info
        self._token_s = token_s
        self.prompts: list[str] = []
        self.samplings: list[Sampling] = []
        """What each token was drawn with."""
        self.forced: list[tuple[tuple[int, ...], tuple[Forward, ...]]] = []
        """The forced ids and the plan of each prompt."""
        self.is_closed = False

    @property
    def info(self) -> ModelInfo:
        return self._info

    def count_tokens(self, pieces: Sequence[Piece]) -> int:
        return sum(len(piece.text.split()) + 1 for piece in pieces)

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        return list(range(self.count_tokens(pieces)))

    def pieces(self) -> list[bytes]:
        return VOCABULARY

    def score(self, token_ids: Sequence[int], start: int, cancel: threading.Event) -> Iterator[Token]:
        for place in range(max(1, start), len(token_ids)):
            if cancel.is_set():
                raise Interrupted("Scoring was stopped.")
            piece = VOCABULARY[token_ids[place]]
            token = _token(place - start, piece.decode("utf-8", "replace"), 0.0, PLAIN)
            yield replace(token, token_id=token_ids[place], piece=piece, chosen_by="user")

    def texts_of(self, token_ids: Sequence[int]) -> list[str]:
        words = list(itertools.islice(_words(self._answers[0]), len(token_ids)))
        return [
            words[place] if token_id >= 100 and place < len(words) else VOCABULARY[token_id].decode()
            for place, token_id in enumerate(token_ids)
        ]

    def close(self) -> None:
        self.is_closed = True

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
        self.prompts.append(
            "".join(piece.text for piece in pieces if isinstance(piece, Special | Text | Ids))
        )
        prompt_tokens = self.count_tokens(pieces)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        begun = len(forced_ids)
        self.forced.append((tuple(forced_ids), tuple(plan)))
        words = _words(answer)
        said = "".join(itertools.islice(words, begun))
        yield Prefilled(prompt_tokens, prompt_tokens // 2, 0.21, PLAN, said)
        for text in _split(given) if given else ():
            yield replace(_token(begun, text, 0.0, sampling.current), chosen_by="user")
            begun += 1
        index, reason = begun, "end"
        for index, text in enumerate(words, begun):
            self.pace.wait(cancel)
            if cancel is not None and cancel.is_set():
                reason = "stopped"
                break
            if index >= sampling.current.max_new_tokens:
                reason = "length"
                break
            if index == self._fail_after:
                yield Failed(self._error)
                return
            self.samplings.append(sampling.current)
            token = _token(index, text, self._token_s, sampling.current)
            if steering is not None and steering.hold:
                token = yield from _held(token, steering, sampling, cancel)
                if cancel is not None and cancel.is_set():
                    reason = "stopped"
                    break
                if token.token_id in self._info.end_ids:
                    break
            yield token
        else:
            index += 1
        yield _finished(reason, prompt_tokens, index - begun, self._token_s)  # type: ignore[arg-type]  # one of three


def _words(answer: str | None) -> Iterator[str]:
    if answer is None:
        return (f"word{n} " for n in itertools.count())
    return (word for line in answer.splitlines(keepends=True) for word in _split(line))


def _split(line: str) -> list[str]:
    words = line.split(" ")
    return [*(word + " " for word in words[:-1]), *([words[-1]] if words[-1] else [])]


def _token(index: int, text: str, seconds: float, sampling: Sampling) -> Token:
    candidates = Candidates(
        array("i", [7, 8]),
        array("f", [2.0, 1.0]),
        array("f", [2.0, 1.0]),
        array("i", [0]),
        array("f", [0.0]),
        2.3,
    )
    return Token(index, 100 + index, text.encode(), text, "sampler", -0.7, 1, candidates, seconds, sampling)


OPEN_CHOICE = Candidates(
    array("i", range(20, 32)),
    array("f", [12.0, 11.1, 10.5, 10.1, 9.6, 9.0, 8.8, 8.1, 7.7, 7.2, 6.9, 6.0]),
    array("f", [12.0, 11.1, 10.5, 10.1, 9.6, 9.0, 8.8, 8.1, 7.7, 7.2, 6.9, 6.0]),
    array("i", [*([0] * 52), 49140]),
    array("f", [*([-math.inf] * 52), 9.0]),
    12.92,
)
"""What a reply that is held can go on with."""


def _held(
    token: Token, steering: Steering, sampling: LiveSampling, cancel: threading.Event | None
) -> Generator[Event, None, Token]:
    """The token that its user has: the scripted one, one of `OPEN_CHOICE`, or what he typed."""
    token = replace(token, candidates=OPEN_CHOICE)
    steering.stand_still(token.index)
    drawn_with, order = sampling.current, None
    yield Awaiting(token.index, OPEN_CHOICE, OPEN_CHOICE.token_ids[0])
    while not (cancel is not None and cancel.is_set()):
        order = steering.wait()
        if order is not None or not steering.hold:
            break
        if sampling.current != drawn_with:
            drawn_with = sampling.current
            yield Awaiting(token.index, OPEN_CHOICE, OPEN_CHOICE.token_ids[0])
    steering.go_on()
    token = replace(token, sampling=drawn_with)
    if order is None or order == Order():
        return token
    token_id = token.token_id if order.token_id is None else order.token_id
    text = order.text or VOCABULARY[token_id].decode(errors="replace")
    return replace(token, token_id=token_id, piece=text.encode(), text=text, chosen_by="user")


def _finished(reason: FinishReason, prompt_tokens: int, new_tokens: int, token_s: float) -> Finished:
    usage = Usage(prompt_tokens, prompt_tokens // 2, new_tokens, INFO.context_length)
    return Finished(reason, usage, Timings(0.21, max(0, new_tokens - 1) * token_s), PLAN)


def loader_of(
    engine: FakeEngine, *, gate: threading.Event | None = None, errors: Sequence[Exception] = ()
) -> Callable[[Callable[[Loading], None], threading.Event], FakeEngine]:
    """A loader that gives the engine once the gate is open, after failing with each of the errors."""
    failures = list(errors)

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> FakeEngine:
        report(Loading(0.0, "torch"))
        while gate is not None and not gate.wait(0.01):
            if cancel.is_set():
                raise Interrupted("Stopped.")
        report(Loading(0.43, "weights"))
        if failures:
            raise failures.pop(0)
        return engine

    return load
