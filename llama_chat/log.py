"""The rotating log: what a user need not see, and a report of a bug wants."""

from __future__ import annotations

import logging
from pathlib import Path

from llama_chat.paths import make_private_folder

MAX_BYTES = 1_000_000
KEPT_FILES = 3


def start_log(path: Path) -> None:
    """Write the package's warnings and what is worse to the file; a folder that refuses it is no error.

    The file is readable by its owner alone.
    """
    from logging.handlers import RotatingFileHandler  # 10 ms: not on the way to `--help`

    logger = logging.getLogger("llama_chat")
    logger.propagate = False
    try:
        make_private_folder(path.parent)
        path.touch(mode=0o600)
        handler: logging.Handler = RotatingFileHandler(
            path, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=True
        )
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
