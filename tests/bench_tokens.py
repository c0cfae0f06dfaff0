"""How long the token view takes: `python tests/bench_tokens.py`; milliseconds of the processor, the median.

A slider is moved and the bars of 64 candidates are worked out and drawn anew; 10,000 tokens are laid out,
scrolled by a row, by a page, and shaded otherwise.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

import token_stage
from textual.app import App, ComposeResult

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.distribution.names import TokenNames
from llama_chat.events import LiveSampling
from llama_chat.ui.tokens.look import TokenLook
from llama_chat.ui.tokens.token_rows import TokenRows

SIZE = (160, 48)
RUNS = 60


class Bench(App[None]):
    """Nothing but the screen that is measured."""

    def compose(self) -> ComposeResult:
        yield from ()


def sheet_of(count: int) -> TokenSheet:
    tokens = token_stage.many_tokens(count)
    return TokenSheet(token_stage.reply_of(tokens), tokens, TokenNames(token_stage.VOCABULARY, range(3)))


async def measured(app: App[None], act: Callable[[int], None]) -> float:
    """Milliseconds from the act to the painted screen."""
    found = []
    for n in range(RUNS):
        painted = asyncio.Event()
        begun = time.thread_time()
        act(n)
        app.screen.call_after_refresh(painted.set)
        await painted.wait()
        found.append(1000 * (time.thread_time() - begun))
    return statistics.median(found)


async def main() -> dict[str, float]:
    sheet = sheet_of(10_000)
    app = Bench()
    figures: dict[str, float] = {}
    begun = time.thread_time()
    TokenRows(156).extend(sheet.tokens)
    figures["lay out 10,000 tokens"] = 1000 * (time.thread_time() - begun)
    async with app.run_test(size=SIZE) as pilot:
        screen = TokenLook(sheet, LiveSampling())
        await app.push_screen(screen)
        await pilot.pause()
        view, panel = screen.view, screen.panel
        temperatures = [0.5 + n / 50 for n in range(RUNS)]
        figures["move a slider: 64 bars worked out, and the screen drawn"] = await measured(
            app, lambda n: panel.move_slider("temperature", temperatures[n])
        )
        begun = time.thread_time()
        for _ in range(RUNS):
            panel.bars.show(sheet.tokens[0].candidates, LiveSampling().current, sheet.names)
            for y in range(panel.bars.size.height):
                panel.bars.render_line(y)
        figures["the bars alone"] = 1000 * (time.thread_time() - begun) / RUNS
        figures["scroll by a row"] = await measured(
            app, lambda n: view.scroll_to(y=n, animate=False, force=True)
        )
        figures["scroll by a page"] = await measured(
            app, lambda n: view.scroll_to(y=40 * (n % 8), animate=False, force=True)
        )
        figures["cursor to the next token"] = await measured(app, lambda _: view.move(1))
        figures["another shade"] = await measured(
            app, lambda n: view.show_shade("surprise" if n % 2 else "probability")
        )
    return figures


if __name__ == "__main__":
    for name, milliseconds in asyncio.run(main()).items():
        print(f"{milliseconds:8.2f} ms  {name}")
