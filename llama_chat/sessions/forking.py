"""The tokens of a reply up to one of them, for a branch that goes on from there with another token.

Statements only; the transactions are the caller's.
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass, replace

from llama_chat.events import Token
from llama_chat.sessions import replies


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where a reply forks, and what the user takes there."""

    index: int
    """Of the first token that is another one."""
    token_id: int | None = None
    """None: what comes there is recorded when it is computed, or the reply ends there."""
    piece: bytes = b""
    text: str = ""
    """What became readable by it."""


def fork_tokens(connection: sqlite3.Connection, message_id: str, copy_id: str, fork: ForkPoint) -> None:
    """Let the branch have the tokens before the fork, the one that was taken, and the model; may be repeated.

    The taken one is among the candidates of the token in whose place it stands: its probability and its rank
    are theirs. It stays as fresh as it was: 1,000 tokens take 0.1 s.
    """
    tokens, _ = replies.tokens_of(connection, message_id)
    kept = [token for token in tokens if token.index < fork.index]
    here = next((token for token in tokens if token.index == fork.index), None)
    if here is not None and fork.token_id is not None:
        kept.append(_taken(here, fork.token_id, fork))
    replies.insert_tokens(connection, copy_id, kept)
    connection.execute(
        "UPDATE replies SET model_id = (SELECT model_id FROM replies WHERE message_id = ?) "
        "WHERE message_id = ?",
        (message_id, copy_id),
    )


def _taken(instead_of: Token, token_id: int, fork: ForkPoint) -> Token:
    candidates = instead_of.candidates
    ids = list(candidates.token_ids)
    place = ids.index(token_id) if token_id in ids else None
    return replace(
        instead_of,
        token_id=token_id,
        piece=fork.piece,
        text=fork.text,
        chosen_by="user",
        logprob=math.nan if place is None else candidates.penalised[place] - candidates.logsumexp,
        rank=len(ids) + 1 if place is None else place + 1,
    )
