"""How work is recorded on a GPU, tried there, and left alone where it cannot be: without a GPU."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from cpu_graph import CAPTURED, CpuRecorder, NotRecordableError, varlen_by_the_book
from test_device_sampler import assert_same, some_sampling
from test_step import network_on
from torch.nn.attention import varlen

from llama_chat.decode_steps import BEST, EAGER
from llama_chat.engine import scratch
from llama_chat.engine.captured import static_step as static
from llama_chat.engine.captured.attention import FlashAttention, MaskedAttention
from llama_chat.engine.captured.recording import WARM_UP_RUNS, Capture, Recording, capture_for
from llama_chat.engine.device_sampler import DeviceSampler
from llama_chat.engine.sampler import choose


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CAPTURED.write(tmp_path_factory.mktemp("captured") / "tiny.gguf")


def test_the_cpu_has_none_and_a_recording_warms_up_first() -> None:
    assert capture_for(torch.device("cpu")) is None
    recorder, x = CpuRecorder(), torch.zeros(1)
    recording = Recording(lambda: torch.cos(x, out=x) and None, x, Capture(recorder))
    for _ in range(WARM_UP_RUNS):
        recording.run()
    assert not recording.is_recorded
    assert (recorder.warm_ups, recorder.records) == (WARM_UP_RUNS, 0)


def test_it_is_tried_when_a_model_is_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = CpuRecorder()
    monkeypatch.setattr(scratch, "capture_for", lambda device: Capture(recorder))
    network = network_on(path, "f32", "cpu", torch.float32)
    assert network.captured is not None
    assert (network.captured.name, recorder.records) == (MaskedAttention.name, 1), "the other takes no CPU"
    assert not network.captured._graphs, "its cache is gone"
    assert network.notices == ()

    def notice() -> str:
        found = network_on(path, "f32", "cpu", torch.float32)
        assert (found.captured, found.step_name) == (None, EAGER)
        (said,) = found.notices
        return said

    rotate = static.rotate
    monkeypatch.setattr(static, "rotate", lambda x_THK, _: x_THK)
    assert "it gives other numbers than the plain one" in notice()
    monkeypatch.setattr(static, "rotate", lambda x_THK, _: x_THK.view(-1, 7))
    assert "is invalid for input of size" in notice()
    monkeypatch.setattr(static, "rotate", rotate)
    monkeypatch.setattr(varlen, "varlen_attn", varlen_by_the_book)
    flash = network_on(path, "f32", "cpu", torch.float32)
    assert flash.captured is not None
    assert flash.captured.name == FlashAttention.name, "the first that is right"
    monkeypatch.undo()
    monkeypatch.setattr(scratch, "capture_for", lambda device: Capture(recorder))
    recorder.fails_at = recorder.records + 1
    network = network_on(path, "f32", "cpu", torch.float32)
    network.take_step(BEST)
    assert network.step_name == EAGER
    assert "not permitted when stream is capturing" in network.notices[0]


def test_choices_out_of_a_graph_are_those_of_numpy() -> None:
    """Of logits with ties and extremes, under settings that change at every token."""
    rng, recorder, seen = np.random.default_rng(3), CpuRecorder(), [4]
    sampler = DeviceSampler(lambda device: Capture(recorder))
    for index in range(150):
        logits = torch.from_numpy((rng.standard_normal(700) * rng.choice([0.5, 3, 9])).astype(np.float32))
        logits = logits.bfloat16().float() if index % 3 else logits
        sampling = some_sampling(rng)
        got = sampler.choose(logits, sampling, seed=9, index=index, seen_ids=seen)
        assert_same(got, choose(logits, sampling, seed=9, index=index, seen_ids=seen))
        seen = [*seen, got.token_id] if index % 20 else [int(rng.integers(700))]
    assert (recorder.records, recorder.replays) == (1, 150 - WARM_UP_RUNS)


class FakeCuda:
    """What `CudaRecorder` asks of torch, as it came; the real signatures are held to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.signature = inspect.signature(torch.cuda.graph.__init__)
        streams = ("Stream", "current_stream", "set_stream", "stream")
        for name in (*streams, "graph_pool_handle", "graph", "CUDAGraph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def Stream(self, device: torch.device) -> FakeStream:  # noqa: N802  (torch's name)
        return FakeStream("side", self)

    def current_stream(self, device: torch.device) -> FakeStream:
        return FakeStream("current", self)

    def set_stream(self, stream: FakeStream) -> None:
        self.said.append(f"set {stream.name}")

    def graph_pool_handle(self) -> str:
        return "pool"

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.said.append(f"on {stream.name}")
        yield
        self.said.append("off")

    @contextmanager
    def graph(self, *args: object, **kwargs: object) -> Iterator[None]:
        given = self.signature.bind(self, *args, **kwargs).arguments
        assert (given["pool"], given["stream"].name) == ("pool", "side")
        assert given["capture_error_mode"] == "thread_local"
        yield
        self.said.append("recorded")

    def CUDAGraph(self) -> FakeCuda:  # noqa: N802  (torch's name)
        return self

    def replay(self) -> None:
        self.said.append("played")


class FakeStream:
    def __init__(self, name: str, cuda: FakeCuda) -> None:
        self.name, self.cuda = name, cuda

    def wait_stream(self, other: FakeStream) -> None:
        self.cuda.said.append(f"{self.name} waits for {other.name}")


def test_torch_is_asked_in_the_order_of_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    capture = capture_for(torch.device("cuda", 0))
    assert capture is not None
    capture.recorder.warm_up(lambda: cuda.said.append("work"))
    assert cuda.said == ["side waits for current", "on side", "work", "off", "current waits for side"]
    cuda.said.clear()
    replay = capture.recorder.record(lambda: cuda.said.append("work"))
    replay()
    assert cuda.said == ["work", "recorded", "played"]
    cuda.said.clear()

    def fails() -> None:
        raise NotRecordableError("operation not permitted when stream is capturing")

    with pytest.raises(NotRecordableError):
        capture.recorder.record(fails)
    assert cuda.said == ["set current"], "what comes next does not run on the side stream"
