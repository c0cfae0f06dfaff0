"""Brings a transcript to what a replay shows, by the smallest change that does it."""

from __future__ import annotations

from llama_chat.chat.words import format_figures
from llama_chat.conversation import Message
from llama_chat.replay import ReplayState
from llama_chat.ui.widgets.transcript import Transcript

MOST_ADDED = 20
"""More new messages than this are shown at once, with all others."""


class PathWriter:
    """Knows what the transcript shows.

    Args:
        transcript: nobody else changes it.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._state = ReplayState()

    def show(self, state: ReplayState) -> None:
        """Show this state instead of the one before."""
        before, self._state = self._state, state
        if state.message is None:
            self._transcript.clear()
            return
        if before.message is not None and before.message.id == state.message.id:
            self._rewrite(before.message, state.message)
        elif (added := _added(before, state)) is not None:
            self._transcript.replace(state.before[len(before.before)])
            for message in added:
                self._transcript.add(message)
        else:
            self._transcript.show(state.path)
        for message_id, place, count in state.places:
            self._transcript.set_place(message_id, place, count)
        if state.is_replying:
            figures = format_figures(state.reply_tokens, state.tok_per_s)
            self._transcript.set_head(state.message.id, figures if state.reply_tokens else "reading…")

    def _rewrite(self, old: Message, new: Message) -> None:
        """The last message has grown, has shrunk, or is over."""
        is_open = old.reply is not None and old.reply.finish_reason is None
        stays_open = new.reply is not None and new.reply.finish_reason is None
        if not (is_open and stays_open and new.text.startswith(old.text)):
            self._transcript.replace(new)
        elif len(new.text) > len(old.text):
            self._transcript.append_text(new.id, new.text[len(old.text) :])


def _added(before: ReplayState, state: ReplayState) -> list[Message] | None:
    """The messages that came below those that were shown; None where the path is another, or much longer."""
    at = len(before.before)
    if before.message is None or at >= len(state.before) or state.before[at].id != before.message.id:
        return None
    added = list(state.path[at + 1 :])
    return added if len(added) <= MOST_ADDED else None
