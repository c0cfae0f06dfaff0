"""Full-text search: what the user typed is searched for, never parsed as an expression.

bm25 counts for every word in how many messages it is, which takes 0.5 s for a common one among 200,000
messages (2026-11). So what is common takes no part in the ranking, which it would hardly change, and where
more messages match than anybody looks through, the newest are ranked.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import TypeAlias

from llama_chat.conversation import Role
from llama_chat.sessions.records import SESSION_COLUMNS, SessionInfo

Snippet: TypeAlias = tuple[tuple[str, bool], ...]
_Span: TypeAlias = tuple[int, int]

_RANKED = 500
"""Of more matches than this the newest are ranked."""
_COMMON = 1000
"""A word in so many messages says little about any of them."""
_BEFORE, _AFTER = 60, 130
"""Characters of a snippet before and after the beginning of a match."""
_LOOKED_AT = 30
"""Matches in one message among which the best place is chosen."""
_LONGEST_QUERY = 2000
_MOST_ITEMS = 64
_ITEM = re.compile(r'"(?P<phrase>[^"]*)(?P<end>"\*?)?|(?P<word>[^\s"]+)')


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that holds what was searched for."""

    session: SessionInfo
    message_id: str
    role: Role
    created_at: float
    snippet: Snippet
    """The text around the first match, in one line: its parts, and whether each is a match."""


def query_items(words: str) -> list[str]:
    """What FTS5 is asked for, one expression for each word and quoted phrase; all of them must be there.

    The last word matches as a prefix, a phrase that is still open too, and whatever ends in `*`. Beyond
    2,000 characters or 64 words a query is cut.
    """
    readable = words[:_LONGEST_QUERY].encode("utf-8", "replace").decode().replace("\0", " ")
    found = list(islice((item for item in _ITEM.finditer(readable) if _has_words(item[0])), _MOST_ITEMS))
    items = []
    for place, item in enumerate(found):
        text = item["word"] or item["phrase"]
        is_last = place == len(found) - 1 and item["end"] is None
        is_prefix = is_last or item["end"] == '"*' or text.endswith("*")
        items.append(f'"{text}"{" *" if is_prefix else ""}')
    return list(dict.fromkeys(items))


def _has_words(text: str) -> bool:
    """Whether FTS5 finds a word in it; a phrase without one would match no message at all."""
    # Its tokenizer, unicode61, makes words of letters, numbers and private use.
    return any((kind := unicodedata.category(char))[0] in "LN" or kind == "Co" for char in text)


def find_hits(connection: sqlite3.Connection, words: str, limit: int) -> list[SearchHit]:
    """The messages that hold all of the words, the best first (bm25), the newer first among equals."""
    items = query_items(words)
    if not items or limit <= 0:
        return []
    expression = " AND ".join(items)
    newest = [row[0] for row in connection.execute(_NEWEST, (expression, max(limit, _RANKED)))]
    scores = _scores(connection, [item for item in items if _is_rare(connection, item)])
    best = sorted(newest, key=lambda place: scores.get(place, 0.0))  # stable: the newest first among equals
    rows = _read(connection, expression, best[:limit])
    sessions = _sessions(connection, {row[0] for row in rows})
    return [
        SearchHit(sessions[session_id], message_id, Role(role), created_at, snippet)
        for session_id, message_id, role, created_at, snippet in rows
    ]


def _is_rare(connection: sqlite3.Connection, item: str) -> bool:
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM message_words WHERE message_words MATCH ? LIMIT ?)",
        (item, _COMMON),
    ).fetchone()
    return bool(count < _COMMON)


def _scores(connection: sqlite3.Connection, items: Sequence[str]) -> dict[int, float]:
    """How well messages match, the best with the lowest number."""
    if not items:
        return {}
    rows = connection.execute(
        "SELECT rowid, bm25(message_words) FROM message_words WHERE message_words MATCH ?",
        (" AND ".join(items),),
    )
    return dict(rows.fetchall())


_NEWEST = """
    SELECT w.rowid FROM message_words w CROSS JOIN messages m ON m.seq = w.rowid
    CROSS JOIN sessions s ON s.id = m.session_id
    WHERE message_words MATCH ? AND s.deleted_at IS NULL ORDER BY w.rowid DESC LIMIT ?"""

# Not FTS5's own snippet(), whose time grows with the square of the matches: 28 s for 64 words of one message
# with 500 of them (2026-11). The plus keeps `IN` from the index, which would look up every place anew.
_HITS = """
    SELECT m.seq, m.session_id, m.id, m.role, m.created_at, highlight(message_words, 0, ?, ?)
    FROM message_words w CROSS JOIN messages m ON m.seq = w.rowid
    WHERE message_words MATCH ? AND w.rowid BETWEEN ? AND ?
    AND +w.rowid IN (SELECT value FROM json_each(?))"""

_Row: TypeAlias = tuple[str, str, str, float, Snippet]


def _read(connection: sqlite3.Connection, expression: str, places: Sequence[int]) -> list[_Row]:
    if not places:
        return []
    # No message holds these marks: they are drawn anew for every search.
    begin, end = f"\x02{secrets.token_hex(8)}", f"\x03{secrets.token_hex(8)}"
    values = (begin, end, expression, min(places), max(places), str([*places]))
    found = {row[0]: row[1:] for row in connection.execute(_HITS, values)}
    return [(*found[place][:4], _snippet(found[place][4], begin, end)) for place in places]


def _sessions(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, SessionInfo]:
    found = {}
    for session_id in ids:
        row = connection.execute(
            f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        found[session_id] = SessionInfo(*row)
    return found


def _snippet(marked: str, begin: str, end: str) -> Snippet:
    """One line around the place that holds most of what was searched for."""
    text, spans = _unmarked(marked, begin, end)
    if not spans:
        return ((_in_one_line(text[: _BEFORE + _AFTER]), False),)
    place = _densest(text, spans)
    low, high = _window(text, place)
    parts = [("…", False)] if low else []
    for start, stop in spans:
        if low <= start < high:
            parts += [(text[low:start], False), (text[start : min(stop, high)], True)]
            low = min(stop, high)
    parts += [(text[low:high], False), ("…" if high < len(text) else "", False)]
    return _joined(parts)


def _unmarked(marked: str, begin: str, end: str) -> tuple[str, list[_Span]]:
    """The text, and where its matches are."""
    texts: list[str] = []
    spans: list[_Span] = []
    length = 0
    for number, piece in enumerate(marked.split(begin)):
        match, _, rest = piece.partition(end) if number else ("", "", piece)
        if match:
            spans.append((length, length + len(match)))
        texts += (match, rest)
        length += len(match) + len(rest)
    return "".join(texts), spans


def _densest(text: str, spans: Sequence[_Span]) -> int:
    """Where the match begins that is followed closely by most different ones."""
    words = [text[start:stop].casefold() for start, stop in spans]

    def variety(number: int) -> int:
        stop = bisect_right(spans, spans[number][0] + _AFTER, lo=number, key=itemgetter(1))
        return len(set(words[number:stop]))

    return spans[max(range(min(len(spans), _LOOKED_AT)), key=variety)][0]


def _window(text: str, place: int) -> _Span:
    """From a word before the place to a word behind it, where there are words."""
    low, high = max(0, place - _BEFORE), min(len(text), place + _AFTER)
    if low:
        low = next((i + 1 for i in range(low, place) if text[i].isspace()), low)
    if high < len(text):
        high = next((i for i in range(high, place + _AFTER // 2, -1) if text[i].isspace()), high)
    return low, high


def _joined(parts: Sequence[tuple[str, bool]]) -> Snippet:
    """Neighbours of one kind as one, without those that are empty, in one line."""
    groups = groupby(parts, key=itemgetter(1))
    joined = [("".join(text for text, _ in group), is_match) for is_match, group in groups]
    return tuple((_in_one_line(text), is_match) for text, is_match in joined if text)


def _in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
