"""From the path of a conversation to the prompt of the next reply, within the model's context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_chat.conversation import Message, Reply, Role
from llama_chat.errors import PromptError
from llama_chat.events import Engine, ModelInfo, Piece, Prefilled, Text
from llama_chat.template.chat_template import ChatTemplate, render_raw
from llama_chat.template.sandbox import render_budget

if TYPE_CHECKING:
    from llama_chat.sessions import ModelRecord

FULL_SHARE_AFTER_DROP = 0.6
"""When the context is full, turns leave until this share of it is used: rarely, and then in one go."""

MIN_REPLY_SHARE = 1 / 8
"""Room that is kept for the reply, unless fewer new tokens are wanted."""

TEMPLATE_LIMIT_S = 6.0
"""Time that the template may take for one prompt; finding out what fits renders about ten times."""


ANEW = ""
"""Instead of a message's id: what is left out is decided now."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given."""

    pieces: tuple[Piece, ...]
    tokens: int
    context_start: str | None
    """Id of the oldest message (but the system prompt) in it; None: nothing was left out."""
    dropped_messages: int
    """How many messages of the path were left out."""


def build_prompt(
    engine: Engine,
    path: Sequence[Message],
    *,
    date: str,
    max_new_tokens: int,
    context_start: str | None = ANEW,
) -> Prompt:
    """The prompt for the next reply to the path, whose last message is the user's.

    What an earlier reply of the path no longer saw stays out, so that the cache can be used again. When the
    rest does not fit, the oldest pairs leave; the system prompt and the last message never do.

    Args:
        engine: counts the tokens.
        path: from the root to the user's message.
        date: that the template may ask for.
        max_new_tokens: room that is wanted for the reply.
        context_start: of a reply that goes on or is computed again, `Reply.context_start`: then the prompt is
            what it was.

    Raises:
        PromptError: nothing to answer, the last message alone is too long, or `context_start` is not there.
        TemplateError: the model's template fails.
    """
    system = [message for message in path[:1] if message.role is Role.SYSTEM]
    turns = list(path[len(system) :])
    if not turns or not turns[-1].text.strip():
        raise PromptError("The prompt is empty", hint="Write something to answer.")
    template = ChatTemplate.of_model(engine.info)

    def pieces_from(start: int) -> tuple[Piece, ...]:
        messages = [*system, *turns[start:]]
        return tuple(
            template.render(messages, today=date) if template else render_raw(messages, engine.info.name)
        )

    def is_small_from(start: int) -> bool:
        return engine.count_tokens(pieces_from(start)) <= length * FULL_SHARE_AFTER_DROP

    is_anew = context_start == ANEW
    start = _start_of_last_reply(turns, engine.info.name) if is_anew else _start_at(turns, context_start)
    length = engine.info.context_length
    with render_budget(TEMPLATE_LIMIT_S):
        pieces = pieces_from(start)
        tokens = engine.count_tokens(pieces)
        if is_anew and tokens > length - min(max_new_tokens, int(length * MIN_REPLY_SHARE)):
            start = _start_that_fits(turns, start, is_small_from)
            pieces = pieces_from(start)
            tokens = engine.count_tokens(pieces)
        if tokens >= length:
            raise prompt_too_long(tokens, engine.info)
    return Prompt(pieces, tokens, turns[start].id if start else None, start)


def check_continuing(
    info: ModelInfo,
    reply: Reply,
    prompt: Prompt,
    token_ids: Sequence[int],
    model: ModelRecord | None = None,
) -> None:
    """Whether the reply can go on behind these tokens.

    Args:
        info: of the model that would go on.
        reply: as it was begun.
        prompt: that it would go on behind.
        token_ids: its tokens so far.
        model: that chose them, if it is known: the name alone does not tell files of it apart.

    Raises:
        PromptError: it has none, another model (or the same one otherwise) wrote them, or they fill the
            context.
    """
    if not token_ids:
        raise PromptError(
            "This reply cannot go on: of its text no tokens are known.",
            hint="It was not written here. Regenerate it, or ask for more in a message.",
        )
    if reply.model and reply.model != info.name:
        raise PromptError(
            f"This reply cannot go on: {reply.model} wrote it, and {info.name} is loaded.",
            hint=f"Start with --model {reply.model}, or regenerate the reply.",
        )
    _check_same_model(info, reply, model)
    if prompt.tokens + len(token_ids) >= info.context_length:
        raise PromptError(
            f"This reply cannot go on: with its prompt it has {prompt.tokens + len(token_ids):,} tokens, the "
            f"context holds {info.context_length:,}.",
            hint="Ask for more in a message: then the oldest ones are left out.",
        )


def check_given(engine: Engine, prompt: Prompt, given: str, tokens_before: int = 0) -> None:
    """Whether there is room for what the user lets the reply begin with, or go on with behind so many tokens.

    Raises:
        PromptError: there is none.
    """
    tokens = prompt.tokens + tokens_before + engine.count_tokens([Text(given)])
    if tokens >= engine.info.context_length:
        raise PromptError(
            f"This reply cannot go on: with its prompt it has {tokens:,} tokens, the context holds "
            f"{engine.info.context_length:,}.",
            hint="Shorten it, or ask for more in a message: then the oldest ones are left out.",
        )


def check_same_prompt(reply: Reply, prefilled: Prefilled) -> None:
    """Whether the tokens before the reply are those that it was begun behind, as far as that is known.

    Raises:
        PromptError: they are others.
    """
    then, now = (plan.prompt_digest if plan else "" for plan in (reply.plan, prefilled.plan))
    if then and now and then != now:
        raise PromptError(
            "The prompt came out differently than it was: the reply cannot go on as if unbroken.",
            hint="The model's template or tokenizer has changed since. Regenerate the reply.",
        )


def _check_same_model(info: ModelInfo, reply: Reply, model: ModelRecord | None) -> None:
    """Raises `PromptError` where tokens of other weights, or computed otherwise, would follow."""
    if model is None:  # an older llama-chat wrote it, or the store does not answer
        is_same = reply.plan is None or reply.plan.dtype == info.dtype
        then = reply.plan.dtype if reply.plan else ""
    else:
        is_same = (model.fingerprint, model.engine, model.dtype) == (
            *(info.fingerprint, info.engine, info.dtype),
        )
        then = f"{model.dtype}, {model.engine} engine"
    if is_same:
        return
    now = f"{info.dtype}, {info.engine} engine" if model is not None else info.dtype
    loaded = f"it is loaded as {now}" if then != now else "a file with other weights is loaded"
    raise PromptError(
        f"This reply cannot go on: {info.name} wrote it as {then}, and {loaded}.",
        hint="Start with the model as it was (--model, --dtype, --engine), or regenerate the reply.",
    )


def prompt_too_long(tokens: int, info: ModelInfo) -> PromptError:
    """The error for a prompt that leaves no room in the context, and what would help with this model."""
    length, longest = info.context_length, info.longest_context
    if not longest:
        hint = "Shorten it, or raise --context if the model allows it."
    elif longest <= length:
        hint = "Shorten it: the model was made for no longer context."
    elif longest <= tokens:
        hint = (
            f"Shorten it: even with --context {longest}, all that the model was made for, it would not fit."
        )
    else:
        hint = f"Shorten it, or start with a greater --context, up to {longest}."
    return PromptError(f"The prompt has {tokens:,} tokens, the context holds {length:,}.", hint=hint)


def _start_at(turns: Sequence[Message], context_start: str | None) -> int:
    """Index of the message of that id; 0 for None."""
    if context_start is None:
        return 0
    found = next((i for i, turn in enumerate(turns) if turn.id == context_start), None)
    if found is None:
        raise PromptError(
            f"The reply's prompt began with message {context_start!r}, which is not before it any more.",
            hint="Regenerate the reply.",
        )
    return found


def _start_of_last_reply(turns: Sequence[Message], model: str) -> int:
    """Index of the oldest message that the newest reply still saw; 0 if that was another model's.

    Another model has another context, and nothing of its prompt is in the cache.
    """
    for message in reversed(turns):
        if message.reply is not None:
            if message.reply.model not in ("", model):
                return 0
            wanted = message.reply.context_start
            return next((i for i, turn in enumerate(turns) if turn.id == wanted), 0)
    return 0


def _start_that_fits(turns: Sequence[Message], start: int, fits: Callable[[int], bool]) -> int:
    """Index of the first user's message after `start` from which on all fits; of the last one, if none does.

    By bisection: a prompt of 150 pairs takes 40 ms to render and to count.
    """
    later = [i for i in range(start + 1, len(turns)) if turns[i].role is Role.USER]
    at = bisect_left(later, True, key=fits)
    return later[min(at, len(later) - 1)] if later else start
