"""How the token view looks, as in `test_looks`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import token_stage
from looks_stage import camera_of, stand_still
from test_chat_app import Home, chat
from test_looks import looks
from test_token_view import opened

from llama_chat.settings import ChatSettings
from llama_chat.ui.tokens.help import TokenHelp


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    yield from stand_still(monkeypatch, tmp_path)


@looks
async def test_the_tokens(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    home = Home(tmp_path / "home")
    token_stage.fill(home)
    async with chat(home.setup(chat=ChatSettings(theme=theme), continue_last=True), size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        await user.until(lambda: len(user.said) == 2, "the tale is not open")
        screen = await opened(user)
        await user.until(lambda: len(screen.sheet.names) == len(token_stage.VOCABULARY), "no names")
        await user.press("right", "right", "right", "right", "right", "right")
        await camera.shoot("tokens")
        await user.press("enter")
        await user.until(lambda: screen.panel.bars.has_focus, "no candidates")
        screen.panel.move_slider("temperature", 1.3)
        screen.panel.move_slider("top_k", 3)
        await user.press("down")
        await camera.shoot("tokens-reshaped")
        await user.press("question_mark")
        await user.until(lambda: isinstance(user.app.screen, TokenHelp), "no keys")
        await camera.shoot("tokens-keys")
    camera.judge()


@looks
async def test_words_without_tokens(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    home = Home(tmp_path / "home")
    token_stage.fill(home, has_tokens=False)
    async with chat(home.setup(chat=ChatSettings(theme=theme), continue_last=True), size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        await user.until(lambda: len(user.said) == 2, "the tale is not open")
        await user.press("ctrl+t")
        await user.sees("came from elsewhere")
        await camera.shoot("tokens-unknown")
    camera.judge()
