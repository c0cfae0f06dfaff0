"""Completion of words in a shell: the scripts, what they are answered, and bash in earnest."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pexpect
import pytest
from test_cli import run
from test_exchange import build_session

from llama_chat.cli import COMMANDS, cli, invoke
from llama_chat.cli.completion import SHELLS, script
from llama_chat.conversation import short_id
from llama_chat.sessions import SessionStore

BASH = shutil.which("bash")
CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}
PWSH = shutil.which("pwsh")
CPU_S = 0.6
"""0.12 to 0.25 s on a quiet machine (2026-11-22)."""


@pytest.fixture
def program(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with `llama-chat` in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "llama-chat"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llama_chat "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent), prepend=":")
    return command


def answer(line: str, shell: str = "bash") -> list[str]:
    """What the program says to the script of a shell, line by line, while the last word is typed."""
    *before, last = line.split(" ")
    environment = {"_LLAMA_CHAT_COMPLETE": f"{shell}_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = last if shell in ("fish", "powershell") else str(len(before))
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in environment.items():
            patch.setenv(name, value)
        invoke([])
    assert err.getvalue() == ""
    return out.buffer.getvalue().decode().splitlines()


def words(line: str) -> list[str]:
    return [each.removeprefix("plain,") for each in answer(line)]


def add_session(home: Path, title: str) -> str:
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    session_id = build_session(store, title)
    store.close()
    return session_id


# --- the scripts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_the_program_and_nothing_is_left_to_fill_in(
    shell: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("completion", shell) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "_LLAMA_CHAT_COMPLETE" in out
    assert f"{shell}_complete" in out
    assert "%(" not in out
    assert list(home.parent.glob("home/*")) == []


@pytest.mark.parametrize("shell", CHECKS)
def test_a_script_is_right_for_its_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(cli, shell))
    subprocess.run([*CHECKS[shell], str(path)], check=True, timeout=30)


def test_powershell_parses_its_script(tmp_path: Path) -> None:
    text = script(cli, "powershell")
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    if PWSH is None:
        pytest.skip("PowerShell is not installed")
    path = tmp_path / "script.ps1"
    path.write_text(text)
    subprocess.run([PWSH, "-NoProfile", "-File", str(path)], check=True, timeout=60)


def test_another_shell_is_wrong_usage() -> None:
    assert run("completion", "cmd") == 2


# --- the answers ---------------------------------------------------------------------------------------


def test_commands_options_and_choices(home: Path) -> None:
    assert words("llama-chat ") == list(COMMANDS)
    assert words("llama-chat se") == ["sessions"]
    assert words("llama-chat sessions ex") == ["export"]
    assert words("llama-chat run --eng") == ["--engine"]
    assert words("llama-chat --engine ") == ["auto", "scratch", "hf"]
    assert words("llama-chat run --dtype int") == ["int8", "int4"]
    assert words("llama-chat --device r") == ["rocm"]
    assert words("llama-chat completion p") == ["powershell"]
    assert not list(home.iterdir()) if home.exists() else True


def test_models_themes_and_files(home: Path) -> None:
    models, themes = home / "data" / "models", home / "config" / "themes"
    models.mkdir(parents=True)
    themes.mkdir(parents=True)
    (models / "mine.gguf").write_bytes(b"GGUF")
    (models / "$(touch PWNED).gguf").write_bytes(b"GGUF")
    (themes / "own.toml").write_text('name = "mauve"')
    assert words("llama-chat --model smol") == ["smollm2-135m-instruct"]
    assert "mine.gguf" in words("llama-chat models show mi")
    assert not any("PWNED" in word for word in words("llama-chat --model "))
    assert answer("llama-chat --model ./x") == ["file,./x"]
    assert words("llama-chat --theme m") == ["midnight", "mono", "moss", "mauve"]


def test_sessions_by_their_short_ids_with_titles(home: Path) -> None:
    session_id = add_session(home, "A fox\nat the \x1b[31mriver")
    short = short_id(session_id)
    for line in ("sessions show ", "--resume ", "replay ", f"sessions delete {short[:2]}"):
        assert words(f"llama-chat {line}") == [short]
    assert words(f"llama-chat sessions show {session_id[:10]}") == [session_id[:10]]
    (fish,) = answer("llama-chat sessions show ", "fish")
    assert fish == f"plain,{short}\tA fox at the ␛[31mriver"
    kind, value, title = answer("llama-chat sessions show ", "zsh")
    assert (kind, value, title) == ("plain", short, "A fox at the ␛[31mriver")
    assert answer("llama-chat sessions show ", "powershell") == [f"plain\t{short}\tA fox at the ␛[31mriver"]
    assert answer("llama-chat replay story", "powershell") == ["file\tstory\tstory"]


def test_what_goes_wrong_is_silent(home: Path) -> None:
    assert answer("llama-chat nonsense ") == []
    (home / "data").mkdir(parents=True)
    (home / "data" / "sessions.sqlite3").write_bytes(b"no store at all")
    assert answer("llama-chat sessions show ") == []
    assert answer("llama-chat --device 'cu") == ["plain,cuda"]
    (home / "config").mkdir()
    (home / "config" / "settings.toml").write_text("= [")
    assert words("llama-chat ses") == ["sessions"]


@pytest.mark.usefixtures("program")
def test_it_is_quick(home: Path) -> None:
    add_session(home, "A fox")

    def cpu_s(line: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        environment["_LLAMA_CHAT_COMPLETE"] = "bash_complete"
        done = subprocess.run(["llama-chat"], env=environment, capture_output=True, check=True, timeout=60)
        assert done.stdout.startswith(b"plain,")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    for line in ("llama-chat --model ", "llama-chat sessions show "):
        assert min(cpu_s(line) for _ in range(3)) < CPU_S, line


# --- bash ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("program", "home")
@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes_when_tab_is_pressed() -> None:
    assert BASH is not None
    shell = pexpect.spawn(BASH, ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=30, echo=True)
    try:
        shell.sendline("PS1='ready> '; source <(llama-chat completion bash); echo loa''ded")
        shell.expect("loaded")
        shell.send("llama-chat sess\t")
        shell.expect("llama-chat sessions ")
        shell.send("exp\t")
        shell.expect("export ")
        shell.send("--form\t")
        shell.expect("--format ")
        shell.send("js\t")
        shell.expect("jsonl ")
    finally:
        shell.close(force=True)
