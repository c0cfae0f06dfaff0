"""`llama-chat verify`: figures, bounds and the verdict, on tiny models."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_hf import TinyHF
from tiny_library import write_family
from tiny_models import TinyModel

from llama_chat.cli import invoke
from llama_chat.cli.talk import exit_status
from llama_chat.cli.verify import as_data, as_lines, parse_positions
from llama_chat.engine import load as loading
from llama_chat.engine.choose import read_model
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.hf import build
from llama_chat.engine.memory import estimate
from llama_chat.engine.precision import choose_precision
from llama_chat.engine.verify import plan as planning
from llama_chat.engine.verify import verify as verifying
from llama_chat.engine.verify.figures import difference
from llama_chat.engine.verify.plan import plan_positions
from llama_chat.engine.verify.probe import Said
from llama_chat.engine.verify.text import TEXT, long_ids
from llama_chat.engine.verify.verdict import bound_of, check_dtype, check_f32
from llama_chat.engine.verify.verify import Verification
from llama_chat.errors import DeviceError, Interrupted, ModelError, UsageError
from llama_chat.settings import ModelSettings

CONTEXT = 1024
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = TinyModel(n_layers=1, context_length=CONTEXT)
    return TinyHF(model=model).write(tmp_path_factory.mktemp("verify") / "tiny")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second instead of three: the text is longer in bytes than a tiny context."""
    monkeypatch.setattr(verifying, "TEXT", TEXT[:400])
    monkeypatch.setattr(verifying, "GREEDY_TOKENS", 16)
    monkeypatch.setattr(verifying, "set_threads", lambda asked: asked)


def run_verify(path: Path, tell: Callable[[str], None] = lambda _: None, **more: Any) -> Verification:
    positions = more.pop("positions", (1, 40, 600))
    settings = ModelSettings(**{"threads": 1, **more})
    return verifying.verify(read_model(path, "auto"), settings, positions=positions, tell=tell)


def test_the_engines_agree_and_it_is_told_step_by_step(tiny: Path) -> None:
    heard: list[str] = []
    found = run_verify(tiny, heard.append)
    assert found.passed
    assert [(c.ours, c.reference) for c in found.comparisons] == [
        ("scratch f32", "hf f32"), ("scratch bf16", "hf f32"), ("hf bf16", "hf f32"),
        ("scratch bf16", "hf bf16"),
    ]  # fmt: skip
    exact, ours = found.comparisons[:2]
    assert [place.place for place in exact.places] == ["text", "1", "40", "600"]
    assert [place.rows for place in exact.places][1:] == [1, 8, 8]
    assert max(place.max_relative for place in exact.places) < 1e-5
    assert exact.greedy == type(exact.greedy)(16, 16, None)
    assert 1e-4 < ours.places[0].max_relative < 0.1
    assert (found.dtype, found.device, found.positions) == ("bf16", "cpu", (1, 40, 600))
    assert found.transformers == version("transformers")
    assert found.text_tokens == len(read_model(tiny, "auto").tokenizer.encode(TEXT[:400]))
    assert heard[0] == "hf f32: loading"
    assert heard[-1] == "scratch bf16: going on by itself"


def test_f32_alone_is_one_comparison(tiny: Path) -> None:
    found = run_verify(tiny, dtype="f32")
    assert found.passed
    assert [(c.ours, c.reference) for c in found.comparisons] == [("scratch f32", "hf f32")]
    assert found.dtype == "f32"


@pytest.mark.parametrize("dtype", ["f16", "int8", "int4"])
def test_other_precisions(tiny: Path, dtype: str) -> None:
    found = run_verify(tiny, dtype=dtype, positions=(1,))
    assert found.passed
    assert found.dtype == dtype
    dense = "f16" if dtype == "f16" else "bf16"
    assert (found.comparisons[-1].ours, found.comparisons[-1].reference) == (
        f"scratch {dtype}",
        f"hf {dense}",
    )
    assert any(check.what.startswith(f"{dtype}: mean KL") for check in found.checks)


def test_a_computation_that_differs_fails(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RoPE a hundredth too slow: near the start hardly to be seen, far into the context plainly."""
    config = build.library_config

    def slower(ours: Any) -> Any:
        return config(replace(ours, rope_theta=ours.rope_theta * 1.01))

    monkeypatch.setattr(build, "library_config", slower)
    found = run_verify(tiny, dtype="f32")
    assert not found.passed
    failed = [check for check in found.checks if not check.passed]
    assert "largest relative difference" in failed[0].what
    near, far = found.comparisons[0].places[1], found.comparisons[0].places[3]
    assert near.max_relative < 1e-5 < 1e-3 < far.max_relative
    assert as_lines(found)[-1] == "FAIL: the engines do not agree"


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    values = np.ones((512, 256), dtype=np.float32)
    values[3, 5] = np.nan
    values[4, 5] = np.inf
    model = TinyModel(n_layers=1, context_length=CONTEXT, values={"blk.0.ffn_gate.weight": values})
    found = run_verify(TinyHF(model=model).write(tmp_path / "nan"), dtype="f32")
    assert not found.passed
    assert found.damage[0] == "the logits of hf f32 are no numbers (NaN or infinity)"
    assert found.damage[-1] == "model.layers.0.mlp.gate_proj.weight: 2 values are no numbers"
    assert as_lines(found)[-1].startswith("FAIL: the weights or the logits hold values")
    json.dumps(as_data(found), allow_nan=False)
    assert as_data(found)["comparisons"][0]["places"][0]["mean_kl"] is None


def assert_without_f32(found: Verification, why: str) -> None:
    assert [(c.ours, c.reference) for c in found.comparisons] == [("scratch bf16", "hf bf16")]
    assert found.left_out[0].what == "f32"
    assert re.match(why, found.left_out[0].why)
    assert found.passed
    assert len(found.checks) == 3


@pytest.mark.parametrize("dtype", ["auto", "bf16", "f32"])
def test_f32_is_left_out_where_it_does_not_fit(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """The weights alone would fit, but not the cache and the working memory beside them."""
    config, tensors = (model := as_llama(tiny)).config, model.checkpoint.tensors
    in_f32, in_bf16 = (
        estimate(config, tensors, choose_precision(kind, CPU), CONTEXT) for kind in ("f32", "bf16")
    )
    free = in_f32.total_bytes - 1
    assert in_f32.weights_bytes < free
    assert in_bf16.total_bytes < free
    monkeypatch.setattr(loading, "free_memory", lambda device: free)
    heard: list[str] = []
    assert_without_f32(
        run_verify(tiny, heard.append, dtype=dtype), r"This needs \d+ MB; cpu has \d+ MB free$"
    )
    assert heard[0] == "hf bf16: loading"


@pytest.mark.parametrize("step", ["build_hf", "build_scratch", "say_text", "say_at", "go_on"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_memory_that_ends_in_f32_leaves_it_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    fails_once(monkeypatch, step, error)
    found = run_verify(tiny, positions=(1, 40))
    assert_without_f32(
        found, "cpu has not enough memory for tiny: |cpu had no room for the .* that this needs"
    )
    assert found.positions == (1, 40)


@pytest.mark.parametrize("step", ["build_hf", "build_scratch", "go_on"])
def test_memory_that_ends_for_good_is_one_clear_error(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def no_room(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(verifying, step, no_room)
    with pytest.raises(DeviceError, match=r"cpu ha[sd] (not enough memory|no room) for") as caught:
        run_verify(tiny)
    assert caught.value.hint


def test_other_errors_are_no_want_of_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_once(monkeypatch, "build_hf", RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        run_verify(tiny)


def fails_once(monkeypatch: pytest.MonkeyPatch, step: str, error: Exception) -> None:
    """The step of `verify` fails the first time it is taken."""
    whole, waiting = getattr(verifying, step), [error]

    def call(*arguments: Any) -> Any:
        if waiting:
            raise waiting.pop()
        return whole(*arguments)

    monkeypatch.setattr(verifying, step, call)


def as_llama(path: Path) -> ModelFile:
    model = read_model(path, "auto")
    assert isinstance(model, ModelFile)
    return model


def test_one_network_at_a_time(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_now: list[int] = []
    most: list[int] = []

    def watched(name: str) -> None:
        whole = getattr(verifying, name)

        def load(*arguments: Any) -> Any:
            network = whole(*arguments)
            close = network.close
            open_now.append(1)
            most.append(len(open_now))

            def close_and_count() -> None:
                open_now.pop()
                close()

            network.close = close_and_count
            return network

        monkeypatch.setattr(verifying, name, load)

    watched("build_hf")
    watched("build_scratch")
    run_verify(tiny, positions=(1,))
    assert most == [1, 1, 1, 1]
    assert open_now == []


def test_a_model_that_only_one_engine_runs(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "tiny-qwen", "qwen2")
    with pytest.raises(ModelError, match="tiny-qwen: there is nothing to hold it against"):
        run_verify(folder)


def test_it_can_be_stopped(tiny: Path) -> None:
    cancel = threading.Event()

    def tell(what: str) -> None:
        if "positions" in what:
            cancel.set()

    with pytest.raises(Interrupted):
        verifying.verify(
            read_model(tiny, "auto"), ModelSettings(threads=1), positions=(900,), tell=tell, cancel=cancel
        )


# --- the parts ----------------------------------------------------------------------------------------


def test_a_difference_by_hand() -> None:
    reference = torch.tensor([[0.0, 2.0, 1.0], [4.0, 0.0, 0.0]])
    other = torch.tensor([[0.0, 1.5, 1.75], [4.0, 0.0, 1.0]])
    found = difference("here", other, reference)
    assert (found.place, found.rows) == ("here", 2)
    assert found.max_abs == 1.0
    assert found.mean_abs == pytest.approx(2.25 / 6)
    assert found.max_relative == pytest.approx(0.75 / 2)
    assert found.top1_share == 0.5
    p, q = reference.softmax(-1), other.softmax(-1)
    assert found.mean_kl == pytest.approx(float((p * (p / q).log()).sum() / 2), rel=1e-5)
    assert difference("x", reference, reference).mean_kl == 0
    assert math.isnan(difference("x", other * math.nan, reference).max_abs)


def said(text: torch.Tensor, at: dict[int, torch.Tensor]) -> Said:
    return Said(text, at, (1, 2), (0.5, 0.5), 100.0)


def test_figures_that_are_no_numbers_never_pass(tiny: Path) -> None:
    good = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    bad = good.clone()
    bad[2, 3] = math.nan
    places = (difference("text", good, good), difference("9", bad, good))
    together = verifying.greedy(said(good, {}), said(good, {}))
    assert not check_f32(places, together)[0].passed
    assert not check_dtype("bf16", places)[2].passed
    assert not said(good, {9: bad}).is_finite()
    assert said(good, {9: good}).is_finite()


def test_every_precision_has_a_bound() -> None:
    assert bound_of("bf16").mean_kl < bound_of("Q4_1").mean_kl < bound_of("int8").mean_kl
    assert bound_of("int4").top1_share < bound_of("int8").top1_share


def test_the_long_text_is_always_the_same_and_never_repeats_its_order(tiny: Path) -> None:
    encode = read_model(tiny, "auto").tokenizer.encode
    once = len(encode(TEXT))
    ids = long_ids(encode, 3 * once)
    assert len(ids) == 3 * once
    assert ids == long_ids(encode, 3 * once)
    assert ids[:once] != ids[once : 2 * once]
    assert ids[:50] == long_ids(encode, 50)


def test_positions_are_left_out_for_a_reason(tiny: Path) -> None:
    model = read_model(tiny, "auto")
    config = replace(model.config, context_length=200_000)  # type: ignore[union-attr]  # a ModelFile

    def left(asked: tuple[int, ...], tok_per_s: float, free: int | None) -> dict[str, str]:
        found = plan_positions(asked, 200_000, config, tok_per_s, free)
        return {left.what: left.why for left in found.left_out}

    usual = plan_positions((), 10_000, config, 1e9, None)
    assert (usual.positions, usual.left_out) == ((1, 512, 2048, 8192), ())
    slow = left((), 400.0, None)
    assert list(slow) == [
        f"position {p:,}" for p in planning.USUAL_POSITIONS if p > 400 * planning.MAX_USUAL_S
    ]
    assert "--positions 131072" in slow["position 131,072"]
    assert left((131_072,), 1.0, None) == {}  # who asks for it, waits for it
    assert "tokens" in left((300_000,), 1.0, None)["position 300,000"]
    assert "keys and values need" in left((100_000,), 1.0, 300 << 20)["position 100,000"]
    assert plan_positions((5, 3, 5), 100, config, 1.0, None).positions == (3, 5)


@pytest.mark.parametrize(
    ("text", "positions"), [("", ()), ("1", (1,)), ("1,2k, 8192", (1, 2048, 8192)), ("4K,", (4096,))]
)
def test_positions_as_they_are_written(text: str, positions: tuple[int, ...]) -> None:
    assert parse_positions(text) == positions


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "99999999", "1;2", "2kk", "9" * 50])
def test_positions_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no number of tokens"):
        parse_positions(text)


# --- the command --------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    return exit_status(lambda: invoke(["verify", *arguments]))


def test_the_command_prints_tables_and_a_verdict(
    tiny: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", str(tiny), "--threads", "1", "--positions", "1,2k") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "tiny, bf16 on cpu"
    assert lines[-1] == "PASS: the engines agree"
    assert f"left out: position 2,048: the context has {CONTEXT:,} tokens" in lines
    titles = lines.index("  at    tokens  largest Δ  relative   mean Δ  mean KL  same top")
    assert lines[titles + 1] == "scratch f32 against hf f32"
    assert re.fullmatch(r"  text +\d+ .* 100\.0 %", lines[titles + 2])
    assert any(re.fullmatch(r"f32: same likeliest token .* 100\.0 % +≥ 99\.0 %  ok", line) for line in lines)
    assert any("16 of 16 tokens" in line for line in lines)
    assert sum(line.endswith("  ok") for line in lines) == 6
    assert "\x1b" not in out
    assert err.startswith("hf f32: loading ...\n")


def test_the_command_s_json_and_its_status(
    tiny: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--model", str(tiny), "--threads", "1", "--positions", "1", "--dtype", "f32", "--json")
    assert run(*arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["comparisons"][0]["greedy"] == {"equal": 16, "count": 16, "margin": None}
    assert {check["what"].partition(":")[0] for check in found["checks"]} == {"f32"}
    monkeypatch.setattr("llama_chat.engine.verify.verdict.F32_RELATIVE", 0.0)
    assert run(*arguments) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_the_command_takes_no_engine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--engine", "hf") == 2
    assert capsys.readouterr().err == "llama-chat: verify runs both engines.\nLeave --engine out.\n"
