"""Waiting on the screen's thread for what another one makes."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def heard(asked: Future[T]) -> asyncio.Future[T]:
    """The answer, for who may leave before it comes: an error that nobody waits for any more is none."""
    future = asyncio.wrap_future(asked)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
