"""Models of the Hugging Face Hub: named by id, kept in its own cache, fetched so that a stop costs nothing.

What lies in the cache is found without huggingface_hub, which takes 0.5 s to import (2026-11): it stands
inside the functions of `fetching` and `removing`, which are imported when they are needed.
"""

from llama_chat.hub.cache import Cached, cached_path, find_cached, is_in_cache, list_cached
from llama_chat.hub.names import HubModel, parse_hub_id

__all__ = ["Cached", "HubModel", "cached_path", "find_cached", "is_in_cache", "list_cached", "parse_hub_id"]
