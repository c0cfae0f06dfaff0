"""The chat as a whole, with an engine of plain events: what a user does and sees."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from settling import strips_of
from textual import events
from textual.pilot import Pilot

from llama_chat.chat.setup import ChatSetup
from llama_chat.conversation import Conversation
from llama_chat.errors import Interrupted, ModelError, SettingsError
from llama_chat.events import EngineLoader, Sampling
from llama_chat.paths import Paths
from llama_chat.pull import PullProgress
from llama_chat.sessions import SessionStore, StoreUnavailable
from llama_chat.settings import ChatSettings, Settings
from llama_chat.shelves.to_load import Puller
from llama_chat.ui.app import ChatApp
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat import ChatScreen
from llama_chat.ui.screens.download import DownloadScreen
from llama_chat.ui.screens.key_help import KeyHelpScreen
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.session_card import SessionCard
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.ui.widgets.sampling_panel import SamplingPanel
from llama_chat.ui.widgets.slider import Slider
from llama_chat.ui.widgets.status_bar import StatusBar

TIMEOUT_S = 30  # until a test gives up; no promise of how soon anything comes
NARROW, WIDE, SMALL = (80, 24), (160, 48), (40, 12)


@dataclass
class Home:
    """A user's folders, and what was saved into the settings."""

    root: Path
    saved: list[tuple[str, str, object]] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.root / "config", self.root / "data", self.root / "cache", self.root / "log")

    def save(self, table: str, key: str, value: object) -> None:
        self.saved.append((table, key, value))

    def setup(
        self,
        engine: FakeEngine | None = None,
        *,
        loader: EngineLoader | None = None,
        chat: ChatSettings | None = None,
        pull: Puller | None = None,
        notices: tuple[str, ...] = (),
        resume: str | None = None,
        continue_last: bool = False,
    ) -> ChatSetup:
        return ChatSetup(
            settings=Settings(chat=chat or ChatSettings()),
            notices=notices,
            paths=self.paths,
            loader=loader or loader_of(engine or FakeEngine(["Two words."])),
            model_label="smollm2",
            pull=pull,
            save_setting=self.save,
            resume=resume,
            continue_last=continue_last,
        )

    def stored(self) -> list[Conversation]:
        """The sessions on the disk, newest first."""
        store = SessionStore(self.paths.sessions_file)
        store.open()
        try:
            return [store.load(info.id) for info in store.list()]
        finally:
            store.close()

    def titles(self) -> list[str]:
        store = SessionStore(self.paths.sessions_file)
        store.open()
        try:
            return [info.title for info in store.list()]
        finally:
            store.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


class User:
    """Somebody at the keyboard, who can read the screen."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> ChatScreen:
        return self.app.chat_screen

    @property
    def seen(self) -> str:
        """The text on the terminal."""
        return "\n".join("".join(segment.text for segment in strip) for strip in strips_of(self.app))

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not condition():
                    await self.pilot.pause(0.01)
        except TimeoutError:
            raise AssertionError(f"{what or 'never came true'}; on the screen:\n{self.seen}") from None

    async def sees(self, *texts: str) -> None:
        for text in texts:
            await self.until(lambda text=text: text in self.seen, f"{text!r} was not seen")

    async def ready(self) -> None:
        await self.until(lambda: self.screen.chat.status.model_state == "ready", "not ready")

    async def idle(self) -> None:
        await self.ready()
        await self.until(lambda: not self.screen.chat.opening.is_going_on, "still opening")
        await self.until(lambda: not self.screen.chat.is_replying, "still replying")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def say(self, text: str) -> None:
        self.screen.prompt.post_message(events.Paste(text))
        await self.pilot.pause()
        await self.press("enter")

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(message.role.value, message.text) for message in self.screen.chat.conversation.path()]


@asynccontextmanager
async def chat(setup: ChatSetup, size: tuple[int, int] = NARROW) -> AsyncIterator[User]:
    app = ChatApp(setup)
    try:
        async with app.run_test(size=size) as pilot:
            yield User(app, pilot)
    finally:
        assert app.bridge.close()
        assert not app.bridge.worker.is_alive


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Another program holds the store."""
    with closing(sqlite3.connect(home.paths.sessions_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# --- a reply --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_question_is_answered_and_kept(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["A fox met a river.\n"])), size) as user:
        await user.say("Tell me about the fox.")
        await user.sees("A fox met a river.", "8,192")
        await user.idle()
        assert user.screen.prompt.text == ""
        assert user.screen.prompt.has_focus
        assert ("5 tokens · 112 tok/s" in user.seen) == (size != SMALL)
    assert home.titles() == ["Tell me about the fox."]
    (conversation,) = home.stored()
    question, answer = conversation.path()
    assert (question.text, answer.text) == ("Tell me about the fox.", "A fox met a river.\n")
    assert answer.reply is not None
    assert answer.reply.finish_reason == "end"
    assert answer.reply.model == INFO.name
    assert len(answer.reply.token_ids) == 5


async def test_text_streams_and_is_on_the_disk_when_it_is_seen(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine(["one two three four"], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("one two")
        assert "three" not in user.seen
        assert home.stored()[0].path()[-1].text == "one two "
        pace.step(9)
        await user.sees("one two three four")


async def test_the_model_sees_the_whole_talk(home: Home) -> None:
    engine = FakeEngine(["first answer", "second answer"])
    async with chat(home.setup(engine, chat=ChatSettings(system="Be brief."))) as user:
        for question in ("one?", "two?"):
            await user.say(question)
            await user.idle()
    assert engine.prompts[1].index("Be brief.") < engine.prompts[1].index("one?")
    assert engine.prompts[1].index("first answer") < engine.prompts[1].index("two?")


async def test_esc_stops_within_one_token_and_keeps_the_text(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(3)
        await user.sees("word0 word1 word2")
        await user.press("escape")
        pace.step(100)
        await user.idle()
        await user.sees("Stopped.")
        assert "word4" not in user.seen
    reply = home.stored()[0].path()[-1]
    assert reply.text.startswith("word0 word1 word2")
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


async def test_a_slider_acts_on_the_next_token_of_the_reply_that_runs(home: Home) -> None:
    pace = Pace(is_stepped=True)
    engine = FakeEngine([None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        await user.press("home")
        pace.step(2)
        await user.sees("word3")
        temperatures = [sampling.temperature for sampling in engine.samplings]
        assert temperatures[:2] == [0.7, 0.7]
        assert temperatures[3] == 0.0
        await user.until(lambda: ("sampling", "temperature", 0.0) in home.saved, "not saved")
        await user.press("down", "down", "1", "enter")
        pace.step(1)
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1].reply
        assert reply is not None
        assert reply.finish_reason == "length"


async def test_a_prompt_while_a_reply_runs_waits_for_its_end(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(1)
        await user.sees("word0")
        await user.say("another")
        await user.until(lambda: user.screen.chat.waiting.text == "another", "it does not wait")
        assert user.screen.prompt.text == ""
        assert len(user.said) == 2


async def test_an_empty_prompt_is_not_sent(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("  \n ")
        assert user.said == []
    assert home.titles() == []


# --- regenerate, siblings, new, reopen ------------------------------------------------------------------


async def test_regenerate_makes_a_sibling_and_both_can_be_seen(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["first", "second"]))) as user:
        await user.say("hello")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("second", "2/2")
        await user.idle()
        await user.press("alt+left")
        await user.sees("first", "1/2")
        assert user.said == [("user", "hello"), ("assistant", "first")]
        await user.press("alt+left")
    (conversation,) = home.stored()
    assert conversation.path()[-1].text == "first"
    seeds = {message.reply.seed for message in conversation.messages.values() if message.reply}
    assert len(seeds) == 2


async def test_a_locked_seed_is_used_as_it_is(home: Home) -> None:
    async with chat(home.setup(chat=ChatSettings(seed=7))) as user:
        await user.say("hello")
        await user.idle()
    reply = home.stored()[0].path()[-1].reply
    assert reply is not None
    assert reply.seed == 7


async def test_a_new_chat_stops_and_keeps_the_reply_that_runs(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("ctrl+n")
        await user.until(lambda: user.said == [], "not new")
        assert "word1" not in user.seen
        pace.is_stepped = False
    (conversation,) = home.stored()
    reply = conversation.path()[-1].reply
    assert reply is not None
    assert reply.finish_reason == "stopped"


async def test_no_session_is_made_before_the_first_turn(home: Home) -> None:
    async with chat(home.setup(chat=ChatSettings(system="Be brief."))) as user:
        await user.ready()
        await user.press("ctrl+n", "ctrl+n")
    assert home.titles() == []


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_session_is_found_by_typing_and_opened_again(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["answer one", "answer two", "answer three"])), size) as user:
        for question in ("about foxes", "about rivers"):
            await user.say(question)
            await user.idle()
            await user.press("ctrl+n")
        await user.press("ctrl+s")
        await user.sees("about foxes", "about rivers")
        await user.press(*"fox")
        await user.until(lambda: "about rivers" not in user.seen)
        await user.press("enter")
        await user.sees("answer one")
        assert user.said == [("user", "about foxes"), ("assistant", "answer one")]
        assert user.screen.prompt.has_focus
        await user.say("more")
        await user.idle()
    assert [len(conversation.path()) for conversation in home.stored()] == [4, 2]


async def test_continue_and_resume_open_a_session_at_the_start(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.say("remember me")
        await user.idle()
        session_id = user.screen.chat.saved.session_id
    async with chat(home.setup(continue_last=True)) as user:
        await user.sees("remember me", "Two words.")
        assert user.screen.chat.saved.session_id == session_id
    assert session_id is not None
    async with chat(home.setup(resume=session_id[:6])) as user:
        await user.sees("remember me")
    async with chat(home.setup(resume="zz")) as user:
        await user.sees("No session begins with")
        await user.say("go on")
        await user.idle()
        assert user.said[-1] == ("assistant", "Two words.")


async def test_continue_without_any_session_says_so(home: Home) -> None:
    async with chat(home.setup(continue_last=True)) as user:
        await user.sees("new chat")


async def test_the_system_prompt_is_edited_and_kept_with_the_session(home: Home) -> None:
    engine = FakeEngine(["one", "two"])
    async with chat(home.setup(engine)) as user:
        await user.say("hello")
        await user.idle()
        await user.press("f8")
        await user.until(lambda: isinstance(user.app.screen, SystemPromptScreen))
        await user.press(*"Rhyme", "ctrl+s")
        await user.until(lambda: user.screen.chat.conversation.system == "Rhyme")
        await user.say("again")
        await user.idle()
        await user.press("f8")
        await user.until(lambda: isinstance(user.app.screen, SystemPromptScreen))
        await user.press("x", "escape")
        assert user.screen.chat.conversation.system == "Rhyme"
    assert "Rhyme" in engine.prompts[1]
    (conversation,) = home.stored()
    assert [message.text for message in conversation.path()] == ["Rhyme", "hello", "one", "again", "two"]


# --- before the model is there --------------------------------------------------------------------------


async def test_the_prompt_takes_keys_before_the_model_is_there_and_the_question_waits(home: Home) -> None:
    gate = threading.Event()
    async with chat(home.setup(loader=loader_of(FakeEngine(), gate=gate))) as user:
        await user.press(*"typed early")
        assert user.screen.prompt.text == "typed early"
        await user.sees("starting the engine")
        await user.press("enter")
        await user.sees("waits for the model")
        assert "waits" in user.seen
        await user.until(lambda: home.titles() == ["typed early"], "the words are not kept")
        gate.set()
        await user.sees("Once upon a time")


async def test_esc_gives_the_words_back_that_wait_for_the_model(home: Home) -> None:
    gate = threading.Event()
    async with chat(home.setup(loader=loader_of(FakeEngine(["yes"]), gate=gate))) as user:
        await user.say("too early")
        await user.sees("waits for the model")
        await user.press("escape")
        assert user.screen.prompt.text == "too early"
        assert user.said == []
        gate.set()
        await user.ready()
        await user.press("enter")
        await user.sees("yes")
    assert home.titles() == ["too early"]


async def test_a_model_that_cannot_be_loaded_is_told_and_sending_tries_again(home: Home) -> None:
    error = ModelError("tiny.gguf: the file ends early.", hint="Pull it again.")
    async with chat(home.setup(loader=loader_of(FakeEngine(["yes"]), errors=[error]))) as user:
        await user.sees("the file ends early.", "Pull it again.", "no model")
        await user.say("hello")
        await user.sees("yes")


async def test_words_come_back_when_the_model_cannot_be_loaded(home: Home) -> None:
    errors = [ModelError("broken once"), RuntimeError("broken twice")]
    setup = home.setup(loader=loader_of(FakeEngine(), errors=errors), notices=("said at the start",))
    async with chat(setup) as user:
        await user.sees("broken once")
        await user.say("hello")
        await user.sees("broken twice")
        await user.until(lambda: user.screen.prompt.text == "hello", "the words are lost")
        assert user.said == []
        assert "said at the start" in user.seen


async def test_the_download_is_shown_and_esc_stops_it(home: Home) -> None:
    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        report(PullProgress(43_000_000, 98_400_000, 4.0, "SmolLM2.gguf"))
        if not cancel.wait(TIMEOUT_S):
            raise AssertionError("nobody stopped it")
        raise Interrupted("Stopped.")

    async with chat(home.setup(pull=pull)) as user:
        await user.until(lambda: isinstance(user.app.screen, DownloadScreen))
        await user.sees("43.0 of 98.4 MB", "44 %", "10.8 MB/s", "0:05 left")
        await user.press("escape")
        await user.sees("Send a message")
        await user.press(*"typed")
        assert user.screen.prompt.text == "typed"


async def test_news_of_a_download_that_was_left_does_not_open_it_again(home: Home) -> None:
    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        report(PullProgress(1, 3, 4.0, "SmolLM2.gguf"))
        cancel.wait(TIMEOUT_S)
        report(PullProgress(2, 3, 4.0, "SmolLM2.gguf"))
        raise Interrupted("Stopped.")

    opened: list[DownloadScreen] = []
    async with chat(home.setup(pull=pull)) as user:
        await user.until(lambda: isinstance(user.app.screen, DownloadScreen))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openers, "open_download", opened.append)
            await user.press("escape")
            await user.sees("Send a message")
        assert opened == []


async def test_the_download_leaves_when_it_is_done(home: Home) -> None:
    go_on = threading.Event()

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        report(PullProgress(1, 2, 4.0, "SmolLM2.gguf"))
        go_on.wait(TIMEOUT_S)

    async with chat(home.setup(pull=pull)) as user:
        await user.until(lambda: isinstance(user.app.screen, DownloadScreen))
        go_on.set()
        await user.ready()
        await user.until(lambda: isinstance(user.app.screen, ChatScreen))


# --- what can go wrong ----------------------------------------------------------------------------------


async def test_a_prompt_longer_than_the_context_comes_back(home: Home) -> None:
    engine = FakeEngine(["fine"], info=replace(INFO, context_length=64))
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.say("word " * 100)
        await user.sees("the context holds 64")
        assert user.screen.prompt.text.startswith("word word")
        assert user.said == []
        user.screen.prompt.clear_all()
        await user.say("short")
        await user.sees("fine")
    assert home.titles() == ["short"]


async def test_a_failure_in_mid_reply_keeps_the_text(home: Home) -> None:
    engine = FakeEngine(
        ["one two three"], fail_after=2, error=ModelError("out of memory", hint="Take a smaller model.")
    )
    async with chat(home.setup(engine)) as user:
        await user.say("count")
        await user.sees("one two", "out of memory", "Take a smaller model.")
        await user.idle()
    reply = home.stored()[0].path()[-1]
    assert reply.text == "one two "
    assert reply.reply is not None
    assert reply.reply.finish_reason == "failed"


async def test_a_data_folder_that_cannot_be_written_is_told_and_the_chat_goes_on(home: Home) -> None:
    home.root.joinpath("data").write_text("a file where the folder should be")
    app = ChatApp(home.setup(FakeEngine(["answer"])))
    async with app.run_test(size=NARROW) as pilot:
        user = User(app, pilot)
        await user.sees("cannot be")
        await user.say("hello")
        await user.sees("answer", "not saved yet")
        await user.idle()
        await user.press("ctrl+s")
        await user.sees("does not answer")
    assert not app.bridge.close(timeout_s=0.1)
    assert not app.bridge.worker.is_alive


async def test_a_setting_that_cannot_be_saved_is_told(home: Home) -> None:
    def refuse(table: str, key: str, value: object) -> None:
        raise SettingsError("settings.toml is not TOML.")

    async with chat(replace(home.setup(), save_setting=refuse)) as user:
        await user.say("/set temperature 0.3")
        await user.sees("settings.toml is not TOML.")
        assert "not saved yet" not in user.seen
        assert user.app.bridge.sampling.current == Sampling(temperature=0.3)


async def test_notices_of_the_start_are_shown_without_being_commands(home: Home) -> None:
    async with chat(home.setup(notices=("theme: [/zz] \x1b]0;PWNED\x07 is no theme",))) as user:
        await user.sees("[/zz]", "is no theme")
        assert "\x1b" not in user.seen


async def test_text_of_the_model_and_the_user_is_never_markup_nor_escapes(home: Home) -> None:
    nasty = "[/zz] [red] \x1b]0;PWNED\x07 \u202e \x9b31m <|im_end|>"
    async with chat(home.setup(FakeEngine([nasty])), WIDE) as user:
        await user.say("[/zz] " + "user \u202e")
        await user.idle()
        await user.press("ctrl+s")
        await user.sees("[/zz]")
        assert not set(user.seen) & set("\x1b\x07\x9b\u202e")
        await user.press("escape", "f8")
        await user.sees("System prompt")


async def test_a_lock_at_the_first_turn_ends_with_everything_on_the_disk(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.ready()
        with locked(home):
            until_s = time.monotonic() + 3.0
            await user.say("count")
            pace.step(3)
            await user.sees("word2", "not saved yet")
            await user.until(lambda: time.monotonic() >= until_s)
            assert "not saved yet" in user.seen
        await user.until(lambda: user.screen.chat.status.is_saved, "the mark stays")
        assert home.stored()[0].path()[-1].text == "word0 word1 word2 "


async def test_a_brief_lock_at_the_start_is_not_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    opens = SessionStore.open
    failures = [StoreUnavailable("busy for a moment")] * 2

    def fail_at_first(store: SessionStore) -> None:
        if failures:
            raise failures.pop()
        opens(store)

    monkeypatch.setattr(SessionStore, "open", fail_at_first)
    async with chat(home.setup(FakeEngine(["answer"]))) as user:
        await user.say("hello")
        await user.sees("answer")
        await user.idle()
        await user.until(lambda: user.screen.chat.status.is_saved)
        assert "busy for a moment" not in user.seen
        assert not failures


async def test_opening_the_session_that_runs_leaves_it_running(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("ctrl+s")
        await user.until(lambda: isinstance(user.app.screen, SessionCard))
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, ChatScreen))
        pace.step(1)
        await user.sees("word2")
        assert user.screen.chat.is_replying
        await user.press("escape")
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1].reply
        assert reply is not None
        assert reply.finish_reason == "stopped"


async def test_refused_words_are_forgotten_by_the_store_too(home: Home) -> None:
    engine = FakeEngine(["fine"], info=replace(INFO, context_length=64))
    async with chat(home.setup(engine)) as user:
        await user.say("short")
        await user.idle()
        await user.say("word " * 100)
        await user.sees("the context holds 64")
    (conversation,) = home.stored()
    assert [message.text for message in conversation.messages.values()] == ["short", "fine"]
    assert [message.text for message in conversation.path()] == ["short", "fine"]


async def test_all_sessions_are_found_however_many(home: Home) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    store.close()
    with closing(sqlite3.connect(home.paths.sessions_file)) as other, other:
        other.executemany(
            "INSERT INTO sessions (id, title, created_at, updated_at, touched, date, model, message_count) "
            "VALUES (?, ?, 0, 0, ?, '', '', 1)",
            [(f"{n:016x}", f"talk number {n}." if n else "the oldest", n) for n in range(10_000)],
        )
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("ctrl+s")
        await user.sees("talk number 9999.", "search")
        await user.press(*"oldest")
        await user.sees("the oldest")


async def test_a_setting_that_hangs_does_not_hold_up_the_end(home: Home) -> None:
    gate = threading.Event()

    def hang(table: str, key: str, value: object) -> None:
        gate.wait(TIMEOUT_S)

    app = ChatApp(replace(home.setup(), save_setting=hang))
    async with app.run_test(size=NARROW) as pilot:
        user = User(app, pilot)
        await user.ready()
        app.bridge.save_setting("sampling", "top_k", 5)
    assert not app.bridge.close(timeout_s=0.1)
    assert not gate.is_set()
    gate.set()
    assert app.bridge.close()


# --- keys and cards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_theme_is_previewed_and_esc_puts_the_old_one_back(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        before = user.app.theme
        await user.press("f9")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.press("down")
        await user.until(lambda: user.app.theme != before, "no preview")
        await user.press("escape")
        await user.until(lambda: user.app.theme == before)
        assert home.saved == []
        await user.press("f9")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.press(*"dracula")
        await user.until(lambda: user.app.theme == "dracula")
        await user.press("enter")
        await user.until(lambda: home.saved == [("chat", "theme", "dracula")])


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_help_and_palette_open_and_close(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("f1")
        await user.until(lambda: isinstance(user.app.screen, KeyHelpScreen))
        await user.press("escape", "ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.press(*"help", "enter")
        await user.until(lambda: isinstance(user.app.screen, KeyHelpScreen))
        await user.press("escape")
        await user.until(lambda: isinstance(user.app.screen, ChatScreen))
        assert isinstance(user.screen.focused, Prompt)


async def test_slash_commands_do_what_keys_do(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await user.say("/etc/passwd is what?")
        await user.idle()
        assert user.said[0] == ("user", "/etc/passwd is what?")
        await user.say("/again")
        await user.sees("two")
        await user.idle()
        await user.say("/set top_k=all")
        await user.until(lambda: user.app.bridge.sampling.current.top_k == 0)
        await user.say("/set nonsense 1")
        await user.sees("There is no setting")
        await user.say("/new")
        await user.until(lambda: user.said == [])


async def test_ctrl_c_copies_or_stops_and_the_second_press_quits(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press(*"typed", "shift+home", "ctrl+c")
        assert user.app.clipboard == "typed"
        assert user.screen.chat.is_replying
        await user.press("end", "ctrl+c")
        await user.idle()
        await user.sees("Press Ctrl+C again to quit.")
        assert user.app.is_running
        await user.press("ctrl+c")
        await user.until(lambda: not user.app.is_running, "did not quit")


async def test_quitting_during_a_reply_keeps_it_and_ends_the_thread(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.press("ctrl+q")
    reply = home.stored()[0].path()[-1]
    assert reply.text.startswith("word0 word1 word2")
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


async def test_the_sheet_of_sliders_opens_over_the_prompt_and_closes(home: Home) -> None:
    async with chat(home.setup(), SMALL) as user:
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        await user.sees("temperature", "top-k", "max new", "↓ 4 more", "^O back")
        assert "top-p" not in user.seen
        await user.press(*["down"] * 5)
        await user.until(lambda: user.screen.focused.setting == "repetition_penalty")
        await user.press("down")
        await user.sees("min-p", "repetition", "seed", "fresh", "↑ 4 more")
        assert "temperature" not in user.seen
        await user.press("escape")
        await user.until(lambda: not user.screen.query(SamplingPanel), "still there")
        assert user.screen.prompt.has_focus


async def test_keys_that_are_moved_while_the_window_changes_its_size(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.say("hello")
        await user.idle()
        for size in (WIDE, SMALL, (5, 3), (1, 1), NARROW):
            await user.pilot.resize_terminal(*size)
            await user.press("ctrl+o", "right", "escape", "ctrl+s", "escape", "x")
        await user.pilot.pause()
        await user.sees("Two words.")


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (20, 6)])
async def test_nothing_breaks_on_a_tiny_screen(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.say("hello")
        await user.idle()
        for keys in (("ctrl+o", "right"), ("ctrl+s",), ("f1",), ("f8",), ("f9", "down"), ("ctrl+p", "down")):
            await user.press(*keys)
            await user.pilot.pause()
            await user.press("escape")
        assert user.said[-1] == ("assistant", "Two words.")


async def test_the_status_bar_counts_without_jumping(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace)), WIDE) as user:
        await user.say("count")
        places = set()
        released = []
        for tokens in (2, 20, 200):
            released.append(tokens)
            pace.step(tokens)
            await user.sees(f"word{sum(released) - 1} ")
            line = user.screen.query_one(StatusBar).render().plain
            assert "tok/s" in line
            places.add(tuple(map(line.index, ("●", "context", "first", "reused", "Esc stop"))))
        assert len(places) == 1


def test_importing_the_app_leaves_the_heavy_parts_out() -> None:
    code = (
        "import sys, llama_chat.ui.app\n"
        "heavy = ['torch', 'numpy', 'markdown_it', 'pygments', 'jinja2', 'llama_chat.engine']\n"
        "print(*[name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
