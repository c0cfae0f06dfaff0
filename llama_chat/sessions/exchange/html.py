"""Sessions as one HTML file that needs nothing else: no script, no font, no address.

Every token of a reply has a background by its probability (one hue, darker where it was less likely, so that
it can be read by the colour-blind) and tells its id, rank and first candidates under the pointer. 10,000
tokens take 1.6 MB (measured 2026-11).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from itertools import chain
from typing import TypeAlias

from llama_chat.conversation import Message
from llama_chat.events import Candidates, Sampling, Token
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sessions.exchange.branches import Branches
from llama_chat.sessions.exchange.html_style import LIKELIHOODS, STYLE
from llama_chat.sessions.records import SessionRecord
from llama_chat.sessions.words import name_of, notes_of, when_text

_SHOWN_CANDIDATES = 5
_Part: TypeAlias = "str | Iterator[_Part]"


def html_parts(records: Iterable[SessionRecord], *, title: str = "llama-chat") -> Iterator[str]:
    """The file in parts; the path that is shown stands open, other branches can be opened."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield (
        '<!doctype html>\n<html><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(one_line(title))}</title>\n<style>{STYLE}</style></head>\n<body>\n{_legend()}"
    )
    for record in records:
        yield from _flattened(_session(record))
    yield "</body></html>\n"


def _flattened(parts: Iterator[_Part]) -> Iterator[str]:
    """The parts in order; those within parts too, however deep, without recursion."""
    open_parts = [parts]
    while open_parts:
        part = next(open_parts[-1], None)
        if part is None:
            open_parts.pop()
        elif isinstance(part, str):
            yield part
        else:
            open_parts.append(part)


def _legend() -> str:
    kinds = "".join(f'<span class="p{n}">{words}</span> ' for n, (_, words) in enumerate(LIKELIHOODS))
    return (
        f'<p class="legend">Probability of a token: {kinds}<span class="u">chosen by the user</span> '
        '<span class="s">settings changed</span></p>\n'
    )


def _session(record: SessionRecord) -> Iterator[_Part]:
    info = record.info
    tree = Branches(record.conversation)
    words = _words_of(record)
    about = " · ".join(filter(None, (when_text(info.created_at), one_line(info.model), f"session {info.id}")))
    yield f'<article>\n<h1>{_escaped(one_line(info.title))}</h1>\n<p class="about">{_escaped(about)}</p>\n'
    for message in tree.shown:
        yield _message(message, record, words)
        yield _others(tree.others(message), tree, record, words)
    yield _others(tree.after_shown(), tree, record, words)
    yield "</article>\n"


def _others(
    others: Sequence[Message], tree: Branches, record: SessionRecord, words: _Words
) -> Iterator[_Part]:
    """Other paths from one place, each closed at first."""
    for first in others:
        start = one_line(first.text[:200])[:60]
        yield f"<details><summary>Another branch: {_escaped(start) or '…'}</summary>\n"
        for message in tree.path_from(first):
            yield _message(message, record, words)
            if message is not first:
                yield _others(tree.others(message), tree, record, words)
        yield "</details>\n"


def _message(message: Message, record: SessionRecord, words: _Words) -> Iterator[_Part]:
    tokens = record.tokens_of(message.id) if message.reply else ()
    about = " · ".join([when_text(message.created_at), *notes_of(message, tokens)])
    name = _escaped(name_of(message, record))
    yield f'<section class="{message.role.value}"><h2>{name}</h2>'
    yield f'<p class="about">{_escaped(about)}</p>\n<div>'
    told = "".join(token.text for token in tokens)
    if message.reply and tokens and message.text.startswith(told):
        yield _tokens(tokens, message.reply.sampling, words.get(message.reply.model, {}))
        yield _escaped(message.text[len(told) :])
    else:
        yield _escaped(message.text)
    yield "</div></section>\n"


_Words: TypeAlias = Mapping[str, Mapping[int, str]]
"""By model: texts of token ids, as far as the session's own replies tell them."""


def _words_of(record: SessionRecord) -> _Words:
    found: dict[str, dict[int, str]] = {}
    read = record.plain_tokens_of or record.tokens_of
    for message in record.conversation.messages.values():
        if message.reply is not None:
            known = found.setdefault(message.reply.model, {})
            known.update((token.token_id, token.text) for token in read(message.id) if token.text)
    return found


def _tokens(tokens: Iterable[Token], in_force: Sampling, words: Mapping[int, str]) -> Iterator[str]:
    waiting: list[str] = []
    for token in tokens:
        waiting.append(_about(token, in_force, words))
        if token.text:  # else a character is not complete yet: the next one tells of this token, too
            marks = _marks(token, in_force)
            title = _escaped("\n".join(waiting))
            yield f'<span class="{marks}" title="{title}">{_escaped(token.text)}</span>'
            waiting = []
        in_force = token.sampling


def _marks(token: Token, in_force: Sampling) -> str:
    probability = _probability(token.logprob)
    kind = next((n for n, (least, _) in enumerate(LIKELIHOODS) if probability >= least), 0)
    return f"p{kind}" + " u" * (token.chosen_by == "user") + " s" * (token.sampling != in_force)


def _about(token: Token, in_force: Sampling, words: Mapping[int, str]) -> str:
    """What the pointer shows."""
    lines = [f"id {token.token_id} · {_percent(_probability(token.logprob))} · rank {token.rank}"]
    if token.sampling != in_force:
        before, now = asdict(in_force), asdict(token.sampling)
        changed = [f"{name} {value:g}" for name, value in now.items() if value != before[name]]
        lines.append(f"from here: {', '.join(changed)}")
    return "\n".join(chain(lines, _candidate_lines(token.candidates, words)))


def _candidate_lines(candidates: Candidates, words: Mapping[int, str]) -> Iterator[str]:
    for place in range(min(_SHOWN_CANDIDATES, len(candidates))):
        token_id = candidates.token_ids[place]
        word = repr(words[token_id]) if token_id in words else f"id {token_id}"
        yield f"{_percent(_probability(candidates.penalised[place] - candidates.logsumexp))} {word}"


def _probability(logprob: float) -> float:
    """Between 0 and 1 for whatever a damaged model or a file may say."""
    return math.exp(min(logprob, 0.0)) if not math.isnan(logprob) else 0.0


def _percent(probability: float) -> str:
    return f"{probability:.1%}" if probability >= 0.001 else "<0.1%"


def _escaped(text: str) -> str:
    return escape(sanitize(text))
