"""How soon a fork has its first new token, in single decode steps of the same run.

Usage: python tests/bench_fork.py MODEL.gguf [--threads N] [--rounds N] [--turns N] [--new N]

A chat of several turns, a reply of `--new` tokens, and then forks in the middle of that: the prefix is in the
live cache. "fork" is from the call of `stream` to the first new token; "with its prompt" counts the template,
too, as the chat has it. A step is the median of the steps of the reply and of the branches. The goal is 1.5.
Prints one line a figure, then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from llama_chat.compute_plan import cut
from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Event, Finished, LiveSampling, Prefilled, Sampling, Token
from llama_chat.settings import ModelSettings
from llama_chat.turn import build_prompt

DATE, SEED = "2026-11-22", 7
QUESTION = "Tell me a long story about the fox, the river, and what they said to each other in the evening."
STEPS_A_FORK = 8


def main() -> None:
    options = _options()
    engine = load_engine(options.model, ModelSettings(threads=options.threads))
    path = talk(options.turns)
    sampling = LiveSampling(Sampling(temperature=0.7, top_k=40, max_new_tokens=options.new))
    events = list(_run(engine, path, sampling))
    tokens = [event for event in events if isinstance(event, Token)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    steps_s = [token.seconds for token in tokens[1:]]
    prompt_tokens = next(event.prompt_tokens for event in events if isinstance(event, Prefilled))
    forks_s: list[float] = []
    prompts_s: list[float] = []
    for number in range(options.rounds):
        index = len(tokens) * 3 // 4 - number  # each one within what the one before has left in the cache
        other = next(c.token_id for c in tokens[index].candidates if c.token_id != tokens[index].token_id)
        ids = [*(token.token_id for token in tokens[:index]), other]
        started = time.perf_counter()
        pieces = build_prompt(engine, path, date=DATE, max_new_tokens=options.new).pieces
        prompts_s.append(time.perf_counter() - started)
        sampling.change(max_new_tokens=index + STEPS_A_FORK)
        started = time.perf_counter()
        branch = engine.stream(
            pieces,
            sampling=sampling,
            seed=SEED,
            forced_ids=ids,
            plan=cut(finished.plan, prompt_tokens + index).forwards,
        )
        new = [event for event in _timed_first(branch, started, forks_s) if isinstance(event, Token)]
        steps_s += [token.seconds for token in new[1:]]
    step_s = statistics.median(steps_s)
    fork_s, prompt_s = statistics.median(forks_s), statistics.median(prompts_s)
    figures = {
        "prompt_tokens": prompt_tokens,
        "step_ms": 1000 * step_s,
        "fork_ms": 1000 * fork_s,
        "ratio": fork_s / step_s,
        "ratio_with_prompt": (fork_s + prompt_s) / step_s,
    }
    print(f"a step, behind {prompt_tokens:,} tokens  {1000 * step_s:8.2f} ms")
    print(f"fork to its first token      {1000 * fork_s:8.2f} ms   {figures['ratio']:.2f} steps")
    whole_ms, whole = 1000 * (fork_s + prompt_s), figures["ratio_with_prompt"]
    print(f"with its prompt              {whole_ms:8.2f} ms   {whole:.2f} steps")
    print(json.dumps(figures))


def talk(turns: int) -> list[Message]:
    """So many questions, all but the last one answered."""
    conversation = Conversation()
    for turn in range(turns):
        conversation.append(Role.USER, QUESTION)
        if turn < turns - 1:
            conversation.append(Role.ASSISTANT, QUESTION * 3, reply=Reply(SEED, Sampling()))
    return conversation.path()


def _run(engine: LocalEngine, path: list[Message], sampling: LiveSampling) -> list[Event]:
    prompt = build_prompt(engine, path, date=DATE, max_new_tokens=sampling.current.max_new_tokens)
    return list(engine.stream(prompt.pieces, sampling=sampling, seed=SEED))


def _timed_first(events, started: float, into: list[float]):  # type: ignore[no-untyped-def]  # events through
    is_first = True
    for event in events:
        if is_first and isinstance(event, Token):
            is_first = False
            into.append(time.perf_counter() - started)
        yield event


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    for name, default in (("threads", 2), ("rounds", 15), ("turns", 4), ("new", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
