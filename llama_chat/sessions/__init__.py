"""Sessions on disk: one SQLite file that keeps every message and token, and what it was chosen from."""

from llama_chat.sessions.failures import StoreUnavailable
from llama_chat.sessions.records import ModelRecord, SessionInfo, SessionRecord
from llama_chat.sessions.search import SearchHit
from llama_chat.sessions.store import SessionStore

__all__ = ["ModelRecord", "SearchHit", "SessionInfo", "SessionRecord", "SessionStore", "StoreUnavailable"]
