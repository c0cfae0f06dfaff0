"""Sessions out of the store and back: JSON Lines (lossless), Markdown, HTML; ChatGPT's export in."""

from llama_chat.sessions.exchange.fields import ExchangeError
from llama_chat.sessions.exchange.files import read_sessions

__all__ = ["ExchangeError", "read_sessions"]
