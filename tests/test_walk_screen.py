"""The walk as a screen: its keys, what is asked of the engine, how it looks; plain data, a tiny network."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_engine import FakeEngine, Pace
from looks_stage import camera_of, stand_still
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from tiny_models import TinyModel
from walk_stage import LAYERS, WORDS, FakeWalk, opener_of

from llama_chat.chat.setup import ChatSetup
from llama_chat.drawing.heat_window import HeatWindow
from llama_chat.drawing.shading import strongest
from llama_chat.drawing.views import Axis, Grid
from llama_chat.engine.load import load_engine
from llama_chat.errors import ModelError
from llama_chat.settings import ChatSettings, ModelSettings
from llama_chat.ui.walk.opening import open_walk
from llama_chat.ui.walk.picture_view import PictureView
from llama_chat.ui.walk.screen import WalkScreen
from llama_chat.ui.walk.step_list import StepList
from llama_chat.ui.walk.token_line import TokenLine
from llama_chat.walk import walk as real_walk
from llama_chat.walk.plain import grid_of

LOOKS = [(SMALL, "ember"), (NARROW, "ember"), (WIDE, "ember"), (NARROW, "paper"), (NARROW, "ansi")]
looks = pytest.mark.parametrize(("size", "theme"), LOOKS, ids=[f"{size[0]}-{theme}" for size, theme in LOOKS])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def setup_of(home: Home, walk: FakeWalk, engine: FakeEngine | None = None, theme: str = "ember") -> ChatSetup:
    setup = home.setup(engine, chat=ChatSettings(theme=theme))
    return replace(setup, open_walk=opener_of(walk))


async def walking(user: User, text: str = "The capital of France is") -> WalkScreen:
    """The screen of a walk, its first step shown."""
    await user.ready()
    user.screen.action_walk(text)
    await user.until(lambda: isinstance(user.app.screen, WalkScreen), "no walk")
    screen = user.app.screen
    assert isinstance(screen, WalkScreen)
    await user.until(lambda: screen.view is not None, "no step")
    return screen


async def shows(user: User, screen: WalkScreen, step: str, layer: int | None, head: int | None) -> None:
    def is_there() -> bool:
        view = screen.view
        return view is not None and (view.step.name, view.layer, view.head) == (step, layer, head)

    await user.until(is_there, f"no {step}, {layer}, {head}")


# --- keys -------------------------------------------------------------------------------------------------


async def test_keys_lead_through_steps_layers_and_heads(home: Home) -> None:
    walk = FakeWalk()
    async with chat(setup_of(home, walk), WIDE) as user:
        screen = await walking(user)
        await user.press("down", "down")
        await shows(user, screen, "norm", 0, None)
        await user.press("right_square_bracket")
        await shows(user, screen, "norm", 1, None)
        await user.press("down")
        await shows(user, screen, "queries", 1, 0)
        await user.press("comma")
        await shows(user, screen, "queries", 1, 5)
        await user.press("left_square_bracket", "left_square_bracket")
        await shows(user, screen, "queries", LAYERS - 1, 5)
        await user.sees("layer 4 of 4", "head 6 of 6", "keys shared by 3")
        await user.press("end")
        await shows(user, screen, "token", None, None)
        await user.press("full_stop")
        await user.sees("This step is the same for every head")
        await user.press("home")
        await shows(user, screen, "tokens", None, None)
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "still walking")


async def test_a_cursor_names_numbers_and_the_map_zooms(home: Home) -> None:
    async with chat(setup_of(home, FakeWalk()), NARROW) as user:
        screen = await walking(user)
        await user.press(*["down"] * 8)
        await shows(user, screen, "softmax", 0, 0)
        await user.sees("4 ‹␣is› looks at 3 ‹␣France›")
        await user.press("tab", "up", "left")
        await user.sees("3 ‹␣France› looks at 2 ‹␣of›")
        assert screen.place.target == 2
        await user.press("up", "up", "up", "up", "end")
        await user.sees("0 ‹The› looks at 4 ‹␣is›: 0.0 %")
        window = screen.picture.window
        assert window is not None
        widths = []
        while window.can_zoom[1]:
            await user.press("plus")
            widths.append(window.zoom.cells)
        await user.press("plus")
        await user.sees("It cannot be seen any nearer.")
        while window.can_zoom[0]:
            await user.press("minus")
        await user.press("minus")
        await user.sees("This is all of it.")
        await user.press("tab", "tab")
        await user.until(lambda: isinstance(screen.focused, StepList), "no steps")


async def test_a_step_has_several_pictures(home: Home) -> None:
    async with chat(setup_of(home, FakeWalk()), NARROW) as user:
        screen = await walking(user)
        await user.press("v")
        await user.sees("one picture only")
        await user.press(*["down"] * 4)
        await shows(user, screen, "rope", 0, 0)
        await user.sees("pair 5", "229.2°", "1 of 2, v: table")
        await user.press("v")
        await user.sees("the tokens · 2 of 2, v: arrows", "1,004")


async def test_the_walk_begins_at_any_token_and_finds_the_head_that_looks_there(home: Home) -> None:
    walk = FakeWalk()
    async with chat(setup_of(home, walk), NARROW) as user:
        screen = await walking(user)
        await user.press("t")
        await user.until(lambda: isinstance(screen.focused, TokenLine), "no tokens")
        await user.press("left", "left", "enter")
        await user.until(lambda: screen.place.position == 1, "not there")
        await user.sees("‹␣capital› is the last token.")
        assert walk.asked[-1][3] <= 1
        await user.press("t", "left", "f")
        await shows(user, screen, "softmax", 2, 3)
        await user.sees("Layer 3 head 4: 62 % from ‹␣capital› to ‹The›")
        await user.press("f")
        await shows(user, screen, "softmax", 0, 5)
        await user.press("escape")
        await user.until(lambda: isinstance(screen.focused, StepList), "no steps")


async def test_what_is_asked_last_wins(home: Home) -> None:
    walk = FakeWalk()
    async with chat(setup_of(home, walk), NARROW) as user:
        screen = await walking(user)
        await user.sees("3.1e-05")
        walk.asked.clear()
        walk.wait = threading.Event()
        await user.press("down")
        await user.until(lambda: walk.asked, "nothing is asked")
        await user.press(*["down"] * 5)
        await user.sees("step 7 of 20", "computing")
        walk.wait.set()
        await shows(user, screen, "scores", 0, 0)
        assert [asked[0] for asked in walk.asked] == ["embedding", "scores"]


async def test_who_leaves_in_the_middle_of_a_step_is_back_at_once(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    walk = FakeWalk()
    async with chat(setup_of(home, walk, FakeEngine(["two words"])), NARROW) as user:
        await walking(user)
        await user.sees("3.1e-05")
        walk.asked.clear()
        walk.wait = threading.Event()
        await user.press("down")
        await user.until(lambda: walk.asked, "nothing is asked")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "still walking")
        walk.wait.set()
        await user.say("count")
        await user.sees("two words")
        await user.idle()
    assert not caplog.records


async def test_help_and_files(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with chat(setup_of(home, FakeWalk()), NARROW) as user:
        screen = await walking(user)
        await user.press("question_mark")
        await user.sees("Keys of the walk")
        await user.press("escape")
        await user.until(lambda: user.app.screen is screen, "the card is still there")
        await user.press(*["down"] * 8)
        await shows(user, screen, "softmax", 0, 0)
        await user.press("e")
        await user.until(lambda: (tmp_path / "walk-softmax-layer-1-head-1.svg").exists(), "no picture")
        await user.press("e")
        await user.until(lambda: (tmp_path / "walk-softmax-layer-1-head-1-2.svg").exists(), "no second one")
        await user.press("E")
        page = tmp_path / "walk-softmax-layer-1-head-1.html"
        await user.until(page.exists, "no page")
        await user.sees("Wrote")
    assert "‹␣is› is the last token." in page.read_text()


# --- what is walked through ---------------------------------------------------------------------------------


async def test_a_message_is_walked_through_with_what_stood_before_it(home: Home) -> None:
    walk = FakeWalk()
    async with chat(setup_of(home, walk, FakeEngine(["one two three four"])), NARROW) as user:
        await user.ready()
        user.screen.action_walk()
        await user.sees("nothing to walk through")
        await user.say("count")
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1]
        assert reply.reply is not None
        before = reply.reply.prompt_tokens
        for at, own in ((None, 4), (2, 2)):
            open_walk(user.screen, reply, at)
            await user.until(lambda: isinstance(user.app.screen, WalkScreen), "no walk")
            expected = ("open", before + own, 0, 0)
            await user.until(lambda expected=expected: expected in walk.asked, f"{expected}: {walk.asked}")
            await user.press("escape")
            await user.until(lambda: user.app.screen is user.screen, "still walking")


async def test_a_walk_waits_for_the_reply_that_runs(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(setup_of(home, FakeWalk(), FakeEngine([None], pace=pace)), NARROW) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        user.screen.action_walk("some words")
        await user.sees("A reply is being written.", "s stops")
        await user.press("s")
        pace.step(1)
        await user.sees("step 1 of 20")


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_reply_that_is_being_written_is_walked_with_its_own_tokens(
    home: Home, is_stopped: bool
) -> None:
    walk, pace = FakeWalk(), Pace(is_stepped=True)
    engine = FakeEngine([None if is_stopped else "one two three four"], pace=pace)
    async with chat(setup_of(home, walk, engine), NARROW) as user:
        await user.say("count")
        running_id = user.screen.chat.running_id
        assert running_id is not None
        user.screen.action_walk()  # before its first token
        await user.sees("A reply is being written.", "s stops")
        pace.step(2)
        talk = user.screen.chat
        await user.until(lambda: (now := talk.message_now(running_id)) is not None and now.text, "no token")
        if is_stopped:
            await user.press("s")
        pace.step(10)
        await user.sees("step 1 of 20")
        reply = talk.conversation.path()[-1].reply
        assert reply is not None
        assert reply.token_ids
        assert walk.asked[0] == ("open", reply.prompt_tokens + len(reply.token_ids), 0, 0)
        assert isinstance(user.app.screen, WalkScreen)
        assert user.app.screen.note == ""
        assert user.app.screen.desk.text.ids[reply.prompt_tokens :] == tuple(reply.token_ids)


async def test_what_cannot_be_walked_through_says_why(home: Home) -> None:
    def refuse(*_: object, **__: object) -> FakeWalk:
        raise ModelError("It is run by transformers.", hint="Take another one.")

    setup = replace(setup_of(home, FakeWalk()), open_walk=refuse)
    async with chat(setup, NARROW) as user:
        await user.ready()
        user.screen.action_walk("some words")
        await user.sees("There is no walk:", "It is run by transformers. Take another one.")
        await user.press("down", "f", "e", "escape")
        await user.until(lambda: user.app.screen is user.screen, "still walking")


async def test_the_walk_through_a_network(home: Home, tmp_path: Path) -> None:
    """Every step of a tiny one; its difference; one token; a text that is too long; a NaN."""
    path = TinyModel().write(tmp_path / "tiny.gguf")
    setup = home.setup(loader=lambda *_: load_engine(path, ModelSettings(dtype="f32", threads=1)))
    async with chat(replace(setup, open_walk=real_walk.open_walk), NARROW) as user:
        screen = await walking(user, "the and you in the")
        assert screen.walk is not None
        for number, step in enumerate(screen.walk.steps):
            await user.until(
                lambda name=step.name: screen.view is not None and screen.view.step.name == name, step.name
            )
            assert screen.place.step == number
            await user.press("down")
        await user.sees("probed, eager")
        await user.press("t", "left", "enter")
        await user.until(lambda: screen.place.position == len(screen.all_labels) - 3, "not there")
        await user.sees("5 tokens")
        await user.press("escape")
        for text, said in (("a", "step 1 of 20"), ("the " * 600, "tokens; the context has 512")):
            await user.until(lambda: user.app.screen is user.screen, "still walking")
            user.screen.action_walk(text)
            await user.sees(said)
            await user.press("escape")


# --- heat maps ----------------------------------------------------------------------------------------


def large_grid(size: int = 2000) -> Grid:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(size, size, generator=generator)
    labels = tuple(f"t{n}" for n in range(size))
    return grid_of("large", Axis("T", size, labels), Axis("S", size, labels), values)


def test_coarser_cells_are_the_strongest_of_their_numbers() -> None:
    values = torch.randn(301, 257, generator=torch.Generator().manual_seed(1))
    values[values < -1.5] = -torch.inf
    grid = grid_of("g", Axis("T", 301), Axis("S", 257), values)
    assert [len(coarse.values) for coarse in grid.coarser] == [151 * 129]
    for zoom_rows, zoom_columns in ((301, 257), (40, 60), (12, 200)):
        window = HeatWindow(grid)
        window.fit(zoom_columns, zoom_rows // 2)
        zoom = window.zoom
        for row in range(0, 301, zoom.row_bin):
            lines = [grid.row(n) for n in range(row, min(row + zoom.row_bin, 301))]
            for column in range(0, 257, zoom.column_bin):
                part = [line[column : column + zoom.column_bin] for line in lines]
                assert window.value_at(row, column) == strongest(part), (zoom, row, column)


def test_the_cursor_is_always_in_sight() -> None:
    grid = large_grid(300)
    window = HeatWindow(grid)
    window.fit(50, 20)
    for step in range(9):
        window.zoom_by(1)
        for row, column in ((0, 0), (299, 299), (150, 7), (3, 298)):
            window.go(row, column)
            seen_rows = [row for line in range(window.height) for row in window.rows_of(line)]
            assert window.row // window.zoom.row_bin * window.zoom.row_bin in seen_rows, step
            assert window.column // window.zoom.column_bin * window.zoom.column_bin in window.columns, step
        window.scroll(-5)
        assert window.row <= 299


async def test_a_map_of_2000_tokens_scrolls_and_zooms_quickly(home: Home) -> None:
    """30 frames a second leave 33 ms; a test must bear busy machines."""
    grid = large_grid()
    async with chat(setup_of(home, FakeWalk()), WIDE) as user:
        screen = await walking(user)
        picture = screen.query_one(PictureView)
        picture.show(grid)
        picture.render_line(1)
        begin_s, frames = time.thread_time(), 0
        for move in ((-1, 0), (0, 1), (-40, 3)):
            for _ in range(6):
                picture.action_move(*move)
                for y in range(picture.size.height):
                    picture.render_line(y)
                frames += 1
        assert (time.thread_time() - begin_s) / frames < 0.1
        begin_s, zooms = time.thread_time(), 0
        while picture.zoom_by(1):
            for y in range(picture.size.height):
                picture.render_line(y)
            zooms += 1
        assert zooms > 4
        assert (time.thread_time() - begin_s) / zooms < 0.15


# --- looks --------------------------------------------------------------------------------------------


@looks
async def test_how_it_looks(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    still = stand_still(monkeypatch, tmp_path)
    next(still)
    many = WORDS * 12 if size == WIDE else WORDS
    async with chat(setup_of(home, FakeWalk(many, "SmolLM2-135M"), theme=theme), size) as user:
        camera = camera_of(user, size, theme)
        screen = await walking(user)
        if size != SMALL:
            await user.sees("3.1e-05")
        for step, name in ((4, "rope"), (8, "softmax"), (15, "lens"), (18, "distribution")):
            await user.press(*["down"] * (step - screen.place.step))
            await user.until(
                lambda name=name: screen.view is not None and screen.view.step.name == name, name
            )
            await camera.shoot(f"walk-{name}")
        await user.press("question_mark")
        await user.sees("Keys of the walk")
        await camera.shoot("walk-keys")
    next(still, None)
    camera.judge()
