"""A scored text for a terminal or a pipe: a line a token, then the figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llama_chat.cli.score_figures import ScoredToken, ScoreFigures
from llama_chat.cli.tables import GAP, Column, Painter, at_words, cells_of, count_text, cut, table_lines
from llama_chat.distribution.figures import sparkline, surprise_bits
from llama_chat.distribution.told import percent

_MOST_TOKEN_CELLS, _FEWEST_TOKEN_CELLS = 24, 6
_CHANCE, _BITS = "probability", "bits"
_BITS_CELLS = 5
_FEWEST_CHOICE_CELLS = 16
_NONE = "–"
_SPARK_CELLS = 50


class ScoreTable:
    """Lines of fixed columns, so that each can be printed as soon as its token is scored.

    Args:
        figures: of the text.
        painter: colours what matters less.
        width: of the terminal; None in a pipe.
    """

    def __init__(self, figures: ScoreFigures, painter: Painter, width: int | None) -> None:
        self._names = [figures.names.quoted(token_id) for token_id in figures.ids]
        self._quoted = figures.names.quoted
        self._painter = painter
        self._rank_cells = len(f"{figures.info.vocab_size:,}")
        numbers = len(_CHANCE) + self._rank_cells + _BITS_CELLS + 3 * len(GAP)
        longest = max((cells_of(name) for name in self._names), default=0)
        room = _MOST_TOKEN_CELLS if width is None else max(_FEWEST_TOKEN_CELLS, width - numbers)
        self._token_cells = min(max(longest, _FEWEST_TOKEN_CELLS), _MOST_TOKEN_CELLS, room)
        rest = _MOST_TOKEN_CELLS + 10 if width is None else width - numbers - self._token_cells - len(GAP)
        self._choice_cells = rest if rest >= _FEWEST_CHOICE_CELLS else 0

    def head(self) -> str:
        """The titles."""
        return self._painter.dim(self._line("token", _CHANCE, "rank", _BITS, "the model's first choice"))

    def line(self, place: int, token: ScoredToken) -> str:
        """Of the token at this place of the text."""
        if not token.is_scored:
            return self._line(self._names[place], _NONE, _NONE, _NONE, "")
        bits = surprise_bits(token.logprob)
        (first, share), *_ = token.likeliest
        choice = f"{cut(self._quoted(first), max(6, self._choice_cells - 9))} {percent(share)}"
        return self._line(
            self._names[place],
            percent(math.exp(min(0.0, token.logprob))),
            f"{token.rank:,}",
            f"{max(0.0, bits):.1f}" if math.isfinite(bits) else "∞",
            choice if token.rank > 1 else self._painter.dim(choice),
        )

    def _line(self, name: str, chance: str, rank: str, bits: str, choice: str) -> str:
        shown = cut(name, self._token_cells)
        parts = [
            shown + " " * (self._token_cells - cells_of(shown)),
            chance.rjust(len(_CHANCE)),
            rank.rjust(self._rank_cells),
            bits.rjust(_BITS_CELLS),
            *([choice] if self._choice_cells else []),
        ]
        return GAP.join(parts).rstrip()


def figure_lines(
    figures: ScoreFigures, scored: Sequence[ScoredToken], painter: Painter, width: int | None
) -> Iterator[str]:
    """What the scores come to, each figure with what it means."""
    values = figures.summary(scored)
    count = sum(token.is_scored for token in scored)
    spark = sparkline(
        (surprise_bits(token.logprob) for token in scored if token.is_scored),
        min(_SPARK_CELLS, (width or 80) - 18),
    )
    rows = [
        ("perplexity", _number(values["perplexity"]), _like_one_of(values["perplexity"])),
        (
            "surprise",
            _number(values["mean_surprise_bits"]),
            "bits a token: 1 is one of two, 10 one of 1,024",
        ),
        ("", _number(values["bits_per_byte"]), "bits a byte: compares models with other tokens, too"),
    ]
    if scored:
        yield ""
    columns = [Column(paint=painter.dim), Column(is_right=True), Column(wraps=at_words, paint=painter.dim)]
    if count:
        yield from table_lines(columns, rows, width=width)
    if len(spark) > 1:
        yield f"{painter.dim('token by token')}{GAP}{spark}"
    info = figures.info
    if count:
        of = f"{count_text(count, 'token')} scored, {count_text(figures.nbytes(scored), 'byte')}"
        told = f"{of}; the first one has nothing before it"
    else:
        told = _why_nothing(figures)
    for line in at_words(f"{told} · {info.name} · {info.dtype}", width):
        yield painter.dim(line)


def _why_nothing(figures: ScoreFigures) -> str:
    """No token has a score, and that is no failure."""
    if not figures.ids:
        return "Nothing to score: the text is empty"
    if len(figures.ids) == 1:
        return (
            "Nothing to score: the text is one token, and a score says how likely a token is behind those "
            "before it; give a longer text"
        )
    return "Nothing is scored yet: the first token has nothing before it"


def _like_one_of(perplexity: float) -> str:
    many = f"{round(perplexity):,}" if math.isfinite(perplexity) else "all"
    return f"as hard to guess as one of {many} equally likely tokens"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return _NONE if math.isnan(value) else "∞"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.{1 if value >= 100 else 2}f}"
