"""What is drawn for a small change is what a drawing of the whole screen has in that place."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, WIDE, Home, User, chat
from textual._compositor import Compositor
from textual.strip import Strip

from llama_chat.ui import compositor
from llama_chat.ui.compositor import FrugalCompositor
from llama_chat.ui.widgets.sampling_panel import SamplingPanel


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


class CheckedCompositor(FrugalCompositor):
    """Holds every partial drawing against a whole one."""

    is_tested = True

    def __init__(self) -> None:
        super().__init__()
        self.spans = 0

    def render_partial_update(self):  # type: ignore[no-untyped-def]  # as in the class it checks
        update = super().render_partial_update()
        if update is not None:
            whole = self.render_strips()
            for y, start, end in update.spans:
                self.spans += 1
                drawn = [strip for strip in update.chops[y].values() if strip is not None]
                places = [x for x, strip in update.chops[y].items() if strip is not None]
                assert places[0] <= start
                assert places[-1] + drawn[-1].cell_length >= end
                line, first = Strip.join(drawn), places[0]
                assert line.cell_length == places[-1] + drawn[-1].cell_length - first, "there is a hole in it"
                got = line.crop(start - first, end - first).simplify()
                assert list(got) == list(whole[y].crop(start, end).simplify()), (y, start, end)
        return update


async def look_around(user: User, pace: Pace) -> None:
    """Let everything on the screen change: words, figures, sliders, the list, the cursor, the size."""
    await user.say("tell me")
    for _ in range(12):
        pace.step(4)
        await user.pilot.pause(0.02)
        await user.press("a")
    await user.press("ctrl+o", "right", "right", "ctrl+o")
    await user.press("ctrl+s")
    await user.pilot.pause(0.05)
    await user.press("escape", "ctrl+u")
    await user.press("shift+tab", "pageup", "up", "end")
    pace.step(30)
    await user.pilot.pause(0.05)
    await user.press("escape")
    await user.idle()
    await user.pilot.resize_terminal(90, 20)
    await user.press("escape", "b", "c")
    await user.sees("bc")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_part_is_drawn_as_in_the_whole(home: Home, size: tuple[int, int]) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace)), size) as user:
        await user.idle()
        checked = CheckedCompositor()
        checked.__dict__.update(vars(user.screen._compositor) | {"spans": 0})
        user.screen._compositor = checked
        await look_around(user, pace)
        assert checked.spans > 100


@pytest.mark.parametrize(("found", "is_tested"), [("8.2.99", True), ("8.3.0", False)])
def test_an_unknown_version_of_textual_draws_as_it_does_by_itself(
    monkeypatch: pytest.MonkeyPatch, found: str, is_tested: bool
) -> None:
    monkeypatch.setattr(FrugalCompositor, "is_tested", not is_tested)
    monkeypatch.setattr(metadata, "version", lambda _: found)
    compositor.look_at_version()
    assert FrugalCompositor.is_tested == is_tested
    drawn: list[object] = []
    monkeypatch.setattr(Compositor, "render_partial_update", lambda self: drawn.append(self))
    other = FrugalCompositor()
    monkeypatch.setattr(other, "_dirty_regions", None if not is_tested else set())
    other.render_partial_update()
    assert drawn == [other]


async def test_the_version_is_looked_at_after_the_first_paint(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrugalCompositor, "is_tested", False)
    async with chat(home.setup(FakeEngine(["Hello."]))) as user:
        await user.until(lambda: FrugalCompositor.is_tested)


async def test_a_place_that_was_asked_for_in_between_hides_no_change_of_size(home: Home) -> None:
    async with chat(home.setup(FakeEngine()), WIDE) as user:
        await user.say("tell me")
        await user.idle()
        transcript = user.screen.transcript
        before = transcript._view_size.width
        user.screen.query_one(SamplingPanel).display = False
        user.screen._compositor._full_map_invalidated = True  # as a reply that scrolls does
        assert transcript.region.width > before
        await user.until(lambda: transcript.size.width > before, "no layout")
        await user.until(lambda: transcript._known_size == transcript.size, "it was not told of its size")
        assert transcript._view_size.width > before
