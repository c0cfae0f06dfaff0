"""What the first paint does without is imported after it, so that neither it nor its first use is slow."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from importlib import import_module

from llama_chat.chat.backstage.own_thread import give_way
from llama_chat.markup.parser import load_parser
from llama_chat.ui.compositor import look_at_version

PIECES = (
    "llama_chat.chat.prompt.path_offers",
    "llama_chat.chat.prompt.word_offers",
    "llama_chat.ui.widgets.completion_list",
    "llama_chat.ui.screens.modal",
    "llama_chat.ui.screens.pick",
    "llama_chat.ui.screens.key_help",
    "llama_chat.ui.widgets.session_panel",
    "llama_chat.hub.names",
    "llama_chat.hub.choice",
    "llama_chat.hub",
)
"""What the first slash, list or card needs, what others need before them: each takes 1 to 5 ms then."""
PAUSE_S = 0.02
"""Between two pieces: keys and frames come first."""

_log = logging.getLogger(__name__)


class WarmUp:
    """Imports one piece after the other on the screen's loop, in the pauses of whoever types.

    Args:
        is_busy: whether there is something better to do at the moment.
        pieces: the modules.
    """

    def __init__(self, is_busy: Callable[[], bool], pieces: Sequence[str] = PIECES) -> None:
        self._is_busy = is_busy
        self._left = list(reversed(pieces))

    def start(self) -> None:
        """Begin; what is one piece of 15 ms and more is done on a thread, which gives way to keys."""
        threading.Thread(target=_large_pieces, name="llama-chat warm-up", daemon=True).start()
        asyncio.get_running_loop().call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if not self._left:
            return
        if not self._is_busy():
            _try(import_module, self._left.pop())
        asyncio.get_running_loop().call_later(PAUSE_S, self._go_on)


def _large_pieces() -> None:
    for step in (give_way, load_parser, look_at_version):
        _try(step)


def _try(step: Callable[..., object], *args: object) -> None:
    """Do it; whoever needs it does it again and says why it fails: here that would be across the screen."""
    try:
        step(*args)
    except Exception:
        _log.warning("not done ahead: %s %s", step, args, exc_info=True)
