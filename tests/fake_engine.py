"""An engine of plain events for tests: scripted or endless text, at a pace that the test sets."""

from __future__ import annotations

import itertools
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import (
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
)
PLAN = ComputePlan((), "Q4_1", "cpu", 2, "fake")
STORY = (
    "Once upon a time, there was a fox named **Felix**. He lived by a wide, slow river, and every evening he "
    'asked it the same question.\n\n```python\ndef ask(river: River) -> str:\n    return river.answer("Why?")'
    "\n```\n\nThe river never hurried. It said:\n\n- listen,\n- wait, and\n- ask again tomorrow.\n"
)


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
            yield _token(index, text, self._token_s, sampling.current)
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
