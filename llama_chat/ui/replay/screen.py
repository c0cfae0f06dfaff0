"""The screen of a replay: it looks like the chat, and shows what the player says."""

from __future__ import annotations

import math
import time
from dataclasses import fields
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer

from llama_chat.conversation import Role
from llama_chat.events import Sampling
from llama_chat.replay import Player, ReplayState, Timeline, sampling_moves
from llama_chat.sessions import ModelRecord, SessionRecord
from llama_chat.ui.replay.bar import BarView, PlayerBar
from llama_chat.ui.replay.help import ReplayHelp
from llama_chat.ui.replay.keys import replay_bindings
from llama_chat.ui.replay.sliders import SettingsLine, SettingsView, ShownSliders
from llama_chat.ui.replay.status import ReplayStatus
from llama_chat.ui.replay.writer import PathWriter
from llama_chat.ui.screens.chat import WIDE_CELLS, ChatScreen
from llama_chat.ui.widgets.header import Header
from llama_chat.ui.widgets.hint_line import HINT_S, LOW_ROWS, HintLine
from llama_chat.ui.widgets.transcript import Transcript

FRAME_S = 1 / 30
"""The screen changes at most so often."""
LONGEST_FRAME_S = 0.5
"""What counts of a longer one: after a stay in the shell the replay goes on where it was."""
_AGES_S = 3600.0


class ReplayScreen(Screen[None]):
    """The one screen that is always there.

    Args:
        player: stands somewhere in a timeline.
        ticks: whether time passes by itself; else somebody calls `go_on`.
        has_keys: whether somebody is there who could press them.
        record: of the session, for its tokens; None: they cannot be looked at.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*replay_bindings()]
    HORIZONTAL_BREAKPOINTS = ChatScreen.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = ChatScreen.VERTICAL_BREAKPOINTS

    def __init__(
        self,
        player: Player,
        *,
        ticks: bool = True,
        has_keys: bool = True,
        record: SessionRecord | None = None,
    ) -> None:
        super().__init__()
        self.player = player
        self._record = record
        self.transcript = Transcript(id="transcript")
        self.transcript.can_focus = False
        self.hint_line = HintLine()
        self._writer = PathWriter(self.transcript)
        self._sliders = ShownSliders(player.state.sampling)
        self._settings_line = SettingsLine()
        self._header = Header()
        self._bar = PlayerBar(_user_marks(player.timeline))
        self._status = ReplayStatus(player.timeline.info.created_at, shows_keys=has_keys)
        self._ticks = ticks
        self._timer: Timer | None = None
        self._is_ticking = False
        self._clock_s = 0.0
        self._last_tick_s = 0.0
        self._marks_end_s = math.inf
        """On the clock of `go_on`, which may be quicker than time."""
        self._are_moves_told = False
        self._sampling = player.state.sampling

    def compose(self) -> ComposeResult:
        """As the chat, with the player in the place of the prompt."""
        yield self._header
        with Horizontal(id="body"):
            with Vertical(id="center"):
                yield self.transcript
                with Vertical(id="prompt-row"):
                    yield self.hint_line
                    yield self._settings_line
                    yield self._bar
            yield self._sliders
        yield self._status

    def on_mount(self) -> None:
        """Show where the player stands, and let the time pass."""
        self._header.title_text = self.player.timeline.info.title
        self._timer = self.set_interval(FRAME_S, self._tick, pause=True)
        self.show_now()

    # --- time -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._clock_s += min(now_s - self._last_tick_s, LONGEST_FRAME_S)
        self._last_tick_s = now_s
        self.go_on(self._clock_s)

    def go_on(self, now_s: float) -> None:
        """Let the player go on to this time, and show what happened."""
        if self.player.advance(now_s):
            before = self._sampling
            self.show_now()
            if self._sampling != before and self.size.width < WIDE_CELLS:
                self._tell_moves(before)
                self._marks_end_s = now_s + HINT_S
        else:
            self._show_bar()
        if now_s >= self._marks_end_s:
            self._forget_moves()

    def _tell_moves(self, before: Sampling) -> None:
        """Mark the settings that were moved; where there is no line of them, say it."""
        now = self._sampling
        names = [each.name for each in fields(Sampling)]
        moved = {name: getattr(before, name) for name in names if getattr(before, name) != getattr(now, name)}
        self._settings_line.view = SettingsView(now, {**self._settings_line.view.moved, **moved})
        if self.size.height < LOW_ROWS:
            self._are_moves_told = True
            self.hint_line.say(f"{sampling_moves(before, now)}.", seconds=_AGES_S)

    def _forget_moves(self) -> None:
        """They are no news any more."""
        self._marks_end_s = math.inf
        self._settings_line.view = SettingsView(self._sampling)
        if self._are_moves_told:
            self._are_moves_told = False
            self.hint_line.clear()

    def show_now(self) -> None:
        """Show where the player stands."""
        state = self.player.state
        self._writer.show(state)
        self._sampling = state.sampling
        self._sliders.show_sampling(state.sampling)
        self._settings_line.view = SettingsView(state.sampling, self._settings_line.view.moved)
        self._header.model_text = _model_line(self.player.timeline, state)
        self._status.state = state
        self._show_bar()

    def _show_bar(self) -> None:
        is_playing = self.player.is_playing
        self._bar.view = BarView.of(self.player)
        self._status.is_playing = is_playing
        self._status.is_at_end = self.player.is_at_end
        if self._timer is not None and self._ticks and is_playing != self._is_ticking:
            self._is_ticking = is_playing
            self._last_tick_s = time.monotonic()
            if is_playing:
                self._timer.resume()
            else:
                self._timer.pause()

    # --- what the user does -----------------------------------------------------------------------

    def _show_there(self) -> None:
        """Show where the user went; what was said on the way is over."""
        if self._marks_end_s < math.inf:
            self._forget_moves()
        self.show_now()

    @on(PlayerBar.Toggled)
    def action_play_or_pause(self) -> None:
        """Pause, or go on."""
        self.player.toggle()
        self._show_there()

    @on(PlayerBar.Sought)
    def _seek_there(self, event: PlayerBar.Sought) -> None:
        self.action_seek(event.fraction)

    def action_seek(self, fraction: float) -> None:
        """Go to a part of the time."""
        self.player.seek_fraction(fraction)
        self._show_there()

    def action_step(self, steps: int) -> None:
        """A token on or back."""
        self.player.step(steps)
        self._show_there()

    def action_message(self, steps: int) -> None:
        """A message on or back."""
        self.player.seek_message(steps)
        self._show_there()

    def action_finish(self) -> None:
        """To the end."""
        self.player.seek_end()
        self._show_there()

    def action_speed(self, steps: int) -> None:
        """Faster or slower."""
        self.player.change_speed(steps)
        self._show_bar()

    def action_scroll(self, lines: int) -> None:
        """Read elsewhere; at the end the text is followed again."""
        self.transcript.scroll_relative(y=lines, animate=False)

    async def action_tokens(self) -> None:
        """Pause, and show the tokens of the last reply, as many as there are now."""
        from llama_chat.ui.replay.tokens import show_tokens

        if self.player.is_playing:
            self.action_play_or_pause()
        if why_not := await show_tokens(self.app, self._record, self.player.state):
            self.hint_line.say(why_not)

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(ReplayHelp())

    def action_copy_or_leave(self) -> None:
        """Copy what is selected, else leave."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        else:
            self.app.exit()

    def action_leave(self) -> None:
        """Leave."""
        self.app.exit()


def _user_marks(timeline: Timeline) -> list[float]:
    """Where the user's messages stand, as parts of the whole time."""
    total_s = timeline.total_s
    starts = [timeline.moments[count - 1] for count in timeline.message_starts]
    return [
        start.at_s / total_s if total_s else 0.0
        for start in starts
        if timeline.messages[start.message_id].role is Role.USER
    ]


def _model_line(timeline: Timeline, state: ReplayState) -> str:
    """The model of the reply at the end of the path, or of the one before it; at first that of the first."""
    for message in reversed(state.path[-2:]):
        if (model := timeline.models.get(message.id)) is not None:
            return _words_of(model)
        if message.reply is not None and message.reply.model:
            return message.reply.model
    first = next(iter(timeline.models.values()), None)
    return _words_of(first) if first is not None else timeline.info.model


def _words_of(model: ModelRecord) -> str:
    return " · ".join(filter(None, (model.name, model.dtype, model.device)))
