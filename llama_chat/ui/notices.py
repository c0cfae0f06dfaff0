"""What the chat says of its own in the transcript, and takes back when it is true no longer."""

from __future__ import annotations

from llama_chat.conversation import Conversation
from llama_chat.errors import LlamaChatError
from llama_chat.events import ModelInfo
from llama_chat.sanitize import sanitize
from llama_chat.ui.view import ChatView

ABOUT_CONTEXT, ABOUT_MODEL, ABOUT_PROMPT, ABOUT_STORE = "context", "model", "prompt", "store"


def tell_error(view: ChatView, error: LlamaChatError, about: str) -> None:
    """What went wrong, and the next step."""
    view.notice(f"{error.message}\n{error.hint}".rstrip(), "error", about=about)


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
