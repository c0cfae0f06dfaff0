"""Built weights kept in the cache folder: the same bits as built, and never others."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.engine.model import Llama
from llama_chat.engine.model_file import read_model_file
from llama_chat.engine.packed import early, shelf
from llama_chat.engine.packed.early import EARLY, DataDigest, digest_of_data
from llama_chat.engine.packed.file import read_packed, write_packed
from llama_chat.engine.packed.shelf import PackedShelf
from llama_chat.engine.packed.tree import Describer, NotPlainError, restore
from llama_chat.engine.packed.weights import Keeping, KeptWeights, RememberingWeights, weight_builder
from llama_chat.engine.precision import choose_precision
from llama_chat.engine.weights import build_llama
from llama_chat.errors import ModelError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(path: Path, kind: str, folder: Path) -> tuple[Llama, type]:
    """The network, with what is kept in the folder or kept there now; and who gave its weights."""
    model = read_model_file(path)
    weights = weight_builder(model.checkpoint, choose_precision(kind, CPU), folder)
    llama = build_llama(model.config, weights)
    if isinstance(weights, RememberingWeights):
        keeping = weights.keep()
        assert isinstance(keeping, Keeping)
        keeping.finish()
    return llama, type(weights)


def kept_file(folder: Path) -> Path:
    (found,) = (folder / "weights").glob("*.safetensors")
    return found


@pytest.mark.parametrize(
    ("kind", "stored", "tied"),
    [
        ("auto", GGMLType.Q4_1, True), ("auto", GGMLType.Q8_0, True), ("auto", GGMLType.Q6_K, False),
        ("int4", GGMLType.F32, True), ("int8", GGMLType.F32, False), ("bf16", GGMLType.Q4_0, True),
    ],
)  # fmt: skip
def test_mapped_weights_are_those_that_were_built(
    tmp_path: Path, kind: str, stored: GGMLType, tied: bool
) -> None:
    types = {"token_embd.weight": GGMLType.Q8_0} if stored is GGMLType.Q4_1 else {}
    path = TinyModel(type=stored, tied=tied, types=types).write(tmp_path / "m.gguf")
    first, builder = built(path, kind, tmp_path)
    assert builder is RememberingWeights
    second, giver = built(path, kind, tmp_path)
    assert giver is KeptWeights
    wanted, found = first.state_dict(), second.state_dict()
    assert list(wanted) == list(found)
    for name, tensor in wanted.items():
        assert found[name].dtype is tensor.dtype
        assert torch.equal(bits(found[name]), bits(tensor)), name
        assert found[name].data_ptr() % 64 == 0, name
    assert len(places(wanted)) == len(places(found)), "what is tied stays one tensor"
    assert repr(second) == repr(first)


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.uint8)


def places(tensors: dict[str, Tensor]) -> set[int]:
    return {tensor.data_ptr() for tensor in tensors.values()}


def test_plain_values_are_not_kept(tmp_path: Path) -> None:
    path = TinyModel(type=GGMLType.BF16).write(tmp_path / "m.gguf")
    model = read_model_file(path)
    weights = weight_builder(model.checkpoint, choose_precision("auto", CPU), tmp_path)
    assert type(weights).__name__ == "WeightBuilder"


@pytest.mark.parametrize("damage", ["one bit", "cut", "longer", "empty", "header", "no digest"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "m.gguf")
    wanted = built(path, "auto", tmp_path)[0].state_dict()
    kept = kept_file(tmp_path)
    data = bytearray(kept.read_bytes())
    if damage == "one bit":
        data[-len(data) // 3] ^= 1
    elif damage == "cut":
        del data[-64:]
    elif damage == "longer":
        data += bytes(64)
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[20] ^= 255
    else:
        data = data.replace(b'"sha256"', b'"sha255"')
    kept.write_bytes(data)
    found, giver = built(path, "auto", tmp_path)
    assert giver is RememberingWeights
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert all(torch.equal(bits(wanted[name]), bits(each)) for name, each in found.state_dict().items())
    assert built(path, "auto", tmp_path)[1] is KeptWeights, "kept again"


def test_what_was_read_early_counts_only_while_the_file_is_the_same(tmp_path: Path) -> None:
    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "m.gguf")
    built(path, "auto", tmp_path)
    kept = kept_file(tmp_path)
    EARLY.begin(tmp_path / "weights", kept.name.partition("-")[0])
    EARLY._threads[kept].join()
    data = bytearray(kept.read_bytes())
    data[-100] ^= 1
    kept.write_bytes(data)
    os.utime(kept, ns=(1, 1))
    with pytest.raises(ModelError, match="not those that were written"):
        read_packed(kept)


def test_another_precision_and_other_code_have_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "m.gguf")
    built(path, "auto", tmp_path)
    assert built(path, "int8", tmp_path)[1] is RememberingWeights
    monkeypatch.setattr(shelf, "_code_digest", lambda: "other")
    assert built(path, "auto", tmp_path)[1] is RememberingWeights


def test_a_disk_that_takes_nothing_spoils_no_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "m.gguf")
    monkeypatch.setattr(shelf, "write_packed", full)
    built(path, "auto", tmp_path)
    assert "No space left" in caplog.text
    (tmp_path / "a file").touch()
    built(path, "auto", tmp_path / "a file")


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    kept = PackedShelf(tmp_path)
    for age, name in enumerate(["new", "older", "oldest"]):
        assert kept.keep(name, None, {"x": torch.zeros(1000)})
        used_s = time.time() - 1000 * age
        os.utime(tmp_path / f"{name}.safetensors", (used_s, used_s))
    kept.clear(10_000)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["new", "older"]
    os.utime(tmp_path / "older.safetensors", (0, 0))
    kept.clear(10_000)
    assert [path.stem for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("step", [1 << 20, 1000, 4097, 3 << 20])
def test_samples_do_not_depend_on_how_the_data_is_cut(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "WHOLE_BYTES", 1 << 20)
    data = torch.arange(5 << 18, dtype=torch.int32).numpy().tobytes()[: (5 << 20) - 77]
    (tmp_path / "x").write_bytes(b"head" + data)
    digest = DataDigest(len(data))
    for at in range(0, len(data), step):
        digest.update(memoryview(data)[at : at + step])
    assert digest.hexdigest() == digest_of_data(tmp_path / "x", 4)


def test_tensors_of_odd_sizes_lie_on_lines_of_their_own(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3, dtype=torch.int8), "b": torch.ones(5, 7), "c": torch.ones(2).bfloat16()}
    write_packed(tmp_path / "x", {"n": 1}, tensors)
    found = read_packed(tmp_path / "x")
    assert found.about == {"n": 1}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert all(tensor.data_ptr() % 64 == 0 for tensor in found.tensors.values())


def test_no_description_names_another_class() -> None:
    with pytest.raises(NotPlainError):
        restore([{"class": "os:system"}], {})
    with pytest.raises(NotPlainError):
        restore([{"class": "llama_chat.engine.weights:WeightBuilder"}], {})
    linear = torch.nn.Linear(2, 2)
    linear.hook = print  # type: ignore[assignment]
    with pytest.raises(NotPlainError):
        Describer().add(linear)
