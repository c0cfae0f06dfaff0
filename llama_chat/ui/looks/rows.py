"""The lines of the list: what is asked, what was looked at, the keys."""

from __future__ import annotations

from textual.content import Content

from llama_chat.chat.looking import EXPLAINED, FIRST_EXPLAINED, FIRST_SHORT, Looked, Looks
from llama_chat.distribution.told import percent
from llama_chat.ui.markdown.line import wrap
from llama_chat.ui.tokens.bar_rows import bar_text, scale_of
from llama_chat.ui.transcript.rows import spread
from llama_chat.ui.widgets.fitting import cut, first_fitting

CURSOR = "▸ "
_NAME_CELLS = 22
_PLACE_CELLS = 26
_PERCENT_CELLS = len("< 0.01 %")
_MOST_BAR_CELLS = 40
_FEWEST_BAR_CELLS = 4
KEYS = (
    "← → the reply's tokens   ↑ ↓ what it looked at   m measure   o its own look   Esc back",
    "← → token   ↑ ↓ source   m measure   o own look   Esc back",
    "← → token  ↑ ↓ source  m measure  Esc",
    "← → ↑ ↓  m  Esc",
)


def title_content(looks: Looks, width: int) -> Content:
    """Which token it is, and at the right end how it is measured."""
    count = f"token {looks.index + 1:,} of {looks.context.length:,}"
    label = looks.way.label
    begin = "where it looked   "
    for left, words, right in (
        (begin, f"   {count}", label),
        ("", f"  {count}", label),
        ("", f"  {looks.index + 1:,}/{looks.context.length:,}", looks.way.measure),
    ):
        room = width - len(left) - len(words) - len(right) - 2
        if room >= min(len(looks.token_name), 6):
            name = Content.styled(cut(looks.token_name, room), "candidate.chosen")
            head = Content.styled(left, "meta") + name + Content.styled(words, "meta")
            return spread(head, Content.styled(right, "look.measure"), width)
    return Content.styled(cut(looks.token_name, width), "candidate.chosen")


def sentence_lines(looks: Looks, width: int, rows: int) -> list[Content]:
    """What it is in plain words, as far as so many rows hold it; what is measured comes last."""
    way = looks.way
    explained = f"{way.measure.capitalize()}: {EXPLAINED[way.measure]}."
    of_first = FIRST_SHORT if way.with_first else FIRST_EXPLAINED
    words = list(looks.sentences())
    for extra in (explained, of_first):
        words.append(extra)
        if len(wrap(Content(" ".join(words)), width)) > rows:
            words.pop()
    lines = [line.content for line in wrap(Content(" ".join(words)), width)]
    if len(lines) > rows:
        rest = cut(" ".join(line.plain for line in lines[rows - 1 :]), width) if rows else ""
        lines = [*lines[: rows - 1], Content(rest)] if rows else []
    return [line.stylize_before("meta") for line in lines]


def source_contents(looks: Looks, top: tuple[Looked, ...], width: int, cursor: int) -> list[Content]:
    """A row for each source: name, bar, share, and where in the chat it stands."""
    if not top:
        return [Content.styled("It looked at nothing but the first token.", "meta")]
    name_cells = min(_NAME_CELLS, max(Content(each.name).cell_length for each in top), width // 3)
    full = scale_of(each.share for each in top)
    fixed = len(CURSOR) + name_cells + 2 + _PERCENT_CELLS
    place_cells = min(_PLACE_CELLS, max(len(place_words(looks, each)) for each in top))
    bar_cells = min(_MOST_BAR_CELLS, width - fixed - place_cells - 3)
    if bar_cells < _FEWEST_BAR_CELLS:
        place_cells = max(0, min(place_cells, width - fixed - 2))
        bar_cells = 0
    rows = []
    for number, each in enumerate(top):
        name = Content(cut(each.name, name_cells))
        rows.append(
            Content.assemble(
                (CURSOR if number == cursor else " " * len(CURSOR), "candidate.chosen"),
                (name.plain + " " * (name_cells - name.cell_length), "bold" if number == cursor else ""),
                "  ",
                (bar_text(each.share / full, bar_cells), "candidate.after"),
                percent(each.share).rjust(_PERCENT_CELLS),
                "  ",
                (cut(place_words(looks, each), place_cells), "meta"),
            )
        )
    return rows


def place_words(looks: Looks, each: Looked) -> str:
    """Where it stands, and how far before the token: `you`, `this reply, 3 before`."""
    back = looks.context.position(looks.index) - each.position
    if back <= 0:
        return f"{each.place}, itself"
    return f"{each.place}, {back:,} before"


def keys_line(width: int) -> str:
    """The keys, as many as there is room for."""
    return first_fitting(KEYS, width)
