"""What the fast path costs in quality: its logits against those of the same weights in f32.

Shapes: T tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.benchmarks.records import Quality
from llama_chat.engine.bench.quality_text import QUALITY_TEXT, QUALITY_TOKENS
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.network import Network
from llama_chat.errors import ModelError

CHUNK = 256
"""Tokens of a forward: two sets of f32 logits of a vocabulary of 128,256 take 260 MB."""

STEPS = 128
"""Tokens that go one by one besides: other kernels compute those."""

_ROWS_AT_ONCE = 16  # in f64: 1 MB a row


def measure_quality(
    fast: LocalEngine, exact: LocalEngine, tell: Callable[[str], None] = lambda _: None
) -> Quality:
    """KL and perplexity over the fixed text, as far as it fits the context.

    Both networks are in memory together and read the text chunk by chunk: of the logits of 2,000 tokens
    only those of a chunk are ever there.

    Args:
        fast: as it is measured.
        exact: the same weights in f32.
        tell: hears how far it is.

    Raises:
        ModelError: the text has fewer than two tokens.
    """
    ids = fast.tokenizer.encode(QUALITY_TEXT)[: min(QUALITY_TOKENS, fast.info.context_length)]
    if len(ids) < 2:
        raise ModelError(f"{fast.info.name}: the text for the quality has no tokens in its vocabulary.")
    with fast.replying():
        return compare_logits(exact.network, fast.network, ids, tell)


@torch.inference_mode()
def compare_logits(
    exact: Network, fast: Network, ids: Sequence[int], tell: Callable[[str], None] = lambda _: None
) -> Quality:
    """The figures of one network against another over the ids, at least two."""
    caches = LiveCache(exact), LiveCache(fast)
    all_rows, steps = Sums(), Sums()
    exact_logprobs = fast_logprobs = 0.0
    for at in range(0, len(ids), CHUNK):
        tell(f"quality: {at:,} of {len(ids):,} tokens")
        part, targets = ids[at : at + CHUNK], ids[at + 1 : at + CHUNK + 1]
        exact_TV, fast_TV = (_extend(cache, part, "prefill") for cache in caches)
        all_rows.add(exact_TV, fast_TV)
        exact_logprobs += _logprobs(exact_TV, targets)
        fast_logprobs += _logprobs(fast_TV, targets)
        if at + CHUNK >= len(ids):
            count = min(STEPS, len(part) - 1)
            tell(f"quality: {count:,} tokens one by one")
            steps = _by_steps(caches[1], ids, exact_TV, count)
    scored = len(ids) - 1
    return Quality(
        tokens=len(ids),
        mean_kl=all_rows.mean_kl,
        step_tokens=steps.rows,
        step_mean_kl=steps.mean_kl,
        perplexity=math.exp(-fast_logprobs / scored),
        f32_perplexity=math.exp(-exact_logprobs / scored),
        top1_share=all_rows.same / all_rows.rows,
    )


@dataclass(slots=True)
class Sums:
    """Over rows of logits."""

    rows: int = 0
    kl: float = 0.0
    same: int = 0
    """Rows with the same likeliest token."""

    @property
    def mean_kl(self) -> float:
        """Nats a row; rounding leaves none below 0."""
        return max(0.0, self.kl / self.rows) if self.rows else 0.0

    def add(self, exact_TV: Tensor, fast_TV: Tensor) -> None:
        """Count these rows, too."""
        for exact, fast in zip(exact_TV.split(_ROWS_AT_ONCE), fast_TV.split(_ROWS_AT_ONCE), strict=True):
            p, q = exact.double().log_softmax(-1), fast.double().log_softmax(-1)
            self.kl += float((p.exp() * (p - q)).sum())
            self.same += int((p.argmax(-1) == q.argmax(-1)).sum())
        self.rows += len(exact_TV)


def _by_steps(cache: LiveCache, ids: Sequence[int], exact_TV: Tensor, count: int) -> Sums:
    """The last ids once more, one at a time."""
    sums, first = Sums(), len(ids) - count
    kept = cache.rewind(first)
    if kept < first:  # a cache that cannot be cut
        cache.extend(ids[kept:first], "none", "prefill")
    for token_id, exact_V in zip(ids[first:], exact_TV[len(exact_TV) - count :], strict=True):
        sums.add(exact_V[None], _extend(cache, [token_id], "step"))
    return sums


def _extend(cache: LiveCache, ids: Sequence[int], kind: str) -> Tensor:
    """The logits after each of the ids, f32 [T, V] on the CPU; of one id as a reply computes them."""
    is_step = kind == "step"
    logits = cache.extend(ids, "last" if is_step else "all", kind)
    assert logits is not None
    return (logits[None] if is_step else logits).cpu()


def _logprobs(logits_TV: Tensor, targets: Sequence[int]) -> float:
    """The sum over the rows that have a target; the last of the text has none."""
    if not targets:
        return 0.0
    rows_TV = logits_TV[: len(targets)].double()
    chosen = rows_TV.gather(1, torch.tensor(targets)[:, None])[:, 0]
    return float((chosen - rows_TV.logsumexp(-1)).sum())
