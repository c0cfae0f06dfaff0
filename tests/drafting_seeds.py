"""How many replies differ with drafting, over many seeds: near ties, where several rows round otherwise.

Usage: python tests/drafting_seeds.py MODEL [--seeds N] [--new N] [--threads N] [--dtype D]

Drafts are computed whether they pay or not, so that many forwards of several rows are in each reply. For a
reply that differs it prints where, how far the two tokens were apart, and whether that is a near tie. Then
one line of JSON; the status is 1 where one differs that was no near tie.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drafted_kill import cheap
from near_ties import choices_of, parting_of

from llama_chat.engine.drafting.drafting import Drafting
from llama_chat.engine.drafting.lookup import Lookup
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import LiveSampling, Piece, Sampling, Special, Text
from llama_chat.paths import user_paths
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
    near_ties: int = 0
    """Replies that differ by one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    for name, default in (("seeds", 100), ("new", 64), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    settings = ModelSettings(threads=options.threads, dtype=options.dtype, draft="off")
    engine = load_engine(options.model, settings, cache_folder=user_paths().cache)
    engine.build_step(waits=True)
    counts = compare(engine, range(options.seeds), options.new)
    print(f"decode steps: {engine.step_name}")
    engine.close()
    print(
        f"{counts.differing} of {counts.replies} replies differ, {counts.near_ties} of them by a near tie; "
        f"{counts.accepted} of {counts.drafted} drafted tokens kept, {counts.tokens} tokens"
    )
    print(json.dumps(vars(counts)))
    sys.exit(counts.differing > counts.near_ties)


def compare(engine: LocalEngine, seeds: range, new_tokens: int) -> Counts:
    """Each seed's reply without drafting against that with it."""
    counts = Counts()
    for seed in seeds:
        plain = reply(engine, seed, new_tokens, None)
        drafted = reply(engine, seed, new_tokens, always_drafting())
        usage = drafted[-1].usage
        counts.replies += 1
        counts.tokens += usage.new_tokens
        counts.drafted += usage.drafted_tokens
        counts.accepted += usage.accepted_tokens
        parting = parting_of(choices_of(plain), choices_of(drafted), SAMPLED, seed)
        if parting is not None:
            counts.differing += 1
            counts.near_ties += parting.is_near
            counts.largest_margin = max(counts.largest_margin, parting.logits)
            print(f"seed {seed}: {parting}", flush=True)
    return counts


class BoldLookup(Lookup):
    """One that believes in every match; its drafts are never on paper only, since they seem to cost time."""

    seconds_a_token = 1e-9

    def chances(self, most: int) -> list[float]:
        return [0.95] * len(super().chances(most))


def always_drafting() -> Drafting:
    """By lookup, as if several rows took hardly more than one."""
    return cheap(BoldLookup())


def reply(engine: LocalEngine, seed: int, new_tokens: int, drafting: Drafting | None) -> list[Any]:
    """The events of one reply."""
    start, end = Special("<|im_start|>"), Special("<|im_end|>")
    pieces: list[Piece] = [start, Text(f"user\n{PROMPT}"), end, Text("\n"), start, Text("assistant\n")]
    engine.drafting = drafting
    engine.live.rewind(
        0
    )  # else the last id goes alone where the prompt is there already, and rounds otherwise
    sampling = LiveSampling(SAMPLED)
    sampling.change(max_new_tokens=new_tokens)
    return list(engine.stream(pieces, sampling=sampling, seed=seed))


if __name__ == "__main__":
    main()
