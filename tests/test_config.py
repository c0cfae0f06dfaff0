"""`llama-chat config`: what is shown of the settings, and the file as it is made, edited and checked."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest
from test_cli import run

from llama_chat.editor import editor_command
from llama_chat.errors import SettingsError
from llama_chat.setting_origins import first_file
from llama_chat.settings import Settings, load_settings, setting_fields


@pytest.fixture
def path(home: Path) -> Path:
    (home / "config").mkdir()
    return home / "config" / "settings.toml"


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(*arguments)
    out, err = capsys.readouterr()
    return status, out, err


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """An $EDITOR that does this to the file `$1`."""
    command = tmp_path / "my editor"
    command.write_text(f"#!/bin/sh\n{body}\n")
    command.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{command}'")


# --- show ------------------------------------------------------------------------------------------------


def test_show_says_where_each_value_comes_from(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(
        '[chat]\ntheme = "moss"\n\n[sampling]\ntop_k = 7\ntop_p = 0.5\n\n[keys]\nregenerate = "alt+shift+g"\n'
    )
    monkeypatch.setenv("LLAMA_CHAT_TOP_P", "0.9")
    status, out, err = outcome(capsys, "--temperature", "0.2", "config", "show")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()[1:]}
    assert rows["chat.theme"] == '"moss" line 2 of settings.toml'
    assert rows["sampling.top_k"] == "7 line 5 of settings.toml"
    assert rows["sampling.top_p"] == "0.9 LLAMA_CHAT_TOP_P"
    assert rows["sampling.temperature"] == "0.2 --temperature"
    assert rows["sampling.min_p"] == "0.0 default"
    assert rows["keys.regenerate"] == "alt+shift+g settings.toml line 9"
    assert len(rows) == len(setting_fields()) + 1


def test_json_has_it_all_and_what_is_wrong_goes_to_stderr(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text('[chat]\ntheme = 7\nnotify = "bell"\n\n[keys]\nsearch = "ctrl+b"\n')
    status, out, err = outcome(capsys, "config", "show", "--json")
    data = json.loads(out)
    assert status == 0
    assert data["path"] == str(path)
    assert data["exists"] is True
    assert data["settings"]["chat"]["notify"] == {
        "value": "bell",
        "source": "file",
        "where": "line 3 of settings.toml",
    }
    assert data["settings"]["chat"]["theme"]["source"] == "default"
    assert "keys" not in data["settings"]
    assert "settings.toml line 2: chat.theme = 7 is not a text" in err
    assert "settings.toml line 6: keys.search: Ctrl+B is the prefix of tmux. F3 stays." in err


def test_show_makes_nothing_and_path_names_the_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "config", "show")[0] == 0
    assert outcome(capsys, "config", "path") == (0, f"{home / 'config' / 'settings.toml'}\n", "")
    assert not home.exists() or list(home.iterdir()) == []


def test_a_flag_that_does_not_fit_is_wrong_usage(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(capsys, "--temperature", "99", "config", "show")
    assert (status, out) == (2, "")


# --- the first file ----------------------------------------------------------------------------------------


def test_the_first_file_sets_nothing_and_explains_everything(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(first_file())
    loaded = load_settings(path, {}, {})
    assert loaded.settings == Settings()
    assert loaded.notices == ()
    for name, known in setting_fields().items():
        assert f"# {name} = " in first_file()
        assert known.field.metadata["help"] in first_file()


def test_every_line_of_the_first_file_can_be_taken_as_it_stands(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") if " = " in line else line for line in first_file().splitlines()]
    path = tmp_path / "settings.toml"
    path.write_text("\n".join(lines))
    tomllib.loads("\n".join(lines))
    loaded = load_settings(path, {}, {})
    assert loaded.notices == ()
    assert loaded.settings.sampling == Settings().sampling
    assert [wish.action for wish in loaded.settings.keys] == ["regenerate", "sessions"]


# --- edit ------------------------------------------------------------------------------------------------


def test_edit_makes_the_file_and_is_content_with_a_good_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(
        tmp_path, monkeypatch, 'printf \'[chat]\\ntheme = "moss"\\n\' >> "$1.log"; grep -q \'# theme\' "$1"'
    )
    assert outcome(capsys, "config", "edit") == (0, "", "")
    path = home / "config" / "settings.toml"
    assert path.read_text() == first_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.with_name("settings.toml.log").exists(), "the editor was not run"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[chat]\\nseed = -7\\n", "settings.toml line 2: chat.seed = -7 is outside -1 to"),
        ("[chat]\\nthme = 1\\n", "line 2: [chat] has no setting 'thme' ('theme' is one)"),
        ("[chat\\n", "line 1"),
        ('[keys]\\nquit = "x"\\n', "line 2: keys.quit: X is typed into the prompt. Ctrl+Q stays."),
    ],
)
def test_edit_says_what_is_wrong_with_a_line(
    text: str,
    words: str,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path.write_text("# mine\n")
    editor(tmp_path, monkeypatch, f"printf '{text}' > \"$1\"")
    status, out, err = outcome(capsys, "config", "edit")
    assert (status, out) == (1, "")
    assert words in err
    assert "opens it again" in err


def test_an_editor_that_fails_or_is_not_there_is_told(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(tmp_path, monkeypatch, "exit 3")
    status, _, err = outcome(capsys, "config", "edit")
    assert (status, "ended with status 3" in err) == (1, True)
    monkeypatch.setenv("EDITOR", "no-such-editor-anywhere")
    status, _, err = outcome(capsys, "config", "edit")
    assert (status, "does not start" in err) == (1, True)
    monkeypatch.setenv("EDITOR", "'unfinished")
    assert outcome(capsys, "config", "edit")[0] == 1
    assert path.read_text() == first_file()


def test_visual_counts_before_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert editor_command({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor_command({"VISUAL": " ", "EDITOR": "vi"}) == ["vi"]
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(SettingsError, match="There is no editor"):
        editor_command({})
