"""Which model a rerun runs on, and how: the recorded one, as it was, unless something else is asked for."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llama_chat.catalogue import find_model
from llama_chat.errors import DeviceError, LlamaChatError, ModelError
from llama_chat.events import Engine
from llama_chat.paths import Paths
from llama_chat.rerun import RecordedReply
from llama_chat.sessions import ModelRecord
from llama_chat.settings import DTYPES, ENGINES, KV_DTYPES, KV_WORDS, ModelSettings, Settings

_DEVICE = re.compile(r"cpu|mps|(cuda|rocm|xpu)(:\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Place:
    """What a reply was computed with: replies of one place are judged by one engine."""

    model: ModelRecord
    threads: int
    """0: not recorded."""


def place_of(recorded: RecordedReply) -> Place | None:
    """Where the reply was computed; None where its model was not recorded."""
    if recorded.model is None:
        return None
    plan = recorded.reply.plan
    same = replace(recorded.model, name="", template="", path="")
    return Place(same, plan.threads if plan is not None else 0)


def settings_as_recorded(
    recorded: RecordedReply, needed_tokens: int, settings: ModelSettings, given: Collection[str]
) -> ModelSettings:
    """The model settings that compute as it was, but for what was given on the command line.

    Args:
        recorded: a reply whose model is known.
        needed_tokens: of context, at least.
        settings: of the user.
        given: names of the settings that count.
    """
    model, plan = recorded.model, recorded.reply.plan
    assert model is not None
    dtype, _, kv_dtype = model.dtype.partition(KV_WORDS)
    as_recorded: dict[str, Any] = {
        "engine": model.engine if model.engine in ENGINES else "auto",
        "device": model.device if _DEVICE.fullmatch(model.device) else "auto",
        "dtype": dtype if dtype in DTYPES else "auto",  # `Q4_1`: the file's own
        "kv_dtype": kv_dtype if kv_dtype in KV_DTYPES else "auto",
        "context": max(settings.context, needed_tokens) if settings.context else 0,
        "threads": plan.threads if plan is not None else 0,
    }
    if "engine" in given and "dtype" not in given and settings.engine == "hf" != model.engine:
        as_recorded["dtype"] = as_recorded["kv_dtype"] = "auto"  # few bits are the from-scratch engine's
    return replace(settings, **{name: value for name, value in as_recorded.items() if name not in given})


def load_recorded(
    recorded: RecordedReply, wanted: ModelSettings, settings: Settings, paths: Paths, cancel: threading.Event
) -> Engine:
    """The engine of the very model that wrote the reply.

    It is looked for where it lay, then where the settings point, then in the place of the default model.

    Raises:
        ModelError: it is in none of them; the hint asks for --model.
        LlamaChatError: it cannot be run as it was.
    """
    model = recorded.model
    assert model is not None
    from llama_chat.engine.preload import mapping_torch

    with mapping_torch():
        from llama_chat.engine.choose import read_model
        from llama_chat.engine.files.model import ModelFile
    for path in _places(model, settings, paths):
        try:
            found = read_model(path, wanted.engine)
        except LlamaChatError:
            continue  # something else lies there by now
        source = found.checkpoint if isinstance(found, ModelFile) else found
        if source.fingerprint() == model.fingerprint:
            return _load_there(path, wanted, cancel)
    raise ModelError(
        f"The model that wrote the session, {model.name} (weights {model.fingerprint}), was not found.",
        hint="Give it with --model, or another one, to see both answers side by side.",
    )


def load_at(path: Path, wanted: ModelSettings, cancel: threading.Event) -> Engine:
    """The engine for the model at the path, with a line about its loading."""
    from llama_chat.cli.engines import LoadingLine, engine_loader
    from llama_chat.engine.files.checkpoint import model_name

    with LoadingLine(model_name(path.absolute()), sys.stderr) as line:
        return engine_loader(path, wanted)(line, cancel)


def _load_there(path: Path, wanted: ModelSettings, cancel: threading.Event) -> Engine:
    try:
        return load_at(path, wanted, cancel)
    except DeviceError as error:
        hint = f"{error.hint} Another device than the recorded one: --device auto".lstrip()
        raise DeviceError(error.message, hint=hint) from error


def _places(model: ModelRecord, settings: Settings, paths: Paths) -> Iterator[Path]:
    """Where the model may lie, each once."""
    seen = set()
    for name in (model.path, settings.model.model, ""):
        if name == model.path and not name:
            continue
        try:
            found = find_model(name, paths.models)
        except ModelError:
            continue
        if isinstance(found, Path) and found not in seen:
            seen.add(found)
            yield found
