"""Safetensors headers and JSON files: read when they are sound, refused with one clear line when they lie."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import fuzz_safetensors
import pytest
import torch
from tiny_hf import safetensors_image as image
from tiny_hf import write_safetensors

from llama_chat.engine.files import json_file
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.errors import ModelError


def entry(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def opened(tmp_path: Path, content: bytes) -> SafetensorsFile:
    path = tmp_path / "made.safetensors"
    path.write_bytes(content)
    return SafetensorsFile(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    """Why the file is refused; the answer comes at once and takes no memory to speak of."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(ModelError) as caught:
            opened(tmp_path, content)
        assert time.monotonic() - started < 2
        assert tracemalloc.get_traced_memory()[1] < 20e6 + 3 * len(content)
    finally:
        tracemalloc.stop()
    assert caught.value.message.startswith("made.safetensors: ")
    assert caught.value.hint
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    return caught.value.message


# --- sound files -----------------------------------------------------------------------------------


def test_tensors_of_every_type_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Written by the format's own library."""
    random = torch.Generator().manual_seed(1)
    floats = torch.randn(4, 5, generator=random)
    tensors = {
        name: floats.to(getattr(torch, name))
        for name in ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    }
    ints = torch.randint(0, 100, (7,), generator=random)
    tensors |= {
        name: ints.to(getattr(torch, name)) for name in ("int64", "int32", "int16", "int8", "uint8", "bool")
    }
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "cube": torch.randn(2, 3, 4)}
    file = SafetensorsFile(write_safetensors(tmp_path / "made.safetensors", tensors))
    assert file.metadata == {"format": "pt"}
    assert file.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        info, values = file.tensors[name], file.values(name)
        assert (info.shape, info.nbytes) == (tuple(tensor.shape), tensor.nbytes)
        assert values.dtype == tensor.dtype
        assert torch.equal(
            values.view(torch.uint8) if tensor.dim() else values,
            tensor.view(torch.uint8) if tensor.dim() else tensor,
        )


def test_rows_can_be_had_without_the_others(tmp_path: Path) -> None:
    rows = torch.randn(10, 3)
    file = SafetensorsFile(write_safetensors(tmp_path / "a.safetensors", {"rows": rows}))
    for start, stop in ((0, 10), (2, 5), (9, 10), (4, None), (4, 99), (5, 5)):
        assert torch.equal(file.values("rows", start, stop), rows[start:stop])
    with pytest.raises(ModelError, match="there is no tensor other"):
        file.values("other")


def test_values_that_lie_askew_are_read(tmp_path: Path) -> None:
    """The format aligns nothing: a tensor of three bytes may stand before one of floats."""
    floats = torch.tensor([1.5, -2.0, 0.25])
    header = {"bytes": entry("U8", [3], [0, 3]), "floats": entry("F32", [3], [3, 15])}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 4)
    file = opened(tmp_path, image(raw, b"abc" + floats.numpy().tobytes()))
    assert torch.equal(file.values("floats"), floats)
    assert torch.equal(file.values("floats", 1, 3), floats[1:])


def test_values_that_torch_has_no_type_for_can_be_listed(tmp_path: Path) -> None:
    file = opened(tmp_path, image({"packed": entry("F4", [2, 3], [0, 3])}, bytes(3)))
    assert (file.tensors["packed"].dtype, file.tensors["packed"].nbytes) == ("F4", 3)
    with pytest.raises(ModelError, match="packed is stored as F4, which cannot be read"):
        file.values("packed")


def test_a_file_without_tensors(tmp_path: Path) -> None:
    assert opened(tmp_path, image({})).tensors == {}


@pytest.mark.alone
def test_sixteen_gigabytes_open_at_once_without_torch(tmp_path: Path) -> None:
    """A hole in the file takes no place; nothing of it is read."""
    path = tmp_path / "large.safetensors"
    size = 16 << 30
    head = image({"large": entry("BF16", [size // 8192, 4096], [0, size])})
    path.write_bytes(head)
    try:
        with path.open("r+b") as file:
            file.truncate(len(head) + size)
    except OSError:
        pytest.skip("no files of 16 GB here")
    code = (
        "import sys, time, pathlib; from llama_chat.engine.files.safetensors import SafetensorsFile as S;"
        "t = time.perf_counter(); n = len(S(pathlib.Path(sys.argv[1])).tensors);"
        "print(n, time.perf_counter() - t);"
        "assert 'torch' not in sys.modules"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    ).stdout
    count, seconds = said.split()
    assert count == "1"
    assert float(seconds) < 0.5


# --- headers that lie ------------------------------------------------------------------------------

DATA = bytes(24)
LIES: dict[str, tuple[bytes, str]] = {
    "too short": (b"1234567", "has 7 bytes"),
    "another format": (b"GGUF" + bytes(100), "not a safetensors file"),
    "a header past the end": (image({}, length=1000), "claims 1,000 bytes, but the file has"),
    "a header of 200 MB": (image({}, length=200_000_000), "claims 200,000,000 bytes, more than"),
    "a header of 2^64": (image({}, length=(1 << 64) - 1), "more than 100,000,000"),
    "an empty header": (image(b"", b"{}"), "is no JSON"),
    "a list": (image(b"[]" + DATA), "not a safetensors file"),
    "no JSON": (image(b'{"a": }', DATA), "is no JSON: Expecting value"),
    "two objects": (image(b"{}{}"), "is no JSON: Extra data"),
    "no UTF-8": (image(b'{"\xff": 1}', DATA), "is no text in UTF-8"),
    "nested": (image(b'{"a":' * 50_000), "is nested too deep"),
    "a number of 9,999 digits": (image(b'{"a":' + b"9" * 9999 + b"}"), "a number is too long"),
    "a name twice": (
        image(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), DATA), "has a twice"),
    "metadata of numbers": (image({"__metadata__": {"a": 1}}), "__metadata__ is no table of texts"),
    "metadata of a list": (image({"__metadata__": []}), "__metadata__ is no table of texts"),
    "a tensor that is a number": (image({"a": 1}), "a is described by something else"),
    "more about a tensor": (image({"a": entry(more=1)}, DATA), "a is described by something else"),
    "less about a tensor": (image({"a": {"dtype": "F32"}}, DATA), "a is described by something else"),
    "an unknown type": (image({"a": entry("F33")}, DATA), "a has the unknown type F33"),
    "a type of null": (image({"a": entry(None)}, DATA), "a has the unknown type None"),
    "a negative size": (image({"a": entry(shape=[-2, -3])}, DATA), "impossible shape [-2, -3]"),
    "a size of a fraction": (image({"a": entry(shape=[2.0, 3])}, DATA), "impossible shape"),
    "a size that is true": (image({"a": entry(shape=[6, True])}, DATA), "impossible shape"),
    "a size beyond 64 bits": (image({"a": entry(shape=[1 << 64, 1])}, DATA), "impossible shape"),
    "sizes without end": (image({"a": entry(shape=[1] * 100_000)}, DATA), "impossible shape"),
    "offsets backwards": (image({"a": entry(offsets=[24, 0])}, DATA), "impossible offsets [24, 0]"),
    "three offsets": (image({"a": entry(offsets=[0, 24, 24])}, DATA), "impossible offsets"),
    "too few bytes": (image({"a": entry(shape=[2, 4])}, DATA), "24 bytes, but as F32 [2, 4] it takes 32"),
    "sizes that wrap around": (
        image({"a": entry(shape=[1 << 63, 1 << 63])}, DATA), "has 24 bytes, but as F32"),
    "half a byte": (image({"a": entry("F4", [3], [0, 1])}, b"1"), "has 1 bytes, but as F4 [3] it takes 2"),
    "an end past the file": (
        image({"a": entry(shape=[2, 4], offsets=[0, 32])}, DATA), "but the file has"),
    "an overlap": (
        image({"a": entry(), "b": entry(shape=[1], offsets=[20, 24])}, DATA), "b overlaps a"),
    "the same bytes twice": (image({"a": entry(), "b": entry()}, DATA), "overlaps a"),
    "a hole at the start": (
        image({"a": entry(shape=[2, 2], offsets=[8, 24])}, DATA), "8 bytes before a belong to no tensor"),
    "a hole between": (
        image({"a": entry("U8", [4], [0, 4]), "b": entry("U8", [4], [20, 24])}, DATA),
        "16 bytes before b belong to no tensor"),
    "a hole at the end": (image({"a": entry()}, DATA + b"x"), "the last 1 bytes belong to no tensor"),
    "a name for the terminal": (image({"\x1b]0;x\x07": 1}), r"'\x1b]0;x\x07' is described by"),
    "a shape for the terminal": (image({"a": entry(shape="\x1b[2J")}, DATA), r"'\x1b[2J'"),
    "half a character": (image(b'{"\\ud800": 1}'), r"'\ud800' is described by"),
    "a name without end": (image({"a" * 70_000: entry()}, DATA), "is a name of 70,000 characters"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "only a pointer"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), LIES.values(), ids=LIES)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(tmp_path, content)


def test_a_header_cannot_fill_the_memory(tmp_path: Path) -> None:
    """50 MB of brackets would take ten times that as lists."""
    assert "more than 4,194,304 values" in refusal(tmp_path, image(b"{" + b"[]," * (16 << 20)))
    many = {f"t{i}": entry("U8", [0], [0, 0]) for i in range((1 << 16) + 1)}
    path = tmp_path / "many.safetensors"
    path.write_bytes(image(many))
    with pytest.raises(ModelError, match="names 65,537 tensors"):
        SafetensorsFile(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = image({"a": entry(), "b": entry("BF16", [4], [24, 32])}, bytes(32))
    path = tmp_path / "made.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            SafetensorsFile(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "no ordinary file")):
        with pytest.raises(ModelError, match=reason):
            SafetensorsFile(path)


# --- JSON ------------------------------------------------------------------------------------------


def test_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + '{"a": [1, {"b": "ü"}]}'.encode())
    assert read_json(path, 100) == {"a": [1, {"b": "ü"}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.json: is no JSON: Expecting value"),
        (b"[]", "a.json: is a list, wanted an object"),
        (b"null", "a.json: is a NoneType, wanted an object"),
        (b'{"a": 1}' + b" " * 100, "a.json: has more than 100 bytes"),
        (b"\xff\xfe", "a.json: is no text in UTF-8"),
        (b'{"a": 1, "a": 2}', "a.json: has a twice"),
        (b'{"a": {"\\u001b[": 1, "\\u001b[": 2}}', "a.json: has '\\x1b[' twice"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_json(path, 100)
    assert caught.value.message == message


def test_json_that_is_nested_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    for content in (b"[" * 100_000, b'{"a":' * 100_000):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is nested too deep"):
            read_json(path, 1 << 20)
    with pytest.raises(ModelError, match=r"there is no b\.json in this folder"):
        read_json(tmp_path / "b.json", 100)
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path, 100)
    monkeypatch.setattr(json_file, "MAX_VALUES", 3)
    path.write_bytes(b'{"a": [1, 2, 3]}')
    with pytest.raises(ModelError, match="more than 3 values"):
        read_json(path, 100)


# --- damage by the thousand ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "rounds"), [("header", 2000), ("index", 500), ("config", 500), ("generation", 200)]
)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str, rounds: int) -> None:
    counts, faults = fuzz_safetensors.fuzz(tmp_path, kind, rounds, seed=7)
    assert not faults
    assert counts["read"] + counts["refused"] == rounds
    assert min(counts.values()) > 0


def test_the_fuzzer_notices_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> None:
        struct.unpack("<Q", path.read_bytes()[:3])

    monkeypatch.setattr(fuzz_safetensors, "read_everything", read)
    monkeypatch.setattr(fuzz_safetensors, "read_header", read)
    assert len(fuzz_safetensors.fuzz(tmp_path, "header", 3, seed=1)[1]) == 3
