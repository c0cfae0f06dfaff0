"""The versions of the store: each migration takes it from one to the next; `user_version` counts them.

A migration that has been released is never edited; a change of the tables is a new one at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from llama_chat.errors import StoreError

APPLICATION_ID = 0x4C434854
"""Says in the file's header that it is ours ("LCHT")."""


def _first_tables(connection: sqlite3.Connection) -> None:
    """Sessions, their tree of messages, the replies and their tokens."""
    for statement in _FIRST_TABLES:
        connection.execute(statement)


_FIRST_TABLES = (
    # What wrote: one row for each combination that was ever used; its template may be long.
    """CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL, fingerprint TEXT NOT NULL, engine TEXT NOT NULL,
        device TEXT NOT NULL, dtype TEXT NOT NULL, template TEXT NOT NULL,
        UNIQUE (name, fingerprint, engine, device, dtype, template))""",
    # `touched` counts up over all sessions: "the last session" survives a clock that jumps back.
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL, created_at REAL NOT NULL, updated_at REAL NOT NULL, touched INTEGER NOT NULL,
        date TEXT NOT NULL, model TEXT NOT NULL, model_id INTEGER REFERENCES models(id),
        leaf_id TEXT REFERENCES messages(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
        message_count INTEGER NOT NULL DEFAULT 0, deleted_at REAL)""",
    """CREATE INDEX sessions_by_touch ON sessions (touched)""",
    """CREATE INDEX sessions_listed ON sessions (touched) WHERE deleted_at IS NULL AND message_count > 0""",
    """CREATE INDEX sessions_by_leaf ON sessions (leaf_id)""",
    # `seq` is the order of writing and what a full-text index will refer to.
    """CREATE TABLE messages (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        parent_id TEXT REFERENCES messages(id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        text TEXT NOT NULL, created_at REAL NOT NULL)""",
    """CREATE INDEX messages_by_session ON messages (session_id, seq)""",
    """CREATE INDEX messages_by_parent ON messages (parent_id)""",
    """CREATE TABLE replies (
        message_id TEXT PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
        model TEXT NOT NULL, model_id INTEGER REFERENCES models(id),
        seed INTEGER NOT NULL, sampling TEXT NOT NULL, token_ids BLOB NOT NULL,
        finish_reason TEXT CHECK (finish_reason IN ('end', 'length', 'stopped', 'interrupted', 'failed')),
        error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, reused_tokens INTEGER NOT NULL,
        prefill_s REAL NOT NULL, decode_s REAL NOT NULL, context_start TEXT, plan TEXT)""",
    # Who is writing a reply that has no finish_reason yet.
    """CREATE TABLE leases (
        message_id TEXT PRIMARY KEY REFERENCES replies(message_id) ON DELETE CASCADE,
        pid INTEGER NOT NULL, boot_id TEXT NOT NULL, started TEXT NOT NULL)""",
    """CREATE TABLE sampling_changes (
        message_id TEXT NOT NULL REFERENCES replies(message_id) ON DELETE CASCADE,
        place INTEGER NOT NULL, sampling TEXT NOT NULL,
        PRIMARY KEY (message_id, place)) WITHOUT ROWID""",
    # The tokens of a running reply. piece: NULL where it is the text in UTF-8; logprob: NULL is not a number.
    """CREATE TABLE tokens (
        message_id TEXT NOT NULL REFERENCES replies(message_id) ON DELETE CASCADE,
        place INTEGER NOT NULL, token_id INTEGER NOT NULL, piece BLOB, text TEXT NOT NULL,
        chosen_by TEXT NOT NULL CHECK (chosen_by IN ('sampler', 'user')),
        logprob REAL, rank INTEGER NOT NULL, seconds REAL NOT NULL, candidates BLOB NOT NULL,
        PRIMARY KEY (message_id, place))""",
    # The tokens of a reply that has ended.
    """CREATE TABLE token_archives (
        message_id TEXT PRIMARY KEY REFERENCES replies(message_id) ON DELETE CASCADE,
        packed BLOB NOT NULL)""",
)


def _search_and_deletion(connection: sqlite3.Connection) -> None:
    """A full-text index, who has a session open, what is being deleted for good, where a model lies."""
    for statement in _SEARCH_AND_DELETION:
        connection.execute(statement)


_SEARCH_AND_DELETION = (
    "ALTER TABLE models ADD COLUMN path TEXT NOT NULL DEFAULT ''",
    # The words are kept here, the text in `messages` only. A message without text is not in the index.
    # prefix: what the last word of a query begins with is looked up like a word.
    """CREATE VIRTUAL TABLE message_words USING fts5(
        text, content = 'messages', content_rowid = 'seq', prefix = '1 2 3',
        tokenize = 'unicode61 remove_diacritics 2')""",
    """CREATE TRIGGER message_words_added AFTER INSERT ON messages WHEN new.text <> '' BEGIN
        INSERT INTO message_words (rowid, text) VALUES (new.seq, new.text); END""",
    """CREATE TRIGGER message_words_deleted AFTER DELETE ON messages WHEN old.text <> '' BEGIN
        INSERT INTO message_words (message_words, rowid, text) VALUES ('delete', old.seq, old.text); END""",
    # One trigger for both: in which order two would run is not promised.
    """CREATE TRIGGER message_words_changed AFTER UPDATE OF text ON messages WHEN old.text <> new.text BEGIN
        INSERT INTO message_words (message_words, rowid, text)
            SELECT 'delete', old.seq, old.text WHERE old.text <> '';
        INSERT INTO message_words (rowid, text) SELECT new.seq, new.text WHERE new.text <> ''; END""",
    "INSERT INTO message_words (rowid, text) SELECT seq, text FROM messages WHERE text <> ''",
    # Which living processes have a session open; dead ones are forgotten by whoever comes next.
    """CREATE TABLE session_leases (
        session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        pid INTEGER NOT NULL, boot_id TEXT NOT NULL, started TEXT NOT NULL,
        PRIMARY KEY (session_id, pid, boot_id, started)) WITHOUT ROWID""",
    "CREATE INDEX replies_running ON replies (message_id) WHERE finish_reason IS NULL",
    "CREATE INDEX sessions_deleted ON sessions (deleted_at) WHERE deleted_at IS NOT NULL",
    # Sessions of which nothing may stay, and of which something may still be in the index or in a backup.
    "CREATE TABLE deletions (session_id TEXT PRIMARY KEY) WITHOUT ROWID",
)


def _stages_of_deletion(connection: sqlite3.Connection) -> None:
    """How far a deletion for good has come: `deleting.Stage`."""
    connection.execute("ALTER TABLE deletions ADD COLUMN stage INTEGER NOT NULL DEFAULT 0")


def _vocabularies(connection: sqlite3.Connection) -> None:
    """The tokens of the models by the digest that names them; see `vocabularies`."""
    for statement in _VOCABULARIES:
        connection.execute(statement)


_VOCABULARIES = (
    "ALTER TABLE models ADD COLUMN vocabulary TEXT NOT NULL DEFAULT ''",
    # token_count tells its rows from those of token_archives, should only the pages be left of the file.
    """CREATE TABLE vocabularies (
        digest TEXT PRIMARY KEY, token_count INTEGER NOT NULL, packed BLOB NOT NULL)""",
)


def _forwards_of_tokens(connection: sqlite3.Connection) -> None:
    """`Token.forward`, so that a reply which is cut off while tokens are drafted can be computed again."""
    connection.execute("ALTER TABLE tokens ADD COLUMN forward_start INTEGER")
    connection.execute("ALTER TABLE tokens ADD COLUMN forward_rows INTEGER")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first_tables,
    _search_and_deletion,
    _stages_of_deletion,
    _vocabularies,
    _forwards_of_tokens,
)
"""`MIGRATIONS[n]` takes version n to n + 1."""


def check_version(connection: sqlite3.Connection, path: Path, *, latest: int) -> int:
    """The version of the file; reads only.

    Raises:
        StoreError: it was written by a newer llama-chat or by another program.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or objects or version):
        raise StoreError(
            f"{path} is a database of another program.", hint="Move it away or set LLAMA_CHAT_HOME."
        )
    if version > latest:
        raise StoreError(
            f"{path} was written by a newer llama-chat: its version is {version}, this one knows {latest}.",
            hint="Update llama-chat; the file was left as it is.",
        )
    return int(version)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[Callable[[sqlite3.Connection], None], ...] = MIGRATIONS,
) -> None:
    """Bring the file to the newest version in one transaction, after a copy of it was put beside it."""
    if check_version(connection, path, latest=len(migrations)) == len(migrations):
        return
    # Foreign keys would fire while a table is built anew; the outcome is checked as a whole instead.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another process may have done it while we waited.
        version = check_version(connection, path, latest=len(migrations))
        if 0 < version < len(migrations):
            _back_up(path, backup_path(path, version))
        for number in range(version, len(migrations)):
            migrations[number](connection)
        _finish(connection, path, len(migrations))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def backup_path(path: Path, version: int) -> Path:
    """Where the copy lies that is made before the file leaves this version."""
    return path.with_name(f"{path.name}.v{version}.backup")


def _finish(connection: sqlite3.Connection, path: Path, version: int) -> None:
    if broken := connection.execute("PRAGMA foreign_key_check").fetchall():
        raise StoreError(f"{path}: {len(broken)} rows point nowhere after the change to version {version}.")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")


def _back_up(path: Path, target: Path) -> None:
    """Copy what is committed, through a connection that does not see the open transaction."""
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with no -wal that could be lost beside it
    part.replace(target)
