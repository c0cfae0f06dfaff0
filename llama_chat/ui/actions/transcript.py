"""What is done with the transcript as a whole: fold thoughts, find words, go to its end."""

from __future__ import annotations

from textual import on
from textual.content import Content
from textual.style import Style

from llama_chat.sanitize import one_line
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.find_bar import FindBar
from llama_chat.ui.widgets.transcript import Transcript

_GO_TO_END = Style.from_meta({"@click": "screen.to_end"})
NO_THOUGHTS = "There are no thoughts to fold here: the model answered at once."
NOTHING_TO_FIND_IN = "There is nothing to find anything in yet."


class TranscriptActions(ChatViewScreen):
    """Adds them to the screen."""

    def on_mount(self) -> None:
        """Let the page keys of the prompt scroll here, as long as it has nothing to scroll itself."""
        self.prompt.key_takers.append(self._take_page_key)

    def _take_page_key(self, key: str) -> bool:
        if key not in ("pageup", "pagedown") or self.prompt.max_scroll_y > 0 or not self.transcript.display:
            return False
        if key == "pageup":
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)
        return True

    def action_fold_thinking(self) -> None:
        """Fold or unfold all thoughts."""
        if not self.transcript.fold_all():
            self.hint(NO_THOUGHTS)

    @on(Transcript.GoOnWanted)
    def _go_on_there(self, event: Transcript.GoOnWanted) -> None:
        event.stop()
        self._hint_line.clear()
        self.chat.go_on(event.message_id)

    # --- the end ----------------------------------------------------------------------------------

    @on(Transcript.BelowChanged)
    def _show_below(self, event: Transcript.BelowChanged) -> None:
        event.stop()
        self.prompt.border_title = _to_the_end(event.lines) if event.lines else None

    def action_to_end(self) -> None:
        """Go to the end of the transcript and follow it."""
        self.transcript.follows_end = True

    # --- find -------------------------------------------------------------------------------------

    def action_find(self, words: str = "") -> None:
        """Look for words in the transcript; without any, for what is selected or typed next."""
        if not self.transcript.display:
            self.hint(NOTHING_TO_FIND_IN)
            return
        words = words or one_line(self.get_selected_text() or "")
        bar = next(iter(self.query(FindBar)), None)
        if bar is not None:
            bar.look_for(words)
        else:
            self.query_one("#prompt-row").mount(FindBar(words), before=0)

    @on(FindBar.Changed)
    def _find(self, event: FindBar.Changed) -> None:
        event.stop()
        self.transcript.find(event.words)

    @on(FindBar.Moved)
    def _find_next(self, event: FindBar.Moved) -> None:
        event.stop()
        self.transcript.find_next(event.step)

    @on(FindBar.Left)
    def _leave_find_bar(self, event: FindBar.Left) -> None:
        event.stop()
        self.leave_finding()

    def leave_finding(self) -> bool:
        """Close the bar, wherever the focus is; whether it was open."""
        bars = [bar for bar in self.query(FindBar) if bar.display]
        for bar in bars:
            bar.display = False
        if bars:
            self.transcript.end_finding()
            self.focus_home()
        return bool(bars)

    @on(Transcript.FoundChanged)
    def _show_found(self, event: Transcript.FoundChanged) -> None:
        event.stop()
        for bar in self.query(FindBar):
            bar.show(event.place, event.total)


def _to_the_end(lines: int) -> Content:
    """How much there is below the view; a click goes there."""
    return Content(f"↓ {lines:,} more line{'' if lines == 1 else 's'}").stylize(_GO_TO_END)
