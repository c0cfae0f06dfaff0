"""Slash commands in the chat: none of them crashes it, and none goes to the model by mistake."""

import pytest
from fake_engine import FakeEngine
from test_chat_app import NARROW, WIDE, Home, chat, home  # noqa: F401  (the fixture)

from llama_chat.chat.keys import COMMANDS
from llama_chat.ui.widgets.slider import Slider


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_set_alone_goes_to_the_sliders(home: Home, size) -> None:  # noqa: F811
    async with chat(home.setup(), size) as user:
        await user.ready()
        for _ in range(3):
            user.screen.prompt.focus()
            await user.say("/set")
            await user.until(lambda: isinstance(user.screen.focused, Slider), "no slider has the focus")
            await user.press("escape")


@pytest.mark.parametrize("command", [name for name, key in COMMANDS.items() if key.action != "quit"])
@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_every_command_leaves_the_chat_alive(home: Home, size, command: str) -> None:  # noqa: F811
    engine = FakeEngine(["Two words."])
    async with chat(home.setup(engine), size) as user:
        await user.ready()
        await user.say(command)
        await user.press("escape", "escape")
        user.screen.prompt.focus()
        await user.say("hello")
        await user.sees("Two words.")
        await user.idle()
    assert all(command not in prompt for prompt in engine.prompts)


async def test_a_slip_is_named_and_stays_in_the_prompt(home: Home) -> None:  # noqa: F811
    engine = FakeEngine(["Two words."])
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.say("/nonsense")
        await user.sees("There is no command /nonsense")
        assert user.screen.prompt.text == "/nonsense"
    assert engine.prompts == []


async def test_a_theme_can_be_named(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/theme fjord")
        await user.until(lambda: user.app.theme == "fjord")
        await user.until(lambda: ("chat", "theme", "fjord") in home.saved)
        await user.say("/theme no-such")
        await user.sees("There is no theme no-such")


async def test_a_value_out_of_range_is_refused(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/set temperature 99")
        await user.sees("temperature")
        assert user.screen.bridge.sampling.current.temperature == 0.7
