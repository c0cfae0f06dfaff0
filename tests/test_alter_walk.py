"""Heads and layers switched off in the walk's screen, on a tiny real network; what it shows, and the chat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from looks_stage import camera_of, stand_still
from test_alter_chat import bar
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_looks import looks
from tiny_models import TinyModel

from llama_chat.alteration import Alteration, parse_alteration
from llama_chat.chat.setup import ChatSetup
from llama_chat.drawing.views import StepView
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Loading
from llama_chat.settings import ModelSettings
from llama_chat.ui.walk.altering import EFFECTS
from llama_chat.ui.walk.screen import WalkScreen
from llama_chat.walk.walk import Walk, open_walk

TEXT = "the and you"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("alter-walk") / "tiny.gguf")


@pytest.fixture
def engine(tiny: Path) -> LocalEngine:
    return f32(tiny)


def f32(path: Path) -> LocalEngine:
    return load_engine(path, ModelSettings(dtype="f32", threads=1))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def setup_of(home: Home, engine: LocalEngine) -> ChatSetup:
    def load(_report: Callable[[Loading], None], _cancel: threading.Event) -> LocalEngine:
        return engine

    return replace(home.setup(loader=load), open_walk=open_walk)


async def walking(user: User) -> WalkScreen:
    """The walk's screen, once its numbers are there."""
    await user.ready()
    await user.say(f"/walk {TEXT}")
    await user.until(lambda: isinstance(user.app.screen, WalkScreen), "no walk")
    screen = user.app.screen
    assert isinstance(screen, WalkScreen)
    await user.until(lambda: screen.walk is not None and screen.view is not None, "no step")
    return screen


def line(screen: WalkScreen) -> str:
    """What it says of the alteration; empty where it is not shown."""
    shown = [each for each in screen.query(".walk-altered") if each.display]
    return shown[0].render().plain if shown else ""  # type: ignore[union-attr]  # a FittingLine


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_keys_alter_what_is_shown_and_what_comes_next(
    home: Home, engine: LocalEngine, tiny: Path, size: tuple[int, int]
) -> None:
    own = f32(tiny)  # the chat's belongs to its thread
    async with chat(setup_of(home, engine), size) as user:
        screen = await walking(user)

        async def altered(key: str, signature: str) -> None:
            await user.press(key)
            await user.until(lambda: screen.alteration.signature == signature, signature)
            expected = Walk(own, TEXT, alteration=parse_alteration(signature)).comparison()
            share = "" if expected is None else f"→ {100 * expected.fallen[0].after:.1f} %"
            share = share if size != SMALL else ""
            await user.until(lambda: share in line(screen) and "…" not in line(screen)[-2:], share)
            assert bool(line(screen)) == bool(signature)

        await altered("x", "L1.H1×0")
        await user.press("right_square_bracket", "full_stop")
        await altered("X", "L1.H1×0 L2×0")
        await altered("X", "L1.H1×0")
        for factor in ("0.5", "2", "-1", "0"):
            await altered("z", f"L1.H1×0 L2.H2×{factor}")
        await altered("z", "L1.H1×0")
        await altered("u", "")
        await altered("Z", "L2×0.5")
        assert not engine.alteration, "the chat's own model is as it was"

        await user.press("enter")
        await user.until(lambda: user.screen.chat.altering.current == parse_alteration("L2×0.5"))
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await user.until(lambda: ("L2×0.5" if size == SMALL else "layer 2 × 0.5") in bar(user))
        await user.until(lambda: engine.alteration.signature == "L2×0.5")

        again = await walking(user)  # begins as the chat runs
        await user.until(lambda: line(again))
        assert again.alteration.signature == "L2×0.5"
        await user.press("u", "enter")
        await user.until(lambda: not user.screen.chat.altering.current)
        await user.press("escape")
        await user.until(lambda: not bar(user))
        await user.until(lambda: not engine.alteration)


async def test_the_distribution_shows_both(home: Home, engine: LocalEngine) -> None:
    async with chat(setup_of(home, engine), NARROW) as user:
        screen = await walking(user)
        await user.press("X", *["down"] * 18)
        await user.until(lambda: screen.view is not None and screen.view.step.name == "distribution")
        await user.sees("altered", "as the model is and with layer 1 off")


async def test_the_map_of_all_heads_leads_to_one(home: Home, engine: LocalEngine, tiny: Path) -> None:
    (grid,) = Walk(f32(tiny), TEXT).head_effects().grids
    async with chat(setup_of(home, engine), NARROW) as user:
        screen = await walking(user)
        await user.press("h")
        await user.until(lambda: screen.view is not None and screen.view.step.name == EFFECTS, "no map")
        assert screen.view is not None
        assert list(screen.view.grids[0].values) == pytest.approx(list(grid.values), abs=1e-4)
        await user.sees("x switches off the head under the cursor")
        await user.until(lambda: screen.picture.window is not None and screen.focused is screen.picture)
        window = screen.picture.window
        assert window is not None
        target = screen.place.target
        window.row, window.column = 1, 1
        await user.press("right")  # to another head, which is no token to be looked at
        await user.until(lambda: window.column == 2)
        assert screen.place.target == target
        await user.press("x")
        await user.until(lambda: screen.alteration == Alteration({(1, 2): 0.0}))
        await user.until(lambda: screen.view is not None and screen.view.step.name == "tokens")


@pytest.mark.parametrize("key", ["escape", "down", "x"])
async def test_a_map_that_takes_long_is_given_up(
    home: Home, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    ended = threading.Event()

    def without_end(_walk: Walk, report: Callable[[float], None]) -> StepView:
        try:
            while True:
                report(0.25)
        finally:
            ended.set()

    monkeypatch.setattr(Walk, "head_effects", without_end)
    async with chat(setup_of(home, engine), NARROW) as user:
        screen = await walking(user)
        await user.press("h")
        await user.sees("Every head is switched off by itself: 25% · Esc stops")
        await user.press(key)
        await user.until(ended.is_set, "not given up")
        await user.until(lambda: "Every head" not in user.seen, "still told of")
        assert user.app.screen is screen
        assert screen.view is not None
        assert screen.view.step.name != EFFECTS


@looks
async def test_the_looks_of_an_altered_walk(
    home: Home,
    engine: LocalEngine,
    size: tuple[int, int],
    theme: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    still = stand_still(monkeypatch, tmp_path)
    next(still)
    setup = setup_of(home, engine)
    settings = replace(setup.settings, chat=replace(setup.settings.chat, theme=theme))
    async with chat(replace(setup, settings=settings), size) as user:
        camera = camera_of(user, size, theme)
        screen = await walking(user)
        await user.press("X", *["down"] * 18)
        await user.until(lambda: screen.view is not None and screen.view.step.name == "distribution")
        await user.until(lambda: "→" in line(screen))
        await user.sees("altered")
        await user.until(lambda: not screen._tasks)
        await camera.shoot("walk-altered")
    camera.judge()
    next(still, None)
