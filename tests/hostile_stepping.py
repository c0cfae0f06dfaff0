"""What a reply that waits can go on with, where tokens are called anything and anything is typed."""

from __future__ import annotations

from array import array

from hostile_stage import Stage
from textual.widgets import Input

from llama_chat.distribution.names import TokenNames
from llama_chat.events import Awaiting, Candidates, Sampling
from llama_chat.ui.stepping.next_token import NextToken

_IN_VIEW = 10


def _candidates(count: int) -> Candidates:
    falling = [float(-n) / 4 for n in range(count)]
    logits = array("f", falling)
    return Candidates(array("i", range(count)), logits, logits, array("i"), array("f"), 2.0)


async def next_tokens(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, _IN_VIEW, 18):
        box = NextToken("Alt+J")
        await stage.chat.query_one("#prompt-row").mount(box, before=0)
        names = TokenNames([line.encode("utf-8", "replace") for line in lines])
        box.show(Awaiting(3, _candidates(len(lines)), 0), Sampling(top_k=0), names, "paused")
        await stage.frame()
        box.action_write()
        box.query_one(Input).value = stage.take(40)
        await stage.frame()
        await box.remove()
        stage.chat.prompt.focus()
        await stage.frame()


SHARES = {next_tokens: 0.6}
"""Of a hundred texts, so many."""
