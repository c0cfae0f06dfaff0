"""Whether to draft, and how many tokens: where what is expected to be kept is worth more than it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

from llama_chat.compute_plan import MOST_VERIFIED_ROWS
from llama_chat.engine.drafting.costs import ForwardCosts

ROWS = (2, 3, 4, 6, MOST_VERIFIED_ROWS)
"""Of a forward that verifies: the last token and the drafted ones. Few sizes, so that each is soon known."""
MOST_DRAFTED = MOST_VERIFIED_ROWS - 1
LEAST_GAIN = 1.06
"""Tokens a second with a draft, in those without: what is expected is not exact."""

_TRIALS = 4
"""About so many drafts back reaches what counts for whether they are computed."""
_MOST_GAIN = 2.0
"""Steps that one draft counts for at most: no lucky one makes up for many that fail."""
_AT_FIRST = -0.2


Draw: TypeAlias = Callable[[Tensor, int, Sequence[int]], int]
"""The token that the reply would choose by these logits, so many tokens on, behind these ids."""


class Drafter(Protocol):
    """Whatever has an idea of what comes next."""

    @property
    def seconds_a_token(self) -> float:
        """What a drafted token takes."""
        ...

    def begin(self, ids: Sequence[int], draw: Draw) -> None:
        """Another reply: these ids are in the context."""
        ...

    def learn(self, token_id: int) -> None:
        """This token came next."""
        ...

    def chances(self, most: int) -> Sequence[float]:
        """How likely each of the tokens that it would draft is right where those before it are."""
        ...

    def draft(self, count: int) -> list[int]:
        """At most so many tokens behind the last that it learned."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(slots=True)
class _Trial:
    """A draft that is held against what comes, whether it was computed or stands on paper only."""

    left: deque[int]
    extra_steps: float
    """What its forward takes more than a step, in steps."""
    right: int = 0


class Drafting:
    """The drafter of an engine and what is known of its use; lives as long as the engine.

    Each draft is judged by what it gained. While the last ones lost time, and at the beginning of a reply,
    drafts are made on paper only: what comes tells what they would have gained, at no cost. So chat that
    repeats nothing pays for next to no forward of several rows.
    """

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.costs = ForwardCosts()
        self._gain_steps = _AT_FIRST
        """What the last drafts gained, in steps; the later ones count more."""
        self._trial: _Trial | None = None

    def begin(self, ids: Sequence[int], computed_by: object, draw: Draw) -> None:
        """Another reply: the ids in the context, which code computes, and how it draws."""
        self.costs.begin(computed_by)
        self.drafter.begin(ids, draw)
        self._trial, self._gain_steps = None, _AT_FIRST

    def learn(self, token_id: int) -> None:
        """This token came next."""
        self.drafter.learn(token_id)
        trial = self._trial
        if trial is None:
            return
        is_right = trial.left.popleft() == token_id
        trial.right += is_right
        if not is_right or not trial.left:
            gain = trial.right - trial.extra_steps
            self._gain_steps += (max(-_MOST_GAIN, min(_MOST_GAIN, gain)) - self._gain_steps) / _TRIALS
            self._trial = None

    def draft(self, most: int) -> list[int]:
        """The tokens to verify with the next one; none where that does not pay."""
        if self._trial is not None:
            return []  # one on paper is still being judged
        count = self.best_count(self.drafter.chances(min(most, MOST_DRAFTED)))
        drafted = self.drafter.draft(count) if count else []
        step_s = self.costs.step_s
        if not drafted or step_s is None:
            return []
        is_on_paper = self.drafter.seconds_a_token == 0 and self._gain_steps < 0
        drafting_steps = len(drafted) * self.drafter.seconds_a_token / step_s
        self._trial = _Trial(deque(drafted), self.costs.in_steps(len(drafted) + 1) + drafting_steps - 1)
        return [] if is_on_paper else drafted

    def best_count(self, chances: Sequence[float]) -> int:
        """How many of the drafted tokens give the most tokens a second; 0 where a plain step does."""
        step_s = self.costs.step_s
        if step_s is None:
            return 0
        if not chances:
            return 0
        best, best_rate = 0, LEAST_GAIN
        expected = chain = 1.0
        for count, chance in enumerate(chances, 1):
            chain *= chance
            expected += chain
            if count + 1 in ROWS:
                drafting_steps = count * self.drafter.seconds_a_token / step_s
                rate = expected / (self.costs.in_steps(count + 1) + drafting_steps)
                if rate > best_rate:
                    best, best_rate = count, rate
        return best
