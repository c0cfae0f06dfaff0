"""Weights in few bits against the same weights in f32: unpacking, and products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import dequantize, quantize
from tiny_models import TinyModel, random_blocks
from torch import Tensor

from llama_chat.engine.files.checkpoint import Blocks
from llama_chat.engine.files.gguf import GGUFFile, TensorInfo
from llama_chat.engine.files.gguf_model import GGUFCheckpoint
from llama_chat.engine.quantize import (
    Int4Groups,
    Int4Linear,
    Int4Matrix,
    Int4Slices,
    Int8Embedding,
    Int8Linear,
    Trials,
    UnpackingInt4Linear,
    build_int4_linear,
    int4_groups_from_gguf,
    int4_linear,
    quantize_int4,
    takes_int4,
    takes_int8,
    unpack,
)
from llama_chat.engine.quantize.int4 import first_rows
from llama_chat.engine.quantize.kernels import TRIED_ROWS, agrees
from llama_chat.engine.weights import WeightBuilder, choose_precision
from llama_chat.errors import ModelError

PLAIN = ("F32", "F16", "BF16", "F64")
CPU = torch.device("cpu")


def can_unpack(kind: GGMLType) -> bool:
    block, nbytes = GGML_QUANT_SIZES[kind]
    try:
        dequantize(np.zeros((1, nbytes), dtype=np.uint8), kind)
    except NotImplementedError:
        return False
    return block > 1


PACKED = [kind for kind in GGML_QUANT_SIZES if kind.name not in PLAIN and can_unpack(kind)]
OTHERS = [kind for kind in GGML_QUANT_SIZES if kind.name not in PLAIN and kind not in PACKED]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products on a busy machine wait for each other's threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blocks_of(kind: GGMLType, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, TensorInfo]:
    """A random tensor as it lies in a file."""
    raw = random_blocks(kind, shape, np.random.default_rng(seed))
    return torch.from_numpy(raw.reshape(-1, raw.shape[-1])), TensorInfo("t", shape, kind, 0, raw.nbytes)


def difference(got: Tensor, wanted: Tensor) -> float:
    """Length of the difference, relative to what was wanted."""
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


# --- unpacking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PACKED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", [(5, 512), (512,), (2, 3, 256)])
def test_unpack_equals_gguf(kind: GGMLType, shape: tuple[int, ...]) -> None:
    blocks, info = blocks_of(kind, shape)
    wanted = dequantize(blocks.numpy(), kind).reshape(shape)
    values = unpack(blocks, info)
    assert (tuple(values.shape), values.dtype) == (shape, torch.float32)
    assert np.isfinite(wanted).all()
    assert np.abs(wanted).max() > 0
    assert np.array_equal(values.numpy(), wanted)
    assert torch.equal(unpack(blocks, info, torch.bfloat16), values.bfloat16())


def test_all_the_types_are_met() -> None:
    assert {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"} <= {
        kind.name for kind in PACKED
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_plain_types_are_copied(dtype: torch.dtype) -> None:
    kind = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}[str(dtype)[6:]]
    values = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    blocks = values.view(torch.uint8)
    got = unpack(blocks, TensorInfo("t", (3, 64), GGMLType[kind], 0, blocks.numel()))
    assert torch.equal(got, values.float())
    blocks.zero_()
    assert got.abs().sum() > 0, "a view of the file was given out"


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
def test_what_cannot_be_unpacked_is_named(kind: GGMLType) -> None:
    block, nbytes = GGML_QUANT_SIZES[kind]
    info = TensorInfo("blk.0.attn_q.weight", (2, block), kind, 0, 2 * nbytes)
    with pytest.raises(ModelError, match=f"attn_q.weight is stored as {kind.name}"):
        unpack(torch.zeros(2, nbytes, dtype=torch.uint8), info)


# --- 4 bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GGMLType.Q4_0, GGMLType.Q4_1, GGMLType.Q4_K], ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(3))
def test_4_bit_groups_are_the_file_s_numbers(kind: GGMLType, seed: int) -> None:
    blocks, info = blocks_of(kind, (48, 512), seed)
    groups = int4_groups_from_gguf(Blocks(blocks, kind, info.shape[-1]))
    assert groups is not None
    assert int(groups.q.max()) <= 15
    assert np.array_equal(groups.dense().numpy(), dequantize(blocks.numpy(), kind))


@pytest.mark.parametrize("kind", [GGMLType.Q4_0, GGMLType.Q4_1], ids=lambda kind: kind.name)
def test_4_bit_groups_of_quantised_values(kind: GGMLType) -> None:
    blocks = quantize(np.random.default_rng(4).standard_normal((16, 64)).astype(np.float32), kind)
    groups = int4_groups_from_gguf(Blocks(torch.from_numpy(blocks), kind, 64))
    assert groups is not None
    assert np.array_equal(groups.dense().numpy(), dequantize(blocks, kind))


def test_other_types_have_no_4_bit_groups() -> None:
    assert int4_groups_from_gguf(Blocks(blocks_of(GGMLType.Q5_K, (16, 256))[0], GGMLType.Q5_K, 256)) is None


def smallest_and_largest(weight: Tensor) -> Int4Groups:
    """The plain way: 16 steps from the smallest to the largest value of each group."""
    groups = weight.unflatten(-1, (-1, 32))
    smallest, largest = groups.aminmax(dim=-1)
    scale = (largest - smallest) / 15
    q = ((groups - smallest[..., None]) / scale[..., None]).round().to(torch.uint8)
    return Int4Groups(q.flatten(1), scale, smallest + 8 * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantize_int4_beats_smallest_and_largest(dtype: torch.dtype) -> None:
    weight = torch.randn(700, 2048, generator=torch.Generator().manual_seed(2)).to(dtype)
    groups = quantize_int4(weight)
    assert int(groups.q.max()) == 15
    assert int(groups.q.min()) == 0
    plain = smallest_and_largest(weight.float()).dense() - weight.float()
    error = groups.dense() - weight.float()
    assert error.square().sum() < 0.88 * plain.square().sum()  # 0.857 measured
    # Each number is the nearest one for its scale and zero, but where the range was clipped.
    step = groups.scale.repeat_interleave(32, dim=1)
    is_inside = (groups.q > 0) & (groups.q < 15)
    assert bool((error.abs() <= 0.5001 * step)[is_inside].all())
    for kept in (groups.scale, groups.zero):
        assert torch.equal(kept, kept.bfloat16().float()), "the kernels would round it"


def test_quantize_int4_keeps_what_lies_on_a_grid() -> None:
    generator = torch.Generator().manual_seed(6)
    q = torch.randint(0, 16, (64, 256), generator=generator, dtype=torch.uint8)
    q[:, ::32], q[:, 1::32] = 0, 15
    scale = torch.rand(64, 8, generator=generator).add(0.1).bfloat16().float()
    wanted = Int4Groups(q, scale, torch.zeros_like(scale)).dense()
    assert torch.allclose(quantize_int4(wanted).dense(), wanted, rtol=0, atol=1e-6)
    assert torch.equal(quantize_int4(torch.full((16, 32), 0.25)).dense(), torch.full((16, 32), 0.25))
    assert not quantize_int4(torch.zeros(16, 32)).dense().any()


def test_stacked_groups_keep_their_rows() -> None:
    parts = [quantize_int4(torch.randn(n, 64)) for n in (16, 32)]
    assert torch.equal(Int4Groups.stack(parts).dense(), torch.cat([part.dense() for part in parts]))


def test_parts_of_any_size_are_packed_as_one_matrix() -> None:
    """The CPU's layout is blocks of 64 rows: parts that end elsewhere must not end a block."""
    whole = quantize_int4(torch.randn(304, 64, generator=torch.Generator().manual_seed(3)))
    ends = [0, 16, 80, 81, 272, 304]
    parts = [whole.rows(start, stop) for start, stop in pairwise(ends)]
    linear = Int4Linear(Int4Slices((304, 64), lambda: iter(parts)))
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole.q.int(), 1)
    assert torch.equal(linear.packed, packed)
    assert torch.equal(linear.scales_and_zeros, Int4Linear(whole).scales_and_zeros)


def test_first_rows() -> None:
    whole = quantize_int4(torch.randn(48, 64))
    parts = Int4Slices((48, 64), lambda: iter([whole.rows(0, 20), whole.rows(20, 48)]))
    for count, rows in ((5, 5), (20, 20), (30, 30), (1024, 48)):
        assert torch.equal(first_rows(parts, count).dense(), whole.dense()[:rows])


def test_a_product_that_passed_its_trial_is_built_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the trial some rows are unpacked, once for a shape; the whole matrix only where it failed."""
    built: list[tuple[int, int]] = []

    class Unpacking(UnpackingInt4Linear):
        def __init__(self, matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> None:
            built.append(matrix.shape)
            super().__init__(matrix, device, dtype)

    monkeypatch.setattr(int4_linear, "UnpackingInt4Linear", Unpacking)
    monkeypatch.setattr(int4_linear, "_is_cpu", lambda device: False)
    monkeypatch.setattr(int4_linear, "_own_linear", lambda matrix, device, dtype: Int4Linear(matrix))
    groups = quantize_int4(torch.randn(2048, 64, generator=torch.Generator().manual_seed(3)))
    trials: Trials = {}
    for _ in range(2):
        assert isinstance(build_int4_linear(groups, CPU, torch.bfloat16, trials), Int4Linear)
    assert (built, trials) == ([(1024, 64)], {(2048, 64): True})
    trials[2048, 64] = False
    assert isinstance(build_int4_linear(groups, CPU, torch.bfloat16, trials), Unpacking)
    assert built[1:] == [(2048, 64)]


def test_a_trial_compares_some_rows() -> None:
    weight = torch.randn(TRIED_ROWS + 64, 64, generator=torch.Generator().manual_seed(3))
    wrong = weight.clone()
    wrong[TRIED_ROWS - 64 :] *= -1
    linear = torch.nn.Linear(64, len(weight), bias=False)
    linear.weight = torch.nn.Parameter(weight)
    assert agrees(linear, weight[:TRIED_ROWS], torch.float32)
    assert agrees(linear, weight, torch.float32)
    assert not agrees(linear, wrong, torch.float32)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("shape", [(16, 32), (48, 96), (304, 576)])
def test_int4_product(shape: tuple[int, int], rows: int) -> None:
    generator = torch.Generator().manual_seed(3)
    groups = quantize_int4(torch.randn(shape, generator=generator))
    x_TD = torch.randn(rows, shape[1], generator=generator).bfloat16()
    got = Int4Linear(groups)(x_TD)
    rounded = Int4Groups(groups.q, groups.scale.bfloat16().float(), groups.zero.bfloat16().float())
    assert got.dtype == torch.bfloat16
    # Beside the scales only the result is rounded, to 8 bits: by half of 2**-8 at most, by less in the mean.
    assert difference(got, x_TD.float() @ rounded.dense().T) < 0.003
    # Scales and zeros of 8 bits each cost as much again.
    assert difference(got, x_TD.float() @ groups.dense().T) < 0.008


# --- 8 bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("shape", [(16, 32), (7, 96), (19, 64), (304, 576)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_int8_product(shape: tuple[int, int], rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(shape, generator=generator)
    x_TD = torch.randn(rows, shape[1], generator=generator).to(dtype)
    assert takes_int8(shape[1])
    got = Int8Linear(weight.split(5), shape, dtype)(x_TD)
    assert (tuple(got.shape), got.dtype) == ((rows, shape[0]), dtype)
    # A row of normal numbers reaches to about 3.2: steps of 3.2 / 127, whose rounding is 0.7% of the row.
    assert difference(got, x_TD.float() @ weight.T) < 0.014


def test_int8_in_f16_holds_large_values() -> None:
    """Sums of whole numbers up to 127 would pass 65,504 long before the product itself does."""
    weight = torch.full((16, 64), 0.01)
    weight[:, ::2] *= -0.5
    weight[1] *= 1e-3  # its scale is below f16's normal numbers
    x_TD = torch.full((3, 64), 800.0).to(torch.float16)
    linear = Int8Linear([weight], (16, 64), torch.float16)
    wanted = x_TD.float() @ weight.T
    for got in (linear.unpacked_product(x_TD), linear(x_TD)):
        assert got.dtype == torch.float16
        assert difference(got[:, 2:], wanted[:, 2:]) < 0.014
    assert difference(linear.unpacked_product(x_TD)[:, 1], wanted[:, 1]) < 0.02


def test_int8_does_not_take_rows_that_its_kernel_would_read_past() -> None:
    assert [d for d in (8, 16, 24, 33, 48, 64, 576, 600) if takes_int8(d)] == [64, 576]


def test_int8_row_of_zeros_stays_zero() -> None:
    linear = Int8Linear([torch.zeros(16, 32)], (16, 32), torch.bfloat16)
    assert not linear(torch.ones(1, 32, dtype=torch.bfloat16)).any()


def test_int8_embedding_is_exact() -> None:
    blocks, info = blocks_of(GGMLType.Q8_0, (20, 96))
    ids = torch.tensor([3, 0, 19, 3])
    got = Int8Embedding(blocks.split(7), (20, 96), torch.bfloat16)(ids)
    assert torch.equal(got, unpack(blocks, info)[ids].bfloat16())


# --- the choice of a form --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "d", "kind", "dtype", "form"),
    [
        (32, 64, GGMLType.Q4_0, "auto", Int4Linear),
        (32, 64, GGMLType.F32, "int4", Int4Linear),
        (24, 64, GGMLType.Q4_0, "auto", Int8Linear),
        (24, 64, GGMLType.F32, "int4", Int8Linear),
        (32, 80, GGMLType.F32, "int4", torch.nn.Linear),
        (32, 80, GGMLType.F32, "int8", torch.nn.Linear),
        (32, 64, GGMLType.Q5_0, "auto", Int8Linear),
        (32, 64, GGMLType.Q4_0, "int8", Int8Linear),
        (32, 64, GGMLType.F16, "auto", torch.nn.Linear),
        (32, 64, GGMLType.Q4_0, "f32", torch.nn.Linear),
    ],
)
def test_shapes_and_types_choose_the_product(
    tmp_path: Path, n: int, d: int, kind: GGMLType, dtype: str, form: type
) -> None:
    assert takes_int4(n, d) == (n % 16 == 0 and d % 32 == 0)
    model = TinyModel(
        dim=d, n_heads=1, n_kv_heads=1, ffn_dim=n, n_layers=1, types={"blk.0.ffn_up.weight": kind}
    )
    checkpoint = GGUFCheckpoint([GGUFFile(model.write(tmp_path / "tiny.gguf"))])
    precision = choose_precision(dtype, CPU)
    linear = WeightBuilder(checkpoint, precision).load_linear("blk.0.ffn_up.weight")
    assert type(linear) is form
    plain = WeightBuilder(checkpoint, choose_precision("f32", CPU))
    dense = plain.load_dense("blk.0.ffn_up.weight", dtype=torch.float32)
    x_TD = torch.randn(3, d, generator=torch.Generator().manual_seed(5)).to(precision.compute)
    bound = 0.15 if form is Int4Linear and dtype == "int4" else 0.015
    assert difference(linear(x_TD), x_TD.float() @ dense.T) < bound
