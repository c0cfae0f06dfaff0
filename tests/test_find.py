"""What a path means, by the names that lie there; and GGUF models in several parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from tiny_hf import TinyHF
from tiny_models import TinyModel

from llama_chat.engine.files.find import find_model_files, name_of_whole
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.load import load_engine
from llama_chat.engine.model_file import read_model_file
from llama_chat.errors import ModelError
from llama_chat.events import LiveSampling, Sampling, Text, Token
from llama_chat.settings import ModelSettings

INDEX = "model.safetensors.index.json"


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        find_model_files(path)
    assert "\n" not in str(caught.value)
    return caught.value


# --- one model -------------------------------------------------------------------------------------

HF = ("config.json", "model.safetensors", "tokenizer.json")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PARTS = ("m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf")
FOUND: dict[str, tuple[Sequence[str], str, str, str, Sequence[str]]] = {
    # what lies there, what is given, the kind, its path, its files
    "a file": (["a.gguf", "b.gguf"], "b.gguf", "gguf", "b.gguf", ["b.gguf"]),
    "a file of any name": (["weights"], "weights", "gguf", "weights", ["weights"]),
    "the only file": (["a.GGUF", "notes.txt"], "", "gguf", "a.GGUF", ["a.GGUF"]),
    "parts": (PARTS, "", "gguf", PARTS[0], PARTS),
    "any part": (PARTS, PARTS[1], "gguf", PARTS[0], PARTS),
    "safetensors": (HF, "", "hf", "", ["model.safetensors"]),
    "safetensors by file": (HF, "model.safetensors", "hf", "", ["model.safetensors"]),
    "by config": (HF, "config.json", "hf", "", ["model.safetensors"]),
    "an index": ([*HF[:1], *SHARDS, INDEX], "", "hf", "", [INDEX]),
    "an index by a file": ([*SHARDS, INDEX], SHARDS[1], "hf", "", [INDEX]),
    "an index by itself": ([*SHARDS, INDEX], INDEX, "hf", "", [INDEX]),
    "an index before a file": ([*HF, *SHARDS, INDEX], "", "hf", "", [INDEX]),
    "parts without an index": (SHARDS, "", "hf", "", SHARDS),
    "another name": (["config.json", "weights.safetensors"], "", "hf", "", ["weights.safetensors"]),
    "an adapter beside it": ([*HF, "adapter_model.safetensors"], "", "hf", "", ["model.safetensors"]),
    "Meta": (
        ["consolidated.01.pth", "consolidated.00.pth", "params.json"],
        "",
        "meta",
        "",
        ["consolidated.00.pth", "consolidated.01.pth"],
    ),
    "Meta by params": (
        ["consolidated.00.pth", "params.json"],
        "params.json",
        "meta",
        "",
        ["consolidated.00.pth"],
    ),
    "Meta by file": (
        ["consolidated_2layers.pth"],
        "consolidated_2layers.pth",
        "meta",
        "consolidated_2layers.pth",
        ["consolidated_2layers.pth"],
    ),
    "cut beside whole": (
        ["consolidated.00.pth", "consolidated_2layers.pth"],
        "consolidated.00.pth",
        "meta",
        "consolidated.00.pth",
        ["consolidated.00.pth"],
    ),
    "Meta below": (
        ["config.json", "original/consolidated.00.pth", "original/params.json"],
        "",
        "meta",
        "original",
        ["original/consolidated.00.pth"],
    ),
    "GGUF beside a config": (["config.json", "a.gguf"], "", "gguf", "a.gguf", ["a.gguf"]),
    "GGUF beside stray weights": (["a.gguf", "clip.safetensors"], "", "gguf", "a.gguf", ["a.gguf"]),
}


@pytest.mark.parametrize(("names", "given", "kind", "path", "files"), FOUND.values(), ids=FOUND)
def test_what_a_path_means(
    tmp_path: Path, names: Sequence[str], given: str, kind: str, path: str, files: Sequence[str]
) -> None:
    folder = folder_of(tmp_path, *names)
    found = find_model_files(folder / given)
    assert (found.kind, found.path) == (kind, folder / path)
    assert found.files == tuple(folder / name for name in files)
    assert found.notices == ()


@pytest.mark.parametrize(
    ("names", "kind", "taken", "others"),
    [
        ((*HF, "original/consolidated.00.pth"), "hf", "safetensors", "original/"),
        ((*HF, "a-Q4_0.gguf", "a-Q8_0.gguf"), "hf", "safetensors", "a-Q4_0.gguf, a-Q8_0.gguf"),
        ((*HF, "consolidated.00.pth", "params.json"), "hf", "safetensors", "consolidated.00.pth"),
        ((*HF, *PARTS), "hf", "safetensors", PARTS[0]),
        (("a.gguf", "consolidated.00.pth"), "gguf", "a.gguf", "consolidated.00.pth"),
        (("a.gguf", "original/consolidated.00.pth"), "gguf", "a.gguf", "original/"),
    ],
)
def test_of_several_formats_one_is_taken_and_named(
    tmp_path: Path, names: Sequence[str], kind: str, taken: str, others: str
) -> None:
    found = find_model_files(folder_of(tmp_path / "both", *names))
    assert found.kind == kind
    assert found.notices == (
        f"both holds more than one format: {taken} was taken, not {others} "
        "(give that path to take it instead).",
    )


# --- no model --------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Sequence[str], str, str, str]] = {
    # what lies there, what is given, the message, the hint
    "nothing": (["notes.txt"], "", "there are no weights in this folder", ".gguf"),
    "several GGUF": (["a.gguf", "b.gguf"], "", "there are 2 models in it: a.gguf, b.gguf", "a.gguf"),
    "one in parts and one whole": (
        [*PARTS, "z.gguf"],
        "",
        "2 models in it: m-00001-of-00003.gguf, z.gguf",
        "m-0",
    ),
    "two of as many parts": (
        [*SHARDS, "x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors"],
        "",
        "2 models in it",
        "model-0",
    ),
    "several safetensors": (
        ["a.safetensors", "b.safetensors"],
        "",
        "there are 2 models in it",
        "a.safetensors",
    ),
    "a missing part": (PARTS[:2], "", f"{PARTS[2]} is missing: the model has 3 parts", "Fetch all"),
    "a missing first part": (
        PARTS[1:],
        PARTS[2],
        f"{PARTS[0]} is missing: the model has 3 parts",
        "Fetch all",
    ),
    "a missing file": (SHARDS[:1], "", f"{SHARDS[1]} is missing", "Fetch all"),
    "a part beyond": (["m-00004-of-00003.gguf"], "m-00004-of-00003.gguf", "there is no part 4 of 3", ""),
    "a part of none": (["m-00000-of-00000.gguf"], "", "there is no part 0 of 0", ""),
    "pickled": (
        ["config.json", "pytorch_model.bin"],
        "",
        "holds pytorch_model.bin, pickled weights",
        "--engine hf",
    ),
    "a pickled file": (
        ["pytorch_model.bin"],
        "pytorch_model.bin",
        "holds pytorch_model.bin",
        "save_pretrained",
    ),
    "an adapter": (
        ["adapter_config.json", "adapter_model.safetensors"],
        "",
        "is an adapter",
        "merge_and_unload",
    ),
    "a description only": (
        ["config.json", "tokenizer.json"],
        "",
        "its weights are not there",
        "*.safetensors",
    ),
    "no such file": ([], "none.gguf", "there is no such file or folder", ""),
}


@pytest.mark.parametrize(("names", "given", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_no_path_means(
    tmp_path: Path, names: Sequence[str], given: str, message: str, hint: str
) -> None:
    error = refusal(folder_of(tmp_path, *names) / given)
    assert message in error.message
    assert hint in error.hint


def test_names_of_files_reach_the_terminal_harmless(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / f"\x1b]0;{n}\x07.gguf").touch()
    assert refusal(tmp_path).message.isprintable()


def test_part_numbers_are_no_part_of_the_name() -> None:
    assert name_of_whole(Path("a/Llama-Q4_K_M-00002-of-00003.gguf")) == "Llama-Q4_K_M.gguf"
    assert name_of_whole(Path("a/Llama.gguf")) == "Llama.gguf"


# --- GGUF in parts ---------------------------------------------------------------------------------


def split_gguf(
    whole: Path,
    counts: Sequence[int],
    *,
    keys: Mapping[str, Any] | None = None,
    numbers: Sequence[int] | None = None,
) -> list[Path]:
    """The file cut into parts of so many tensors, as llama.cpp's gguf-split cuts it."""
    model = GGUFFile(whole)
    tensors = list(model.tensors.values())
    said = {"split.count": len(counts), "split.tensors.count": len(tensors)} | dict(keys or {})
    paths = []
    for n, count in enumerate(counts):
        path = whole.with_name(f"{whole.stem}-{n + 1:05}-of-{len(counts):05}.gguf")
        writer = GGUFWriter(path, model.metadata["general.architecture"] if n == 0 else "")
        if n == 0:
            copy_metadata(writer, model.metadata)
        writer.add_uint16("split.no", numbers[n] if numbers else n)
        for key, value in said.items():
            (writer.add_string if isinstance(value, str) else writer.add_int32)(key, value)
        for _ in range(count):
            info = tensors.pop(0)
            raw = model.blocks(info.name).numpy()
            writer.add_tensor(info.name, np.array(raw).reshape(*info.shape[:-1], -1), raw_dtype=info.type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    assert not tensors
    whole.unlink()
    return paths


def copy_metadata(writer: GGUFWriter, metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        if key == "general.architecture":
            continue
        add = {
            bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
            list: writer.add_array,
        }[type(value)]  # fmt: skip
        add(
            key,
            [item.decode() if isinstance(item, bytes) else item for item in value]
            if add == writer.add_array
            else value,
        )


TINY = TinyModel(n_layers=1, seed=4)


def greedy_ids(path: Path, count: int = 20) -> list[int]:
    engine = load_engine(path, ModelSettings(dtype="f32", threads=1))
    sampling = LiveSampling(Sampling(temperature=0.0, max_new_tokens=count))
    events = engine.stream([Text("hello")], sampling=sampling, seed=0)
    return [event.token_id for event in events if isinstance(event, Token)]


def test_a_split_model_is_read_by_any_part_and_by_its_folder(tmp_path: Path) -> None:
    whole = TINY.write(tmp_path / "Tiny-F32.gguf")
    ids = greedy_ids(whole)
    assert len(ids) > 5
    parts = split_gguf(whole, (0, 4, 7))  # the first without tensors, as gguf-split can make it
    for path in (tmp_path, *parts):
        assert greedy_ids(path) == ids
    model = read_model_file(parts[1])
    assert (model.name, model.checkpoint.path) == ("Tiny", parts[0])
    assert model.checkpoint.tensors.keys() == TINY.shapes.keys()


def test_every_part_counts_for_the_fingerprint(tmp_path: Path) -> None:
    parts = split_gguf(TINY.write(tmp_path / "t.gguf"), (5, 6))
    before = read_model_file(tmp_path).checkpoint.fingerprint()
    content = bytearray(parts[1].read_bytes())
    content[-1] ^= 1
    parts[1].write_bytes(content)
    assert read_model_file(tmp_path).checkpoint.fingerprint() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": (0, 0)}, "t-00002-of-00002.gguf: is part 1 of 2 by its own account, wanted 2 of 2"),
        (
            {"keys": {"split.count": 5}},
            "t-00001-of-00002.gguf: is part 1 of 5 by its own account, wanted 1 of 2",
        ),
        ({"keys": {"split.tensors.count": 99}}, "the parts have 11 tensors together, wanted 99"),
        ({"keys": {"split.count": "two"}}, "'split.count' is a str"),
    ],
)
def test_parts_that_do_not_belong_together(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    split_gguf(TINY.write(tmp_path / "t.gguf"), (5, 6), **options)
    with pytest.raises(ModelError) as caught:
        read_model_file(tmp_path)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_part_of_another_model(tmp_path: Path) -> None:
    parts = split_gguf(TINY.write(tmp_path / "t.gguf"), (5, 6))
    other = split_gguf(replace(TINY, n_layers=2).write(tmp_path / "o.gguf"), (9, 11))
    other[1].replace(parts[1])
    with pytest.raises(ModelError, match=r"is in another part, too|together, wanted"):
        read_model_file(parts[0])


def test_a_renamed_part_says_what_it_is(tmp_path: Path) -> None:
    parts = split_gguf(TINY.write(tmp_path / "t.gguf"), (5, 6))
    alone = parts[0].rename(tmp_path / "alone.gguf")
    with pytest.raises(ModelError, match=r"alone\.gguf: one of 2 parts, and its name does not say which"):
        read_model_file(alone)


# --- both formats in one folder --------------------------------------------------------------------


def test_a_folder_with_both_formats_says_which_was_taken(tmp_path: Path) -> None:
    folder = TinyHF(TINY).write(tmp_path / "both")
    TINY.write(folder / "t.gguf")
    model = read_model_file(folder)
    assert model.checkpoint.format == "safetensors"
    assert "safetensors was taken, not t.gguf" in model.notices[0]
    assert read_model_file(folder / "t.gguf").notices == ()
