"""One decode step, from the token's id to the chosen one: one graph, nothing read, nothing made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.chance import noise_key
from llama_chat.engine import model
from llama_chat.engine import reply as reply_loop
from llama_chat.engine.cache import KVCache
from llama_chat.engine.device_sampler import DeviceSampler, Step, choose_on_device
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf
from llama_chat.engine.load import load_engine
from llama_chat.engine.model import attend, attend_grouped, causal_mask
from llama_chat.engine.precision import Precision
from llama_chat.engine.quantize import UnpackingInt4Linear, int4_linear
from llama_chat.engine.scratch import ScratchNetwork, load_scratch
from llama_chat.events import LiveSampling, Sampling, Special, Text, Token
from llama_chat.settings import ModelSettings

SETTINGS = (0.7, 40.0, 0.9, 0.02, 1.1)  # temperature, top-k, top-p, min-p, penalty


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products on a busy machine wait for each other's threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch._dynamo.reset()


def network_on(
    path: Path, kind: str, device: str, compute: torch.dtype, context: int = 512
) -> ScratchNetwork:
    file = GGUFFile(path)
    checkpoint = GGUFCheckpoint([file])
    precision = Precision(kind, compute, torch.device(device))
    return load_scratch(checkpoint, config_from_gguf(file), precision, context=context, threads=1)


def step_of(network: ScratchNetwork, ids_T: Tensor, cache: KVCache, seen_V: Tensor, step: Step) -> Tensor:
    """What runs on the device for one token."""
    logits_TV = network.llama.logits(network.llama(ids_T, cache))
    return choose_on_device(logits_TV[0], seen_V, step)


FORMS = [
    ("auto", GGMLType.Q4_1, False), ("auto", GGMLType.Q8_0, False), ("auto", GGMLType.F32, False),
    ("f32", GGMLType.Q4_1, False), ("int8", GGMLType.F32, False), ("int4", GGMLType.F32, False),
    ("int4", GGMLType.F32, True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "stored", "as_on_gpus"), FORMS)
def test_a_step_is_one_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stored: GGMLType, as_on_gpus: bool
) -> None:
    """Two traces, one for the first length and one for all others; no break, no new trace for a token."""
    if as_on_gpus:
        monkeypatch.setattr(model, "attend", attend_grouped)
        monkeypatch.setattr(int4_linear, "has_int4_product", lambda *_: False)
    compute = torch.float32 if kind == "f32" else torch.bfloat16
    network = network_on(TinyModel(type=stored).write(tmp_path / "tiny.gguf"), kind, "cpu", compute)
    if as_on_gpus:
        assert any(isinstance(module, UnpackingInt4Linear) for module in network.llama.modules())
    cache = network.new_cache()
    network.forward(range(40), cache, "none")
    seen_V = torch.zeros(304, dtype=torch.bool).index_fill_(0, torch.tensor([5, 9]), True)
    settings = torch.tensor(SETTINGS, dtype=torch.float64)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(step_of, fullgraph=True, backend="aot_eager")
    keys = list(cache.keys)
    chosen = set()
    with torch.inference_mode():
        for index in range(5):
            twin = cache.fork()
            step = Step(settings, *noise_key(3, index))
            ids_T = torch.full((1,), 5 + index)
            got = compiled(network, ids_T, cache, seen_V, step)
            assert torch.equal(got, step_of(network, ids_T, twin, seen_V, step))
            assert cache.length == twin.length == 41 + index
            chosen.add(int(got[0]))
    assert len(chosen) > 1
    assert all(now is before for now, before in zip(cache.keys, keys, strict=True)), "memory in a step"
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= 2


@pytest.mark.parametrize("kind", ["bf16", "f32", "int8", "int4"])
def test_a_step_reads_nothing_and_makes_nothing_elsewhere(tmp_path: Path, kind: str) -> None:
    """On the device "meta" a tensor of the CPU cannot take part, and there is no value to wait for."""
    path = TinyModel(type=GGMLType.Q4_1, tied=False).write(tmp_path / "tiny.gguf")
    compute = torch.float32 if kind == "f32" else torch.bfloat16
    network = network_on(path, kind, "meta", compute)
    cache = network.new_cache()
    network.forward(range(40), cache, "none")
    logits_V = network.forward([7], cache, "last")
    assert logits_V is not None
    assert (logits_V.device.type, tuple(logits_V.shape), cache.length) == ("meta", (304,), 41)
    seen_V = torch.zeros(304, dtype=torch.bool, device="meta")
    step = Step(torch.zeros(5, dtype=torch.float64, device="meta"), *noise_key(3, 1))
    with torch.inference_mode():
        numbers = step_of(network, torch.full((1,), 7, device="meta"), cache, seen_V, step)
    assert numbers.device.type == "meta"


@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 300), (7, 7), (5, 64), (64, 200)])
@pytest.mark.parametrize(("h", "g"), [(8, 2), (9, 3), (4, 4)])
def test_groups_as_rows_attend_alike(t: int, s: int, h: int, g: int) -> None:
    generator = torch.Generator().manual_seed(t * s)
    q_THK = torch.randn(t, h, 32, generator=generator)
    keys, values = torch.randn(2, g, s + 20, 32, generator=generator)[:, :, :s]
    mask_TS = causal_mask(s - t, s, torch.float32, torch.device("cpu"))
    wanted = attend(q_THK, keys, values, mask_TS)
    assert torch.allclose(attend_grouped(q_THK, keys, values, mask_TS), wanted, atol=2e-6)


def test_the_loop_takes_the_device_s_sampler_off_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits that say they are on a GPU are given to it, and the reply is that of the CPU."""
    engine = load_engine(
        TinyModel().write(tmp_path / "tiny.gguf"), ModelSettings(threads=1, engine="scratch")
    )
    pieces = [Special("<|im_start|>"), Text("hello there")]

    def reply() -> list[tuple[int, int]]:
        sampling = LiveSampling(Sampling(temperature=1.0, repetition_penalty=1.2, max_new_tokens=12))
        events = engine.stream(pieces, sampling=sampling, seed=4)
        return [(event.token_id, event.rank) for event in events if isinstance(event, Token)]

    wanted = reply()
    asked = []

    class Elsewhere(Tensor):
        """A tensor whose device goes by another name."""

        @property
        def device(self) -> torch.device:  # type: ignore[override]  # an attribute there
            return torch.device("cuda", 0)

    def choose(self: DeviceSampler, logits_V: Tensor, *args: object, **kwargs: object) -> object:
        asked.append(kwargs["index"])
        return real(self, logits_V.as_subclass(Tensor), *args, **kwargs)  # type: ignore[arg-type]  # as given

    real = DeviceSampler.choose
    monkeypatch.setattr(DeviceSampler, "choose", choose)
    forward = engine.network.forward

    def forward_elsewhere(*args: object) -> Tensor | None:
        logits = forward(*args)  # type: ignore[arg-type]  # as given
        return None if logits is None else logits.as_subclass(Elsewhere)

    monkeypatch.setattr(engine.network, "forward", forward_elsewhere)
    monkeypatch.setattr(reply_loop, "choose", None)
    assert reply() == wanted
    assert asked[: len(wanted)] == list(range(len(wanted)))
