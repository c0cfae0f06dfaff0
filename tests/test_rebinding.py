"""Keys that the user gives to the actions: what is taken, what is refused and why; the screen obeys."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import NARROW, WIDE, Home, chat, home  # noqa: F401  (the fixture)
from textual.binding import BindingsMap
from textual.widgets import TextArea

from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.key_wishes import KeyWish
from llama_chat.settings import Settings, load_settings
from llama_chat.ui.key_watch import KeyLook, KeyWatch
from llama_chat.ui.rebinding import EDITING_KEYS, ChatKeys, parsed_key, rebound
from llama_chat.ui.screens.key_help import KeyHelpScreen
from llama_chat.ui.screens.pick import PickScreen

WANTED = 'must be a key ("ctrl+g"), a list of keys, or "" for none. The default stays.'


def keys_for(**wishes: str | list[str]) -> ChatKeys:
    return rebound(
        KeyWish(name, tuple([keys] if isinstance(keys, str) else keys), f"settings.toml line {n}")
        for n, (name, keys) in enumerate(wishes.items(), 2)
    )


# --- the file ------------------------------------------------------------------------------------------


def test_the_file_gives_keys_with_their_lines_and_names_what_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(
        '[keys]\nregenerate = "ctrl+g"\nsessions = ["ctrl+l", "f2"]\nrename = ""\nsend = 7\n"a b" = [1]\n'
    )
    loaded = load_settings(path, {}, {})
    assert loaded.settings.keys == (
        KeyWish("regenerate", ("ctrl+g",), "settings.toml line 2"),
        KeyWish("sessions", ("ctrl+l", "f2"), "settings.toml line 3"),
        KeyWish("rename", (), "settings.toml line 4"),
    )
    seven, ones = loaded.notices
    assert seven.startswith("settings.toml line 5: keys.send = 7 must be a key")
    assert "line 6" in ones


def test_a_table_that_is_none_and_a_slip_in_its_name_are_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('keys = "ctrl+g"\n')
    assert "must be a table, [keys]" in load_settings(path, {}, {}).notices[0]
    path.write_text('[key]\nregenerate = "ctrl+g"\n')
    assert "('keys' is one)" in load_settings(path, {}, {}).notices[0]


# --- what is taken -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Ctrl+G", "ctrl+g"), ("^g", "ctrl+g"), ("control + g", "ctrl+g"), ("shift+ctrl+f5", "ctrl+shift+f5"),
        ("Esc", "escape"), ("alt+PgUp", "alt+pageup"), ("ctrl+/", "ctrl+slash"), ("F11", "f11"),
    ],
)  # fmt: skip
def test_keys_are_read_however_they_are_written(text: str, key: str) -> None:
    assert parsed_key(text) == key


@pytest.mark.parametrize("text", ["", "+", "ctrl+", "hyper+x", "ctrl+gg", "f25", "ctrl+é", "\x1b"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there is no key"):
        parsed_key(text)


def test_one_key_several_and_none() -> None:
    keys = keys_for(
        regenerate="alt+shift+g", sessions=["alt+shift+u", "f2"], search=[], previous="alt+shift+x"
    )
    assert keys.notices == ()
    assert keys.keys_of("regenerate") == ("alt+shift+g",)
    assert keys.keys_of("sessions") == ("alt+shift+u", "f2")
    assert keys.keys_of("search") == ()
    assert keys.keys_of("sibling(-1)") == ("alt+shift+x",)
    assert keys.changed == {"regenerate", "sessions", "search", "previous"}


def test_two_actions_can_change_places() -> None:
    keys = keys_for(regenerate="ctrl+n", new_chat="ctrl+r")
    assert keys.notices == ()
    assert (keys.name_of("regenerate"), keys.name_of("new_chat")) == ("Ctrl+N", "Ctrl+R")
    assert (
        keys.in_words("Ctrl+R asks, Ctrl+N begins, Alt+Z undoes.")
        == "Ctrl+N asks, Ctrl+R begins, Alt+Z undoes."
    )


@pytest.mark.parametrize(
    ("name", "wish", "reason"),
    [
        ("regenerate", "ctrl+e", "what the prompt is edited with"),
        ("regenerate", "up", "what the prompt is edited with"),
        ("regenerate", "ctrl+b", "the prefix of tmux"),
        ("regenerate", "ctrl+a", "the prefix of screen"),
        ("regenerate", "x", "typed into the prompt"),
        ("regenerate", "shift+x", "typed into the prompt"),
        ("regenerate", "ctrl+m", "the same as Enter"),
        ("regenerate", "ctrl+c", "only for 'copy or stop'"),
        ("regenerate", "escape", "only for 'stop'"),
        ("regenerate", "enter", "only for 'new line' and 'send'"),
        ("regenerate", ["alt+shift+g", "ctrl+gg"], "there is no key 'ctrl+gg'"),
        ("send", "", "nothing could be sent"),
        ("interrupt", "f4", "a way out"),
    ],
)
def test_a_refused_key_is_told_with_its_reason_and_the_default_stays(
    name: str, wish: str | list[str], reason: str
) -> None:
    keys = rebound(
        [KeyWish(name, tuple([wish] if isinstance(wish, str) and wish else wish), "settings.toml line 2")]
    )
    (notice,) = keys.notices
    assert notice.startswith(f"settings.toml line 2: keys.{name}: ")
    assert reason in notice
    assert notice.endswith("stays.")
    assert keys.actions == KEY_ACTIONS


def test_an_unknown_action_is_told_with_the_nearest() -> None:
    (notice,) = keys_for(regenerat="alt+shift+g").notices
    assert "'regenerat' ('regenerate' is one)" in notice


def test_a_key_given_twice_names_both_and_the_defaults_stay() -> None:
    keys = keys_for(regenerate="alt+shift+g", search="alt+shift+g")
    assert len(keys.notices) == 2
    assert all("'again'" in notice or "keys.regenerate" in notice for notice in keys.notices)
    assert all("'search'" in notice or "keys.search" in notice for notice in keys.notices)
    assert keys.actions == KEY_ACTIONS
    (notice,) = keys_for(regenerate="ctrl+n").notices
    assert "Ctrl+N is given to 'new chat', too. Ctrl+R stays." in notice


def test_a_wish_that_falls_takes_along_what_stood_on_its_default() -> None:
    keys = keys_for(regenerate="ctrl+n", search="ctrl+r")
    assert len(keys.notices) == 2
    assert keys.actions == KEY_ACTIONS


def test_no_wish_leaves_a_key_given_twice() -> None:
    names = [action.name for action in KEY_ACTIONS]
    for shift in range(1, len(names)):
        wishes = {
            name: list(KEY_ACTIONS[(n + shift) % len(names)].keys) or "alt+shift+g"
            for n, name in enumerate(names)
        }
        given = [key for action in keys_for(**wishes).actions for key in action.keys]
        assert len(given) == len(set(given))


def test_the_editing_keys_are_those_of_the_prompt() -> None:
    of_textual = set(BindingsMap(TextArea.BINDINGS).key_to_bindings)
    assert of_textual - EDITING_KEYS == {"ctrl+a", "ctrl+c", "ctrl+z"}  # refused by other rules
    defaults = {key for action in KEY_ACTIONS if action.bound for key in action.keys}
    assert not defaults & EDITING_KEYS


# --- the screen ----------------------------------------------------------------------------------------


def with_keys(home: Home, engine: FakeEngine, **wishes: str | list[str]):  # noqa: F811
    found = tuple(
        KeyWish(name, tuple([keys] if isinstance(keys, str) and keys else keys), "settings.toml line 2")
        for name, keys in wishes.items()
    )
    return replace(home.setup(engine), settings=Settings(keys=found))


async def test_the_new_key_acts_and_the_old_one_does_not(home: Home) -> None:  # noqa: F811
    setup = with_keys(home, FakeEngine(["One.", "Two.", "Three."]), regenerate="alt+shift+g", key_help="f11")
    async with chat(setup, (190, 48)) as user:
        await user.say("count")
        await user.sees("One.")
        await user.idle()
        await user.press("ctrl+r")
        await user.press("alt+shift+g")
        await user.sees("Two.")
        await user.idle()
        assert "Three." not in user.seen
        await user.sees("Alt+Shift+G again", "F11 help")
        await user.press("f11")
        await user.until(lambda: isinstance(user.app.screen, KeyHelpScreen))
        await user.sees("Alt+Shift+G", "F11")
        await user.press("f11")
        await user.until(lambda: user.app.screen is user.screen)
        await user.press("ctrl+p", *"again")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.sees("Alt+Shift+G")


async def test_send_and_newline_and_suspend_can_be_moved(home: Home) -> None:  # noqa: F811
    setup = with_keys(
        home, FakeEngine(["Heard."]), send="alt+shift+g", newline=["enter", "ctrl+j"], suspend="f11"
    )
    async with chat(setup) as user:
        await user.ready()
        await user.press("a", "enter", "b", "ctrl+j", "c")
        assert user.screen.prompt.text == "a\nb\nc"
        await user.press("ctrl+z")
        assert user.screen.prompt.text != "a\nb\nc", "ctrl+z is undo, where it does not suspend"
        await user.press("d", "alt+shift+g")
        await user.sees("Heard.")


async def test_an_action_without_keys_leaves_the_footer_and_stays_in_the_palette(home: Home) -> None:  # noqa: F811
    setup = with_keys(home, FakeEngine(["One."]), sampling="", quit="f11")
    async with chat(setup, WIDE) as user:
        await user.ready()
        assert "sliders" not in user.seen.splitlines()[-1]
        await user.press("ctrl+o")
        assert user.screen.prompt.has_focus
        await user.press("ctrl+p")
        await user.sees("Commands")
        await user.press(*"sliders")
        await user.sees("/set")
        await user.press("escape", "ctrl+q")
        assert user.app.is_running
        await user.press("f11")
        await user.until(lambda: not user.app.is_running)


async def test_refused_wishes_are_said_in_the_chat(home: Home) -> None:  # noqa: F811
    async with chat(with_keys(home, FakeEngine(["One."]), regenerate="ctrl+b"), NARROW) as user:
        await user.sees("Ctrl+B is the prefix of tmux", "Ctrl+R stays.")


def test_every_action_has_a_key_of_its_own_without_any_wish() -> None:
    given = [key for action in KEY_ACTIONS for key in action.keys]
    assert [action.name for action in KEY_ACTIONS if not action.keys] == []
    assert len(given) == len(set(given))
    as_wishes = {action.name: list(action.keys) for action in KEY_ACTIONS}
    assert keys_for(**as_wishes).notices == ()


async def test_a_key_that_is_changed_counts_at_once_and_is_named_everywhere(home: Home) -> None:  # noqa: F811
    replies = ["One.", "Two.", "Three.", "Four."]
    async with chat(with_keys(home, FakeEngine(replies), search="alt+shift+g"), (190, 48)) as user:
        await user.sees("^R again")
        user.screen.take_keys(
            (
                KeyWish("regenerate", ("alt+shift+u",), "settings"),
                KeyWish("quit", ("f11",), "settings"),
                KeyWish("send", ("alt+shift+g",), "settings"),
                KeyWish("newline", ("enter",), "settings"),
            )
        )
        await user.sees("Alt+Shift+U again")
        await user.press("a", "enter", "b", "alt+shift+g")
        await user.sees("One.")
        await user.idle()
        await user.press("ctrl+r", "ctrl+q", "alt+shift+u")
        await user.sees("Two.")
        await user.idle()
        assert "Three." not in user.seen
        await user.press("f1")
        await user.until(lambda: isinstance(user.app.screen, KeyHelpScreen))
        await user.sees("Alt+Shift+U", "F3")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await user.press("ctrl+p", *"again")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        await user.sees("Alt+Shift+U")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        user.screen.take_keys(())
        await user.sees("^R again")
        await user.press("ctrl+r")
        await user.sees("Three.")
        await user.idle()
        user.screen.prompt.text = "again"
        await user.press("enter")
        await user.sees("Four.")
        await user.press("ctrl+q")
        await user.until(lambda: not user.app.is_running)


async def test_keys_that_are_written_into_the_settings_file_count_at_once(home: Home) -> None:  # noqa: F811
    file = home.paths.settings_file
    async with chat(home.setup(FakeEngine(["One."])), (190, 48)) as user:
        await user.ready()
        await user.until(lambda: hasattr(user.app, "_key_watch"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('[keys]\nregenerate = "alt+shift+g"\nsearch = "ctrl+n"\n')
        await user.sees("Alt+Shift+G again", "Ctrl+N is given to 'new chat', too. F3 stays.")
        file.write_text('[keys]\nregenerate = "alt+shift+g"\nsearch = "ctrl+n"\nundo = 3\n')
        await user.sees("keys.undo = 3 must be a key")
        file.write_text("[keys\n")
        user.app._look_at_keys()
        user.app._look_at_keys()
        assert user.screen.keys.keys_of("regenerate") == ("alt+shift+g",)
        file.unlink()
        await user.sees("^R again")


def test_a_file_is_read_once_two_looks_find_it_the_same_and_says_things_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    watch = KeyWatch(file, ["settings.toml line 9: keys.find = 4 " + WANTED])
    file.write_text("[keys]\nregenerate = ")
    assert watch.look() is None
    file.write_text('[keys]\nregenerate = "alt+shift+g"\nfind = 4\nundo = 3\n[chat]\ntheme = 3\n')
    assert watch.look() is None, "it may be half written"
    look = watch.look()
    assert look is not None
    assert [(wish.action, wish.keys) for wish in look.wishes] == [("regenerate", ("alt+shift+g",))]
    assert look.notices == (f"settings.toml line 4: keys.undo = 3 {WANTED}",)
    file.write_text('# moved\n[keys]\nregenerate = "alt+shift+g"\nfind = 4\nundo = 3\n')
    assert watch.look() is None
    look = watch.look()
    assert look is not None
    assert look.notices == ()
    file.unlink()
    assert (watch.look(), watch.look()) == (None, KeyLook())


async def test_the_file_is_not_looked_at_while_our_own_key_is_written(home: Home) -> None:  # noqa: F811
    file = home.paths.settings_file
    async with chat(home.setup(FakeEngine(["One."])), (190, 48)) as user:
        await user.ready()
        await user.until(lambda: hasattr(user.app, "_key_watch"))
        file.parent.mkdir(parents=True, exist_ok=True)
        user.screen.key_save = saving = Future()
        file.write_text('[keys]\nregenerate = "alt+shift+g"\n')
        for _ in range(3):
            user.app._look_at_keys()
        assert user.screen.keys.keys_of("regenerate") != ("alt+shift+g",)
        saving.set_result(None)
        await user.sees("Alt+Shift+G again")
