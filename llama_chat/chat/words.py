"""What is said of a message, as plain text: who speaks, how long and how quick a reply was, how it ended."""

from __future__ import annotations

from llama_chat.chat.context.summaries import summarised_messages
from llama_chat.conversation import Message, Reply, Role
from llama_chat.sanitize import one_line, sanitize


def name_of(message: Message) -> str:
    """Who speaks: the model by its name where that is known, everybody else by role."""
    if message.role is Role.ASSISTANT:
        return one_line(message.reply.model if message.reply else "") or "model"
    if message.role is Role.USER:
        return "summary" if summarised_messages(message) else "you"
    return "system"


def figures_of(reply: Reply | None) -> str:
    """Length and speed of a reply that is over."""
    if reply is None or reply.finish_reason is None or not reply.token_ids:
        return ""
    tokens, speed = len(reply.token_ids), reply.decode_tok_per_s
    return format_figures(tokens, speed) if speed else format_tokens(tokens)


def drafted_of(reply: Reply | None) -> str:
    """How many of its tokens were guessed and came along with others: `34 drafted`; mostly nothing."""
    accepted = reply.accepted_tokens if reply is not None and reply.finish_reason is not None else 0
    return f"{accepted:,} drafted" if accepted else ""


def altered_of(reply: Reply | None) -> str:
    """That the model was altered when it wrote the reply, and how: `altered: L3.H4×0`."""
    plan = reply.plan if reply is not None else None
    return f"altered: {one_line(plan.alteration)}" if plan is not None and plan.alteration else ""


def end_text(reply: Reply | None) -> str:
    """How the reply ended, where that is worth a line; else empty."""
    if reply is None or reply.finish_reason in (None, "end"):
        return ""
    tokens = len(reply.token_ids)
    kept = f"{format_tokens(tokens)} kept." if tokens else "Nothing was written yet."
    match reply.finish_reason:
        case "stopped":
            return f"Stopped. {kept}"
        case "interrupted":
            return f"Interrupted. {kept}"
        case "length" if tokens >= reply.sampling.max_new_tokens:
            return f"Cut at max new tokens ({tokens:,})."
        case "length":
            return f"Cut after {format_tokens(tokens)}."
    return sanitize(reply.error).strip() or "The reply could not go on; the program gave no reason."


def format_tokens(count: int) -> str:
    """`1 token`, `1,204 tokens`."""
    return f"{count:,} token{'' if count == 1 else 's'}"


def format_speed(tok_per_s: float) -> str:
    """`8.8 tok/s`, `112 tok/s`; a dash where there is none yet, from one token."""
    if not tok_per_s:
        return "– tok/s"
    return f"{tok_per_s:.{0 if tok_per_s >= 99.95 else 1}f} tok/s"


def format_figures(tokens: int, tok_per_s: float) -> str:
    """`148 tokens · 8.8 tok/s`, while a reply is written and when it is over.

    The speed stands at the end, where its width hardly changes, and the count grows into the empty room at
    its left: nothing jumps, and nothing is filled up with spaces.
    """
    return f"{format_tokens(tokens)} · {format_speed(tok_per_s)}"
