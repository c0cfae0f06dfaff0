"""Keys and values in 8 bits: what is lost, what the cache does beside the plain one, and who knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from drafted_kill import Guesser, cheap
from recorded_chat import RecordedChat
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.cli.rerun import run_rerun
from llama_chat.cli.rerun_model import settings_as_recorded
from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.bench.traffic import kv_bytes_per_position
from llama_chat.engine.cache import KVCache
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.int8_cache import Int8KVCache, dequantised, quantised
from llama_chat.engine.load import load_engine
from llama_chat.engine.memory import cache_bytes_per_token, estimate
from llama_chat.engine.model_file import read_model_file
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import ModelError
from llama_chat.events import Finished, LiveSampling, Sampling, Text, Token
from llama_chat.paths import Paths
from llama_chat.rerun import RecordedReply
from llama_chat.sessions import ModelRecord
from llama_chat.settings import LoadedSettings, ModelSettings, Settings

CPU = torch.device("cpu")
SIZES = (2, 3, 16, 2048, torch.float32, CPU)  # layers, heads, head size, limit


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel(n_layers=2).write(tmp_path_factory.mktemp("models") / "tiny.gguf")


def open_model(path: Path, **settings: Any) -> LocalEngine:
    return load_engine(path, ModelSettings(**{"threads": 1, **settings}))


# --- the numbers -----------------------------------------------------------------------------------


def test_a_number_is_off_by_half_a_scale_at_most() -> None:
    x = (
        torch.randn(3, 40, 64, generator=torch.Generator().manual_seed(1))
        * torch.logspace(-4, 4, 40)[:, None]
    )
    x[1, 7] = 0
    values, scales = quantised(x)
    assert (values.dtype, values.shape, scales.shape) == (torch.int8, x.shape, x.shape[:2])
    found = dequantised(values, scales, torch.float32)
    assert bool(((found - x).abs() <= 0.5001 * scales[..., None]).all())
    assert torch.equal(scales, x.abs().amax(-1) / 127)
    assert torch.equal(found[1, 7], torch.zeros(64))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(wrong: float) -> None:
    x = torch.ones(1, 2, 8)
    x[0, 0, 3] = wrong
    found = dequantised(*quantised(x), torch.float32)
    assert not found[0, 0].isfinite().any()
    assert torch.equal(found[0, 1], torch.ones(8))


# --- the cache -------------------------------------------------------------------------------------


def fill(caches: tuple[KVCache, ...], count: int, seed: int) -> None:
    """The same positions into all."""
    generator = torch.Generator().manual_seed(seed)
    for layer in range(2):
        keys, values = torch.randn(2, 3, count, 16, generator=generator)
        for cache in caches:
            cache.reserve(cache.length + count)
            cache.write(layer, keys, values)
    for cache in caches:
        cache.advance(count)


def all_of(cache: KVCache) -> Tensor:
    return torch.stack([torch.stack(cache.read(layer, cache.length)) for layer in range(2)])


def assert_alike(plain: KVCache, few_bits: KVCache) -> None:
    assert (plain.length, plain.capacity, plain.limit) == (few_bits.length, few_bits.capacity, few_bits.limit)
    found, wanted = all_of(few_bits), all_of(plain)
    assert found.dtype == wanted.dtype
    assert bool(((found - wanted).abs() <= wanted.abs().amax(-1, keepdim=True) / 253).all())


def test_it_grows_rewinds_and_forks_like_the_plain_one() -> None:
    plain, few_bits = both = KVCache(*SIZES), Int8KVCache(*SIZES)
    fill(both, 250, 1)
    fill(both, 20, 2)  # over the first step of the memory
    assert_alike(plain, few_bits)
    before = all_of(few_bits)
    forks = plain.fork(), few_bits.fork()
    assert isinstance(forks[1], Int8KVCache)
    assert plain.rewind(100) == few_bits.rewind(100) == 100
    fill(both, 30, 3)
    assert_alike(plain, few_bits)
    assert torch.equal(all_of(few_bits)[..., :100, :], before[..., :100, :])
    assert torch.equal(all_of(forks[1]), before), "the fork keeps what it was"
    fill(forks, 400, 4)
    assert_alike(*forks)
    assert few_bits.nbytes == few_bits.capacity * 2 * 2 * 3 * (16 + 4)
    with pytest.raises(ValueError, match="limited to 2048"):
        few_bits.reserve(2049)


# --- the network -----------------------------------------------------------------------------------


def test_the_logits_stay_close(tiny: Path) -> None:
    ids = [7 * place % 300 for place in range(300)]
    exact, few_bits = (
        open_model(tiny, dtype="f32", kv_dtype=kv_dtype).network for kv_dtype in ("auto", "int8")
    )
    p_TV, q_TV = (
        network.forward(ids, network.new_cache(), "all").log_softmax(-1)  # type: ignore[union-attr]
        for network in (exact, few_bits)
    )
    kl_T = (p_TV.exp() * (p_TV - q_TV)).sum(-1)
    assert 0 < float(kl_T.mean()) < 0.0005
    cache = few_bits.new_cache()
    rows = [few_bits.forward(ids[:200], cache, "all")]
    rows += [few_bits.forward([token_id], cache, "last")[None] for token_id in ids[200:]]  # type: ignore[index]
    steps_TV = torch.cat(rows).log_softmax(-1)  # type: ignore[arg-type]
    assert float((q_TV.exp() * (q_TV - steps_TV)).sum(-1).mean()) < 1e-4, "a step sees what a prefill sees"


def test_what_is_counted_is_what_is_taken(tiny: Path) -> None:
    engine = open_model(tiny, kv_dtype="int8")
    network, model = engine.network, read_model_file(tiny)
    assert isinstance(network, ScratchNetwork)
    cache = network.new_cache()
    network.forward([1, 2, 3], cache, "none")
    assert isinstance(cache, Int8KVCache)
    assert kv_bytes_per_position(cache) == cache_bytes_per_token(model.config, network.precision)
    need = estimate(model.config, model.checkpoint.tensors, network.precision, 256)
    assert need.cache_bytes == cache.nbytes


def reply(engine: LocalEngine) -> tuple[list[Token], Finished]:
    sampling = LiveSampling(Sampling(max_new_tokens=30))
    events = list(engine.stream([Text("the fox and the river")], sampling=sampling, seed=3))
    assert isinstance(events[-1], Finished)
    return [event for event in events if isinstance(event, Token)], events[-1]


def test_a_reply_is_the_same_again_and_its_record_says_how(tiny: Path) -> None:
    engines = [open_model(tiny, kv_dtype="int8", draft="off") for _ in range(2)]
    first, again = ([(t.token_id, t.logprob) for t in reply(engine)[0]] for engine in engines)
    assert first == again
    assert engines[0].info.dtype == f"{open_model(tiny).info.dtype}, cache int8"


def test_drafts_are_checked_and_taken_back_in_it(tiny: Path) -> None:
    engine = open_model(tiny, dtype="f32", kv_dtype="int8", draft="off")
    plain = [token.token_id for token in reply(engine)[0]]
    engine.drafting = cheap(Guesser(plain))
    drafted, end = reply(engine)
    assert [token.token_id for token in drafted] == plain
    assert end.usage.drafted_tokens > end.usage.accepted_tokens > 0


def test_transformers_is_told_apart(tiny: Path) -> None:
    with pytest.raises(ModelError, match="--kv-dtype int8 is made by the from-scratch engine"):
        open_model(tiny, engine="hf", kv_dtype="int8")


@pytest.mark.parametrize(
    ("dtype", "given", "wanted"),
    [
        ("Q4_1, cache int8", {}, ("auto", "int8")),
        ("f32, cache int8", {}, ("f32", "int8")),
        ("bf16", {}, ("bf16", "auto")),  # of a session from before there was a choice, too
        ("bf16", {"kv_dtype": "int8"}, ("bf16", "int8")),
        ("int4, cache int8", {"engine": "hf"}, ("auto", "auto")),
        ("bf16, cache none", {}, ("bf16", "auto")),  # a damaged record, or one of a later version
    ],
)
def test_a_rerun_computes_as_was_recorded(dtype: str, given: dict[str, str], wanted: tuple[str, str]) -> None:
    model = ModelRecord("tiny", "0" * 16, "scratch", "cpu", dtype, "", "", "")
    message = Message("m", None, Role.ASSISTANT, "", 0.0)
    recorded = RecordedReply(1, message, Reply(1, Sampling()), (), "2026-11-23", model)
    found = settings_as_recorded(recorded, 10, replace(ModelSettings(), **given), list(given))
    assert (found.dtype, found.kv_dtype) == wanted


def test_a_rerun_is_identical(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's settings ask for no such cache: the record does."""
    monkeypatch.setattr("llama_chat.cli.rerun.start_log", lambda _: None)
    engine = open_model(tiny, kv_dtype="int8")
    chat = RecordedChat(engine)
    chat.say("One?", sampling=Sampling(temperature=0.9, max_new_tokens=10))
    engine.close()
    paths = Paths(*(tmp_path / name for name in ("config", "data", "cache", "log")))
    settings = LoadedSettings(Settings(model=ModelSettings()))
    assert run_rerun(chat.record, settings, paths, given_options=(), as_json=False) == 0
    assert "identical" in capsys.readouterr().out
