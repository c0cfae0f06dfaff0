"""The captured decode step, without a GPU: recorded and played by `cpu_graph`, held against the plain one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cpu_graph import CAPTURED, CpuRecorder, NoWaiting, varlen_by_the_book
from gguf.constants import GGMLQuantizationType as GGMLType
from test_gpu_layouts import _products_of_no_values  # noqa: F401  (the fixture)
from test_step import SETTINGS, network_on, one_thread  # noqa: F401  (the fixture)
from tiny_models import TinyModel
from torch import Tensor, nn
from torch.nn.attention import varlen

from llama_chat.chance import noise_key
from llama_chat.decode_steps import BEST, EAGER
from llama_chat.engine.cache import KVCache
from llama_chat.engine.captured.attention import FlashAttention, MaskedAttention, StepAttention
from llama_chat.engine.captured.recording import WARM_UP_RUNS, Capture
from llama_chat.engine.captured.static_step import static_step, step_tensors
from llama_chat.engine.captured.step import CapturedStep, attended_length
from llama_chat.engine.device_sampler import Step, choose_on_device
from llama_chat.engine.quantize import (
    Int8Linear,
    TiledInt4Linear,
    UnpackingInt4Linear,
    XpuInt4Linear,
    int4_linear,
    int8,
)
from llama_chat.engine.scratch import ScratchNetwork

META = torch.device("meta")
MASKED, FLASH = MaskedAttention(), FlashAttention()
BOTH_WAYS = pytest.mark.parametrize("attention", [MASKED, FLASH], ids=["masked", "flash"])


@pytest.fixture(autouse=True)
def _flash(monkeypatch: pytest.MonkeyPatch) -> None:
    """In plain operations: torch's own takes no CPU."""
    monkeypatch.setattr(varlen, "varlen_attn", varlen_by_the_book)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CAPTURED.write(tmp_path_factory.mktemp("captured") / "tiny.gguf")


def captured_network(path: Path, recorder: CpuRecorder, attention: StepAttention = MASKED) -> ScratchNetwork:
    network = network_on(path, "f32", "cpu", torch.float32, context=2048)
    network.captured = CapturedStep(network.llama, Capture(recorder), attention)
    network.take_step(BEST)
    return network


# --- what is computed ------------------------------------------------------------------------------


def test_the_length_attended_to_is_a_function_of_the_place() -> None:
    lengths = [attended_length(position, 131_072) for position in range(131_072)]
    assert all(position < length for position, length in enumerate(lengths))
    assert all(length <= max(256, 2 * position) for position, length in enumerate(lengths))
    assert sorted(set(lengths))[:8] == [256, 512, 768, 1024, 1536, 2048, 3072, 4096]
    assert len(set(lengths)) == 18
    assert attended_length(4999, 5000) == 5120, "a cache of this context holds no more"


@BOTH_WAYS
def test_it_computes_what_the_network_computes_across_lengths_and_rewinds(
    path: Path, attention: StepAttention
) -> None:
    """600 tokens in f32, greedy: three lengths, a way back into the first and out of it again."""
    recorder = CpuRecorder()
    network = captured_network(path, recorder, attention)
    caches = network.new_cache(), network.new_cache()
    token_id, largest = 7, 0.0
    for place in range(600):
        if place == 540:  # an edit far back; what lies behind it in the cache is of another text
            for cache in caches:
                assert cache.rewind(250) == 250
            token_id = 9
        network.take_step(BEST)
        got_V = network.forward([token_id], caches[0], "last")
        network.take_step(EAGER)
        wanted_V = network.forward([token_id], caches[1], "last")
        assert got_V is not None
        assert wanted_V is not None
        largest = max(largest, float((got_V - wanted_V).abs().max()))
        assert int(got_V.argmax()) == int(wanted_V.argmax()), place
        token_id = int(wanted_V.argmax())
        if place % 50 == 0:
            token_id = 20 + place % 200  # greedy tiny models repeat themselves
    assert 0 < largest < 1e-4
    assert caches[0].capacity == 768
    assert recorder.records == 3 + 2, "each length once; those of 256 and 512 again where the cache is now"
    assert recorder.replays == 600 - (recorder.warm_ups - recorder.records), "each is tried against the work"


def test_rows_of_a_prompt_and_rewound_places_are_written_over(path: Path) -> None:
    """Prompts go through the network as ever; the step goes on where they end, in whatever place."""
    network = captured_network(path, CpuRecorder())
    cache, plain = network.new_cache(), network.new_cache()
    parts = [*[[5]] * 4, list(range(20, 270)), [6], [7], [8], [9], list(range(30, 60)), [5], [6], [7], [8]]
    for part in parts:
        network.take_step(BEST)
        got_TV = network.forward(part, cache, "all")
        network.take_step(EAGER)
        wanted_TV = network.forward(part, plain, "all")
        assert got_TV is not None
        assert wanted_TV is not None
        assert torch.allclose(got_TV, wanted_TV, atol=1e-4)
    assert cache.length == plain.length


def test_nothing_moves_and_nothing_is_made_anew(path: Path) -> None:
    network = captured_network(path, CpuRecorder())
    cache = network.new_cache()
    found, addresses = set(), set()
    for token_id in range(20, 60):
        logits_V = network.forward([token_id], cache, "last")
        assert logits_V is not None
        found.add(logits_V.data_ptr())
        addresses.add(tuple(tensor.data_ptr() for tensor in (*cache.keys, *cache.values)))
    assert len(found) == len(addresses) == 1
    assert network.captured is not None
    before = network.captured._tensors
    network.forward([5], network.new_cache(), "last")
    assert network.captured._tensors is before, "all caches have the same input and output"


def test_graphs_go_with_their_cache_and_are_not_kept_for_all(path: Path) -> None:
    recorder = CpuRecorder()
    network = captured_network(path, recorder)
    step = network.captured
    assert step is not None
    caches = [network.new_cache() for _ in range(14)]
    for cache in caches:
        for token_id in range(WARM_UP_RUNS + 1):
            network.forward([token_id], cache, "none")
    assert recorder.records == 12, "the 13th and the 14th are computed as they are"
    assert sum(len(graphs.by_length) for graphs in step._graphs.values()) == 12
    one = network.new_cache()
    want = network.forward([3], one, "last")
    assert want is not None
    assert torch.equal(want.clone(), network.forward([3], network.new_cache(), "last"))  # type: ignore[arg-type]


def test_a_copy_of_a_cache_and_a_cache_that_grew_are_other_addresses(path: Path) -> None:
    network = captured_network(path, CpuRecorder())
    cache = network.new_cache()
    for token_id in range(20, 40):
        network.forward([token_id], cache, "none")
    other = cache.fork()
    wanted_V = network.forward([41], other, "last")
    assert wanted_V is not None
    wanted_V = wanted_V.clone()
    assert (cache.length, other.length) == (20, 21)
    cache.reserve(600)  # as a long prompt does it
    got_V = network.forward([41], cache, "last")
    assert got_V is not None
    assert torch.equal(got_V, wanted_V)


# --- what a graph cannot hold ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stored", "attention"),
    [
        ("bf16", GGMLType.F32, MASKED), ("bf16", GGMLType.F32, FLASH), ("int8", GGMLType.F32, MASKED),
        ("int4", GGMLType.F32, MASKED), ("auto", GGMLType.Q4_1, MASKED),
    ],
)  # fmt: skip
def test_step_and_choice_are_one_graph_for_all_places(
    tmp_path: Path, kind: str, stored: GGMLType, attention: StepAttention
) -> None:
    tiny = TinyModel(n_layers=1, type=stored).write(tmp_path / "tiny.gguf")
    network = network_on(tiny, kind, "cpu", torch.bfloat16)
    cache = network.new_cache()
    network.llama.reserve(cache, 256)
    tensors = step_tensors(304, torch.device("cpu"))
    seen_V = torch.zeros(304, dtype=torch.bool)
    settings, key_2 = torch.tensor(SETTINGS, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)

    def whole(cache: KVCache) -> Tensor:
        static_step(network.llama, tensors, cache.keys, cache.values, 256, attention)
        return choose_on_device(tensors.logits_V, seen_V, Step(settings, *key_2.split(1)))

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(whole, fullgraph=True, backend="eager")
    chosen = set()
    with torch.inference_mode():
        for position in range(0, 256, 16):
            tensors.tell(20 + position % 200, position)
            key_2.copy_(torch.tensor(noise_key(3, position)))
            chosen.add(int(compiled(cache)[0]))
    assert len(chosen) > 4
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(
    ("kind", "layout", "has_product"),
    [
        ("bf16", nn.Linear, False), ("int4", TiledInt4Linear, True), ("int4", XpuInt4Linear, True),
        ("int4", UnpackingInt4Linear, False), ("int8", Int8Linear, True), ("int8", Int8Linear, False),
    ],
)  # fmt: skip
@BOTH_WAYS
def test_nothing_is_waited_for_or_sent_with_any_layout_of_a_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    layout: type[nn.Module],
    has_product: bool,
    attention: StepAttention,
) -> None:
    """On the device "meta" every tensor in it is told from one of the host, numbers made tensors included."""
    monkeypatch.setattr(int4_linear, "has_int4_product", lambda *_: has_product)
    monkeypatch.setattr(int4_linear, "_own_linear", layout)
    for module in (int4_linear, int8):  # there is nothing to compare
        monkeypatch.setattr(module, "agrees", lambda *_: has_product)
    tiny = TinyModel(n_layers=1, type=GGMLType.Q4_1).write(tmp_path / "tiny.gguf")
    network = network_on(tiny, kind, "meta", torch.bfloat16)
    cache = network.new_cache()
    network.llama.reserve(cache, 256)
    tensors = step_tensors(304, META)
    seen_V = torch.zeros(304, dtype=torch.bool, device=META)
    settings = torch.zeros(5, dtype=torch.float64, device=META)
    key_2 = torch.zeros(2, dtype=torch.int64, device=META)
    # Without inference mode, which would pass what consists of several operations as one.
    with torch.no_grad(), NoWaiting(META) as watched:
        tensors.tell(5, 0)
        static_step(network.llama, tensors, cache.keys, cache.values, 256, attention)
        choose_on_device(tensors.logits_V, seen_V, Step(settings, *key_2.split(1)))
    assert len(watched.seen) > 100


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.item(), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: x[x.argmax()],
        lambda x: x + torch.ones(1), lambda x: torch.tensor(1.0) + x, lambda x: x.copy_(torch.ones(3)),
    ],
)  # fmt: skip
def test_the_watcher_finds_what_waits(wait: object) -> None:
    with NoWaiting(META), pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.zeros(3, device=META))  # type: ignore[operator]  # one of those above
