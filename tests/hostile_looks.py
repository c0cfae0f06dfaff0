"""What a token looked at, where tokens, messages and models are called anything."""

from __future__ import annotations

from concurrent.futures import Future

from hostile_stage import Stage, reply, user

from llama_chat.chat.looking import Context, Looking, Looks, Way
from llama_chat.chat.tokens.source_ids import Source, SourceIds
from llama_chat.distribution.names import TokenNames
from llama_chat.ui.looks.sheet import LooksSheet

_IN_VIEW = 12


def _looks(lines: list[str], said: str) -> Looks:
    """A token of a reply, behind as many that are called like this."""
    words, answer = user(said), reply(said)
    count = len(lines)
    found = SourceIds(tuple(range(count)), count - 1, (words,), answer)
    sources = tuple(Source(words.id if n % 2 else None, 0, len(said)) for n in range(count - 1))
    names = TokenNames([line.encode("utf-8", "replace") for line in lines])
    context = Context(found, (*sources, Source(answer.id, 0, len(said))), names, (said,))
    return Looks(context, 0, Way(with_first=True), count - 2, tuple(1 / count for _ in range(count - 1)))


async def where_it_looked(stage: Stage, count: int) -> None:
    chat = stage.chat
    for lines in stage.batches(count, _IN_VIEW, 18):
        looks = _looks(lines, lines[0])
        assert looks.context.found.message is not None
        await stage.show(*looks.context.found.messages, looks.context.found.message)
        asking = Looking(lambda *_: Future(), lambda *_: None, [looks.context.found.message], "")  # type: ignore[arg-type,return-value]
        sheet = LooksSheet(chat, asking, looks.context.found.message.id, 0, Way())
        await chat.query_one("#center").mount(sheet, before="#prompt-row")
        sheet._stop_patience()
        sheet.show(looks)
        sheet._shade()
        await stage.frame()
        await stage.press("down")
        sheet.say(stage.take(60), is_trouble=True)
        await stage.frame()
        sheet.leave()
        await stage.frame()
    chat.transcript.clear()


SHARES = {where_it_looked: 0.6}
"""Of a hundred texts, so many."""
