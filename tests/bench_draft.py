"""What drafting gains: decode speed with it and without, taking turns in one process.

Usage: python tests/bench_draft.py MODEL [--draft MODEL] [--threads N] [--rounds N] [--new N] [--own-text]

One task quotes its input (a function to be rewritten with one name changed), the others are open chat. The
default model is too small to follow the first: it says what it likes. So that what a better model would
answer is measured too, the reply of `quotes` is dictated: the loop computes, drafts and chooses as always,
and then the expected token takes the place of the chosen one. `--own-text` leaves the reply to the model.

Prints a table, then one line of JSON. Machines drift, so only the ratios count.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

import llama_chat.engine.reply as loop
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.sampler import Choice
from llama_chat.events import Finished, LiveSampling, Piece, Sampling, Special, Text
from llama_chat.settings import ModelSettings

FUNCTION = '''\
def read_table(path, separator=",", header=True):
    """Rows of a text file as dictionaries, or as lists where there is no header."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\\n")
            if not line or line.startswith("#"):
                continue
            cells = [cell.strip() for cell in line.split(separator)]
            if rows and len(cells) != len(rows[0]):
                raise ValueError(f"line {number} has {len(cells)} cells instead of {len(rows[0])}")
            rows.append(cells)
    if not header:
        return rows
    names = rows.pop(0)
    return [dict(zip(names, cells)) for cells in rows]
'''
QUOTING = f"Rewrite this function with `rows` renamed to `records`:\n\n```python\n{FUNCTION}```"
REWRITTEN = f"```python\n{FUNCTION.replace('rows', 'records')}```"
OPEN = (
    "Why is the sky blue?",
    "Tell me a story about a llama that learned to sing.",
    "Give me some advice for a first trip to the mountains.",
)


@dataclass(frozen=True)
class Task:
    name: str
    prompt: str
    reply: str
    """What is dictated; empty: the model's own."""


@dataclass(frozen=True)
class Run:
    tok_per_s: float
    drafted: int
    accepted: int
    tokens: int


def main() -> None:
    options = _options()
    engine = load_engine(options.model, ModelSettings(threads=options.threads, draft=options.draft))
    drafting = engine.drafting
    tasks = [Task("quotes its input", QUOTING, "" if options.own_text else REWRITTEN)]
    tasks += [Task(f"open chat {n}", prompt, "") for n, prompt in enumerate(OPEN, 1)]
    results: dict[str, dict[str, list[Run]]] = {task.name: {"plain": [], "draft": []} for task in tasks}
    for number in range(options.rounds):
        for task in tasks:
            for how in ("plain", "draft") if number % 2 == 0 else ("draft", "plain"):
                engine.drafting = drafting if how == "draft" else None
                results[task.name][how].append(run(engine, task, options.new, seed=number))
    print(f"{'':20}{'plain':>10}{'drafting':>10}{'ratio':>8}   kept of drafted (last round)")
    summary = {}
    for name, of in results.items():
        plain, draft = (statistics.median(each.tok_per_s for each in of[how]) for how in ("plain", "draft"))
        ratio = statistics.median(
            b.tok_per_s / a.tok_per_s for a, b in zip(of["plain"], of["draft"], strict=True)
        )
        last = of["draft"][-1]
        kept = f"{last.accepted} of {last.drafted}, {last.tokens} tokens"
        print(f"{name:20}{plain:10.1f}{draft:10.1f}{ratio:8.2f}   {kept}")
        summary[name] = {"plain_tok_per_s": plain, "draft_tok_per_s": draft, "ratio": ratio}
    if drafting is not None:
        known = {rows: round(1000 * s, 2) for rows, s in drafting.costs.known().items()}
        print(f"ms of a forward by rows: {known}")
    engine.drafting = drafting
    engine.close()
    print(json.dumps(summary))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--draft", default="auto")
    parser.add_argument("--own-text", action="store_true")
    for name, default in (("threads", 2), ("rounds", 3), ("new", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def run(engine: LocalEngine, task: Task, new_tokens: int, seed: int) -> Run:
    ids = engine.tokenizer.encode(task.reply) if task.reply else []
    sampling = Sampling(temperature=0.7, top_k=40, max_new_tokens=len(ids) or new_tokens)
    with dictated(ids):
        *_, last = engine.stream(_chat(task.prompt), sampling=LiveSampling(sampling), seed=seed)
    assert isinstance(last, Finished), last
    usage = last.usage
    rate = last.timings.decode_tok_per_s(usage.new_tokens)
    return Run(rate, usage.drafted_tokens, usage.accepted_tokens, usage.new_tokens)


@contextmanager
def dictated(ids: list[int]) -> Iterator[None]:
    """Meanwhile these tokens take the place of those that the sampler chooses."""
    chosen = loop.choose

    def choose(logits_V: Tensor, sampling: Sampling, *, seed: int, index: int, seen_ids: object) -> Choice:
        choice = chosen(logits_V, sampling, seed=seed, index=index, seen_ids=seen_ids)  # type: ignore[arg-type]  # as `choose` has them
        return replace(choice, token_id=ids[index]) if index < len(ids) else choice

    loop.choose = choose  # type: ignore[assignment]  # dictates the reply
    try:
        yield
    finally:
        loop.choose = chosen


def _chat(prompt: str) -> list[Piece]:
    start, end = Special("<|im_start|>"), Special("<|im_end|>")
    return [start, Text(f"user\n{prompt}"), end, Text("\n"), start, Text("assistant\n")]


if __name__ == "__main__":
    main()
