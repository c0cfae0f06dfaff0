"""`llama-chat tokens`: the ids that the model would see, in colours, tables and JSON; samples."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_cli import run
from tiny_hf import TinyHF
from tiny_meta import TinyMeta
from tiny_models import TinyModel

from llama_chat.cli.tables import Painter, cells_of
from llama_chat.cli.tokens_text import text_lines
from llama_chat.engine.inspect.tokenizer_at import read_tokenizer
from llama_chat.events import Text
from llama_chat.sanitize import is_safe

NASTY = "Hello the 🦙!\n\n  a\x1b[31m\u202eb é <|im_end|>\t漢"
PAINT = re.compile(r"\x1b\[[0-9;]*m")
FAMOUS = "the answer to the ultimate question of life, the universe, and everything is "
FAMOUS_IDS = [
    *(128000, 1820, 4320, 311, 279, 17139, 3488, 315, 2324, 11, 279, 15861, 11, 323, 4395, 374, 220),
]


@pytest.fixture
def model(home: Path, tmp_path: Path) -> Path:
    return TinyModel().write(tmp_path / "tiny.gguf")


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def tokens(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str, status: int = 0) -> str:
    assert run("tokens", *arguments, "--model", str(model)) == status
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tokens(capsys, model, *arguments, "--json"))
    return found


def test_json_has_every_token_exactly(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = read_tokenizer(model)
    found = as_json(capsys, model, NASTY)
    ids = tokenizer.encode_pieces([Text(NASTY)])
    assert [each["id"] for each in found["tokens"]] == ids
    assert (found["count"], found["vocabulary_size"]) == (len(ids), len(tokenizer))
    assert b"".join(bytes.fromhex(each["bytes"]) for each in found["tokens"]) == NASTY.encode()
    assert not any(each["is_control"] for each in found["tokens"])  # <|im_end|> was written, not meant


def test_a_pipe_gets_borders_instead_of_colours(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tokens(capsys, model, "Hello the\nand").splitlines()
    assert lines[:2] == ["H│ello│ the│␊", "and"]
    tokenizer = read_tokenizer(model)
    assert lines[3] == " ".join(map(str, tokenizer.encode("Hello the\nand")))
    assert lines[4] == "5 tokens, 13 bytes"
    assert is_safe(tokens(capsys, model, NASTY))
    assert "\\xf0\\x9f│\\x80│\\x80" in tokens(capsys, model, "\U0001f000")  # one character, three tokens
    assert tokens(capsys, model, "") == "0 tokens, 0 bytes\n"


def test_in_a_terminal_neighbours_have_different_backgrounds(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environment, is_coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert run("tokens", "Hello the and", "--model", str(model)) == 0
        assert ("\x1b[" in terminal.getvalue()) is is_coloured
        assert is_safe(PAINT.sub("", terminal.getvalue()))
    (line, *_) = text_lines(read_tokenizer(model), read_tokenizer(model).encode(NASTY), Painter(True))
    codes = [code for code in PAINT.findall(line) if code != "\x1b[0m"]
    assert all(a != b for a, b in pairwise(codes))
    assert PAINT.sub("", line) == "Hello the 🦙!␊␊"


@pytest.mark.parametrize("width", [40, 80])
def test_in_a_terminal_no_token_and_no_id_is_broken(
    model: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    text = "the and " * 30 + "é\n" + "x" * 50
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    shown = []
    for more in ([], ["--table"], ["--sample", "300", "--seed", "1"]):
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert run("tokens", *(more if "--sample" in more else [text, *more]), "--model", str(model)) == 0
        shown.append(terminal.getvalue().splitlines())
        assert max(map(cells_of, shown[-1])) <= width
    ids = read_tokenizer(model).encode(text)
    at = shown[0].index("")
    assert "".join(shown[0][:at]).replace("│", "").replace("␊", "\n") == text
    assert " ".join(shown[0][at + 1 : -1]).split() == [str(token_id) for token_id in ids]


def test_the_table_has_a_line_for_each_token(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    titles, *lines = tokens(capsys, model, "the\x1b", "--table").splitlines()
    assert titles.split() == ["id", "bytes", "text"]
    assert [line.split()[1:] for line in lines] == [["74", "68", "65", "the"], ["1b", "␛"]]


def test_what_is_piped_in_is_taken_to_its_last_newline(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the and\n"))
    found = as_json(capsys, model)
    assert b"".join(bytes.fromhex(each["bytes"]) for each in found["tokens"]) == b"the and\n"
    assert as_json(capsys, model, "the")["count"] == 1  # a text is given: the pipe is left alone
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert run("tokens", "--model", str(model)) == 2
    assert "There is no text." in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert as_json(capsys, model)["count"] == 6  # three bytes for each of two U+FFFD


@pytest.mark.parametrize("argument", [[], [b"the \xff\xfe"]])
def test_bytes_that_are_no_text_are_counted(model: Path, argument: list[bytes]) -> None:
    """In whatever way Python was set up to read: in the C locale it takes any byte."""
    code = "import sys; from llama_chat.cli import main; main()"
    for locale in ("C", "C.UTF-8"):
        done = subprocess.run(
            [sys.executable, "-c", code, "tokens", "--model", str(model), *argument],
            input=b"the \xff\xfe",
            capture_output=True,
            env=os.environ | {"LC_ALL": locale},
            check=True,
        )
        assert done.stderr.decode() == (
            "llama-chat: 2 bytes of no UTF-8 text, each taken as U+FFFD (\ufffd).\n"
        )
        assert done.stdout.decode().endswith("10 bytes\n")


def test_a_sample_is_drawn_again_by_its_seed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = as_json(capsys, model, "--sample", "12")
    again = as_json(capsys, model, "--sample", "12", "--seed", str(first["seed"]))
    assert again == first
    ids = [each["id"] for each in first["tokens"]]
    assert len(set(ids)) == 12
    assert all(0 <= token_id < first["vocabulary_size"] for token_id in ids)
    assert [each["text"] for each in first["end_tokens"]] == ["<|endoftext|>", "<|im_end|>"]
    others = as_json(capsys, model, "--sample", "12", "--seed", str(first["seed"] + 1))
    assert others["tokens"] != first["tokens"]
    out = tokens(capsys, model, "--sample", "12", "--seed", "7")
    assert re.search(r"vocabulary +304 tokens\nend tokens +0 <\|endoftext\|>, 2 <\|im_end\|>\nseed +7\n", out)
    whole = as_json(capsys, model, "--sample", "304")["tokens"]
    assert {each["id"] for each in whole} == {*range(304)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sample", "305"], "the vocabulary has 304 tokens"),
        (["--sample", "0"], "--sample"),
        (["--sample", "3", "text"], "exclude each other"),
        (["text", "--seed", "3"], "--seed belongs to --sample"),
        (["text", "--score", "file"], "--score"),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tokens", *arguments, "--model", str(model)) == 2
    assert words in capsys.readouterr().err


def test_model_options_count_before_the_command_others_fail(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", str(model), "tokens", "the") == 0
    assert capsys.readouterr().out.startswith("the\n")
    for option in (["--temperature", "1"], ["--seed", "3"], ["-c"]):
        assert run(*option, "tokens", "the") == 2
        assert "'llama-chat tokens' takes no --" in capsys.readouterr().err


def test_the_tokenizer_of_a_model_that_no_engine_runs(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = TinyModel(architecture="mamba9").write(tmp_path / "m.gguf")
    assert as_json(capsys, path, "the and")["count"] == 3
    path.write_bytes(path.read_bytes()[:500])
    assert run("tokens", "the", "--model", str(path)) == 1
    assert "m.gguf" in capsys.readouterr().err


def test_metas_tokenizer_gives_the_famous_ids(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = importlib.util.find_spec("llama_models")
    assert package is not None, "llama-models belongs to the extra 'test'"
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "llama3" / "tokenizer.model"
    found = as_json(capsys, path, FAMOUS)
    assert [each["id"] for each in found["tokens"]] == FAMOUS_IDS
    assert found["tokens"][0]["is_control"]
    assert "17 tokens, 77 bytes" in tokens(capsys, path, FAMOUS)
    ends = as_json(capsys, path, "--sample", "12")["end_tokens"]
    assert [each["id"] for each in ends] == [128001, 128008, 128009]


def test_a_folder_in_metas_format(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = TinyMeta(n_kv_heads=4).write(tmp_path / "meta")
    for path in (folder, folder / "consolidated.00.pth", folder / "tokenizer.model"):
        found = as_json(capsys, path, "the <|eot_id|>")
        assert found["tokens"][0]["text"] == "<|begin_of_text|>"
        assert [each["is_control"] for each in found["tokens"][1:]] == [False] * (found["count"] - 1)
    (folder / "tokenizer.model").unlink()
    assert run("tokens", "the", "--model", str(folder)) == 1
    assert "there is no tokenizer.model" in capsys.readouterr().err


def test_a_hugging_face_folder_gives_the_ids_of_the_same_model_in_gguf(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = TinyHF(config={"model_type": "other", "eos_token_id": 5}).write(tmp_path / "hf")
    ids = [each["id"] for each in as_json(capsys, model, NASTY)["tokens"]]
    for path in (folder, folder / "model.safetensors", folder / "tokenizer.json"):
        assert [each["id"] for each in as_json(capsys, path, NASTY)["tokens"]] == ids
    (folder / "model.safetensors").unlink()
    assert [each["id"] for each in as_json(capsys, folder, NASTY)["tokens"]] == ids
    assert [each["id"] for each in as_json(capsys, folder, "--sample", "3")["end_tokens"]] == [0, 2, 5]
    (folder / "tokenizer.json").unlink()
    assert run("tokens", "the", "--model", str(folder)) == 1


def test_torch_is_not_loaded(model: Path) -> None:
    code = (
        "import sys; from llama_chat.cli import invoke\n"
        f"invoke(['tokens', 'the and', '--model', {str(model)!r}])\n"
        "assert not {'torch', 'transformers', 'textual'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the│")
