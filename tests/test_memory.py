"""What a model is said to need against what it takes, and what is chosen or refused where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from tiny_models import TinyModel

from llama_chat.engine import load, memory, precision, scratch
from llama_chat.engine.config import LlamaConfig, expected_shapes
from llama_chat.engine.files.checkpoint import Stored
from llama_chat.engine.load import load_engine
from llama_chat.engine.memory import (
    Need,
    estimate,
    largest_context,
    out_of_memory,
    plan_precision,
    verdict,
)
from llama_chat.engine.model_file import read_model_file
from llama_chat.engine.precision import choose_precision
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import DeviceError
from llama_chat.events import LiveSampling, Sampling, Special, Text, Token
from llama_chat.settings import DTYPES, ModelSettings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)

LLAMA_8B = LlamaConfig(
    dim=4096, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=128, ffn_dim=14336, vocab_size=128256,
    context_length=131072, norm_eps=1e-5, rope_theta=500000.0, tied_output=False,
)  # fmt: skip


def stored_as(config: LlamaConfig, type_name: str) -> dict[str, Stored]:
    return {
        name: Stored(name, shape, type_name if len(shape) > 1 else "F32", 0 if len(shape) < 2 else 1)
        for name, shape in expected_shapes(config).items()
    }


IN_BF16, IN_Q4 = stored_as(LLAMA_8B, "BF16"), stored_as(LLAMA_8B, "Q4_0")


def plan(dtype: str, free_bytes: float | None, *, context: int = 0, **changes: Any) -> memory.Plan:
    given = {"device": CPU, "config": LLAMA_8B, "tensors": IN_BF16} | changes
    return plan_precision(
        dtype, **given, context=context, free_bytes=None if free_bytes is None else int(free_bytes)
    )


@pytest.fixture
def instinct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with a 4-bit product."""
    fake_gpu(monkeypatch, is_bf16_fast=True, has_int4_product=True)


def fake_gpu(monkeypatch: pytest.MonkeyPatch, *, is_bf16_fast: bool, has_int4_product: bool) -> None:
    monkeypatch.setattr(precision, "is_bf16_fast", lambda device: is_bf16_fast)
    monkeypatch.setattr(memory, "has_int4_product", lambda device, dtype: has_int4_product)


# --- against reality -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["F32", "BF16", "Q4_1", "Q8_0", "Q6_K"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_weights_and_cache_are_as_estimated(tmp_path: Path, dtype: str, kind: str, tied: bool) -> None:
    path = TinyModel(type=GGMLType[kind], tied=tied).write(tmp_path / "tiny.gguf")
    model = read_model_file(path)
    network = load_engine(path, ModelSettings(dtype=dtype, threads=1, engine="scratch")).network
    assert isinstance(network, ScratchNetwork)
    need = estimate(model.config, model.checkpoint.tensors, network.precision, 300)
    assert need.weights_bytes == pytest.approx(network.info.weights_bytes, rel=0.01)
    cache = network.new_cache()
    for start in range(0, 300, 100):
        network.forward(range(100), cache, "none")
        assert cache.length == start + 100
    assert need.cache_bytes == cache.nbytes


@pytest.mark.parametrize("dtype", ["auto", "bf16", "int8"])
def test_the_default_model_takes_what_was_estimated(default_model: Path, dtype: str) -> None:
    model = read_model_file(default_model)
    network = load_engine(default_model, ModelSettings(dtype=dtype, engine="scratch")).network
    wanted = choose_precision(dtype, CPU)
    need = estimate(model.config, model.checkpoint.tensors, wanted, 0)
    assert need.weights_bytes == pytest.approx(network.info.weights_bytes, rel=0.01)
    assert need.cache_bytes == 8192 * 2 * 30 * 3 * 64 * 2


def test_few_bits_share_a_tied_table(tmp_path: Path) -> None:
    """The table counts once in 8 bits, though it is embedding and output."""
    model = TinyModel(tied=True)
    path = model.write(tmp_path / "tiny.gguf")
    engine = load_engine(path, ModelSettings(dtype="int8", threads=1, engine="scratch"))
    untied = replace(model, tied=False).write(tmp_path / "untied.gguf")
    other = load_engine(untied, ModelSettings(dtype="int8", threads=1, engine="scratch"))
    table = model.dim * len(model.vocabulary.tokens)
    assert other.info.weights_bytes - engine.info.weights_bytes == pytest.approx(table, rel=0.05)


def test_the_sizes_of_a_large_model() -> None:
    bf16, int8, int4 = (
        estimate(LLAMA_8B, IN_BF16, choose_precision(kind, CPU), 8192) for kind in ("bf16", "int8", "int4")
    )
    assert bf16.weights_bytes == pytest.approx(2 * 8.03e9, rel=0.001)
    assert int8.weights_bytes == pytest.approx(8.03e9, rel=0.002)
    # 6.98 billion values at 5 bits (scales and zeros among them), 1.05 billion at 8.
    assert int4.weights_bytes == pytest.approx(6.98e9 * 5 / 8 + 1.05e9, rel=0.01)
    assert bf16.cache_bytes == 8192 * 128 * 1024
    assert bf16.total_bytes > bf16.weights_bytes + bf16.cache_bytes


# --- what is chosen --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free_gb", "kind", "said"),
    [(None, "auto", False), (40, "auto", False), (12, "int8", True), (7, "int4", True)],
)
def test_plain_weights_get_fewer_bits_where_memory_asks_for_it(
    free_gb: float | None, kind: str, said: bool
) -> None:
    chosen = plan("auto", None if free_gb is None else free_gb * 1e9)
    assert chosen.precision.kind == kind
    assert any(f"kept in {kind}: in bf16 this needs 16." in notice for notice in chosen.notices) == said


def test_nothing_fits() -> None:
    with pytest.raises(DeviceError) as caught:
        plan("auto", 3e9)
    assert caught.value.message == "This needs 16.7 GB; cpu has 3.0 GB free."
    assert caught.value.hint == "Take a smaller model."


def test_a_smaller_choice_is_named_with_its_size() -> None:
    with pytest.raises(DeviceError) as caught:
        plan("bf16", 11.2e9)
    assert caught.value.message == "This needs 16.7 GB; cpu has 11.2 GB free."
    assert caught.value.hint == "Try --dtype int8 (8.7 GB) or --dtype int4 (6.1 GB)."
    with pytest.raises(DeviceError, match=r"Try --dtype int4 \(6.1 GB\)\."):
        plan("int8", 7e9)
    assert plan("int4", 7e9).precision.kind == "int4"


def test_a_context_that_was_asked_for_must_fit() -> None:
    assert plan("bf16", 20e9).precision.kind == "bf16"
    with pytest.raises(DeviceError) as caught:
        plan("bf16", 20e9, context=131072)
    assert "This needs 3" in caught.value.message
    fitting = largest_context(LLAMA_8B, IN_BF16, choose_precision("bf16", CPU), int(20e9))
    assert f"--context {fitting} fits, too." in caught.value.hint
    assert plan("bf16", 20e9, context=fitting).notices == ()


def test_a_context_that_will_not_fit_whole_is_said() -> None:
    (notice,) = plan("bf16", 20e9).notices
    assert notice.startswith("Of the context of 131,072 tokens about ")
    assert notice.endswith(" fit into the 20.0 GB that cpu has free.")
    assert plan("bf16", 40e9).notices == ()


@pytest.mark.parametrize("free_gb", [17.0, 18.5, 25.0, 31.0])
def test_the_largest_context_is_the_largest(free_gb: float) -> None:
    chosen, free_bytes = choose_precision("bf16", CPU), int(free_gb * 1e9)
    fitting = largest_context(LLAMA_8B, IN_BF16, chosen, free_bytes)
    assert 0 < fitting < 131072
    assert estimate(LLAMA_8B, IN_BF16, chosen, fitting).total_bytes <= free_bytes
    assert estimate(LLAMA_8B, IN_BF16, chosen, fitting + 512).total_bytes > free_bytes


def test_the_largest_context_may_be_none_or_all() -> None:
    chosen = choose_precision("bf16", CPU)
    assert largest_context(LLAMA_8B, IN_BF16, chosen, int(10e9)) == 0
    assert largest_context(LLAMA_8B, IN_BF16, chosen, int(90e9)) == 131072


@pytest.mark.usefixtures("instinct")
def test_a_gpu_keeps_4_bits_that_it_can_multiply() -> None:
    assert plan("auto", 40e9, device=GPU, tensors=IN_Q4).precision.kind == "auto"
    assert plan("auto", 40e9, device=GPU).precision.compute is torch.bfloat16


def test_a_gpu_without_a_product_unpacks_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, is_bf16_fast=False, has_int4_product=False)
    roomy = plan("auto", 40e9, device=GPU, tensors=IN_Q4).precision
    assert (roomy.kind, roomy.compute) == ("f16", torch.float16)
    assert plan("auto", 12e9, device=GPU, tensors=IN_Q4).precision.kind == "auto"
    q6 = stored_as(LLAMA_8B, "Q6_K")
    assert plan("auto", 40e9, device=GPU, tensors=q6).precision.kind == "f16"
    assert plan("auto", 12e9, device=GPU, tensors=q6).precision.kind == "auto"


def test_verdicts() -> None:
    need = Need(80, 10, 5)
    assert [verdict(need, free) for free in (200, 100, 94, None)] == [
        "fits", "tight", "does not fit", "unknown"
    ]  # fmt: skip


# --- in a load -------------------------------------------------------------------------------------


def test_a_load_that_cannot_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TinyModel().write(tmp_path / "tiny.gguf")
    settings = ModelSettings(dtype="f32", threads=1, engine="scratch")
    begun = []
    real = load.load_scratch
    monkeypatch.setattr(load, "load_scratch", lambda *a, **k: begun.append(a) or real(*a, **k))
    with monkeypatch.context() as patch:
        patch.setattr(load, "free_memory", lambda device: 90_000_000)
        with pytest.raises(DeviceError, match=r"This needs 1\d\d MB; cpu has 90 MB free\."):
            load_engine(path, settings)
    assert not begun
    engine = load_engine(path, settings)
    pieces = [Special("<|im_start|>"), Text("hello there")]
    events = engine.stream(pieces, sampling=LiveSampling(Sampling(max_new_tokens=3)), seed=1)
    assert sum(isinstance(event, Token) for event in events) > 0, "the chat lives on"


def test_an_allocation_that_fails_is_told_with_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TinyModel().write(tmp_path / "tiny.gguf")
    real = scratch.build_llama

    def build_llama(*_: object) -> None:
        torch.empty(1 << 50)

    monkeypatch.setattr(scratch, "build_llama", build_llama)
    with pytest.raises(DeviceError) as caught:
        load_engine(path, ModelSettings(dtype="f32", threads=1, engine="scratch"))
    assert "MB" in caught.value.message
    assert "--dtype int8 (" in caught.value.hint
    monkeypatch.setattr(scratch, "build_llama", real)
    assert load_engine(path, ModelSettings(threads=1, engine="scratch")).info.parameters > 0


def test_after_a_failed_allocation_the_free_memory_is_not_named_against_itself() -> None:
    error = out_of_memory(choose_precision("bf16", CPU), LLAMA_8B, IN_BF16, context=0, free_bytes=int(90e9))
    assert error.message == "cpu had no room for the 16.7 GB that this needs."
    assert error.hint == "Try --dtype int8 (8.7 GB) or --dtype int4 (6.1 GB)."
