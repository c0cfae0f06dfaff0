"""Where a token of a reply looked, as its user sees it: keys, shades, and what cannot be looked at."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace
from looking_stage import MadeUpReader, WordEngine, looking_setup, session_engine
from looks_stage import Camera, camera_of, fill, stand_still
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_looks import LOOKS
from test_plain import Typed
from textual import events

from llama_chat.chat.looking import WAYS, Context, Looks, Way
from llama_chat.chat.tokens.source_ids import Source, SourceIds
from llama_chat.cli.plain import PlainChat
from llama_chat.conversation import Message, Reply, Role
from llama_chat.distribution.names import TokenNames
from llama_chat.errors import ModelError
from llama_chat.events import Sampling
from llama_chat.settings import ChatSettings
from llama_chat.ui.looks.sheet import LooksSheet, marks_of
from llama_chat.ui.markdown.document import Document
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.transcript.rows import Row
from llama_chat.ui.transcript.text_places import TextPlaces

FOX = "A **fox** sat by the river.\n\n- It asked why.\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def sheet_of(user: User) -> LooksSheet:
    return user.screen.query_one(LooksSheet)


async def looked_at(user: User, number: int) -> Looks:
    """What is shown, once it is that of this token (from 1)."""

    def is_there() -> bool:
        sheets = user.screen.query(LooksSheet)
        if (
            not sheets or not (sheet := sheets.first()).size.height
        ):  # a click before it is laid out goes elsewhere
            return False
        return sheet.looks is not None and sheet.looks.index == number - 1

    await user.until(is_there, f"no looks of token {number}")
    looks = sheet_of(user).looks
    assert looks is not None
    return looks


async def asked(user: User, words: str = "Where is the fox?") -> None:
    await user.ready()
    await user.say(words)
    await user.idle()


def shaded(user: User) -> dict[str, int]:
    """The words in the transcript that have another background than their row, or are reversed."""
    transcript = user.screen.transcript
    found: dict[str, int] = {}
    for y in range(transcript.size.height):
        usual = transcript.rich_style.bgcolor
        for text, style, _ in transcript.render_line(y):
            if text.strip() and style is not None and (style.reverse or style.bgcolor not in (None, usual)):
                found[text.strip()] = found.get(text.strip(), 0) + 1
    return found


# --- the keys --------------------------------------------------------------------------------------------


async def test_every_key_of_the_list(home: Home) -> None:
    readers: list[MadeUpReader] = []
    async with chat(looking_setup(home, WordEngine(FOX), readers=readers)) as user:
        await asked(user)
        await user.press("alt+shift+l")
        looks = await looked_at(user, 1)
        assert looks.row == looks.context.found.prompt_tokens - 1, "the position that chose it"
        await user.sees("where it looked", "mean, without the first token", '"A "')
        await user.until(lambda: shaded(user).get("A"), "the token is not marked")
        assert len(shaded(user)) > 1, "nothing is shaded"

        await user.press("right", "right")
        looks = await looked_at(user, 3)
        await user.sees('"sat "')
        await user.press("end")
        last = (await looked_at(user, looks.context.length)).context.length
        await user.press("home")
        await looked_at(user, 1)
        await user.press("pagedown")
        await looked_at(user, min(11, last))
        await user.press("pageup")
        await looked_at(user, 1)

        sheet = sheet_of(user)
        first = sheet.chosen
        await user.press("down")
        await user.until(lambda: sheet.chosen != first, "the cursor stands still")
        await user.press("up")
        await user.until(lambda: sheet.chosen == first, "the cursor does not come back")

        await user.press("o")
        await user.sees("The position of")
        assert sheet.looks is not None
        assert sheet.looks.row == sheet.looks.context.position(0)
        await user.press("o")
        await user.sees("was chosen at")

        await user.press("m")
        await user.until(lambda: isinstance(user.app.screen, PickScreen), "no menu")
        await user.sees("rollout, with the first token")
        await user.press("down", "down", "enter")
        await user.until(lambda: sheet.looks and sheet.looks.way.measure == "rollout", "no rollout")
        assert readers[0].asked[-1][0] == "rollout"
        await user.sees("rollout, without the first token")

        await user.press("escape")
        await user.until(lambda: not user.screen.query(LooksSheet), "the list stays")
        await user.until(lambda: not shaded(user), "shades stay")
        assert user.screen.prompt.has_focus
    assert len(readers) == 1, "one reader for all"


async def test_a_source_is_gone_to_and_thoughts_unfold(home: Home) -> None:
    answer = "<think>\nThe river is near.\n</think>\n\n" + "Far away. " * 60
    async with chat(looking_setup(home, WordEngine(answer))) as user:
        await asked(user)
        await user.sees("▸ thought")
        await user.press(*"/looks 90", "enter")
        looks = await looked_at(user, 90)
        sheet = sheet_of(user)
        near = next(n for n in range(len(looks.raw)) if looks.context.name(n) == '"near.\\n"')
        sheet._top = (looks.looked(near), *sheet._top)
        sheet._cursor = 1
        await user.press("up")
        await user.sees("▾ thought", "The river is near.")


async def test_with_the_mouse(home: Home) -> None:
    async with chat(looking_setup(home, WordEngine(FOX)), WIDE) as user:
        await asked(user)
        await user.press(*"/looks 4", "enter")
        await looked_at(user, 4)
        sheet = sheet_of(user)
        await user.pilot.click(LooksSheet, offset=(20, sheet._first_source_row + 2))
        await user.until(lambda: sheet._cursor == 2, "not clicked")
        await user.pilot.click(LooksSheet, offset=(20, 0))
        await user.until(lambda: isinstance(user.app.screen, PickScreen), "no menu")


# --- when --------------------------------------------------------------------------------------------------


async def test_what_is_asked_last_is_shown(home: Home) -> None:
    goes_on, readers = threading.Event(), []
    async with chat(looking_setup(home, WordEngine(FOX), goes_on=goes_on, readers=readers)) as user:
        await asked(user)
        await user.press("alt+shift+l")
        await user.sees("Looking … 25%")
        await user.until(lambda: readers and readers[0].asked, "nothing is asked")
        sheet = sheet_of(user)
        sheet.index = 1  # as the keys do it once there is something to see
        sheet._ask_engine()
        sheet.index = 4
        sheet._ask_engine()
        goes_on.set()
        assert (await looked_at(user, 5)).index == 4
        at = [at for _, at in readers[0].asked]
        assert len(at) <= 3
        assert user.screen.chat.bridge.worker.is_alive


async def test_leaving_gives_up_what_is_computed(home: Home) -> None:
    goes_on = threading.Event()
    async with chat(looking_setup(home, WordEngine(FOX), goes_on=goes_on)) as user:
        await asked(user)
        await user.press("alt+shift+l")
        await user.sees("Looking …")
        await user.press("escape")
        await user.until(lambda: not user.screen.query(LooksSheet), "the list stays")
        await asked(user, "And now?")  # the engine is free again
        assert user.said[-1][1] == FOX


async def test_a_reply_that_is_written_is_told_of(home: Home) -> None:
    pace = Pace(is_stepped=True)
    engine = WordEngine(FOX)
    engine.pace = pace
    async with chat(looking_setup(home, engine)) as user:
        await user.ready()
        await user.press("alt+shift+l")
        await user.sees("There is no reply yet")
        await user.say("Where?")
        pace.step(2)
        await user.sees("fox")
        await user.press("alt+shift+l")
        await user.sees("still being written")
        pace.step(99)
        await user.idle()
        await user.press("alt+up", "alt+up", "alt+shift+l")
        await user.sees("Only what the model wrote")


async def test_the_list_goes_when_its_reply_does(home: Home) -> None:
    async with chat(looking_setup(home, WordEngine(FOX))) as user:
        await asked(user)
        await user.press("alt+shift+l")
        await looked_at(user, 1)
        await user.press("ctrl+n")
        await user.until(lambda: not user.screen.query(LooksSheet), "the list stays")


# --- what cannot be looked at ------------------------------------------------------------------------------


async def test_a_reply_of_another_model_names_it_and_where_models_are(home: Home) -> None:
    async with chat(looking_setup(home, WordEngine(FOX))) as user:
        await asked(user)
    other = WordEngine(FOX, info=replace(INFO, name="Other-1B", fingerprint="other"))
    async with chat(looking_setup(home, other, continue_last=True)) as user:
        await user.idle()
        await user.sees("It asked why.")
        await user.press("alt+shift+l")
        await user.sees("wrote this reply, and Other-1B is loaded", "F4 loads")


async def test_a_model_that_cannot_be_looked_into_says_so(home: Home) -> None:
    error = ModelError("X is run by transformers", hint="Take a model of the Llama family.")
    async with chat(looking_setup(home, WordEngine(FOX), error=error)) as user:
        await asked(user)
        await user.press("alt+shift+l")
        await user.sees("X is run by transformers", "Take a model")
    async with chat(home.setup(FakeEngine([FOX]))) as user:
        await asked(user)
        await user.press(*"/looks 2", "enter")
        await user.sees("Nothing can be looked into here.")
        await user.press(*"/looks two", "enter")
        await user.sees("'two' is no number of a token")


async def test_an_imported_reply_is_read_as_tokens_of_the_loaded_model(home: Home) -> None:
    async with chat(looking_setup(home, WordEngine(FOX))) as user:
        await asked(user)
        reply = user.screen.chat.conversation.path()[-1]
        assert reply.reply is not None
        user.screen.chat.conversation.update(replace(reply, reply=None))
        await user.press("alt+shift+l")
        looks = await looked_at(user, 1)
        assert looks.context.found.is_retold
        assert any("was not written here" in sentence for sentence in looks.sentences())


async def test_a_reply_behind_a_part_of_the_chat_is_read_behind_that_part(home: Home) -> None:
    async with chat(looking_setup(home, WordEngine(FOX))) as user:
        await asked(user, "First words.")
        await asked(user, "Second words.")
        chat_ = user.screen.chat
        words, reply = chat_.conversation.path()[-2:]
        assert reply.reply is not None
        cut = replace(reply, reply=replace(reply.reply, context_start=words.id))
        chat_.conversation.update(cut)
        await user.press("alt+shift+l")
        looks = await looked_at(user, 1)
        assert looks.context.found.messages == (words,)


# --- without a screen ---------------------------------------------------------------------------------------


def test_the_plain_chat_lists_what_was_looked_at(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    readers: list[MadeUpReader] = []
    lines = ("/looks", "Where is the fox?", "/looks 3", "/looks 2 rollout", "/looks x")
    setup = looking_setup(home, WordEngine(FOX), readers=readers)
    assert PlainChat(setup, Typed(*lines), is_talk=True).run()
    told = capsys.readouterr().err
    for words in (
        "There is no reply yet.",
        "Token 3 of 11, mean",
        '"sat " was chosen at',
        "you",
        "is no number",
    ):
        assert words in told, told
    assert "Token 2 of 11, rollout, without the first token." in told
    assert [reader.asked[0][0] for reader in readers] == ["mean", "rollout"]


# --- the numbers that are shown ----------------------------------------------------------------------------


def looks_of(raw: tuple[float, ...], way: Way, index: int = 0) -> Looks:
    ids = tuple(range(len(raw) + 1))
    reply = Message("r", None, Role.ASSISTANT, "ab", 0.0, Reply(1, Sampling()))
    found = SourceIds(ids, len(raw), (), reply)
    sources = (*[Source(None)] * len(raw), Source("r", 0, 1))
    return Looks(Context(found, sources, TokenNames(), ()), index, way, len(raw) - 1, raw)


def test_without_the_first_the_rest_is_one() -> None:
    raw = (0.6, 0.1, 0.2, 0.1)
    looks = looks_of(raw, Way())
    assert looks.shares == pytest.approx((0, 0.25, 0.5, 0.25))
    assert [each.position for each in looks.top()] == [2, 1, 3]
    assert looks_of(raw, Way(with_first=True)).shares == raw
    assert looks_of((1.0,), Way()).shares == (1.0,), "nothing else is there"
    windowed = looks_of((0.0, 0.0, 0.5, 0.3, 0.2), Way("rollout"))
    assert windowed.left_out == 2
    assert windowed.shares == pytest.approx((0, 0, 0, 0.6, 0.4))
    assert "Only the last 3 tokens are looked at." in windowed.sentences()
    assert {way.label for way in WAYS} == {
        f"{measure}, {word} the first token"
        for measure in ("mean", "rollout")
        for word in ("with", "without")
    }


def test_what_is_hardly_looked_at_is_not_shaded() -> None:
    looks = looks_of((0.6, 0.3, 0.099, 0.001), Way())
    sources = (Source("m", 0, 1), Source("m", 1, 2), Source("m", 2, 3), Source("m", 3, 4), Source("r", 0, 1))
    looks = replace(looks, context=replace(looks.context, sources=sources))
    marks = marks_of(looks, chosen=2)
    assert [(mark.start, mark.level, mark.is_chosen) for mark in marks["m"]] == [(1, 7, False), (2, 4, True)]
    assert [(mark.start, mark.level) for mark in marks["r"]] == [(0, -1)]


TEXT = """# A *slow* river

It said **hello** to `the fox`, and [went](http://x.y) on; then a long sentence that takes more than one row.

1. one, one
2. two & three &amp; four

```python
def ask(a): return a
```

| a | b |
|---|---|
| 1 | fox |
"""


@pytest.mark.parametrize("width", [20, 36, 90])
def test_words_of_a_text_are_found_in_its_rows(width: int) -> None:
    document = Document(width)
    document.append(TEXT)
    document.finish()
    rows = [Row(line) for line in document.lines]
    places = TextPlaces(TEXT, rows)
    at = 0
    for word in ("slow", "river", "hello", "fox", "sentence", "one", "two", "three", "ask", "return", "fox"):
        at = TEXT.index(word, at)
        drawn = [
            rows[row].line.content.plain[begin:end] for row, begin, end in places.spans(at, at + len(word))
        ]
        assert "".join(drawn) == word, (word, drawn)
        at += len(word)
    for start in range(len(TEXT)):
        for row, begin, end in places.spans(start, start + 1):
            assert rows[row].line.content.plain[begin:end] == TEXT[start], "another character is shaded"


# --- the looks ---------------------------------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    yield from stand_still(monkeypatch, tmp_path)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=[f"{size[0]}-{theme}" for size, theme in LOOKS])
async def test_how_it_looks(home: Home, size: tuple[int, int], theme: str) -> None:
    fill(home)
    setup = looking_setup(home, session_engine(), chat=ChatSettings(theme=theme), continue_last=True)
    async with chat(setup, size) as user:
        camera: Camera = camera_of(user, size, theme)
        await user.idle()
        await user.sees("ask again tomorrow", "120")
        user.screen.prompt.post_message(events.Paste("/looks 40"))
        await user.until(lambda: user.screen.prompt.text == "/looks 40", "not pasted")
        await user.press("enter")
        await looked_at(user, 40)
        await camera._rest()
        await user.press("down", "down")
        await user.until(lambda: sheet_of(user)._cursor == 2, "the cursor stands still")
        await camera.shoot("where-it-looked")
        if size != SMALL:
            await user.press("m")
            await user.until(lambda: isinstance(user.app.screen, PickScreen), "no menu")
            await camera.shoot("where-it-looked-menu")
    camera.judge()


def test_the_sizes_are_those_of_all_looks() -> None:
    assert {size for size, _ in LOOKS} == {SMALL, NARROW, WIDE}
