"""Weights that hold values that are no numbers, by name."""

from __future__ import annotations

from llama_chat.engine.files.checkpoint import Checkpoint

_SLICE_ROWS = 4096


def bad_tensors(checkpoint: Checkpoint, most: int = 8) -> list[str]:
    """A line for each tensor with NaN or infinity in it, `most` of them; reads the whole file."""
    found = []
    for name, stored in checkpoint.tensors.items():
        bad = sum(
            int((~checkpoint.values(name, start, start + _SLICE_ROWS).isfinite()).sum())
            for start in range(0, stored.shape[0], _SLICE_ROWS)
        )
        checkpoint.forget(name)
        if bad:
            found.append(f"{stored.source_name or name}: {bad:,} values are no numbers")
        if len(found) == most:
            break
    return found
