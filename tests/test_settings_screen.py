"""The screen of all settings: what it lists, what it takes, and when that counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_engine import FakeEngine
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat, home  # noqa: F401  (the fixture)
from textual.widgets import Input

from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.errors import SettingsError
from llama_chat.settings import ChatSettings, ModelSettings, Settings, setting_fields
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.setting_value import ValueScreen, shown_in_list, typed_value
from llama_chat.ui.screens.settings import SettingsScreen
from llama_chat.ui.widgets.filter_list import FilterList
from llama_chat.ui.widgets.slider import Slider


async def open_at(user: User, name: str) -> None:
    """The screen of settings, with the cursor on one of them."""
    await user.ready()
    await user.press("f12")
    await user.until(lambda: isinstance(user.app.screen, SettingsScreen))
    user.app.screen.query_one(Input).value = name
    await user.until(lambda: user.app.screen.query_one(FilterList).highlighted_id == name)


async def back(user: User) -> None:
    await user.until(lambda: isinstance(user.app.screen, SettingsScreen), "the card is still open")


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_every_setting_is_there_with_its_help(home: Home, size) -> None:  # noqa: F811
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.say("/settings")
        await user.until(lambda: isinstance(user.app.screen, SettingsScreen))
        await user.sees("Settings", "model", "Esc")
        shown = user.app.screen.query_one(FilterList).shown_ids
        assert shown[: len(setting_fields())] == list(setting_fields())
        assert shown[len(setting_fields()) :] == [f"keys.{action.name}" for action in KEY_ACTIONS]
        await user.press("escape")
        await open_at(user, "top_k")
        await user.sees("40", "likeliest")
        await user.press("f12")
        await user.until(lambda: user.app.screen is user.screen)


async def test_it_says_where_a_value_comes_from(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("LLAMA_CHAT_TOP_P", "0.9")
    home.paths.config.mkdir()
    home.paths.settings_file.write_text("[sampling]\n# words\ntemperature = 0.5\n")
    settings = Settings(model=ModelSettings(threads=3))
    settings = replace(settings, sampling=replace(settings.sampling, temperature=0.5, top_p=0.9))
    async with chat(replace(home.setup(), settings=settings), WIDE) as user:
        await user.ready()
        await user.press("f12")
        await user.sees("line 3 of settings.toml", "LLAMA_CHAT_TOP_P", "the command line", "default")


async def test_a_switch_is_turned_and_counts_at_once(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await open_at(user, "enter_sends")
        await user.press("enter")
        await user.sees("Saved. It counts from now on.")
        await user.until(lambda: home.saved == [("chat", "enter_sends", False)])
        assert user.screen.prompt.enter_sends is False
        await user.press("delete")
        await user.until(lambda: home.saved[1:] == [("chat", "enter_sends", True)])
        assert user.screen.prompt.enter_sends is True


async def test_a_disk_that_refuses_is_told_of_where_saved_would_stand(home: Home) -> None:  # noqa: F811
    def refuse(table: str, key: str, value: object) -> None:
        raise SettingsError("settings.toml cannot be written.")

    async with chat(replace(home.setup(), save_setting=refuse)) as user:
        await open_at(user, "enter_sends")
        await user.press("enter")
        await user.sees("Not saved: settings.toml cannot be written. It counts from now on.")
        assert "Saved." not in user.seen


async def test_a_number_is_typed_checked_and_moves_its_slider(home: Home) -> None:  # noqa: F811
    async with chat(home.setup(), WIDE) as user:
        await open_at(user, "top_k")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, ValueScreen))
        await user.press(*"-1", "enter")
        await user.sees("'-1' is outside 0 to 1,000,000.")
        user.app.screen.query_one(Input).value = "[/zz] \x1b]0;x\x07"
        await user.press("enter")
        await user.sees("is not a whole number")
        user.app.screen.query_one(Input).value = "all"
        await user.press("enter")
        await back(user)
        await user.sees("It counts from the next token on.")
        assert user.screen.bridge.sampling.current.top_k == 0
        sliders = {slider.setting: slider.value for slider in user.screen.query(Slider)}
        assert sliders["top_k"] == 0
        await user.until(lambda: home.saved == [("sampling", "top_k", 0)])


async def test_a_choice_is_picked_and_waits_for_the_next_start(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await open_at(user, "dtype")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.press(*"int8", "enter")
        await back(user)
        await user.sees("It counts from the next start on.", "changed here")
        await user.until(lambda: home.saved == [("model", "dtype", "int8")])


async def test_esc_on_a_card_changes_nothing(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await open_at(user, "threads")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, ValueScreen))
        await user.press("7", "escape")
        await back(user)
        await user.press("escape")
        assert user.screen.prompt.text == ""
    assert home.saved == []


async def test_the_theme_is_chosen_with_its_preview(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await open_at(user, "theme")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.press(*"midnight", "enter")
        await back(user)
        await user.until(lambda: user.app.theme == "midnight")
        await user.sees("midnight")
        assert home.saved == [("chat", "theme", "midnight")]


async def test_seed_and_system_prompt_count_for_what_comes_next(home: Home) -> None:  # noqa: F811
    engine = FakeEngine(["One.", "Two."])
    async with chat(home.setup(engine)) as user:
        await open_at(user, "seed")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, ValueScreen))
        user.app.screen.query_one(Input).value = "77"
        await user.press("enter")
        await back(user)
        user.app.screen.query_one(FilterList).query_one(Input).value = "system"
        await user.until(lambda: user.app.screen.query_one(FilterList).highlighted_id == "system")
        await user.press("enter", *"Be brief.", "ctrl+s")
        await back(user)
        await user.sees("in new chats")
        await user.press("escape", "ctrl+n")
        await user.say("hello")
        await user.sees("One.")
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1].reply
        assert reply is not None
        assert reply.seed == 77
    assert "Be brief." in engine.prompts[0]


def test_values_are_shown_short_and_safe() -> None:
    assert shown_in_list("system", "a\n\x1b[31m" + "b" * 99).endswith("…")
    assert shown_in_list("system", "\x1b[31m").isprintable()
    assert shown_in_list("top_k", 0) == "all"
    assert shown_in_list("model", "") == "–"
    assert shown_in_list("enter_sends", True) == "on"
    assert typed_value("enter_sends", "off") is False
    with pytest.raises(ValueError, match="is none of"):
        typed_value("notify", "loudly")


def test_the_defaults_of_the_chat_say_nothing_by_themselves() -> None:
    assert (ChatSettings().notify, ChatSettings().reduced_motion) == ("off", False)
