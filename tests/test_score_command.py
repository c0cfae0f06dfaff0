"""`llama-chat tokens --score`: the table, the figures, JSON, and what cannot be scored."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli import home, run  # noqa: F401  (a fixture)
from tiny_models import TinyModel

from llama_chat.cli.tables import cells_of
from llama_chat.engine.inspect.tokenizer_at import read_tokenizer
from llama_chat.engine.scoring import ScoringEngine
from llama_chat.events import Text
from llama_chat.sanitize import is_safe

NASTY = "Hello the 🦙!\n\n  a\x1b[31m\u202eb é <|im_end|>\t漢"


@pytest.fixture
def model(home: Path, tmp_path: Path) -> Path:  # noqa: F811
    return TinyModel(context_length=64).write(tmp_path / "tiny.gguf")


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Piped(io.TextIOWrapper):
    """A stdin with these bytes in it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))


def score(capsys: pytest.CaptureFixture[str], model: Path, *words: str, status: int = 0) -> str:
    assert run("tokens", *words, "--model", str(model), "--dtype", "f32") == status
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], model: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(score(capsys, model, *words, "--json"))
    return found


@pytest.mark.parametrize("engine", ["scratch", "hf"])
def test_json_has_all_figures(model: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    found = as_json(capsys, model, NASTY, "--score", "--engine", engine)
    tokenizer = read_tokenizer(model)
    ids = tokenizer.encode_pieces([Text(NASTY)])
    assert [token["id"] for token in found["tokens"]] == ids
    assert (found["count"], found["scored"], found["engine"]) == (len(ids), len(ids) - 1, engine)
    first, *scored = found["tokens"]
    assert first["logprob"] is first["rank"] is first["surprise_bits"] is None
    logprobs = [token["logprob"] for token in scored]
    nbytes = sum(len(bytes.fromhex(token["bytes"])) for token in scored)
    assert found["perplexity"] == pytest.approx(math.exp(-sum(logprobs) / len(logprobs)))
    assert found["mean_surprise_bits"] == pytest.approx(-sum(logprobs) / len(logprobs) / math.log(2))
    assert found["bits_per_byte"] == pytest.approx(-sum(logprobs) / math.log(2) / nbytes)
    for token in scored:
        assert token["probability"] == pytest.approx(math.exp(token["logprob"]))
        assert len(token["likeliest"]) == 5
        assert (token["rank"] == 1) is (token["likeliest"][0]["id"] == token["id"])
    assert found["is_complete"] is True


def test_the_text_comes_from_the_argument_a_file_or_a_pipe(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Hello the and", encoding="utf-8")
    whole = score(capsys, model, "Hello the and", "--score")
    assert score(capsys, model, "--score", str(file)) == whole
    for words in (["--score"], ["--score", "-"]):
        monkeypatch.setattr(sys, "stdin", Piped(b"Hello the and"))
        assert score(capsys, model, *words) == whole
    lines = whole.splitlines()
    assert lines[0].split() == ["token", "probability", "rank", "bits", "the", "model's", "first", "choice"]
    assert lines[1].split() == ['"H"', "–", "–", "–"]
    assert "perplexity" in whole
    assert "tokens scored" in whole


@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_fit_the_terminal_and_are_safe(
    model: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert run("tokens", NASTY * 2, "--score", "--model", str(model)) == 0
    shown = terminal.getvalue()
    assert is_safe(shown)
    assert max(map(cells_of, shown.splitlines())) <= width
    assert ("first choice" in shown) is (width > 40)


def test_more_than_the_context_is_scored_in_windows(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tokens", "the and " * 100, "--score", "--model", str(model)) == 0
    printed = capsys.readouterr()
    assert "more than the context of 64" in printed.err
    assert "at least the 32 before it" in printed.err
    assert len(printed.out.splitlines()) > 200


@pytest.mark.parametrize(("text", "said"), [("", "the text is empty"), ("H", "the text is one token")])
def test_a_text_of_one_token_or_none(
    model: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    printed = score(capsys, model, text, "--score")
    assert f"Nothing to score: {said}" in printed
    assert "0 tokens" not in printed
    found = as_json(capsys, model, text, "--score")
    assert (found["scored"], found["perplexity"], found["bits_per_byte"]) == (0, None, None)


def test_bytes_that_are_no_text_are_counted(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"the\xff\xfe\x00and")
    assert run("tokens", "--score", str(file), "--model", str(model)) == 0
    assert "2 bytes of no UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "--score", "b"], "there is a TEXT too"),
        (["--score", "no such file"], "no such file: "),
        (["--score", "."], "irectory"),
        (["--score", "--sample", "3"], "exclude each other"),
        (["a", "--score", "--seed", "3"], "--seed belongs to --sample"),
    ],
)
def test_wrong_usage_is_told(
    model: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run("tokens", *words, "--model", str(model)) == 2
    assert said in capsys.readouterr().err


def test_ctrl_c_keeps_what_there_is(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ScoringEngine._score_window

    def interrupted(self: ScoringEngine, *arguments: Any) -> Any:
        yield from whole(self, *arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ScoringEngine, "_score_window", interrupted)
    assert run("tokens", "the and " * 100, "--score", "--model", str(model)) == 130
    printed = capsys.readouterr()
    assert "Stopped after 64 of " in printed.err
    assert "perplexity" in printed.out
    assert run("tokens", "the and " * 100, "--score", "--json", "--model", str(model)) == 130
    found = json.loads(capsys.readouterr().out)
    assert (found["is_complete"], found["scored"], len(found["tokens"])) == (False, 63, 64)
