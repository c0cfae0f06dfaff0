"""`llama-chat inspect`: every format listed, figures that are numpy's own, only what is asked for read."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from test_cli import run
from tiny_hf import TinyHF, safetensors_image
from tiny_meta import TinyMeta
from tiny_models import TinyModel

from llama_chat.catalogue import DEFAULT
from llama_chat.cli.inspect_text import histogram_lines, value_text
from llama_chat.cli.pairs import AT_BARS, AT_ITEMS, Pair, broken, pair_lines
from llama_chat.cli.tables import Column, Painter, cells_of, cut, painter_for, pictured_line, table_lines
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.inspect.at_path import list_path
from llama_chat.engine.inspect.grouping import group_files
from llama_chat.engine.inspect.listing import SLICE_VALUES, TensorRow
from llama_chat.engine.inspect.sentencepiece import sentencepiece_tokenizer
from llama_chat.engine.inspect.statistics import BINS, Histogram, tensor_statistics
from llama_chat.engine.inspect.tokenizer_facts import json_tokenizer, model_tokenizer
from llama_chat.engine.inspect.tree import Group, Leaf, Node, fold, number_ranges
from llama_chat.engine.quantize import unpack
from llama_chat.engine.vocabulary.bpe import LLAMA3_PATTERN
from llama_chat.errors import ModelError
from llama_chat.sanitize import is_safe

SPARSE_BYTES = 16 << 30
UNKNOWN_TYPE = 99
INDEX = "model.safetensors.index.json"


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> str:
    """What the command prints to stdout."""
    assert run("inspect", *map(str, arguments)) == status
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inspected(capsys, *arguments, "--json", status=status))
    return found


def write_raw(path: Path, tensors: Mapping[str, tuple[str, list[int], bytes]]) -> Path:
    """A safetensors file of types that the format's own library need not know."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    path.write_bytes(safetensors_image(header, data))
    return path


def row(name: str, shape: tuple[int, ...] = (2, 2), kind: str = "F32") -> TensorRow:
    return TensorRow(name, name, shape, kind, 16, "file")


def labels(nodes: tuple[Node, ...]) -> list[Any]:
    return [node.label if isinstance(node, Leaf) else (node.label, labels(node.children)) for node in nodes]


# --- the tree --------------------------------------------------------------------------------------


def test_layers_that_are_alike_are_folded_into_one() -> None:
    names = [f"model.layers.{n}.{what}" for n in (0, 10, 2, 1) for what in ("q.weight", "up.weight")]
    rows = [row("model.embed.weight"), *map(row, names), row("model.norm.weight", (2,))]
    assert labels(fold(rows)) == [
        "model.embed.weight",
        ("model.layers.0..2, 10", ["q.weight", "up.weight"]),
        "model.norm.weight",
    ]
    assert [label for label, _ in labels(fold(rows, folds=False))[1:-1]] == [
        f"model.layers.{n}" for n in (0, 1, 2, 10)
    ]


def test_layers_of_another_type_or_shape_stand_by_themselves() -> None:
    rows = [row(f"blk.{n}.v", kind="Q6_K" if n % 3 == 0 else "Q4_K") for n in range(7)]
    groups = [node for node in fold(rows) if isinstance(node, Group)]
    assert [group.label for group in groups] == ["blk.0, 3, 6", "blk.1..2, 4..5"]
    assert [group.nbytes for group in groups] == [48, 64]


def test_experts_inside_layers_are_folded_too_and_numbers_that_go_deeper_are_part_of_the_name() -> None:
    rows = [row(f"h.{a}.e.{b}.w.0.1.2.3.x") for a in range(2) for b in range(4)]
    assert labels(fold(rows)) == [("h.0..1", [("e.0..3", [("w.0", ["1.2.3.x"])])])]
    assert labels(fold([row("a.007.b"), row("a.٣.b"), row("1.a"), row("a.1"), row("a.123456.b")])) == [
        "a.007.b", "a.٣.b", "1.a", "a.1", "a.123456.b",
    ]  # fmt: skip
    assert number_ranges([3]) == "3"


def test_a_name_of_endless_numbers_does_not_exhaust_the_stack() -> None:
    assert len(labels(fold([row(".".join(["a", *["0"] * 30_000]))]))) == 1


# --- figures ---------------------------------------------------------------------------------------


def check_figures(found: dict[str, Any], values: np.ndarray[Any, Any]) -> None:
    """The printed figures against numpy's own over the whole tensor in f64."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    finite = flat[np.isfinite(flat)]
    assert found["count"] == flat.size
    assert found["first"] == pytest.approx(flat[:10].tolist(), nan_ok=True)
    assert found["mean"] == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12)
    assert found["std"] == pytest.approx(finite.std(), rel=1e-9)
    assert (found["smallest"], found["largest"]) == (finite.min(), finite.max())
    assert found["nan_count"] == np.isnan(flat).sum()
    assert found["inf_count"] == np.isinf(flat).sum()
    histogram = found["histogram"]
    assert sum(histogram["counts"]) + histogram["below"] + histogram["above"] == finite.size


@pytest.mark.parametrize(
    "dtype",
    [
        *(
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.float8_e4m3fn,
            torch.float8_e5m2,
        ),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    ],
)
def test_the_figures_of_every_type_are_those_of_torch(
    dtype: torch.dtype, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(1)
    values = (torch.randn(33, 65, generator=generator) * 40).to(dtype)
    path = tmp_path / "x.safetensors"
    save_file({"a.weight": values, "other": torch.ones(3)}, path)
    torch.save({"a": {"weight": values}}, tmp_path / "x.pth")
    for each in (path, tmp_path / "x.pth"):
        (found,) = as_json(capsys, each, "--tensor", "a.*")["statistics"]
        assert (found["shape"], found["nbytes"]) == ([33, 65], values.nbytes)
        check_figures(found, values.to(torch.float64).numpy())


def test_every_8_bit_float_is_decoded(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    for name, dtype in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        path = write_raw(tmp_path / f"{name}.safetensors", {"w": (name, [256], bytes(codes.tolist()))})
        listing = list_path(path)
        read = np.concatenate(list(listing.parts[0].slices(listing.parts[0].tensors[0])))
        np.testing.assert_array_equal(read.astype(np.float64), codes.view(dtype).to(torch.float64).numpy())


GGUF_TYPES = [
    kind
    for kind in GGMLType
    if kind.name.startswith(("Q", "IQ", "TQ", "MXFP", "NVFP")) and kind.name not in ("Q8_1", "Q8_K", "Q1_0")
] + [GGMLType.BF16, GGMLType.F16, GGMLType.F32]


@pytest.mark.parametrize("kind", GGUF_TYPES, ids=lambda kind: kind.name)
def test_quantised_types_are_unpacked(
    kind: GGMLType, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = TinyModel(type=kind, n_layers=1).write(tmp_path / "q.gguf")
    (found,) = as_json(capsys, path, "--tensor", "blk.0.ffn_down*")["statistics"]
    file = GGUFFile(path)
    assert found["type"] == kind.name
    name = "blk.0.ffn_down.weight"
    check_figures(found, unpack(file.blocks(name), file.tensors[name]).numpy())


def test_a_tensor_of_many_slices_with_values_that_are_no_numbers(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(2).normal(3.0, 0.01, (SLICE_VALUES * 2 + 7)).astype(np.float32)
    values[[1, 5, SLICE_VALUES]] = np.nan
    values[[2, -1]] = np.inf, -np.inf
    values[4], values[-2] = 50, -70
    path = write_raw(tmp_path / "x.safetensors", {"w": ("F32", [values.size], values.tobytes())})
    (found,) = as_json(capsys, path, "--tensor", "w")["statistics"]
    assert found["first"][1:3] == ["NaN", "Infinity"]
    found["first"] = [float(value) for value in found["first"]]
    check_figures(found, values)
    assert (found["histogram"]["below"], found["histogram"]["above"]) == (1, 1)
    out = inspected(capsys, path, "--tensor", "w")
    assert f"3, 2 of {values.size:,}" in out
    assert "1 below, 1 above" in out


@pytest.mark.parametrize("values", [[], [float("nan")], [2.0], [2.0, 2.0], [1e308, -1e308], [0.0, 5e-324]])
def test_tensors_without_a_spread_have_what_figures_can_be_had(values: list[float]) -> None:
    array = np.array(values)
    found = tensor_statistics(lambda: iter([array, array[:0]]))
    finite = array[np.isfinite(array)]
    assert found.count == len(values)
    assert found.smallest == (finite.min() if finite.size else None)
    if found.histogram is not None:
        assert sum(found.histogram.counts) == finite.size
        assert list(histogram_lines(found.histogram))


def test_the_histogram_rises_to_its_fullest_bin_and_shows_every_bin_that_is_not_empty() -> None:
    counts = (1, 0, 1000, 500, 0)
    *bars, scale = histogram_lines(Histogram(-1.5, 2.5, counts, 0, 0))
    assert bars == ["  █", "  █▄", "▁ ██"]
    assert scale.split() == ["-1.5", "2.5"]
    assert len(next(iter(histogram_lines(Histogram(0, 1, (1,) * BINS, 0, 0))))) == BINS


# --- formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_the_same_model_in_three_formats_has_the_same_totals(
    tied: bool, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TinyModel(tied=tied, n_layers=3)
    model.write(tmp_path / "m.gguf")
    TinyHF(model, shards=2).write(tmp_path / "hf")
    sizes = {"dim": 256, "n_layers": 3, "n_heads": 8, "n_kv_heads": 2, "ffn_dim": 512, "vocab_size": 304}
    for n in (1, 2):
        TinyMeta(**sizes, tied=tied, shards=n).write(tmp_path / f"meta{n}")
    totals = [
        as_json(capsys, tmp_path / name)["parts"][0]["totals"] for name in ("m.gguf", "hf", "meta1", "meta2")
    ]
    values = sum(int(np.prod(shape)) for shape in model.shapes.values())
    assert [each["parameters"] for each in totals] == [values] * 4
    assert [each["nbytes"] for each in totals[:3]] == [values * 4] * 3
    read = values * 4 - (0 if tied else 303 * 256 * 4)
    assert [each["read_bytes_per_token"] for each in totals[:3]] == [read] * 3
    norms = (2 * 3 + 1) * 256 * 4  # every shard has the norms; a step reads them once
    assert (totals[3]["read_bytes_per_token"], totals[3]["nbytes"]) == (read, values * 4 + norms)
    assert [each["kv_bytes_per_token"] for each in totals] == [3 * 2 * 64 * 2] * 4
    assert "× 3" in inspected(capsys, tmp_path / "m.gguf")


def test_a_glob_means_the_names_of_the_file_and_those_of_gguf(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyHF().write(tmp_path / "hf")
    TinyMeta().write(tmp_path / "meta")
    for folder, own in (
        ("hf", "model.layers.1.self_attn.q_proj.weight"),
        ("meta", "layers.1.attention.wq.weight"),
    ):
        for glob in (own, "blk.1.attn_q.*"):
            (found,) = as_json(capsys, tmp_path / folder, "--tensor", glob, "--tensor", glob)["statistics"]
            assert (found["name"], found["gguf_name"]) == (own, "blk.1.attn_q.weight")
    assert run("inspect", str(tmp_path / "hf"), "--tensor", "model.layers.1.self_attn.q_prj.weight") == 1
    assert "Did you mean 'model.layers.1.self_attn.q_proj.weight'" in capsys.readouterr().err
    assert run("inspect", str(tmp_path / "hf"), "--tensor", "norm.weight", "--tensor", "*\x1b[31m*") == 1
    assert is_safe(capsys.readouterr().err)


def test_a_folder_with_both_formats_is_listed_whole(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyHF(generation={"eos_token_id": [0, 2]}).write(tmp_path)
    TinyMeta(shards=2).write(tmp_path / "original")
    (tmp_path / "notes.txt").write_text("not of use")
    found = as_json(capsys, tmp_path)
    assert [(part["format"], part["files"]) for part in found["parts"]] == [
        ("safetensors", ["model.safetensors"]),
        ("PyTorch", ["consolidated.00.pth", "consolidated.01.pth"]),
    ]
    assert list(found["documents"]) == ["config.json", "generation_config.json", "original/params.json"]
    assert found["documents"]["config.json"]["hidden_size"] == 256
    assert [(each["file"], each["end_ids"][:2]) for each in found["tokenizers"]] == [
        ("tokenizer.json", [0, 2]), ("original/tokenizer.model", [273, 280]),
    ]  # fmt: skip
    out = inspected(capsys, tmp_path)
    for words in ("original/consolidated.00.pth", "hidden_size", "[32, 64] × 2", "<|im_end|>", "layers.0..1"):
        assert words in out


def test_single_files_of_json_and_tokenizers(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyMeta().write(tmp_path)
    TinyHF(shards=2).write(tmp_path)
    assert as_json(capsys, tmp_path / "params.json")["documents"]["params.json"]["dim"] == 64
    index = as_json(capsys, tmp_path / "model.safetensors.index.json")["documents"]
    assert "weight_map" in index["model.safetensors.index.json"]
    (facts,) = as_json(capsys, tmp_path / "tokenizer.json")["tokenizers"]
    assert (facts["kind"], facts["size"], facts["bos_id"], facts["end_ids"]) == ("BPE", 304, 1, [0, 2])
    (facts,) = as_json(capsys, tmp_path / "tokenizer.model")["tokenizers"]
    assert (facts["size"], facts["special_tokens"]["<|eot_id|>"]) == (528, 281)
    assert "N}{1,3}" in facts["pattern"]


def test_a_file_without_its_ending_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    TinyModel().write(tmp_path / "x.gguf").rename(tmp_path / "one")
    TinyHF().write(tmp_path / "hf")
    (tmp_path / "hf" / "model.safetensors").rename(tmp_path / "two")
    torch.save({"a": torch.ones(3)}, tmp_path / "three")
    formats = [list_path(tmp_path / name).parts[0].format for name in ("one", "two", "three")]
    assert formats == ["GGUF", "safetensors", "PyTorch"]


@pytest.mark.parametrize("has_index", [True, False])
def test_totals_of_a_part_of_a_model_say_so(
    has_index: bool, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = TinyHF(shards=3).write(tmp_path / "tiny")
    (folder / "model-00002-of-00003.safetensors").unlink()
    if not has_index:
        (folder / INDEX).unlink()
    assert run("inspect", str(folder)) == 0
    out, err = capsys.readouterr()
    assert err == (
        f"llama-chat: {INDEX if has_index else 'tiny'}: model-00002-of-00003.safetensors is missing; "
        "the totals are those of 2 of the model's 3 files.\n"
    )
    assert "safetensors, 2 of 3 files\n" in out
    assert "totals of 2 of 3 files" in out
    assert "for a token" not in out
    (part,) = as_json(capsys, folder)["parts"]
    assert (len(part["files"]), part["file_count"], part["totals"]["read_bytes_per_token"]) == (2, 3, None)
    assert "totals of 1 of 3 files" in inspected(capsys, folder / "model-00001-of-00003.safetensors")


def test_an_index_says_which_files_belong_together_whatever_they_are_called(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyHF(shards=2).write(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    names = {
        "model-00001-of-00002.safetensors": "a.safetensors",
        "model-00002-of-00002.safetensors": "b.safetensors",
    }
    for old, new in names.items():
        (tmp_path / old).rename(tmp_path / new)
    index["weight_map"] = {tensor: names[old] for tensor, old in index["weight_map"].items()}
    (tmp_path / INDEX).write_text(json.dumps(index))
    (part,) = as_json(capsys, tmp_path)["parts"]
    assert (part["files"], part["file_count"]) == (["a.safetensors", "b.safetensors"], 2)
    index["weight_map"]["lost.weight"] = "a.safetensors"
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert as_json(capsys, tmp_path)["notices"] == [
        f"{INDEX}: names tensors that are not where it says: lost.weight"
    ]
    for name in names.values():
        (tmp_path / name).unlink()
    found = as_json(capsys, tmp_path)
    assert found["notices"] == [f"{INDEX}: a.safetensors, b.safetensors are missing; the model has 2 files."]
    (tmp_path / INDEX).write_text("{}")
    assert run("inspect", str(tmp_path)) == 1
    assert "has no weight_map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (["01"], "consolidated.01.pth is missing; the totals are those of 3 of the model's 4 files."),
        (["03"], "consolidated.03.pth is missing; the totals are those of 3 of "),
        (
            ["01", "02", "03"],
            "02.pth, consolidated.03.pth are missing; the totals are those of 1 of the ",
        ),
    ],
    ids=["a gap", "the last", "all but one"],
)
def test_missing_shards_of_meta_s_are_known_by_names_and_shapes(
    gone: list[str], words: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = TinyMeta(shards=4).write(tmp_path / "tiny")
    for number in gone:
        (folder / f"consolidated.{number}.pth").unlink()
    assert run("inspect", str(folder)) == 0
    out, err = capsys.readouterr()
    assert err.startswith("llama-chat: tiny: consolidated.")
    assert words in err
    assert f"totals of {4 - len(gone)} of 4 files" in out
    assert "for a token" not in out


@pytest.mark.parametrize("axis", [0, 1])
def test_a_tensor_that_shards_have_shares_of_is_shown_as_the_engine_puts_it_together(
    axis: int, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = TinyMeta(shards=2, embedding_axis=axis)
    whole = dict(tiny.whole())
    tiny.write(tmp_path)
    for name in (
        "token_embd.weight",
        "blk.1.attn_output.weight",
        "blk.0.ffn_gate.weight",
        "output_norm.weight",
    ):
        (found,) = as_json(capsys, tmp_path, "--tensor", name)["statistics"]
        values = whole[name]
        assert (found["shape"], found["nbytes"]) == (list(values.shape), values.nbytes)
        assert found["shares"] == (2 if values.dim() > 1 else 1)
        check_figures(found, values.double().numpy())
    out = inspected(capsys, tmp_path, "--tensor", "token_embd.weight")
    assert "tok_embeddings.weight  528 × 64" in out
    assert "consolidated.00.pth and 1 more, merged" in out


@pytest.mark.parametrize("write", [TinyHF(shards=3).write, TinyMeta(shards=2).write])
def test_a_damaged_file_of_several_leaves_the_others_to_be_listed(
    write: Any, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    files = sorted(path for path in tmp_path.iterdir() if path.suffix in (".pth", ".safetensors"))
    files[-1].write_bytes(files[-1].read_bytes()[:1000])
    assert run("inspect", str(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert f"totals of {len(files) - 1} of {len(files)} files" in out
    assert err.startswith(f"llama-chat: {files[-1].name}: ")
    assert "missing" not in err


def test_shards_of_different_models_are_shown_apart_and_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyMeta(shards=2, seed=1).write(tmp_path)
    other = TinyMeta(shards=2, seed=2).write(tmp_path / "other")
    (other / "consolidated.01.pth").replace(tmp_path / "consolidated.01.pth")
    found = as_json(capsys, tmp_path, "--tensor", "output.weight")
    assert [each["file"] for each in found["statistics"]] == ["consolidated.00.pth", "consolidated.01.pth"]
    (notice,) = found["notices"]
    assert "has other values than in consolidated.00.pth" in notice


def test_parts_of_one_model_are_grouped_in_the_order_of_their_numbers() -> None:
    names = ["b-00002-of-00002.gguf", "a.gguf", "b-00001-of-00002.gguf"]
    names += ["consolidated.01.pth", "consolidated.00.pth"]
    groups = [[path.name for path in group.files] for group in group_files(map(Path, names))]
    assert sorted(groups) == [
        ["a.gguf"], ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"],
        ["consolidated.00.pth", "consolidated.01.pth"],
    ]  # fmt: skip


def test_any_part_of_a_split_gguf_stands_for_all_of_them(tmp_path: Path) -> None:
    """The second part has tensors and no sizes, as llama.cpp writes it."""
    whole = TinyModel(n_layers=1)
    whole.write(tmp_path / "m-00001-of-00002.gguf")
    bare = dict.fromkeys(GGUFFile(tmp_path / "m-00001-of-00002.gguf").metadata)
    del bare["general.architecture"]
    second = replace(whole, metadata=bare, architecture="llama", n_layers=0, extra={"blk.1.x": np.ones(4)})
    second.write(tmp_path / "m-00002-of-00002.gguf")
    for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"):
        (part,) = list_path(tmp_path / name).parts
        assert len(part.files) == 2
        assert part.metadata["llama.block_count"] == 1
        assert any(row.name == "blk.1.x" for row in part.tensors)


# --- what no engine runs ---------------------------------------------------------------------------


def with_unknown_type(path: Path, name: str) -> Path:
    """The GGUF file, the type of one of its tensors changed to one that does not exist."""
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name)
    dimensions = struct.unpack_from("<I", raw, at)[0]
    struct.pack_into("<I", raw, at + 4 + 8 * dimensions, UNKNOWN_TYPE)
    path.write_bytes(raw)
    return path


def test_other_architectures_and_unknown_types_are_listed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TinyModel(architecture="mamba9", metadata={"tokenizer.ggml.model": "newest"})
    path = with_unknown_type(model.write(tmp_path / "m.gguf"), "blk.0.ffn_up.weight")
    with pytest.raises(ModelError, match="unknown quantised type"):
        GGUFFile(path)
    found = as_json(
        capsys, path, "--tensor", "blk.0.ffn_up.weight", "--tensor", "blk.0.ffn_gate.weight", status=1
    )
    (part,) = found["parts"]
    (unknown,) = [each for each in part["tensors"] if each["type"] == f"type {UNKNOWN_TYPE}"]
    assert (unknown["name"], unknown["shape"], unknown["nbytes"]) == (
        "blk.0.ffn_up.weight", [512, 256], 512 * 256 * 4,
    )  # fmt: skip
    assert len(part["tensors"]) == len(model.shapes)
    assert found["tokenizers"][0]["kind"] == "newest"
    assert [("mean" in each, "problem" in each) for each in found["statistics"]] == [
        (True, False),
        (False, True),
    ]
    assert run("inspect", str(path), "--tensor", "blk.0.ffn_up.weight") == 1
    assert all("cannot be unpacked" in text for text in capsys.readouterr())
    assert "type 99" in inspected(capsys, path)


def test_types_that_safetensors_may_get_are_listed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_raw(
        tmp_path / "x.safetensors", {"a": ("F3_E1M1", [8], bytes(3)), "b": ("F4", [8], bytes(4))}
    )
    out = inspected(capsys, path)
    assert "F3_E1M1" in out
    assert "cannot be unpacked" in inspected(capsys, path, "--tensor", "a", status=1)


def test_keys_and_values_of_families_with_other_names_come_out_of_the_metadata(tmp_path: Path) -> None:
    metadata = {"odd.block_count": 7, "odd.embedding_length": 64, "odd.attention.head_count": 4}
    model = TinyModel(architecture="odd", metadata=metadata | {"odd.attention.head_count_kv": 2})
    file = (
        model.write(tmp_path / "m.gguf")
        .read_bytes()
        .replace(b"attn_k", b"attn_9")
        .replace(b"attn_v", b"attn_8")
    )
    (tmp_path / "m.gguf").write_bytes(file)
    (part,) = list_path(tmp_path / "m.gguf").parts
    assert part.totals.kv_bytes_per_token == 7 * 2 * (16 + 16) * 2


# --- size ------------------------------------------------------------------------------------------


def sparse_safetensors(path: Path) -> Path:
    """A file of 16 GB of which only the header takes room on the disk."""
    rows = 8192 * 128
    header = {
        f"model.layers.{n}.mlp.up_proj.weight": {
            "dtype": "BF16",
            "shape": [rows, 8192 // 128],
            "data_offsets": [n * rows * 128, (n + 1) * rows * 128],
        }
        for n in range(SPARSE_BYTES // (rows * 128))
    }
    path.write_bytes(safetensors_image(header))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + SPARSE_BYTES)
    return path


def sparse_gguf(path: Path) -> Path:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    rows = SPARSE_BYTES // (4096 * 2)
    writer.add_tensor_info("token_embd.weight", (rows, 4096), np.dtype(np.float16), SPARSE_BYTES)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 32 + SPARSE_BYTES)
    return path


@pytest.mark.alone
@pytest.mark.parametrize("write", [sparse_safetensors, sparse_gguf])
def test_a_file_of_16_gb_opens_in_under_a_second(
    write: Any, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / write.__name__.replace("sparse_", "big."))
    inspected(capsys, TinyModel().write(tmp_path / "small.gguf"))  # imports
    started = time.perf_counter()
    out = inspected(capsys, path)
    assert time.perf_counter() - started < 1
    assert "17.18 GB" in out


def test_a_file_larger_than_the_memory_is_listed(tmp_path: Path) -> None:
    size = 256 << 30
    header = {"w": {"dtype": "BF16", "shape": [size // 1024, 512], "data_offsets": [0, size]}}
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_image(header))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    assert list_path(path).parts[0].totals.nbytes == size


@pytest.mark.alone
def test_a_pth_of_4_gb_opens_in_under_a_second(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "consolidated.00.pth"
    state = {
        f"layers.{n}.feed_forward.w1.weight": torch.empty(1 << 15, 1 << 12, dtype=torch.bfloat16)
        for n in range(16)
    }
    with torch.serialization.skip_data():
        torch.save(state, path)
    del state
    started = time.perf_counter()
    out = inspected(capsys, path)
    assert time.perf_counter() - started < 1
    assert "4.29 GB" in out


def test_torch_is_not_loaded_for_what_needs_none(home: Path, tmp_path: Path) -> None:
    TinyHF().write(tmp_path / "hf")
    TinyMeta().write(tmp_path / "meta")
    (tmp_path / "meta" / "tokenizer.model").rename(tmp_path / "hf" / "tokenizer.model")
    TinyModel(type=GGMLType.Q4_1).write(tmp_path / "hf" / "m.gguf")
    code = (
        "import sys; from llama_chat.cli import invoke\n"
        f"invoke(['inspect', {str(tmp_path / 'hf')!r}, '--tensor', '*'])\n"
        "assert not {'torch', 'transformers', 'textual', 'llama_chat.ui'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "token_embd.weight" in done.stdout


# --- tokenizers ------------------------------------------------------------------------------------


def protobuf(field: int, value: int | bytes) -> bytes:
    def varint(number: int) -> bytes:
        head, rest = number & 127, number >> 7
        return bytes([head | 128]) + varint(rest) if rest else bytes([head])

    if isinstance(value, int):
        return varint(field << 3) + varint(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


def sentencepiece_file(path: Path, pieces: int = 300) -> Path:
    """As Llama 2's: unknown, begin, end, 256 bytes, words."""
    texts = [(b"<unk>", 2), (b"<s>", 3), (b"</s>", 3), *((b"<0x%02X>" % n, 6) for n in range(256))]
    texts += [(f"▁w{n}".encode(), 1) for n in range(pieces - len(texts))]
    score = bytes([2 << 3 | 5]) + struct.pack("<f", -1.5)
    body = b"".join(protobuf(1, protobuf(1, text) + score + protobuf(3, kind)) for text, kind in texts)
    path.write_bytes(body + protobuf(2, protobuf(3, 2) + protobuf(41, 1) + protobuf(42, 2)))
    return path


def test_a_sentencepiece_model_is_listed_though_it_is_not_run(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sentencepiece_file(tmp_path / "tokenizer.model")
    (facts,) = as_json(capsys, path)["tokenizers"]
    assert (facts["kind"], facts["size"]) == ("SentencePiece (byte-pair)", 300)
    assert facts["special_tokens"] == {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert (facts["bos_id"], facts["end_ids"]) == (1, [2])


def test_damaged_tokenizers_are_refused_in_one_line(tmp_path: Path) -> None:
    sound = sentencepiece_file(tmp_path / "sound.model").read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "tokenizer.model"
    refused = 0
    for _ in range(500):
        raw = bytearray(sound[: rng.integers(1, len(sound))])
        for at in rng.integers(0, len(raw), 4):
            raw[at] = rng.integers(0, 256)
        path.write_bytes(raw)
        try:
            model_tokenizer(path)
        except ModelError:
            refused += 1
    assert refused > 100
    path.write_bytes(b"\n" * 100)
    with pytest.raises(ModelError):
        sentencepiece_tokenizer(path)


def test_mutated_tokenizer_json_is_refused_or_read(tmp_path: Path) -> None:
    TinyHF().write(tmp_path)
    sound = json.loads((tmp_path / "tokenizer.json").read_text())
    odd: list[Any] = [None, 1, -1, 1.5, True, "x", [], {}, [[]], [{}], {"type": "x"}, 1 << 80]
    path = tmp_path / "tokenizer.json"
    for key in ("model", "added_tokens", "pre_tokenizer"):
        for value in odd:
            path.write_text(json.dumps(sound | {key: value}))
            if key == "model":
                with pytest.raises(ModelError):
                    json_tokenizer(path)
            else:
                assert json_tokenizer(path).size >= 286
    for value in odd:
        path.write_text(json.dumps(sound | {"model": {"vocab": value}}))
        (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": value}))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": value, "eos_token": value}))
        try:
            json_tokenizer(path)
        except ModelError:
            assert not isinstance(value, dict | list)
    deep = '{"type": "Sequence", "pretokenizers": [' * 200 + "{}" + "]}" * 200
    path.write_text(f'{{"model": {{"vocab": {{}}}}, "pre_tokenizer": {deep}}}')
    assert json_tokenizer(path).pattern is None


# --- a model by its name ----------------------------------------------------------------------------


def test_a_model_of_the_models_folder_is_meant_by_its_name(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "data" / "models"
    folder.mkdir(parents=True)
    TinyModel().write(folder / "own.gguf")
    assert as_json(capsys, "own")["parts"][0]["files"] == ["own.gguf"]
    for name in ("", DEFAULT.name):
        assert run("inspect", name) == 1
        assert "llama-chat models pull" in capsys.readouterr().err
    for name in ("nothing", "~nobody-of-this-name/x", "x" * 5000):
        assert run("inspect", name) == 1
        assert capsys.readouterr().err.startswith("llama-chat: No model")


# --- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        *(
            "odd.block_count",
            "odd.embedding_length",
            "odd.attention.head_count",
            "odd.attention.head_count_kv",
        ),
        *("odd.attention.key_length", "general.name", "tokenizer.ggml.model", "tokenizer.ggml.pre"),
        *("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"),
    ],
)
def test_metadata_of_any_kind_is_listed(
    key: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (0, 7, 1.5, float("nan"), True, "text", [0, 1], [1.5], ["a", "b"], [True]):
        model = TinyModel(architecture="odd", n_layers=1, metadata={key: value})
        path = model.write(tmp_path / "m.gguf")
        path.write_bytes(path.read_bytes().replace(b"attn_k", b"attn_9"))
        assert as_json(capsys, path)["parts"][0]["totals"]["parameters"] > 0
        assert is_safe(inspected(capsys, path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none", None, "no such file or folder"),
        ("x.txt", b"hello", "a kind of file that is not known"),
        ("x.gguf", b"GGUF" + bytes(3), "the header ends"),
        ("x.safetensors", safetensors_image({}, length=200 << 20), "the header claims"),
        ("config.json", b"[" * 100_000, "nested too deep"),
        ("config.json", b'{"a":' + b"[" * 80 + b"]" * 80 + b"}", "nested more than 64 deep"),
        ("tokenizer.json", b"{}", "no vocabulary"),
        ("x.pth", b"\x80\x02cos\nsystem\n(S'true'\ntR.", "not in the format of torch.save"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    name: str,
    content: bytes | None,
    words: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert run("inspect", str(path)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err.splitlines()[0]
    assert len(err.splitlines()) <= 2


def test_in_a_folder_a_damaged_file_is_told_and_the_rest_is_listed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TinyHF().write(tmp_path)
    (tmp_path / "consolidated.00.pth").write_bytes(b"\x80\x02cos\nsystem\n")
    assert run("inspect", str(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "consolidated.00.pth: not in the format of torch.save" in err
    assert "model.layers.0..1" in out
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("inspect", str(empty)) == 1
    assert "nothing in this folder" in capsys.readouterr().err


def test_a_tensor_whose_file_was_cut_meanwhile(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "x.safetensors", {"w": ("F32", [100], bytes(400))})
    (part,) = list_path(path).parts
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4)
    with pytest.raises(ModelError, match="ends at byte"):
        list(part.slices(part.tensors[0]))


def test_nothing_of_a_file_reaches_the_terminal_raw(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x1b]0;PWNED\x07\u202e\nb"
    metadata = {f"llama.{evil}": evil, "general.name": evil, "llama.list": [evil, "x"]}
    extra = {evil: np.ones(3)}
    TinyModel(metadata=metadata, extra=extra, architecture="llama").write(tmp_path / "m.gguf")
    write_raw(tmp_path / "m.safetensors", {evil: (evil, [3], bytes(3))})
    (tmp_path / "config.json").write_text(json.dumps({evil: {evil: [evil]}}))
    out = inspected(capsys, tmp_path)
    assert is_safe(out)
    assert "PWNED" in out
    assert is_safe(inspected(capsys, tmp_path, "--tensor", "a*", status=1))
    assert is_safe(inspected(capsys, tmp_path, "--json"))
    assert as_json(capsys, tmp_path / "m.gguf")["parts"][0]["metadata"]["general.name"] == evil


# --- terminals -------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_only_and_never_against_no_color() -> None:
    assert painter_for(Terminal(), {"TERM": "xterm"}).is_coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not painter_for(Terminal(), environment).is_coloured
    assert not painter_for(io.StringIO(), {"TERM": "xterm"}).is_coloured
    assert painter_for(Terminal(), {"NO_COLOR": ""}).is_coloured
    assert Painter(is_coloured=True).bold("") == ""


def test_a_listing_on_a_narrow_terminal_keeps_to_its_width(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TinyHF().write(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert run("inspect", str(tmp_path)) == 0
    lines = terminal.getvalue().splitlines()
    assert any("\x1b[1m" in line for line in lines)
    plain = [line.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "") for line in lines]
    assert max(map(len, plain)) <= 60
    assert any("…" in line for line in plain)


@pytest.mark.parametrize("columns", [50, 80, 160])
def test_values_go_on_in_further_lines_and_break_in_no_number(
    columns: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling = {"factor": 32.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    TinyMeta(shards=2, params={"rope_scaling": scaling}).write(tmp_path)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("inspect", str(tmp_path)) == 0
    assert run("inspect", str(tmp_path), "--tensor", "output.weight") == 0
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    words = terminal.getvalue().split()
    first = next(iter(dict(TinyMeta(shards=2).whole())["output.weight"]))[:10].tolist()
    for word in (*(f"{value:.6g}" for value in first), "8192}", "<|start_header_id|>,", "32.0,"):
        assert word in words
    pattern = "".join(line.strip() for line in lines).partition("pattern")[2].partition("begin id")[0]
    assert pattern.replace(" ", "") == LLAMA3_PATTERN.replace(" ", "")


def test_a_long_value_is_broken_behind_its_items_else_anywhere() -> None:
    assert broken("1 ab, 2 cd, 3 ef", 9, AT_ITEMS) == ["1 ab,", "2 cd,", "3 ef"]
    assert broken("a| b|c| de", 4, AT_BARS) == ["a|", " b|", "c|", " de"]
    assert broken("漢字漢字", 5, AT_ITEMS) == ["漢字", "漢字"]
    assert broken("", 5, AT_ITEMS) == [""]
    wide = [Pair("a" * 40, "b" * 40), Pair("c", "d " * 40, ())]
    assert all(cells_of(line) <= 30 for line in pair_lines(wide, 30, "  "))


def test_a_table_lines_up_whatever_is_in_it() -> None:
    columns = [Column("name", shrinks=True), Column("n", is_right=True), Column(paint=Painter(True).dim)]
    rows = [("ab", "1", "x"), ("漢字\n", "22"), ("a" * 50, "333")]
    assert table_lines(columns, rows, width=24, indent=" ") == [
        " name               n",
        " ab                 1  \x1b[2mx\x1b[0m",
        " 漢字␊             22",
        " aaaaaaaaaaaaaa…  333",
    ]
    assert cut("漢字漢字", 4) == "漢 …"
    assert pictured_line("a\r\n\tb\x1b") == "a␊␉b␛"


def test_values_of_metadata_are_short() -> None:
    assert value_text([b"a"] * 9) == "[9 texts]"
    assert value_text([1, "a"] * 9) == "[18 values]"
    assert value_text([b"a", b"b"]) == '["a", "b"]'
    assert len(value_text("x" * 1000)) == 100
    assert value_text(True) == "true"
    floats = (9.999999747378752e-06, 1e-05, 10000.0, 1.0000001, 0.7000000001, 1e300, float("inf"))
    assert [value_text(value) for value in floats] == [
        "1e-05", "1e-05", "10000.0", "1.0000001", "0.7000000001", "1e+300", "Infinity",
    ]  # fmt: skip
