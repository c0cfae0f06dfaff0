"""The layouts of few bits that only GPUs multiply, traced as one decode step without a GPU.

Traced are our own code and torch's graph of it, on the device "meta", whose tensors hold nothing: as on a GPU
they cannot be mixed with the CPU's, and nothing can be read from them. Stand-ins of the right shape take the
place of the two 4-bit products, which do not run there. What is not traced: what the products themselves do
on a GPU, and tensors that call themselves "cuda" or "xpu": a CPU torch cannot index them, fake or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from test_step import SETTINGS, network_on, one_thread, step_of  # noqa: F401  (the fixture)
from tiny_models import TinyModel
from torch import Tensor, nn

from llama_chat.chance import noise_key
from llama_chat.engine.device_sampler import Step
from llama_chat.engine.quantize import (
    Int8Linear,
    TiledInt4Linear,
    UnpackingInt4Linear,
    XpuInt4Linear,
    int4_linear,
    int8,
)

META = torch.device("meta")


def tiled_product(x_TD: Tensor, packed: Tensor, _group: int, _scales: Tensor) -> Tensor:
    return x_TD.new_empty(len(x_TD), 8 * len(packed))


def xpu_product(x_TD: Tensor, packed: Tensor, _group: int, _scale: Tensor, _points: Tensor) -> Tensor:
    return x_TD.new_empty(len(x_TD), len(packed))


@pytest.fixture(autouse=True)
def _products_of_no_values() -> Iterator[None]:
    with torch.library._scoped_library("aten", "IMPL", "Meta") as library:
        library.impl("_weight_int4pack_mm", tiled_product, allow_override=True)
        library.impl("_weight_int4pack_mm_with_scales_and_zeros", xpu_product)
        yield


@pytest.mark.parametrize(
    ("kind", "layout", "has_product"),
    [
        ("int4", TiledInt4Linear, True), ("int4", XpuInt4Linear, True), ("int4", UnpackingInt4Linear, False),
        ("int8", Int8Linear, True), ("int8", Int8Linear, False),
    ],
)  # fmt: skip
def test_a_step_with_a_gpu_s_layout_is_one_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, layout: type[nn.Module], has_product: bool
) -> None:
    monkeypatch.setattr(int4_linear, "has_int4_product", lambda *_: has_product)
    monkeypatch.setattr(int4_linear, "_own_linear", layout)
    for module in (int4_linear, int8):  # there is nothing to compare
        monkeypatch.setattr(module, "agrees", lambda *_: has_product)
    path = TinyModel(n_layers=1, type=GGMLType.Q4_1).write(tmp_path / "tiny.gguf")
    network = network_on(path, kind, "meta", torch.bfloat16)
    built = [module for module in network.llama.modules() if isinstance(module, layout)]
    assert len(built) >= 4 * network.llama.config.n_layers
    assert all(getattr(module, "uses_kernel", has_product) is has_product for module in built)
    cache = network.new_cache()
    network.forward(range(40), cache, "none")
    seen_V = torch.zeros(network.info.vocab_size, dtype=torch.bool, device=META)
    settings = torch.tensor(SETTINGS, dtype=torch.float64).to(META)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(step_of, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        for index in range(3):
            ids_T = torch.full((1,), 5 + index, device=META)
            got = compiled(network, ids_T, cache, seen_V, Step(settings, *noise_key(3, index)))
            assert (got.device, cache.length) == (META, 41 + index)
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= 2
