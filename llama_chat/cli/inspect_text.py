"""What `llama-chat inspect` found, in lines for a terminal or a pipe."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_chat.cli.pairs import AT_BARS, Pair, pair_lines
from llama_chat.cli.tables import Column, Painter, cells_of, count_text, cut, pictured_line, table_lines
from llama_chat.units import bytes_text

if TYPE_CHECKING:
    from pathlib import Path

    from llama_chat.engine.inspect.chosen import Chosen
    from llama_chat.engine.inspect.listing import Listing, Part, TensorRow, TokenizerFacts, Totals
    from llama_chat.engine.inspect.statistics import Histogram, TensorStatistics
    from llama_chat.engine.inspect.tree import Node

INDENT = "  "
VALUE_CELLS = 100
"""Where a text is cut that would go on for long, such as a chat template."""
LIST_CELLS = 400
"""Where lists and objects are cut."""
LISTED_SPECIALS = 12
HISTOGRAM_ROWS = 3
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def listing_lines(listing: Listing, painter: Painter, width: int | None, *, shows_all: bool) -> Iterator[str]:
    """The whole listing: each model with metadata, tensors and totals, then documents and tokenizers."""
    for part in listing.parts:
        yield from _part_lines(part, listing.path, painter, width, shows_all=shows_all)
    for name, document in listing.documents.items():
        yield painter.bold(pictured_line(name))
        yield from _pairs(document, width)
        yield ""
    for facts in listing.tokenizers:
        yield from _tokenizer_lines(facts, painter, width)
        yield ""


def statistics_lines(found: Chosen, painter: Painter, width: int | None = None) -> Iterator[str]:
    """One tensor with the figures of its values."""
    row = found.row
    shape = " × ".join(map(str, row.shape)) or "one value"
    facts = pictured_line(f"{shape}{INDENT}{row.type_name}{INDENT}{bytes_text(row.nbytes)}")
    yield from _head_lines(row.name, facts, painter, width)
    in_gguf = f"; in GGUF: {row.gguf_name}" if row.gguf_name != row.name else ""
    yield INDENT + painter.dim(_cut(row.file + _shares(row) + in_gguf, width))
    if found.statistics is None:
        yield INDENT + pictured_line(found.problem)
    else:
        yield from _figures(found.statistics, width)
    yield ""


def _shares(row: TensorRow) -> str:
    return f" and {row.shares - 1} more, merged" if row.shares > 1 else ""


def _head_lines(name: str, facts: str, painter: Painter, width: int | None) -> Iterator[str]:
    """What it is called, and what it is: below that where one line has no room for both."""
    name = pictured_line(name)
    if width and cells_of(name) + len(INDENT) + cells_of(facts) > width:
        yield painter.bold(cut(name, width))
        yield INDENT + facts
    else:
        yield painter.bold(name) + INDENT + facts


def _cut(text: str, width: int | None) -> str:
    text = pictured_line(text)
    return cut(text, width - len(INDENT)) if width else text


def _part_lines(
    part: Part, start: Path, painter: Painter, width: int | None, *, shows_all: bool
) -> Iterator[str]:
    from llama_chat.engine.inspect.tree import fold

    yield from _head_lines(_names(part, start), part.format + _counted(part), painter, width)
    if part.metadata:
        yield INDENT + painter.dim("metadata")
        yield from _pairs(part.metadata, width, indent=INDENT * 2)
    yield INDENT + painter.dim(count_text(len(part.tensors), "tensor") + _per_shard(part))
    rows = list(_tree_rows(fold(part.tensors, folds=not shows_all)))
    columns = [Column(shrinks=True), Column(), Column(), Column(is_right=True)]
    yield from table_lines(columns, rows, width=width, indent=INDENT * 2)
    yield INDENT + painter.dim("totals" + ("" if part.is_whole else f" of {_files_here(part)}"))
    yield from pair_lines(list(_total_rows(part.totals)), width, INDENT * 2)
    yield ""


def _per_shard(part: Part) -> str:
    return f", shapes as in each of {len(part.files)} shards" if part.merged else ""


def _names(part: Part, start: Path) -> str:
    names = [
        str(path.relative_to(start) if path.parent != start.parent else path.name) for path in part.files
    ]
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _counted(part: Part) -> str:
    if not part.is_whole:
        return f", {_files_here(part)}"
    return f", {len(part.files)} files" if len(part.files) > 1 else ""


def _files_here(part: Part) -> str:
    return f"{len(part.files)} of {part.file_count} files"


def _tree_rows(nodes: Sequence[Node], depth: int = 0) -> Iterator[Sequence[str]]:
    from llama_chat.engine.inspect.tree import Leaf

    for node in nodes:
        label = INDENT * depth + node.label
        if isinstance(node, Leaf):
            row = node.row
            times = f" × {node.times}" if node.times > 1 else ""
            yield label, f"{list(row.shape)}{times}", row.type_name, bytes_text(row.nbytes)
            continue
        times = f"× {len(node.numbers)}" if len(node.numbers) > 1 else ""
        yield label, times, "", bytes_text(node.nbytes)
        yield from _tree_rows(node.children, depth + 1)


def _total_rows(totals: Totals) -> Iterator[Pair]:
    yield Pair("parameters", f"{totals.parameters:,}")
    yield Pair("bytes", f"{totals.nbytes:,} ({bytes_text(totals.nbytes)})")
    if totals.read_bytes_per_token is not None:
        yield Pair("read for a token", bytes_text(totals.read_bytes_per_token))
    if totals.kv_bytes_per_token is not None:
        kept = f"{bytes_text(totals.kv_bytes_per_token)} of keys and values in 16 bits"
        yield Pair("kept for a token", kept)


def _pairs(pairs: Mapping[str, Any], width: int | None, *, indent: str = INDENT) -> Iterator[str]:
    rows = [
        Pair(key, value_text(value), ()) if isinstance(value, str) else Pair(key, value_text(value))
        for key, value in pairs.items()
    ]
    return pair_lines(rows, width, indent)


def value_text(value: Any) -> str:
    """A value of metadata in one line; long lists by their length."""
    if isinstance(value, list) and len(value) > 8:
        kinds = {type(each).__name__ for each in value}
        kind = {"bytes": "texts", "str": "texts", "dict": "objects"}.get(kinds.pop(), "numbers")
        return f"[{len(value):,} {kind if not kinds else 'values'}]"
    if isinstance(value, str):
        return cut(pictured_line(value), VALUE_CELLS)
    if isinstance(value, float):
        value = _shortest(value)
    return cut(pictured_line(json.dumps(value, ensure_ascii=False, default=_text)), LIST_CELLS)


def _shortest(value: float) -> float:
    """1e-05 for what GGUF keeps in 32 bits of it, 9.999999747378752e-06; other values as they are."""
    short = float(f"{value:.7g}")
    try:
        packed = struct.pack("<f", value)
        is_short = struct.unpack("<f", packed)[0] == value and struct.pack("<f", short) == packed
        return short if is_short else value
    except OverflowError:  # too large for 32 bits
        return value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _tokenizer_lines(facts: TokenizerFacts, painter: Painter, width: int | None) -> Iterator[str]:
    yield painter.bold("tokenizer") + f"{INDENT}{pictured_line(facts.file)}"
    text_of = {i: text for text, i in facts.special_tokens.items()}

    def named(token_id: int) -> str:
        return f"{token_id} {text_of.get(token_id, '')}".rstrip()

    special = [f"{i} {text}" for text, i in list(facts.special_tokens.items())[:LISTED_SPECIALS]]
    more = len(facts.special_tokens) - len(special)
    listed = ", ".join(special) + (f", … {more} more" if more else "")
    rows = [
        Pair("kind", facts.kind),
        Pair("size", f"{facts.size:,} tokens"),
        Pair("pattern", facts.pattern or "", AT_BARS),
        Pair("begin id", "" if facts.bos_id is None else named(facts.bos_id)),
        Pair("end ids", ", ".join(map(named, facts.end_ids))),
        Pair("special", f"{len(facts.special_tokens):,}: {listed}"),
    ]
    yield from pair_lines([row for row in rows if row.text], width, INDENT)


def _figures(found: TensorStatistics, width: int | None) -> Iterator[str]:
    values = INDENT.join(map(number_text, found.first))
    rows = [Pair("first values", values + (f"{INDENT}…" if found.count > len(found.first) else ""))]
    if found.mean is not None and found.std is not None:
        rows += [Pair("mean", number_text(found.mean)), Pair("deviation", number_text(found.std))]
    if found.smallest is not None and found.largest is not None:
        rows.append(Pair("range", f"{number_text(found.smallest)} … {number_text(found.largest)}"))
    rows.append(Pair("NaN, infinite", f"{found.nan_count:,}, {found.inf_count:,} of {found.count:,}"))
    yield from pair_lines(rows, width, INDENT)
    if found.histogram is not None:
        yield from (INDENT + line for line in histogram_lines(found.histogram))


def number_text(value: float) -> str:
    """The value with six digits: `0.0123457`, `-1.5`, `1.2e-08`."""
    return f"{value:.6g}"


def histogram_lines(histogram: Histogram) -> Iterator[str]:
    """The counts as bars three lines high, the range below them, and how many lie outside."""
    most = max(histogram.counts) or 1
    # A bin that is not empty is seen: at least an eighth of a line.
    heights = [-(-count * HISTOGRAM_ROWS * 8 // most) for count in histogram.counts]
    for row in reversed(range(HISTOGRAM_ROWS)):
        yield "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights).rstrip()
    low, high = number_text(histogram.low), number_text(histogram.high)
    yield low + high.rjust(max(len(heights) - len(low), len(high) + 2))
    if histogram.below or histogram.above:
        yield f"{histogram.below:,} below, {histogram.above:,} above"
