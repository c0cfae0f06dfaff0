"""What the chat says of its own in the transcript, and takes back when it is true no longer."""

from __future__ import annotations

from llama_chat.conversation import Conversation
from llama_chat.errors import Interrupted, LlamaChatError, StoreError
from llama_chat.events import ModelInfo
from llama_chat.sanitize import sanitize
from llama_chat.sessions import StoreUnavailable
from llama_chat.ui.view import ChatView

ABOUT_CONTEXT, ABOUT_MODEL, ABOUT_PROMPT, ABOUT_STORE = "context", "model", "prompt", "store"

STOPPED = "The reply was stopped and kept in its session."
NOTHING_TO_ANSWER = "There is nothing to answer yet."
NO_SIBLINGS = "There is no other reply here. Ctrl+R asks for one."
SYSTEM_UNCHANGED = "The system prompt is as it was."


def system_kept(text: str) -> str:
    """That the system prompt is now this text, or none."""
    return f"Kept. {'The' if text else 'No'} system prompt counts from the next reply on."


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
    words = "The model was not fetched. Send a message, or /load, to fetch it after all."
    view.notice(words, about=ABOUT_MODEL)


def tell_of_model(view: ChatView, info: ModelInfo) -> None:
    """What its files say that the user should know."""
    for words in info.notices:
        view.notice(sanitize(words), "warning", about=ABOUT_MODEL)
    if info.chat_template is None:
        view.notice("This model has no chat template: it goes on with your words as they stand.")


def mark_context(view: ChatView, conversation: Conversation, dropped_messages: int) -> None:
    """Draw a line where those messages end that the model no longer sees; none where it sees all."""
    view.drop_notices(ABOUT_CONTEXT)
    if n := dropped_messages:
        messages, them = ("message above has", "it") if n == 1 else (f"{n:,} messages above have", "them")
        words = f"Context full: the {messages} left; the model no longer sees {them}."
        view.notice(words, "warning", about=ABOUT_CONTEXT, before=conversation.turns[n].id)
