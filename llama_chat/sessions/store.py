"""The store of sessions: what was shown is kept, through a crash, and comes back as the tree it was."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from llama_chat.conversation import Conversation, Message
from llama_chat.events import Prefilled, Sampling, Token
from llama_chat.sessions import backups, continuing, deleting, replies
from llama_chat.sessions.archive import pack_archive
from llama_chat.sessions.database import storable_time
from llama_chat.sessions.failures import StoreUnavailable, explain_os
from llama_chat.sessions.lease import build_lease
from llama_chat.sessions.records import (
    MESSAGE_COLUMNS,
    MODEL_COLUMNS,
    ModelRecord,
    SessionRecord,
    message_from,
)
from llama_chat.sessions.shelf import Shelf, no_session, require

_REWRITTEN_AT_END_BYTES = 64_000_000
"""1 to 2 s of waiting at the end of a chat (40 MB/s, two busy cores, 2026-11)."""
_Tokens: TypeAlias = list[Token]  # inside the class `list` is the method


class SessionStore(Shelf):
    """Every session of one user, in one SQLite file; usable from several threads and processes at once.

    Every call raises `StoreError` when it fails, a `StoreUnavailable` when it may work later (locked, no
    space, read-only); nothing is then half done. A call that adds may be repeated: what is there stays.

    Args:
        path: the file; it is made by `open`, nothing happens before.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._damaged_replies: dict[str, None] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should hear about the last opening: a damaged store, and what became of it."""
        return self._database.notices

    @property
    def damaged_replies(self) -> tuple[str, ...]:
        """The ids of the replies whose kept tokens turned out to be damaged when they were read."""
        return tuple(self._damaged_replies)

    def open(self) -> None:
        """Make folder and file if need be and bring the tables up to date.

        Raises:
            StoreError: it cannot be written, is no store, is damaged or was written by a newer version
                (and is then left as it is).
        """
        self._database.open()

    def open_for_reading(self) -> None:
        """Open a store that cannot be written: on a read-only disk, or somebody else's; it is left as it is.

        Raises:
            StoreError: it cannot be read, or not without a change.
        """
        self._database.open_for_reading()

    def close(self) -> None:
        """Close the file for all threads, and interrupt what they do with it; safe to call twice."""
        self._database.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write that `exchange` makes by statements of its own: as a whole or not at all."""
        return self._database.transaction(full=True)

    def wait_at_most(self, seconds: float) -> None:
        """Let the calls of this thread wait no longer than this for another program's lock."""
        self._database.wait_at_most(seconds)

    def tidy(self) -> None:
        """End replies whose writer is gone, delete for good what was deleted 30 days ago, drop old backups.

        For the background, after opening: it may take seconds, in steps that hold writers up for 0.2 s at
        most, those of this process too. A large file is not written anew: that is for `finish_deleting`.

        Raises:
            StoreError: the store cannot be written now; the next call goes on.
        """
        for session_id in self._sessions_with_dead_replies():
            self.load(session_id)  # which notes their end
        now = time.time()
        with self._database.reading() as connection:
            is_due = deleting.has_future(connection, now) or deleting.expired(connection, now)
        if is_due:
            with self._database.transaction(full=True) as connection:
                deleting.bring_back_to_today(connection, now)
                for session_id in deleting.expired(connection, now):
                    deleting.begin_deletion(connection, session_id, now)
        try:
            backups.expire_backups(self.path, now=now, kept_s=deleting.KEPT_S)
        except OSError as error:
            raise explain_os(error, self.path) from error
        deleting.erase(self._database, deleting.QUICK_TO_REWRITE_BYTES)

    def finish_deleting(self) -> bool:
        """Do what `tidy` leaves of a large file, for the end of a chat: it may hold writers up for 1 s.

        True: nothing is left to do. False: another program has the store open, a backup cannot be changed,
        or the file is larger than 64 MB; copies of deleted text may then stay in its gaps until the next
        `delete_now`.

        Raises:
            StoreError: the store cannot be written now.
        """
        return deleting.erase(self._database, _REWRITTEN_AT_END_BYTES)

    # --- messages ---------------------------------------------------------------------------------

    def load(self, session_id: str) -> Conversation:
        """The tree of the session.

        A reply without an end has all its committed text: with finish_reason None while its process lives,
        else "interrupted", which is then noted in the store if that is possible.
        """
        with self._database.reading() as connection:
            session = connection.execute(
                "SELECT leaf_id FROM sessions WHERE id = ?", (session_id,)
            ).fetchone()
            if session is None:
                raise no_session(session_id)
            rows = connection.execute(
                f"SELECT {MESSAGE_COLUMNS} FROM messages m LEFT JOIN replies r ON r.message_id = m.id "
                "WHERE m.session_id = ? ORDER BY m.seq",
                (session_id,),
            )
            messages = {message.id: message for message in map(message_from, rows)}
            running = [m for m in messages.values() if m.reply and m.reply.finish_reason is None]
            progress = [replies.with_progress(connection, message) for message in running]
        for message in progress:
            messages[message.id] = message
            self._settle(message)
        return Conversation(messages, session[0])

    def add_messages(self, session_id: str, messages: Sequence[Message], leaf_id: str | None) -> None:
        """Keep new messages, parents before children, and the path that is now taken; all or nothing."""
        with self._database.transaction(full=True) as connection:
            inserted = sum(replies.insert_message(connection, session_id, message) for message in messages)
            _touch(connection, session_id, inserted, leaf_id)

    def take_back(self, session_id: str, message_ids: Sequence[str], leaf_id: str | None) -> None:
        """Forget messages that nothing follows, and take the path to this leaf; may be repeated."""
        with self._database.transaction(full=True) as connection:
            deleted = connection.executemany(
                "DELETE FROM messages WHERE session_id = ? AND id = ? "
                "AND NOT EXISTS (SELECT 1 FROM messages below WHERE below.parent_id = messages.id)",
                [(session_id, message_id) for message_id in message_ids],
            ).rowcount
            updated = connection.execute(
                "UPDATE sessions SET leaf_id = ?, message_count = message_count - ? WHERE id = ?",
                (leaf_id, max(0, deleted), session_id),
            )
            require(updated, session_id)

    def begin_reply(self, session_id: str, message: Message) -> None:
        """Keep an assistant's message that this process is about to write; it becomes the leaf."""
        assert message.reply is not None
        assert message.reply.finish_reason is None
        with self._database.transaction(full=False) as connection:
            inserted = replies.insert_message(connection, session_id, message)
            replies.take_lease(connection, message.id, build_lease())
            _touch(connection, session_id, inserted, message.id)

    def reopen_reply(self, session_id: str, message: Message) -> Message:
        """The reply as it is from now on: it goes on, written by this process, and is the leaf.

        Its text becomes what its tokens tell: a character that was cut at its end is completed by what comes.
        May be repeated; one that the store does not have yet is begun.

        Args:
            session_id: its session.
            message: as it was read, with all of its token ids.

        Raises:
            StoreError: another chat writes it, or has gone on with it since it was read.
        """
        with self._database.transaction(full=False) as connection:
            stored = continuing.stored_message(connection, session_id, message.id)
            if stored is not None:
                continuing.check_unchanged(connection, stored, message)
            base = stored or message
            begun = continuing.reopened(base, continuing.readable_text(connection, base))
            inserted = replies.insert_message(connection, session_id, begun)
            continuing.reopen(connection, begun)
            _touch(connection, session_id, inserted, message.id)
        return begun

    def note_prefill(self, message_id: str, prefilled: Prefilled) -> None:
        """Keep what the prefill of a running reply took."""
        with self._database.transaction(full=False) as connection:
            replies.note_prefill(connection, message_id, prefilled)

    def append_tokens(self, message_id: str, tokens: Sequence[Token]) -> None:
        """Keep the next tokens of a running reply: they outlive the death of the process."""
        with self._database.transaction(full=False) as connection:
            replies.insert_tokens(connection, message_id, tokens)

    def finish_reply(
        self, session_id: str, message: Message, *, end: Token | None = None, pack: bool = True
    ) -> None:
        """Keep the final text and record of a reply: they outlive a loss of power.

        Args:
            session_id: its session.
            message: with a finish_reason.
            end: the token that ended it; the settings that it was drawn with are kept.
            pack: pack the tokens too (0.4 s for 1,000 of them); else `pack_tokens` does it later.
        """
        assert message.reply is not None
        assert message.reply.finish_reason is not None
        with self._database.transaction(full=True) as connection:
            inserted = replies.insert_message(connection, session_id, message)
            replies.end_reply(connection, message)
            if end is not None:
                replies.note_sampling(connection, message.id, len(message.reply.token_ids), end.sampling)
            _touch(connection, session_id, inserted, None, is_brought_back=False)
        if pack:
            self.pack_tokens(message.id)

    def pack_tokens(self, message_id: str) -> None:
        """Compress the token rows of a reply that has ended into one blob; nothing to do is fine."""
        # The packing itself happens outside of the write, which would lock other chats out for its time.
        with self._database.reading() as connection:
            count = replies.row_count(connection, message_id)
            if not count or replies.is_running(connection, message_id):
                return
            tokens, is_damaged = replies.tokens_of(connection, message_id)
        if is_damaged:  # packed, what can be read would take the place of what may yet be mended
            return
        packed = pack_archive(tokens)
        with self._database.transaction(full=False) as connection:
            if replies.row_count(connection, message_id) == count:
                replies.replace_rows(connection, message_id, packed)

    def load_tokens(self, message_id: str) -> _Tokens:
        """The tokens of a stored reply, with what each was chosen from; empty for one that kept none.

        Damaged ones are left out, and `damaged_replies` names the reply.
        Once packed, the lower tail of the candidates is near, not exact (see `tail`).

        Raises:
            StoreError: there is no such reply.
        """
        return self._load_tokens(message_id, with_candidates=True)

    def load_plain_tokens(self, message_id: str) -> _Tokens:
        """The same tokens without candidates (`NO_CANDIDATES`), read 50 times as quickly.

        Raises:
            StoreError: there is no such reply.
        """
        return self._load_tokens(message_id, with_candidates=False)

    def _load_tokens(self, message_id: str, *, with_candidates: bool) -> _Tokens:
        with self._database.reading() as connection:
            tokens, is_damaged = replies.tokens_of(connection, message_id, with_candidates=with_candidates)
        if is_damaged:
            self._damaged_replies[message_id] = None
        return tokens

    def record(self, session_id: str) -> SessionRecord:
        """All that is known of the session; the tokens are read when they are asked for."""
        info = self.find(session_id, include_deleted=True)
        conversation = self.load(session_id)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT r.message_id, {MODEL_COLUMNS} FROM replies r JOIN models d ON d.id = r.model_id "
                "JOIN messages m ON m.id = r.message_id WHERE m.session_id = ?",
                (session_id,),
            )
            models = {row[0]: ModelRecord(*row[1:]) for row in rows}
        return SessionRecord(
            info,
            conversation,
            models,
            self.load_tokens,
            self.load_plain_tokens,
            self._load_archive,
            self.load_end_sampling,
            self.vocabulary_of_reply,
        )

    def load_end_sampling(self, message_id: str) -> Sampling | None:
        """The settings that the end of the reply was drawn with; None where they are the last token's."""
        with self._database.reading() as connection:
            return replies.end_sampling(connection, message_id)

    def _load_archive(self, message_id: str) -> bytes | None:
        with self._database.reading() as connection:
            return replies.archive_of(connection, message_id)

    def _sessions_with_dead_replies(self) -> list[str]:
        with self._database.reading() as connection:
            return replies.sessions_with_dead_replies(connection)

    def _settle(self, message: Message) -> None:
        """Note that a reply was interrupted; a store that cannot be written now will hear it another time."""
        if message.reply is None or message.reply.finish_reason is None:
            return
        with contextlib.suppress(StoreUnavailable), self._database.without_waiting():
            with self._database.transaction(full=False) as connection:
                if replies.is_running(connection, message.id):
                    replies.end_reply(connection, message)
            self.pack_tokens(message.id)


def _touch(
    connection: sqlite3.Connection,
    session_id: str,
    inserted: int,
    leaf_id: str | None,
    *,
    is_brought_back: bool = True,
) -> None:
    """Make the session the last one; a leaf of None keeps the one it has.

    Somebody may delete a session that a chat has open: new words bring it back, lest they go in 30 days.
    """
    updated = connection.execute(
        "UPDATE sessions SET updated_at = ?, touched = (SELECT max(touched) + 1 FROM sessions), "
        "message_count = message_count + ?, leaf_id = coalesce(?, leaf_id), deleted_at = CASE WHEN ? AND "
        "id NOT IN (SELECT session_id FROM deletions) THEN NULL ELSE deleted_at END WHERE id = ?",
        (storable_time(time.time()), inserted, leaf_id, is_brought_back, session_id),
    )
    require(updated, session_id)
