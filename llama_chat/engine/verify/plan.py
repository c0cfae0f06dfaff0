"""Which positions are compared, and which are left out, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.engine.config import LlamaConfig
from llama_chat.units import about_bytes

USUAL_POSITIONS = (1, 512, 2048, 8192, 16_384, 32_768, 65_536, 131_072)
MAX_USUAL_S = 20.0
"""What one network may take for the positions that nobody asked for; there are up to four of them."""
_F32_BYTES = 4
_ROOM = 256 << 20
"""For what a forward computes."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was not compared."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Where both engines are asked."""

    positions: tuple[int, ...]
    left_out: tuple[LeftOut, ...]


def plan_positions(
    asked: Sequence[int], context: int, config: LlamaConfig, tok_per_s: float, free_bytes: int | None
) -> Plan:
    """The positions that fit the context, the memory and, where nobody named them, the time.

    Args:
        asked: by the user; none: the usual ones.
        context: tokens that the network takes.
        config: the model's sizes.
        tok_per_s: measured over a short text.
        free_bytes: beside the loaded weights; None where nobody knows.
    """
    kept, left_out = [], []
    for position in sorted(set(asked)) or [p for p in USUAL_POSITIONS if p <= context]:
        why = _why_not(position, bool(asked), context, config, tok_per_s, free_bytes)
        if why:
            left_out.append(LeftOut(f"position {position:,}", why))
        else:
            kept.append(position)
    return Plan(tuple(kept), tuple(left_out))


def _why_not(
    position: int, is_asked: bool, context: int, config: LlamaConfig, tok_per_s: float, free_bytes: int | None
) -> str:
    if position > context:
        return f"the context has {context:,} tokens"
    # The library joins old and new keys at every step: for a moment a layer is there twice.
    needed = int(config.kv_values_per_token * position * _F32_BYTES * (1 + 1 / config.n_layers)) + _ROOM
    if free_bytes is not None and needed > free_bytes:
        return f"its keys and values need {about_bytes(needed)}, {about_bytes(free_bytes)} are free"
    seconds = position / tok_per_s
    if not is_asked and seconds > MAX_USUAL_S:
        return f"would take {seconds:,.0f} s or more in each network; ask for it with --positions {position}"
    return ""
