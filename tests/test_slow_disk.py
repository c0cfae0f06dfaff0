"""A disk that does not answer, and words that are no path: the chat goes on, and says what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from test_attaching import CharacterEngine, until
from test_chat_app import Home, chat, home

from llama_chat.chat.backstage.counting import TokenCounter
from llama_chat.chat.machine.devices import DevicesFound
from llama_chat.chat.machine.recommending import Circumstances
from llama_chat.personas import save_persona
from llama_chat.ui.first_run import facts
from llama_chat.ui.screens.models import ModelList, ModelsScreen
from llama_chat.ui.screens.personas import PersonaScreen

__all__ = ["home"]

CODE = "```python\nprint(1)\n```\n"


class Gate:
    """Holds up a function until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch, module: str, name: str) -> None:
        self._is_open = threading.Event()
        self.is_reached = threading.Event()
        function = getattr(__import__(module, fromlist=[name]), name)

        def waits(*words: Any) -> Any:
            self.is_reached.set()
            assert self._is_open.wait(30)
            return function(*words)

        patch.setattr(f"{module}.{name}", waits)

    def open(self) -> None:
        self._is_open.set()


async def test_code_is_saved_while_the_user_writes(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gate = Gate(monkeypatch, "llama_chat.chat.code_files", "save_code")
    async with chat(home.setup(FakeEngine([CODE]))) as user:
        await user.say("code")
        await user.idle()
        await user.say("/code one.py")
        await until(gate.is_reached.is_set)
        await user.press(*"more")
        assert user.screen.prompt.text == "more"
        gate.open()
        await user.sees("Saved to")
        await user.press("ctrl+u")
        await user.say("/code ~nobody/" + "x" * 300)
        await user.until(lambda: "cannot be written" in user.screen._hint_line.text, "not said")
        assert user.screen.prompt.text.startswith("/code ~nobody/")
    assert (tmp_path / "one.py").read_text() == "print(1)\n"


async def test_personas_are_read_beside_the_screen(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    save_persona(home.paths.prompts / "pirate.md", "Pirate", "Arr.")
    gate = Gate(monkeypatch, "llama_chat.chat.picks.persona_shelf", "load_personas")
    async with chat(home.setup()) as user:
        await user.press("alt+r")
        await user.until(lambda: isinstance(user.app.screen, PersonaScreen))
        await user.sees("Teacher")
        assert "Pirate" not in user.seen
        gate.open()
        await user.sees("Pirate")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await user.say("/persona nobody")
        await user.sees("There is no persona 'nobody'.")
        assert user.screen.prompt.text == "/persona nobody"
        await user.say("/persona pirate")
        await user.until(lambda: user.screen.chat.conversation.system == "Arr.", "not taken")


async def test_the_path_of_a_model_is_looked_at_beside_the_screen(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "llama_chat.ui.screens.models", "path_completions")
    async with chat(home.setup()) as user:
        await user.press("f4")
        await user.until(lambda: isinstance(user.app.screen, ModelsScreen))
        models = user.app.screen.query_one(ModelList)
        await user.press(*"~nobody/")
        await user.sees("~nobody/")
        gate.open()
        await user.until(lambda: models.highlighted_id == "path:~nobody/")
        await user.press("enter")
        await user.until(lambda: user.app.screen is user.screen)


async def test_no_command_ends_the_chat(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(36, "File name too long")

    async with chat(home.setup()) as user:
        monkeypatch.setattr("llama_chat.ui.screens.chat.ChatScreen.action_export", fails, raising=True)
        await user.say("/export md x")
        await user.sees("That did not work: [Errno 36] File name too long.")
        assert user.screen.prompt.text == "/export md x"


class Access:
    """A machine that is asked: `find` answers, the rest fails."""

    def find(self) -> DevicesFound:
        return self.found

    def __init__(self, found: Any) -> None:
        self.found = found

    def fit_offers(self, _device: str) -> Any:
        raise RuntimeError("no driver")


def test_what_was_found_of_a_machine_stays_though_the_rest_fails(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[DevicesFound | None, str]] = []

    def tell(found: DevicesFound | None, _known: Circumstances, why: str) -> None:
        told.append((found, why))

    class Found:
        class best:  # noqa: N801  (stands for an object)
            name = "cpu"

    access: Any = Access(Found)
    facts.gather(access, home.paths, tell)
    assert [why for _, why in told] == [""]

    def fails() -> bool:
        raise PermissionError(13, "Permission denied")

    told.clear()
    monkeypatch.setattr(facts, "has_token", fails)
    facts.gather(access, home.paths, tell)
    assert [found for found, _ in told] == [None]
    assert "Permission denied" in told[0][1]


def test_counting_outlives_a_screen_that_is_gone() -> None:
    engine = CharacterEngine()

    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    def ask(function: Callable[[Any], Any]) -> Any:
        return function(engine)

    counter, ended = TokenCounter(ask, gone), threading.Event()
    hook, threading.excepthook = threading.excepthook, lambda _: ended.set()
    try:
        counter.want(("one",), "")
        while counter.overhead_of("") is None and not ended.wait(0.01):
            pass
    finally:
        threading.excepthook = hook
    assert not ended.is_set()
    assert counter.count_of("one") == 3
