"""The ids and titles of the last sessions, read quickly and without touching the file: for completion."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

PATIENCE_S = 0.05


def recent_titles(path: Path, prefix: str, limit: int) -> list[tuple[str, str]]:
    """Id and title of the sessions whose id begins so, the one last written to first.

    Raises:
        sqlite3.Error: there is no such file, it is no store, or it is busy.
    """
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S)
    ) as store:
        return store.execute(
            "SELECT id, title FROM sessions WHERE deleted_at IS NULL AND message_count > 0 "
            "AND substr(id, 1, ?) = ? ORDER BY touched DESC LIMIT ?",
            (len(prefix), prefix, limit),
        ).fetchall()
