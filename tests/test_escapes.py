"""Nothing that a model, a file or a user says commands the terminal: a short `escape_runs.py`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from hostile_text import HostileTexts, TerminalCheck

from llama_chat.sanitize import is_safe

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from escape_runs import Result, run
from hostile_printing import all_commands
from hostile_seen import NO_FOREIGN_TEXT, drawing_classes

from llama_chat.cli.plain_commands import PLAIN_COMMANDS

NOT_SHOWN = {"a_note_on_the_desktop", "copied", "completions", "links"}
"""Places whose texts leave otherwise than as text; and a link shows its words, not where it leads."""
LEAST_SEEN = 0.1
"""Of the texts of a place, at least so many must be read there, or nothing was tried."""
FEW = 5
"""So many may all have been cut off, or scrolled away."""


def check(result: Result) -> None:
    assert not result.problems, "\n".join(result.problems)
    assert result.status == 0
    many = [place for place, numbers in result.places.items() if len(numbers) > FEW]
    assert {place for place in many if result.seen_share(place) < LEAST_SEEN} <= NOT_SHOWN


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run("hostile_chat", 1, 500, tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run("hostile_commands", 1, 1500, tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run("hostile_replay", 1, 150, tmp_path_factory.mktemp("replay"))


def test_nothing_that_the_chat_shows_commands_the_terminal(chat: Result) -> None:
    check(chat)
    assert chat.check.sequences["?h"] == chat.check.sequences["?l"] > 0, "every mode is given back"
    assert chat.check.noted
    assert any("[" in text for text in chat.check.copied)


def test_nothing_that_a_command_prints_commands_the_terminal(commands: Result) -> None:
    check(commands)


def test_nothing_that_a_replay_shows_commands_the_terminal(replay: Result) -> None:
    check(replay)


def test_every_class_that_draws_was_seen_with_a_hostile_text(chat: Result, replay: Result) -> None:
    """A new widget or screen is put on the stage (`hostile_*.py`), or among those that show none."""
    seen = {name: [*chat.drawn.get(name, ()), *replay.drawn.get(name, ())] for name in drawing_classes()}
    table = "\n".join(f"{name:42} {', '.join(places)}" for name, places in seen.items())
    assert {name for name, places in seen.items() if not places} == set(NO_FOREIGN_TEXT), table


def test_every_command_printed_a_hostile_text(commands: Result) -> None:
    assert set(all_commands()) <= set(commands.drawn), commands.drawn
    assert {f"plain {name}" for name in PLAIN_COMMANDS} <= set(commands.tried)


def test_a_crash_shows_no_sequence_of_what_crashed_it(tmp_path: Path) -> None:
    result = run("hostile_chat", 1, 1, tmp_path, ["a_crash"])
    assert not result.problems
    assert b"ValueError" in result.last


# --- what the runs rest on ------------------------------------------------------------------------------


def problems(*parts: str, is_screen: bool = True) -> list[str]:
    """What the check says of the parts, each written by itself."""
    found = TerminalCheck((80, 24))
    for part in (*["\x1b[?1049h"] * is_screen, *parts):
        found.feed(part.encode())
    found.end()
    return found.problems


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[1;31;48;2;1;2;3m[k1] 日本 👩\u200d🚀\x1b[0m\x1b[3;80H",
        "\x1b[?2026h\x1b[?25l\x1b]22;pointer\x07\x1b[?2026l",
        f"\x1b]52;c;{base64.b64encode(b'x').decode()}\x07",
        "\x1b]777;notify;llama-chat;done\x1b\\\x07",
        "one\r\ntwo\n",
    ],
)
def test_what_the_app_writes_itself_is_let_through_wherever_it_is_cut(text: str) -> None:
    for cut in range(len(text) + 1):
        assert problems(text[:cut], text[cut:]) == []


@pytest.mark.parametrize(
    "text",
    [
        *("\x1b]0;t\x07", "\x1b]8;;http://x\x1b\\", "\x1b]52;c;no base64\x07", "\x1bP1$r0m\x1b\\", "\x1bc"),
        *("\x1b[2J", "\x1b[6n", "\x1b[7331m", "\x1b[99;1H", "\x1b[?7331h", "\x9b31m", "a\u202eb", "a\u200bb"),
        *("a\rb", "a\x08b", "a\x07b", "\x1b", "\x1b]52;c", "a\u200db"),
    ],
)
def test_what_is_not_its_own_is_found_wherever_it_is_cut(text: str) -> None:
    for cut in range(len(text) + 1):
        assert problems(text[:cut], text[cut:], "."), (text[:cut], text[cut:])


def test_the_texts_are_as_hostile_as_they_claim() -> None:
    texts = HostileTexts(0).lines("here", 2000)
    assert sum(not is_safe(text) for text in texts) > 1900
    for part in ("\x1b]0;", "\x1b]8;", "\x1b]52;", "\x1bP", "\x9b", "\u202e", "[/zz]", "\x1b[7331m"):
        assert sum(part in text for text in texts) > 20, part
    assert HostileTexts(0).lines("here", 2000) == texts
