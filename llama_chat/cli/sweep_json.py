"""A sweep as one JSON object: settings, replies and figures of every column, distributions of every token."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from itertools import islice
from typing import Any

from llama_chat.distribution.chosen import probability_after, probability_before
from llama_chat.distribution.figures import entropy, surprise_bits
from llama_chat.distribution.names import TokenNames
from llama_chat.events import Engine, Token
from llama_chat.sweep.columns import Variation
from llama_chat.sweep.gathered import ColumnReply, Figures, SweepReplies

_DIGITS = 7


def print_json(replies: SweepReplies, variation: Variation, engine: Engine, candidates: int) -> None:
    """Print it to stdout in one line; numbers that are none are null.

    Args:
        replies: all columns.
        variation: what they differ in.
        engine: that computed them.
        candidates: how many of each choice are told.
    """
    print(json.dumps(as_data(replies, variation, engine, candidates), allow_nan=False), flush=True)


def as_data(replies: SweepReplies, variation: Variation, engine: Engine, candidates: int) -> dict[str, Any]:
    """The object itself."""
    info, prefilled = engine.info, replies.prefilled
    names = TokenNames.of_engine(engine)
    assert prefilled is not None, "nothing was computed"
    return {
        "model": info.name,
        "engine": info.engine,
        "device": info.device,
        "dtype": info.dtype,
        "prompt_tokens": prefilled.prompt_tokens,
        "prefill": _rounded(prefilled.seconds),
        "varied": variation.name,
        "columns": [
            {variation.name: value} | _column(column, names, candidates)
            for value, column in zip(variation.values, replies.columns, strict=True)
        ],
    }


def _column(reply: ColumnReply, names: TokenNames, candidates: int) -> dict[str, Any]:
    return {
        "seed": reply.column.seed,
        "sampling": asdict(reply.column.sampling),
        "text": reply.text,
        "token_ids": [token.token_id for token in reply.tokens],
        "finish_reason": reply.finished.reason if reply.finished else None,
        "error": reply.error.message if reply.error else None,
        "figures": _figures(reply.figures),
        "tokens": [_token(reply, token, names, candidates) for token in reply.tokens],
    }


def _figures(figures: Figures) -> dict[str, Any]:
    found = {field.name: getattr(figures, field.name) for field in fields(figures)}
    found = {
        "mean_probability": found.pop("before"),
        "mean_probability_drawn": found.pop("after"),
        "is_exact": found.pop("is_exact"),
        **found,
    }
    return {name: value if isinstance(value, bool) else _rounded(value) for name, value in found.items()}


def _token(reply: ColumnReply, token: Token, names: TokenNames, count: int) -> dict[str, Any]:
    bars = reply.bars_of(token)
    return {
        "id": token.token_id,
        "name": names.quoted(token.token_id),
        "rank": token.rank,
        "probability": _rounded(probability_before(token)),
        "probability_drawn": _rounded(probability_after(token, bars)),
        "surprise_bits": _rounded(surprise_bits(token.logprob)),
        "entropy_bits": _rounded(entropy(token.candidates).bits),
        "left": bars.left,
        "is_exact": bars.is_exact,
        "candidates": [
            {
                "id": bar.token_id,
                "name": names.quoted(bar.token_id),
                "probability": _rounded(bar.before),
                "probability_drawn": _rounded(bar.after),
                "cut_by": bar.cut_by or None,
            }
            for bar in islice(bars.bars, count)
        ],
    }


def _rounded(value: float) -> float | None:
    """Seven significant digits: what f32 tells."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
