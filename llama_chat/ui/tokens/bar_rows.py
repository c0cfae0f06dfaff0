"""Candidates as lines of text: where the columns stand, and what each row says in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.cells import cell_len

from llama_chat.distribution.bars import Bar, Bars, Cut
from llama_chat.distribution.told import percent
from llama_chat.sampling import Sampling, setting_label, setting_value
from llama_chat.ui.widgets.fitting import cut, first_fitting

Parts: TypeAlias = list[tuple[str, str]]
"""Texts and the names of their styles in `Palette`."""

CHOSEN_MARK = "▸ "
CURSOR_MARK = "› "
"""Before the row under the cursor, where ▸ is not: it is seen without colours, too."""
SAYS = "the model says"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_NAME_CELLS = (8, 22)
_PERCENT_CELLS = len("< 0.01 %")
_ABOUT = "≈ "
_GAP = 2
_FEWEST_BAR_CELLS = 5
_MOST_BAR_CELLS = 40
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""What a whole bar stands for, where no candidate is likelier: many unlikely ones would all be dots."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Cells of each column; a bar of 0 cells is left out."""

    name: int
    before: int
    after: int
    after_percent: int
    full: float
    """The probability that fills a bar."""

    @classmethod
    def within(cls, width: int, bars: Bars, name_cells: int) -> Columns:
        """As they fit; where there is room for one bar only, it is the one behind the sliders."""
        least, most = _NAME_CELLS
        name = max(least, min(name_cells, most, width // 4))
        after_percent = _PERCENT_CELLS + (0 if bars.is_exact else len(_ABOUT))
        room = width - len(CHOSEN_MARK) - name - 3 * _GAP - _PERCENT_CELLS - after_percent
        each = min(_MOST_BAR_CELLS, room // 2)
        full = scale_of(share for bar in bars.bars for share in (bar.before, bar.after))
        if each >= _FEWEST_BAR_CELLS:
            return cls(name, each, each, after_percent, full)
        return cls(name, 0, max(0, min(_MOST_BAR_CELLS, room)), after_percent, full)

    @property
    def after_at(self) -> int:
        """The cell where the column behind the sliders begins."""
        return len(CHOSEN_MARK) + self.name + _GAP + self.before + _PERCENT_CELLS + _GAP


def scale_of(shares: Iterable[float]) -> float:
    """The probability that fills a bar: a round one, at least the largest of these."""
    largest = max(shares, default=1.0)
    return next((scale for scale in _SCALES if largest <= scale), 1.0)


def bar_text(share: float, cells: int) -> str:
    """A bar in eighths of a cell; whatever is more than nothing is seen."""
    eighths = min(8 * cells, round(8 * cells * share))
    if share > 0 and cells:
        eighths = max(1, eighths)
    text = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return text.ljust(cells)


def row_parts(
    bar: Bar,
    name: str,
    columns: Columns,
    sampling: Sampling,
    *,
    is_exact: bool,
    mark: str,
    is_under_cursor: bool,
) -> Parts:
    """One candidate: its name, what the model says, what the settings make of it, or what cut it."""
    is_cut = bool(bar.cut_by)
    style = "candidate.chosen" if mark else "candidate.cut" if is_cut else ""
    sign = mark or (CURSOR_MARK if is_under_cursor else "")
    return [
        (
            sign.ljust(len(CHOSEN_MARK)) + padded(name, columns.name),
            "bar.chosen" if is_under_cursor else style,
        ),
        (" " * _GAP, ""),
        (bar_text(bar.before / columns.full, columns.before), "candidate.before"),
        (percent(bar.before).rjust(_PERCENT_CELLS), "candidate.cut" if is_cut else ""),
        (" " * _GAP, ""),
        *_after(bar, columns, sampling, is_exact=is_exact),
    ]


def _after(bar: Bar, columns: Columns, sampling: Sampling, *, is_exact: bool) -> Parts:
    cells = columns.after + columns.after_percent
    if bar.cut_by:
        by = cutter(bar.cut_by, sampling)
        return [(first_fitting((f"✂ cut by {by}", f"✂ {by}"), cells), "candidate.cut")]
    share = percent(bar.after) if is_exact else _ABOUT + percent(bar.after)
    return [
        (bar_text(bar.after / columns.full, columns.after), "candidate.after"),
        (share.rjust(columns.after_percent), ""),
    ]


def cutter(setting: Cut, sampling: Sampling) -> str:
    """What cut a candidate, in words: `top-k`, `temperature 0`."""
    label = setting_label(setting)
    return f"{label} 0" if setting == "temperature" and sampling.temperature == 0 else label


def unlisted_parts(name: str, columns: Columns, words: str) -> Parts:
    """The chosen token where it is not among the candidates."""
    return [
        (CHOSEN_MARK + padded(name, columns.name), "candidate.chosen"),
        (" " * _GAP + words, "candidate.cut"),
    ]


def head_parts(columns: Columns, sampling: Sampling, width: int, what: str) -> Parts:
    """What the two columns of bars are."""
    room = max(1, width - columns.after_at)
    says = SAYS if columns.before else "before"
    left = cut(says, columns.before + _PERCENT_CELLS)
    if not columns.before:
        left = left.rjust(_PERCENT_CELLS)
    at = len(CHOSEN_MARK) + columns.name + _GAP
    right = first_fitting(settings_wordings(sampling, what), room)
    return [(" " * at + left.ljust(columns.after_at - at) + right, "meta")]


def settings_wordings(sampling: Sampling, what: str) -> tuple[str, ...]:
    """What the settings are, in the sampler's order, the longest wording first."""
    names = ("temperature", "top_k", "top_p", "min_p")
    each = [f"{setting_label(name)} {setting_value(name, getattr(sampling, name))}" for name in names]
    counts = [True, sampling.top_k > 0, sampling.top_p < 1, sampling.min_p > 0]
    if sampling.temperature == 0:
        counts = [True, False, False, False]
    telling = " → ".join(words for words, is_telling in zip(each, counts, strict=True) if is_telling)
    return (f"{what}: {' → '.join(each)}", f"{what}: {telling}", telling, what, "after")


def foot_wordings(bars: Bars, sampling: Sampling, shown: int) -> tuple[str, ...]:
    """How many more may be drawn below so many rows, and how many were cut by what; the longest first."""
    if not bars.bars:
        return ("",)
    about = "" if bars.is_exact else _ABOUT
    more = max(0, bars.left - shown)
    cuts: list[str] = []
    before = bars.vocab_size
    for stage in bars.stages:
        sign = "" if stage.is_exact else _ABOUT
        cuts.append(f"{sign}{before - stage.left:,} cut by {cutter(stage.setting, sampling)}")
        before = stage.left
    parts = [f"…{about}{more:,} more"] if more else []
    return ("; ".join([*parts, *cuts]), "; ".join(parts or cuts[:1]), "")


def name_cells(names: Sequence[str]) -> int:
    """Cells of the longest of them."""
    return max(map(cell_len, names), default=0)


def padded(name: str, cells: int) -> str:
    """The name in so many cells."""
    if name.isascii():
        return name.ljust(cells) if len(name) <= cells else cut(name, cells)
    shown = cut(name, cells)
    return shown + " " * (cells - cell_len(shown))
