"""The compiled layers of a network: loaded with its own weights, run one after the other.

Shapes as in `layer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from llama_chat.engine.cache import KVCache
from llama_chat.engine.fused.layer import FusedLayer
from llama_chat.engine.fused.spec import products_of
from llama_chat.engine.fused.words import as_words, by_place
from llama_chat.engine.int8_cache import Int8KVCache
from llama_chat.engine.model import Block, Llama, attend, causal_mask
from llama_chat.engine.quantize import MANY_ROWS, Int4Linear, MappedMatrix, RescoredHead
from llama_chat.engine.quantize.blocks import GROUP

if TYPE_CHECKING:
    from torch._C._aoti import AOTIModelContainerRunnerCpu


class FusedStep:
    """Forwards out of compiled code.

    Args:
        code: the shared objects of `build` by what they are for, checked by who hands them in:
            loading them runs them.
        name: of the code, for the record.
        llama: whose weights it runs with; they must stay where they are.

    Raises:
        RuntimeError: torch cannot load it, or it was made for other weights.
        ImportError: this torch cannot load any.
    """

    def __init__(self, code: Mapping[str, Path], name: str, llama: Llama) -> None:
        self.name = name
        self._llama = llama
        self._blocks = [cast(Block, block) for block in llama.blocks]
        self._runners = {
            part: [_runner(path, block) for block in self._blocks]
            for part, path in code.items()
            if part != "head"
        }
        self._head = _Head(code["head"], cast(RescoredHead, llama.head)) if "head" in code else None
        self._lengths = torch.empty(0)

    def stands_aside(self) -> bool:
        """Whether somebody looks into the network's own modules (`probing`), which would see nothing here."""
        return self._blocks[0].attention.attend is not attend

    def forward(self, ids_T: Tensor, cache: KVCache) -> Tensor:
        """What `Llama.forward` gives: the stream after the last layer, [T, D]; the cache grows by T.

        Raises:
            ValueError: more than the model's context.
        """
        llama, start, stop = self._llama, cache.length, cache.length + len(ids_T)
        llama.reserve(cache, stop)
        if len(self._lengths) < stop:
            self._lengths = torch.empty(cache.capacity)
        rotations_TP2 = torch.view_as_real(llama.rotary.rows(start, stop))
        positions_T, seen_S = torch.arange(start, stop), self._lengths[:stop]
        x_TD: Tensor = llama.embedding(ids_T)
        mask_TS = causal_mask(start, stop, x_TD.dtype, x_TD.device)
        if mask_TS is None:
            common, rows = [rotations_TP2[0], positions_T, seen_S], "one"
        else:
            common = [rotations_TP2, positions_T, seen_S, mask_TS]
            rows = "many" if self._has_dense(len(ids_T)) else "few"
        layers = zip(self._runners[rows], self._blocks, _stores(cache, rows), strict=True)
        for runner, block, stores in layers:
            if llama.before_layer is not None:
                llama.before_layer()
            if rows == "many":
                x_TD = _run_many(runner, block, [x_TD, *common, *stores])
            else:
                x_TD = runner.run([x_TD, *common, *stores])[0]
        cache.advance(len(ids_T))
        return x_TD

    def logits(self, x_TD: Tensor) -> Tensor:
        """What `Llama.logits` gives, f32 [T, V]."""
        if self._head is None or len(x_TD) > 1:
            return self._llama.logits(x_TD)
        return self._head(self._llama.norm(x_TD))

    def _has_dense(self, t: int) -> bool:
        """Whether so many rows are multiplied with weights in 16 bits; all matrices have them, or none."""
        qkv = self._blocks[0].attention.qkv
        return "many" in self._runners and t >= MANY_ROWS and isinstance(qkv, Int4Linear) and qkv.uses_dense


def _stores(cache: KVCache, rows: str) -> Iterator[Sequence[Tensor]]:
    """What each layer reads and writes of the cache, as the code for so many rows takes it."""
    if not isinstance(cache, Int8KVCache):
        return zip(cache.keys, cache.values, strict=True)
    values = [cache.keys, cache.values]
    if rows == "one":
        values = [list(map(as_words, layers)) for layers in values]
    return zip(*values, cache.key_scales, cache.value_scales, strict=True)


class _Head:
    """The compiled output product with a network's weights."""

    def __init__(self, code: Path, head: RescoredHead) -> None:
        self._runner = _loaded(code)
        self._rescored = head.rescored
        self._weights = [as_words(head.fast.weight), head.fast.exact_scale]

    def __call__(self, x_1D: Tensor) -> Tensor:
        logits_V = self._runner.run([torch.stack(by_place(x_1D[0].float())), *self._weights])[0]
        return self._rescored(logits_V[None], x_1D)


def _run_many(runner: AOTIModelContainerRunnerCpu, block: Block, inputs: list[Tensor]) -> Tensor:
    dense = [cast(MappedMatrix, cast(Int4Linear, product).dense) for product in products_of(block)]
    out_TD = runner.run([*inputs, *(matrix.values for matrix in dense)])[0]
    for matrix in dense:
        matrix.forget()
    return out_TD


def _loaded(code: Path) -> AOTIModelContainerRunnerCpu:
    from torch._C._aoti import AOTIModelContainerRunnerCpu  # not every build of torch has it

    return AOTIModelContainerRunnerCpu(str(code), 1)


def _runner(code: Path, block: Block) -> AOTIModelContainerRunnerCpu:
    runner = _loaded(code)
    weights = dict(FusedLayer(block).state_dict())
    wanted = runner.get_constant_names_to_original_fqns()
    runner.update_constant_buffer(
        {name: _constant(name, path, weights) for name, path in wanted.items()},
        use_inactive=False,
        validate_full_updates=True,
        user_managed=True,
    )
    return runner


_GROUP_SIZE = torch.tensor(GROUP)  # must stay where it is, like the weights


def _constant(name: str, path: str, weights: Mapping[str, Tensor]) -> Tensor:
    """A weight, or the group size of a 4-bit product, which Inductor makes a tensor (`int4pack_mm_cpu`)."""
    if path in weights:
        return weights[path]
    if name.startswith("constant"):
        return _GROUP_SIZE
    raise RuntimeError(f"the compiled layer wants {path}, which the network has not")
