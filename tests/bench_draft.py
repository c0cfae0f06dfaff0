"""What drafting gains: decode speed with it and without, taking turns in one process.

Usage: python tests/bench_draft.py MODEL [--draft MODEL] [--threads N] [--rounds N] [--new N] [--own-text]

One task quotes its input (a function to be rewritten with one name changed), the others are open chat. The
default model is too small to follow the first: it says what it likes. So that what a better model would
answer is measured too, the reply of `quotes` is dictated: the loop computes, drafts and chooses as always,
and then the expected token takes the place of the chosen one. `--own-text` leaves the reply to the model.

Machines drift, so only ratios count, and those in two ways:

- timed: of each pair of replies, one with drafting and one without right after the other, in turns which is
  first; the median of the pairs, between their quartiles;
- counted: by the forwards that the reply took, each at the price of its rows (measured in turns with steps),
  and the time that the bookkeeping takes. Nothing in it depends on when the replies ran.

A reply that differs with drafting is shown with how far the two tokens were apart: a near tie, or not. Prints
tables, a verdict on each goal, and one line of JSON; the status is 1 where a reply differs by more than that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from near_ties import Parting, choices_of, parting_of
from torch import Tensor

import llama_chat.engine.reply as loop
from llama_chat.compute_plan import drafted_forwards
from llama_chat.engine.drafting.drafting import ROWS, Drafting
from llama_chat.engine.drafting.lookup import Lookup
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.sampler import Choice
from llama_chat.events import Finished, LiveSampling, Piece, Sampling, Special, Text, Token
from llama_chat.paths import user_paths
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
    "What is the difference between a virus and a bacterium?",
    "Write a short letter to a friend who moved to another town.",
    "How does a bicycle stay upright?",
)
QUOTES = "quotes its input"
PRICE_PAIRS = 15
GOALS = ((QUOTES, 1.6), ("open chat", 0.97))


@dataclass(frozen=True)
class Task:
    name: str
    prompt: str
    reply: str = ""
    """What is dictated; empty: the model's own."""


@dataclass(frozen=True)
class Run:
    tok_per_s: float
    finished: Finished
    choices: list[Token]

    @property
    def rows(self) -> list[int]:
        """Of each forward of several rows."""
        usage = self.finished.usage
        return [f.rows for f in drafted_forwards(self.finished.plan.forwards, usage.prompt_tokens)]


@dataclass
class Found:
    """What was measured of one task."""

    ratios: list[float] = field(default_factory=list)
    plain_tok_per_s: list[float] = field(default_factory=list)
    drafted: list[Run] = field(default_factory=list)
    partings: list[Parting] = field(default_factory=list)

    def counted(self, prices: dict[int, float], overhead: float) -> list[float]:
        """Of each reply: the steps that it would have taken, in what its forwards took.

        Args:
            prices: of a forward by its rows, in steps.
            overhead: of the bookkeeping, in steps a token.
        """
        found = []
        for run in self.drafted:
            usage, rows = run.finished.usage, run.rows
            tokens = usage.new_tokens
            steps = tokens - usage.accepted_tokens - len(rows)
            found.append(tokens / (steps + sum(prices[each] for each in rows) + overhead * tokens))
        return found


def main() -> None:
    options = _options()
    settings = ModelSettings(threads=options.threads, draft=options.draft)
    engine = load_engine(options.model, settings, cache_folder=user_paths().cache)
    engine.build_step(waits=True)
    drafting = engine.drafting
    assert drafting is not None, "--draft off measures nothing"
    tasks = [Task(QUOTES, QUOTING, "" if options.own_text else REWRITTEN)]
    tasks += [Task(f"open chat {n}", prompt) for n, prompt in enumerate(OPEN, 1)]
    found = {task.name: Found() for task in tasks}
    run(engine, tasks[1], 16, seed=0)  # warms up
    for number in range(options.rounds):
        for task in tasks:
            measure_pair(engine, drafting, task, options.new, number, found[task.name])
    engine.drafting = None
    prices, step_s = prices_of(engine)
    overhead = bookkeeping_s(engine) / step_s
    print(f"decode steps: {engine.step_name}; a step {1000 * step_s:.2f} ms")
    print("a forward by its rows, in steps: " + ", ".join(f"{n}: {p:.2f}" for n, p in prices.items()))
    print(f"the bookkeeping of a token: {100 * overhead:.2f} % of a step\n")
    summary = tell(found, prices, overhead)
    engine.drafting = drafting
    engine.close()
    print(json.dumps(summary | {"prices": prices, "bookkeeping": overhead}))
    sys.exit(any(not parting.is_near for of in found.values() for parting in of.partings))


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


# --- measuring ---------------------------------------------------------------------------------------------


def measure_pair(
    engine: LocalEngine, drafting: Drafting, task: Task, new_tokens: int, number: int, found: Found
) -> None:
    """One reply with drafting and the same without, in turns which is first."""
    runs = {}
    for drafts in (True, False) if number % 2 else (False, True):
        engine.drafting = drafting if drafts else None
        runs[drafts] = run(engine, task, new_tokens, seed=number)
    plain, drafted = runs[False], runs[True]
    found.plain_tok_per_s.append(plain.tok_per_s)
    found.ratios.append(drafted.tok_per_s / plain.tok_per_s)
    found.drafted.append(drafted)
    if not task.reply:
        parting = parting_of(plain.choices, drafted.choices, _sampling(new_tokens), number)
        if parting is not None:
            found.partings.append(parting)
            print(f"{task.name}, seed {number}: {parting}", flush=True)


def _sampling(new_tokens: int) -> Sampling:
    return Sampling(temperature=0.7, top_k=40, max_new_tokens=new_tokens)


def run(engine: LocalEngine, task: Task, new_tokens: int, seed: int) -> Run:
    """One reply."""
    ids = engine.tokenizer.encode(task.reply) if task.reply else []
    engine.live.rewind(0)  # so that the prompt is computed in the same forwards, which tells in the last bits
    sampling = LiveSampling(_sampling(len(ids) or new_tokens))
    with dictated(ids):
        events = list(engine.stream(_chat(task.prompt), sampling=sampling, seed=seed))
    last = events[-1]
    assert isinstance(last, Finished), last
    return Run(last.timings.decode_tok_per_s(last.usage.new_tokens), last, choices_of(events))


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


@torch.inference_mode()
def prices_of(engine: LocalEngine) -> tuple[dict[int, float], float]:
    """What forwards of several rows take, in steps, each in turns with steps; and the seconds of a step."""
    live, steps_s = engine.live, []

    def seconds(rows: int) -> float:
        length, ids = len(live.ids), [live.ids[-1]] * rows
        started = time.perf_counter()
        live.extend(ids, "last" if rows == 1 else "all", "step" if rows == 1 else "prefill")
        took = time.perf_counter() - started
        live.rewind(length)
        return took

    prices = {}
    with engine.replying():
        for rows in ROWS:
            seconds(rows)
            pairs = [(seconds(1), seconds(rows)) for _ in range(PRICE_PAIRS)]
            steps_s += [one for one, _ in pairs]
            prices[rows] = statistics.median(several / one for one, several in pairs)
    return prices, statistics.median(steps_s)


def bookkeeping_s(engine: LocalEngine) -> float:
    """Seconds a token that drafting takes where nothing is drafted: the fastest of some rounds."""
    ids, fastest = list(engine.live.ids), float("inf")
    for _ in range(5):
        drafting = Drafting(Lookup())
        drafting.begin(ids, "", lambda *_: 0)
        started = time.perf_counter()
        for token_id in ids:
            drafting.costs.note(1, 0.01)
            drafting.learn(token_id)
            drafting.draft(7)
        fastest = min(fastest, (time.perf_counter() - started) / len(ids))
    return fastest


# --- telling -----------------------------------------------------------------------------------------------


def tell(found: dict[str, Found], prices: dict[int, float], overhead: float) -> dict[str, object]:
    """Print what was found; the same as plain data."""
    print(f"{'':20}{'plain':>8}{'timed':>8}{'quartiles':>14}{'counted':>9}   kept of drafted, of tokens")
    rows: dict[str, list[Found]] = {name: [of] for name, of in found.items()}
    rows["open chat"] = [of for name, of in found.items() if name != QUOTES]
    summary: dict[str, object] = {}
    for name, of in rows.items():
        timed = sorted(ratio for each in of for ratio in each.ratios)
        counted = [ratio for each in of for ratio in each.counted(prices, overhead)]
        usages = [each.finished.usage for part in of for each in part.drafted]
        plain = statistics.median(speed for each in of for speed in each.plain_tok_per_s)
        accepted, drafted = sum(u.accepted_tokens for u in usages), sum(u.drafted_tokens for u in usages)
        tokens = sum(usage.new_tokens for usage in usages)
        low, high = _quartiles(timed)
        print(
            f"{name:20}{plain:8.1f}{statistics.median(timed):8.3f}{f'{low:.3f}-{high:.3f}':>14}"
            f"{statistics.median(counted):9.3f}   {accepted} of {drafted}, {tokens}"
        )
        summary[name] = {
            "plain_tok_per_s": plain,
            "timed": statistics.median(timed),
            "quartiles": [low, high],
            "counted": statistics.median(counted),
            "counted_worst": min(counted),
            "drafted": drafted,
            "accepted": accepted,
        }
    for name, goal in GOALS:
        values = summary[name]
        assert isinstance(values, dict)
        verdicts = {how: "reached" if values[how] >= goal else "MISSED" for how in ("timed", "counted")}
        print(f"goal {goal} on {name}: timed {verdicts['timed']}, counted {verdicts['counted']}")
    partings = [parting for of in found.values() for parting in of.partings]
    near = sum(parting.is_near for parting in partings)
    replies = sum(len(of.ratios) for name, of in found.items() if name != QUOTES)
    print(f"{len(partings)} of {replies} open replies differ with drafting, {near} of them by a near tie")
    return summary | {"differing": len(partings), "near_ties": near}


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


if __name__ == "__main__":
    main()
