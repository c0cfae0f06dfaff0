"""Makes the pictures in docs/, of the real chat with the real model: `python tests/take_screenshots.py`."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs
from textual.pilot import Pilot

from llama_chat.catalogue import DEFAULT, pull
from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.engines import engine_loader
from llama_chat.paths import Paths
from llama_chat.settings import ChatSettings, Settings
from llama_chat.ui.app import ChatApp
from llama_chat.ui.widgets.prompt import Prompt

DOCS = Path(__file__).parent.parent / "docs"
WITHIN_S = 120.0
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
    )


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Let the chat go on until the condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await pilot.pause(0.05)


async def take(model: Path, theme: str, size: tuple[int, int], name: str, *keys: str) -> None:
    """Ask the words one after the other, press the keys, and keep the picture."""
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
            (DOCS / f"{name}.svg").write_text(app.export_screenshot())


async def main() -> None:
    """Make every picture that the README shows."""
    model = pull(DEFAULT, platformdirs.user_cache_path("llama-chat-tests"), lambda _: None, threading.Event())
    await take(model, "ember", (160, 48), "chat-wide")
    await take(model, "ember", (80, 24), "chat-narrow")
    await take(model, "glacier", (120, 36), "themes", "f9", "down")


if __name__ == "__main__":
    asyncio.run(main())
