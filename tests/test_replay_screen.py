"""The replay on a screen: it looks like the chat, and its keys and its bar go where they say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from replay_records import fox_session, long_session
from textual.pilot import Pilot

from llama_chat.events import Sampling
from llama_chat.replay import Player, ReplayState, build_timeline
from llama_chat.sessions import SessionRecord
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.replay.bar import PlayerBar
from llama_chat.ui.replay.help import ReplayHelp
from llama_chat.ui.replay.sliders import SettingsLine, SettingsView, fitting_settings
from llama_chat.ui.replay.status import figure_words
from llama_chat.ui.widgets.slider import Slider

NARROW, WIDE, SMALL = (80, 24), (160, 48), (40, 12)
WITHIN_S = 20.0


class Watcher:
    """Presses keys, lets time pass, and reads the screen."""

    def __init__(self, app: ReplayApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot
        self.player = app.replay_screen.player

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def pass_time(self, seconds: float) -> None:
        """As much time on the watcher's clock, at once."""
        screen = self.app.replay_screen
        screen.go_on(0.0)
        screen.go_on(seconds)
        await self.pilot.pause()

    @property
    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not holds():
                await self.pilot.pause(0.01)

    async def sees(self, words: str) -> None:
        try:
            await self.until(lambda: words in self.text)
        except TimeoutError:
            raise AssertionError(f"{words!r} does not stand on\n{self.text}") from None


@asynccontextmanager
async def watching(
    record: SessionRecord | None = None, size: tuple[int, int] = NARROW, *, ticks: bool = False
) -> AsyncIterator[Watcher]:
    player = Player(build_timeline(record or fox_session()))
    app = ReplayApp(player, ReplayLooks("ember", Path("no-themes")), ticks=ticks)
    async with app.run_test(size=size) as pilot:
        yield Watcher(app, pilot)


async def test_it_looks_like_the_chat_with_a_player_in_the_place_of_the_prompt() -> None:
    async with watching(size=WIDE) as watcher:
        await watcher.press("home", *["right"] * 6)
        await watcher.sees("Once upon a time, there was")
        await watcher.sees("SmolLM2-135M-Instruct · Q4_1 · cpu")
        await watcher.sees("6 tokens · 10.0 tok/s")
        await watcher.sees("6 / 30 tokens")
        await watcher.sees("first 0.60 s")
        await watcher.sees("❚❚")
        assert "**fox**" in watcher.text  # what a user typed is no markup


async def test_the_bar_and_the_status_fit_a_small_screen() -> None:
    async with watching(size=SMALL) as watcher:
        await watcher.press("5")
        await watcher.sees("0:04 / 0:09")
        await watcher.sees("F1 keys")
        assert max(len(line) for line in watcher.text.splitlines()) <= SMALL[0]


async def test_time_that_passes_is_played_and_the_sliders_move_along() -> None:
    async with watching(size=WIDE) as watcher:
        temperature = watcher.app.screen.query_one("#slider-temperature", Slider)
        await watcher.press("home", "space")
        await watcher.pass_time(0.5 + 8 * 0.1 + 0.05)
        await watcher.sees("there was a fox")
        assert temperature.value == 0.7
        watcher.app.replay_screen.go_on(0.5 + 9 * 0.1 + 0.05)
        assert temperature.value == 1.2
        await watcher.press("left", "left")
        assert temperature.value == 0.7
        assert watcher.player.state.reply_tokens == 7
        await watcher.pilot.click(temperature, offset=(4, 1))
        assert temperature.value == 0.7  # they are for looking at


async def test_on_a_narrow_screen_a_line_shows_the_sliders_and_marks_what_moved() -> None:
    async with watching() as watcher:
        await watcher.press("home", "space")
        await watcher.sees("temperature 0.7 · top-k 40 · top-p 1.0 · min-p 0.0")
        await watcher.pass_time(0.5 + 9 * 0.1 + 0.05)
        await watcher.sees("temperature 0.7 → 1.2 · top-k 40")
        line = watcher.app.screen.query_one(SettingsLine).render()
        marked = [line.plain[span.start : span.end] for span in line.spans if "bold" in str(span.style)]
        assert marked == ["temperature 0.7 → 1.2"]
        watcher.player.pause()
        watcher.app.replay_screen.go_on(60.0)
        await watcher.sees("temperature 1.2 · top-k 40")
        await watcher.press("left", "left")
        await watcher.sees("temperature 0.7 · top-k 40")


async def test_on_a_low_screen_a_moved_slider_is_told() -> None:
    async with watching(size=(80, 8)) as watcher:
        await watcher.press("home", "space")
        await watcher.pass_time(0.5 + 9 * 0.1 + 0.05)
        await watcher.sees("temperature 0.7 → 1.2.")


def test_the_line_of_settings_keeps_what_moved_where_room_is_scarce() -> None:
    view = SettingsView(Sampling(max_new_tokens=64), {"max_new_tokens": 512})
    for cells in range(8, 120):
        text = "".join(words for words, _ in fitting_settings(view, cells))
        assert len(text) <= cells
        assert ("max new tokens 512 → 64" in text) == (cells >= len("max new tokens 512 → 64"))
    assert text.startswith("temperature 0.7 · top-k 40 · ")


async def test_keys_go_where_they_say() -> None:
    async with watching() as watcher:
        player, total = watcher.player, len(watcher.player.timeline)
        await watcher.press("end")
        assert player.count == total
        await watcher.press("left")
        assert player.count == total - 1
        await watcher.sees("Stopped. 3 tokens kept.")
        await watcher.press("pageup", "pageup")
        await watcher.sees("And then?")
        assert "Then it" not in watcher.text
        await watcher.press("pagedown", "right", "right")
        await watcher.sees("token by the user")
        await watcher.press("home", "pagedown")
        assert player.state.message is not None
        assert player.state.message.text == ""
        await watcher.press("5")
        assert abs(player.fraction - 0.5) < 0.01
        await watcher.press("plus", "plus", "minus")
        await watcher.sees("×2")
        await watcher.press("i", "space")  # at the end: again from the beginning
        assert player.is_playing
        assert player.position_s == 0.0


async def test_branches_switch_as_they_did() -> None:
    async with watching() as watcher:
        await watcher.press("end")
        await watcher.sees("‹ 1/2 ›")
        await watcher.sees("Felix")
        await watcher.press("left")
        await watcher.sees("the river kept quiet")
        await watcher.sees("‹ 2/2 ›")
        assert "Felix" not in watcher.text


async def test_a_click_on_the_bar_goes_there() -> None:
    async with watching() as watcher:
        bar = watcher.app.screen.query_one(PlayerBar)
        cells, _ = bar._layout()
        await watcher.pilot.click(bar, offset=(2 + 3 + cells // 2, 1))
        assert abs(watcher.player.fraction - 0.5) < 2 / cells
        await watcher.pilot.click(bar, offset=(2, 1))
        await watcher.until(lambda: watcher.player.is_playing)


async def test_help_opens_and_q_leaves() -> None:
    async with watching() as watcher:
        await watcher.press("f1")
        await watcher.until(lambda: isinstance(watcher.app.screen, ReplayHelp))
        await watcher.sees("Keys of the replay")
        await watcher.press("q")
        await watcher.until(lambda: watcher.app.screen is watcher.app.replay_screen)
        await watcher.press("q")
        await watcher.until(lambda: not watcher.app.is_running)


async def test_it_plays_by_itself_and_rests_at_the_end() -> None:
    async with watching(ticks=True) as watcher:
        watcher.player.speed = 64.0
        await watcher.press("space")
        await watcher.until(lambda: watcher.player.is_at_end)
        await watcher.sees("■")
        assert not watcher.app.replay_screen._is_ticking


async def test_a_long_session_is_sought_through_smoothly() -> None:
    async with watching(long_session(1_000, 10_000), WIDE) as watcher:
        screen, took = watcher.app.replay_screen, []
        for tenth in (9, 1, 8, 2, 7, 3, 10, 5):
            started = time.process_time()
            screen.action_seek(tenth / 10)
            screen._compositor.render_strips()
            took.append(time.process_time() - started)
            await watcher.pilot.pause()
        assert sorted(took)[len(took) // 2] < 0.1, took


def test_a_time_that_no_calendar_has_is_a_question_mark() -> None:
    """It may come out of any file."""
    assert figure_words(ReplayState(), 1e18)[-1] == "recorded ?"
