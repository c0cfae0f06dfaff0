"""The tokens of a message: every key, the mouse, the sliders, a reply that runs, a message without tokens."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import token_stage
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, WIDE, Home, User, chat
from textual.app import App, ComposeResult

from llama_chat.chat.tokens.sheet import TokenSheet, shown_token
from llama_chat.chat.tokens.words import facts_of_token, table_of_tokens, told_of_candidate
from llama_chat.conversation import Message, Role
from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import percent
from llama_chat.errors import ModelError
from llama_chat.events import Sampling, Token
from llama_chat.replay import Player, build_timeline
from llama_chat.sessions import SessionStore
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.tokens.screen import STANDS_THERE, TokenScreen
from llama_chat.ui.tokens.token_rows import TokenRows
from llama_chat.ui.tokens.token_view import TokenView

TALE = token_stage.tokens_of()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def screen_of(user: User) -> TokenScreen:
    assert isinstance(user.app.screen, TokenScreen)
    return user.app.screen


async def opened(user: User, tokens: int = len(TALE)) -> TokenScreen:
    """The token view, with all that there is to know of that many tokens."""
    await user.press("ctrl+t")
    await user.until(lambda: isinstance(user.app.screen, TokenScreen), "no token view")
    screen = screen_of(user)
    await user.until(lambda: len(screen.sheet) == tokens, "not all tokens")
    await user.until(lambda: len(screen.sheet.tokens[0].candidates) > 0, "no candidates")
    await user.until(lambda: screen.focused is screen.view, "no keyboard")
    return screen


@asynccontextmanager
async def tale(
    home: Home, size: tuple[int, int] = NARROW, engine: FakeEngine | None = None
) -> AsyncIterator[User]:
    """The chat with the tale in it."""
    async with chat(home.setup(engine, continue_last=True), size) as user:
        await user.ready()
        await user.until(lambda: len(user.said) == 2, "the tale is not open")
        yield user


# --- keys -----------------------------------------------------------------------------------------------


async def test_keys_move_the_cursor(home: Home) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        screen = await opened(user)
        view = screen.view

        async def go(key: str, place: int) -> None:
            await user.press(key)
            await user.until(lambda: view.cursor == place, f"{key}: at {view.cursor}, not {place}")

        await user.sees('"Once"')
        await go("right", 1)
        await user.sees('" upon"', "token 2 of")
        await go("left", 0)
        await go("left", 0)
        await go("end", len(TALE) - 1)
        await go("right", len(TALE) - 1)
        await go("home", 0)
        comma = next(n for n, token in enumerate(TALE) if token.text == ",")
        await go("ctrl+right", 1)
        view.go_to(comma - 1)
        await go("ctrl+right", comma + 1)
        await go("ctrl+left", comma - 1)
        least = screen.sheet.by_surprise
        await go("shift+right", least[0])
        await go("shift+right", least[1])
        await go("shift+left", least[0])
        await go("home", 0)
        await user.press("down")
        await user.until(lambda: view.cursor > 5, "no row below")
        below = view.cursor
        await user.press("down", "up")
        await user.until(lambda: view.cursor == below, "not back")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "not back in the chat")


async def test_the_letter_and_the_command_open_it_and_the_same_key_leaves(home: Home) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        await user.press("alt+up")
        await user.until(lambda: user.screen.transcript.cursor_id == token_stage.REPLY_ID, "no cursor")
        await user.press("t")
        await user.sees("look into its tokens")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, TokenScreen), "t: no token view")
        await user.press("ctrl+t")
        await user.until(lambda: user.app.screen is user.screen, "not back")
        await user.press("escape")
        await user.until(lambda: user.screen.focused is user.screen.prompt, "no prompt")
        await user.say("/tokens")
        await user.until(lambda: isinstance(user.app.screen, TokenScreen), "/tokens: no token view")


async def test_a_click_goes_to_a_token_and_tab_to_the_parts(home: Home) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        screen = await opened(user)
        await user.pilot.click(TokenView, offset=(1 + len("Once upon a t"), 1))
        await user.until(lambda: screen.view.cursor == 3, "the click")
        for part in (screen.panel.bars, screen.panel.sliders[0], screen.view):
            await user.press("tab")
            await user.until(lambda part=part: screen.focused is part, f"no {part}")
        await user.press("enter")
        await user.until(lambda: screen.focused is screen.panel.bars, "enter")
        await user.press("escape")
        await user.until(lambda: screen.focused is screen.view, "escape")
        await user.press("question_mark")
        await user.sees("Keys of the tokens")


async def test_shades_change_and_their_legend_with_them(home: Home) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        screen = await opened(user)
        await user.sees("100 %")
        levels = [screen.sheet.level(n, "probability") for n in range(len(TALE))]
        await user.press("s")
        await user.sees("Shaded by surprise", "10 bits or more")
        assert levels != [screen.sheet.level(n, "surprise") for n in range(len(TALE))]
        await user.press("s")
        await user.sees("Shaded by entropy")


# --- candidates -------------------------------------------------------------------------------------------


async def test_sliders_reshape_the_bars_and_count_for_the_chat(home: Home) -> None:
    token_stage.fill(home)
    async with tale(home, WIDE) as user:
        screen = await opened(user)
        bars = screen.panel.bars
        await user.sees("as drawn: temperature 0.7 → top-k 40", "49,112 cut by top-k")
        drawn = bars.bars.bars[0].after
        await user.press("ctrl+o")
        await user.until(lambda: screen.focused is screen.panel.sliders[0], "no slider")
        await user.press("0", ".", "1", "enter")
        await user.until(lambda: bars.bars.bars[0].after > drawn, "not sharper")
        await user.sees("sliders now: temperature 0.1")
        assert user.screen.bridge.sampling.current.temperature == 0.1
        await user.press("down", "3", "enter")
        await user.sees("✂ cut by top-k", "49,149 cut by top-k")
        assert [bar.cut_by for bar in bars.bars.bars[:4]] == ["", "", "", "top_k"]
        await user.press("x")
        await user.sees("as drawn: temperature 0.7 → top-k 40")
        assert bars.bars.bars[0].after == drawn
        await user.press("escape", "escape")
        await user.until(lambda: user.app.screen is user.screen, "not back")
        await user.until(lambda: ("sampling", "temperature", 0.1) in home.saved, "not saved")


async def test_candidates_are_walked_and_one_is_taken(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        taken: list[tuple[str, int, int]] = []

        def take(message: Message, index: int, token_id: int) -> None:
            taken.append((message.id, index, token_id))

        monkeypatch.setattr(user.screen.chat.forking, "take", take)
        screen = await opened(user)
        bars = screen.panel.bars
        await user.press("right", "enter")
        await user.until(lambda: bars.has_focus, "no candidates")
        own = TALE[1].token_id
        assert bars.cursor_id == own, "the cursor begins at what was drawn"
        assert "▸" in user.seen
        await user.press("enter")
        await user.sees(STANDS_THERE[:20])
        await user.press("down")
        await user.until(lambda: bars.cursor_id != own, "not moved")
        other = bars.cursor_id
        await user.sees(f"{screen.sheet.names.quoted(other or 0)} from")
        await user.press("enter")
        await user.until(lambda: taken, "nothing was taken")
        assert taken == [(token_stage.REPLY_ID, 1, other)]
        await user.until(lambda: user.app.screen is user.screen, "not back")


async def test_the_candidates_begin_at_the_drawn_token_and_keep_their_place_only_meanwhile(
    home: Home,
) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        screen = await opened(user)
        bars, slider = screen.panel.bars, screen.panel.sliders[0]
        ids = [bar.token_id for bar in bars.bars.bars]
        own = ids.index(TALE[0].token_id)

        async def go(key: str, part: object, place: int) -> None:
            await user.press(key)
            await user.until(
                lambda: screen.focused is part and bars.cursor_id == ids[place], f"{key}: {bars.cursor_id}"
            )

        await go("enter", bars, own)
        await go("down", bars, own + 1)
        await go("down", bars, own + 2)
        await user.sees(f"› {screen.sheet.names.quoted(ids[own + 2])}", "▸")
        await go("tab", slider, own + 2)
        await go("shift+tab", bars, own + 2)
        await go("tab", slider, own + 2)
        await user.press("right")
        await user.until(lambda: bool(screen.moved), "no slider moved")
        await user.press("escape")
        await user.until(lambda: screen.focused is screen.view, "not at the text")
        await go("enter", bars, own)
        await go("down", bars, own + 1)
        await user.press("escape")
        await user.until(lambda: screen.focused is screen.view, "not at the text")
        await go("tab", bars, own)


@pytest.mark.parametrize("key", ["right", "enter", "tab", "x"])
async def test_a_hint_goes_at_the_next_key(home: Home, key: str) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        screen = await opened(user)
        await user.press("s")
        await user.sees("Shaded by surprise")
        await user.press(key)
        await user.until(lambda: not screen.hint_line.display, f"{key}: the hint stays")


async def test_words_are_typed_and_a_refusal_says_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    token_stage.fill(home)
    async with tale(home) as user:
        typed: list[tuple[int, str]] = []

        def type_in(message: Message, index: int, text: str) -> None:
            if text == "no":
                raise ModelError("Another model wrote this.", hint="F4 shows the models at hand.")
            typed.append((index, text))

        monkeypatch.setattr(user.screen.chat.forking, "type_in", type_in)
        screen = await opened(user)
        await user.press("right", "right", "e")
        await user.until(lambda: screen.typed.has_focus, "nowhere to type")
        await user.press("n", "o", "enter")
        await user.sees("Another model wrote this.", "F4 shows the models")
        screen.typed.value = " bear"
        await user.press("enter")
        await user.until(lambda: typed == [(2, " bear")], "not typed in")
        await user.until(lambda: user.app.screen is user.screen, "not back")


async def test_a_fork_goes_on_in_the_chat_and_the_old_branch_stays(home: Home) -> None:
    tokens = [replace(token, token_id=100 + token.index) for token in token_stage.tokens_of("Two words fit.")]
    token_stage.fill(home, tokens)
    async with tale(home, engine=FakeEngine(["Two words fit."])) as user:
        screen = await opened(user, len(tokens))
        await user.press("right", "enter")
        await user.until(lambda: screen.panel.bars.has_focus, "no candidates")
        await user.press("down")
        await user.until(lambda: screen.panel.bars.cursor_id != tokens[1].token_id, "not moved")
        await user.press("enter")
        await user.until(lambda: user.app.screen is user.screen, "not back")
        await user.idle()
        siblings = user.screen.chat.conversation.siblings(token_stage.REPLY_ID)
        await user.until(
            lambda: len(user.screen.chat.conversation.siblings(token_stage.REPLY_ID)) == 2, str(siblings)
        )


# --- what is shown -----------------------------------------------------------------------------------------


async def test_it_works_without_a_model(home: Home) -> None:
    token_stage.fill(home)
    failing = home.setup(FakeEngine(), continue_last=True)

    def load(*_: object) -> FakeEngine:
        raise ModelError("No model.", hint="F4.")

    async with chat(replace(failing, loader=load)) as user:
        await user.until(lambda: len(user.said) == 2, "the tale is not open")
        await user.until(lambda: user.screen.chat.status.model_state == "failed", "a model")
        screen = await opened(user)
        await user.until(lambda: len(screen.sheet.names) == len(token_stage.VOCABULARY), "no names")
        await user.sees('"Once"', "of 49,152")
        await user.press("enter")
        await user.until(lambda: screen.panel.bars.has_focus, "no candidates")
        await user.press("down", "enter")
        await user.sees("a model must be loaded")


async def test_tokens_without_names_are_shown_by_their_ids(home: Home) -> None:
    token_stage.fill(home, has_names=False)
    async with tale(home) as user:
        screen = await opened(user)
        await user.sees('"Once"')
        ids = screen.panel.bars.bars.bars
        unknown = next(bar.token_id for bar in ids if screen.sheet.names.piece(bar.token_id) is None)
        assert screen.sheet.names.quoted(unknown) == f"#{unknown}"


async def test_a_reply_that_runs_is_followed(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.ready()
        await user.say("Tell me")
        pace.step(3)
        await user.sees("word2")
        await user.press("ctrl+t")
        await user.until(lambda: isinstance(user.app.screen, TokenScreen), "no token view")
        screen = screen_of(user)
        await user.until(lambda: len(screen.sheet) == 3, "not three tokens")
        await user.until(lambda: screen.view.cursor == 2, "not at the end")
        pace.step(4)
        await user.until(lambda: len(screen.sheet) == 7, "not seven tokens")
        await user.until(lambda: screen.view.cursor == 6, "not followed")
        await user.sees("word6", "token 7 of 7…")
        user.screen.chat.stop()
        pace.step(1)
        await user.until(lambda: not screen.sheet.is_running, "still running")
        assert [token.index for token in screen.sheet.tokens] == list(range(len(screen.sheet)))


async def test_a_reply_without_a_token_yet_says_so(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.ready()
        await user.say("Tell me")
        await user.until(lambda: user.screen.chat.is_replying, "not begun")
        await user.press("ctrl+t")
        await user.sees("no token yet")
        await user.press("enter")  # there is nothing to score either
        pace.step(2)
        screen = screen_of(user)
        await user.until(lambda: len(screen.sheet) == 2 and screen.focused is screen.view, "not followed")
        await user.sees("word1", "token 2 of 2")
        await user.press("a")
        await user.sees("still being written")
        assert user.app.screen is screen
        user.screen.chat.stop()
        pace.step(1)
        await user.until(lambda: not screen.sheet.is_running, "still running")


async def test_words_without_tokens_say_so_and_offer_a_score(home: Home) -> None:
    token_stage.fill(home, has_tokens=False)
    async with tale(home) as user:
        await user.press("alt+up", "alt+up")
        await user.until(lambda: user.screen.transcript.cursor_id == token_stage.WORDS_ID, "no cursor")
        await user.press("ctrl+t")
        await user.sees("no model chose them", "Enter asks the model")
        await user.press("enter")
        await user.until(lambda: "no model chose them" not in user.seen, "not asked")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "not back")


async def test_a_replay_shows_them_without_a_model(home: Home) -> None:
    token_stage.fill(home)
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.last()
    assert info is not None
    record = store.record(info.id)
    player = Player(build_timeline(record))
    player.seek_end()
    app = ReplayApp(player, ReplayLooks("ember", Path("no-themes")), ticks=False, record=record)
    async with app.run_test(size=NARROW) as pilot:
        user = User(app, pilot)  # type: ignore[arg-type]  # a reader of the screen
        await user.press("t")
        await user.sees('"Once"', "of 49,152", "token 1 of 78")
        await user.press("enter")
        await user.until(lambda: isinstance(app.focused, CandidateBars), "no candidates")
        await user.press("down", "enter")
        await user.sees("A replay stays as it was")
        await user.press("escape", "escape")
        await user.until(lambda: app.screen is app.replay_screen, "not back")
    store.close()


# --- without a screen -------------------------------------------------------------------------------------


def sheet_of(tokens: list[Token]) -> TokenSheet:
    names = TokenNames(token_stage.VOCABULARY, range(3))
    return TokenSheet(token_stage.reply_of(tokens), tokens, names, frozenset((token_stage.END_ID,)))


def test_the_facts_of_a_token() -> None:
    sheet = sheet_of(TALE)
    facts = facts_of_token(sheet, 3)
    before = percent(math.exp(TALE[3].logprob))
    assert facts[:4] == [
        '" time"',
        f"id {TALE[3].token_id}",
        "20 74 69 6d 65",
        f"rank {TALE[3].rank} of 49,152",
    ]
    assert facts[4].startswith(f"{before} → ")
    assert "drawn with temperature 0.7, top-k 40" in facts
    assert "seed 7" in facts
    assert "chosen by you" in facts_of_token(sheet, 9)


def test_a_candidate_that_ends_the_reply_is_explained() -> None:
    found = token_stage.token(0, token_stage.SPECIAL[2], "")
    sheet = sheet_of([found])
    words = told_of_candidate(sheet, sheet.bars(0), Sampling(), token_stage.END_ID)
    assert words.endswith(" <|im_end|> ends the reply.")


def test_every_token_is_seen_in_the_text() -> None:
    shown = [shown_token(token) for token in TALE]
    assert all(text.strip() or text == " " for text in shown)
    assert "↵↵" in shown
    assert [text for text in shown if "🦊" in text or text == "·"] == ["·", "·", " 🦊"] or "·" in shown
    assert [row[1] for row in table_of_tokens(sheet_of(TALE))][:2] == ['"Once"', '" upon"']


@pytest.mark.parametrize("width", [1, 2, 7, 38, 80, 158])
def test_rows_hold_every_token_once_and_fit(width: int) -> None:
    rows = TokenRows(width)
    rows.extend(TALE[:20])
    rows.extend(TALE[20:])  # as a reply grows
    whole = TokenRows(width)
    whole.extend(TALE)
    assert [list(rows.places(row)) for row in range(len(rows))] == [
        list(whole.places(row)) for row in range(len(whole))
    ]
    assert [place for row in range(len(rows)) for place in rows.places(row)] == list(range(len(TALE)))
    for row in range(len(rows)):
        assert sum(rows.cells(place) for place in rows.places(row)) <= width
        for place in rows.places(row):
            assert rows.row_of(place) == row
            assert rows.at(row, rows.cell_of(place)) == place


def test_one_token_and_none() -> None:
    for tokens in ([], TALE[:1]):
        sheet = sheet_of(tokens)
        rows = TokenRows(20)
        rows.extend(tokens)
        assert len(rows) == 1
        assert list(sheet.by_surprise) == list(range(len(tokens)))
        assert math.isnan(sheet.perplexity) is not tokens or tokens


class ViewApp(App[None]):
    """A token view, and nothing else."""

    def compose(self) -> ComposeResult:
        yield TokenView()


async def test_ten_thousand_tokens_scroll_smoothly() -> None:
    """30 frames a second leave 33 ms for each; the bound is on the work of this thread, and generous."""
    sheet = sheet_of(token_stage.many_tokens(10_000))
    app = ViewApp()
    async with app.run_test(size=(160, 48)):
        view = app.query_one(TokenView)
        begun = time.thread_time()
        view.show(sheet)
        laid_out_s = time.thread_time() - begun
        begun = time.thread_time()
        for frame in range(100):
            view.scroll_to(y=frame * 7, animate=False, force=True)
            for y in range(48):
                view.render_line(y)
        frame_s = (time.thread_time() - begun) / 100
        assert view.virtual_size.height > 300
        assert frame_s < 1 / 30
        assert laid_out_s < 0.5


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, llama_chat.ui.tokens.screen; assert not {'torch', 'numpy', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_role_of_a_message_without_tokens_is_told() -> None:
    from llama_chat.chat.tokens.words import why_no_tokens

    told = {why_no_tokens(Message("", None, role, "x", 0.0)) for role in Role}
    assert len(told) == len(Role)
