"""Decode speed of the from-scratch engine against transformers in bf16, taking turns in one process.

Usage: python tests/bench_decode.py MODEL.gguf [--threads N] [--rounds N] [--prompt N] [--new N]

Prints a table, then one line of JSON. Machines drift, so only the ratio counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers_peer import build_peer

import llama_chat.engine.reply as loop
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Finished, Ids, LiveSampling, Sampling
from llama_chat.settings import ModelSettings

SAMPLED = Sampling(temperature=0.7, top_k=40)


def main() -> None:
    options = _options()
    engine = load_engine(options.model, ModelSettings(threads=options.threads))
    peer = build_peer(options.model, torch.bfloat16)
    prompt = list(range(1000, 1000 + options.prompt))
    contenders: dict[str, Callable[[], float]] = {
        "llama-chat, greedy": lambda: decode_s(engine, prompt, options.new, Sampling(temperature=0)),
        "llama-chat, sampled": lambda: decode_s(engine, prompt, options.new, SAMPLED),
        "transformers bf16, greedy": lambda: transformers_decode_s(peer, prompt, options.new),
    }
    tok_per_s: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            tok_per_s[name].append((options.new - 1) / run())
    medians = {name: statistics.median(rates) for name, rates in tok_per_s.items()}
    for name, rate in medians.items():
        print(f"{name:28}{rate:8.1f} tok/s   {[round(r, 1) for r in tok_per_s[name]]}")
    ratio = medians["llama-chat, greedy"] / medians["transformers bf16, greedy"]
    print(f"{'ratio of the greedy ones':28}{ratio:8.2f}")
    split = token_split_ms(engine, prompt, options.new)
    for part, ms in split.items():
        print(f"{part + ', ms a token':28}{ms:8.2f}   {ms / sum(split.values()):5.1%}")
    print(json.dumps({"decode_tok_per_s": medians, "ratio": ratio, "token_ms": split}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    for name, default in (("threads", 2), ("rounds", 3), ("prompt", 128), ("new", 96)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def decode_s(engine: LocalEngine, prompt: list[int], new_tokens: int, sampling: Sampling) -> float:
    """Seconds for all tokens but the first, until each was given out."""
    wanted = LiveSampling(sampling)
    wanted.change(max_new_tokens=new_tokens)
    *_, last = engine.stream([Ids(tuple(prompt))], sampling=wanted, seed=1)
    assert isinstance(last, Finished), last
    assert last.usage.new_tokens == new_tokens, "it ended early; take another prompt"
    return last.timings.decode_s


@torch.inference_mode()
def transformers_decode_s(model: Any, prompt: list[int], new_tokens: int) -> float:
    """The same by transformers, without the cost of its `generate`: one forward and one argmax a token."""
    out = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    started = time.perf_counter()
    for _ in range(new_tokens - 1):
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        token.item()
    return time.perf_counter() - started


def token_split_ms(engine: LocalEngine, prompt: list[int], new_tokens: int) -> dict[str, float]:
    """Where one token's time goes, as sampled in the chat."""
    spent = {"forward": 0.0, "sampler": 0.0}
    with _timed(engine.network, "forward", spent, "forward"), _timed(loop, "choose", spent, "sampler"):
        engine.live.rewind(0)
        decode_s(engine, prompt, 1, SAMPLED)  # the prefill, so that only steps are counted below
        spent.update(forward=0.0, sampler=0.0)
        whole = decode_s(engine, prompt, new_tokens, SAMPLED)
    # One forward and one choice a token; the time until the first token is not in `whole`.
    token_ms = {part: 1000 * s / new_tokens for part, s in spent.items()}
    return token_ms | {"rest": max(0.0, 1000 * whole / (new_tokens - 1) - sum(token_ms.values()))}


@contextmanager
def _timed(owner: Any, name: str, spent: dict[str, float], part: str) -> Iterator[None]:
    original = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent[part] += time.perf_counter() - started

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, original)


if __name__ == "__main__":
    main()
