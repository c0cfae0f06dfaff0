"""What the tokens of a reply are called: out of the store, else by the model at hand, if it wrote it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from llama_chat.distribution.names import TokenNames
from llama_chat.events import ModelInfo
from llama_chat.sessions import ModelRecord

if TYPE_CHECKING:
    from llama_chat.chat.backstage.bridge import Bridge


def ask_names(bridge: Bridge, message_id: str) -> Future[TokenNames]:
    """The names for a stored reply, empty where nobody knows them: `#31498` then, and tokens tell their own.

    It fails with a `StoreError` where the store does not answer.
    """
    return bridge.read(_names_of, bridge, message_id)


def names_at_hand(bridge: Bridge) -> TokenNames:
    """Those of the loaded model, for a reply that runs and for what it has scored; empty without one."""
    return bridge.worker.ask(TokenNames.of_engine) or TokenNames()


def _names_of(bridge: Bridge, message_id: str) -> TokenNames:
    if len(stored := bridge.store.vocabulary_of_reply(message_id)):
        return stored
    info = bridge.worker.ask(lambda engine: engine.info)
    if info is not None and has_same_tokens(bridge.store.model_of_reply(message_id), info):
        return names_at_hand(bridge)
    return TokenNames()


def has_same_tokens(model: ModelRecord | None, info: ModelInfo) -> bool:
    """Whether the loaded model calls its tokens as the one that wrote does, as far as that is known."""
    if model is None:
        return False
    if model.vocabulary and info.vocabulary_digest:
        return model.vocabulary == info.vocabulary_digest
    return model.fingerprint == info.fingerprint
