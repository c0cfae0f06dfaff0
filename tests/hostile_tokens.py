"""The token view of messages whose tokens, candidates and models are called anything."""

from __future__ import annotations

from array import array
from dataclasses import replace

from hostile_stage import Stage, reply
from textual.widgets import Input

from llama_chat.chat.tokens.scoring import MessageScores
from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.distribution.names import TokenNames
from llama_chat.events import Candidates, Sampling, Token
from llama_chat.ui.tokens.screen import TokenScreen

_IN_VIEW = 20


def _tokens(lines: list[str]) -> list[Token]:
    logits = array("f", [-float(n) / 4 for n in range(len(lines))])
    found = Candidates(array("i", range(len(lines))), logits, logits, array("i"), array("f"), 2.0)
    pieces = [line.encode("utf-8", "replace") for line in lines]
    return [
        Token(n, n, piece, piece.decode(), "sampler", -0.5, n + 1, found, 0.01, Sampling(top_k=0))
        for n, piece in enumerate(pieces)
    ]


async def tokens(stage: Stage, count: int) -> None:
    """Their text, their names, the model's name, what is typed; and words without tokens."""
    for lines in stage.batches(count, _IN_VIEW, 18):
        message = reply("".join(lines), model=lines[0])
        screen = TokenScreen(stage.chat, message, MessageScores(stage.app.bridge.worker))
        async with stage.card(screen):
            await stage.until(lambda screen=screen: screen.has_class("-empty"), "the offer")
            screen.show_empty(lines[-1], "Esc")
            await stage.frame()
            screen.remove_class("-empty")
            told = _tokens(lines)
            names = TokenNames([token.piece for token in told], (1, 2))
            sheet = TokenSheet(message, told, names, frozenset((1,)))
            screen.show_sheet(sheet)
            await stage.frame()
            screen.panel.bars.focus()
            for _ in lines:
                screen.view.move(1)
                screen.panel.bars.action_move(1)
                await stage.frame()
            screen.show_sheet(replace(sheet, judged_by=lines[1 % len(lines)]))
            screen.hint(stage.take(40))
            await stage.frame()
            screen.action_type_in()
            screen.query_one(Input).value = stage.take(40)
            await stage.frame()
            screen.action_back()
            screen.view.focus()


SHARES = {tokens: 0.8}
"""Of a hundred texts, so many."""
