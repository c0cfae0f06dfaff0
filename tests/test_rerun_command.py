"""`replay --rerun` as a command: which model runs, what is printed, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded_chat import RecordedChat
from tiny_models import TinyModel

from llama_chat.cli import rerun_compare, rerun_text
from llama_chat.cli.rerun import run_rerun
from llama_chat.cli.talk import exit_status
from llama_chat.engine.load import load_engine
from llama_chat.errors import DeviceError, ModelError, StoreError
from llama_chat.events import Sampling
from llama_chat.paths import Paths
from llama_chat.rerun.asking import questions_of
from llama_chat.sessions import SessionRecord
from llama_chat.settings import LoadedSettings, ModelSettings, Settings

SAMPLING = Sampling(temperature=0.9, top_k=0, max_new_tokens=10)
COLUMNS = 120

Rerun = Callable[..., int]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What the engine sets for the whole process is set back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and another one."""
    folder = tmp_path_factory.mktemp("models")
    TinyModel(n_layers=1).write(folder / "tiny.gguf")
    TinyModel(n_layers=1, seed=1).write(folder / "other.gguf")
    return folder


@pytest.fixture
def chat(folder: Path) -> Iterator[RecordedChat]:
    """Two questions, and a second answer to the first."""
    engine = load_engine(folder / "tiny.gguf", ModelSettings(threads=1))
    chat = RecordedChat(engine)
    first = chat.say("One?", sampling=SAMPLING)
    chat.regenerate(first, sampling=SAMPLING, seed=8, moves={4: replace(SAMPLING, temperature=0.0)})
    chat.say("Two?", sampling=SAMPLING)
    yield chat
    engine.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rerun:
    """`run_rerun` with the settings given by name, in folders of its own."""
    monkeypatch.setattr("llama_chat.cli.rerun.start_log", lambda _: None)
    paths = Paths(*(tmp_path / name for name in ("config", "data", "cache", "log")))

    def run(record: SessionRecord, *given: str, as_json: bool = False, **values: object) -> int:
        settings = Settings(model=ModelSettings(**values))  # type: ignore[arg-type]  # by name
        return run_rerun(record, LoadedSettings(settings), paths, given_options=given, as_json=as_json)

    return run


def other_seed(chat: RecordedChat) -> SessionRecord:
    """The same tokens, told to come from another seed."""
    last = chat.conversation.path()[-1]
    assert last.reply is not None
    chat.conversation.update(replace(last, reply=replace(last.reply, seed=1)))
    return chat.record


def test_the_recorded_model_says_the_same(
    chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a reply, and the verdict last; nothing of it on stderr."""
    assert run(chat.record) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("tiny · bf16 · cpu · scratch engine · torch ")
    assert lines[0].endswith(" · as recorded")
    assert lines[1:-1] == [f"reply {n}: identical, 10 tokens" for n in (1, 2, 3)]
    assert lines[-1] == "IDENTICAL: 3 replies, 30 choices; log-probabilities differ by at most 0"
    assert err == ""


def test_threads_may_be_others_and_that_is_said_first(
    chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is still the check: the model is the recorded one."""
    monkeypatch.setattr("llama_chat.engine.load.set_threads", lambda asked: asked)
    run(chat.record, "--threads", threads=2)
    assert capsys.readouterr().out.splitlines()[0].endswith("not as recorded: threads 2 (recorded: 1)")


def test_differences_are_told_and_the_exit_status_is_1(
    chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both tokens with their probabilities in both runs, the margin, the texts around it."""
    assert run(other_seed(chat)) == 1
    out = capsys.readouterr().out
    assert "reply 2: identical" in out
    assert "reply 3: diverged, 10 tokens, " in out
    assert out.splitlines()[-1].startswith("DIVERGED: 3 replies, 30 choices")
    assert out.count("    recorded   ") == out.count("    rerun      ") >= 3
    assert " logits: " in out
    assert "(recorded 0." in out


def test_as_json(chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str]) -> None:
    """One object that has it all."""
    assert run(other_seed(chat), as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["judged_replies"], found["is_whole"]) == ("diverged", 3, True)
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["identical", "identical", "diverged"]
    difference = found["verdicts"][2]["differences"][0]
    assert difference["recorded"]["token_id"] != difference["rerun"]["token_id"]
    assert difference["margin"] > 0


def test_a_model_that_was_moved_is_known_by_its_weights(
    chat: RecordedChat, run: Rerun, folder: Path, tmp_path: Path
) -> None:
    """It is found where the settings point, not by its name; another one in its old place is not taken."""
    moved = shutil.copy(folder / "tiny.gguf", tmp_path / "renamed.gguf")
    replaced = shutil.copy(folder / "other.gguf", tmp_path / "tiny.gguf")
    for message_id, model in chat.models.items():
        chat.models[message_id] = replace(model, path=str(replaced))
    assert run(chat.record, model=str(moved)) == 0
    with pytest.raises(ModelError, match=r"tiny \(weights \w{16}\), was not found") as raised:
        run(chat.record, model=str(replaced))
    assert "--model" in raised.value.hint


def test_a_device_that_is_gone(chat: RecordedChat, run: Rerun) -> None:
    """The error says how to run it elsewhere."""
    for message_id, model in chat.models.items():
        chat.models[message_id] = replace(model, device="xpu:7")
    with pytest.raises(DeviceError, match="xpu") as raised:
        run(chat.record)
    assert "--device auto" in raised.value.hint
    assert run(chat.record, "--device", device="auto") == 0


def test_another_model_is_asked_the_same(
    chat: RecordedChat, run: Rerun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both answers, the questions of the path; exit status 0."""
    given = {"model": str(folder / "other.gguf"), "threads": 1}
    assert run(chat.record, "--model", as_json=True, **given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "other"
    assert [turn["question"] for turn in found["turns"]] == ["One?", "Two?"]
    for turn, question in zip(found["turns"], questions_of(chat.record), strict=True):
        assert question.answer is not None
        assert turn["recorded"]["text"] == question.answer.text
        assert turn["now"]["seed"] == turn["recorded"]["seed"]
        assert 0 < len(turn["now"]["token_ids"]) <= 10
        assert turn["now"]["token_ids"] != turn["recorded"]["token_ids"]
    assert run(chat.record, "--model", **given) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert first.startswith("other · bf16 · cpu · scratch engine · torch ")
    assert " · 1 thread · " in first
    assert "not as recorded" not in first
    assert out.count("recorded, tiny · bf16 · scratch:") == out.count("now, other · bf16 · scratch:") == 2


def test_naming_the_recorded_model_is_the_check(
    chat: RecordedChat, run: Rerun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its weights, engine and dtype; in another dtype it is another model."""
    model = str(folder / "tiny.gguf")
    assert run(chat.record, "--model", model=model, threads=1) == 0
    assert "IDENTICAL" in capsys.readouterr().out
    assert run(chat.record, "--dtype", dtype="f32") == 0
    out = capsys.readouterr().out
    assert "now, tiny · f32 · scratch:" in out
    assert "IDENTICAL" not in out


def test_two_columns_on_a_wide_terminal(
    chat: RecordedChat,
    run: Rerun,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The recorded answer at the left, the new one at the right, no line wider than the terminal."""
    monkeypatch.setattr(rerun_compare, "width_of", lambda _: COLUMNS)
    long = "word " * 40 + "\x1b[31mred\tand\nmore"
    last = chat.conversation.path()[-1]
    chat.conversation.update(replace(last, text=long))
    assert run(chat.record, "--model", model=str(folder / "other.gguf"), threads=1) == 0
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out
    assert all(len(line) <= COLUMNS for line in out.splitlines())
    heads = [line for line in out.splitlines() if line.startswith("recorded, tiny")]
    assert [head.split("│")[1].strip() for head in heads] == ["now, other · bf16 · scratch"] * 2
    left = " ".join(line.split("│")[0].strip() for line in out.splitlines() if "word" in line)
    assert left.count("word") == 40


def test_ctrl_c_prints_what_is_judged(
    chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the status of an interruption."""
    shown = rerun_text.ProgressLine.show

    def interrupting(self: rerun_text.ProgressLine, progress: object) -> None:
        shown(self, progress)  # type: ignore[arg-type]  # handed on
        if (progress.number, progress.tokens) == (2, 3):  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(rerun_text.ProgressLine, "show", interrupting)
    assert exit_status(lambda: run(chat.record)) == 130
    out, err = capsys.readouterr()
    assert "reply 1: identical" in out
    assert "reply 2: identical, 10 tokens, stopped after 3" in out
    assert out.splitlines()[-1].startswith("IDENTICAL: 2 of 3 replies, 13 choices")
    assert out.splitlines()[-1].endswith("; stopped")
    assert "Stopped" in err


def test_a_session_without_replies(chat: RecordedChat, run: Rerun) -> None:
    """There is nothing to run."""
    chat.conversation.messages.clear()
    chat.conversation.leaf_id = None
    with pytest.raises(StoreError, match="nothing to run again"):
        run(chat.record)


def test_what_was_not_judged_is_not_called_identical(
    chat: RecordedChat, run: Rerun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reply of an unknown model, and one of another model than is loaded: said, and the status tells."""
    first, *others = chat.models
    known = dict(chat.models)
    del chat.models[first]
    assert run(chat.record) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("; not judged: 1")
    assert run(chat.record, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["judged_replies"], found["not_judged"]) == ("identical", 2, 1)
    chat.models |= known | {first: replace(known[first], fingerprint="of others")}
    assert run(chat.record, "--threads", threads=1) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("; not judged: 1")
    assert len(others) == 2


def test_a_question_that_cannot_be_put_is_passed_over(
    chat: RecordedChat, run: Rerun, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty one; those after it are asked as if it had not been said."""
    question = chat.conversation.path()[0]
    chat.conversation.update(replace(question, text="  "))
    given = {"model": str(folder / "other.gguf"), "threads": 1}
    assert run(chat.record, "--model", as_json=True, **given) == 0
    first, second = json.loads(capsys.readouterr().out)["turns"]
    assert "The prompt is empty" in first["now"]["error"]
    assert second["now"]["token_ids"]
    assert run(chat.record, "--model", **given) == 0
    assert "(The prompt is empty" in capsys.readouterr().out
