"""`llama-chat models` from outside: alone it lists, and `show` tells a model from what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import run
from tiny_models import TinyModel
from tiny_wheel import CONTENT, ENTRY

from llama_chat import catalogue
from llama_chat.catalogue import DEFAULT, GIVE_A_MODEL


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    out, err = capsys.readouterr()
    return out, err.splitlines()


def test_without_a_command_the_models_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    alone = shown(capsys)
    assert run("models", "list") == 0
    assert shown(capsys) == alone
    assert alone[0].splitlines()[1].split()[0] == DEFAULT.name
    assert alone[1] == []


def test_show_of_a_file_that_is_no_model_fails_with_what_can_be_given(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.txt"
    path.write_text("words")
    for arguments in ([], ["--json"]):
        assert run("models", "show", str(path), *arguments) == 1
        out, (what, hint) = shown(capsys)
        assert out == ""
        assert what.startswith("llama-chat: some.txt: not a GGUF file")
        assert hint == GIVE_A_MODEL


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "there are no weights in this folder"), ("model.safetensors", "there is no config.json")],
)
def test_show_of_a_folder_without_a_model_that_can_be_read(
    name: str, words: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if name:
        (folder / name).write_bytes(bytes(8))
    assert run("models", "show", str(folder)) == 1
    out, (what, hint) = shown(capsys)
    assert (out, words in what) == ("", True)
    assert hint.endswith(GIVE_A_MODEL if not name else "into the same folder.")


def test_show_of_a_gguf_that_was_cut_short(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.gguf"
    TinyModel().write(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert run("models", "show", str(path)) == 1
    assert "cut.gguf" in shown(capsys)[1][0]


def test_show_of_a_gguf_and_of_the_folder_that_it_lies_in(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    TinyModel().write(folder / "own.gguf")
    for path in (folder / "own.gguf", folder):
        assert run("models", "show", str(path), "--json") == 0
        data = json.loads(shown(capsys)[0])
        assert (data["name"], data["path"], data["is_here"]) == (path.name, str(path), True)
        assert data["size_bytes"] == (folder / "own.gguf").stat().st_size


def test_what_the_catalogue_fetched_is_shown_without_reading_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(catalogue.ENTRIES, ENTRY.name, ENTRY)
    models = home / "data" / "models"
    models.mkdir(parents=True)
    (models / ENTRY.file_name).write_bytes(CONTENT)  # random bytes: its header would be refused
    assert run("models", "show", "tiny") == 0
    assert ENTRY.sha256 in shown(capsys)[0]
