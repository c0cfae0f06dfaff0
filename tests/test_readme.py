"""What the README says is checked: its tables, its pictures and links, its commands."""

import re
import shlex
from pathlib import Path

import click
import pytest
from readme_tables import README, with_tables

from llama_chat.cli import cli

TEXT = README.read_text()
COMMANDS = sorted(
    {
        line.split("|")[-1].strip()
        for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
        for line in block.splitlines()
        if "llama-chat" in line and "venv" not in line
    }
)


def test_its_tables_are_those_of_the_program():
    assert with_tables(TEXT) == TEXT, "run: python tests/readme_tables.py"


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)]+)\)", TEXT))
def test_what_it_links_to_is_there(target):
    assert (README.parent / target).exists()


def test_the_gallery_shows_every_screen():
    """Each once, by the pictures that the tests of the looks compare the program with."""
    gallery = README.parent / "docs" / "screens.md"
    pictures = re.findall(r"\]\(([^)]+\.svg)\)", gallery.read_text(encoding="utf-8"))
    snapshots = (README.parent / "tests" / "snapshots").glob("*-80x24-ember.svg")
    assert sorted(Path(path).name for path in pictures) == sorted(path.name for path in snapshots)
    assert all((gallery.parent / path).exists() for path in pictures)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_understood(line):
    """Each is parsed by the command line as it is, down to the last option; none is run."""
    words = shlex.split(line, comments=True)[1:]
    with cli.make_context("llama-chat", list(words)) as outer:
        rest = [*outer._protected_args, *outer.args]
        command: click.Command | None = cli
        while rest and isinstance(command, click.Group):
            name, command, rest = command.resolve_command(outer, rest)
            assert command is not None, name
            with command.make_context(name, list(rest), parent=outer) as inner:
                rest = (
                    [*getattr(inner, "_protected_args", []), *inner.args]
                    if isinstance(command, click.Group)
                    else []
                )


def test_its_test_command_is_the_one_that_ci_runs():
    assert len(re.findall(r"^python3 -m venv .*pytest$", TEXT, re.MULTILINE)) == 1
    assert "README.md" in (Path(__file__).parent.parent / ".ci" / "run").read_text()
