"""The hands at the prompt: completion, what was said before, the user's editor, words that wait."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from textual.widgets import Input

from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.chat.prompt.completing import command_offers, typed_in
from llama_chat.chat.prompt.path_offers import list_folder
from llama_chat.chat.prompt.recall import Walk
from llama_chat.chat.prompt.typed_path import going_on
from llama_chat.conversation import Message, Role
from llama_chat.editor import edit_text
from llama_chat.errors import ModelError, SettingsError
from llama_chat.sessions import SessionStore
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.session_card import SessionCard
from llama_chat.ui.widgets.completion_list import CompletionList
from llama_chat.ui.widgets.slider import Slider
from llama_chat.ui.widgets.waiting_line import WaitingLine


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def offered(user: User) -> list[str]:
    return [offer.name for offer in user.screen.completer.offers]


def written(user: User) -> str:
    return user.screen.prompt.text


async def writes(user: User, text: str) -> None:
    """Wait until this stands in the prompt."""
    await user.until(lambda: written(user) == text, f"{text!r} is not the prompt {written(user)!r}")


async def says(user: User, part: str) -> None:
    line = user.screen._hint_line
    await user.until(lambda: part in line.text, f"{part!r} is not the hint {line.text!r}")


def store_said(home: Home, *texts: str, at: float = 1_780_000_000.0, title: str = "An old talk") -> str:
    """A session in which the user said this; its id."""
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title=title, model=INFO.name, date="2026-11-20")
    parent = None
    for place, text in enumerate(texts):
        message = Message(f"{info.id}-{place}", parent, Role.USER, text, at + place)
        store.add_messages(info.id, [message], message.id)
        parent = message.id
    store.close()
    return info.id


# --- slash commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_slash_lists_the_commands_right_above_the_prompt(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("slash")
        await user.sees("/stop")
        found = user.screen.query_one(CompletionList)
        assert found.region.bottom == user.screen.prompt.region.y
        assert found.region.height <= max(2, size[1] // 3)
        await user.press(*"them")
        await user.until(lambda: offered(user) == ["/theme"])
        await user.press("escape")
        await user.until(lambda: not found.display, "Esc does not close it")
        assert written(user) == "/them"
        assert user.screen.prompt.has_focus


async def test_enter_takes_the_marked_command_and_runs_it(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"/sessi", "enter")
        await user.until(lambda: isinstance(user.app.screen, SessionCard), "not run")
        assert written(user) == ""


async def test_a_whole_command_is_sent_though_another_begins_so(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"/set")
        await user.until(lambda: "/settings" in offered(user))
        await user.press("enter")
        await user.until(lambda: isinstance(user.screen.focused, Slider), "Enter was stolen")


async def test_words_of_a_command_are_completed_from_what_there_is(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"/them", "tab")
        await writes(user, "/theme ")
        await user.until(lambda: "fjord" in offered(user))
        await user.press(*"fj")
        await user.until(lambda: offered(user) == ["fjord"])
        await user.press("enter")
        await user.until(lambda: user.app.theme == "fjord", "not taken")
        await user.press(*"/set top", "down", "tab")
        await writes(user, "/set top_p ")


async def test_a_row_is_taken_by_a_click(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"/s")
        await user.until(lambda: len(offered(user)) > 1)
        await user.press("a")
        await user.until(lambda: offered(user)[:1] == ["/save"])
        rows = user.screen.query_one(CompletionList)
        await user.until(lambda: rows.region.height == len(offered(user)), "the list is not laid out")
        await user.pilot.click(CompletionList, offset=(4, offered(user).index("/save")))
        await says(user, "There is nothing to keep yet")


async def test_load_finds_sessions_by_their_title(home: Home) -> None:
    store_said(home, "x", title="The fox and the river")
    store_said(home, "y", title="Sums")
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"/load ")
        await user.until(lambda: offered(user) == ["Sums", "The fox and the river"])
        await user.press(*"fox", "enter")
        await user.until(lambda: isinstance(user.app.screen, SessionCard), "no list")
        await user.until(lambda: user.app.screen.query_one(Input).value == "fox", "not filtered")
        await user.sees("The fox and the river")
        assert "Sums" not in user.seen


def test_every_name_finds_its_command() -> None:
    for action in KEY_ACTIONS:
        for name in filter(None, (action.command, *action.aliases)):
            assert command_offers(name)[0].name == action.command
    assert command_offers("/retr")[0].help.endswith("(also /retry)")


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ("/", "command", "/"),
        ("/?", "command", "/?"),
        ("/load the f", "words", "the f"),
        ("/quit no", None, ""),  # it takes nothing
        ("/etc/hosts", None, ""),
        (" /set", None, ""),
        ("see @", "path", ""),
        ("see (@no", "path", "no"),
        (r"@my\ notes/a", "path", "my notes/a"),
        ("me@home", None, ""),
        ("@notes.md and", None, ""),
    ],
)
def test_what_can_be_completed(line: str, kind: str | None, text: str) -> None:
    typed = typed_in(line, len(line), is_only_line=True)
    assert (typed and typed.kind, typed.text if typed else "") == (kind, text)


# --- paths ----------------------------------------------------------------------------------------------


async def test_a_file_behind_an_at_is_attached_by_way_of_its_folder(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "my notes").mkdir(parents=True)
    (tmp_path / "here" / "my notes" / "fox.md").write_text("The fox is red.\n")
    monkeypatch.chdir(tmp_path / "here")
    engine = FakeEngine(["ok"])
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.press(*"read @my")
        await user.until(lambda: offered(user) == ["my notes/"])
        await user.press("tab")
        await writes(user, r"read @my\ notes/")
        await user.until(lambda: offered(user) == ["fox.md"])
        await user.press("down", "enter")
        await user.until(lambda: "The fox is red." in user.screen.prompt.full_text, "not attached")
        assert "@" not in written(user)
        await user.press("enter")
        await user.sees("ok")
    assert "The fox is red." in str(engine.prompts[-1])


def test_hidden_entries_come_behind_a_dot_only(tmp_path: Path) -> None:
    for name in (".secret", "notes.md", "Zoo"):
        (tmp_path / name).mkdir() if name == "Zoo" else (tmp_path / name).touch()
    entries = list_folder(f"{tmp_path}/")
    assert [offer.name for offer in going_on(entries, "")] == ["Zoo/", "notes.md"]
    assert [offer.name for offer in going_on(entries, ".")] == [".secret"]
    assert list_folder(f"{tmp_path}/none/") == []


# --- what was said --------------------------------------------------------------------------------------


async def test_up_goes_through_what_was_said_and_down_comes_back_to_the_draft(home: Home) -> None:
    store_said(home, "oldest", "first line\nsecond line")
    store_said(home, "newest", at=1_790_000_000.0)
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/undo")
        await user.press("up")
        await writes(user, "/undo")
        await user.press("up", "up")
        await writes(user, "first line\nsecond line")
        assert user.screen.prompt.cursor_location == (0, 10)
        await user.press("up", "up")
        await writes(user, "oldest")
        await user.press("down")
        await writes(user, "first line\nsecond line")
        await user.press("down", "down", "down")
        await writes(user, "")


async def test_what_is_typed_is_how_it_must_begin(home: Home) -> None:
    store_said(home, "tell me of foxes", "what is new", "tell me of rivers")
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"gone", "ctrl+a", "ctrl+shift+k", *"tell", "up")
        await writes(user, "tell me of rivers")
        await user.press("up")
        await writes(user, "tell me of foxes")
        await user.press("down", "down")
        await writes(user, "tell")
        await user.press(*"x", "up")
        await says(user, "Nothing that was said begins so.")
        assert written(user) == "tellx"


async def test_deleted_sessions_are_not_remembered(home: Home) -> None:
    doomed = store_said(home, "secret")
    store_said(home, "public", at=1_770_000_000.0)
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("up")
        await writes(user, "secret")
        await user.press("down")
        await writes(user, "")
        user.screen.bridge.call(user.screen.bridge.store.delete, doomed).result(5)
        await user.press("up")
        await writes(user, "public")


async def test_the_list_of_what_was_said_puts_it_into_the_prompt(home: Home) -> None:
    store_said(home, "tell me of foxes", "[/zz] what\nis new")
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press(*"draft", "alt+h")
        await user.sees("[/zz] what is new", "2 lines")
        await user.press(*"fox", "enter")
        await writes(user, "tell me of foxes")
        await user.press("down", "down")
        await writes(user, "draft")
        await user.press("escape")
        user.screen.prompt.clear_all()
        await user.say("/history new")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.until(lambda: "foxes" not in user.seen, "not filtered")


def test_a_walk_ends_at_both_ends() -> None:
    walk = Walk(["b2", "a", "b1", "b"], "b")
    assert [walk.step(1), walk.text, walk.step(1), walk.text, walk.step(1)] == [True, "b2", True, "b1", False]
    assert [walk.step(-1), walk.step(-1), walk.text, walk.is_at_draft, walk.step(-1)] == [
        True, True, "b", True, False,
    ]  # fmt: skip


# --- the editor -----------------------------------------------------------------------------------------


def an_editor(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is given an option and the file."""
    program = folder / "my editor"
    program.write_text(f'#!/bin/sh\n[ "$1" = --wait ] || exit 9\n{script}\n')
    program.chmod(0o700)
    monkeypatch.setenv("VISUAL", f"'{program}' --wait")


def test_the_editor_has_the_text_in_a_private_file_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'echo "$2" > where; ls -ln "$2" > mode; cat "$2" > had; echo "new \u00e9" > "$2"'
    an_editor(tmp_path, script, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert edit_text("old\nlines") == "new \u00e9"
    where = Path((tmp_path / "where").read_text().strip())
    assert (where.suffix, where.exists(), where.parent.exists()) == (".md", False, False)
    assert (tmp_path / "mode").read_text().startswith("-rw-------")
    assert (tmp_path / "had").read_text() == "old\nlines"


@pytest.mark.parametrize(
    ("script", "becomes"),
    [("true", "old"), (': > "$2"', ""), ('rm "$2"', "old"), ('printf "a\\n\\n" > "$2"', "a\n")],
)
def test_what_the_editor_leaves_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, becomes: str
) -> None:
    an_editor(tmp_path, script, monkeypatch)
    assert edit_text("old") == becomes


@pytest.mark.parametrize(
    ("script", "why"), [("exit 3", "ended with status 3"), ('printf "\\377" > "$2"', "not in UTF-8")]
)
def test_an_editor_that_fails_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    an_editor(tmp_path, script, monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # what cannot be taken stays there
    with pytest.raises(SettingsError, match=why):
        edit_text("old")


async def test_the_prompt_is_written_in_the_editor_while_a_reply_goes_on(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(is_stepped=True)
    an_editor(tmp_path, 'printf "[/zz] \\033[2J better" > "$2"', monkeypatch)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.press(*"worse", "ctrl+g")
        await says(user, "No editor can be opened on this terminal.")  # the one of the tests
        monkeypatch.setattr(user.app, "suspend", contextlib.nullcontext)
        await user.press("ctrl+g")
        await writes(user, "[/zz] [2J better")
        user.screen.prompt.clear_all()
        monkeypatch.setenv("VISUAL", str(tmp_path / "none"))
        await user.say("/editor")
        await says(user, "does not start")
        assert user.said == []


# --- words that wait ------------------------------------------------------------------------------------


async def test_words_wait_for_the_end_of_the_reply_and_are_sent(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine(["one two", "three"], pace=pace))) as user:
        await user.say("count")
        pace.step(1)
        await user.sees("one")
        await user.say("and on")
        await user.sees("waiting: and on · Alt+Q takes it back")
        await user.say("please")
        await user.sees("2 waiting, sent as one turn: and on please · Alt+Q takes them back")
        assert written(user) == ""
        pace.step(9)
        await user.sees("three")
        await user.until(lambda: not user.screen.query_one(WaitingLine).display)
        await user.idle()
        assert [text for role, text in user.said if role == "user"] == ["count", "and on\nplease"]


async def test_waiting_words_are_taken_back(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.ready()
        await user.press("alt+q")
        await says(user, "No words wait")
        await user.say("count")
        pace.step(1)
        await user.sees("word0")
        await user.say("no, wait")
        await user.sees("waiting: no, wait")
        assert user.screen.unsent == "no, wait"
        await user.press("alt+q")
        await writes(user, "no, wait")
        await user.until(lambda: "waiting:" not in user.seen)
        await user.press("enter")
        await user.sees("waiting: no, wait")
        await user.press(*"more", "escape")  # the reply is stopped: nothing is sent by that
        await user.idle()
        await writes(user, "no, wait\nmore")
        await says(user, "in the prompt again")
        assert len(user.said) == 2


async def test_words_that_wait_come_back_when_the_model_cannot_be_loaded(home: Home) -> None:
    gate = threading.Event()
    loader = loader_of(FakeEngine(), errors=[ModelError("No such model.")], gate=gate)
    async with chat(home.setup(loader=loader)) as user:
        await user.say("first")
        await user.sees("waits for the model")
        await user.say("second")
        await user.sees("waiting: second")
        gate.set()
        await writes(user, "first\nsecond")
        assert user.said == []


def test_the_store_tells_what_was_said_last(home: Home) -> None:
    store_said(home, "twice", "once")
    store_said(home, "imported just now", "  ", at=1_500_000_000.0)
    doomed = store_said(home, "deleted", at=1_790_000_000.0)
    store_said(home, "twice", at=1_785_000_000.0)
    store = SessionStore(home.paths.sessions_file)
    store.open()
    store.delete(doomed)
    assert store.last_said() == ["twice", "once", "imported just now"]
    assert store.last_said(1) == ["twice"]
    store.close()
