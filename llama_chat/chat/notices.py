"""What the chat says of its own in the transcript, and takes back when it is true no longer."""

from __future__ import annotations

from collections.abc import Callable

from llama_chat.chat.context.summaries import SUMMARY_MESSAGES, summarised_messages
from llama_chat.chat.view import ChatView
from llama_chat.chat.words import format_tokens
from llama_chat.conversation import Conversation, Message, Reply
from llama_chat.errors import Interrupted, LlamaChatError, StoreError
from llama_chat.events import ModelInfo
from llama_chat.markup.attached import in_short
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sessions import ModelRecord, StoreUnavailable

ABOUT_CONTEXT, ABOUT_MODEL, ABOUT_PROMPT, ABOUT_STORE = "context", "model", "prompt", "store"
ABOUT_SUMMARY = "summary"
ALTERED = "It counts from the next reply on."
ABOUT_END = "end"
"""How the last reply ended, and how it goes on."""

STOPPED = "The reply was stopped and kept in its session."
NOTHING_TO_ANSWER = "There is nothing to answer yet."
NOTHING_TO_GO_ON_WITH = "There is no reply to go on with. Ctrl+R asks for one."
WAITING_GIVEN_BACK = "The words that waited are in the prompt again."
NOTHING_WAITS = "No words wait: Enter while a reply is written lets them."
STILL_WRITTEN = "The reply is still being written. Esc stops it."
NOTHING_TO_EDIT = "There are no words to edit yet."
NOTHING_TO_COPY = "There is nothing to copy yet."
COMPACTED = "The summary stands at the beginning of the chat; Alt+Z brings back what it stands for."
SUMMARY_KEPT = "Kept. The summary counts from the next reply on; Alt+Z goes back."
NOTHING_TO_COMPACT = "There is nothing to shorten yet: the last two exchanges stay as they are."
NOT_COMPACTED_ELSEWHERE = "Another chat is writing here. Wait for its end, or go to another branch."
NO_SIBLINGS = "There is no other branch here. Ctrl+R asks for another reply."
NOTHING_TO_UNDO = "There is no step to undo."
NOTHING_TO_REDO = "There is no step to redo."
NOTHING_TO_CHOOSE = "There is no message to choose yet."
NO_OTHER_BRANCH = "This message has no other branch. r asks for another reply, e says it otherwise."
BRANCHED = "The path ends here now; what followed stays in the tree. Say something else, or Alt+Z goes back."
BRANCHED_BEFORE = "Say something else in its place. What was said stays in the tree; Alt+Z goes back."
ENDS_HERE = "The path ends here already: say something."
NO_TREE = "There is nothing in the tree yet."
NOT_SHOWN = "That message is not on the path that is shown."
EDITED = "Kept as you wrote it. F5 lets the model go on from its end; or say something."
FORKED = "A new branch goes on from there. Alt+← shows the one before, Alt+Z goes back to it."
FORKED_TO_END = "The new branch ends there: that token ends the turn. Alt+← shows the one before."
NOT_FORKED = "That reply is not open any more: it cannot fork."
ASK_INSTEAD = "Ctrl+R asks the model that is loaded for a reply of its own."
WRITTEN_ELSEWHERE = "written in another chat"
STOPPED_BEFORE = Interrupted("Stopped before the reply began.")
SYSTEM_UNCHANGED = "The system prompt is as it was."


SYSTEM_WAITS = "The session is still being read. The system prompt is for it."
SYSTEM_STEP = "the change of the system prompt"
CHOICE_STEP = "the choice of another branch"
SUMMARY_STEP = "the summary"
ENDED_STEP = "the path was ended here"
"""Steps, as `undone` and `redone` name them."""
_STEP_CELLS = 28
"""So much of a message names it."""


def step_name(what: str, message: Message | None) -> str:
    """A step by the words that it was made at: `your edit of “Tell me about the fox”`."""
    words = one_line(in_short(message.text)) if message is not None else ""
    shown = words if len(words) <= _STEP_CELLS else f"{words[: _STEP_CELLS - 1].rstrip()}…"
    return f"{what} “{shown}”" if shown else what


def undone(what: str) -> str:
    """That the path of before a step is shown again."""
    where = f"Back: before {what}." if what else "One step back."
    return f"{where} Nothing is deleted: Alt+Y goes forward again."


def redone(what: str) -> str:
    """That a step counts again."""
    where = f"Forward: after {what}." if what else "One step forward."
    return f"{where} Alt+Z goes back again."


def system_kept(text: str) -> str:
    """That the system prompt is now this text, or none."""
    return f"Kept. {'The' if text else 'No'} system prompt counts from the next reply on."


def deleted(messages: int) -> str:
    """That the path ends before so many messages."""
    words = "One message is" if messages == 1 else f"{messages:,} messages are"
    return f"{words} off the path. Nothing is lost: Alt+Z brings back what was there."


def no_code_block(number: int, count: int) -> str:
    """That there is no code block of that number."""
    if not count:
        return "There is no code block in this chat yet."
    return f"There is no code block {number}: " + ("only one." if count == 1 else f"only {count:,}.")


def more_tokens(most: int) -> str:
    """That the reply had used up its tokens and gets more."""
    return f"Max new tokens is {most:,} now: the reply had used up what it was."


def tell_how_to_go_on(view: ChatView, message: Message, holds: Callable[[], bool]) -> None:
    """How a reply goes on that broke off, as long as that `holds`; not where its end is in sight."""
    reply = message.reply
    if view.shows_end():
        return
    if reply is not None and reply.token_ids and reply.finish_reason in ("stopped", "length", "failed"):
        ended = "Stopped." if reply.finish_reason == "stopped" else "Cut."
        ended = "It broke off." if reply.finish_reason == "failed" else ended
        words = f"{ended} {format_tokens(len(reply.token_ids))} kept; F5 goes on from there."
        view.hint(words, is_quiet=True, holds=holds)


def tell_where_it_goes_on(view: ChatView, message: Message, info: ModelInfo) -> None:
    """That a reply goes on elsewhere than it was begun, where its tokens may come out a hair different."""
    plan = message.reply.plan if message.reply else None
    if plan is None:
        return
    pairs = {
        "machine": (plan.machine, info.machine),
        "device": (plan.device, info.device),
        "torch": (plan.torch, info.torch),
        "threads": (str(plan.threads), str(info.threads)),
    }
    differing = [f"{name} {now} (was {then})" for name, (then, now) in pairs.items() if then and now != then]
    if differing:
        view.hint(one_line(f"It goes on with {', '.join(differing)}: a near tie may come out otherwise."))


def tell_open_elsewhere(view: ChatView) -> None:
    """That another chat has the session open, too."""
    words = "Another chat has this session open. What is said here goes on a branch of its own."
    view.notice(words, "warning", about=ABOUT_END)


def other_model(written_with: ModelRecord | None, info: ModelInfo) -> str:
    """That another model goes on with the session, in one sentence."""
    name, now = one_line(written_with.name if written_with else ""), one_line(info.name)
    before = f"another version of {name}" if name == now else f"{name}, which is not loaded"
    return f"This session was written with {before}; replies now come from {now}."


def tell_other_model(view: ChatView, written_with: ModelRecord | None, info: ModelInfo) -> None:
    """Say so in the transcript."""
    view.notice(other_model(written_with, info), "warning", about=ABOUT_PROMPT)


def tell_error(view: ChatView, error: LlamaChatError, about: str) -> None:
    """What went wrong, and the next step."""
    view.notice(f"{error.message}\n{error.hint}".rstrip(), "error", about=about)


def tell_not_kept(view: ChatView, error: LlamaChatError, told: set[str]) -> None:
    """What could not be written. What will never work is said once, though every message meets it anew.

    Args:
        view: where it is said.
        error: the cause.
        told: what was said of the store already; grows.
    """
    if isinstance(error, StoreUnavailable):
        tell_error(view, error, ABOUT_STORE)
    elif not isinstance(error, StoreError):
        tell_error(view, error, error.message)
    elif error.message not in told:
        told.add(error.message)
        tell_error(view, error, "")


def tell_refusal(view: ChatView, error: LlamaChatError, *, is_model_missing: bool) -> None:
    """Why there is no model, or it did not take the words; what the user stopped himself is no error."""
    if not isinstance(error, Interrupted):
        tell_error(view, error, ABOUT_MODEL if is_model_missing else ABOUT_PROMPT)
    elif is_model_missing:
        tell_not_fetched(view)


def tell_not_fetched(view: ChatView) -> None:
    """The user has stopped the download."""
    words = "The model was not fetched. Send a message, or /reload, to fetch it after all."
    view.notice(words, about=ABOUT_MODEL)


def tell_of_model(view: ChatView, info: ModelInfo) -> None:
    """What its files say that the user should know."""
    for words in info.notices:
        view.notice(sanitize(words), "warning", about=ABOUT_MODEL)
    if info.chat_template is None:
        view.notice("This model has no chat template: it goes on with your words as they stand.")


def compacting(messages: int) -> str:
    """That a summary is being written."""
    return f"Summarising {_count(messages)}… Esc leaves the chat as it is."


def not_compacted(reply: Reply | None) -> str:
    """Why there is no summary."""
    if reply is not None and reply.finish_reason == "stopped":
        return "Stopped. The chat is as it was."
    if reply is not None and reply.finish_reason == "failed":
        return f"The summary broke off, and the chat is as it was. {one_line(reply.error)}".rstrip()
    return "The model wrote no summary. The chat is as it was."


def compacted(messages: int, tokens_before: int, tokens: int, left_out: int, is_cut: bool) -> str:
    """What has become of the older part.

    Args:
        messages: that were summarised.
        tokens_before: about what they took.
        tokens: of the summary.
        left_out: how many of them the model had no room for.
        is_cut: whether the summary ended at max new tokens.
    """
    were = "was" if messages == 1 else "were"
    figures = f"≈ {tokens_before:,} → {tokens:,} tokens"
    words = f"{_count(messages)} {were} summarised ({figures}); Alt+Z brings them back."
    if left_out:
        which = "oldest one" if left_out == 1 else f"{left_out:,} oldest"
        words += f" The {which} did not fit and had no part in it."
    return f"{words} It was cut at max new tokens." if is_cut else words


def _count(messages: int) -> str:
    return f"{messages:,} message{'' if messages == 1 else 's'}"


def mark_summary(view: ChatView, conversation: Conversation, words: str = "") -> None:
    """Draw a line below the summary that the path begins with, if it does.

    Args:
        view: where it is drawn.
        conversation: whose path it is.
        words: what has just become of it; else where the whole messages are.
    """
    view.drop_notices(ABOUT_SUMMARY)
    turns = conversation.turns
    if len(turns) > SUMMARY_MESSAGES and (messages := summarised_messages(turns[0])):
        are = "is" if messages == 1 else "are"
        words = words or f"{_count(messages)} {are} summarised above; the branch beside it has them whole."
        view.notice(words, about=ABOUT_SUMMARY, before=turns[SUMMARY_MESSAGES].id)


def mark_context(view: ChatView, conversation: Conversation, dropped_messages: int) -> None:
    """Draw a line where those messages end that the model no longer sees; none where it sees all."""
    view.drop_notices(ABOUT_CONTEXT)
    if n := dropped_messages:
        messages, them = ("message above has", "it") if n == 1 else (f"{n:,} messages above have", "them")
        words = f"Context full: the {messages} left; the model no longer sees {them}."
        view.notice(words, "warning", about=ABOUT_CONTEXT, before=conversation.turns[n].id)
