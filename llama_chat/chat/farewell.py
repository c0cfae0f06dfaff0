"""The end of the chat, on the terminal that it has given back: what is waited for, and what is told."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
from pathlib import Path

from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.conversation import short_id
from llama_chat.sanitize import sanitize

PATIENCE_S = 0.3
"""A terminal that stays empty for longer looks as if the program hung."""
NO_PATIENCE_S = 0.05


def close_bridge(bridge: Bridge) -> bool:
    """Keep what is left and end the threads; whether all is kept. What takes long is told meanwhile.

    Ctrl+C gives up waiting; what can be written at once still is.
    """

    def tell() -> None:
        _say(f"llama-chat: waiting for {bridge.waits_for}; Ctrl+C leaves at once.")

    timer = threading.Timer(PATIENCE_S, tell)
    timer.daemon = True
    timer.start()
    try:
        return bridge.close()
    except KeyboardInterrupt:
        return bridge.close(NO_PATIENCE_S)
    finally:
        timer.cancel()


def farewell(session_id: str | None, *, is_kept: bool, has_unsent: bool, rescued: Path | None = None) -> None:
    """Say how to go on with the chat, and what of it is lost."""
    if rescued is not None:
        _say(f"llama-chat: the last messages could not be kept; the whole chat was written to {rescued}.")
        _say(f"llama-chat sessions import {shlex.quote(str(rescued))} brings it back.")
    elif not is_kept:
        _say("llama-chat: the last messages could not be kept.")
    elif session_id is not None:
        _say(f"llama-chat --resume {short_id(session_id)} goes on with this chat.")
    if has_unsent:
        _say("Your unsent words were not kept.")


def _say(text: str) -> None:
    """Print a line below the chat, unless the terminal is gone."""
    with contextlib.suppress(OSError):
        print(sanitize(text), file=sys.stderr, flush=True)
