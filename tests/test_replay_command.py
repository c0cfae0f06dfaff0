"""`llama-chat replay`: where the session comes from, plain lines, the cast, and what is refused."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyte
import pytest
from pty_terminal import Terminal
from replay_records import Script, fox_session

from llama_chat.cli import cast, invoke
from llama_chat.cli.talk import exit_status
from llama_chat.conversation import Message
from llama_chat.paths import user_paths
from llama_chat.replay import Timeline, build_timeline
from llama_chat.sessions import SessionRecord, SessionStore
from llama_chat.sessions.exchange.jsonl import jsonl_lines

FIRST_REPLY = "Once upon a time, there was a fox named Felix. He lived by a wide, slow river."


@pytest.fixture
def stored(home: Path) -> str:
    """The id of the fox's session in the store of an empty home."""
    return put_into_store(fox_session())


def put_into_store(record: SessionRecord) -> str:
    store = SessionStore(user_paths().sessions_file)
    store.open()
    session = store.create(title=record.info.title, date=record.info.date)
    for message in record.conversation.messages.values():
        if message.reply is None:
            store.add_messages(session.id, [message], message.id)
        else:
            store.begin_reply(session.id, running(message))
            store.append_tokens(message.id, record.tokens_of(message.id))
            store.finish_reply(session.id, message)
    store.select_leaf(session.id, record.conversation.leaf_id)
    store.close()
    return session.id


def running(message: Message) -> Message:
    assert message.reply is not None
    return replace(message, text="", reply=replace(message.reply, finish_reason=None, token_ids=()))


def run(*arguments: str) -> int:
    return exit_status(lambda: invoke(["replay", *arguments]))


@pytest.fixture
def fox_timeline() -> Timeline:
    return build_timeline(fox_session())


# --- plain lines ---------------------------------------------------------------------------------


def test_plain_and_instant_prints_all_that_was_said(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stored[:8], "--plain", "--instant") == 0
    out, err = capsys.readouterr()
    assert out == (
        "you:\nTell me about the **fox** and the river.\n\n"
        f"SmolLM2-135M-Instruct:\n{FIRST_REPLY}\n\n"
        "SmolLM2-135M-Instruct:\nA fox crossed the river, and the river kept quiet.\n\n"
        "you:\nAnd then?\n\n"
        "SmolLM2-135M-Instruct:\nThen it slept.\n"
    )
    assert err.splitlines() == [
        "[temperature 0.7 → 1.2]",
        "[temperature 1.2 → 0.7]",
        "[another branch, 2 of 2 after: Tell me about the **fox** and the river.]",
        "[top-k 40 → all]",
        "[the next token was chosen by the user]",
        "[stopped by the user]",
        f"[in the end the branch was chosen that ends with: {FIRST_REPLY[:49].rstrip()}…]",
    ]


def test_plain_lines_come_at_the_pace(stored: str, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert run(stored, "--speed", "20") == 0
    assert time.monotonic() - started > build_timeline(fox_session()).total_s / 20
    assert "Then it slept." in capsys.readouterr().out


def test_a_session_out_of_a_file_is_the_same(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SessionStore(user_paths().sessions_file)
    store.open()
    file = tmp_path / "fox.jsonl"
    file.write_text("".join(jsonl_lines(store.record(stored))), encoding="utf-8")
    store.close()
    assert run(stored, "--instant") == 0
    from_store = capsys.readouterr()
    assert run(str(file), "--instant") == 0
    assert capsys.readouterr() == from_store


def test_what_commands_a_terminal_is_made_visible(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    script.say("\x1b]0;evil\x07 hi", after_s=0)
    script.reply(["a\x1b", "[2J b\r", "\nc"])
    assert run(put_into_store(script.record()), "--instant") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a␛[2J b\nc" in out


def test_no_torch_is_imported_and_no_model_needed(stored: str) -> None:
    code = (
        "import sys; from llama_chat.cli import invoke; "
        f"invoke(['replay', {stored!r}, '--instant']); "
        "import llama_chat.ui.replay.app, llama_chat.cli.cast; "
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert FIRST_REPLY in done.stdout


def test_on_a_terminal_it_is_a_screen(stored: str, home: Path) -> None:
    with Terminal("replay", stored, "--speed", "8", environment={"LLAMA_CHAT_HOME": str(home)}) as terminal:
        terminal.wait_for("▶")
        terminal.wait_for("■", within_s=30)
        terminal.wait_for("Felix")
        terminal.send("\x1b[D")  # the arrow to the left: back by one
        terminal.wait_for("Then it slept")
        terminal.send("q")
        assert terminal.wait_for_end() == 0


def test_a_cast_that_is_broken_off_leaves_nothing(stored: str, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "fox.cast"
    options = ("replay", stored, "--cast", str(target), "--speed", "0.01")  # 900 seconds to be drawn
    with Terminal(*options, environment={"LLAMA_CHAT_HOME": str(home)}) as terminal:
        terminal.wait_for(r"drawing \d+:\d\d of \d")
        terminal.send("\x03")
        assert terminal.wait_for_end() == 130
    assert [path.name for path in tmp_path.iterdir() if "cast" in path.name] == []


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--speed", "2", "--instant"), "exclude each other"),
        (("--cast", "x.cast", "--plain"), "exclude each other"),
        (("--rerun", "--speed", "2"), "exclude each other"),
        (("--size", "100x30"), "belongs to --cast"),
        (("--json",), "belongs to --rerun"),
        (("--model", "other"), "belongs to --rerun"),
        (("--session", "ab"), "belongs to a FILE"),
        (("--cast", "x.cast", "--size", "100"), "no size of a screen"),
        (("--cast", "x.cast", "--size", "9999x9999"), "no size of a screen"),
        (("--speed", "0"), "--speed"),
        (("--speed", "nan"), "--speed"),
        (("--speed", "inf"), "--speed"),
        (("--speed", "1e400"), "--speed"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    stored: str, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stored, *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("abcdef", "No session begins with"),
        ("missing.jsonl", "missing.jsonl"),
        ("nonsense", "No session begins"),
    ],
)
def test_a_session_that_is_not_there_is_one_clear_line(
    stored: str, argument: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argument, "--instant") == 1
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


# --- the cast ------------------------------------------------------------------------------------


def test_a_cast_has_the_times_of_the_player_and_the_last_screen(
    stored: str, tmp_path: Path, fox_timeline: Timeline
) -> None:
    target = tmp_path / "fox.cast"
    started = time.monotonic()
    assert run(stored, "--cast", str(target), "--size", "90x26") == 0
    assert time.monotonic() - started < 60
    header, *events = map(json.loads, target.read_text(encoding="utf-8").splitlines())
    assert header["version"] == 2
    assert (header["width"], header["height"]) == (90, 26)
    assert all(kind == "o" for _, kind, _ in events)
    times = [at_s for at_s, _, _ in events]
    assert all(a <= b for a, b in itertools.pairwise(times))
    assert times[-2] == pytest.approx(fox_timeline.total_s, abs=0.1)
    at_token = screen_at(events, 0.5 + 5 * 0.1 + 0.06)
    assert "Once upon a time, there" in at_token
    assert "was" not in at_token
    assert "temperature 0.7 · top-k 40" in at_token
    assert "temperature 0.7 → 1.2 · top-k 40" in screen_at(events, 0.5 + 9 * 0.1 + 0.1)
    assert header["duration"] == times[-1] == pytest.approx(fox_timeline.total_s + cast.HOLD_S)
    last = screen_at(events, times[-1])
    assert "Felix" in last
    assert "‹ 1/2 ›" in last
    assert "30 / 30 tokens" in last
    assert [path.name for path in tmp_path.glob(".*")] == []


def screen_at(events: list[list[object]], at_s: float) -> str:
    screen = pyte.Screen(90, 26)
    stream = pyte.Stream(screen)
    for event_s, _, data in events:
        if float(str(event_s)) <= at_s:
            stream.feed(str(data))
    return "\n".join(line.rstrip() for line in screen.display)


def test_a_cast_that_is_there_is_replaced_only_when_told(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "fox.cast"
    target.write_text("precious")
    assert run(stored, "--cast", str(target)) == 1
    assert "is there already" in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert run(stored, "--cast", str(target), "--force", "--speed", "64") == 0
    assert target.read_text().startswith('{"version": 2')


def test_a_cast_that_cannot_be_written_leaves_nothing(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cast, "_write_event", refuse)
        assert run(stored, "--cast", str(tmp_path / "fox.cast")) == 1
    assert "fox.cast cannot be written: No space left" in capsys.readouterr().err
    missing = tmp_path / "none" / "fox.cast"
    assert run(stored, "--cast", str(missing)) == 1
    assert f"{missing} cannot be written: No such file" in capsys.readouterr().err
    assert list(tmp_path.glob("*.cast*")) == list(tmp_path.glob(".fox*")) == []


def test_a_cast_of_more_than_a_day_is_refused(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long it gets is said before it is drawn."""
    target = tmp_path / "fox.cast"
    monkeypatch.setattr(cast, "LONGEST_S", 2.0)
    assert run(stored, "--cast", str(target)) == 2
    err = capsys.readouterr().err
    assert "The recording would last 0:0" in err
    assert "--speed" in err
    assert not target.exists()
    assert run(stored, "--cast", str(target), "--speed", "64") == 0
    assert "drawing 0:0" in capsys.readouterr().err
