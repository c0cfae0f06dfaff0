"""The prompt: sending, new lines, pastes, and the keys that it keeps."""

import pytest
from textual import events
from textual.app import App, ComposeResult

from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.ui.widgets.prompt import CHIP_FROM_CHARACTERS, Prompt, without_controls

EDITING_KEYS = {"up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "f6", "f7"} | {
    f"ctrl+{letter}" for letter in "aefukwxvyjd"
}


class PromptApp(App[None]):
    def __init__(self, *, enter_sends: bool = True) -> None:
        super().__init__()
        self.enter_sends = enter_sends
        self.sent: list[str] = []
        self.has_quit = False

    def compose(self) -> ComposeResult:
        yield Prompt(enter_sends=self.enter_sends)

    def on_prompt_sent(self, event: Prompt.Sent) -> None:
        self.sent.append(event.text)

    async def action_quit(self) -> None:
        self.has_quit = True

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)


async def test_enter_sends_and_ctrl_j_makes_a_new_line() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await pilot.press("a", "ctrl+j", "b", "shift+enter", "alt+enter", "c", "enter")
        assert app.prompt.text == ""
    assert app.sent == ["a\nb\n\nc"]


async def test_the_setting_swaps_them() -> None:
    app = PromptApp(enter_sends=False)
    async with app.run_test() as pilot:
        await pilot.press("a", "enter", "b", "ctrl+j")
    assert app.sent == ["a\nb"]


def test_no_key_of_the_chat_takes_an_editing_key() -> None:
    taken = {key for action in KEY_ACTIONS if action.bound for key in action.keys}
    assert not taken & EDITING_KEYS


async def test_ctrl_z_is_not_undo_but_ctrl_underscore_is() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await pilot.press("a", "b")
        await pilot.press("ctrl+z")
        assert app.prompt.text == "ab"
        await pilot.press("ctrl+underscore")
        assert app.prompt.text == ""


async def test_ctrl_d_deletes_and_on_an_empty_prompt_quits() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await pilot.press("a", "b", "home", "ctrl+d")
        assert app.prompt.text == "b"
        assert not app.has_quit
        await pilot.press("ctrl+d", "ctrl+d")
        assert app.has_quit


async def test_a_paste_stays_whole_without_its_control_characters() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste("one\r\ntwo\rthree\x1b[31m\x00\ttab\x9b\x7f ‮bidi"))
        await pilot.pause()
        assert app.sent == []
        await pilot.press("enter")
    assert app.sent == ["one\ntwo\nthree[31m\ttab ‮bidi"]


def test_lone_surrogates_cannot_be_sent() -> None:
    assert without_controls("a\ud800b") == "ab"


async def test_a_long_paste_becomes_a_chip_and_is_sent_in_its_place() -> None:
    app = PromptApp()
    pasted = "x" * 12_345
    async with app.run_test() as pilot:
        await pilot.press("a", " ")
        app.prompt.post_message(events.Paste(pasted))
        app.prompt.post_message(events.Paste(pasted.upper()))
        await pilot.pause()
        assert app.prompt.text == "a [pasted 12,345 characters][pasted 12,345 characters #2]"
        await pilot.press(" ", "b")
        assert app.prompt.full_text == f"a {pasted}\n{pasted.upper()} b"
        await pilot.press("backspace", "backspace", "backspace")
        assert app.prompt.text == "a [pasted 12,345 characters]"
        await pilot.press("enter")
        assert app.sent == [f"a {pasted}"]
        app.prompt.clear_all()
        await pilot.press(*"[pasted", "space", "enter")
        assert app.sent[-1] == "[pasted "


@pytest.mark.parametrize(
    ("typed", "sent"),
    [(("a", ":"), "a:\n{}\nb"), (("a", "space"), "a {}\nb"), (("ctrl+j",), "\n{}\nb"), ((), "{}\nb")],
)
async def test_a_long_paste_does_not_stick_to_the_words_beside_it(typed: tuple[str, ...], sent: str) -> None:
    app = PromptApp()
    pasted = "x" * (CHIP_FROM_CHARACTERS + 1)
    async with app.run_test() as pilot:
        await pilot.press(*typed)
        app.prompt.post_message(events.Paste(pasted))
        await pilot.pause()
        await pilot.press("b", "enter")
    assert app.sent == [sent.format(pasted)]


async def test_a_chip_that_was_typed_means_itself() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        app.prompt.load_text("[pasted 12,345 characters]")
        await pilot.press("enter")
    assert app.sent == ["[pasted 12,345 characters]"]


async def test_words_that_could_not_be_sent_come_back_before_what_was_typed_since() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await pilot.press(*"since")
        app.prompt.take_back("y" * (CHIP_FROM_CHARACTERS + 1))
        await pilot.press("enter")
    assert app.sent == ["y" * (CHIP_FROM_CHARACTERS + 1) + "\nsince"]


@pytest.mark.parametrize("height", [12, 24, 48])
async def test_it_grows_with_its_text_to_a_third_of_the_screen(height: int) -> None:
    app = PromptApp()
    async with app.run_test(size=(40, height)) as pilot:
        await pilot.pause()
        assert app.prompt.outer_size.height == 3
        await pilot.press("a", "ctrl+j", "b")
        await pilot.pause()
        assert app.prompt.outer_size.height == min(4, height // 3)
        for _ in range(30):
            await pilot.press("ctrl+j")
        await pilot.pause()
        assert app.prompt.outer_size.height == pytest.approx(height / 3, abs=1)


async def test_markup_is_only_text() -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste("[/zz] [red]"))
        await pilot.pause()
        await pilot.press("enter")
    assert app.sent == ["[/zz] [red]"]


@pytest.mark.parametrize(
    ("keys", "text", "sent"),
    [
        ("a b d backspace c", "abc", []),
        ("a b c left X", "abXc", []),
        ("a b c ctrl+a X", "Xabc", []),
        ("a b ctrl+u c", "c", []),
        ("a b c left backspace X Y", "aXYc", []),
        ("a b enter c", "c", ["ab"]),
        ("a enter b enter c", "c", ["a", "b"]),
        ("a ctrl+k ctrl+j b", "a\nb", []),
    ],
)
async def test_keys_of_one_burst_count_in_their_order(keys: str, text: str, sent: list[str]) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        for key in keys.split():
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert app.prompt.text == text
    assert app.sent == sent


async def test_what_is_refused_comes_back_before_what_was_typed_since() -> None:
    class Refusing(PromptApp):
        def on_prompt_sent(self, event: Prompt.Sent) -> None:
            event.prompt.restore(event)

    app = Refusing()
    pasted = "x" * (CHIP_FROM_CHARACTERS + 1)
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste(pasted))
        for key in ("enter", "y"):
            app.prompt.post_message(events.Key(key, key if key == "y" else None))
        await pilot.pause()
        assert app.prompt.full_text in (f"{pasted}\ny", f"{pasted}y")  # typed before or after it was back
