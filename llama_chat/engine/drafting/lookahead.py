"""The logits behind each token of a reply, whether a forward has to give them or one has given them already.

A forward that verifies takes the last token and drafted ones, and gives the logits behind each. Its rows are
handed out one by one: the loop chooses from them as from any other, with the settings of that moment, and
the next row counts only where the loop has chosen the drafted token. So drafting decides how fast a reply
comes, never which. What was not chosen is taken out of the cache again.

Where a plan says how a reply was computed, its forwards are done again, each with its rows; what is drafted
then decides nothing but how often a forward is repeated until all rows that were kept hold the right ids.

Shapes: V the vocabulary, T the rows of a forward.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from llama_chat.compute_plan import Shape
from llama_chat.engine.altering import altered_by
from llama_chat.engine.drafting.drafting import Drafting, Draw
from llama_chat.engine.drafting.lookup import Lookup
from llama_chat.engine.live_cache import LiveCache


class Lookahead:
    """One reply's way through the network.

    Args:
        live: what it goes through.
        drafting: None never drafts.
        end_ids: what ends a reply; nothing is drafted behind one of them.
    """

    def __init__(self, live: LiveCache, drafting: Drafting | None, end_ids: Collection[int]) -> None:
        self._live, self._end_ids = live, end_ids
        self._cuts_anywhere = getattr(live.cache, "cuts_anywhere", False)
        self._drafting = drafting if self._cuts_anywhere else None
        self._first = self.length = 0
        self._shapes: Sequence[Shape] = ()
        self._lookup: Lookup | None = None
        self._rows_TV: Tensor | None = None
        self._start = 0
        """Position of the first of the rows."""
        self._is_drafted = False
        """Whether they are of drafted tokens, not of a plan's."""
        self._pending: tuple[int, float] | None = None
        """Rows and start of a forward that is not yet known to have ended."""
        self.drafted = self.accepted = 0

    def begin(self, shapes: Sequence[Shape], draw: Draw) -> None:
        """Go on behind what is in the cache: the prompt, and what the reply begins with.

        Args:
            shapes: how the positions from there on are to be computed, as far as a plan says so.
            draw: how the reply chooses.
        """
        live = self._live
        self._first = self.length = len(live.ids)
        self._shapes = shapes if self._cuts_anywhere else ()
        if self._drafting is not None:
            self._drafting.begin(live.ids, (live.step_name, altered_by(live.network)), draw)

    @property
    def ids(self) -> Sequence[int]:
        """Those that count: the context and what was chosen."""
        ids = self._live.ids
        return ids if len(ids) == self.length else ids[: self.length]

    @property
    def forward(self) -> Shape | None:
        """The forward that the last logits came from; None for a step, and for the prefill."""
        return None if self._rows_TV is None else (self._start, len(self._rows_TV))

    def chosen(self) -> None:
        """A token was chosen: on a GPU only then is it known how long the forward took."""
        if self._pending is not None and self._drafting is not None:
            rows, started = self._pending
            self._drafting.costs.note(rows, time.perf_counter() - started)
        self._pending = None

    def after(self, token_id: int, most: int) -> Tensor:
        """The logits behind the token, f32 [V].

        Args:
            token_id: was chosen.
            most: tokens that may be drafted behind it.
        """
        if self._drafting is not None:
            self._drafting.learn(token_id)
        kept_V = self._kept_row(token_id)
        if kept_V is not None:
            return kept_V
        self.settle()
        shape = self._shape_at(self.length)
        if shape is not None and shape[1] > 1:
            return self._again(token_id, shape)
        drafted = self._drafting.draft(most) if self._drafting is not None and shape is None else []
        ends = (place for place, drafted_id in enumerate(drafted) if drafted_id in self._end_ids)
        del drafted[next(ends, len(drafted)) :]
        self.drafted += len(drafted)
        self._is_drafted = True
        return self._forward([token_id, *drafted], self.length)

    def settle(self) -> None:
        """Take out of the cache what was computed and not chosen."""
        self._rows_TV = None
        if len(self._live.ids) > self.length:
            self._live.rewind(self.length)

    def _kept_row(self, token_id: int) -> Tensor | None:
        """The logits behind the token, where a forward went over it already."""
        rows_TV, ids = self._rows_TV, self._live.ids
        if rows_TV is None or len(ids) == self.length or ids[self.length] != token_id:
            return None
        shape = self._shape_at(self.length)
        if shape is not None and shape != (self._start, len(rows_TV)):
            return None
        self.length += 1
        self.accepted += self._is_drafted
        return rows_TV[self.length - 1 - self._start]

    def _forward(self, ids: Sequence[int], start: int) -> Tensor:
        """The logits behind the first of the ids that does not count yet; they stand from `start` on."""
        started = time.perf_counter()
        is_step = len(ids) == 1
        with torch.inference_mode():
            out = self._live.extend(ids, "last" if is_step else "all", "step" if is_step else "prefill")
        assert out is not None
        if self._drafting is not None:
            if out.device.type == "cpu":
                self._drafting.costs.note(len(ids), time.perf_counter() - started)
            else:
                self._pending = (len(ids), started)
        self.length += 1
        if is_step:
            return out
        self._rows_TV, self._start = out, start
        return out[self.length - 1 - start]

    def _again(self, token_id: int, shape: Shape) -> Tensor:
        """By a forward of the plan, with those of its ids that are known; in the later rows stand guesses."""
        start, rows = shape
        known = [*self._live.ids[start : self.length], token_id]
        if self._lookup is None:
            self._lookup = Lookup()
        self._lookup.begin(self._live.ids)
        self._lookup.learn(token_id)
        guessed = self._lookup.draft(rows - len(known))
        filler = [token_id] * (rows - len(known) - len(guessed))
        self._live.rewind(start)
        self._is_drafted = False
        return self._forward([*known, *guessed, *filler], start)

    def _shape_at(self, position: int) -> Shape | None:
        place = position - self._first
        return self._shapes[place] if 0 <= place < len(self._shapes) else None
