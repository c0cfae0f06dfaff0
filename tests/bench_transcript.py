"""How long the transcript takes; run it by hand: `python tests/bench_transcript.py`.

Every figure is processor time in milliseconds, at 160x48, on the thread of the screen, painting included.
Goals: an append of 4 tokens at most 2 ms at the 99th percentile, the same at 10,000 tokens; `show` of 2,000
messages under 20 ms; finding words in them under 30 ms.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable, Iterator

from textual.app import App, ComposeResult

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.ui.widgets.transcript import Transcript

SENTENCE = "the fox asked a river why it runs and every evening it said nothing at all of course"
WORDS = SENTENCE.split()
random.seed(1)


def words(count: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(count))


def prose() -> str:
    return words(60).replace(" it ", " **it** ", 1) + ".\n\n"


def code() -> str:
    return "".join(f"    value_{n} = call({n}, 'text')  # {words(3)}\n" for n in range(10))


def mixed() -> str:
    fence = f"```python\ndef f(x):\n{code()}```\n\n"
    items = "".join(f"{n}. **{words(2)}**: {words(14)}\n" for n in range(1, 6))
    return f"## {words(4)}\n\n{prose()}{items}\n{fence}| a | b |\n|---|--:|\n| {words(3)} | 1 |\n\n"


KINDS: dict[str, tuple[str, Callable[[], str]]] = {
    "prose": ("", prose),
    "mixed": ("", mixed),
    "one thought": ("<think>\n", prose),
    "one fence": ("```python\n", code),
    "one list": ("", lambda: f"- {words(12)}\n"),
    "one paragraph": ("", lambda: words(20) + " "),
}


def pieces(kind: str, tokens: int) -> Iterator[str]:
    """Texts of 4 tokens each, of about 4 characters a token."""
    start, more = KINDS[kind]
    text = start
    while len(text) < tokens * 4:
        text += more()
    for position in range(0, tokens * 4, 16):
        yield text[position : position + 16]


class Bench(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()


async def drain(app: Bench) -> None:
    """Until what was asked for is painted."""
    painted = asyncio.Event()
    app.screen.call_after_refresh(painted.set)
    await painted.wait()


def report(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name:44} median {middle * 1e3:6.2f}   p99 {high * 1e3:6.2f}   max {ordered[-1] * 1e3:6.2f} ms")


async def bench_stream(app: Bench, kind: str, tokens: int = 10_000) -> None:
    view = app.query_one(Transcript)
    view.show([])
    view.add(Message("m", None, Role.ASSISTANT, "", 0.0, Reply(1, Sampling())))
    appends: list[float] = []
    paints: list[float] = []
    for piece in pieces(kind, tokens):
        start = time.process_time()
        view.append_text("m", piece)
        appends.append(time.process_time() - start)
        start = time.process_time()
        await drain(app)
        paints.append(time.process_time() - start)
    quarter = len(appends) // 4
    report(f"{kind}: append of 4 tokens, first quarter", appends[:quarter])
    report(f"{kind}: append of 4 tokens, last quarter", appends[-quarter:])
    report(f"{kind}: paint", paints)


async def bench_show(app: Bench) -> None:
    view = app.query_one(Transcript)
    roles = (Role.USER, Role.ASSISTANT)
    messages = [
        Message(str(n), None, roles[n % 2], mixed() if n % 2 else words(20), 0.0) for n in range(2_000)
    ]
    shows: list[float] = []
    for _ in range(5):
        start = time.process_time()
        view.show(messages)
        shows.append(time.process_time() - start)
        await drain(app)
    report("show 2,000 messages", shows)
    scrolls: list[float] = []
    for _ in range(100):
        start = time.process_time()
        view.scroll_relative(y=-40)
        await drain(app)
        scrolls.append(time.process_time() - start)
    report("scroll a page into the unseen", scrolls)


async def bench_find(app: Bench) -> None:
    """In the 2,000 messages of `bench_show`: 2.5 MB of text."""
    view = app.query_one(Transcript)
    for words in ("e", "river", "the fox"):
        finds: list[float] = []
        steps: list[float] = []
        for _ in range(5):
            view.end_finding()
            start = time.process_time()
            view.find(words)
            finds.append(time.process_time() - start)
            for _ in range(10):
                start = time.process_time()
                view.find_next(-1)
                steps.append(time.process_time() - start)
                await drain(app)
        report(f"find {words!r} ({sum(view._counts):,} hits)", finds)
        report(f"find {words!r}: the hit before", steps)


async def main() -> None:
    app = Bench()
    async with app.run_test(size=(160, 48)):
        await drain(app)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        for kind in KINDS:
            await bench_stream(app, kind)
        await bench_show(app)
        await bench_find(app)


if __name__ == "__main__":
    asyncio.run(main())
