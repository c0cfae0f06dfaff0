"""Which product of few bits runs where; what no machine here could try is tried on the user's own.

The constraints were read in torch 2.13's source and its signatures; only those of the CPU were run by us:

| product | runs on | takes |
|---|---|---|
| `_weight_int4pack_mm_for_cpu` | CPU (x86, ARM) | bf16 for speed; N of 16s |
| `_weight_int4pack_mm` | NVIDIA from sm_80 on; AMD gfx90a, gfx942, gfx950 | bf16; N of 8s (AMD: 16s) |
| `_weight_int4pack_mm` | Apple | bf16, f16, f32; N of 8s |
| `_weight_int4pack_mm_with_scales_and_zeros` | Intel GPUs | bf16, f16, f32; whole zero points |
| `_weight_int8pack_mm` | CPU, NVIDIA, AMD, Intel; Apple for N and D of 32s | any; one scale a row |

So a packed product on a GPU is compared with the unpacked weights when a model is loaded, once for each shape
of a matrix. Where it fails or differs, weights stay packed in memory and are unpacked for each product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llama_chat.engine.devices import AMD_MATRIX_CORES, gpu_architecture, is_out_of_memory

AGREES = 0.02
"""Largest relative difference of a product from that of the unpacked weights; bf16 rounds to 0.003."""

TRIED_ROWS = 1024
"""Output features that a trial compares: all of a large matrix would be as large again in f32."""

_POSITIONS = (1, 17)  # a decode step and a prefill often run different kernels


def has_int4_product(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch has a 4-bit product for the device, going by what is known of it."""
    if device.type == "cuda":
        architecture = gpu_architecture(device)
        if architecture.startswith("gfx"):
            return dtype is torch.bfloat16 and architecture in AMD_MATRIX_CORES
        return dtype is torch.bfloat16 and _capability(architecture) >= 80
    if device.type == "cpu":
        return dtype is torch.bfloat16
    return device.type in ("xpu", "mps")


def _capability(architecture: str) -> int:
    """80 for sm_80; 0 where it is not known."""
    digits = architecture.removeprefix("sm_")
    return int(digits) if digits.isdigit() else 0


def agrees(linear: nn.Module, dense_ND: Tensor, dtype: torch.dtype) -> bool:
    """Whether the product gives what the unpacked weights give, on the device of the weights.

    Args:
        linear: runs as a whole, but of its output only the first features are compared.
        dense_ND: its rows unpacked, or the first `TRIED_ROWS` of them.
        dtype: of x.

    Raises:
        torch.OutOfMemoryError: there is no room to try it.
    """
    generator = torch.Generator().manual_seed(1)
    some_ND = dense_ND[:TRIED_ROWS].float()
    for positions in _POSITIONS:
        x_TD = torch.randn(positions, dense_ND.shape[1], generator=generator).to(dense_ND.device, dtype)
        wanted = x_TD.float() @ some_ND.T
        try:
            got = linear(x_TD)[:, : len(some_ND)].float()
            # Written so that a NaN fails.
            if not bool((got - wanted).norm() <= AGREES * wanted.norm()):
                return False
        except (RuntimeError, NotImplementedError, TypeError) as error:  # torch's words for "not here"
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            return False
    return True
