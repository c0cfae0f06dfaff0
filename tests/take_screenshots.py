"""Makes the pictures in docs/, of the real chat with the real model: `python tests/take_screenshots.py`."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs
from settling import strips_of
from textual.app import App
from textual.pilot import Pilot

from llama_chat.catalogue import DEFAULT, pull
from llama_chat.chat.farewell import close_bridge
from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.chat import build_setup as start_setup
from llama_chat.cli.engines import engine_loader
from llama_chat.paths import Paths
from llama_chat.replay import Player, build_timeline
from llama_chat.sessions import SessionStore
from llama_chat.settings import ChatSettings, LoadedSettings, Settings
from llama_chat.ui.app import ChatApp
from llama_chat.ui.first_run.model_step import ModelStep
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.widgets.prompt import Prompt
from llama_chat.walk.walk import open_walk

DOCS = Path(__file__).parent.parent / "docs"
WITHIN_S = 120.0
STORY = "Tell me about the fox and the river."
WORDS = (
    "What is two plus two?",
    "Write a short Python function that greets a fox by its name, and list what it does.",
)


def build_setup(home: Path, model: Path, theme: str) -> ChatSetup:
    """A chat with its files under `home`."""
    settings = replace(Settings(), chat=ChatSettings(theme=theme, seed=11))
    return ChatSetup(
        settings=settings,
        notices=(),
        paths=Paths(home / "config", home / "data", home / "cache", home / "log"),
        loader=engine_loader(model, settings.model),
        model_label=DEFAULT.title,
        pull=None,
        save_setting=lambda table, key, value: None,
        open_walk=open_walk,
    )


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Let the chat go on until the condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await pilot.pause(0.05)


async def take_inside(
    model: Path,
    size: tuple[int, int],
    name: str,
    *keys: str,
    sees: str,
    first: str = "",
    command: str = "",
    opened: str = "",
) -> None:
    """Ask for the story, press the keys once it is there, and keep the picture when it shows what is wanted.

    Args:
        model: its file.
        size: of the terminal.
        name: of the picture.
        keys: pressed one after the other.
        sees: the text that must be on the screen then.
        first: a key before the question; the reply is not waited for, then.
        command: said once the reply is there, before the keys.
        opened: the text that is waited for before the keys.
    """
    with tempfile.TemporaryDirectory() as folder:
        app = ChatApp(build_setup(Path(folder), model, "ember"))
        async with app.run_test(size=size) as pilot:
            chat = app.chat_screen.chat
            await until(pilot, lambda: chat.status.model_state == "ready")
            app.bridge.sampling.change(max_new_tokens=60)
            if first:
                await pilot.press(first)
            app.chat_screen.query_one(Prompt).text = STORY
            await pilot.press("enter")
            if not first:
                await until(pilot, lambda: not chat.is_replying)
            if command:
                app.chat_screen.query_one(Prompt).text = command
                await pilot.press("enter")
            await until(pilot, lambda: opened in seen(app))
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3)
            await until(pilot, lambda: sees in seen(app))
            await pilot.pause(1.0)
            keep(app, name)
        close_bridge(app.bridge)


def seen(app: App[object]) -> str:
    """The text on the terminal."""
    return "\n".join(strip.text for strip in strips_of(app))


async def take(
    model: Path, theme: str, size: tuple[int, int], name: str, *keys: str, is_replayed: bool = False
) -> None:
    """Ask the words one after the other, press the keys, and keep the picture; or that of the replay."""
    with tempfile.TemporaryDirectory() as folder:
        app = ChatApp(build_setup(Path(folder), model, theme))
        async with app.run_test(size=size) as pilot:
            chat = app.chat_screen.chat
            await until(pilot, lambda: chat.status.model_state == "ready")
            for words in WORDS:
                app.chat_screen.query_one(Prompt).text = words
                await pilot.press("enter")
                await until(pilot, lambda: not chat.is_replying)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3)
                await until(pilot, lambda: not chat.is_replying)
            keep(app, name)
        close_bridge(app.bridge)
        if is_replayed:
            await take_replay(app.setup.paths, theme, size, name)


def keep(app: App[object], name: str) -> None:
    """The picture of what stands on the screen."""
    (DOCS / f"{name}.svg").write_text(app.export_screenshot())


async def take_replay(paths: Paths, theme: str, size: tuple[int, int], name: str) -> None:
    """The session that was just written, in the midst of its replay."""
    store = SessionStore(paths.sessions_file)
    store.open()
    record = store.record(store.list()[0].id)
    app = ReplayApp(Player(build_timeline(record)), ReplayLooks(theme, paths.user_themes), ticks=False)
    async with app.run_test(size=size) as pilot:
        await pilot.press("5")
        await pilot.pause(0.3)
        keep(app, name)
    store.close()


async def take_first_run(size: tuple[int, int], name: str) -> None:
    """What a newcomer is offered on this machine; nothing is fetched."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        paths = Paths(home / "config", home / "data", home / "cache", home / "log")
        app = ChatApp(start_setup(LoadedSettings(Settings(), ()), paths, resume=None, continue_last=False))
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: bool(app.screen.query(ModelStep)))
            step = app.screen.query_one(ModelStep)
            await until(pilot, lambda: bool(step.known.fits))
            await pilot.press("enter")
            await pilot.pause(0.5)
            keep(app, name)
        close_bridge(app.bridge)


async def main() -> None:
    """Make every picture that the README shows."""
    model = pull(DEFAULT, platformdirs.user_cache_path("llama-chat-tests"), lambda _: None, threading.Event())
    await take(model, "ember", (160, 48), "chat-wide")
    await take(model, "ember", (80, 24), "chat-narrow")
    await take(model, "ember", (120, 30), "tree", "alt+l", "ctrl+r", "alt+t")
    await take(model, "glacier", (120, 36), "themes", "f9", "down")
    await take(model, "ember", (80, 24), "replay", is_replayed=True)
    await take_first_run((80, 24), "first-run")
    await take_inside(model, (120, 32), "tokens", "ctrl+t", "home", *["right"] * 3, sees="the model says")
    stepping = {"first": "alt+shift+j", "opened": "the model says"}
    await take_inside(model, (120, 32), "step", *["space"] * 4, "down", sees="number 5", **stepping)
    await take_inside(model, (160, 44), "sweep", "alt+shift+t", sees="distinct")
    walk = "/walk The capital of France is"
    await take_inside(
        model, (120, 36), "walk-screen", *["down"] * 8, sees="softmax(", command=walk, opened="Text to tokens"
    )


if __name__ == "__main__":
    asyncio.run(main())
