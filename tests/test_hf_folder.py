"""Hugging Face folders: what is read, what is refused, and that it says the same as GGUF."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_hf import TinyHF, in_halves, write_json, write_safetensors, write_tokenizer
from tiny_models import CHATML, TinyModel, TinyVocabulary, tiny_vocabulary

from llama_chat.conversation import Message, Role
from llama_chat.engine.config import OTHER_ENGINE, RopeScaling
from llama_chat.engine.files.checkpoint import MISSING
from llama_chat.engine.files.hf_config import config_from_hf
from llama_chat.engine.files.hf_folder import open_checkpoint, read_hf_folder
from llama_chat.engine.files.hf_weights import INDEX_NAME, gguf_name, hf_name
from llama_chat.engine.load import load_engine
from llama_chat.engine.model_file import read_model_file
from llama_chat.errors import ModelError, NotOursError
from llama_chat.events import Event, Failed, LiveSampling, Sampling, Token
from llama_chat.settings import ModelSettings
from llama_chat.template.chat_template import ChatTemplate

TINY = TinyModel(dim=64, n_heads=4, n_kv_heads=2, ffn_dim=96, n_layers=2, tied=False)
LLAMA3 = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_model_file(path)
    assert str(caught.value).isprintable()
    return caught.value


def answer(path: Path, question: str = "hello", count: int = 8) -> list[Event]:
    engine = load_engine(path, ModelSettings(dtype="f32", engine="scratch", threads=1))
    template = ChatTemplate.of_model(engine.info)
    assert template is not None
    pieces = template.render([Message("m", None, Role.USER, question, 0.0)], today="2026-11-22")
    sampling = LiveSampling(Sampling(temperature=0.0, max_new_tokens=count))
    return list(engine.stream(pieces, sampling=sampling, seed=0))


# --- what is read ----------------------------------------------------------------------------------


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    folder = TinyHF(TINY, generation={"eos_token_id": [0, 2]}, dtype="BF16").write(tmp_path / "Tiny-1B")
    model = read_model_file(folder)
    assert (model.name, model.architecture, model.chat_template) == ("Tiny-1B", "llama", CHATML)
    assert model.checkpoint.format == "safetensors"
    assert model.checkpoint.path == folder
    assert model.notices == ()
    config = model.config
    assert (config.dim, config.n_layers, config.n_heads, config.n_kv_heads) == (64, 2, 4, 2)
    assert (config.head_dim, config.ffn_dim, config.vocab_size, config.context_length) == (16, 96, 304, 512)
    assert (config.norm_eps, config.rope_theta, config.tied_output) == (1e-5, 10000.0, False)
    assert (config.rope_divisor, config.rope_scaling) == (1.0, None)
    stored = model.checkpoint.tensors["blk.1.attn_q.weight"]
    assert (stored.shape, stored.type_name, stored.nbytes) == ((64, 64), "BF16", 8192)
    assert stored.source_name == "model.layers.1.self_attn.q_proj.weight"
    assert {0, 2} <= model.tokenizer.vocabulary.end_ids


def test_names_lead_both_ways() -> None:
    for name in TINY.shapes:
        assert gguf_name(hf_name(name)) == name
    for name in (
        "model.layers.01.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "lm_head.bias",
    ):
        assert gguf_name(name) is None


@pytest.mark.parametrize("shards", [1, 3])
def test_every_value_is_where_gguf_has_it(tmp_path: Path, shards: int) -> None:
    """Also when only some rows are asked for: slices end inside heads."""
    _, checkpoint = open_checkpoint(TinyHF(TINY, shards=shards).write(tmp_path / "a"))
    arrays = TINY.arrays()
    assert checkpoint.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        whole = torch.from_numpy(array)
        assert torch.equal(checkpoint.values(name), whole)
        assert checkpoint.blocks(name) is None
        for start, stop in ((0, 7), (5, 21), (15, 17), (3, None), (30, 999), (9, 9)):
            assert torch.equal(checkpoint.values(name, start, stop), whole[start:stop])
        checkpoint.forget(name)
        assert torch.equal(checkpoint.values(name), whole)
    with pytest.raises(ModelError, match="there is no tensor rope_freqs"):
        checkpoint.values("rope_freqs.weight")


def test_frequencies_that_were_saved_with_the_weights_do_no_harm(tmp_path: Path) -> None:
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(2)}
    folder = TinyHF(TINY, extra=buffers | {"model.rotary_emb.inv_freq": torch.ones(8)}).write(tmp_path / "a")
    assert read_model_file(folder).checkpoint.tensors.keys() == TINY.shapes.keys()


def test_a_tied_output_needs_no_matrix_and_one_that_is_there_counts(tmp_path: Path) -> None:
    tied = replace(TINY, tied=True)
    assert read_model_file(TinyHF(tied).write(tmp_path / "tied")).config.tied_output
    both = TinyHF(tied, extra={"lm_head.weight": torch.ones(304, 64)}).write(tmp_path / "both")
    assert not read_model_file(both).config.tied_output
    neither = TinyHF(tied, config={"tie_word_embeddings": False}).write(tmp_path / "neither")
    assert refusal(neither).message == "model.safetensors: there is no tensor lm_head.weight"


def test_the_fingerprint_names_the_weights(tmp_path: Path) -> None:
    prints = [
        read_model_file(tiny.write(tmp_path / str(n))).checkpoint.fingerprint()
        for n, tiny in enumerate((TinyHF(TINY), TinyHF(TINY), TinyHF(replace(TINY, seed=1))))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_rows_that_only_fill_up_the_embedding(tmp_path: Path) -> None:
    """32,022 tokens often have 32,256 rows; what comes out of the others is nothing."""
    arrays = TINY.arrays()
    grown = {
        name: np.concatenate([arrays[name], np.zeros((16, 64))])
        for name in ("token_embd.weight", "output.weight")
    }
    folder = TinyHF(replace(TINY, values=grown), config={"vocab_size": 320}).write(tmp_path / "a")
    tokenizer = read_model_file(folder).tokenizer
    assert len(tokenizer) == 320
    assert tokenizer.piece(319) == b""
    assert tokenizer.decoder().feed(310) == ""
    ids = tokenizer.encode("hello the 🦙")
    assert b"".join(map(tokenizer.piece, ids)).decode() == "hello the 🦙"


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    for size in (310, 3000):
        other = TinyHF(replace(TINY, vocabulary=tiny_vocabulary(size))).write(tmp_path / str(size))
        folder = TinyHF(TINY).write(tmp_path / f"tiny-{size}")
        (other / "tokenizer.json").replace(folder / "tokenizer.json")
        error = refusal(folder)
        assert f"tiny-{size}: {size:,} tokens, but 304 rows of embeddings" in error.message
        assert error.hint == "The tokenizer belongs to another model."
    big, small = TinyHF(replace(TINY, vocabulary=tiny_vocabulary(3000))).write(tmp_path / "b"), tmp_path / "a"
    (TinyHF(TINY).write(small) / "tokenizer.json").replace(big / "tokenizer.json")
    assert "b: 304 tokens, but 3,000 rows of embeddings" in refusal(big).message


def test_headers_are_read_without_torch(tmp_path: Path) -> None:
    folder = TinyHF(TINY).write(tmp_path / "a")
    code = (
        "import sys, pathlib; from llama_chat.engine.model_file import read_model_file;"
        "print(read_model_file(pathlib.Path(sys.argv[1])).checkpoint.fingerprint());"
        "assert not {'torch', 'transformers', 'safetensors'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, folder], check=True)


# --- config.json -----------------------------------------------------------------------------------


def config_of(**fields: Any) -> Any:
    return config_from_hf(TinyHF(TINY, config=fields).config_json(), "config.json")


def test_what_a_config_leaves_out_is_what_transformers_has() -> None:
    said = config_of(
        num_key_value_heads=None,
        rope_theta=None,
        rms_norm_eps=None,
        max_position_embeddings=None,
        hidden_act=None,
        architectures=None,
    )
    config = said.llama
    assert (config.n_kv_heads, config.rope_theta, config.norm_eps, config.context_length) == (
        4,
        1e4,
        1e-6,
        2048,
    )
    assert config_of(head_dim=32).llama.head_dim == 32
    assert config_of(
        model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=512
    ).model_type


@pytest.mark.parametrize(
    ("fields", "theta", "divisor", "scaling"),
    [
        ({"rope_theta": 5e5}, 5e5, 1, None),
        ({"rope_theta": 5e5, "rope_scaling": LLAMA3}, 5e5, 1, RopeScaling(32.0)),
        ({"rope_parameters": LLAMA3 | {"rope_theta": 5e5}, "rope_theta": None}, 5e5, 1, RopeScaling(32.0)),
        ({"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}, 5e5, 1, RopeScaling(32.0)),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, 5e5, 1, None),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 1e4, 4, None),
        ({"rope_scaling": {"type": "yarn", "rope_type": "linear", "factor": 4}}, 1e4, 4, None),
        ({"rope_scaling": {"type": "default"}}, 1e4, 1, None),
        ({"rope_scaling": LLAMA3 | {"original_max_position_embeddings": None}}, 1e4, 1,
            RopeScaling(32.0, original_context=512)),
        ({"rope_scaling": LLAMA3 | {"factor": 8, "high_freq_factor": 8}}, 1e4, 1, RopeScaling(8.0, 1.0, 8.0)),
    ],
)  # fmt: skip
def test_rope_by_its_old_and_new_names(
    fields: Mapping[str, Any], theta: float, divisor: float, scaling: RopeScaling | None
) -> None:
    config = config_of(**fields).llama
    assert (config.rope_theta, config.rope_divisor, config.rope_scaling) == (theta, divisor, scaling)


def test_end_ids_of_both_configs_count(tmp_path: Path) -> None:
    for n, (own, generation, ends) in enumerate(
        [
            (0, {"eos_token_id": [3, 5]}, {0, 3, 5}),
            ([0, 3], {}, {0, 3}),
            (None, {"eos_token_id": 3}, {3}),
            (-1, None, set()),
        ]
    ):
        folder = TinyHF(TINY, config={"eos_token_id": own}, generation=generation).write(tmp_path / str(n))
        found = read_model_file(folder).tokenizer.vocabulary.end_ids
        assert ends <= found
        assert not found & ({0, 3, 5} - ends - {0})  # <|endoftext|> and <|im_end|> end a reply by their names


OTHER = "--engine hf"
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "another family": (
        {"model_type": "qwen3"},
        "the architecture is 'qwen3', not of the Llama family",
        OTHER,
    ),
    "no family": ({"model_type": None}, "there is no model_type", ""),
    "another head": (
        {"architectures": ["LlamaForSequenceClassification"]},
        "LlamaForSequenceClassification",
        OTHER,
    ),
    "a window": (
        {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 128},
        "each token sees the last 128 only",
        OTHER,
    ),
    "a window unsaid": (
        {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "max_position_embeddings": 8192},
        "each token sees the last 4,096 only",
        OTHER,
    ),
    "quantised by GPTQ": ({"quantization_config": {"quant_method": "gptq"}}, "quantised ('gptq')", "GGUF"),
    "quantised by AWQ": (
        {"quantization_config": {"quant_method": "awq", "bits": 4}},
        "('awq')",
        "--dtype int8",
    ),
    "quantised by bitsandbytes": (
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        "('bitsandbytes')",
        "GGUF",
    ),
    "quantised somehow": ({"quantization_config": "yes"}, "quantised ('?')", "GGUF"),
    "attention bias": ({"attention_bias": True}, "attention has biases (attention_bias)", OTHER),
    "bias": ({"mlp_bias": True}, "the feed-forward layers have biases (mlp_bias)", OTHER),
    "a bias of text": ({"mlp_bias": "no"}, "mlp_bias is 'no', wanted true or false", "damaged"),
    "another activation": ({"hidden_act": "gelu"}, "the activation is 'gelu', wanted 'silu'", OTHER),
    "rope of another kind": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        "RoPE is scaled as 'yarn'",
        OTHER,
    ),
    "rope by its old name": (
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "RoPE is scaled as 'dynamic'",
        OTHER,
    ),
    "rope unknown": ({"rope_parameters": {"rope_type": "\x1b[2J"}}, r"RoPE is scaled as ''\x1b[2J''", OTHER),
    "rope of a number": ({"rope_parameters": {"rope_type": 7}}, "RoPE is scaled as '7'", OTHER),
    "rope of each layer": ({"rope_parameters": {"full": {}, "sliding": {}}}, "layer by layer", OTHER),
    "rope in part": ({"partial_rotary_factor": 0.5}, "RoPE turns a part of each head (0.5)", OTHER),
    "no factor": ({"rope_scaling": {"type": "linear"}}, "there is no rope_scaling.factor", "damaged"),
    "a factor of null": (
        {"rope_scaling": LLAMA3 | {"factor": None}},
        "there is no rope_scaling.factor",
        "damaged",
    ),
    "a factor of NaN": (
        {"rope_scaling": LLAMA3 | {"factor": float("nan")}},
        "rope_scaling.factor is nan",
        "damaged",
    ),
    "a factor below 1": (
        {"rope_scaling": {"type": "linear", "factor": 0.5}},
        "factor is 0.5, wanted",
        "damaged",
    ),
    "a factor beyond reason": (
        {"rope_scaling": {"type": "linear", "factor": 1e30}},
        "factor is 1e+30",
        "damaged",
    ),
    "ends in the wrong order": (
        {"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}},
        "high_freq_factor is 4.0, wanted a number above",
        "damaged",
    ),
    "theta of text": ({"rope_theta": "10000"}, "rope_theta is '10000', wanted a number", "damaged"),
    "theta of infinity": ({"rope_theta": float("inf")}, "rope_theta is inf", "damaged"),
    "eps of nothing": ({"rms_norm_eps": 0}, "rms_norm_eps is 0, wanted", "damaged"),
    "eps below nothing": ({"rms_norm_eps": -1e-5}, "rms_norm_eps is -1e-05", "damaged"),
    "no width": ({"hidden_size": None}, "there is no hidden_size", "damaged"),
    "a width of a fraction": ({"hidden_size": 64.0}, "hidden_size is 64.0, wanted a whole number", "damaged"),
    "a width that is true": ({"hidden_size": True}, "hidden_size is True", "damaged"),
    "heads of nothing": ({"num_attention_heads": 0}, "num_attention_heads is 0", "damaged"),
    "heads below nothing": ({"num_attention_heads": -4}, "num_attention_heads is -4", "damaged"),
    "heads that do not divide": (
        {"num_attention_heads": 5},
        "a width of 64 cannot be split into 5 heads",
        "damaged",
    ),
    "heads that do not group": ({"num_key_value_heads": 3}, "cannot share 3 key/value heads", "damaged"),
    "layers beyond reason": ({"num_hidden_layers": 10**30}, "num_hidden_layers is 1000000", "damaged"),
    "more layers than tensors": (
        {"num_hidden_layers": 1 << 24},
        "16,777,216 layers, but only 21 tensors",
        "damaged",
    ),
    "one layer more": (
        {"num_hidden_layers": 3},
        "there is no tensor model.layers.2.input_layernorm.weight",
        "damaged",
    ),
    "one layer less": ({"num_hidden_layers": 1}, "no use for the tensor blk.1", OTHER),
    "another width of layers": (
        {"intermediate_size": 128},
        "model.layers.0.mlp.gate_proj.weight has the shape [96, 64], wanted [128, 64]",
        "damaged",
    ),
    "ends of text": ({"eos_token_id": "</s>"}, "eos_token_id is '</s>', wanted the id of a token", "damaged"),
    "ends of ends": ({"eos_token_id": [[1]]}, "eos_token_id is [[1]]", "damaged"),
}


@pytest.mark.parametrize(("fields", "message", "hint"), WRONG.values(), ids=WRONG)
def test_configs_that_are_refused(tmp_path: Path, fields: dict[str, Any], message: str, hint: str) -> None:
    error = refusal(TinyHF(TINY, config=fields).write(tmp_path / "wrong"))
    assert message in error.message
    assert hint in error.hint
    assert error.hint or not hint


def test_files_that_are_missing(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        folder = TinyHF(TINY).write(tmp_path / name)
        (folder / name).unlink()
        error = refusal(folder)
        assert name in error.message
        assert error.hint == MISSING
    folder = TinyHF(TINY).write(tmp_path / "weights")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        read_hf_folder(folder)


def test_a_tokenizer_that_is_there_in_another_form(tmp_path: Path) -> None:
    folder = TinyHF(TINY).write(tmp_path / "old")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    error = refusal(folder)
    assert isinstance(error, NotOursError)
    assert "there is no tokenizer.json in this folder, but tokenizer.model" in error.message
    assert "--engine hf" in error.hint


# --- weights that are refused ----------------------------------------------------------------------


def test_tensors_that_a_llama_has_no_place_for(tmp_path: Path) -> None:
    bias = {"model.layers.0.self_attn.q_proj.bias": torch.zeros(64)}
    error = refusal(TinyHF(TINY, extra=bias).write(tmp_path / "bias"))
    assert "no use for the tensor model.layers.0.self_attn.q_proj.bias" in error.message
    assert error.hint == OTHER_ENGINE
    name = {"blk.0.attn_q.weight": torch.zeros(64, 64)}
    assert "is GGUF's name" in refusal(TinyHF(TINY, extra=name).write(tmp_path / "gguf")).message


@pytest.mark.parametrize(("dtype", "name"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8")])
def test_quantised_tensors_are_named(tmp_path: Path, dtype: torch.dtype, name: str) -> None:
    which = "model.layers.1.mlp.up_proj.weight"
    error = refusal(TinyHF(TINY, extra={which: torch.zeros(96, 64).to(dtype)}).write(tmp_path / "a"))
    assert f"model.safetensors: {which} is stored as {name}; BF16, F16, F32, F64 can be read" in error.message
    assert "--dtype int8" in error.hint


def sharded(tmp_path: Path, name: str = "a", model: TinyModel = TINY) -> tuple[Path, dict[str, Any]]:
    folder = TinyHF(model, shards=2).write(tmp_path / name)
    return folder, json.loads((folder / INDEX_NAME).read_text())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder, _ = sharded(tmp_path)
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = refusal(folder)
    assert error.message == f"model-00002-of-00002.safetensors is missing, though {INDEX_NAME} names it"
    assert "not fetched completely" in error.hint


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "/etc/x.safetensors",
        "a\\b.safetensors",
        "..",
        "C:x.safetensors",
        "x.bin",
        "",
        "\0.safetensors",
    ],
)
def test_an_index_names_files_of_its_own_folder_only(tmp_path: Path, name: str) -> None:
    folder, index = sharded(tmp_path)
    write_safetensors(tmp_path / "secret.safetensors", {"model.norm.weight": torch.ones(64)})
    index["weight_map"]["model.norm.weight"] = name
    write_json(folder / INDEX_NAME, index)
    assert "is no safetensors file of this folder" in refusal(folder).message


def test_an_index_that_lies(tmp_path: Path) -> None:
    folder, index = sharded(tmp_path)
    right: dict[str, str] = index["weight_map"]
    norm, other = right["model.norm.weight"], "model-00001-of-00002.safetensors"
    other = other if norm != other else "model-00002-of-00002.safetensors"
    lies: list[tuple[Any, str]] = [
        (right | {"model.norm.bias": norm}, f"{norm}: there is no tensor model.norm.bias"),
        (
            right | {"model.norm.weight": other},
            "which model.safetensors.index.json looks for in another file",
        ),
        ({k: v for k, v in right.items() if k != "model.norm.weight"}, "index.json does not name"),
        ({}, "has no weight_map"),
        (list(right), "has no weight_map"),
        (right | {"model.norm.weight": 1}, "has no weight_map"),
        ({f"t{n}": norm for n in range(70_000)}, "names 70,000 tensors"),
    ]
    for weight_map, message in lies:
        write_json(folder / INDEX_NAME, {"weight_map": weight_map})
        assert message in refusal(folder).message
    (folder / INDEX_NAME).write_bytes(b" " * ((1 << 24) + 1))
    assert "has more than" in refusal(folder).message


def test_shards_of_different_models(tmp_path: Path) -> None:
    folder, _ = sharded(tmp_path)
    wider, _ = sharded(tmp_path, "wider", replace(TINY, ffn_dim=128))
    deeper, _ = sharded(tmp_path, "deeper", replace(TINY, n_layers=3))
    shard = folder / "model-00002-of-00002.safetensors"
    (wider / shard.name).replace(shard)
    error = refusal(folder)
    assert "has the shape" in error.message
    assert "model.layers." in error.message
    (deeper / shard.name).replace(shard)
    error = refusal(folder)
    assert f"{shard.name}: has the tensor" in error.message
    assert "different models" in error.hint


def test_parts_without_an_index_that_hold_a_tensor_twice(tmp_path: Path) -> None:
    folder, _ = sharded(tmp_path)
    (folder / INDEX_NAME).unlink()
    assert len(read_model_file(folder).checkpoint.tensors) == 21
    (folder / "model-00002-of-00002.safetensors").write_bytes(
        (folder / "model-00001-of-00002.safetensors").read_bytes()
    )
    assert "is in another file, too" in refusal(folder).message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_end_the_reply(tmp_path: Path, value: float) -> None:
    array = TINY.arrays()["blk.1.ffn_down.weight"]
    array[3, 5] = value
    folder = TinyHF(replace(TINY, values={"blk.1.ffn_down.weight": array})).write(tmp_path / "a")
    last = answer(folder)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, ModelError)
    assert "no number (NaN)" in last.error.message or "infinity" in last.error.message
    assert "weights may be damaged" in last.error.hint


# --- the default model, and memory -----------------------------------------------------------------


def test_the_default_model_says_the_same_from_safetensors(default_model: Path, tmp_path: Path) -> None:
    folder = write_default_model(default_model, tmp_path / "SmolLM2")
    events = [answer(path, "What is two plus two?", 12) for path in (default_model, folder)]
    first, second = ([e.token_id for e in said if isinstance(e, Token)] for said in events)
    assert len(first) > 3
    assert first == second


def write_default_model(gguf: Path, folder: Path) -> Path:
    """The folder, now with the default model in f32."""
    model = read_model_file(gguf)
    config, checkpoint = model.config, model.checkpoint
    metadata: Mapping[str, Any] = checkpoint.files[0].metadata  # type: ignore[attr-defined]  # it is GGUF
    tensors = {}
    for name in checkpoint.tensors:
        values = checkpoint.values(name)
        is_turned = name.endswith(("attn_q.weight", "attn_k.weight"))
        tensors[hf_name(name)] = in_halves(values, config.head_dim) if is_turned else values.clone()
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", tensors)
    said = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim, "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads, "num_key_value_heads": config.n_kv_heads,
        "vocab_size": config.vocab_size, "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps, "rope_theta": config.rope_theta, "tie_word_embeddings": True,
        "eos_token_id": 2,
    }  # fmt: skip
    write_json(folder / "config.json", said)
    vocabulary = TinyVocabulary(
        tuple(token.decode() for token in metadata["tokenizer.ggml.tokens"]),
        tuple(metadata["tokenizer.ggml.token_type"]),
        tuple(merge.decode() for merge in metadata["tokenizer.ggml.merges"]),
    )
    write_tokenizer(folder, vocabulary, model.chat_template, single_digits=True)
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured on Linux")
@pytest.mark.parametrize(("dtype", "shards"), [("bf16", 1), ("bf16", 3), ("int8", 1), ("int4", 1)])
def test_loading_takes_little_more_than_the_weights(tmp_path: Path, dtype: str, shards: int) -> None:
    """At most 1.15 times the weights and 64 MB above the process with everything imported.

    One matrix has more than half of the values, so that holding it twice, or its pages, is too much.
    """
    model = TinyModel(dim=1024, n_layers=1, n_heads=8, n_kv_heads=8, ffn_dim=32768, tied=False)
    folder = TinyHF(model, dtype="BF16", shards=shards).write(tmp_path / "large")
    code = """
import sys, pathlib, transformers
from llama_chat.engine.load import load_engine
from llama_chat.settings import ModelSettings
def kilobytes(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
settings = ModelSettings(dtype=sys.argv[3], engine="scratch", threads=1)
load_engine(pathlib.Path(sys.argv[2]), settings)  # what the first load imports and warms up
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
engine = load_engine(pathlib.Path(sys.argv[1]), settings)
print(engine.info.weights_bytes, (kilobytes("VmHWM") - before) * 1024)
"""
    small = TinyHF(TINY).write(tmp_path / "small")
    said = subprocess.run(
        [sys.executable, "-c", code, folder, small, dtype], capture_output=True, text=True, check=True
    ).stdout
    weights_bytes, grown_bytes = map(int, said.split())
    assert weights_bytes > {"bf16": 200e6, "int8": 100e6, "int4": 55e6}[dtype]
    assert grown_bytes < 1.15 * weights_bytes + 64e6
