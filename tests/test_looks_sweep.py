"""How the sweep looks, as in `test_looks`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from looks_stage import camera_of, stand_still
from sweep_stage import WordNetwork, loader_of_words
from test_chat_app import Home, chat
from test_looks import looks
from test_sweep_screen import opened, over

from llama_chat.settings import ChatSettings


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    yield from stand_still(monkeypatch, tmp_path)


@looks
async def test_a_sweep(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    loader = loader_of_words(WordNetwork())
    setup = Home(tmp_path / "home").setup(loader=loader, chat=ChatSettings(theme=theme, seed=7))
    async with chat(setup, size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        screen = await opened(user, "Tell me about the fox and the river.")
        await over(user, screen)
        await user.press("right", "right", "down", "down", "down")
        await user.until(lambda: (screen.chosen, screen.index) == (2, 3), "no cursor")
        await camera.shoot("sweep")
    camera.judge()
