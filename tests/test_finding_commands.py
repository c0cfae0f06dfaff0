"""What comes first in the palette and in the list of models, and how little a chip stands out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import Home, User, chat
from test_themes import contrast
from textual.color import Color
from textual.widgets import Input

from llama_chat.chat.machine.devices import DeviceAccess
from llama_chat.paths import bundled_themes
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.offers import OFFERS, offers_beside
from llama_chat.ui.screens.models import ModelsScreen
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.widgets.filter_list import FilterList, Item, rank_of
from llama_chat.ui.widgets.hint_line import HintLine

THEMES = sorted(path.stem for path in bundled_themes().glob("*.toml") if path.stem != "ansi")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def palette(user: User, typed: str) -> list[str]:
    """What the palette lists for these letters."""
    await user.press("ctrl+p")
    await user.until(lambda: isinstance(user.app.screen, PickScreen), "no palette")
    items = user.app.screen.query_one(FilterList)
    all_ids = items.shown_ids
    user.app.screen.query_one(Input).value = typed
    await user.until(lambda: items.shown_ids != all_ids, "nothing is filtered")
    return items.shown_ids


async def test_what_begins_with_the_letters_comes_first_and_of_that_what_is_used_most(home: Home) -> None:
    async with chat(home.setup(FakeEngine())) as user:
        await user.ready()
        found = await palette(user, "se")
        assert found[:2] == ["sessions", "seed"]
        assert found.index("settings") < found.index("sampling") < found.index("presets")
        await user.press("escape")
        assert (await palette(user, "retry"))[0] == "regenerate"
        await user.press("escape")
        for _ in range(2):
            await palette(user, "seed")
            await user.press("enter")
            await user.until(lambda: user.app.screen is user.screen)
            user.screen.query_one(HintLine).clear()
        assert (await palette(user, "se"))[0] == "seed"


def test_a_name_counts_more_than_a_command_and_that_more_than_what_is_inside() -> None:
    item = Item("x", None, "sliders /set", name="sliders", other_names=("/set", "set"))  # type: ignore[arg-type]
    assert [rank_of(item, [word]) for word in ("sl", "se", "/se", "ide", "t")] == [0, 1, 1, 2, 3]


async def test_the_list_of_models_offers_what_can_be_fetched_with_size_and_fit(home: Home) -> None:
    fits = {offer.name: ShortFit("does not fit", 20 << 30, 8 << 30, "cpu", "BF16") for offer in OFFERS}
    asked: list[str] = []

    def fit_offers(device: str) -> dict[str, ShortFit]:
        asked.append(device)
        return fits

    access = DeviceAccess(lambda: None, lambda *_: None, fit_offers, lambda *_: None)  # type: ignore[arg-type, return-value]
    setup = replace(home.setup(FakeEngine()), devices=access, fit_of=lambda *_: None)
    async with chat(setup, (160, 48)) as user:
        await user.ready()
        await user.press("f4")
        await user.until(lambda: isinstance(user.app.screen, ModelsScreen))
        await user.sees("To be fetched", "Llama-3.1-8B-Instruct", "16.1 GB", "128k", "too big")
        assert asked == ["cpu"]
        user.app.screen.query_one(Input).value = "llama-3.1"
        await user.until(lambda: "SmolLM2-360M" not in user.seen)
        await user.sees("Llama-3.1-8B-Instruct")
        user.app.screen.query_one(Input).value = "xyz"
        await user.sees("No model has “xyz” in its name.")


def test_what_is_here_already_is_not_offered() -> None:
    names = [offer.name for offer in OFFERS]
    assert offers_beside([names[1].upper()]) == [offer for offer in OFFERS if offer.name != names[1]]


@pytest.mark.parametrize("theme", THEMES)
async def test_a_chip_is_calm_and_can_be_read(home: Home, theme: str) -> None:
    async with chat(home.setup()) as user:
        user.app.theme = theme
        prompt = user.screen.prompt
        prompt.insert("see ")
        prompt.put_in(prompt.chips.add_file("notes.md", "text", 4).label)
        await user.sees("[notes.md")
        style = prompt.get_component_rich_style("chip-area--chip")
        assert not style.reverse
        assert style.color is not None
        assert style.bgcolor is not None
        ink, ground = (Color.from_rich_color(each) for each in (style.color, style.bgcolor))
        assert contrast(ink, ground) >= 4.5
        assert contrast(ground, prompt.styles.background) < 2.0, "loud"
