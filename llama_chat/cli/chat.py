"""`llama-chat`: the chat."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.cli.device_access import device_access
from llama_chat.cli.engines import engine_loader, fetched_path
from llama_chat.cli.other_models import ModelOpener, fetcher, fit_finder, label_of
from llama_chat.errors import UsageError
from llama_chat.model_names import find_model
from llama_chat.paths import Paths
from llama_chat.settings import LoadedSettings, save_setting

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from llama_chat.chat.looking import AttentionReader
    from llama_chat.chat.setup import ChatSetup
    from llama_chat.drawing.views import Walker
    from llama_chat.events import Engine

FRAMES_PER_S = 500
"""Textual's timer of repaints runs only while something is to be painted, but can skip two of its periods:
at its own 60 a key typed during a reply was echoed after 57 ms (99th percentile), at 500 after 27
(2026-11-22)."""
DUMB_TERMINALS = ("dumb", "unknown")
"""What `TERM` says of a terminal that does nothing but print; Textual would draw on it all the same."""


def open_chat(
    loaded: LoadedSettings, paths: Paths, *, resume: str | None, continue_last: bool, is_plain: bool = False
) -> int:
    """The exit code of a chat that has ended.

    Args:
        loaded: the settings.
        paths: the user's folders.
        resume: the beginning of the id of a session to go on with.
        continue_last: whether to go on with the last one.
        is_plain: whether it is to be printed line by line, wherever it comes from and goes to; a terminal
            that can only print has no other chat.

    Raises:
        UsageError: it has no terminal to itself.
        StoreError: there is no session to resume.
        ModelError: the settings name a model that is not there.
    """
    if not is_plain:
        _check_terminal()
        is_plain = os.environ.get("TERM") in DUMB_TERMINALS
    gc.disable()  # until the first paint, imports too: 50 of 450 ms (2026-11-22)
    try:
        return _open_chat(loaded, paths, resume, continue_last, is_plain)
    finally:
        gc.enable()


def _open_chat(
    loaded: LoadedSettings, paths: Paths, resume: str | None, continue_last: bool, is_plain: bool
) -> int:
    notices: tuple[str, ...] = ()
    if resume is not None:
        resume, notices = _found_session(paths.sessions_file, resume)
    from llama_chat.log import start_log

    start_log(paths.log_file)
    setup = build_setup(loaded, paths, resume=resume, continue_last=continue_last)
    setup = replace(setup, notices=setup.notices + notices)
    if is_plain:
        from llama_chat.cli.plain import run_plain_chat

        gc.enable()
        return run_plain_chat(setup)
    os.environ.setdefault("TEXTUAL_FPS", str(FRAMES_PER_S))  # read when textual is imported
    from llama_chat.ui.app import run_chat

    return run_chat(setup)


def _check_terminal() -> None:
    """Make sure that there is one to draw on.

    Raises:
        UsageError: there is none.
    """
    if not all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    ):  # textual draws on stderr
        raise UsageError(
            "The chat needs a terminal; for pipes and scripts there is 'llama-chat run'.",
            hint="'llama-chat --plain' chats line by line, out of a pipe, too.",
        )


def build_setup(
    loaded: LoadedSettings, paths: Paths, *, resume: str | None, continue_last: bool
) -> ChatSetup:
    """What a chat is started with.

    Raises:
        ModelError: the settings name a model that is not there.
    """
    from llama_chat.chat.setup import ChatSetup

    settings = loaded.settings
    found = find_model(settings.model.model, paths.models)
    missing = None if isinstance(found, Path) else found

    def path() -> Path:
        return found if isinstance(found, Path) else fetched_path(settings.model.model, paths.models)

    opener = ModelOpener(settings.model, paths)
    return ChatSetup(
        settings=settings,
        notices=loaded.notices,
        paths=paths,
        loader=engine_loader(path, settings.model, compiles=True),
        model_label=label_of(found) if isinstance(found, Path) else found.title,
        pull=fetcher(missing, paths.models) if missing is not None else None,
        save_setting=lambda table, key, value: save_setting(paths.settings_file, table, key, value),
        resume=resume,
        continue_last=continue_last,
        open_model=opener.open,
        fit_of=fit_finder(opener),
        devices=device_access(opener),
        open_walk=_open_walk,
        open_attention=_open_attention,
        is_first_run=missing is not None
        and _is_first_run(settings.model.model, paths, is_resumed=resume is not None or continue_last),
    )


def _open_walk(
    engine: Engine,
    token_ids: Sequence[int],
    cancel: threading.Event | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> Walker:
    """As `WalkOpener` has it; torch is there already where an engine is."""
    from llama_chat.walk.walk import open_walk

    return open_walk(engine, token_ids, cancel, report)


def _open_attention(engine: Engine, alteration: str) -> AttentionReader:
    from llama_chat.walk.attention_reader import AttentionReader

    return AttentionReader(engine, alteration)


def _is_first_run(model: str, paths: Paths, *, is_resumed: bool) -> bool:
    """Whether whoever starts it is new here; asked only where the model is not at hand."""
    from llama_chat.chat.machine.newcomer import is_first_run
    from llama_chat.shelves.listing import used_file

    return is_first_run(
        is_model_named=bool(model.strip()),
        is_model_here=False,
        has_chatted=is_resumed or used_file(paths).exists(),
        was_welcomed=paths.welcomed_file.exists(),
    )


def _found_session(sessions_file: Path, prefix: str) -> tuple[str, tuple[str, ...]]:
    """The id of the session that begins so, looked up before the screen is taken: 10 ms (2026-11).

    And what is to be told about the store: the chat, which opens it again, would know nothing of it.

    Raises:
        StoreError: there is none, or more than one, or the store cannot be opened.
    """
    from llama_chat.cli.sessions_store import find_session
    from llama_chat.sessions import SessionStore

    store = SessionStore(sessions_file)
    store.open()
    try:
        return find_session(store, prefix).id, store.notices
    finally:
        store.close()
