"""The sweep's screen: columns that grow, a cursor over columns and tokens, settings that are taken over."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_network import FakeNetwork, question, saying
from sweep_stage import WordNetwork, loader_of_words
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from textual import events

from llama_chat.chat.sweeping.source import NOTHING_TO_SWEEP
from llama_chat.events import LiveSampling, Sampling, Token
from llama_chat.settings import ChatSettings
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.sweep.column_view import ColumnView
from llama_chat.ui.sweep.layout import lay
from llama_chat.ui.sweep.screen import SweepScreen

WORDS = "Tell me about the fox."


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@asynccontextmanager
async def storyteller(
    home: Home, network: WordNetwork | None = None, size: tuple[int, int] = NARROW
) -> AsyncIterator[User]:
    setup = home.setup(loader=loader_of_words(network or WordNetwork()), chat=ChatSettings(seed=7))
    async with chat(setup, size) as user:
        await user.ready()
        yield user


def screen_of(user: User) -> SweepScreen:
    assert isinstance(user.app.screen, SweepScreen)
    return user.app.screen


async def opened(user: User, words: str = WORDS) -> SweepScreen:
    user.screen.prompt.text = f"/sweep {words}".strip()
    await user.press("enter")
    await user.until(lambda: isinstance(user.app.screen, SweepScreen), "no sweep")
    return screen_of(user)


async def over(user: User, screen: SweepScreen) -> None:
    await user.until(lambda: screen.sweep.replies.is_over and not screen.is_computing, "it never ended")
    await user.until(lambda: "cut after 48 tokens" in user.seen or screen.has_class("-troubled"), "not shown")


async def test_it_is_read_column_by_column_and_token_by_token(home: Home) -> None:
    async with storyteller(home, size=WIDE) as user:
        screen = await opened(user)
        await over(user, screen)
        await user.sees(f"“{WORDS}”", "the others as your sliders have them: top-k 40", "seed 7")
        await user.sees("temperature 0.1", "temperature 10", "Once upon a time a fox", "perplexity")
        await user.sees('token 1 of temperature 0.1: " Once", rank 1', "raised")
        await user.press("right", "right")
        await user.sees("token 1 of temperature 1:", "leaves")
        await user.press("down", "down")
        await user.sees("token 3 of temperature 1:")
        await user.press("end")
        await user.sees("token 48 of temperature 1:")
        await user.press("home", "left", "left", "left")
        await user.sees("token 1 of temperature 10:")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "still there")


async def test_narrow_screens_show_the_columns_around_the_cursor(home: Home) -> None:
    async with storyteller(home) as user:
        screen = await opened(user)
        await over(user, screen)
        await user.sees("column 1 of 5", "temperature 1 ")
        assert [view.number for view in screen.query(ColumnView) if view.display] == [0, 1, 2]
        await user.press("right", "right", "right")
        await user.sees("column 4 of 5", "temperature 3.16")
        assert [view.number for view in screen.query(ColumnView) if view.display] == [1, 2, 3]
        await user.pilot.resize_terminal(*SMALL)
        await user.until(lambda: sum(view.display for view in screen.query(ColumnView)) == 1, "too many")
        await user.sees("temperature 3.16", "column 4 of 5")


async def test_enter_sets_the_sliders(home: Home) -> None:
    async with storyteller(home) as user:
        await over(user, await opened(user))
        await user.press("right", "enter")
        await user.until(lambda: user.app.screen is user.screen, "still there")
        await user.sees("From now on: temperature 0.316.")
        assert user.screen.bridge.sampling.current.temperature == 0.316
        assert user.screen.bridge.sampling.current.top_k == 40
        await user.until(lambda: ("sampling", "temperature", 0.316) in home.saved, "not saved")


async def test_another_setting_is_varied_and_others_made_neutral(home: Home) -> None:
    async with storyteller(home, size=WIDE) as user:
        screen = await opened(user)
        await over(user, screen)
        await user.press("n")
        await user.sees("the other settings do nothing")
        await over(user, screen)
        assert {column.sampling.top_k for column in screen.sweep.columns} == {0}
        await user.press("v")
        await user.until(lambda: isinstance(user.app.screen, PickScreen), "no list")
        await user.press(*"seed")
        await user.sees("1, 2, 3, 4, 5")
        await user.press("enter")
        await user.until(lambda: user.app.screen is screen, "still there")
        await user.sees("Sweep over seed", "seed 5")
        await over(user, screen)
        await user.press("right", "enter")
        await user.until(lambda: user.app.screen is user.screen, "still there")
        await user.sees("From now on: temperature 1, top-k all, seed 2.")
        assert user.screen.chat.seed == 2


async def test_another_seed(home: Home) -> None:
    async with storyteller(home) as user:
        screen = await opened(user)
        await over(user, screen)
        first = screen.sweep
        await user.press("r")
        await user.until(lambda: screen.sweep is not first and screen.sweep.replies.is_over, "not again")
        assert screen.sweep.seed != first.seed == 7


async def test_esc_stops_and_keeps_and_leaves(home: Home) -> None:
    go_on = threading.Event()

    def wait(number: int) -> None:
        if number > 20:
            go_on.wait(30)

    async with storyteller(home, WordNetwork(before_forward=wait), WIDE) as user:
        screen = await opened(user)
        await user.until(lambda: all(reply.tokens for reply in screen.sweep.replies.columns), "no token")
        await user.sees("Esc stop")
        await user.press("escape")
        go_on.set()
        await user.until(lambda: screen.sweep.replies.is_over and not screen.is_computing, "not stopped")
        await user.sees("stopped after", "Once upon", "Esc back")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "still there")


async def test_a_key_that_is_held_leaves_once(home: Home) -> None:
    async with storyteller(home) as user:
        for key in ("escape", "enter"):
            screen = await opened(user)
            await over(user, screen)
            for _ in range(3):
                user.app.post_message(events.Key(key, None))
            await user.until(lambda: user.app.screen is user.screen, "still there")
            await user.pilot.pause()
            assert user.app.screen is user.screen


async def test_leaving_in_the_middle_frees_the_engine(home: Home) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        started.set()
        go_on.wait(30)

    async with storyteller(home, WordNetwork(before_forward=wait)) as user:
        screen = await opened(user)
        await user.until(started.is_set, "not begun")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "still there")
        go_on.set()
        await user.until(lambda: screen.sweep.is_stopped, "not stopped")
        await user.say("And you?")
        await user.until(lambda: "Once upon a time" in user.seen, "no reply")


async def test_the_last_message_is_answered_in_its_context(home: Home) -> None:
    async with storyteller(home) as user:
        await user.press("alt+shift+t")
        await user.sees(NOTHING_TO_SWEEP[:40])
        user.screen.bridge.sampling.change(max_new_tokens=3)
        await user.say("Who lives there?")
        await user.idle()
        length = len(user.screen.chat.conversation.path())
        await user.press("alt+shift+t")
        await user.until(lambda: isinstance(user.app.screen, SweepScreen), "no sweep")
        screen = screen_of(user)
        await over(user, screen)
        await user.sees("“Who lives there?”")
        assert screen.sweep.replies.prefilled is not None
        assert len(user.screen.chat.conversation.path()) == length


async def test_clicks_choose_column_and_token(home: Home) -> None:
    async with storyteller(home) as user:
        screen = await opened(user)
        await over(user, screen)
        view = list(screen.query(ColumnView))[1]
        await user.pilot.click(view, offset=(8, 1))
        await user.sees("of temperature 0.316")
        assert (screen.chosen, screen.index) == (1, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: None, "This engine cannot compute several replies side by side."),
        (lambda: WordNetwork(context_length=8), "the context holds 8"),
        (lambda: WordNetwork(lambda ids: [float("nan")] * 300), "no number (NaN)"),
    ],
    ids=["cannot", "too-long", "nan"],
)
async def test_what_cannot_be_computed_is_told(
    home: Home, make: Callable[[], WordNetwork | None], said: str
) -> None:
    network = make()
    loader = loader_of_words(network) if network is not None else None
    async with chat(home.setup(FakeEngine(["x"]), loader=loader), NARROW) as user:
        await user.ready()
        screen = await opened(user)
        await user.sees(said)
        await user.press("down", "right", "enter")
        await user.until(lambda: user.app.screen is not screen, "still there")


def test_tokens_in_a_narrow_column() -> None:
    text = "a fox\n\tsat  狐狐狐 by"
    engine, greedy = FakeNetwork(saying(text.encode())).engine(), LiveSampling(Sampling(temperature=0))
    events = engine.stream(question("x"), sampling=greedy, seed=1)
    tokens = [event for event in events if isinstance(event, Token)]
    laid = lay(tokens, "", 5)
    assert [laid.text[start:stop] for start, stop in laid.lines] == ["a fox", "  sat", " 狐狐", "狐 by"]
    assert laid.line_of(0) == 0
    assert laid.line_of(len(tokens) - 1) == 3
    assert "".join(laid.text[start:end] for start, end in laid.spans) == laid.text
    assert lay([], "", 5).lines == ((0, 0),)
