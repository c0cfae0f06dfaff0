"""What is told of an altered model: by the bar, and by the head of a reply out of any file."""

from __future__ import annotations

from dataclasses import replace

from fake_engine import PLAN
from hostile_stage import Stage, reply

from llama_chat.conversation import Message
from llama_chat.ui.widgets.altered_bar import AlteredBar


def _written(line: str) -> Message:
    message = reply("words")
    assert message.reply is not None
    return replace(message, reply=replace(message.reply, plan=replace(PLAN, alteration=line)))


async def altered(stage: Stage, count: int) -> None:
    bar = AlteredBar("x")
    await stage.chat.query_one("#prompt-row").mount(bar, before=0)
    for line in stage.lines(count, cells=30):
        await stage.show(_written(line))
        bar.show(line, line)
        await stage.frame()
    await bar.remove()
    stage.chat.transcript.clear()


SHARES = {altered: 0.2}
