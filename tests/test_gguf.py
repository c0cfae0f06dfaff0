"""GGUF headers: read when they are sound, refused with one clear line when they lie."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import fuzz_gguf
import numpy as np
import pytest
import torch
from gguf import GGUFEndian, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import quantize
from tiny_models import TinyModel

from llama_chat.engine.files import gguf as reader
from llama_chat.engine.files.ggml_types import BLOCKS, type_of_code
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.errors import ModelError

STRING, ARRAY, U32 = 8, 9, 4
HUGE = 1 << 60


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + content


def tensor(name: str, sizes: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    sizes_raw = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
    return text(name) + sizes_raw + struct.pack("<IQ", kind, offset)


def image(
    *pairs: bytes,
    tensors: tuple[bytes, ...] = (),
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    version: int = 3,
    data_bytes: int = 4096,
) -> bytes:
    """A GGUF file, byte for byte; the counts may lie."""
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data_bytes)


def opened(tmp_path: Path, content: bytes) -> GGUFFile:
    path = tmp_path / "made.gguf"
    path.write_bytes(content)
    return GGUFFile(path)


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
    assert caught.value.message.startswith("made.gguf: ")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    return caught.value.message


# --- sound files -----------------------------------------------------------------------------------


def test_every_scalar_and_array(tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    writer = GGUFWriter(path, "llama")
    scalars: dict[str, Any] = {
        "uint8": 255, "int8": -128, "uint16": 65535, "int16": -32768, "uint32": 2**32 - 1, "int32": -(2**31),
        "uint64": 2**64 - 1, "int64": -(2**63), "float32": 0.5, "float64": 1e-300, "bool": True,
        "string": "Größe 🦙",
    }  # fmt: skip
    for name, value in scalars.items():
        getattr(writer, f"add_{name}")(f"x.{name}", value)
    arrays: dict[str, list[Any]] = {
        "x.ints": [1, -2, 3], "x.floats": [0.5, -0.25], "x.bools": [True, False], "x.strings": ["a", "", "ü"],
        "x.nested": [[1, 2], [3]],
    }  # fmt: skip
    for key, values in arrays.items():
        writer.add_array(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = GGUFFile(path).metadata
    assert {key[2:]: metadata[key] for key in metadata if key[2:] in scalars} == scalars
    assert metadata["x.strings"] == [b"a", b"", "ü".encode()]
    assert {key: metadata[key] for key in arrays if key != "x.strings"} == {
        key: values for key, values in arrays.items() if key != "x.strings"
    }


def test_tensors_keep_their_shape_type_and_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((6, 64)).astype(np.float32)
    packed = quantize(values, GGMLType.Q4_1)
    path = tmp_path / "sound.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_custom_alignment(128)
    writer.add_tensor("plain", values)
    writer.add_tensor("packed", packed, raw_dtype=GGMLType.Q4_1)
    writer.add_tensor("cube", values.reshape(2, 3, 64))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GGUFFile(path)
    assert [(info.name, info.shape, info.type_name) for info in file.tensors.values()] == [
        ("plain", (6, 64), "F32"), ("packed", (6, 64), "Q4_1"), ("cube", (2, 3, 64), "F32"),
    ]  # fmt: skip
    assert torch.equal(file.blocks("plain").view(torch.float32), torch.from_numpy(values))
    assert file.blocks("packed").numpy().tobytes() == packed.tobytes()
    assert file.blocks("cube").shape == (6, 256)
    with pytest.raises(ModelError, match="there is no tensor 'other'"):
        file.blocks("other")


def test_blocks_are_not_read_before_they_are_wanted(tmp_path: Path) -> None:
    """64 MB of tensor data that is a hole in the file: opening and mapping it takes no memory."""
    content = image(tensors=(tensor("big", (1024, 16384)),), data_bytes=0)
    path = tmp_path / "made.gguf"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(len(content) + (64 << 20))
    tracemalloc.start()
    blocks = GGUFFile(path).blocks("big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks.shape == (16384, 4096)
    assert peak < 1e6


def test_an_older_version_and_an_empty_model_are_read(tmp_path: Path) -> None:
    file = opened(tmp_path, image(pair("a", U32, struct.pack("<I", 7)), version=2))
    assert (dict(file.metadata), dict(file.tensors)) == ({"a": 7}, {})


def test_get_holds_the_value_against_its_type(tmp_path: Path) -> None:
    file = opened(tmp_path, image(pair("n", U32, struct.pack("<I", 7)), pair("b", 7, b"\x01")))
    assert (file.get("n", int), file.get("b", bool), file.get("none", int, 3)) == (7, True, 3)
    for key, kind, message in (
        ("n", str, "'n' is a int"),
        ("b", int, "'b' is a bool"),
        ("x", int, "has no 'x'"),
    ):
        with pytest.raises(ModelError, match=message):
            file.get(key, kind)


def test_the_default_model_is_read(default_model: Path) -> None:
    file = GGUFFile(default_model)
    assert (len(file.tensors), len(file.metadata["tokenizer.ggml.tokens"])) == (272, 49152)
    assert file.tensors["token_embd.weight"].type_name == "Q8_0"


# --- files that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"GG", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file, but a zip archive"),
        (image(version=1), "GGUF version 1; versions 2 and 3"),
        (image(version=4), "GGUF version 4"),
    ],
)
def test_not_gguf(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        opened(tmp_path, content)


def test_big_endian_is_named(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    writer = GGUFWriter(path, "llama", endianess=GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="big-endian"):
        GGUFFile(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        GGUFFile(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match="cannot be read"):
        GGUFFile(tmp_path)


# --- headers that lie ------------------------------------------------------------------------------

_NESTED = array(ARRAY, 1) * 100 + array(U32, 0)


LIES: dict[str, tuple[bytes, str]] = {
    "tensor count": (image(n_tensors=HUGE), "the number of tensors is 1,152,921"),
    "largest tensor count": (image(n_tensors=2**64 - 1), "the number of tensors is 18,446"),
    "pair count": (image(n_pairs=HUGE), "the number of metadata pairs is"),
    "a few too many": (image(n_pairs=3, data_bytes=0), "the number of metadata pairs is 3"),
    "key length": (image(struct.pack("<Q", HUGE), n_pairs=1), "ends inside a metadata key"),
    "string length": (image(pair("k", STRING, struct.pack("<Q", HUGE))), "the value of k"),
    "array length": (image(pair("k", ARRAY, array(U32, HUGE))), "the length of k is"),
    "byte array length": (image(pair("k", ARRAY, array(0, HUGE))), "the length of k is"),
    "strings": (image(pair("k", ARRAY, array(STRING, HUGE))), "the length of k is"),
    "arrays": (image(pair("k", ARRAY, array(ARRAY, HUGE))), "the length of k is"),
    "string in an array": (
        image(pair("k", ARRAY, array(STRING, 2, struct.pack("<Q", HUGE)))),
        "a string in k is longer",
    ),
    "type": (image(pair("k", 13, b"")), "k has the unknown type 13"),
    "element type": (image(pair("k", ARRAY, array(99, 1, bytes(8)))), "k has the unknown type 99"),
    "nested": (image(pair("k", ARRAY, _NESTED)), "nested more than 4 deep"),
    "same key": (image(pair("k", U32, bytes(4)), pair("k", U32, bytes(4))), "the metadata has k twice"),
    **{
        f"alignment {n}": (
            image(pair("general.alignment", U32, struct.pack("<I", n))),
            f"general.alignment is {n}, wanted a power of two",
        )
        for n in (0, 1, 48, 2**31)
    },
    "alignment of text": (image(pair("general.alignment", STRING, text("32"))), "alignment is '32'"),
    "no dimension": (image(tensors=(tensor("t", ()),)), "t has 0 dimensions"),
    "five dimensions": (image(tensors=(tensor("t", (1,) * 5),)), "t has 5 dimensions"),
    "dimensions": (
        image(tensors=(text("t") + struct.pack("<I", 2**32 - 1) + bytes(64),)),
        "t has 4294967295 dimensions",
    ),
    "a size of 0": (image(tensors=(tensor("t", (32, 0)),)), "impossible shape"),
    "a huge size": (image(tensors=(tensor("t", (32, HUGE)),)), "impossible shape"),
    "a huge product": (image(tensors=(tensor("t", (4096,) * 4),)), "ends at byte 1,125,"),
    "a removed type": (image(tensors=(tensor("t", (32,), 4),)), "unknown quantised type 4"),
    "tensor type": (image(tensors=(tensor("t", (32,), 999),)), "unknown quantised type 999"),
    "a broken block": (image(tensors=(tensor("t", (33,), 3),)), "no multiple of 32"),
    "offset": (image(tensors=(tensor("t", (32,), 0, HUGE),)), "t ends at byte"),
    "one value too many": (image(tensors=(tensor("t", (1025,)),)), "t ends at byte"),
    "overlap": (image(tensors=(tensor("a", (64,)), tensor("b", (64,), 0, 128))), "b overlaps a"),
    "same name": (image(tensors=(tensor("a", (64,)), tensor("a", (64,), 0, 256))), "two tensors a"),
    "long key": (image(pair("x" * 70_000, U32, bytes(4))), "a metadata key has 70,000 characters"),
    "escape sequence": (image(pair("k\x1b]0;x\x07\n", 13, b"")), r"'k\\x1b\]0;x\\x07\\n' has the unknown"),
    "long name": (image(tensors=(tensor("t" * 5000, ()),)), "^made.gguf: 't{80}' has 0"),
}


@pytest.mark.parametrize(("content", "message"), LIES.values(), ids=LIES)
def test_lies(tmp_path: Path, content: bytes, message: str) -> None:
    assert re.search(message, refusal(tmp_path, content))


def test_what_fits_the_file_can_still_be_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file can hold counts that would fill the memory: values of one byte become objects of many."""
    monkeypatch.setattr(reader, "MAX_ARRAY_VALUES", 1000)
    monkeypatch.setattr(reader, "MAX_TENSORS", 100)
    monkeypatch.setattr(reader, "MAX_PAIRS", 100)
    half = pair("a", ARRAY, array(0, 600, bytes(600)))
    assert len(opened(tmp_path, image(half)).metadata["a"]) == 600
    other = pair("b", ARRAY, array(0, 600, bytes(600)))
    assert "the length of b is 600" in refusal(tmp_path, image(half, other))
    assert "the number of tensors is 101" in refusal(tmp_path, image(n_tensors=101, data_bytes=10_000))
    assert "the number of metadata pairs is 101" in refusal(tmp_path, image(n_pairs=101, data_bytes=10_000))


def test_cut_short_at_every_byte_of_the_header(tmp_path: Path) -> None:
    whole = image(
        pair("general.architecture", STRING, text("llama")),
        pair("words", ARRAY, array(STRING, 2, text("ab") + text("c"))),
        pair("numbers", ARRAY, array(U32, 3, bytes(12))),
        tensors=(tensor("a", (32, 2), 3), tensor("b", (8,), 0, 64)),
        data_bytes=96,
    )
    assert len(opened(tmp_path, whole).tensors) == 2
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            GGUFFile(path)


def test_a_real_header_cut_short(tmp_path: Path, default_model: Path) -> None:
    with default_model.open("rb") as file:
        start = file.read(GGUFFile(default_model).header_bytes)
    path = tmp_path / "cut.gguf"
    for length in (*range(0, 2000, 7), *range(2000, len(start), 50_021), len(start)):
        path.write_bytes(start[:length])
        with pytest.raises(ModelError):
            GGUFFile(path)


def test_two_thousand_mutations_in_bounded_memory(tmp_path: Path) -> None:
    """In a process that may take 512 MB more than it has at the start, where the system can see to that."""
    code = (
        "import sys; from pathlib import Path; import fuzz_gguf as f, fuzzing;"
        "fuzzing.limit_memory(512 << 20);"
        "counts, faults = f.fuzz(Path(sys.argv[1]), 2000, 5); print(counts, *faults, sep='\\n');"
        "sys.exit(bool(faults) or counts['read'] < 100 or counts['refused'] < 1000)"
    )
    tests = Path(fuzz_gguf.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tests, env={**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fuzzer_sees_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(fuzz_gguf, "read_everything", broken)
    counts, faults = fuzz_gguf.fuzz(tmp_path, 2, 1)
    assert (counts, len(faults)) == ({"read": 0, "refused": 0}, 2)
    assert "IndexError: out of range" in faults[0]


def test_a_tiny_model_reads_back(tmp_path: Path) -> None:
    model = TinyModel(type=GGMLType.Q8_0)
    file = GGUFFile(model.write(tmp_path / "tiny.gguf"))
    assert {name: info.shape for name, info in file.tensors.items()} == model.shapes


def test_the_table_of_types_is_that_of_the_package() -> None:
    for kind, sizes in BLOCKS.items():
        assert kind == GGMLType[kind.name]
        assert sizes == GGML_QUANT_SIZES[GGMLType[kind.name]]
    newer = [kind for kind in GGMLType if kind.value not in set(BLOCKS)]
    assert [type_of_code(kind.value) for kind in newer] == [(kind, *GGML_QUANT_SIZES[kind]) for kind in newer]
