"""The sizes of a model in Meta's format: off its tensors, out of `params.json`, or known by its shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_meta import TINY_VOCAB, TinyMeta

from llama_chat.engine.config import LlamaConfig, RopeScaling, expected_shapes
from llama_chat.engine.files.checkpoint import Stored
from llama_chat.engine.files.meta_folder import read_meta_folder
from llama_chat.engine.files.meta_params import config_from_meta
from llama_chat.errors import ModelError


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_meta_folder(path)
    assert str(caught.value).isprintable()
    return caught.value


LLAMA3 = {"n_kv_heads": 8, "vocab_size": 128_256, "norm_eps": 1e-5, "rope_theta": 500_000.0}
SIZES: dict[str, tuple[dict[str, Any], LlamaConfig]] = {}


def published(
    title: str, dim: int, n_layers: int, n_heads: int, ffn: tuple[int, float, int], scaled: float | None,
    n_kv_heads: int = 8,
) -> None:  # fmt: skip
    """What Meta's params.json says of a model, and the sizes that it has."""
    ffn_dim, multiplier, multiple = ffn
    said = {
        **LLAMA3, "dim": dim, "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_kv_heads,
        "ffn_dim_multiplier": multiplier, "multiple_of": multiple, "use_scaled_rope": scaled is not None,
    }  # fmt: skip
    config = LlamaConfig(
        dim=dim, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=dim // n_heads,
        ffn_dim=ffn_dim, vocab_size=128_256, context_length=8192 if scaled is None else 131_072,
        norm_eps=1e-5, rope_theta=500_000.0, tied_output=title.startswith("Llama 3.2"),
        rope_scaling=None if scaled is None else RopeScaling(scaled, 1.0, 4.0, 8192),
    )  # fmt: skip
    SIZES[title] = said, config


published("Llama 3 8B", 4096, 32, 32, (14336, 1.3, 1024), None)
published("Llama 3.1 8B", 4096, 32, 32, (14336, 1.3, 1024), 8.0)
published("Llama 3 70B", 8192, 80, 64, (28672, 1.3, 4096), None)
published("Llama 3.3 70B", 8192, 80, 64, (28672, 1.3, 4096), 8.0)
published("Llama 3.1 405B", 16384, 126, 128, (53248, 1.2, 4096), 8.0)
published("Llama 3.1 405B on 16", 16384, 126, 128, (53248, 1.2, 4096), 8.0, n_kv_heads=16)
published("Llama 3.2 1B", 2048, 16, 32, (8192, 1.5, 256), 32.0)
published("Llama 3.2 3B", 3072, 28, 24, (8192, 1.0, 256), 32.0)


def shapes_only(config: LlamaConfig) -> dict[str, Stored]:
    """The tensors of a model of those sizes, without any values."""
    return {name: Stored(name, shape, "BF16", 0) for name, shape in expected_shapes(config).items()}


@pytest.mark.parametrize(("said", "wanted"), SIZES.values(), ids=SIZES)
def test_published_sizes_by_params_json(said: dict[str, Any], wanted: LlamaConfig) -> None:
    assert config_from_meta(shapes_only(wanted), said, "m") == (wanted, [])


@pytest.mark.parametrize(
    "title", [title for title in SIZES if title not in ("Llama 3.1 8B", "Llama 3.3 70B")]
)
def test_published_sizes_by_their_shapes_alone(title: str) -> None:
    wanted = SIZES[title][1]
    config, (notice,) = config_from_meta(shapes_only(wanted), None, "m")
    assert config == wanted
    newer = "" if wanted.rope_scaling else "; if it is a later one (3.1, 3.3), put its params.json beside it"
    name = title.removesuffix(" on 16")
    assert notice == f"m: there is no params.json; by its shapes this is {name}{newer}."


def test_a_checkpoint_cut_to_its_first_layers() -> None:
    said, whole = SIZES["Llama 3 8B"]
    cut = replace(whole, n_layers=2)
    config, (notice,) = config_from_meta(shapes_only(cut), None, "m")
    assert config == cut
    assert "this is Llama 3 8B, cut to 2 of its 32 layers; if it is" in notice
    config, (notice,) = config_from_meta(shapes_only(cut), said, "m")
    assert config == cut
    assert notice == "m: its params.json disagrees with the tensors, which count: layers 32, not 2."


def test_a_cut_checkpoint_beside_the_whole_one(tmp_path: Path) -> None:
    folder = TinyMeta(n_layers=3).write(tmp_path / "tiny")
    torch.save(TinyMeta(n_layers=1).state_dicts()[0], folder / "consolidated_1layers.pth")
    model = read_meta_folder(folder / "consolidated_1layers.pth")
    assert (model.name, model.config.n_layers) == ("consolidated_1layers", 1)
    assert model.checkpoint.path == folder / "consolidated_1layers.pth"
    assert model.notices == (
        "consolidated_1layers.pth: its params.json disagrees with the tensors, which count: layers 3, not 1.",
    )


def test_tensors_count_where_params_json_disagrees(tmp_path: Path) -> None:
    said = {"dim": 128, "n_layers": 5, "vocab_size": 32_000, "multiple_of": 7}
    model = read_meta_folder(TinyMeta(params=said).write(tmp_path / "tiny"))
    assert (model.config.dim, model.config.n_layers, model.config.vocab_size) == (64, 2, TINY_VOCAB)
    (notice,) = model.notices
    assert "layers 5, not 2; width 128, not 64; tokens 32,000, not 528; feed-forward " in notice


def test_heads_that_do_not_fit_are_those_of_a_known_model() -> None:
    said, wanted = SIZES["Llama 3 8B"]
    config, (notice,) = config_from_meta(shapes_only(wanted), {**said, "n_heads": 16}, "m")
    assert config == wanted
    assert notice == (
        "m: its params.json says 16 heads and 8 key/value heads, which do not fit the tensors of Llama 3 8B."
    )


WRONG_PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "heads": (
        {"n_heads": 4},
        "says 4 heads and 4 key/value heads, but the queries have 64 rows and the keys 32",
    ),
    "no heads": ({"n_heads": None}, "says None heads"),
    "odd heads": ({"n_heads": 64, "n_kv_heads": 32}, "says 64 heads"),
    "heads of text": ({"n_heads": "8"}, "says n_heads is '8'"),
    "heads of truth": ({"n_heads": True}, "says n_heads is 'True'"),
    "a size beyond reason": ({"n_layers": 10**30}, "says n_layers is '1000000000"),
    "a size below nothing": ({"dim": -5}, "says dim is '-5'"),
    "no number": ({"norm_eps": float("nan")}, "says norm_eps is 'nan'"),
    "no end": ({"rope_theta": float("inf")}, "says rope_theta is 'inf'"),
    "a theta of nothing": ({"rope_theta": 0}, "says rope_theta is '0'"),
    "scaled by a number": ({"use_scaled_rope": 8}, "says use_scaled_rope is '8'"),
    "few bits": ({"quantization_args": {"group_size": 256}}, "describes weights of few bits"),
    "a vision model": ({"vision_chunk_size": 448}, "is of another family"),
    "experts": ({"moe_args": {"num_experts": 16}}, "is of another family"),
}


@pytest.mark.parametrize(("params", "message"), WRONG_PARAMS.values(), ids=WRONG_PARAMS)
def test_params_json_that_cannot_be(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    error = refusal(TinyMeta(params=params).write(tmp_path / "tiny"))
    assert error.message.startswith("tiny: its params.json ")
    assert message in error.message
    assert error.hint


def test_without_params_json_unknown_shapes_are_refused(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    (folder / "params.json").unlink()
    error = refusal(folder)
    assert error.message == (
        "tiny: there is no params.json, and no Llama 3 has these shapes "
        "(width 64, 32 key rows, feed-forward 96, 528 tokens)"
    )
    assert "params.json" in error.hint
    (folder / "params.json").write_text("{")
    assert refusal(folder).message.startswith("params.json: ")
