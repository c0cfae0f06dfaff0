"""Folders that transformers wrote, computed as transformers does; and the same weights in other formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import dequantize, quantize
from test_parity import relative_difference
from tiny_hf import TinyHF, write_tokenizer
from tiny_meta import TINY_VOCAB, TinyMeta
from tiny_models import TinyModel, tiny_vocabulary
from torch import Tensor

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.model_file import read_model_file
from llama_chat.settings import ModelSettings

CONTEXT = 16_384
AT = (0, 1, 2048, 8192, CONTEXT - 1)
"""Positions whose logits are compared; short prompts hide mistakes in RoPE."""
NEW_TOKENS = 200
VOCABULARY = tiny_vocabulary(307)  # no multiple of 64, nor of 2

SIZES: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 307, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "initializer_range": 0.1, "bos_token_id": 1, "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
}  # fmt: skip


def llama3_rope(factor: float, original: int = 8192) -> dict[str, Any]:
    return {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": factor, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": original,
    }  # fmt: skip


CASES: dict[str, dict[str, Any]] = {
    "grouped, tied": {},
    "every head its own keys, untied": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "Llama 3.1": {"rope_parameters": llama3_rope(8.0), "tie_word_embeddings": False, "head_dim": 128},
    "Llama 3.2": {"rope_parameters": llama3_rope(32.0)},
    "blended early": {"rope_parameters": llama3_rope(32.0, original=512)},
    "linear": {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
        "num_key_value_heads": 2,
    },
    "Mistral": {"model_type": "mistral", "sliding_window": None, "tie_word_embeddings": False},
}


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    """Off line, and on one thread: two take ten times as long as soon as another process wants a core."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)


def build_peer(seed: int = 0, **fields: Any) -> Any:
    """A random model by transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {"model_type": "llama"} | SIZES | fields
    torch.manual_seed(seed)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def save(peer: Any, folder: Path, **options: Any) -> Path:
    """The folder, with the model as transformers saves it and a tokenizer."""
    peer.save_pretrained(folder, **options)
    write_tokenizer(folder, VOCABULARY, None)
    return folder


def open_f32(path: Path) -> LocalEngine:
    return load_engine(path, ModelSettings(dtype="f32", engine="scratch", threads=1))


def some_ids(count: int = CONTEXT, seed: int = 1) -> list[int]:
    ids: list[int] = torch.randint(0, 307, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return ids


def logits_at(engine: LocalEngine, ids: list[int], positions: Sequence[int] = AT) -> Tensor:
    """[len(positions), V], through chunks of 256."""
    cache, found = engine.network.new_cache(), {}
    for start in range(0, len(ids), 256):
        wanted = [at for at in positions if start <= at < start + 256]
        logits = engine.network.forward(ids[start : start + 256], cache, "all" if wanted else "none")
        for at in wanted:
            assert logits is not None
            found[at] = logits[at - start]
    return torch.stack([found[at] for at in positions])


def greedy(engine: LocalEngine, prompt: list[int], count: int = NEW_TOKENS) -> list[int]:
    """The likeliest ids, one after the other, end or not."""
    cache, said, ids = engine.network.new_cache(), [], prompt
    for _ in range(count):
        logits = engine.network.forward(ids, cache, "last")
        assert logits is not None
        ids = [int(logits.argmax())]
        said += ids
    return said


@torch.inference_mode()
def peer_greedy(peer: Any, prompt: list[int]) -> list[int]:
    said: list[int] = peer.generate(
        torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    return said


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_a_folder_by_transformers_is_computed_as_transformers_does(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    peer = build_peer(**fields)
    engine = open_f32(save(peer, tmp_path / "tiny"))
    assert engine.info.architecture == fields.get("model_type", "llama")
    ids = some_ids()
    with torch.inference_mode():
        theirs = peer(torch.tensor([ids]), logits_to_keep=torch.tensor(AT), use_cache=False).logits[0]
    ours = logits_at(engine, ids)
    assert relative_difference(ours, theirs) < 1e-4
    assert greedy(engine, ids[:24]) == peer_greedy(peer, ids[:24])


def test_the_comparison_sees_a_wrong_rope(tmp_path: Path) -> None:
    """A factor of 8 in place of 32 shows far into the context."""
    peer, ids = build_peer(**CASES["Llama 3.2"]), some_ids(4096)
    right = logits_at(open_f32(save(peer, tmp_path / "right")), ids, [4095])
    peer.config.rope_parameters = llama3_rope(8.0)
    wrong = logits_at(open_f32(save(peer, tmp_path / "wrong")), ids, [4095])
    assert relative_difference(right, wrong) > 1e-2


def test_several_files_are_one_model(tmp_path: Path) -> None:
    peer = build_peer(tie_word_embeddings=False)
    whole = open_f32(save(peer, tmp_path / "whole"))
    folder = save(peer, tmp_path / "parts", max_shard_size="200KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    parts = open_f32(folder)
    ids = some_ids(100)
    cache = whole.network.new_cache(), parts.network.new_cache()
    ours, theirs = whole.network.forward(ids, cache[0], "all"), parts.network.forward(ids, cache[1], "all")
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_read_as_they_are(tmp_path: Path, dtype: str) -> None:
    from transformers import AutoModelForCausalLM

    folder = save(build_peer(tie_word_embeddings=False).to(getattr(torch, dtype)), tmp_path / "half")
    engine, ids = open_f32(folder), some_ids(100)
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        theirs = peer(torch.tensor([ids]), use_cache=False).logits[0]
    ours = engine.network.forward(ids, engine.network.new_cache(), "all")
    assert ours is not None
    assert relative_difference(ours, theirs) < 1e-4


# --- the same weights in other formats --------------------------------------------------------------

TINY = TinyModel(dim=128, n_heads=2, n_kv_heads=1, ffn_dim=192, seed=5, vocabulary=VOCABULARY, tied=False)


def test_gguf_and_safetensors_of_the_same_weights_say_the_same(tmp_path: Path) -> None:
    gguf = open_f32(TINY.write(tmp_path / "tiny.gguf"))
    folder = open_f32(TinyHF(TINY, shards=3).write(tmp_path / "tiny"))
    ids = some_ids(24)
    said = greedy(gguf, ids)
    assert len(set(said)) > 5
    assert said == greedy(folder, ids)


def test_meta_safetensors_and_q8_0_of_the_same_weights_say_the_same(tmp_path: Path) -> None:
    """The values are those that Q8_0 keeps, so that no format rounds anything."""
    tiny = replace(TINY, n_heads=4, n_kv_heads=2, vocabulary=tiny_vocabulary(TINY_VOCAB))
    kept = {
        name: dequantize(quantize(array, GGMLType.Q8_0), GGMLType.Q8_0) if array.ndim > 1 else array
        for name, array in tiny.arrays().items()
    }
    same = replace(tiny, values=kept)
    meta = TinyMeta(dim=128, n_heads=4, n_kv_heads=2, ffn_dim=192, shards=2, values=kept)
    engines = {
        "q8_0": open_f32(replace(same, type=GGMLType.Q8_0).write(tmp_path / "tiny-q8.gguf")),
        "f32": open_f32(same.write(tmp_path / "tiny.gguf")),
        "safetensors": open_f32(TinyHF(same).write(tmp_path / "tiny")),
        "meta": open_f32(meta.write(tmp_path / "meta")),
    }
    for name in ("token_embd.weight", "blk.1.attn_q.weight", "blk.0.ffn_down.weight"):
        stored = read_model_file(tmp_path / "tiny-q8.gguf").checkpoint.values(name)
        assert np.array_equal(stored.numpy(), kept[name])
    said = {name: greedy(engine, some_ids(24)) for name, engine in engines.items()}
    assert len(set(said["q8_0"])) > 5
    assert {name for name, ids in said.items() if ids == said["q8_0"]} == engines.keys()


def test_q8_0_says_what_its_values_say(tmp_path: Path) -> None:
    packed = open_f32(replace(TINY, type=GGMLType.Q8_0).write(tmp_path / "tiny-q8.gguf"))
    values = {
        name: dequantize(quantize(array, GGMLType.Q8_0), GGMLType.Q8_0)
        for name, array in TINY.arrays().items()
        if array.ndim > 1
    }
    folder = open_f32(TinyHF(replace(TINY, values=values)).write(tmp_path / "tiny"))
    assert any(
        not np.array_equal(values[name], array) for name, array in TINY.arrays().items() if name in values
    )
    ids = some_ids(24)
    assert greedy(packed, ids) == greedy(folder, ids)
