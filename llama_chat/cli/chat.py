"""`llama-chat`: the chat."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.catalogue import PullProgress, fetch, find_model
from llama_chat.cli.engines import engine_loader, fetched_path
from llama_chat.errors import UsageError
from llama_chat.hub.names import snapshot_name
from llama_chat.paths import Paths
from llama_chat.settings import LoadedSettings, save_setting

FRAMES_PER_S = 500
"""Textual's timer of repaints runs only while something is to be painted, but can skip two of its periods:
at its own 60 a key typed during a reply was echoed after 57 ms (99th percentile), at 500 after 27
(2026-11-22)."""
DUMB_TERMINALS = ("dumb", "unknown")
"""What `TERM` says of a terminal that does nothing but print; Textual would draw on it all the same."""


def open_chat(loaded: LoadedSettings, paths: Paths, *, resume: str | None, continue_last: bool) -> int:
    """The exit code of a chat that has ended.

    Raises:
        UsageError: it has no terminal to itself, or one that can only print.
        StoreError: there is no session to resume.
        ModelError: the settings name a model that is not there.
    """
    if not all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    ):  # textual draws on stderr
        raise UsageError("The chat needs a terminal; for pipes and scripts there is 'llama-chat run'.")
    if os.environ.get("TERM") in DUMB_TERMINALS:
        raise UsageError(
            f"This terminal (TERM={os.environ['TERM']}) cannot show the chat, which draws a whole screen.",
            hint='Ask for one answer instead: llama-chat run "What is a llama?"',
        )
    if resume is not None:
        resume = _found_session(paths.sessions_file, resume)
    os.environ.setdefault("TEXTUAL_FPS", str(FRAMES_PER_S))  # read when textual is imported
    from llama_chat.log import start_log
    from llama_chat.ui.app import run_chat
    from llama_chat.ui.setup import ChatSetup

    start_log(paths.log_file)
    settings = loaded.settings
    found = find_model(settings.model.model, paths.models)
    missing = None if isinstance(found, Path) else found

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> object:
        assert missing is not None, "only asked for when the model is not at hand"
        return fetch(missing, paths.models, report, cancel)

    def path() -> Path:
        return found if isinstance(found, Path) else fetched_path(settings.model.model, paths.models)

    return run_chat(
        ChatSetup(
            settings=settings,
            notices=loaded.notices,
            paths=paths,
            loader=engine_loader(path, settings.model),
            model_label=(snapshot_name(found) or found.stem) if isinstance(found, Path) else found.title,
            pull=pull if missing is not None else None,
            save_setting=lambda table, key, value: save_setting(paths.settings_file, table, key, value),
            resume=resume,
            continue_last=continue_last,
        )
    )


def _found_session(sessions_file: Path, prefix: str) -> str:
    """The id of the session that begins so, looked up before the screen is taken: 10 ms (2026-11).

    Raises:
        StoreError: there is none, or more than one, or the store cannot be opened.
    """
    from llama_chat.sessions import SessionStore

    store = SessionStore(sessions_file)
    store.open()
    try:
        return store.find(prefix).id
    finally:
        store.close()
