"""The seed, the presets and the personas: in the files, on the sliders, in their cards and as commands."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from textual.widgets import Input, TextArea

from llama_chat.errors import SettingsError, UsageError
from llama_chat.events import Sampling
from llama_chat.personas import BUILT_IN as PERSONAS
from llama_chat.personas import MOST_BYTES, file_name, load_personas, own_path, save_persona
from llama_chat.presets import BUILT_IN, Preset, delete_preset, matching_preset, save_preset
from llama_chat.settings import ChatSettings, Settings, load_settings
from llama_chat.ui.rebinding import rebound
from llama_chat.ui.screens.key_rows import KeyScreen
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.screens.personas import PersonaScreen
from llama_chat.ui.screens.presets import PresetScreen
from llama_chat.ui.screens.preview import PreviewCard
from llama_chat.ui.screens.settings import SettingsScreen
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.transcript.entries import NoticeEntry
from llama_chat.ui.widgets.filter_list import FilterList
from llama_chat.ui.widgets.panel_title import PanelTitle
from llama_chat.ui.widgets.seed_row import SeedRow
from llama_chat.ui.widgets.slider import Slider

PRECISE, BALANCED, CREATIVE = BUILT_IN
SIZES = [NARROW, WIDE, SMALL]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def hint(user: User) -> str:
    return user.screen._hint_line.text


async def says(user: User, *parts: str) -> None:
    for part in parts:
        await user.until(lambda part=part: part in hint(user), f"{part!r} is not the hint {hint(user)!r}")


async def opened(user: User, card: type) -> None:
    await user.until(lambda: isinstance(user.app.screen, card), f"no {card.__name__}")
    await user.until(lambda: user.app.focused is not None)


async def at(user: User, row: str) -> None:
    """Move down to a row of the card."""
    card = user.app.screen
    assert isinstance(card, PreviewCard)
    for _ in range(9):
        if card.marked == row:
            break
        await user.press("down")
    await user.until(lambda: card.marked == row, f"{row} is not marked but {card.marked}")


def now(user: User) -> Sampling:
    return user.screen.bridge.sampling.current


# --- presets in the file --------------------------------------------------------------------------------


def test_balanced_is_the_defaults_and_every_preset_has_values_that_fit_and_a_reason(tmp_path: Path) -> None:
    assert matching_preset(BUILT_IN, Sampling()) == BALANCED
    assert all(preset.reason for preset in BUILT_IN)
    assert len({preset.applied_to(Sampling()) for preset in BUILT_IN}) == 3
    path = tmp_path / "settings.toml"
    for preset in BUILT_IN:
        save_preset(path, Preset(f"my-{preset.name}", preset.values))
    loaded = load_settings(path, {}, {})
    assert loaded.notices == ()
    assert [preset.values for preset in loaded.settings.presets] == [preset.values for preset in BUILT_IN]


def test_presets_of_the_file_are_checked_and_what_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(
        "[presets.story]\ntemperature = 1.5\ntop_k = -1\nheat = 3\n"
        "[presets.precise]\ntop_k = 1\n"
        "[presets]\nshort = 3\n'a b' = {}\nquick = { top_k = 1 }\n[presets.none]\n"
    )
    loaded = load_settings(path, {}, {})
    assert loaded.settings.presets == (
        Preset("story", {"temperature": 1.5}, "One of your own.", is_own=True),
        Preset("quick", {"top_k": 1}, "One of your own.", is_own=True),
    )
    for words in (
        "line 3: presets.story.top_k = -1 is outside 0 to 1,000,000.",
        "line 4: [presets.story] has no setting 'heat'; there are temperature",
        "line 5: A preset cannot be called 'precise': that one comes with the program.",
        "line 8: 'presets.short' must be a table, [presets.short].",
        "line 9: A preset cannot be called 'a b': up to 24 letters",
        "line 11: The preset 'none' says nothing.",
    ):
        assert any(words in notice for notice in loaded.notices), words


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# top\n[sampling]\ntop_k = 7 # seven\n\n[chat]\nseed = 3\n",
        "[sampling]\r\ntop_k = 7\r\n",
        "[presets]\n# mine\nother = { top_k = 3 }\n",
        "[presets.other]\n# why\ntop_k = 3\n\n[chat]\n",
    ],
)
def test_a_preset_is_saved_saved_anew_and_deleted_and_all_else_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode())
    before = load_settings(path, {}, {}).settings
    save_preset(path, Preset("story", {"temperature": 1.0, "top_k": 5}))
    save_preset(path, Preset("story", {"temperature": 1.2, "min_p": 0.1}))
    loaded = load_settings(path, {}, {})
    assert loaded.notices == ()
    assert loaded.settings.presets[-1].values == {"temperature": 1.2, "min_p": 0.1}
    assert text.rstrip() in path.read_bytes().decode()
    delete_preset(path, "story")
    assert path.read_bytes().decode() == text
    delete_preset(path, "story")
    assert load_settings(path, {}, {}).settings == before


def test_a_file_that_is_no_toml_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[presets\n")
    with pytest.raises(SettingsError, match="the preset was not saved"):
        save_preset(path, PRECISE)
    assert path.read_text() == "[presets\n"


def test_a_preset_of_the_command_line_counts_more_than_file_and_environment_less_than_flags(
    tmp_path: Path,
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[sampling]\ntemperature = 1.5\nmax_new_tokens = 9\n[presets.Story]\nmin_p = 0.3\n")
    loaded = load_settings(path, {"LLAMA_CHAT_TOP_P": "0.5"}, {"top_k": 3}, preset="precise")
    assert loaded.settings.sampling == replace(PRECISE.applied_to(Sampling()), top_k=3, max_new_tokens=9)
    assert load_settings(path, {}, {}, preset="story").settings.sampling.min_p == 0.3
    with pytest.raises(UsageError, match="no preset 'wild'"):
        load_settings(path, {}, {}, preset="wild")


# --- the panel ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_panel_counts_what_is_changed_and_names_the_preset(home: Home, size) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        await user.sees("balanced ▾" if size != SMALL else "balanc")
        await user.press("right")
        await user.sees("own ▾", "•")
        if size != SMALL:
            await user.sees("sampling · 1 changed", "How adventurous")
        await user.press("delete")
        await user.until(lambda: now(user) == Sampling())
        await user.until(lambda: "changed" not in user.seen)


async def test_a_double_click_goes_back_to_the_default_and_a_tooltip_explains(home: Home) -> None:
    setup = replace(home.setup(), settings=Settings(sampling=Sampling(temperature=1.5)))
    async with chat(setup, WIDE) as user:
        await user.ready()
        await user.sees("sampling · 1 changed")
        slider = user.screen.query_one("#slider-temperature", Slider)
        assert "divides the logits" in str(slider.tooltip)
        await user.pilot.click(slider, offset=(3, 0), times=2)
        await user.until(lambda: now(user).temperature == 0.7)
        await user.until(lambda: ("sampling", "temperature", 0.7) in home.saved)
        await user.pilot.hover(slider, offset=(3, 0))
        await user.sees("logits. 0 always")


async def test_the_seed_of_the_last_reply_is_locked_used_again_and_freed(home: Home) -> None:
    engine = FakeEngine(["One.", "Two.", "Three."])
    async with chat(home.setup(engine), WIDE) as user:
        await user.press("alt+l")
        await says(user, "There is no reply yet")
        await user.say("hello")
        await user.idle()
        last = user.screen.chat.last_seed
        await user.sees(f"fresh (last {last})")
        await user.press("alt+l")
        await user.sees(f"{last} locked", "sampling · 1 changed")
        await says(user, "from the next one on")
        await user.until(lambda: home.saved == [("chat", "seed", last)])
        await user.press("ctrl+r")
        await user.sees("Two.")
        await user.idle()
        assert user.screen.chat.last_seed == last
        await user.press("alt+l")
        await user.sees(f"fresh (last {last})")
        await user.until(lambda: home.saved[1:] == [("chat", "seed", -1)])
        await user.say("/seed 7")
        await user.sees("7 locked")
        await user.say("/seed x")
        await says(user, "seed: 'x' is not a whole number.")
        await user.until(lambda: user.screen.prompt.text == "/seed x")


@pytest.mark.parametrize("size", SIZES)
async def test_a_seed_is_typed_stepped_and_dropped_in_its_row(home: Home, size) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        row = user.screen.query_one(f"SamplingPanel{'' if size == WIDE else '.-sheet'} SeedRow", SeedRow)
        row.focus()
        await user.until(lambda: row.has_focus)
        await user.press(*"42", "enter")
        await user.sees("42 locked")
        await user.press("right")
        await user.sees("43 locked")
        await user.press(*"9999999999", "enter")
        await says(user, "is outside -1 to 4,294,967,295.")
        await user.press("delete")
        await user.until(lambda: user.screen.chat.seed == -1)
        await user.until(lambda: "locked" not in str(row.render()))
        await user.press("enter")
        await says(user, "There is no reply yet")


# --- the card of the presets ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_marked_preset_counts_while_a_reply_runs_and_esc_puts_back(home: Home, size) -> None:
    pace = Pace(is_stepped=True)
    engine = FakeEngine([None], pace=pace)
    async with chat(home.setup(engine), size) as user:
        await user.say("count")
        pace.step(1)
        await user.sees("word0")
        await user.press("alt+p")
        await opened(user, PresetScreen)
        await user.sees("precise", "temperature")
        await user.press("up")
        await user.sees("0.70 →  0.20")
        pace.step(2)
        await user.until(lambda: engine.samplings[-1].temperature == 0.2)
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await user.until(lambda: now(user) == Sampling())
        pace.step(2)
        await user.until(lambda: engine.samplings[-1].temperature == 0.7)
        assert home.saved == []


async def test_a_preset_is_taken_and_what_it_changes_is_saved(home: Home) -> None:
    async with chat(home.setup(), WIDE) as user:
        await user.ready()
        await user.pilot.click(PanelTitle)
        await opened(user, PresetScreen)
        await at(user, "creative")
        await user.press("enter")
        await says(user, "creative: temperature 1.1, top-k all")
        await user.sees("creative ▾")
        assert now(user) == CREATIVE.applied_to(Sampling())
        await user.until(lambda: len(home.saved) == 4)
        assert {(name, value) for _, name, value in home.saved} == {
            (name, value) for name, value in CREATIVE.values.items() if name != "top_p"
        }


async def test_values_are_saved_as_a_preset_of_ones_own_and_deleted_after_a_question(home: Home) -> None:
    setup = replace(home.setup(), settings=Settings(sampling=Sampling(temperature=1.5)))
    async with chat(setup) as user:
        await user.ready()
        await user.press("alt+p")
        await opened(user, PresetScreen)
        await user.sees("own", "as it is now")
        await user.press("s")
        await opened(user, NameScreen)
        await user.press(*"precise", "enter")
        await user.sees("that one comes with the program")
        user.app.screen.query_one(Input).value = "my Story"
        await user.press("enter")
        await opened(user, PresetScreen)
        await user.sees("The preset my-Story is saved.", "yours")
        path = home.paths.settings_file
        await user.until(lambda: path.exists() and "[presets.my-Story]" in path.read_text())
        (saved,) = load_settings(path, {}, {}).settings.presets
        assert saved.applied_to(Sampling()) == now(user)
        await user.press("d")
        await user.sees("d again deletes my-Story.")
        await user.press("d")
        await user.sees("is deleted")
        await user.until(lambda: path.read_text() == "")
        await at(user, "balanced")
        await user.press("d")
        await user.sees("it stays")
    assert home.saved == []


async def test_the_command_takes_saves_and_deletes_by_name(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/preset Precise")
        await says(user, "precise: temperature 0.2")
        assert matching_preset(BUILT_IN, now(user)) == PRECISE
        await user.say("/preset save mine")
        await says(user, "The preset mine is saved.")
        assert user.screen.presets.name == "mine"
        await user.say("/preset delete mine")
        await says(user, "The preset mine is deleted")
        for words, why in (
            ("wild", "There is no preset 'wild'. Known: precise, balanced, creative"),
            ("delete precise", "comes with the program"),
            ("save save", "the word has another meaning"),
        ):
            await user.say(f"/preset {words}")
            await says(user, why)
            user.screen.prompt.text = ""


# --- personas in their folder ---------------------------------------------------------------------------


def test_files_that_are_no_personas_are_passed_over_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("\ufeff---\nx: 1\n---\n\n# Der König\r\n\r\nSei nett.\r\n".encode())
    (tmp_path / "b.md").write_text("## Rules\nBe \x1b[31mkind[/zz].")
    (tmp_path / "title.md").write_text("# only a title\n")
    (tmp_path / "latin.md").write_bytes(b"ok\n\xff")
    (tmp_path / "zero.md").write_bytes(b"a\0b")
    (tmp_path / "huge.md").write_text("x" * (MOST_BYTES + 1))
    (tmp_path / "notes.txt").write_text("no persona")
    (tmp_path / "folder.md").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.md")
    loaded = load_personas(tmp_path)
    assert [(each.title, each.text) for each in loaded.personas[:2]] == [
        ("b", "## Rules\nBe \x1b[31mkind[/zz]."),
        ("Der König", "Sei nett."),
    ]
    assert list(loaded.personas[2:]) == list(PERSONAS)
    told = "\n".join(loaded.notices)
    for words in (
        "title.md says nothing",
        "latin.md is no text in UTF-8 (line 2)",
        "zero.md is no text",
        "huge.md is longer than 64 kB",
        "folder.md is no file",
    ):
        assert words in told
    assert load_personas(tmp_path / "missing").notices == ()


def test_saving_keeps_the_head_and_the_line_ends_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "king.md"
    path.write_bytes(b"---\r\nlang: de\r\n---\r\n# King\r\n\r\nOld.\r\n")
    path.chmod(0o640)
    assert save_persona(path, "Other", "New.\nTwo.").title == "King"
    assert path.read_bytes() == b"---\r\nlang: de\r\n---\r\n# King\r\n\r\nNew.\r\nTwo.\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    made = save_persona(own_path(tmp_path, "Dr. Who?"), "Dr. Who?", "Hello.")
    assert (made.name, made.title, made.text) == ("dr-who", "Dr. Who?", "Hello.")
    for text in ("", "x" * MOST_BYTES):
        with pytest.raises(SettingsError, match="was not saved"):
            save_persona(path, "King", text)


@pytest.mark.parametrize(
    ("title", "name"),
    [("../../etc", "etc"), ("con", "con-"), ("Ärzte x", "ärzte-x"), ("日本", "日本"), ("A" * 99, "a" * 60)],
)
def test_a_name_is_safe_as_a_file_name(title: str, name: str) -> None:
    assert file_name(title) == name


def test_a_title_without_a_letter_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a name"):
        file_name("../ ..")


# --- the card of the personas ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_persona_is_looked_at_and_becomes_the_system_prompt(home: Home, size) -> None:
    home.paths.prompts.mkdir(parents=True)
    (home.paths.prompts / "pirate.md").write_text("# Pirate [/zz]\n\nYou are a \x1b[31mpirate[/].\n")
    engine = FakeEngine(["Arr."])
    async with chat(home.setup(engine), size) as user:
        await user.ready()
        await user.press("alt+r")
        await opened(user, PersonaScreen)
        await user.sees("No system prompt.", "Pirate [/zz]", "Teacher")
        await at(user, "pirate")
        await user.sees("pirate[/].")
        assert "\x1b[31m" not in user.seen
        await user.press("enter")
        await user.until(lambda: user.screen.chat.conversation.system == "You are a \x1b[31mpirate[/].")
        await user.say("hello")
        await user.idle()
        assert "pirate" in engine.prompts[0]
        await user.say("/persona tea")
        await user.until(lambda: user.screen.chat.conversation.system == PERSONAS[1].text)
        await user.say("/persona nobody")
        await says(user, "There is no persona 'nobody'.")


async def test_a_persona_is_written_edited_in_place_copied_and_deleted(home: Home) -> None:
    folder = home.paths.prompts
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("alt+r")
        await opened(user, PersonaScreen)
        await user.press("n")
        await opened(user, NameScreen)
        await user.press(*"Cook", "enter")
        await opened(user, SystemPromptScreen)
        await user.press(*"Salt", "ctrl+s")
        await opened(user, PersonaScreen)
        await user.sees("Cook is saved.")
        assert (folder / "cook.md").read_text() == "# Cook\n\nSalt\n"
        await user.press("e")
        await opened(user, SystemPromptScreen)
        await user.press("!", "ctrl+s")
        await opened(user, PersonaScreen)
        await user.until(lambda: (folder / "cook.md").read_text() == "# Cook\n\nSalt!\n")
        await user.sees("Salt!")
        await at(user, "editor")
        await user.press("e")
        await opened(user, SystemPromptScreen)
        await user.press("!", "ctrl+s")
        await user.sees("Editor is saved as a copy of your own.")
        assert (folder / "editor.md").read_text() == f"# Editor\n\n{PERSONAS[2].text}!\n"
        await user.press("d")
        await user.sees("d again deletes Editor.")
        await user.press("d")
        await user.sees("Editor is deleted.")
        assert not (folder / "editor.md").exists()
        await at(user, "editor")
        await user.press("d")
        await user.sees("it stays")


async def test_the_system_prompt_names_its_persona_and_is_saved_as_one(home: Home) -> None:
    setup = home.setup(chat=ChatSettings(system=PERSONAS[0].text))
    async with chat(setup) as user:
        await user.ready()
        await user.press("f8")
        await opened(user, SystemPromptScreen)
        await user.sees("System prompt of this chat · Plain")
        user.app.screen.query_one(TextArea).text = "Short."
        await user.until(lambda: "Plain" not in user.seen)
        await user.press("alt+r")
        await opened(user, NameScreen)
        user.app.screen.query_one(Input).value = "Brief"
        await user.press("enter")
        await opened(user, SystemPromptScreen)
        await user.sees("System prompt of this chat · Brief", "Saved as Brief.")
        assert load_personas(home.paths.prompts).find("brief").text == "Short."
        user.app.screen.query_one(TextArea).text = "Shorter."
        await user.press("alt+r")
        await opened(user, NameScreen)
        user.app.screen.query_one(Input).value = "Brief"
        await user.press("enter")
        await user.sees("There is one called Brief. Enter again")
        await user.press("enter")
        await user.until(lambda: load_personas(home.paths.prompts).find("brief").text == "Shorter.")


async def test_a_folder_that_cannot_be_written_is_told_in_the_card(home: Home) -> None:
    home.paths.config.mkdir(parents=True)
    home.paths.prompts.write_text("a file where the folder should be")
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("alt+r")
        await opened(user, PersonaScreen)
        await user.press("n")
        await opened(user, NameScreen)
        await user.press(*"Cook", "enter")
        await opened(user, SystemPromptScreen)
        await user.press(*"Salt", "ctrl+s")
        await user.sees("The persona was not saved: ", "Salt")
        assert user.app.screen.query_one(TextArea).text == "Salt", "what was written is lost"
        home.paths.prompts.unlink()
        await user.press("ctrl+s")
        await opened(user, PersonaScreen)
        await user.sees("Cook is saved.")
        assert not [each for each in user.screen.transcript._entries if isinstance(each, NoticeEntry)]


# --- keys in the screen of the settings -----------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_key_is_pressed_for_an_action_and_a_conflict_is_named(home: Home, size) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("f12")
        await opened(user, SettingsScreen)
        user.app.screen.query_one(Input).value = "rename"
        await user.until(lambda: user.app.screen.query_one(FilterList).highlighted_id == "keys.rename")
        await user.press("enter")
        await opened(user, KeyScreen)
        await user.press("ctrl+r")
        await user.sees("Ctrl+R is given to 'again'")
        await user.press("ctrl+a")
        await user.sees("is the prefix of screen")
        await user.press("x")
        await user.sees("is typed into the prompt")
        await user.press("f7")
        await user.sees("F7 is what")
        await user.press("shift+f5")
        await opened(user, SettingsScreen)
        await user.sees("Saved. It counts from", "Shift+F5")
        path = home.paths.settings_file
        await user.until(lambda: path.exists() and 'rename = "shift+f5"' in path.read_text())
        (wish,) = load_settings(path, {}, {}).settings.keys
        assert rebound([wish]).keys_of("rename") == ("shift+f5",)
        await user.press("delete")
        await user.until(lambda: "rename" not in path.read_text())
        await user.until(lambda: "Shift+F5" not in user.seen)
