"""Words that could not be taken come back to where they belong; what is written is not lost on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine
from test_chat_app import Home, User, chat
from test_chat_opening import SlowStore, keep_talks
from test_prompt_hands import an_editor, writes

from llama_chat.editor import edit_text
from llama_chat.errors import SettingsError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def talk(user: User, *words: str) -> None:
    for each in words:
        await user.say(each)
        await user.sees(each)
        await user.idle()


async def test_an_edit_that_is_refused_comes_back_into_its_place(home: Home) -> None:
    engine = FakeEngine(["one.", "two."], info=replace(INFO, context_length=48))
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second")
        first = user.screen.chat.conversation.path()[0]
        assert user.screen.chat.edit(first.id, "long " * 80)
        await user.until(lambda: user.screen.prompt.text.startswith("long long"), "the words are lost")
        assert user.screen.editing.message == first, "Enter would say it at the end"
        user.screen.prompt.text = "other"
        await user.press("enter")
        await user.until(lambda: user.said[0] == ("user", "other"), str(user.said))


async def test_a_system_prompt_for_a_session_that_is_being_read_waits_for_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "remember me")
    store = SlowStore(monkeypatch)
    engine = FakeEngine(["Yes."])
    async with chat(home.setup(engine, continue_last=True)) as user:
        await user.ready()
        await user.say("/system Be brief.")
        await user.sees("The session is still being read.")
        await user.say("more")
        store.go_on.set()
        await user.sees("remember me", "more", "Yes.")
        await user.idle()
        assert user.screen.chat.conversation.system == "Be brief."
        assert "Be brief." in engine.prompts[-1]
    monkeypatch.undo()
    assert home.stored()[0].system == "Be brief."


async def test_a_draft_is_found_again_after_older_words_were_changed(home: Home) -> None:
    async with chat(home.setup()) as user:
        await talk(user, "ask the river", "and wait")
        await user.press(*"a")
        await user.press("up")
        await writes(user, "and wait")
        await user.press("up")
        await writes(user, "ask the river")
        await user.press("end", "!", "up")
        await user.until(lambda: "a" in user.screen.history.said.with_stored(()), "the draft is lost")


def test_what_an_editor_left_stays_when_it_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    an_editor(tmp_path, 'echo "new words" > "$2"; exit 3', monkeypatch)
    with pytest.raises(SettingsError, match="ended with status 3") as failure:
        edit_text("old")
    (kept,) = folder.glob("*/*")
    assert str(kept) in failure.value.hint
    assert kept.read_text() == "new words\n"
    an_editor(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(SettingsError):
        edit_text("old")
    assert [*folder.glob("*/*")] == [kept], "nothing was written, so nothing needs to stay"


def test_what_an_editor_left_stays_when_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    an_editor(tmp_path, 'rm "$2"; mkdir "$2"; echo "new words" > "$2/them"', monkeypatch)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory") as failure:
        edit_text("old")
    (kept,) = folder.glob("*/*")
    assert str(kept) in failure.value.hint
    assert (kept / "them").read_text() == "new words\n"
