"""How many replies differ with drafting, over many seeds: near ties, where several rows round otherwise.

Usage: python tests/drafting_seeds.py MODEL [--seeds N] [--new N] [--threads N] [--dtype D]

Drafts are computed whether they pay or not, so that many forwards of several rows are in each reply. For a
reply that differs it prints where, and how far the two tokens were apart. Then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from llama_chat.engine.drafting.drafting import Drafting
from llama_chat.engine.drafting.lookup import Lookup
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Finished, LiveSampling, Piece, Sampling, Special, Text, Token
from llama_chat.rerun.margin import Draw, margin_of
from llama_chat.settings import ModelSettings

PROMPT = "Repeat after me, three times: the llama walks up the hill, and down the hill walks the llama."
SAMPLED = Sampling(temperature=0.8, top_k=40)


@dataclass
class Counts:
    replies: int = 0
    differing: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    largest_margin: float = 0.0
    """Logits between the two tokens where a reply first differs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    for name, default in (("seeds", 100), ("new", 64), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    engine = load_engine(options.model, ModelSettings(threads=options.threads, dtype=options.dtype))
    counts = compare(engine, range(options.seeds), options.new)
    engine.close()
    print(json.dumps(vars(counts)))


def compare(engine: LocalEngine, seeds: range, new_tokens: int) -> Counts:
    """Each seed's reply without drafting against that with it."""
    counts = Counts()
    for seed in seeds:
        plain, _ = reply(engine, seed, new_tokens, None)
        drafted, usage = reply(engine, seed, new_tokens, always_drafting())
        counts.replies += 1
        counts.tokens += len(plain)
        counts.drafted += usage.usage.drafted_tokens
        counts.accepted += usage.usage.accepted_tokens
        places = (n for n, (a, b) in enumerate(zip(plain, drafted, strict=False)) if a.token_id != b.token_id)
        place = next(places, None)
        if place is not None:
            one, other = plain[place], drafted[place]
            margin = margin_of(one, other.token_id, other.logprob, Draw(SAMPLED, seed, place)).logits
            counts.differing += 1
            counts.largest_margin = max(counts.largest_margin, margin)
            print(f"seed {seed}: token {place}: {one.piece!r} {other.piece!r}, {margin:.3f} logits apart")
        elif len(plain) != len(drafted):
            counts.differing += 1
            print(f"seed {seed}: one of them ended after {min(len(plain), len(drafted))} tokens")
    return counts


class BoldLookup(Lookup):
    """One that believes in every match; its drafts are never on paper only, since they seem to cost time."""

    seconds_a_token = 1e-9

    def chances(self, most: int) -> list[float]:
        return [0.95] * len(super().chances(most))


def always_drafting() -> Drafting:
    """By lookup, as if several rows took hardly more than one."""
    drafting = Drafting(BoldLookup())
    for _ in range(3):
        drafting.costs.note(1, 1.0)
    drafting.costs.note = lambda rows, seconds: None  # type: ignore[method-assign]  # drafts whatever it costs
    drafting.costs.begin = lambda computed_by: None  # type: ignore[method-assign]  # likewise
    return drafting


def reply(
    engine: LocalEngine, seed: int, new_tokens: int, drafting: Drafting | None
) -> tuple[list[Token], Finished]:
    """The tokens of one reply; the prompt's part of the cache is used again, and nothing else."""
    start, end = Special("<|im_start|>"), Special("<|im_end|>")
    pieces: list[Piece] = [start, Text(f"user\n{PROMPT}"), end, Text("\n"), start, Text("assistant\n")]
    engine.drafting = drafting
    engine.live.rewind(len(engine.encode(pieces)) - 1)
    sampling = LiveSampling(SAMPLED)
    sampling.change(max_new_tokens=new_tokens)
    *events, last = engine.stream(pieces, sampling=sampling, seed=seed)
    assert isinstance(last, Finished), last
    return [event for event in events if isinstance(event, Token)], last


if __name__ == "__main__":
    main()
