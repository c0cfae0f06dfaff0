"""Looking into a `Llama` while it computes: what passes at named places is told.

The numbers are those of the network's own modules, by torch's forward hooks. Attention alone, which runs as
one fused kernel, is computed in its single steps meanwhile, in f32. Without a probe nothing is paid: no hook
is left behind, and `Attention.attend` is the kernel again.

Shapes: T new positions, S cached positions, D width, H query heads, G key/value heads, R = H / G heads that
share one, K head size, F FFN width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from llama_chat.engine.model import Attention, Block, FeedForward, Llama

Place: TypeAlias = Literal[
    "embedding", "layer_input", "attention_norm", "q", "k", "v", "q_rope", "k_rope", "v_cached", "scores",
    "masked", "weights", "heads", "attention_output", "residual_attention", "ffn_norm", "gate", "up",
    "ffn_hidden", "ffn_output", "residual", "final_norm", "logits",
]  # fmt: skip

PLACES: dict[Place, str] = {
    "embedding": "[T, D], the rows of the ids",
    "layer_input": "[T, D], the stream that the layer reads",
    "attention_norm": "[T, D], normalised for attention",
    "q": "[T, H, K], the queries before they are turned",
    "k": "[T, G, K], the keys before they are turned",
    "v": "[T, G, K], the values",
    "q_rope": "[T, H, K], the queries turned by RoPE",
    "k_rope": "[G, S, K], the keys turned by RoPE, those of the cache before them",
    "v_cached": "[G, S, K], the values, those of the cache before them",
    "scores": "[R, T, S], QKᵀ / √K of one group, the groups in order",
    "masked": "[R, T, S], the same with -inf in the future",
    "weights": "[R, T, S], their softmax",
    "heads": "[R, T, K], the weights times the values",
    "attention_output": "[T, D], the heads mixed by the output product",
    "residual_attention": "[T, D], the stream with that added",
    "ffn_norm": "[T, D], normalised for the feed-forward part",
    "gate": "[T, F]",
    "up": "[T, F]",
    "ffn_hidden": "[T, F], silu(gate) · up",
    "ffn_output": "[T, D], brought back to the stream's width",
    "residual": "[T, D], the stream after the layer",
    "final_norm": "[T, D], normalised for the output product; only the rows whose logits are wanted",
    "logits": "[T, V], of the same rows",
}
"""Every place, in the order of the computation, with its shape. Layers give all but the outer four."""

OUTSIDE = -1
"""The layer of what passes outside the layers."""

See: TypeAlias = Callable[[Place, int, Tensor], None]
"""Hears place, layer (from 0) and values: part of a running computation, to be copied but not changed."""

Tell: TypeAlias = Callable[[Place, Tensor], None]


@contextmanager
def probing(
    llama: Llama, see: See, layers: Container[int] | None = None, *, row: int | None = None
) -> Iterator[None]:
    """Work during which `see` hears what passes; whatever happens, the network is afterwards as before.

    Args:
        llama: whose modules are listened to, whoever calls them.
        see: is called in the middle of the forward; an exception in it ends the forward.
        layers: those that are told; all where none are named. Attention runs in single steps in all.
        row: the only new position that attends, T being 1 in what is told of that; the others gather nothing,
            so what comes out of the layer is of no use. Of 2,000 positions all take 10 times as long.
    """
    with ExitStack() as undo:
        _listen(undo, llama.embedding, lambda out: see("embedding", OUTSIDE, out))
        _listen(undo, llama.norm, lambda out: see("final_norm", OUTSIDE, out))
        _listen(undo, llama.head, lambda out: see("logits", OUTSIDE, out))
        for layer, module in enumerate(llama.blocks):
            block = cast(Block, module)
            is_told = layers is None or layer in layers
            tell = _of_layer(see, layer) if is_told else _nobody
            _swap_attend(undo, block.attention, tell, row)
            if is_told:
                _listen_to_block(undo, block, tell)
        yield


def attend_in_steps(
    q_THK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, mask_TS: Tensor | None, tell: Tell
) -> Tensor:
    """What `model.attend` gives, [T, H, K], in single steps and f32, which are told.

    One group of heads after the other, so that S × T numbers of R heads are the most there is at a time.
    """
    (_, h, k), g = q_THK.shape, len(keys_GSK)
    tell("q_rope", q_THK)
    tell("k_rope", keys_GSK)
    tell("v_cached", values_GSK)
    out_GRTK = []
    for q_TRK, keys_SK, values_SK in zip(q_THK.float().split(h // g, 1), keys_GSK, values_GSK, strict=True):
        scores_RTS = q_TRK.transpose(0, 1) @ keys_SK.float().T * k**-0.5
        tell("scores", scores_RTS)
        masked_RTS = scores_RTS if mask_TS is None else scores_RTS + mask_TS.float()
        tell("masked", masked_RTS)
        weights_RTS = masked_RTS.softmax(-1)
        tell("weights", weights_RTS)
        out_RTK = weights_RTS @ values_SK.float()
        tell("heads", out_RTK)
        out_GRTK.append(out_RTK)
    return torch.cat(out_GRTK).transpose(0, 1).to(q_THK.dtype)


def _swap_attend(undo: ExitStack, attention: Attention, tell: Tell, row: int | None) -> None:
    def attend(q_THK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, mask_TS: Tensor | None) -> Tensor:
        if row is None:
            return attend_in_steps(q_THK, keys_GSK, values_GSK, mask_TS, tell)
        mask_1S = None if mask_TS is None else mask_TS[row][None]
        out_1HK = attend_in_steps(q_THK[row][None], keys_GSK, values_GSK, mask_1S, tell)
        out_THK = torch.zeros_like(q_THK)
        out_THK[row] = out_1HK[0]
        return out_THK

    undo.callback(setattr, attention, "attend", attention.attend)
    attention.attend = attend


def _listen_to_block(undo: ExitStack, block: Block, tell: Tell) -> None:
    attention = block.attention
    _listen_to_input(undo, block, lambda x_TD: tell("layer_input", x_TD))
    _listen(undo, block.attention_norm, lambda out: tell("attention_norm", out))
    _listen(undo, attention.qkv, lambda out: _tell_qkv(attention, out, tell))
    _listen(undo, attention.output, lambda out: tell("attention_output", out))
    _listen_to_input(undo, block.ffn_norm, lambda x_TD: tell("residual_attention", x_TD))
    _listen(undo, block.ffn_norm, lambda out: tell("ffn_norm", out))
    _listen_to_ffn(undo, block.ffn, tell)
    _listen(undo, block, lambda out: tell("residual", out))


def _listen_to_ffn(undo: ExitStack, ffn: FeedForward, tell: Tell) -> None:
    def tell_both(out_TN: Tensor) -> None:
        gate_TF, up_TF = out_TN.chunk(2, dim=-1)
        tell("gate", gate_TF)
        tell("up", up_TF)

    _listen(undo, ffn.gate_up, tell_both)
    _listen_to_input(undo, ffn.down, lambda x_TF: tell("ffn_hidden", x_TF))
    _listen(undo, ffn.down, lambda out: tell("ffn_output", out))


def _tell_qkv(attention: Attention, out_TN: Tensor, tell: Tell) -> None:
    h, g = attention.n_heads, attention.n_kv_heads
    heads = out_TN.view(len(out_TN), h + 2 * g, attention.head_dim)
    tell("q", heads[:, :h])
    tell("k", heads[:, h : h + g])
    tell("v", heads[:, h + g :])


def _of_layer(see: See, layer: int) -> Tell:
    return lambda place, values: see(place, layer, values)


def _nobody(place: Place, values: Tensor) -> None:
    del place, values


def _listen(undo: ExitStack, module: nn.Module, hear: Callable[[Tensor], None]) -> None:
    """Hear what the module gives."""

    def hook(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        hear(out)

    undo.callback(module.register_forward_hook(hook).remove)


def _listen_to_input(undo: ExitStack, module: nn.Module, hear: Callable[[Tensor], None]) -> None:
    """Hear what the module is given first."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        hear(inputs[0])

    undo.callback(module.register_forward_pre_hook(hook).remove)
