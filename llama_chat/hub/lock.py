"""One at a time: who fetches a repository into the Hub's cache, or removes it, holds its lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llama_chat.hub.cache import cache_folder, repo_folder


@contextmanager
def locked(repo_id: str, wait_s: float) -> Iterator[None]:
    """Hold the lock on that repository; it falls with the process that has it.

    Raises:
        TimeoutError: somebody else had it all the time.
        OSError: the cache cannot be written.
    """
    from huggingface_hub.utils import WeakFileLock

    path = cache_folder() / ".locks" / repo_folder(repo_id).name / "llama-chat.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path, timeout=wait_s):
        yield
