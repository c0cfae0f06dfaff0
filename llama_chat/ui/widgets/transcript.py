"""The conversation on the screen: one view that draws its lines itself and mounts nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message as TextualMessage
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from llama_chat.conversation import Message
from llama_chat.ui.markdown.parser import load_parser
from llama_chat.ui.palette import Palette
from llama_chat.ui.transcript.entries import Entry, MessageEntry, NoticeEntry, NoticeKind
from llama_chat.ui.transcript.heights import Heights
from llama_chat.ui.transcript.painter import Painter
from llama_chat.ui.transcript.rows import BLANK_ROW, Column, Row
from llama_chat.ui.transcript.selecting import copy_rows, highlight_selection, name_row

LONG_TAIL = 4_000
"""Characters of one open block beyond which it is parsed again only every `LONG_TAIL_S`."""
LONG_TAIL_S = 0.1


class Transcript(ScrollView, can_focus=True):
    """Messages and notices, the newest at the end. It follows the end until the user scrolls away from it.

    Heights are estimates until a message comes near the view; what is in the view stays where it is when
    they become exact, and when the width changes.
    """

    DEFAULT_CSS = """
    Transcript {
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS = [
        Binding("up", "scroll_up", "Line up", show=False),
        Binding("down", "scroll_down", "Line down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Beginning", show=False),
        Binding("end", "scroll_end", "End", show=False),
    ]

    below: reactive[int] = reactive(0, repaint=False)
    """Lines below the view."""

    class BelowChanged(TextualMessage):
        """There is more or less below the view than before."""

        def __init__(self, transcript: Transcript, lines: int) -> None:
            super().__init__()
            self.transcript = transcript
            self.lines = lines

        @property
        def control(self) -> Transcript:
            """The transcript that sent it."""
            return self.transcript
