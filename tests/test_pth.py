"""Files of torch.save: tensors that lie in any way are read; code, and what is no tensor, is refused."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_meta import FIRST_SHARD, TinyMeta, write_changed

from llama_chat.engine.files.checkpoint import OUTPUT
from llama_chat.engine.files.meta_folder import read_meta_folder
from llama_chat.engine.files.pth import PthFile
from llama_chat.errors import ModelError


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_meta_folder(path)
    assert str(caught.value).isprintable()
    return caught.value


# --- tensors that lie otherwise --------------------------------------------------------------------


WQ = "layers.0.attention.wq.weight"


def transpose(state: dict[str, Any]) -> None:
    state[WQ] = state[WQ].t().contiguous().t()


def cut_out(state: dict[str, Any]) -> None:
    state[WQ] = torch.cat([torch.zeros(3, 64), state[WQ], torch.zeros(5, 64)])[3:-5]


def share(state: dict[str, Any]) -> None:
    both = torch.stack([state[WQ], state["layers.1.attention.wq.weight"]])
    state[WQ], state["layers.1.attention.wq.weight"] = both


def parameters(state: dict[str, Any]) -> None:
    state.update({name: torch.nn.Parameter(tensor) for name, tensor in state.items()})


def harmless(state: dict[str, Any]) -> None:
    state["rope.freqs"] = torch.ones(4)
    state["layers.0.feed_forward._extra_state"] = torch.ones(1, dtype=torch.uint8)
    state["layers.1.feed_forward._extra_state"] = b"state"
    state["step"] = 7


@pytest.mark.parametrize("change", [transpose, cut_out, share, parameters, harmless])
def test_tensors_that_lie_otherwise_are_read(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    folder, tiny = write_changed(tmp_path / "tiny", change), TinyMeta()
    model = read_meta_folder(folder)
    assert model.checkpoint.tensors.keys() == tiny.shapes.keys()
    for name, whole in tiny.whole():
        assert torch.equal(model.checkpoint.values(name, 3, 40), whole[3:40])
        model.checkpoint.forget(name)
    for name, whole in tiny.whole():
        assert torch.equal(model.checkpoint.values(name), whole)


def test_an_output_saved_as_the_embedding_itself_is_tied(tmp_path: Path) -> None:
    def tie(state: dict[str, Any]) -> None:
        state["output.weight"] = state["tok_embeddings.weight"]

    tied = read_meta_folder(write_changed(tmp_path / "a", tie))
    assert tied.config.tied_output
    assert OUTPUT not in tied.checkpoint.tensors
    absent = read_meta_folder(TinyMeta(tied=True).write(tmp_path / "b"))
    assert absent.config == tied.config
    assert not read_meta_folder(TinyMeta().write(tmp_path / "c")).config.tied_output


def test_a_storage_for_another_device_lands_on_the_cpu(tmp_path: Path) -> None:
    """The shards were saved on GPUs: each storage says `cuda:N`, which is not there now."""
    folder = TinyMeta().write(tmp_path / "tiny")
    rewrite(
        folder / FIRST_SHARD,
        lambda pickled: pickled.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:3"),
    )
    assert b"cuda:3" in (folder / FIRST_SHARD).read_bytes()
    checkpoint = read_meta_folder(folder).checkpoint
    for name, whole in TinyMeta().whole():
        assert torch.equal(checkpoint.values(name), whole)


def rewrite(path: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The archive with another pickle in it, by Python's own writer of archives."""
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


# --- files that are refused ------------------------------------------------------------------------


class Canary:
    """Pickled as a call that makes a file."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    def __reduce__(self) -> tuple[Any, ...]:
        if self.kind == "system":
            return os.system, (f"touch {self.path}",)
        if self.kind == "exec":
            return exec, (f"open({str(self.path)!r}, 'w')",)
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["system", "exec", "touch"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "protocol 4"])
def test_code_does_not_run(tmp_path: Path, kind: str, form: str) -> None:
    canary = tmp_path / "canary"
    folder, path = TinyMeta().write(tmp_path / "tiny"), tmp_path / "tiny" / FIRST_SHARD
    (state,) = TinyMeta().state_dicts()
    evil = {**state, "norm.weight": Canary(canary, kind)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil["norm.weight"]))
    else:
        torch.save(
            evil, path, _use_new_zipfile_serialization=form != "legacy",
            pickle_protocol=4 if form == "protocol 4" else 2,
        )  # fmt: skip
    error = refusal(folder)
    assert not canary.exists()
    assert error.message.startswith(f"{FIRST_SHARD}: ")
    if form == "zip":
        called = {"system": "posix.system", "exec": "__builtin__.exec", "touch": "__builtin__.getattr"}[kind]
        assert "carries code (it wants to call" in error.message
        assert called in error.message
        assert "so it is not opened" in error.message
        with pytest.raises(pickle.UnpicklingError):  # what we look for is not what protects: torch is
            torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        assert not canary.exists()
        torch.load(path, weights_only=False)
        assert canary.exists(), "the canary can sing"


def test_a_legacy_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    torch.save(TinyMeta().state_dicts()[0], folder / FIRST_SHARD, _use_new_zipfile_serialization=False)
    error = refusal(folder)
    assert error.message.startswith(f"{FIRST_SHARD}: not in the format of torch.save since 1.6")
    assert "torch.save" in error.hint


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    with zipfile.ZipFile(folder / FIRST_SHARD, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/constants.pkl", b"\x80\x02).")
    assert "a TorchScript program" in refusal(folder).message


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    rewrite(folder / FIRST_SHARD, bytes, zipfile.ZIP_DEFLATED)
    assert "is compressed or encrypted" in refusal(folder).message


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    whole = (folder / FIRST_SHARD).read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        (folder / FIRST_SHARD).unlink()
        (folder / FIRST_SHARD).write_bytes(whole[:length])
        assert FIRST_SHARD in refusal(folder).message


def set_to(value: Any, name: str = WQ) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state[name] = value

    return change


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "int8": (set_to(torch.ones(64, 64, dtype=torch.int8)), "is stored as int8; Meta's quantised checkpoints"),
    "fp8": (set_to(torch.ones(64, 64).to(torch.float8_e4m3fn)), "is stored as float8_e4m3fn"),
    "scales": (set_to(torch.ones(64, 2), "layers.0.feed_forward.w1.scales"), "no use for the tensor lay"),
    "a vision model": (set_to(torch.ones(2), "vision_model.class_embedding"), "tensor vision_model.class"),
    "a name that says no": (set_to(torch.ones(2), "\x1b[31mred\n"), r"'\x1b[31mred\n'"),
    "sparse": (set_to(torch.eye(64).to_sparse()), "is no plain tensor"),
    "nowhere": (set_to(torch.empty(64, 64, device="meta")), "holds more than plain tensors (torch._ut"),
    "one value for all": (set_to(torch.ones(1).expand(64, 64)), "has the shape [64, 64], but 4 bytes"),
    "a number": (set_to(torch.tensor(1.0)), "has the shape []"),
    "no tensor": (set_to("text"), "there is no tensor 'blk.0.attn_q.weight'"),
    "another shape": (set_to(torch.ones(64, 32)), f"{WQ} has the shape [64, 32], wanted [64, 64]"),
    "a layer left out": (lambda state: state.pop("layers.0.ffn_norm.weight"), "no tensor 'blk.0.ffn_norm"),
    "a layer far away": (set_to(torch.ones(64), "layers.9999.ffn_norm.weight"), "10,000 layers, but only"),
    "no norm": (lambda state: state.pop("norm.weight"), "there is no norm.weight (its tensors: tok_emb"),
    "nothing": (lambda state: state.clear(), "there is no norm.weight (its tensors: none at all)"),
    "an empty norm": (set_to(torch.ones(0), "norm.weight"), "norm.weight is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_tensors_that_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    error = refusal(write_changed(tmp_path / "tiny", change))
    assert message in error.message
    assert error.hint


def test_a_state_dict_inside_of_another_object(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    (state,) = TinyMeta().state_dicts()
    torch.save({"model": state, "epoch": 3, "more": [torch.ones(2)]}, folder / FIRST_SHARD)
    assert "its tensors: model.tok_embeddings.weight, model.layers.0" in refusal(folder).message
    assert "more.0" in PthFile(folder / FIRST_SHARD).tensors, "though it can be looked at"


def test_a_container_in_itself(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless += [endless] * 100
    torch.save({"norm.weight": endless}, tmp_path / FIRST_SHARD)
    assert PthFile(tmp_path / FIRST_SHARD).tensors == {}


def test_a_pickle_that_claims_more_than_its_record_holds(tmp_path: Path) -> None:
    """A storage said to be longer than its record would reach into the next one."""
    folder = TinyMeta().write(tmp_path / "tiny")
    numel = b"M" + (32 * 64).to_bytes(2, "little")
    rewrite(
        folder / FIRST_SHARD, lambda pickled: pickled.replace(numel, b"M" + (2500).to_bytes(2, "little"), 1)
    )
    assert "do not lie where the archive has them" in refusal(folder).message
    rewrite(
        folder / FIRST_SHARD, lambda pickled: pickled.replace(b"X\x01\x00\x00\x004", b"X\x01\x00\x00\x003", 1)
    )
    assert "do not lie where the archive has them" in refusal(folder).message


def test_reading_needs_no_other_way_of_loading() -> None:
    """`torch.load` stands in the package once, with all three of its safeguards."""
    import llama_chat

    sources = [path.read_text(encoding="utf-8") for path in Path(llama_chat.__file__).parent.rglob("*.py")]
    calls = [call for source in sources for call in re.findall(r"torch\.load\(.*\)", source)]
    assert calls == ['torch.load(str(path), map_location="cpu", mmap=True, weights_only=True)']
