"""The second of the screens for newcomers: a model, on this disk already or to be fetched, or a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from llama_chat.chat.machine.recommending import Circumstances, about, recommended
from llama_chat.sanitize import one_line, sanitize
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.offers import OFFERS, Offer
from llama_chat.ui.first_run.words import bullet_lines
from llama_chat.ui.model_rows import VERDICTS, ModelRow, item_of
from llama_chat.ui.screens.models import PATH, ModelList
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.units import about_bytes

_OFFER = "offer:"
_TO_FETCH = "To be fetched"
_WIDE_CELLS = 56


class ModelStep(Vertical):
    """A list to choose from, and below it what is to be known of the marked one."""

    DEFAULT_CSS = """
    ModelStep {
        & > ModelList { height: 1fr; }
        & > .room { height: 5; margin: 1 1 0 1; }
        & .about { height: auto; padding: 0 1; border-left: outer $primary; }
    }
    """

    class Chosen(Message):
        """A model is wanted."""

        def __init__(self, name: str, title: str) -> None:
            super().__init__()
            self.name, self.title = name, title

    def __init__(self) -> None:
        super().__init__()
        self.known = Circumstances()
        self._rows: dict[str, ModelRow] = {}
        self._offers = {_OFFER + offer.name: offer for offer in OFFERS}
        self._moved_to: str | None = None
        self._marked = ""
        self._problem = ""

    def compose(self) -> ComposeResult:
        """The list, and what is to be known."""
        yield ModelList("type to search, or the path of a file or folder…", empty="Looking…")
        with Vertical(classes="room"):
            yield Static(classes="about")

    @property
    def models(self) -> ModelList:
        """The list."""
        return self.query_one(ModelList)

    def focus_list(self) -> None:
        """Give the line that is typed into the keys."""
        self.models.query_one(Input).focus()

    # --- what is known --------------------------------------------------------------------------------

    def show_rows(self, rows: Sequence[ModelRow]) -> None:
        """These are on this disk."""
        self._rows = {row.id: row for row in rows if row.model.path is not None}
        self.show()

    def show_known(self, known: Circumstances) -> None:
        """So the machine is, and so the offers fit."""
        self.known = known
        self.show()

    def say(self, problem: str) -> None:
        """Why the last one did not come; gone with the next move."""
        self._problem = problem
        self._tell()

    def show(self) -> None:
        """Draw the list anew; the mark stays where the user took it."""
        if not self.query(ModelList):  # not there yet, or no longer
            return
        cells = self.models.content_size.width - 2
        best = self._best_id()
        local = [item_of(row, cells) for row in self._rows.values()]
        offers = [self._offer_item(key, offer, cells, best) for key, offer in self._wanted_offers()]
        here = self.models.highlighted_id
        marked = here if here not in (None, self._marked) else best
        self._marked = best
        self.models.show_items([*local, *offers], marked=marked)
        self._tell()

    def _wanted_offers(self) -> list[tuple[str, Offer]]:
        """Those that are not on this disk already."""
        have = {row.model.name for row in self._rows.values()}
        return [(key, offer) for key, offer in self._offers.items() if offer.name not in have]

    def _best_id(self) -> str:
        """What is on this disk comes first: there is nothing to fetch."""
        usable = [row for row in self._rows.values() if not row.problem]
        fitting = [row for row in usable if row.fit is None or row.fit.verdict != "does not fit"]
        if fitting:
            is_cpu = self.known.device is None or self.known.device.is_cpu
            sized = sorted(fitting, key=lambda row: row.model.size_bytes, reverse=not is_cpu)
            return sized[0].id
        return _OFFER + recommended(self.known)[0].name

    def _offer_item(self, key: str, offer: Offer, cells: int, best: str) -> Item:
        fit = (self.known.fits or {}).get(offer.name)
        size = about_bytes(offer.bytes_to_fetch).rjust(8)
        aside = Content.styled(size, "$foreground 60%")
        if cells >= _WIDE_CELLS:
            gate = "terms" if offer.is_gated and not self.known.has_token else ""
            dtype = fit.dtype if fit is not None else ""
            left = f"{gate:<5}  {dtype:<5} {size} "
            aside = Content.assemble((left, "$foreground 60%"), _verdict(fit))
        is_best = key == best
        mark, style = ("▌ ", "bold") if is_best else ("  ", "")
        return Item(
            key,
            Content.assemble((mark, "$primary"), (offer.title, style)),
            f"{offer.title} {offer.name}",
            group=_TO_FETCH,
            name=offer.title,
            aside=aside,
        )

    # --- the marked one -------------------------------------------------------------------------------

    @on(FilterList.Highlighted)
    def _follow(self, event: FilterList.Highlighted) -> None:
        if event.item_id != self._moved_to:
            self._moved_to, self._problem = event.item_id, ""
        self._tell()

    def _tell(self) -> None:
        about_it = self.query_one(".about", Static)
        if self._problem:
            about_it.update(Content.styled(sanitize(self._problem), "$text-warning"))
            return
        about_it.update(self._about(self.models.highlighted_id or ""))

    def _about(self, item_id: str) -> Content:
        is_best = item_id == self._best_id()
        if (offer := self._offers.get(item_id)) is not None:
            lines = about(offer, self.known)
            first = [f"Recommended. {recommended(self.known)[1]}"] if is_best else []
            return bullet_lines([*first, *lines], "$foreground" if first else "")
        if (row := self._rows.get(item_id)) is not None:
            return bullet_lines(_about_row(row, is_best=is_best), "$foreground" if is_best else "")
        if item_id.startswith(PATH):
            return bullet_lines(["A .gguf file, or a folder with a model in it. Tab goes on with the path."])
        return Content("")

    @on(FilterList.Chosen)
    def _take(self, event: FilterList.Chosen) -> None:
        event.stop()
        if (offer := self._offers.get(event.item_id)) is not None:
            self.post_message(self.Chosen(offer.name, offer.title))
        elif (row := self._rows.get(event.item_id)) is not None and row.model.path is not None:
            if row.problem:
                self.say(row.problem)
            else:
                self.post_message(self.Chosen(str(row.model.path), one_line(row.model.name)))
        elif event.item_id.startswith(PATH):
            self._take_path(event.item_id.removeprefix(PATH))

    @work(exclusive=True)
    async def _take_path(self, typed: str) -> None:
        """A folder that is no model is gone into."""
        problem = await self.models.problem_of(typed)
        if problem and typed.endswith("/") and self.models.query_one(Input).value != typed:
            self.models.type(typed)
        elif problem:
            self.say(problem)
        else:
            self.post_message(self.Chosen(typed, Path(typed).name))


def _verdict(fit: ShortFit | None) -> Content:
    words, style = VERDICTS.get(fit.verdict if fit else "", ("", ""))
    return Content.assemble((words.ljust(7), style)) if style else Content(" " * 7)


def _about_row(row: ModelRow, *, is_best: bool) -> list[str]:
    lines = ["Recommended. It is on this disk: nothing is to be fetched."] if is_best else []
    if row.problem:
        return [*lines, one_line(row.problem)]
    if row.fit is not None:
        free = f" of {about_bytes(row.fit.free_bytes)} free" if row.fit.free_bytes is not None else ""
        lines.append(
            f"Takes {about_bytes(row.fit.needed_bytes)}{free} on {row.fit.device}, in {row.fit.dtype}."
        )
    return [*lines, str(row.model.path)]
