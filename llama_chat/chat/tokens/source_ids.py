"""The ids that a token of a message was chosen behind, and which message each of them is a part of.

Nothing here touches a tensor: the engine is asked for ids and pieces only, on whatever thread. Templates of
the Hub may take long (`turn.TEMPLATE_LIMIT_S`), so not on the one that draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llama_chat.conversation import Message, Role
from llama_chat.errors import PromptError
from llama_chat.events import Engine, ModelInfo, Text


@dataclass(frozen=True, slots=True)
class SourceIds:
    """The whole context of a place in a message."""

    ids: tuple[int, ...]
    """The prompt through the template, then the message's own tokens before the place."""
    prompt_tokens: int
    """How many of them are the prompt."""
    messages: tuple[Message, ...]
    """Those that the prompt was made of, the oldest first."""
    message: Message | None
    """The reply whose tokens follow the prompt; None where the place is the end of the prompt."""
    is_retold: bool = False
    """Whether the reply's text was made into tokens anew, by the model that is loaded."""

    @property
    def reply_ids(self) -> tuple[int, ...]:
        """The tokens behind the prompt."""
        return self.ids[self.prompt_tokens :]


@dataclass(frozen=True, slots=True)
class Source:
    """Where one id of a context comes from."""

    message_id: str | None
    """None for what the template wrote."""
    start: int = 0
    """First character of the message's text that the token is a part of."""
    end: int = 0


def source_ids(engine: Engine, path: Sequence[Message], *, date: str, index: int | None = None) -> SourceIds:
    """What the token `index` of the path's last message was chosen behind.

    A reply is taken by its recorded ids, behind the prompt as it was then. The text of one that has none
    (imported, edited, of another model) becomes tokens of the loaded model. Behind a user's message, it is
    what the model reads before it answers.

    Args:
        engine: of the model that will look at them.
        path: from the root to the message.
        date: of the session, which the template may ask for.
        index: of a reply's token, from 0; None for what would come behind all of it.

    Raises:
        PromptError: there is nothing to read, a token of a reply is asked for whose tokens are another
            model's or not known, or the prompt does not fit.
        TemplateError: the model's template fails.
    """
    from llama_chat.turn import ANEW, build_prompt  # brings jinja2

    message = path[-1] if path and path[-1].role is Role.ASSISTANT else None
    if message is None:
        return _of_prompt(engine, path, date)
    reply = message.reply
    why = why_not_by_ids(engine.info, message)
    if why and index is not None:
        raise why
    start = ANEW if reply is None or why else reply.context_start
    prompt = build_prompt(engine, path[:-1], date=date, max_new_tokens=0, context_start=start)
    ids = engine.encode(prompt.pieces)
    if why or reply is None:
        own: Sequence[int] = engine.encode([Text(message.text)]) if message.text else ()
    else:
        own = reply.token_ids if index is None else reply.token_ids[:index]
    messages = _read(path[:-1], prompt.context_start)
    return SourceIds((*ids, *own), len(ids), messages, message, is_retold=why is not None)


def why_not_by_ids(info: ModelInfo, message: Message) -> PromptError | None:
    """Why the message's tokens are no tokens of this model, if so."""
    reply = message.reply
    if reply is None or not reply.token_ids:
        return PromptError(
            "Of this message no tokens are known: it was not written here.",
            hint="Its text can be looked at as a whole.",
        )
    if reply.model and reply.model != info.name:
        return PromptError(
            f"{reply.model} wrote this reply, and {info.name} is loaded: its tokens are others.",
            hint=f"F4 loads {reply.model}; or regenerate the reply.",
        )
    wrong = next((token_id for token_id in reply.token_ids if not 0 <= token_id < info.vocab_size), None)
    if wrong is not None:
        return PromptError(
            f"The reply has a token {wrong}; {info.name} has the tokens 0 to {info.vocab_size - 1}.",
            hint="Another model wrote it: F4 loads that one.",
        )
    return None


def _of_prompt(engine: Engine, path: Sequence[Message], date: str) -> SourceIds:
    from llama_chat.turn import build_prompt

    prompt = build_prompt(engine, path, date=date, max_new_tokens=0)
    ids = tuple(engine.encode(prompt.pieces))
    return SourceIds(ids, len(ids), _read(path, prompt.context_start), None)


def _read(path: Sequence[Message], context_start: str | None) -> tuple[Message, ...]:
    """The messages that a prompt with this beginning is made of."""
    start = next((n for n, message in enumerate(path) if message.id == context_start), 0)
    system = [message for message in path[:1] if message.role is Role.SYSTEM and start > 0]
    return (*system, *path[start:])


# --- which message each id is a part of ---------------------------------------------------------------


def sources_of(found: SourceIds, piece: Callable[[int], bytes]) -> list[Source]:
    """For each id where it comes from.

    The texts are looked for in what the ids spell, from the last one back: behind the words with which a
    template opens a turn. One that the template has changed is not found, and counts as the template's.

    Args:
        found: out of `source_ids`.
        piece: the bytes of a token.
    """
    pieces = [piece(token_id) for token_id in found.ids]
    ends: list[int] = []
    for part in pieces:
        ends.append((ends[-1] if ends else 0) + len(part))
    spelled = b"".join(pieces)
    sources = [Source(None)] * len(pieces)
    prompt_end = ends[found.prompt_tokens - 1] if found.prompt_tokens else 0
    if found.message is not None:
        text, own = found.message.text.encode(errors="surrogatepass"), spelled[prompt_end:]
        at = prompt_end + max(0, len(own) - len(own.lstrip(b" ")) if not text.startswith(b" ") else 0)
        _mark(sources, ends, found.message, at, len(spelled), 0, first=found.prompt_tokens)
    for message in reversed(found.messages):
        body = message.text.strip()
        at = _last_place(spelled[:prompt_end], body.encode(errors="surrogatepass"))
        if at < 0:
            continue
        skipped = len(message.text) - len(message.text.lstrip())
        _mark(sources, ends, message, at, at + len(body.encode(errors="surrogatepass")), skipped)
        prompt_end = at
    return sources


def _last_place(spelled: bytes, body: bytes) -> int:
    """Where the text stands last by itself: a short one (`a`) is also a part of what templates write.

    -1 where it is not to be found.
    """
    at = spelled.rfind(body) if body else -1
    last = at
    while at >= 0 and not _is_by_itself(spelled, at, at + len(body)):
        at = spelled.rfind(body, 0, at + len(body) - 1)
    return at if at >= 0 else last


def _is_by_itself(spelled: bytes, start: int, end: int) -> bool:
    """Whether no letter or digit goes on at its ends."""
    return not (
        (spelled[start - 1 : start].isalnum() and spelled[start : start + 1].isalnum())
        or (spelled[end - 1 : end].isalnum() and spelled[end : end + 1].isalnum())
    )


def _mark(
    sources: list[Source],
    ends: Sequence[int],
    message: Message,
    start: int,
    end: int,
    skipped: int,
    *,
    first: int = 0,
) -> None:
    """Name the message at the ids whose bytes lie between start and end, which spell it from `skipped` on."""
    places = _characters(message.text[skipped:])
    for n in range(first, len(ends)):
        begin = ends[n - 1] if n else 0
        if ends[n] <= start or begin >= end or begin == ends[n]:
            continue
        low = places[min(max(begin - start, 0), len(places) - 1)]
        high = places[min(max(ends[n] - 1 - start, 0), len(places) - 1)] + 1
        high = min(high, len(message.text) - skipped)
        sources[n] = Source(message.id, skipped + min(low, high), skipped + high)


def _characters(text: str) -> list[int]:
    """For each byte of the text in UTF-8, the character that it is a part of; one more for its end."""
    places = [n for n, char in enumerate(text) for _ in char.encode(errors="surrogatepass")]
    return [*places, len(text)]


def ids_of_text(engine: Engine, text: str) -> tuple[int, ...]:
    """The ids of a raw text, without the template."""
    return tuple(engine.encode([Text(text)]))
