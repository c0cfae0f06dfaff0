"""Whether a long conversation answers as soon as a short one: `python tests/bench_turns.py MODEL.gguf`.

A chat of `--turns` turns with equally long new text in each, as the chat builds its prompts: the median over
`--rounds` chats of the seconds from the question to the first token, in turn 2, in the middle and at the end,
the part of it that goes into the prompt (template and tokens), and how many tokens were computed anew. The
goal is a ratio of at most 1.2 between turn 20 and turn 2.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from llama_chat.conversation import Conversation, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.events import Finished, LiveSampling, Prefilled, Sampling, Token
from llama_chat.settings import ModelSettings
from llama_chat.turn import build_prompt

QUESTION = "And what did the fox say to the river about the weather of that day, and why?"
NEW_TOKENS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    engine = load_engine(given.model, ModelSettings())
    rounds = [chat(engine, given.turns, seed) for seed in range(given.rounds + 1)][1:]
    medians = [
        [statistics.median(one[turn][part] for one in rounds) for part in range(4)]
        for turn in range(given.turns)
    ]
    print("turn  first token, ms  of it the prompt  new tokens  all tokens")
    for turn in sorted({1, 4, 9, given.turns - 1}):
        first_s, prompt_s, new, whole = medians[turn]
        print(f"{turn + 1:4}  {1e3 * first_s:15.1f}  {1e3 * prompt_s:16.1f}  {new:10.0f}  {whole:10.0f}")
    # Single turns differ by what else the machine does: the three around each end are taken together.
    early, late = (statistics.median(row[0] for row in rows) for rows in (medians[1:4], medians[-3:]))
    print(f"turns 2 to 4 against the last three: {late / early:.2f}")


def chat(engine: LocalEngine, turns: int, seed: int) -> list[tuple[float, float, int, int]]:
    """Of every turn: seconds to the first token, seconds of building the prompt; tokens computed, and all."""
    conversation, found = Conversation(), []
    sampling = Sampling(temperature=0.7, max_new_tokens=NEW_TOKENS)
    for turn in range(turns):
        started = time.perf_counter()
        conversation.append(Role.USER, QUESTION)
        prompt = build_prompt(
            engine, conversation.path(), date="2026-11-22", max_new_tokens=sampling.max_new_tokens
        )
        prompt_s = time.perf_counter() - started
        text, first_s, new = "", 0.0, 0
        for event in engine.stream(prompt.pieces, sampling=LiveSampling(sampling), seed=100 * seed + turn):
            if isinstance(event, Prefilled):
                new = event.prompt_tokens - event.reused_tokens
            elif isinstance(event, Token | Finished):
                first_s = first_s or time.perf_counter() - started
                text += event.text
        found.append((first_s, prompt_s, new, prompt.tokens))
        conversation.append(Role.ASSISTANT, text, reply=Reply(seed, sampling, model=engine.info.name))
    return found


if __name__ == "__main__":
    main()
