"""What the user said last, for the prompt to bring back."""

from __future__ import annotations

import sqlite3

_MOST_CHARACTERS = 2_000_000
"""Of all texts together: some of them may be whole files."""
_MOST_ROWS = 20_000
"""Messages looked at, from the newest on, whoever's they are: 20 ms (2026-11-22)."""

# From the end of the table, by its key: no index is needed, and long texts of others are not read.
_NEWEST = """
    SELECT m.text, m.created_at FROM messages m CROSS JOIN sessions s ON s.id = m.session_id
    WHERE m.seq > (SELECT max(seq) FROM messages) - ? AND m.role = 'user' AND s.deleted_at IS NULL
    ORDER BY m.seq DESC"""


def find_said(connection: sqlite3.Connection, most: int) -> list[str]:
    """The texts of the user's newest messages, each once, the newest first."""
    found: dict[str, float] = {}
    characters = 0
    for text, created_at in connection.execute(_NEWEST, (_MOST_ROWS,)):
        if len(found) >= most or characters >= _MOST_CHARACTERS:
            break
        if text.strip():
            characters += len(text)
            found[text] = max(created_at, found.get(text, created_at))
    return sorted(found, key=lambda text: -found[text])  # stable: what was written last first
