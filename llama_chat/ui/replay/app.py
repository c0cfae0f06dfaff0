"""The application that shows a replay: the chat's looks and keys that play, pause and seek."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from llama_chat.chat.view import NoticeKind
from llama_chat.replay import Player
from llama_chat.sessions import SessionRecord
from llama_chat.ui.driver import driver_class
from llama_chat.ui.replay.screen import ReplayScreen
from llama_chat.ui.safe_app import SafeApp


@dataclass(frozen=True, slots=True)
class ReplayLooks:
    """What the user's settings say of the screen."""

    theme: str
    user_themes: Path
    notices: tuple[str, ...] = ()
    """Shown at the start: settings that were not taken, and the like."""


class ReplayApp(SafeApp):
    """Shows one session as it happened.

    Args:
        player: what is played, and from where.
        looks: the theme.
        ticks: whether time passes by itself.
        has_keys: whether somebody is there who could press them.
        driver: writes the screen; the chat's without one.
        record: of the session, for its tokens; None: they cannot be looked at.
    """

    TITLE = "llama-chat replay"
    CSS_PATH: ClassVar = [
        Path(__file__).parent.parent / "screens" / "chat.tcss",
        Path(__file__).parent / "replay.tcss",
    ]
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", "Quit", show=False, priority=True)]

    def __init__(
        self,
        player: Player,
        looks: ReplayLooks,
        *,
        ticks: bool = True,
        has_keys: bool = True,
        driver: type[Driver] | None = None,
        record: SessionRecord | None = None,
    ) -> None:
        super().__init__(driver or driver_class(), looks.theme, looks.user_themes)
        self.replay_screen = ReplayScreen(player, ticks=ticks, has_keys=has_keys, record=record)
        self._notices = (*looks.notices, *self.theme_notices)

    def get_default_screen(self) -> Screen[None]:
        """The replay."""
        return self.replay_screen

    def on_mount(self) -> None:
        """Say what is to be said once there is a screen."""
        for notice in self._notices:
            self.notify(notice, severity="warning")

    def say_in_passing(self, text: str, kind: NoticeKind, seconds: float) -> None:
        """Say it in the line above the player."""
        self.replay_screen.hint_line.say(text, kind, seconds=seconds)


def run_replay(player: Player, looks: ReplayLooks, record: SessionRecord | None = None) -> int:
    """Show the replay until the user leaves; the exit code of the process.

    Args:
        player: what is played.
        looks: the theme.
        record: where the tokens are read that are looked at.
    """
    app = ReplayApp(player, looks, record=record)
    app.run()
    return app.return_code or 0
