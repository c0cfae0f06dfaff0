"""The bottom line of a replay: the figures of the reply as they were, and the keys."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.chat.words import format_speed
from llama_chat.replay import ReplayState
from llama_chat.sessions.words import when_text
from llama_chat.ui.widgets.fitting import first_fitting

SPEED_CELLS = len("99.9 tok/s")
GAP = "   "
KEYS_ROOM_CELLS = 60
"""On a narrower line the key that matters most is all there is room for."""


def state_words(state: ReplayState) -> tuple[str, str]:
    """A dot with words, and the colour of the dot."""
    if not state.is_replying:
        return "● replay", "$success"
    if not state.reply_tokens:
        return "● reading the prompt", "$accent"
    return f"● {format_speed(state.tok_per_s)}".ljust(SPEED_CELLS + 2), "$accent"


def figure_words(state: ReplayState, recorded_at: float) -> list[str]:
    """The figures, the most useful first; those that grow end in spaces, so that nothing jumps."""
    words = ["token by the user"] if state.is_by_user else []
    reply = state.message.reply if state.message is not None else None
    if state.is_replying and state.first_token_s is not None:
        words.append(f"first {state.first_token_s:.2f} s".ljust(12))
    if reply is not None and reply.prompt_tokens:
        context = reply.prompt_tokens + len(reply.token_ids)
        words.append(f"context {context:,}".ljust(14))
        if reply.reused_tokens:
            words.append(f"reused {reply.reused_tokens:,}".ljust(12))
    words.append(f"recorded {when_text(recorded_at)}")
    return words


class ReplayStatus(Widget):
    """One line of figures and keys.

    Args:
        recorded_at: Unix time at which the session began.
        shows_keys: whether there are any.
    """

    DEFAULT_CSS = """
    ReplayStatus { height: 1; padding: 0 2; color: $foreground 60%; }
    """

    state: reactive[ReplayState] = reactive(ReplayState(), always_update=True)
    is_playing: reactive[bool] = reactive(False)
    is_at_end: reactive[bool] = reactive(False)

    def __init__(self, recorded_at: float, *, shows_keys: bool = True) -> None:
        super().__init__()
        self._shows_keys = shows_keys
        self._recorded_at = recorded_at

    @property
    def _key_wordings(self) -> tuple[str, ...]:
        if not self._shows_keys:
            return ("",)
        space = "Space pause" if self.is_playing else "Space again" if self.is_at_end else "Space play "
        return (
            f"{space}   ← → token   PgUp PgDn message   + - speed   F1 keys   q leave",
            f"{space}   ← → token   + - speed   F1 keys   q leave",
            f"{space}   F1 keys   q leave",
            "F1 keys   q leave",
            "F1 keys",
        )

    def render(self) -> Content:
        """The state, then as many keys and figures as there is room for."""
        width = self.content_size.width
        words, colour = state_words(self.state)
        words = words[:width]
        least = self._key_wordings[-3:][0] if width >= KEYS_ROOM_CELLS else self._key_wordings[-1]
        shown = words
        for figure in figure_words(self.state, self._recorded_at):
            if len(shown) + len(GAP) + len(figure) + len(GAP) + len(least) <= width:
                shown += GAP + figure
        room = width - len(shown) - len(GAP)
        keys = first_fitting(self._key_wordings, room) if room >= len(self._key_wordings[-1]) else ""
        gap = " " * max(0, width - len(shown) - len(keys))
        return Content.assemble(
            (shown[:1], colour), (shown[1:], "$foreground 80%"), gap, (keys, "$foreground 50%")
        )
