"""Which engine runs a model, and why: from scratch wherever it can, transformers for the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.model_file import read_model_file
from llama_chat.errors import NotOursError
from llama_chat.template.markers import forgeable_markers, forgery_notice

if TYPE_CHECKING:
    from llama_chat.engine.hf.other_model import OtherModel


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """One of the engines."""

    engine: Literal["scratch", "hf"]
    reason: str
    """In a few words; empty where the user named it."""


def read_model(path: Path, engine: str) -> ModelFile | OtherModel:
    """The model at the path, as the engine that is asked for needs it.

    Every Llama is read by ourselves, whichever engine runs it: so both see the same weights.

    Args:
        path: what `--model` gave.
        engine: `auto`, `scratch` or `hf`.

    Raises:
        ModelError: no model there, or none that the engine can run.
    """
    model = _read(path, engine)
    markers = forgeable_markers(model.chat_template or "", model.tokenizer.special_tokens)
    return replace(model, notices=(*model.notices, forgery_notice(markers))) if markers else model


def _read(path: Path, engine: str) -> ModelFile | OtherModel:
    try:
        return read_model_file(path)
    except NotOursError as refusal:
        if engine == "scratch" or not (refusal.by_auto or engine == "hf"):
            raise
        from llama_chat.engine.hf.other_model import read_other_model

        return read_other_model(path, refusal.message)


def choose_engine(asked: str, model: ModelFile | OtherModel, too_large: str = "") -> EngineChoice:
    """The engine for the model.

    Args:
        asked: `auto`, `scratch` or `hf`.
        model: from `read_model`.
        too_large: why it does not fit one device; empty where it does.
    """
    if asked == "hf":
        return EngineChoice("hf", "")
    if not isinstance(model, ModelFile):
        return EngineChoice("hf", model.why)
    if asked == "scratch":
        return EngineChoice("scratch", "")
    if too_large:
        return EngineChoice("hf", too_large)
    return EngineChoice("scratch", "Llama family, fits one device")
