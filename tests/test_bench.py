"""`llama-chat bench`: what it asks for, what it measures and prints; with tiny models and made-up figures."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hostile_bench import MACHINE, MEASURED
from tiny_models import TinyModel

from llama_chat.benchmarks.children import ask_child
from llama_chat.benchmarks.comparing import compare_with_any, compare_with_last
from llama_chat.benchmarks.history import Past, append_run, past_runs
from llama_chat.benchmarks.prompts import prompt_ids
from llama_chat.benchmarks.records import FORMAT, Configuration, Drafted, Energy, Measured, Quality
from llama_chat.cli import bench_run, invoke
from llama_chat.cli.talk import exit_status
from llama_chat.errors import DeviceError, Interrupted, LlamaChatError, ModelError, UsageError
from llama_chat.paths import user_paths
from llama_chat.settings import ModelSettings

QUALITY = Quality(2000, 0.0009, 128, 0.0008, 16.654, 16.662, 0.989)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel(n_layers=1, context_length=4096).write(tmp_path_factory.mktemp("bench") / "tiny.gguf")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CHAT_HOME", str(tmp_path / "home"))


class FakeChild:
    """In the place of the process that measures; what it was asked for is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Configuration] = []
        self.qualities = 0
        self.found = MEASURED
        self.fails_at: dict[str, Exception] = {}

    def __call__(self, configuration: Configuration, what: str, *_: object) -> dict[str, Any]:
        if what == "quality":
            self.qualities += 1
            return asdict(QUALITY)
        self.asked.append(configuration)
        if (dtype := configuration.settings.dtype) in self.fails_at:
            raise self.fails_at[dtype]
        length = configuration.prompt_tokens or 5
        found = replace(self.found, dtype=dtype, prompt_tokens=length)
        return {"figures": found.as_data(), "machine": asdict(MACHINE)}


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> FakeChild:
    fake = FakeChild()
    monkeypatch.setattr(bench_run, "ask_child", fake)
    return fake


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = exit_status(lambda: invoke(["bench", *map(str, words)]))
    out, err = capsys.readouterr()
    return status, out, err


# --- the whole of it ----------------------------------------------------------------------------------


def test_a_run_prints_one_object_in_its_last_line(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a real process; as `peers.py` calls it."""
    words = ("--model", tiny, "--json", "--prompt-tokens", 300, "--new-tokens", 9, "--threads", 1)
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    found = json.loads(out.splitlines()[-1])
    result = found["results"][0]
    assert found["prefill_tok_per_s"] == result["prefill_tok_per_s"] > 0
    assert found["decode_tok_per_s"] == result["decode_tok_per_s"] > 0
    assert (result["prompt_tokens"], result["new_tokens"], result["threads"]) == (300, 9, 1)
    assert len(result["prefill_s"]) == len(result["decode_s"]) == result["repeats"] == 3
    assert result["first_token_cold_s"] > result["import_s"] + result["load_s"]
    assert 0 < result["bandwidth_share"] < 1
    assert result["peak_memory_bytes"] > 50e6
    assert found["machine"]["torch"]
    assert found["machine"]["cores"] >= 1
    assert result["compared"] == {"last": None, "file": None}
    assert user_paths().benchmarks_file.stat().st_mode & 0o077 == 0


def test_a_run_is_what_the_next_is_compared_with(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", tiny, "--json", "--prompt-tokens", 64)
    _, out, _ = run(capsys, *words)
    assert json.loads(out)["results"][0]["compared"]["last"] is None
    child.found = replace(MEASURED, decode_s=(0.25,), prefill_s=(0.4,))
    _, out, _ = run(capsys, *words)
    last = json.loads(out)["results"][0]["compared"]["last"]
    assert (last["decode"], last["prefill"], last["differences"]) == (4.0, 0.5, [])


def test_every_combination_is_measured_in_its_order(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_chat.cli.tables.width_of", lambda _: 80)
    lengths = ("--prompt-tokens", 16, "--prompt-tokens", 512, "--prompt-tokens", 16)
    status, out, _ = run(capsys, "--model", tiny, "--dtype", "bf16", "--dtype", "int4", *lengths)
    assert status == 0
    assert [(wanted.settings.dtype, wanted.prompt_tokens) for wanted in child.asked] == [
        ("bf16", 16), ("bf16", 512), ("int4", 16), ("int4", 512),
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_quality_is_measured_once_for_all_prompts(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = ("--prompt-tokens", 16, "--prompt-tokens", 512)
    status, out, _ = run(capsys, "--model", tiny, "--quality", *lengths)
    assert (status, child.qualities) == (0, 1)
    assert out.count("0.0009") == 2
    assert out.count("16.65") == 2


def test_one_that_fails_leaves_the_others_and_the_status_says_it(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str]
) -> None:
    child.fails_at["int4"] = ModelError("no such product", hint="Take bf16.")
    status, out, _ = run(capsys, "--model", tiny, "--dtype", "int4", "--dtype", "bf16")
    assert status == 1
    assert "Not measured: tiny, int4, prompt of 512: no such product.\n  Take bf16.\n" in out
    assert "bf16" in out
    child.fails_at["bf16"] = DeviceError("gone")
    status, out, err = run(capsys, "--model", tiny, "--dtype", "bf16")
    assert (status, out, err) == (1, "", "llama-chat: gone\n")


def test_what_was_measured_before_ctrl_c_is_printed_and_kept(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str]
) -> None:
    child.fails_at["int4"] = Interrupted("Stopped")
    status, out, err = run(capsys, "--model", tiny, "--dtype", "bf16", "--dtype", "int4", "--json")
    assert (status, err) == (130, "llama-chat: Stopped\n")
    assert [result["dtype"] for result in json.loads(out)["results"]] == ["bf16"]
    assert len(past_runs(user_paths().benchmarks_file)) == 1


def test_the_list_of_one_fits_a_terminal_of_80(
    tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_chat.cli.tables.width_of", lambda _: 80)
    child.found = replace(
        MEASURED,
        energy=Energy(0.5, "GPU (power reported by its driver)"),
        peak_device_bytes=10**9,
        drafting=Drafted("auto", 100, 100.0, 162.0, 80, 60, True),
        step="compiled 0123456789ab",
    )
    run(capsys, "--model", tiny)
    status, out, _ = run(capsys, "--model", tiny, "--quality")
    assert status == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    for words in (
        "mean KL from f32",
        "0.50 J/token",
        "against last run",
        "whole reply",
        "5.00 to 20.0",
        "×1.62",
        ", compiled step",
    ):
        assert words in out


@pytest.mark.parametrize(
    "words",
    [
        ("--prompt", "a", "--prompt-tokens", 3),
        ("--raw",),
        ("--prompt", " "),
        ("--prompt-tokens", 0),
        ("--repeats", 0),
        ("--dtype", "int3"),
        ("--compare", "no such file"),
        ("more",),
    ],
)
def test_words_that_do_not_fit_are_wrong_usage(
    words: tuple[object, ...], tiny: Path, child: FakeChild, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "--model", tiny, *words)
    assert (status, out, child.asked) == (2, "", [])
    assert err


# --- the process that measures --------------------------------------------------------------------------


def configuration(model: Path, prompt_tokens: int = 8, new_tokens: int = 4) -> Configuration:
    return Configuration(ModelSettings(model=str(model), threads=1), prompt_tokens, new_tokens, repeats=1)


def test_what_the_process_cannot_do_is_our_error(tiny: Path) -> None:
    with pytest.raises(UsageError, match="4,090 prompt tokens and 20 new ones do not fit") as caught:
        ask_child(configuration(tiny, prompt_tokens=4090, new_tokens=20), "speed", threading.Event())
    assert "--context" in caught.value.hint


def test_the_process_ends_at_once_when_it_is_stopped(tiny: Path) -> None:
    cancel = threading.Event()
    heard: list[str] = []

    def tell(what: str) -> None:
        heard.append(what)
        cancel.set()

    with pytest.raises(Interrupted):
        ask_child(configuration(tiny), "speed", cancel, tell)
    assert heard == ["loading"]


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("import os; os._exit(9)", "status 9 and without a figure. Please report"),
        ("import os; os.kill(os.getpid(), 9)", "status -9 and without a figure. The system ended it"),
    ],
)
def test_a_process_that_dies_is_told_of(
    start: str, words: str, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    if "kill" in start and sys.platform == "win32":
        pytest.skip("Windows has no such signal")
    monkeypatch.setattr("llama_chat.benchmarks.children._START", start)
    with pytest.raises(LlamaChatError, match=words):
        ask_child(configuration(tiny), "speed", threading.Event())


# --- earlier runs ---------------------------------------------------------------------------------------


def past_of(measured: Measured = MEASURED, **more: Any) -> Past:
    data = asdict(measured) | measured.as_data()
    values = {name: data[name] for name in Past.__dataclass_fields__ if name in data}
    run = {"date": "2026-11-22T10:00", "program": "x", "torch": MACHINE.torch, "machine": MACHINE.processor}
    return Past(**{**values, **run, **more})


def test_the_last_run_alike_counts_and_a_file_gives_the_nearest() -> None:
    slow = past_of(decode_tok_per_s=5.0, prefill_tok_per_s=100.0, first_token_s=0.002)
    others = [
        past_of(dtype="int4", decode_tok_per_s=1.0),
        past_of(decode_tok_per_s=2.0),
        slow,
        past_of(prompt_tokens=65),
        past_of(threads=9),
    ]
    last = compare_with_last(MEASURED, MACHINE, others)
    assert last is not None
    assert (last.decode, last.prefill, last.first_token, last.peak_memory) == (2.0, 3.2, 2.0, 1.0)
    assert last.differences == ()
    assert compare_with_last(replace(MEASURED, dtype="f32"), MACHINE, others) is None
    nearest = compare_with_any(replace(MEASURED, dtype="f32"), MACHINE, [*others, past_of(machine="Other")])
    assert nearest is not None
    assert [(part.what, part.then, part.is_grave) for part in nearest.differences] == [
        ("dtype", "cpu", False)
    ]
    assert nearest.decode == 2.0, "of those that differ as little, the latest"
    assert compare_with_any(replace(MEASURED, new_tokens=11), MACHINE, others) is None
    moved = compare_with_last(MEASURED, MACHINE, [past_of(machine="Other", torch="2.10", step="compiled 1")])
    assert moved is not None
    assert [(part.what, part.is_grave) for part in moved.differences] == [
        ("machine", True), ("torch", False), ("decode step", False),
    ]  # fmt: skip
    other = [past_of(fingerprint="of another one of that name")]
    assert compare_with_last(MEASURED, MACHINE, other) is None
    assert compare_with_any(MEASURED, MACHINE, other) is not None


def test_a_file_of_runs_survives_what_a_crash_or_a_stranger_left_in_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "runs.jsonl"
    good = {"format": FORMAT, "date": "d", "machine": asdict(MACHINE), "results": [MEASURED.as_data()]}
    append_run(path, good)
    assert past_runs(path) == [past_of(date="d", program="")]
    bad: list[Any] = [
        [], 3, {"format": "other"}, {**good, "results": 3}, {**good, "results": [3, {}]},
        {**good, "results": [{**MEASURED.as_data(), "decode_tok_per_s": "9"}]},
        {**good, "results": [{**MEASURED.as_data(), "decode_tok_per_s": -1}]},
    ]  # fmt: skip
    with path.open("a") as file:
        file.write(
            "".join(json.dumps(line) + "\n" for line in bad) + '{"a": Infinity, "b": \x1b[0m\n{"format": "lla'
        )
    odd = {**good, "machine": 5, "results": [{**MEASURED.as_data(), "model": 3, "threads": 1e300}]}
    append_run(path, odd)
    append_run(path, good)
    assert past_runs(path) == [
        past_of(date="d", program=""),
        past_of(date="d", program="", machine="", torch="", model="", threads=0),
        past_of(date="d", program=""),
    ]


# --- ids ------------------------------------------------------------------------------------------------


def test_the_ids_are_those_that_other_programs_get() -> None:
    assert prompt_ids(4, 49152) == [12706, 23875, 27024, 3673]
    assert prompt_ids(4, 1000) == [706, 875, 24, 673]
    assert prompt_ids(2, 1000, special_ids=(706, 707, 999)) == [708, 875]
    assert set(prompt_ids(500, 3, special_ids=(0, 1, 2))) == {0, 1, 2}, "a vocabulary without an ordinary id"
