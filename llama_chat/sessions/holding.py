"""Who has a session open: statements only; the transactions are the caller's."""

from __future__ import annotations

import sqlite3

from llama_chat.sessions.lease import Lease, build_lease, is_alive


def take_hold(connection: sqlite3.Connection, session_id: str) -> None:
    """Note that this process has the session open, and forget the processes that are gone."""
    for lease in _leases(connection, session_id):
        if not is_alive(lease):
            _forget(connection, session_id, lease)
    mine = build_lease()
    connection.execute(
        "INSERT INTO session_leases (session_id, pid, boot_id, started) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (session_id, mine.pid, mine.boot_id, mine.started),
    )


def let_go(connection: sqlite3.Connection, session_id: str) -> None:
    """Forget that this process has the session open."""
    _forget(connection, session_id, build_lease())


def is_held_by_others(connection: sqlite3.Connection, session_id: str) -> bool:
    """Whether another living process has the session open or writes a reply in it."""
    mine = build_lease()
    return any(
        lease != mine and is_alive(lease)
        for lease in [*_leases(connection, session_id), *_writers(connection, session_id)]
    )


def _leases(connection: sqlite3.Connection, session_id: str) -> list[Lease]:
    rows = connection.execute(
        "SELECT pid, boot_id, started FROM session_leases WHERE session_id = ?", (session_id,)
    )
    return [Lease(*row) for row in rows.fetchall()]


def _writers(connection: sqlite3.Connection, session_id: str) -> list[Lease]:
    rows = connection.execute(
        "SELECT l.pid, l.boot_id, l.started FROM leases l JOIN messages m ON m.id = l.message_id "
        "WHERE m.session_id = ?",
        (session_id,),
    )
    return [Lease(*row) for row in rows.fetchall()]


def _forget(connection: sqlite3.Connection, session_id: str, lease: Lease) -> None:
    connection.execute(
        "DELETE FROM session_leases WHERE (session_id, pid, boot_id, started) = (?, ?, ?, ?)",
        (session_id, lease.pid, lease.boot_id, lease.started),
    )
