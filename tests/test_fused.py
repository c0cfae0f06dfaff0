"""The compiled step and the unpacked layers: alike what the network computes, kept, checked, recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_models import TinyModel

from llama_chat.decode_steps import BEST, EAGER, stepping_as_begun
from llama_chat.engine.fused.build import compile_part
from llama_chat.engine.fused.shelf import StepShelf
from llama_chat.engine.fused.spec import LayerSpec, Part, spec_of
from llama_chat.engine.fused.step import FusedStep
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.quantize import RescoredHead
from llama_chat.engine.quantize.int8 import RESCORED
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.events import Finished, Forward, Ids, LiveSampling, Sampling, Token
from llama_chat.settings import ModelSettings

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="there is no C++ compiler"
)
SETTINGS = ModelSettings(dtype="int4", engine="scratch", device="cpu", threads=2)
PROMPT = tuple(range(20, 60))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel(dim=64, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=96).write(
        tmp_path_factory.mktemp("fused") / "tiny.gguf"
    )


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which the step is compiled."""
    cache = tmp_path_factory.mktemp("cache")
    engine = load_engine(model, SETTINGS, cache_folder=cache)
    engine.build_step(waits=True)
    assert list((cache / "steps").glob("*.so")), list((cache / "steps").iterdir())
    assert not list((cache / "steps").glob("build-*")), "what the compiler left is gone"
    engine.close()
    return cache


@pytest.fixture
def engine(model: Path, made: Path) -> Iterator[LocalEngine]:
    engine = load_engine(model, SETTINGS, cache_folder=made)
    yield engine
    engine.close()


def reply(
    engine: LocalEngine,
    *,
    new: int = 24,
    seed: int = 3,
    forced: tuple[int, ...] = (),
    plan: tuple[Forward, ...] = (),
) -> tuple[list[Token], Finished]:
    sampling = LiveSampling(Sampling(temperature=1.0, max_new_tokens=new))
    *tokens, end = engine.stream([Ids(PROMPT)], sampling=sampling, seed=seed, forced_ids=forced, plan=plan)
    assert isinstance(end, Finished), end
    return [token for token in tokens if isinstance(token, Token)], end


def network_of(engine: LocalEngine) -> ScratchNetwork:
    assert isinstance(engine.network, ScratchNetwork)
    return engine.network


@needs_compiler
def test_the_compiled_step_gives_what_the_network_gives_at_every_length(engine: LocalEngine) -> None:
    """Of rows, by code for one, several and many; past the cache's first growth at 256 positions, too."""
    network = network_of(engine)
    ids = [20 + (7 * i) % 250 for i in range(300)]
    parts = [1] * 250 + [2, 1, 7, 1, 39]

    def logits(step: str) -> torch.Tensor:
        network.take_step(step)
        cache, rest = network.new_cache(), iter(ids)
        with torch.inference_mode():
            found = [network.forward(list(islice(rest, rows)), cache, "all") for rows in parts]
        return torch.cat([rows_TV for rows_TV in found if rows_TV is not None])

    compiled, eager = logits(BEST), logits(f"{EAGER}, prompts in bf16")
    assert network.step_name.startswith(EAGER)
    kl = (eager.softmax(-1) * (eager.log_softmax(-1) - compiled.log_softmax(-1))).sum(-1)
    assert 0 < kl.max() < 2e-3, "not the same code, and the same distribution"


@needs_compiler
def test_the_compiled_output_product_sums_in_f32(engine: LocalEngine) -> None:
    """What torch's own product in 8 bits rounds to bf16."""
    network = network_of(engine)
    network.take_step(BEST)
    step, head = network.steps and network.steps.best(), network.llama.head
    assert step is not None
    assert isinstance(head, RescoredHead)
    x_1D = torch.randn(1, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.inference_mode():
        got_V, normed_D = step.logits(x_1D)[0], network.llama.norm(x_1D)[0]
        want_V = (head.fast.weight.double() * head.fast.exact_scale[:, None].double()) @ normed_D.double()
        exact_V = head.table.exact(torch.arange(len(want_V))).double() @ normed_D.double()
    smallest = 1e-5 * float(want_V.abs().max())
    is_fast, is_rescored = ((got_V - values_V).abs() < smallest for values_V in (want_V, exact_V))
    assert (is_fast | is_rescored).all()
    assert is_fast.sum() >= len(want_V) - RESCORED


@needs_compiler
def test_a_cache_in_8_bits_is_read_and_written_as_the_network_does(model: Path, tmp_path: Path) -> None:
    engine = load_engine(model, replace(SETTINGS, kv_dtype="int8"))
    network = network_of(engine)
    spec = spec_of(network.llama, network.precision, 2)
    assert spec is not None
    code: dict[str, Path] = {}
    parts_made: tuple[Part, ...] = ("one", "few")
    for part in parts_made:
        code[part] = tmp_path / f"{part}.so"
        code[part].write_bytes(compile_part(spec, part, tmp_path))
    step = FusedStep(code, "compiled", network.llama)
    ids = [20 + (7 * i) % 250 for i in range(300)]
    caches, rows = [network.new_cache(), network.new_cache()], []
    with torch.inference_mode():
        for computes, cache in zip((network.llama, step), caches, strict=True):
            rest = iter(ids)
            parts = [torch.tensor(list(islice(rest, count))) for count in [1] * 5 + [240] + [1] * 50 + [3, 1]]
            rows.append(torch.cat([computes.forward(ids_T, cache) for ids_T in parts]))
        eager, compiled = (network.llama.logits(x_TD).log_softmax(-1) for x_TD in rows)
        eager_keys, keys = (cache.read(2, 299)[0].float() for cache in caches)
    assert 0 < (eager.exp() * (eager - compiled)).sum(-1).max() < 2e-3
    assert (eager_keys - keys).abs().max() < 0.05 * eager_keys.abs().max()
    engine.close()


@needs_compiler
def test_a_reply_names_the_code_that_computed_it_and_comes_again_by_it(engine: LocalEngine) -> None:
    tokens, end = reply(engine)
    assert end.plan.step.startswith("compiled ")
    assert end.plan.step.endswith(", prompts in bf16")
    engine.live.rewind(0)
    again, _ = reply(engine)
    assert [(t.token_id, t.logprob) for t in again] == [(t.token_id, t.logprob) for t in tokens]
    with stepping_as_begun(engine, EAGER):
        eager, eager_end = reply(engine)
        assert eager_end.plan.step == EAGER
        assert eager_end.usage.reused_tokens == 0, "what other code computed is not gone on from"
        place = 9
        rest, rest_end = reply(
            engine, forced=tuple(t.token_id for t in eager[:place]), plan=tuple(eager_end.plan.forwards)
        )
        assert rest_end.plan.step == EAGER
    assert [(t.token_id, t.logprob) for t in rest[: 24 - place]] == [
        (t.token_id, t.logprob) for t in eager[place:]
    ]
    assert reply(engine)[1].plan.step == end.plan.step, "afterwards the best counts again"


@needs_compiler
def test_a_network_that_is_altered_or_looked_into_runs_as_it_is(engine: LocalEngine) -> None:
    from llama_chat.alteration import Alteration
    from llama_chat.engine.probing import probing

    engine.alter(Alteration(layers={1: 0.0}))
    assert EAGER in reply(engine)[1].plan.step
    engine.alter(Alteration())
    assert "compiled" in reply(engine)[1].plan.step
    network, seen = network_of(engine), []
    with torch.inference_mode(), probing(network.llama, lambda place, layer, values: seen.append(place)):
        network.forward([20], network.new_cache(), "last")
    assert seen.count("residual") == 3


@needs_compiler
@pytest.mark.parametrize("harm", ["cut", "empty", "one byte", "no description", "others may write"])
def test_code_that_is_not_as_it_was_made_is_not_loaded(
    model: Path, made: Path, tmp_path: Path, harm: str
) -> None:
    """A shared object that was cut would end the process."""
    cache = tmp_path / "cache"
    shutil.copytree(made, cache)
    code, *others = sorted((cache / "steps").glob("*.so"))
    assert len(others) == 3, "for one row, for several, for many, and of the output"
    content = code.read_bytes()
    if harm == "others may write":
        code.chmod(0o722)
    elif harm == "no description":
        next((cache / "steps").glob("*.json")).unlink()
    else:
        half = len(content) // 2
        changed = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        code.write_bytes({"cut": content[:half], "empty": b"", "one byte": changed}[harm])
    engine = load_engine(model, SETTINGS, cache_folder=cache)
    assert EAGER in reply(engine)[1].plan.step
    engine.close()


def test_other_sizes_threads_or_processors_take_other_code() -> None:
    spec = LayerSpec(64, 4, 2, 16, 96, ("int4", "int4", "int4", "int4"), "bf16", 512, 2)
    others = [replace(spec, dim=128), replace(spec, threads=1), replace(spec, kinds=("int8",) * 4)]
    others += [replace(spec, vocab_size=0), replace(spec, kv="int8")]
    assert len({spec.name, *(other.name for other in others)}) == 6
    assert LayerSpec.from_json(spec.as_json()) == spec


def test_dense_layers_and_other_precisions_are_not_compiled(model: Path, tmp_path: Path) -> None:
    engine = load_engine(model, replace(SETTINGS, dtype="f32"), cache_folder=tmp_path)
    network = network_of(engine)
    assert network.steps is None
    assert network.unpacked is None
    assert spec_of(network.llama, replace(network.precision, compute=torch.bfloat16), 2) is None
    engine.build_step(waits=True)
    assert reply(engine)[1].plan.step == EAGER
    assert not list(tmp_path.iterdir())
    engine.close()


def test_the_unpacked_layers_are_the_packed_ones(model: Path, tmp_path: Path) -> None:
    """Rounded to bf16 once; used from the reply on that begins when they are there."""
    engine = load_engine(model, SETTINGS, cache_folder=tmp_path)
    network = network_of(engine)
    assert "prompts in bf16" not in reply(engine)[1].plan.step
    unpack(engine)
    network.take_step(BEST)
    cached, plain = network.llama.blocks, load_engine(model, SETTINGS)
    x_TD = torch.eye(64, dtype=torch.bfloat16)
    for block, other in zip(cached, network_of(plain).llama.blocks, strict=True):
        dense, packed = block.attention.qkv.dense.values, other.attention.qkv(x_TD).T  # type: ignore[union-attr]
        assert other.attention.qkv.dense is None  # type: ignore[union-attr]
        torch.testing.assert_close(dense, packed, rtol=2**-7, atol=1e-3)
    assert "prompts in bf16" in reply(engine)[1].plan.step
    engine.close()


def unpack(engine: LocalEngine) -> None:
    unpacked = network_of(engine).unpacked
    assert unpacked is not None
    unpacked.make(waits=True)


@pytest.mark.parametrize("harm", ["cut", "changed at an end", "no safetensors"])
def test_unpacked_layers_that_are_damaged_are_made_again(model: Path, tmp_path: Path, harm: str) -> None:
    def load() -> list[tuple[int, float]]:
        engine = load_engine(model, SETTINGS, cache_folder=tmp_path)
        unpack(engine)
        tokens, _ = reply(engine)
        engine.close()
        return [(token.token_id, token.logprob) for token in tokens]

    wanted = load()
    (file,) = (tmp_path / "unpacked").iterdir()
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[:-64],
            "changed at an end": content[:-1] + bytes([content[-1] ^ 64]),
            "no safetensors": b"nonsense" * 99,
        }[harm]
    )
    assert load() == wanted
    assert [path.read_bytes() for path in (tmp_path / "unpacked").iterdir()] == [content]


def test_a_cache_folder_that_cannot_be_written_does_no_harm(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    engine = load_engine(model, SETTINGS, cache_folder=tmp_path / "cache")
    assert reply(engine)[1].plan.step == EAGER
    engine.build_step(waits=True)
    engine.close()


def test_old_code_and_what_a_killed_build_left_is_cleared(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}-one.so").write_bytes(b"code")
        (tmp_path / f"{name}.json").write_text("{}")
    os.utime(tmp_path / "old.json", (0, 0))
    left = tmp_path / "build-left"
    left.mkdir()
    (left / "layer.cpp").write_text("")
    os.utime(left, (0, 0))
    StepShelf(tmp_path).clear_old()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new-one.so", "new.json"]
