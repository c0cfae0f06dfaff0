"""The default model in every format: the same weights give the same reply."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from test_hf_folder import write_default_model
from tiny_meta import TinyMeta

from llama_chat.engine.files.meta import MetaCheckpoint
from llama_chat.engine.files.meta_params import config_from_meta
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.files.pth import PthFile
from llama_chat.engine.load import build_engine
from llama_chat.engine.model_file import read_model_file
from llama_chat.events import LiveSampling, Sampling, Special, Text, Token
from llama_chat.settings import ModelSettings

PROMPT = [
    Special("<|im_start|>"),
    Text("user\nWhat is two plus two?"),
    Special("<|im_end|>"),
    Text("\n"),
    Special("<|im_start|>"),
    Text("assistant\n"),
]
WANTED_TOKENS = 24


def reply(model: ModelFile) -> list[int]:
    """The greedy ids of the model in f32."""
    engine = build_engine(model, ModelSettings(dtype="f32", engine="scratch", context=512))
    sampling = LiveSampling(Sampling(temperature=0.0, max_new_tokens=WANTED_TOKENS))
    events = list(engine.stream(PROMPT, sampling=sampling, seed=1, cancel=threading.Event()))
    engine.close()
    return [event.token_id for event in events if isinstance(event, Token)]


@pytest.fixture(scope="module")
def recorded(default_model: Path) -> list[int]:
    ids = reply(read_model_file(default_model))
    assert len(ids) == WANTED_TOKENS
    return ids


def in_meta_format(gguf: Path, folder: Path, shards: int) -> ModelFile:
    """The weights in Meta's shards, with the model's own tokenizer, which Meta's format cannot hold."""
    model = read_model_file(gguf)
    config, checkpoint = model.config, model.checkpoint
    tiny = TinyMeta(
        dim=config.dim,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        ffn_dim=config.ffn_dim,
        vocab_size=config.vocab_size,
        tied=True,
        shards=shards,
        values={name: checkpoint.values(name).numpy() for name in checkpoint.tensors},
        params={"rope_theta": config.rope_theta, "norm_eps": config.norm_eps},
    )
    tiny.write(folder)
    found = MetaCheckpoint(folder, [PthFile(path) for path in sorted(folder.glob("*.pth"))])
    read, _ = config_from_meta(found.tensors, tiny.params_json(), folder.name)
    assert replace(read, context_length=config.context_length) == config
    return replace(model, checkpoint=found, config=config)


@pytest.mark.parametrize("shards", [1, 3])
def test_meta_s_shards(default_model: Path, tmp_path: Path, recorded: list[int], shards: int) -> None:
    assert reply(in_meta_format(default_model, tmp_path / "meta", shards)) == recorded


def test_a_hugging_face_folder(default_model: Path, tmp_path: Path, recorded: list[int]) -> None:
    assert reply(read_model_file(write_default_model(default_model, tmp_path / "hf"))) == recorded


def test_a_split_gguf(default_model: Path, tmp_path: Path, recorded: list[int]) -> None:
    write_split(default_model, tmp_path, parts=3)
    assert reply(read_model_file(tmp_path)) == recorded


def write_split(gguf: Path, folder: Path, parts: int) -> None:
    """The file in parts, as llama.cpp's gguf-split cuts it: the metadata in the first, tensors in order."""
    reader = GGUFReader(gguf)
    shares = np.array_split(np.arange(len(reader.tensors)), parts)
    for part, share in enumerate(shares):
        writer = GGUFWriter(folder / f"model-{part + 1:05}-of-{parts:05}.gguf", "llama")
        if part == 0:
            for name, field in reader.fields.items():
                if not name.startswith(("GGUF.", "general.architecture")):
                    kinds = list(field.types)
                    writer.add_key_value(
                        name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None
                    )
        writer.add_uint16("split.no", part)
        writer.add_uint16("split.count", parts)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for i in share:
            tensor = reader.tensors[i]
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
