"""What `bench` measures with: speed, bytes, bandwidth, energy and quality, on tiny networks."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.benchmarks.records import Configuration
from llama_chat.engine.bench import bandwidth, energy, machine, quality
from llama_chat.engine.bench.bandwidth import read_bandwidth
from llama_chat.engine.bench.energy import EnergyMeter
from llama_chat.engine.bench.machine import machine_record
from llama_chat.engine.bench.measure import measure_drafting
from llama_chat.engine.bench.quality import compare_logits, measure_quality
from llama_chat.engine.bench.quality_text import QUALITY_TEXT, QUALITY_TOKENS
from llama_chat.engine.bench.speed import run_chat, run_network
from llama_chat.engine.bench.traffic import kv_bytes_per_position, weights_read_bytes
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import Interrupted
from llama_chat.settings import ModelSettings

CPU = torch.device("cpu")
NEVER = threading.Event()


def load(folder: Path, model: TinyModel, dtype: str = "bf16", engine: str = "scratch") -> LocalEngine:
    path = model.write(folder / "tiny.gguf")
    return load_engine(path, ModelSettings(dtype=dtype, engine=engine, threads=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> LocalEngine:
    return load(folder, TinyModel(n_layers=2, context_length=4096))


@pytest.mark.parametrize("kind", ["scratch", "hf"])
def test_every_run_decodes_the_whole_prompt_and_all_tokens_whatever_ends_a_reply(
    kind: str, folder: Path
) -> None:
    engine = load(folder, TinyModel(n_layers=1, context_length=1024), engine=kind)
    ids = [6 + n % 250 for n in range(300)]
    for _ in range(2):
        run = run_network(engine, ids, 12, NEVER, device=CPU)
        assert engine.live.cache.length == len(ids) + 12
        assert engine.live.ids[: len(ids)] == ids
        assert min(run.prefill_s, run.decode_s) > 0
    greedy = engine.live.ids[len(ids) :]
    everything = frozenset(range(engine.info.vocab_size))
    engine.tokenizer.vocabulary = replace(engine.tokenizer.vocabulary, end_ids=everything)
    chat = run_chat(engine, ids, 12, NEVER)
    assert engine.live.ids[len(ids) :] == greedy[:11], "the same tokens; the last is not computed on"
    assert chat.first_token_s > 0
    assert chat.decode_tok_per_s > 0
    assert engine.tokenizer.vocabulary.end_ids == everything, "they are given back"
    stopped = threading.Event()
    stopped.set()
    for measure in (run_chat, lambda *words: run_network(*words, device=CPU)):
        with pytest.raises(Interrupted):
            measure(engine, ids, 12, stopped)


def test_drafting_is_measured_beside_the_same_reply_without(folder: Path) -> None:
    engine = load(folder, TinyModel(n_layers=1, context_length=1024), "f32")
    engine.tokenizer.vocabulary = replace(engine.tokenizer.vocabulary, end_ids=frozenset())
    ids = [6 + n % 5 for n in range(40)]
    wanted = Configuration(ModelSettings(threads=1), 40, 30, 1, draft="auto")
    found = measure_drafting(engine, wanted, ids, NEVER)
    assert found is not None
    assert (found.new_tokens, found.is_equal) == (30, True)
    assert 0 <= found.accepted_tokens <= found.drafted_tokens
    assert found.ratio > 0
    assert engine.drafting is None, "the figures after it are plain again"
    assert measure_drafting(engine, replace(wanted, draft="off"), ids, NEVER) is None


@pytest.mark.parametrize("kind", ["scratch", "hf"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_step_reads_all_weights_but_a_table_that_is_not_the_output(
    kind: str, tied: bool, folder: Path
) -> None:
    model = TinyModel(n_layers=2, context_length=512, tied=tied)
    engine = load(folder, model, engine=kind)
    table = next(t for t in _tensors(engine) if t.shape[0] == engine.info.vocab_size)
    expected = sum({t.data_ptr(): t.nbytes for t in _tensors(engine)}.values()) - (
        0 if tied else table.nbytes
    )
    assert weights_read_bytes(engine.network) == expected
    run_network(engine, list(range(6, 20)), 1, NEVER, device=CPU)
    config_bytes = 2 * 2 * 2 * _kv_width(folder)  # layers, keys and values, bytes of bf16
    assert kv_bytes_per_position(engine.live.cache) == config_bytes


def _tensors(engine: LocalEngine) -> list[Tensor]:
    network = engine.network
    module = getattr(network, "llama", None) or network.model  # type: ignore[attr-defined]  # one of the two has it
    return [*module.parameters(), *module.buffers()]


def _kv_width(folder: Path) -> int:
    from llama_chat.engine.choose import read_model
    from llama_chat.engine.files.model import ModelFile

    model = read_model(folder / "tiny.gguf", "scratch")
    assert isinstance(model, ModelFile)
    return model.config.n_kv_heads * model.config.head_dim


def test_a_packed_head_counts_once_and_not_its_table(folder: Path) -> None:
    """Of the table in 8 bits a step takes one row, and 64 to score them again."""
    engine = load(folder, TinyModel(n_layers=1, context_length=512), dtype="int4")
    head, llama = engine.network.llama.head, engine.network.llama  # type: ignore[attr-defined]  # the from-scratch one
    parts = [
        *llama.blocks.parameters(),
        *llama.blocks.buffers(),
        *llama.norm.parameters(),
        *llama.norm.buffers(),
    ]
    product = [*head.fast.buffers()]
    assert weights_read_bytes(engine.network) == sum(t.nbytes for t in (*parts, *product))


# --- quality ------------------------------------------------------------------------------------------


def test_the_quality_is_that_of_all_logits_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In odd chunks, with the last tokens one by one."""
    monkeypatch.setattr(quality, "CHUNK", 77)
    monkeypatch.setattr(quality, "STEPS", 20)
    model = TinyModel(n_layers=2, context_length=512)
    exact, fast = load(folder, model, "f32"), load(folder, model)
    ids = [(7 * n) % 300 for n in range(200)]
    found = compare_logits(exact.network, fast.network, ids)
    rows = [e.network.forward(ids, e.network.new_cache(), "all") for e in (exact, fast)]
    p, q = (row.double().log_softmax(-1) for row in rows if row is not None)
    targets = torch.tensor(ids[1:])
    assert (found.tokens, found.step_tokens) == (200, 20)
    assert found.mean_kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=0.1)
    assert 0 < found.step_mean_kl < 0.01
    for logprobs, perplexity in ((p, found.f32_perplexity), (q, found.perplexity)):
        expected = torch.nn.functional.nll_loss(logprobs[:-1], targets).exp()
        assert perplexity == pytest.approx(float(expected), rel=1e-3)
    assert found.top1_share == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).double().mean()), abs=0.02)
    same = compare_logits(exact.network, exact.network, ids[:100])
    assert same.mean_kl < 1e-9
    assert same.top1_share == 1


def test_a_small_context_takes_the_beginning_of_the_text(folder: Path) -> None:
    path = TinyModel(n_layers=1, context_length=100).write(folder / "short.gguf")
    engines = (load_engine(path, ModelSettings(threads=1, dtype=dtype)) for dtype in ("bf16", "f32"))
    found = measure_quality(*engines)
    assert (found.tokens, found.step_tokens) == (100, 99)


def test_the_text_is_long_enough_for_the_default_model(default_model: Path) -> None:
    from llama_chat.engine.choose import read_model

    assert len(read_model(default_model, "scratch").tokenizer.encode(QUALITY_TEXT)) >= QUALITY_TOKENS


# --- the machine --------------------------------------------------------------------------------------


def test_the_bandwidth_is_a_number_of_bytes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "free_memory", lambda _: 1 << 28)
    assert 1e8 < read_bandwidth(CPU) < 1e13


def test_the_record_of_the_machine_says_what_computes() -> None:
    found = machine_record(CPU)
    assert found.processor
    assert found.torch.startswith(torch.__version__)
    assert (found.gpu, found.driver) == ("", "")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23", "570.86.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release", "580.65.06"),
        ("something else", ""),
    ],
)
def test_the_driver_of_nvidia_is_read_from_its_file(
    line: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text(f"{line}\nGCC version: 12.2.0\n")
    monkeypatch.setattr(machine, "_NVIDIA_VERSION", tmp_path / "version")
    assert machine.driver(torch.device("cuda")) == version


def counter(folder: Path, name: str, microjoules: int) -> Path:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "max_energy_range_uj").write_text("10000000\n")
    (folder / name / "energy_uj").write_text(f"{microjoules}\n")
    return folder


def test_energy_is_what_the_packages_count_and_a_counter_may_begin_again(tmp_path: Path) -> None:
    meter = EnergyMeter(CPU, counter(tmp_path, "intel-rapl:0", 9_000_000))
    counter(tmp_path, "intel-rapl:0:0", 5)
    meter.start()
    counter(tmp_path, "intel-rapl:0", 1_000_000)
    counter(tmp_path, "intel-rapl:0:0", 7_000_000)
    meter.stop(10)
    meter.start()
    counter(tmp_path, "intel-rapl:0", 3_000_000)
    meter.stop(10)
    found = meter.energy()
    assert found is not None
    assert found.joules_per_token == pytest.approx(4 / 20)


def test_without_a_counter_there_is_no_energy(tmp_path: Path) -> None:
    meter = EnergyMeter(CPU, tmp_path)
    meter.start()
    meter.stop(10)
    assert meter.energy() is None


def test_a_gpu_tells_its_power_or_there_is_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    for watts, is_known in ((50.0, True), (None, False)):
        monkeypatch.setattr(energy, "_power_w", lambda _, watts=watts: watts)
        meter = EnergyMeter(device)
        meter.start()
        meter.stop(4)
        assert (meter.energy() is not None) == is_known
