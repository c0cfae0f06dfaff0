"""`llama-chat sweep`: columns in a pipe, columns that grow in a terminal, JSON, wrong usage, Ctrl+C."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweep_stage import STORY, WordNetwork, telling
from test_cli import run

from llama_chat.cli import engines, sweep_text
from llama_chat.distribution.names import TokenNames
from llama_chat.events import LiveSampling, Text, Token
from llama_chat.sweep.asking import sweep_by
from llama_chat.sweep.columns import NEUTRAL, parse_variation
from llama_chat.sweep.gathered import SweepReplies

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def network() -> WordNetwork:
    return WordNetwork()


@pytest.fixture
def say(
    network: WordNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Say:
    """The command, with a model that knows a few words: exit status, stdout, stderr."""
    monkeypatch.setenv("LLAMA_CHAT_HOME", str(tmp_path))
    monkeypatch.setattr(engines, "load_for_command", lambda *_: network.engine())
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run_it(*words: str) -> tuple[int, str, str]:
        status = run("sweep", *words)
        return status, *capsys.readouterr()

    return run_it


def test_columns_below_each_other_in_a_pipe(say: Say) -> None:
    status, out, err = say("Tell me.", "--seed", "7", "-n", "12", "--raw")
    assert status == 0
    assert err == ""
    first, second, *_ = out.splitlines()
    assert first == "Tell me."
    assert second == "storyteller · f32 · cpu · prompt of 8 tokens, computed once · seed 7"
    headings = [line for line in out.splitlines() if line.startswith("temperature")]
    assert headings == [f"temperature {value}" for value in ("0.1", "0.316", "1", "3.16", "10")]
    coldest = out.split("temperature 0.1\n")[1].splitlines()
    assert coldest[0].strip() == " ".join(STORY.split()[:12])
    labels = [line.split("  ")[1] for line in coldest[1:6]]
    assert labels == ["mean p", "distinct", "surprise", "perplexity", "tokens"]
    assert coldest[5].endswith("cut after 12 tokens")
    assert coldest[6].endswith('%  " Once"')
    assert "mean p: the probability of its tokens" in out


def test_what_is_said_is_what_run_would_say(say: Say, network: WordNetwork) -> None:
    _, out, _ = say(
        "Tell me.", "--raw", "--seed", "7", "-n", "9", "--vary", "top-k=1,3", "--temperature=2", "--json"
    )
    assert network.rows[0] == 8
    for column in json.loads(out)["columns"]:
        sampling = replace(NEUTRAL, temperature=2.0, top_k=column["top_k"], max_new_tokens=9)
        events = network.engine().stream([Text("Tell me.")], sampling=LiveSampling(sampling), seed=7)
        assert column["token_ids"] == [event.token_id for event in events if isinstance(event, Token)]
        assert column["sampling"] == {
            "temperature": 2.0,
            "top_k": column["top_k"],
            "top_p": 1.0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_new_tokens": 9,
        }


def test_the_json(say: Say) -> None:
    status, out, _ = say("Tell me.", "--seed", "7", "-n", "4", "--json", "--candidates", "3")
    assert status == 0
    data = json.loads(out)
    assert list(data) == [
        *("model", "engine", "device", "dtype", "prompt_tokens", "prefill", "varied", "columns")
    ]
    assert data["varied"] == "temperature"
    column = data["columns"][2]
    assert list(column) == [
        *(
            "temperature",
            "seed",
            "sampling",
            "text",
            "token_ids",
            "finish_reason",
            "error",
            "figures",
            "tokens",
        )
    ]
    assert (column["temperature"], column["seed"], column["finish_reason"]) == (1.0, 7, "length")
    assert list(column["figures"]) == [
        *("mean_probability", "mean_probability_drawn", "is_exact", "surprise_bits", "perplexity"),
        *("distinct_1", "distinct_2"),
    ]
    token = column["tokens"][0]
    assert list(token) == [
        *("id", "name", "rank", "probability", "probability_drawn", "surprise_bits", "entropy_bits"),
        *("left", "is_exact", "candidates"),
    ]
    assert [len(token["candidates"]) for token in column["tokens"]] == [3, 3, 3, 3]
    assert list(token["candidates"][0]) == ["id", "name", "probability", "probability_drawn", "cut_by"]
    probabilities = [token["probability"] for token in column["tokens"]]
    assert column["figures"]["mean_probability"] == pytest.approx(sum(probabilities) / 4)
    assert column["figures"]["surprise_bits"] == pytest.approx(
        -sum(map(math.log2, probabilities)) / 4, rel=1e-5
    )
    assert "".join(token["name"].strip('"') for token in column["tokens"]) == column["text"]


def test_the_template_and_the_settings_file(say: Say, network: WordNetwork, tmp_path: Path) -> None:
    """The sampling of the file does not count: what is not varied is neutral."""
    (tmp_path / "config.toml").write_text("[sampling]\ntop_k = 1\n")
    status, out, err = say("Tell me.", "--vary", "seed=1,2", "--temperature", "5", "--json")
    assert status == 0
    assert "no chat template" in err
    columns = json.loads(out)["columns"]
    assert [column["seed"] for column in columns] == [1, 2]
    assert columns[0]["sampling"]["top_k"] == 0
    assert columns[0]["sampling"]["max_new_tokens"] == 48
    assert columns[0]["text"] != columns[1]["text"]
    assert network.is_closed


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "The prompt is empty."),
        (["  "], 2, "The prompt is empty."),
        (["Hi", "--vary", "warmth=1"], 2, "'warmth' cannot be varied"),
        (["Hi", "--vary", "top-p=0.5,2"], 2, "top-p: '2' is outside 0 to 1."),
        (["Hi", "--vary", "top-k", "--top-k", "3"], 2, "--top-k sets what is varied."),
        (["Hi", "--temperature", "3"], 2, "--temperature sets what is varied."),
        (["Hi", "--candidates", "3"], 2, "--candidates belongs to --json."),
        (["Hi", "-n", "0"], 2, "outside 1 to"),
        (["a" * 30_000, "--raw"], 1, "The prompt has 30,000 tokens, the context holds 4,096."),
    ],
)
def test_wrong_usage(say: Say, words: Sequence[str], status: int, said: str) -> None:
    found, out, err = say(*words)
    assert (found, out) == (status, "")
    assert said in err
    assert "Traceback" not in err


def test_options_before_the_command_count(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--temperature", "2", "sweep", "Hi", "--vary", "top-k=1", "-n", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["columns"][0]["sampling"]["temperature"] == 2
    assert run("--resume", "x", "sweep", "Hi") == 2
    assert "takes no --resume" in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(say: Say, network: WordNetwork) -> None:
    def interrupt(number: int) -> None:
        if number == 11:
            os.kill(os.getpid(), signal.SIGINT)

    network.before_forward = interrupt
    status, out, err = say("Hi", "--raw", "--json", "--seed", "1")
    assert status == 130
    assert "Stopped" in err
    columns = json.loads(out)["columns"]
    assert [column["finish_reason"] for column in columns] == ["stopped"] * 5
    assert {len(column["tokens"]) for column in columns} <= {2, 3}


def test_logits_that_are_no_numbers(say: Say, network: WordNetwork) -> None:
    def logits(ids: Sequence[int]) -> Sequence[float]:
        row = telling(ids)
        return [math.nan] * len(row) if len(ids) > 4 else row

    network.logits_of = logits
    status, out, err = say("Hi", "--raw")
    assert status == 1
    assert "no number (NaN) as the logit of token 3" in err
    assert out.count("failed after 3 tokens") == 5


# --- in a terminal ------------------------------------------------------------------------------------------


class Tty(io.StringIO):
    """Everything that is drawn, one drawing after the other."""

    def isatty(self) -> bool:
        return True

    @property
    def drawings(self) -> list[list[str]]:
        """Lines of each, without what leads back to the first of the one before."""
        found = [re.sub(r"\r\x1b\[\d+A", "", part) for part in self.getvalue().split("\x1b[J")[:-1]]
        return [part.replace("\x1b[K", "").split("\n")[:-1] for part in found]


def drawn(columns: int, rows: int, monkeypatch: pytest.MonkeyPatch, text: str = "temperature") -> Tty:
    """A sweep of twelve tokens in a terminal of that size, every event of it drawn."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, rows)))
    terminal, engine, variation = Tty(), WordNetwork().engine(), parse_variation(text)
    names = TokenNames.of_engine(engine)
    environment = {"NO_COLOR": "1"}
    printer: Any = sweep_text.printer_for(terminal, environment, "Tell me.", variation, engine.info, names)
    assert isinstance(printer, sweep_text.GrowingColumns)
    printer.clock = iter(range(10_000)).__next__
    made = variation.columns(replace(NEUTRAL, max_new_tokens=12), 7)
    replies = SweepReplies.of(made)
    for event in sweep_by(engine, [Text("Tell me.")], made, threading.Event()):
        replies.feed(event)
        printer.show(replies)
    printer.end(replies)
    return terminal


@pytest.mark.parametrize(("columns", "rows", "beside"), [(160, 48, 5), (80, 24, 3), (40, 12, 1)])
def test_columns_that_grow(columns: int, rows: int, beside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    *running, last = drawn(columns, rows, monkeypatch).drawings
    assert len(running) > 10
    assert all(len(drawing) < rows for drawing in running)
    assert all(len(line) < columns for drawing in [*running, last] for line in drawing)
    headings = [line for line in last if line.startswith("temperature ")]
    assert headings[0].count("temperature") == beside
    assert "".join(headings).replace(" ", "").split("temperature") == ["", "0.1", "0.316", "1", "3.16", "10"]
    assert any("Once upon a time" in line for line in last)
    assert sum("first token out of" in line for line in last) == len(headings)


def test_each_drawing_takes_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = drawn(100, 30, monkeypatch, "top-k=1,all")
    backs = re.findall(r"\x1b\[J\r\x1b\[(\d+)A", terminal.getvalue())
    assert [int(lines) for lines in backs] == [len(drawing) for drawing in terminal.drawings[:-1]]


def test_a_simple_terminal_gets_them_below_each_other() -> None:
    engine, variation = WordNetwork().engine(), parse_variation("top-k=1")
    names = TokenNames.of_engine(engine)
    made = sweep_text.printer_for(Tty(), {"TERM": "dumb"}, "x", variation, engine.info, names)
    assert isinstance(made, sweep_text.ColumnsBelow)
