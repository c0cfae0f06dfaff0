"""A network's cache together with the ids behind it and the forwards that filled it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile

from torch import Tensor

from llama_chat.compute_plan import LONGEST_FORWARD, Shape, length_of, shapes_of, usable_forwards
from llama_chat.decode_steps import step_name
from llama_chat.engine.altering import altered_by
from llama_chat.engine.network import LogitsWanted, Network
from llama_chat.events import Forward

PREFILL_CHUNK = LONGEST_FORWARD
"""Tokens of one prefill forward; between two of them a cancel is seen."""

_STEPS_A_REPORT = 32


class LiveCache:
    """What a next turn can go on from: it prefills only what follows the longest common prefix.

    Where it must be as it was once, `shapes` says by which forward each id goes through the network; None
    leaves that open.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.cache = network.new_cache()
        self.ids: list[int] = []
        self.forwards: list[Forward] = []
        self.altered_by = altered_by(network)
        """Under which alteration of the network all of it was computed."""
        self.step_name = step_name(network)
        """Which code computed the forwards of one token."""
        self.verified_from = sys.maxsize
        """Where the reply begins: a forward of several rows from there on gave the logits of all of them."""

    def reuse(self, ids: Sequence[int], shapes: Sequence[Shape | None] = ()) -> int:
        """How many of the ids are kept from before, after dropping what differs.

        At least the last id is always left to compute, since its logits are wanted; and all of a forward,
        where only a part of it is there. Nothing is kept from another alteration of the network, nor
        what other code computed.
        """
        if self.altered_by != altered_by(self.network):
            self.rewind(0)
            self.altered_by = altered_by(self.network)
        if self.step_name != step_name(self.network):
            self.rewind(0)
            self.step_name = step_name(self.network)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.ids, ids, strict=False)))
        length = min(common, len(ids) - 1, self._agreeing(shapes))
        while (kept := self.rewind(_start_of_forward(shapes, length))) != length:
            length = kept
        return kept

    def _agreeing(self, shapes: Sequence[Shape | None]) -> int:
        """Positions up to the first that was computed otherwise than it should be."""
        if not any(shapes):
            return len(self.ids)
        pairs = zip(shapes, shapes_of(self.forwards), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] is None or pair[0] == pair[1], pairs))

    def rewind(self, length: int) -> int:
        """How many tokens are kept; a cache that cannot be cut keeps fewer than asked."""
        kept = self.cache.rewind(length)
        del self.ids[kept:]
        self.forwards = [
            forward if forward.start + forward.kept <= kept else _shorten(forward, kept)
            for forward in self.forwards
            if forward.start < kept
        ]
        return kept

    def extend(self, ids: Sequence[int], logits: LogitsWanted, kind: str) -> Tensor | None:
        """The network's logits for the ids, which are appended; all of them, or none when it fails."""
        assert self.altered_by == altered_by(self.network), "keys of another alteration"
        try:
            out = self.network.forward(ids, self.cache, logits)
        except BaseException:
            self.rewind(len(self.ids))
            raise
        start = len(self.ids)
        self.ids.extend(ids)
        last = self.forwards[-1] if self.forwards else None
        if kind == "step" and last is not None and last.kind == "step":
            self.forwards[-1] = Forward(last.start, 1, last.kept + 1, "step")
        else:
            self.forwards.append(Forward(start, len(ids), len(ids), "step" if kind == "step" else "prefill"))
        return out

    def prefill(
        self, ids: Sequence[int], is_cancelled: Callable[[], bool], shapes: Sequence[Shape | None] = ()
    ) -> Iterator[Tensor | None]:
        """None now and then, after the last forward the logits of the last id; ends early when cancelled.

        Args:
            ids: all of them, beginning with those that `reuse` kept.
            is_cancelled: asked before every forward.
            shapes: as given to `reuse`.
        """
        wanted = [*shapes, *[None] * (len(ids) - len(shapes))]
        steps = 0
        while len(self.ids) < len(ids):
            if is_cancelled():
                return
            forward = _next_forward(wanted, len(self.ids))
            logits_V = self._compute(ids, forward)
            if len(self.ids) < forward.start + forward.kept:
                _give_up_long_forwards(wanted)
            elif len(self.ids) == len(ids):
                yield logits_V
            steps = steps + 1 if forward.kind == "step" else _STEPS_A_REPORT
            if steps >= _STEPS_A_REPORT and len(self.ids) < len(ids):
                steps = 0
                yield None

    def _compute(self, ids: Sequence[int], forward: Forward) -> Tensor | None:
        """The logits of the last id, if it is in this forward.

        Rows that are not kept are computed all the same, for any id: how many there are decides about the
        last bits of each, what is in the later ones does not.
        """
        end = forward.start + forward.kept
        is_verified = forward.start >= self.verified_from and forward.rows > 1
        of_all = is_verified or forward.kept < forward.rows
        wanted: LogitsWanted = "none" if end < len(ids) else "all" if of_all else "last"
        filler = [ids[end - 1]] * (forward.rows - forward.kept)
        logits = self.extend([*ids[forward.start : end], *filler], wanted, forward.kind)
        if filler:
            self.rewind(end)
        return logits[forward.kept - 1] if wanted == "all" and logits is not None else logits


def wanted_shapes(
    plan: Sequence[Forward], *, prompt_tokens: int, length: int, context_length: int
) -> list[Shape | None]:
    """How each of `length` ids, the prompt and then forced ones, is to go through the network.

    As the plan says; beyond it the prompt as it comes and forced ids one by one, as they were chosen.
    """
    followed = usable_forwards(plan, length=length, context_length=context_length)
    open_ = max(0, prompt_tokens - length_of(followed))
    shapes: list[Shape | None] = [*shapes_of(followed), *[None] * open_]
    return [*shapes, *((at, 1) for at in range(len(shapes), length))]


def shapes_behind(plan: Sequence[Forward], length: int, context_length: int) -> list[Shape]:
    """How the plan has the positions from `length` on, which are to be chosen anew, computed."""
    followed = usable_forwards(plan, length=context_length, context_length=context_length)
    return list(islice(shapes_of(followed), length, None))


def _start_of_forward(shapes: Sequence[Shape | None], at: int) -> int:
    """Where the forward starts that the position is a later row of, else the position itself."""
    shape = shapes[at] if at < len(shapes) else None
    return at if shape is None else min(at, shape[0])


def _next_forward(wanted: Sequence[Shape | None], at: int) -> Forward:
    """What comes next: the forward that is wanted, or a chunk up to where one is."""
    shape = wanted[at]
    longest = PREFILL_CHUNK if shape is None else shape[1]
    end = at + 1
    while end < min(at + longest, len(wanted)) and wanted[end] == shape:
        end += 1
    rows = end - at if shape is None else shape[1]
    return Forward(at, rows, end - at, "prefill" if shape is None or rows > 1 else "step")


def _give_up_long_forwards(wanted: list[Shape | None]) -> None:
    """For a cache that cannot be cut where rows are not kept: the rest goes as it comes, but for steps."""
    wanted[:] = [shape if shape is not None and shape[1] == 1 else None for shape in wanted]


def _shorten(forward: Forward, length: int) -> Forward:
    return Forward(forward.start, forward.rows, length - forward.start, forward.kind)
