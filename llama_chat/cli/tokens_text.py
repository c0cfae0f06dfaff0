"""Tokens for a terminal, a pipe and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llama_chat.cli.tables import (
    Column,
    Painter,
    anywhere,
    at_words,
    cells_of,
    count_text,
    pictured_line,
    table_lines,
)

if TYPE_CHECKING:
    from llama_chat.engine.vocabulary.tokenizer import Tokenizer

BORDER = "│"
"""Stands between tokens where no colours tell them apart."""


def text_lines(
    tokenizer: Tokenizer, ids: Sequence[int], painter: Painter, width: int | None = None
) -> Iterator[str]:
    """The text cut into its tokens, line by line as it has them; its ids in the same colours; the counts."""
    between = "" if painter.is_coloured else BORDER
    yield from _rows((token_text(tokenizer.piece(token_id)) for token_id in ids), between, painter, width)
    if ids:
        yield ""
        yield from _rows(map(str, ids), " ", painter, width)
    hidden = tokenizer.vocabulary.hidden_ids
    nbytes = sum(len(tokenizer.piece(token_id)) for token_id in ids if token_id not in hidden)
    yield painter.dim(f"{count_text(len(ids), 'token')}, {count_text(nbytes, 'byte')}")


def _rows(texts: Iterable[str], between: str, painter: Painter, width: int | None) -> Iterator[str]:
    """Neighbours side by side, each whole; a new row after a line break, and where the width ends."""
    row: list[str] = []
    cells = 0
    for n, text in enumerate(texts):
        more = cells_of(between) + cells_of(text)
        if row and width and cells + more > width:
            yield between.join(row)
            row = []
        cells = cells + more if row else cells_of(text)
        row.append(painter.on(text, n))
        if text.endswith("␊"):
            yield between.join(row)
            row = []
    if row:
        yield between.join(row)


def token_table(
    tokenizer: Tokenizer, ids: Sequence[int], painter: Painter, width: int | None
) -> Sequence[str]:
    """A line a token: id, bytes in hexadecimal, text."""
    columns = [
        Column("id", is_right=True),
        Column("bytes", wraps=at_words, paint=painter.dim),
        Column("text", wraps=anywhere, paint=lambda text: painter.on(text, 0)),
    ]
    pieces = [tokenizer.piece(token_id) for token_id in ids]
    rows = [
        (str(token_id), piece.hex(" "), token_text(piece))
        for token_id, piece in zip(ids, pieces, strict=True)
    ]
    return table_lines(columns, rows, painter=painter, width=width)


def sample_facts(tokenizer: Tokenizer, seed: int) -> list[tuple[str, str]]:
    """The size of the vocabulary, the tokens that end a reply, and the seed of the sample."""
    ends = (f"{i} {tokenizer.text_of(i)}" for i in sorted(tokenizer.vocabulary.end_ids))
    return [
        ("vocabulary", count_text(len(tokenizer), "token")),
        ("end tokens", ", ".join(ends) or "none"),
        ("seed", str(seed)),
    ]


def sample_columns(painter: Painter) -> list[Column]:
    """How those are shown."""
    return [Column(paint=painter.dim), Column(wraps=at_words)]


def as_data(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The tokens for JSON. One may end in the middle of a character: its bytes are exact, its text is not."""
    control_ids = tokenizer.vocabulary.hidden_ids
    return [
        {
            "id": token_id,
            "bytes": piece.hex(),
            "text": piece.decode("utf-8", "replace"),
            "is_control": token_id in control_ids,
        }
        for token_id in ids
        for piece in (tokenizer.piece(token_id),)
    ]


def token_text(piece: bytes) -> str:
    """The text of a token in one safe line; bytes that are no whole character in hexadecimal.

    A joiner is spelled out: it would join what stands behind it, which is another token.
    """
    return pictured_line(piece.decode("utf-8", "backslashreplace").replace("\u200d", "\\u200d"))
