"""From the setting `draft` to what drafts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.drafting.drafting import Drafting
from llama_chat.engine.drafting.lookup import Lookup
from llama_chat.errors import ModelError
from llama_chat.model_names import find_model
from llama_chat.paths import user_paths
from llama_chat.settings import ModelSettings

if TYPE_CHECKING:
    from llama_chat.engine.generate import LocalEngine


def build_drafting(
    engine: LocalEngine, settings: ModelSettings, cache_folder: Path | None
) -> Drafting | None:
    """What drafts for the engine; None where nothing does.

    Raises:
        ModelError: there is no such model, or it has another vocabulary.
    """
    if settings.draft == "off":
        return None
    if settings.draft == "auto":
        # On a GPU one row is one recorded launch and several are hundreds: what that costs was not measured.
        return Drafting(Lookup()) if engine.network.info.device == "cpu" else None
    from llama_chat.engine.drafting.draft_model import ModelDrafter
    from llama_chat.engine.load import load_engine

    path = find_model(settings.draft, user_paths().models)
    if not isinstance(path, Path):
        raise ModelError(
            f"The draft model {path.title} is not on this machine.",
            hint=f"Fetch it: llama-chat models pull {path.name}",
        )
    if not getattr(engine.live.cache, "cuts_anywhere", False):
        raise ModelError(
            f"{engine.info.name} is run by transformers; only the from-scratch engine drafts.",
            hint="Leave --draft out.",
        )
    plain = replace(settings, draft="off", context=0, kv_dtype="auto")
    smaller = load_engine(path, plain, cache_folder=cache_folder)
    if smaller.info.vocabulary_digest != engine.info.vocabulary_digest:
        smaller.close()
        raise ModelError(
            f"The draft model {smaller.info.name} has other tokens than {engine.info.name}.",
            hint="Take a smaller model of the same family, or --draft auto.",
        )
    return Drafting(ModelDrafter(smaller, engine.info.vocab_size))
