"""Sessions on disk: one SQLite file that keeps every message and token, and what it was chosen from."""

from llama_chat.sessions.failures import StoreUnavailable
from llama_chat.sessions.records import SessionInfo
from llama_chat.sessions.store import SessionStore

__all__ = ["SessionInfo", "SessionStore", "StoreUnavailable"]
