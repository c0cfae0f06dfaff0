"""What the list of models says of each: name, type, context, size, whether it fits, how fast it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from textual.content import Content

from llama_chat.sanitize import one_line
from llama_chat.shelves.facts import Facts
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.listing import SHELF_TITLES, FoundModel, label_of
from llama_chat.shelves.offers import Offer
from llama_chat.ui.widgets.filter_list import Item
from llama_chat.ui.widgets.fitting import cut
from llama_chat.units import about_bytes

ROOMY_CELLS, WIDE_CELLS = 50, 66
"""A narrower list has room for the size alone, a wider one for everything."""

VERDICTS = {
    "fits": ("fits", "$text-success"),
    "tight": ("tight", "$text-warning"),
    "does not fit": ("too big", "$text-error"),
}
_MOST_PROBLEM_CELLS = 34
_MARGIN_CELLS = 8
"""The mark before the name, and what the list keeps free."""
_LEAST_NAME_CELLS = 12


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model and what is known of it so far."""

    model: FoundModel
    facts: Facts | None = None
    """None: its headers are not read yet."""
    fit: ShortFit | None = None
    """None: not known, or not yet."""
    tok_per_s: float = 0.0
    """How fast it was last; 0 where it never ran."""

    @property
    def id(self) -> str:
        """Names the row."""
        return f"{self.model.shelf}:{self.model.name}"

    @property
    def problem(self) -> str:
        """Why it cannot be loaded, as far as that is known."""
        return self.model.problem or (self.facts.problem if self.facts else "")

    def with_facts(self, facts: Facts) -> ModelRow:
        """The row with what its headers say."""
        return replace(self, facts=facts)


def row_of_offer(offer: Offer) -> ModelRow:
    """A model that can be fetched, by what is known of it without a look at its files."""
    facts = Facts(
        architecture="llama", quantisation=offer.type_name, context_length=offer.shape.context_length
    )
    return ModelRow(FoundModel(offer.name, "catalogue", None, offer.bytes_to_fetch), facts)


def item_of(row: ModelRow, cells: int, running: Path | None = None) -> Item:
    """The row as a line of the list.

    Args:
        row: the model.
        cells: room in the list.
        running: path of the model that runs.
    """
    name = one_line(label_of(row.model))
    is_running = running is not None and row.model.path == running
    mark = ("● ", "$success") if is_running else "  "
    style = "bold" if is_running else "$foreground 50%" if row.problem else ""
    facts, aside = row.facts or Facts(), _aside(row, cells)
    shown = cut(name, max(_LEAST_NAME_CELLS, cells - aside.cell_length - _MARGIN_CELLS))
    return Item(
        row.id,
        Content.assemble(mark, (shown, style)),
        f"{name} {row.model.name} {facts.quantisation} {facts.architecture}",
        group=SHELF_TITLES[row.model.shelf],
        name=name,
        aside=aside,
        details=f"{row.problem} {facts.architecture}",
    )


def _aside(row: ModelRow, cells: int) -> Content:
    size = about_bytes(row.model.size_bytes).rjust(8) if row.model.size_bytes else " " * 8
    if cells < ROOMY_CELLS:
        return Content.styled(size, "$foreground 60%")
    if row.problem:
        words = one_line(row.problem)
        return Content.styled(cut(words, _MOST_PROBLEM_CELLS), "$text-warning")
    facts = row.facts or Facts()
    left = f"{one_line(facts.quantisation)[:7]:<7} {_context(facts.context_length):>5} {size}"
    if cells < WIDE_CELLS:
        return Content.styled(left, "$foreground 60%")
    return Content.assemble(
        (left, "$foreground 60%"), " ", _fit(row.fit), " ", (_speed(row.tok_per_s), "$foreground 60%")
    )


def _context(tokens: int) -> str:
    """`8k`, `128k`, `512`; nothing where it is not known."""
    if tokens >= 1 << 20:
        return f"{tokens >> 20}M"
    return f"{tokens >> 10}k" if tokens >= 1 << 10 else str(tokens or "")


def _fit(fit: ShortFit | None) -> Content:
    words, style = VERDICTS.get(fit.verdict if fit else "", ("", ""))
    return Content.assemble((words.ljust(7), style)) if style else Content(" " * 7)


def _speed(tok_per_s: float) -> str:
    if not tok_per_s:
        return " " * 9
    return f"{tok_per_s:.0f} tok/s".rjust(9) if tok_per_s >= 10 else f"{tok_per_s:.1f} tok/s".rjust(9)
