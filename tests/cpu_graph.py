"""A recorder without a GPU that keeps what a graph keeps: operations, addresses, and the numbers in them.

While work is recorded it runs under a dispatch mode that notes each operation with the very tensors that it
read and wrote. Played, they are done again on these tensors, and what Python held then is looked at no more:
a step that takes its position from Python, or whose cache has moved, goes wrong here as it would on a GPU.
What waits for the device, or sends it something, cannot be recorded, and fails by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from tiny_models import TinyModel
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

CAPTURED = TinyModel(dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, context_length=2048)
"""The model of the tests of it."""

WAITS = frozenset({
    "_local_scalar_dense", "item", "nonzero", "nonzero_static", "masked_select", "unique", "_unique2",
    "unique_dim", "is_nonzero", "equal", "bincount", "repeat_interleave.Tensor", "lift_fresh", "_pin_memory",
})  # fmt: skip
"""Operations by which the host waits for a GPU, or whose shape depends on values."""


_SIGNATURE = inspect.signature(varlen_attn)


class NotRecordableError(RuntimeError):
    """As torch has it when a stream that is recorded must be waited for."""


def tensors_in(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, Tensor)]


class NoWaiting(TorchDispatchMode):
    """Lets no operation pass that would wait, or that brings a tensor of another device along."""

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        self.device = device
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        self.seen.append(name)
        full = f"{name}.{func._overloadname}" if func._overloadname else name
        if name in WAITS or full in WAITS:
            raise NotRecordableError(f"{full} waits for the device")
        if name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise NotRecordableError(f"{full} by a mask counts what is true")
        out = func(*args, **kwargs)
        if self.device is not None:
            elsewhere = {str(each.device) for each in tensors_in((args, kwargs, out))} - {str(self.device)}
            if elsewhere:
                raise NotRecordableError(f"{full} has to do with {elsewhere}")
        return out


class _Recording(NoWaiting):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.done.append((func, args, kwargs or {}, out))
        return out


def play(func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Do it again, into the tensors that it gave."""
    given = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((args, kwargs))}
    made = tensors_in(out)
    if func._schema.is_mutable:
        func(*args, **kwargs)
    elif not any(tensor.untyped_storage().data_ptr() in given for tensor in made):
        for tensor, again in zip(made, tensors_in(func(*args, **kwargs)), strict=True):
            tensor.copy_(again)


class CpuRecorder:
    """A `Recorder`; counts what it did."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.warm_ups = self.records = self.replays = 0
        self.fails_at = fails_at
        """Of which recording; None: of none."""

    def warm_up(self, work: Callable[[], None]) -> None:
        self.warm_ups += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        if self.records == self.fails_at:
            raise NotRecordableError("operation not permitted when stream is capturing")
        # Recording computes nothing: what it did meanwhile on the CPU is written again when it is played.
        with _Recording() as recording:
            work()

        @torch.inference_mode()
        def replay() -> None:
            self.replays += 1
            for step in recording.done:
                play(*step)

        return replay


def varlen_by_the_book(*args: Any, **kwargs: Any) -> Tensor:
    """What torch's documentation says of `varlen_attn` for one query, in plain operations."""
    given = _SIGNATURE.bind(*args, **kwargs).arguments
    q_1HK, keys_SGK, values_SGK = given["query"], given["key"], given["value"]
    ends = (given["cu_seq_q"], given["cu_seq_k"], given["seqused_k"])
    assert {each.dtype for each in ends} == {torch.int32}
    assert [tuple(each.shape) for each in ends] == [(2,), (2,), (1,)]
    assert (given["max_q"], given["max_k"], given["enable_gqa"]) == (1, len(keys_SGK), True)
    mask_1S = torch.arange(len(keys_SGK), device=q_1HK.device)[None] < given["seqused_k"]
    return torch.nn.functional.scaled_dot_product_attention(
        q_1HK.transpose(0, 1)[None],
        keys_SGK.transpose(0, 1)[None],
        values_SGK.transpose(0, 1)[None],
        attn_mask=mask_1S,
        enable_gqa=True,
    )[0].transpose(0, 1)
