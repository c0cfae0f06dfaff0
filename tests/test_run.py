"""`llama-chat run` as a user calls it: a process, the real default model, stdout and stderr.

What has to do with neither is tried in this process, with a model of a megabyte: a start takes seconds.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyte
import pytest
from fake_engine import INFO
from gguf.constants import GGMLQuantizationType as GGMLType
from tiny_models import TinyModel

from llama_chat.cli import invoke
from llama_chat.cli.answer import Printer, read_prompt
from llama_chat.cli.engines import LoadingLine
from llama_chat.cli.history import History
from llama_chat.cli.talk import exit_status
from llama_chat.conversation import Conversation, Role
from llama_chat.errors import ModelError
from llama_chat.events import Loading, Prefilled, Sampling
from llama_chat.paths import user_paths
from llama_chat.sessions import SessionStore
from llama_chat.settings import Settings

COMMAND = str(Path(sys.executable).with_name("llama-chat"))


@pytest.fixture
def run(home_with_model):
    def call(*arguments, stdin=""):
        return subprocess.run(
            [COMMAND, "run", *arguments], input=stdin, capture_output=True, text=True, timeout=120
        )

    return call


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return TinyModel(type=GGMLType.Q4_1).write(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture
def run_here(home, tiny_model, capsys, monkeypatch):
    """The same in this process, with a tiny model where no other is named."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        named = () if "--model" in arguments else ("--model", str(tiny_model))
        capsys.readouterr()
        status = exit_status(lambda: invoke(["run", *named, *arguments]))
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return call


def test_an_answer_goes_to_stdout_and_the_figures_to_stderr(run):
    done = run("--max-new-tokens", "12", "--temperature", "0", "--stats", "What is two plus two?")
    assert done.returncode == 0
    assert done.stdout.startswith("Two plus two")
    assert done.stdout.endswith("\n")
    assert "tok/s" in done.stderr
    assert "12 new" in done.stderr


def test_json_is_one_object_with_all_that_is_promised(run_here):
    done = run_here("--json", "--max-new-tokens", "6", "--seed", "5", "Hello")
    found = json.loads(done.stdout)
    assert set(found) == {
        *("text", "token_ids", "prompt_tokens", "reused_tokens", "finish_reason", "seed", "sampling"),
        *("model", "engine", "drafted_tokens", "accepted_tokens", "device", "dtype", "timings"),
    }
    assert set(found["timings"]) == {"load", "prefill", "decode", "decode_tok_per_s"}
    assert found["seed"] == 5
    assert found["finish_reason"] == "length"
    assert len(found["token_ids"]) == 6
    assert (found["engine"], found["device"], found["dtype"]) == ("scratch", "cpu", "Q4_1")
    assert found["sampling"]["max_new_tokens"] == 6


def test_the_same_seed_gives_the_same_reply_and_n_several_from_one_prefill(run_here):
    wanted = (
        "--json",
        "--max-new-tokens",
        "12",
        "--seed",
        "9",
        "--n",
        "2",
        "--temperature",
        "1.5",
        "Name a fox.",
    )
    first, second = ([json.loads(line) for line in run_here(*wanted).stdout.splitlines()] for _ in range(2))
    assert [reply["token_ids"] for reply in first] == [reply["token_ids"] for reply in second]
    assert first[0]["token_ids"] != first[1]["token_ids"]
    assert [reply["seed"] for reply in first] == [9, 10]
    assert first[0]["reused_tokens"] == 0
    assert first[1]["reused_tokens"] == first[1]["prompt_tokens"] - 1


def test_piped_text_comes_before_the_words(run_here):
    wanted = ("--json", "--max-new-tokens", "1")
    both = json.loads(run_here(*wanted, "Translate it.", stdin="Guten Tag\n").stdout)
    alone = json.loads(run_here(*wanted, stdin="Guten Tag\n\nTranslate it.").stdout)
    assert both["prompt_tokens"] == alone["prompt_tokens"]


def test_raw_skips_the_template(run):
    raw = json.loads(
        run(
            "--raw", "--json", "--max-new-tokens", "4", "--temperature", "0", "The capital of France is"
        ).stdout
    )
    assert raw["prompt_tokens"] == 5
    assert "Paris" in raw["text"]


@pytest.mark.parametrize("words", ["", "  \n"])
def test_an_empty_prompt_is_named(run, words):
    done = run(stdin=words)
    assert done.returncode == 2
    assert done.stderr.startswith("llama-chat: The prompt is empty")
    assert done.stdout == ""


def test_a_prompt_longer_than_the_context_is_named_with_both_figures(run_here):
    done = run_here("--context", "64", "word " * 200)
    assert done.returncode == 1
    assert "tokens, the context holds 64" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "rocm"), "No rocm device: the installed torch is"),
        (("--device", "cuda"), "No cuda device: the installed torch is"),
        (("--device", "teapot"), "teapot"),
        (("--model", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--resume", "ffff"), "ffff"),
        (("-c",), "no session to continue"),
    ],
)
def test_what_is_not_there_is_one_clear_line(run_here, arguments, words):
    done = run_here(*arguments, "Hello")
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_session_goes_on_and_is_kept(run_here, home):
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    session = store.create(date="2026-11-22")
    from llama_chat.conversation import Conversation, Role

    begun = Conversation()
    words = [begun.append(Role.USER, "My name is Reynard."), begun.append(Role.ASSISTANT, "Hello Reynard!")]
    store.add_messages(session.id, words, words[-1].id)
    done = run_here("-c", "--max-new-tokens", "8", "--json", "What is my name?")
    assert done.returncode == 0
    path = store.load(session.id).path()
    assert [message.text for message in path[:3]] == [
        "My name is Reynard.",
        "Hello Reynard!",
        "What is my name?",
    ]
    assert path[3].text == json.loads(done.stdout)["text"]
    assert path[3].reply.finish_reason == json.loads(done.stdout)["finish_reason"]
    assert path[3].reply.token_ids == tuple(json.loads(done.stdout)["token_ids"])
    store.close()


@pytest.mark.alone
def test_ctrl_c_stops_at_the_next_token_and_says_so(home_with_model):
    command = [COMMAND, "run", "--max-new-tokens", "4000", "Write a very long story."]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout.read(20)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started < 10
    assert b"Traceback" not in errors


def test_a_reader_who_leaves_ends_it_quietly(home_with_model):
    command = [COMMAND, "run", "--max-new-tokens", "4000", "Write a very long story."]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout.read(20)
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=30)
    assert process.returncode == 0
    assert errors == b""


def test_settings_that_are_no_toml_are_named_and_left_alone(run_here, home):
    settings = home / "config" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[sampling\ntemperature = 1")
    done = run_here("--max-new-tokens", "1", "Hello")
    assert done.returncode == 0
    assert "settings.toml" in done.stderr
    assert settings.read_text() == "[sampling\ntemperature = 1"


def test_escape_sequences_of_the_model_reach_neither_terminal_nor_pipe(capsys):
    printer = Printer()
    printer.write("a\x1b]0;owned\x07b\x9bc")
    printer.end()
    written = capsys.readouterr().out
    assert not set(written) & {"\x1b", "\x07", "\x9b"}
    assert written.startswith("a")


@pytest.mark.parametrize(
    ("pieces", "printed"),
    [
        (["a\r", "\nb"], "a\nb\n"),
        (["a\r"], "a␍\n"),
        (["a\r", "\n"], "a\n"),
        (["a\u200d", "b"], "a\ufffdb\n"),
        ([], "\n"),
    ],
)
def test_pieces_are_printed_as_if_they_had_come_at_once(capsys, pieces, printed):
    printer = Printer()
    for piece in pieces:
        printer.write(piece)
    printer.end()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(("argument", "prompt"), [("Hello", "Hello"), (None, "")])
def test_a_closed_stdin_pipes_nothing_in(argument, prompt):
    assert read_prompt(argument, None) == prompt


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_the_encoding_of_stdout_lacks_becomes_a_question_mark(home_with_model, encoding):
    command = [COMMAND, "run", "--raw", "--max-new-tokens", "8", "--temperature", "0", "🦙🦙🦙🦙🦙🦙🦙🦙"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?" in done.stdout


# --- while the model loads -------------------------------------------------------------------------


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_how_far_the_model_is_and_then_nothing():
    stream = FakeTerminal()
    with LoadingLine("Tiny\x1b[2J", stream) as line:
        line(Loading(0.0, "torch"))
        line(Loading(0.399, "weights"))
        line(Loading(0.391, "weights"))
        line(Loading(1.0, "weights"))
    shown = [text.strip() for text in stream.getvalue().split("\r") if text.strip()]
    assert shown == ["Loading Tiny␛[2J…", "Loading Tiny␛[2J… 39 %", "Loading Tiny␛[2J… 100 %"]
    screen = pyte.Screen(80, 3)
    pyte.Stream(screen).feed(stream.getvalue())
    assert "".join(screen.display).strip() == ""
    assert (screen.cursor.x, screen.cursor.y) == (0, 0)


def test_the_line_is_gone_when_loading_fails_and_is_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = FakeTerminal()

    def fail():
        with LoadingLine("羊駝" * 20, stream) as line:
            line(Loading(0.0, "torch"))
            raise ModelError("broken")

    with pytest.raises(ModelError):
        fail()
    screen = pyte.Screen(20, 3)
    pyte.Stream(screen).feed(stream.getvalue())
    assert "".join(screen.display).strip() == ""
    assert screen.cursor.y == 0


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_where_nobody_looks_nothing_is_shown(stream):
    with LoadingLine("Tiny", stream) as line:
        line(Loading(0.5, "weights"))
    assert stream is None or stream.getvalue() == ""


def test_a_terminal_that_went_away_does_not_stop_the_loading():
    stream = FakeTerminal()
    with LoadingLine("Tiny", stream) as line:
        stream.close()
        line(Loading(0.0, "torch"))
        line(Loading(0.5, "weights"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_run_at_a_terminal_shows_the_loading_before_the_answer(home_with_model):
    from pty_terminal import Terminal

    arguments = ("run", "--max-new-tokens", "4", "--temperature", "0", "What is two plus two?")
    with Terminal(*arguments, environment={}) as terminal:
        terminal.wait_for(lambda: b"Loading SmolLM2-135M-Instruct" in terminal.raw)
        assert terminal.wait_for_end(60) == 0
        assert b" %" in terminal.raw
        assert terminal.text.startswith("Two plus two")
        assert "Loading" not in terminal.text


# --- going on with a session -----------------------------------------------------------------------


@pytest.fixture
def begun(home):
    """A store with one session of two messages, and the session's id."""
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    session = store.create(date="2026-11-22")
    chat = Conversation()
    words = [chat.append(Role.USER, "My name is Reynard."), chat.append(Role.ASSISTANT, "Hello Reynard!")]
    store.add_messages(session.id, words, words[-1].id)
    yield store, session.id
    store.close()


def test_a_reply_whose_reader_left_is_kept_as_interrupted(begun, home_with_model):
    store, session_id = begun
    command = [COMMAND, "run", "-c", "--max-new-tokens", "4000", "Write a very long story."]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout.read(3)
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    last = store.load(session_id).path()[-1]
    assert last.reply.finish_reason == "interrupted"
    assert len(last.reply.token_ids) >= 1
    assert last.text


@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_a_reply_that_was_broken_off_keeps_its_tokens_and_its_model(home, error):
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    session_id = store.create(date="2026-11-22").id
    asked = History.open(Settings(), user_paths(), resume=session_id, continue_last=False)

    def broken_off():
        with asked as history:
            history.ask("Hello")
            with history.keeping(1, Sampling(), INFO) as keep:
                keep(Prefilled(3, 0, 0.1))
                raise error

    with pytest.raises(error):
        broken_off()
    path = store.load(session_id).path()
    assert path[-1].reply.finish_reason == "interrupted"
    assert path[-1].reply.model == INFO.name
    assert store.find(session_id).model == INFO.name
    store.close()


def test_a_session_goes_on_under_the_system_prompt_of_the_command_line(begun, run_here):
    store, session_id = begun
    done = run_here("-c", "--system", "Be brief.", "--max-new-tokens", "2", "What is my name?")
    assert done.returncode == 0
    chat = store.load(session_id)
    assert chat.system == "Be brief."
    assert [turn.text for turn in chat.turns[:3]] == [
        "My name is Reynard.",
        "Hello Reynard!",
        "What is my name?",
    ]
    assert run_here("-c", "--max-new-tokens", "2", "Again?").returncode == 0
    assert store.load(session_id).system == "Be brief.", "it stays"
    assert run_here("-c", "--system", "", "--max-new-tokens", "2", "And now?").returncode == 0
    assert store.load(session_id).system == ""
    assert len(store.load(session_id).turns) == 8
