"""`llama-chat`: the chat."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from llama_chat.catalogue import CatalogueEntry, PullProgress, find_model, pull
from llama_chat.cli.engines import engine_loader
from llama_chat.errors import UsageError
from llama_chat.paths import Paths
from llama_chat.settings import LoadedSettings, save_setting

FRAMES_PER_S = 500
"""Textual's timer of repaints runs only while something is to be painted, but can skip two of its periods:
at its own 60 a key typed during a reply was echoed after 57 ms (99th percentile), at 500 after 27
(2026-11-22)."""


def open_chat(loaded: LoadedSettings, paths: Paths, *, resume: str | None, continue_last: bool) -> int:
    """The exit code of a chat that has ended.

    Raises:
        UsageError: it has no terminal to itself.
        ModelError: the settings name a model that is not there.
    """
    if not all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    ):  # textual draws on stderr
        raise UsageError("The chat needs a terminal; for pipes and scripts there is 'llama-chat run'.")
    os.environ.setdefault("TEXTUAL_FPS", str(FRAMES_PER_S))  # read when textual is imported
    from llama_chat.log import start_log
    from llama_chat.ui.app import run_chat
    from llama_chat.ui.setup import ChatSetup

    start_log(paths.log_file)
    settings = loaded.settings
    found = find_model(settings.model.model, paths.models)
    entry = found if isinstance(found, CatalogueEntry) else None
    path = paths.models / found.file_name if isinstance(found, CatalogueEntry) else found

    def fetch(report: Callable[[PullProgress], None], cancel: threading.Event) -> object:
        assert entry is not None, "only asked for when the model is not at hand"
        return pull(entry, paths.models, report, cancel)

    return run_chat(
        ChatSetup(
            settings=settings,
            notices=loaded.notices,
            paths=paths,
            loader=engine_loader(path, settings.model),
            model_label=entry.title if entry is not None else path.stem,
            pull=fetch if entry is not None else None,
            save_setting=lambda table, key, value: save_setting(paths.settings_file, table, key, value),
            resume=resume,
            continue_last=continue_last,
        )
    )
