"""From a path and the model settings to an engine that is ready to answer."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from llama_chat.distribution.names import vocabulary_digest
from llama_chat.engine.choose import EngineChoice, choose_engine, read_model
from llama_chat.engine.config import check_context
from llama_chat.engine.devices import (
    device_label,
    find_device,
    free_memory,
    is_out_of_memory,
    machine_name,
    set_threads,
    threads_notices,
    torch_build,
)
from llama_chat.engine.drafting.build import build_drafting
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.freeing import give_memory_back
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.hf.placement import free_places
from llama_chat.engine.memory import Plan, out_of_memory, plan_precision
from llama_chat.engine.network import Network
from llama_chat.engine.precision import choose_precision
from llama_chat.engine.scratch import ScratchNetwork, load_scratch
from llama_chat.errors import DeviceError, Interrupted, ModelError
from llama_chat.events import Loading, ModelInfo
from llama_chat.settings import ModelSettings
from llama_chat.units import about_bytes

if TYPE_CHECKING:
    from llama_chat.engine.hf.network import HfNetwork
    from llama_chat.engine.hf.other_model import OtherModel

FEW_BITS = ("int8", "int4")


def load_engine(
    path: Path,
    settings: ModelSettings,
    report: Callable[[Loading], None] = lambda _: None,
    cancel: threading.Event | None = None,
    cache_folder: Path | None = None,
) -> LocalEngine:
    """The engine for the model at the path, as `build_engine` makes it of what `read_model` finds."""
    report(Loading(0.0, "header"))
    return build_engine(read_model(path, settings.engine), settings, report, cancel, cache_folder)


def build_engine(
    model: ModelFile | OtherModel,
    settings: ModelSettings,
    report: Callable[[Loading], None] = lambda _: None,
    cancel: threading.Event | None = None,
    cache_folder: Path | None = None,
) -> LocalEngine:
    """The engine for the model. Call it on the thread that will use it.

    Args:
        model: what `read_model` found.
        settings: how it is to run.
        report: hears how far it is.
        cancel: looked at meanwhile.
        cache_folder: where what is made of a model is kept for the next time; None keeps nothing.

    Raises:
        ModelError: the settings ask for what the model, or the engine, cannot do.
        DeviceError: the device is not there, or has not enough memory.
        Interrupted: `cancel` was set meanwhile.
    """
    device = find_device(settings.device)
    threads = set_threads(settings.threads)

    def on_progress(fraction: float) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Loading was stopped")
        report(Loading(fraction, "weights"))

    choice, plan = _choose(model, settings, device)
    network: ScratchNetwork | HfNetwork
    with telling_out_of_memory(model, settings, device, plan):
        if plan is not None and isinstance(model, ModelFile):
            network, notices = (
                build_scratch(model, settings, plan, threads, on_progress, cache_folder),
                plan.notices,
            )
            notices = (*notices, *network.notices)
        else:
            network = build_hf(model, settings, device, threads, on_progress)
            notices = network.notices
    on_progress(1.0)
    engine = LocalEngine(
        network,
        model.tokenizer,
        _model_info(model, network, choice, (*notices, *threads_notices(settings.threads)), device),
    )
    engine.drafting = build_drafting(engine, settings, cache_folder)
    return engine


@contextmanager
def telling_out_of_memory(
    model: ModelFile | OtherModel, settings: ModelSettings, device: torch.device, plan: Plan | None = None
) -> Iterator[None]:
    """Work for which the memory may end: then what it took is given back, and the error says what was needed.

    Args:
        model: is loaded, or runs.
        settings: its context counts.
        device: where it goes.
        plan: of the from-scratch engine while it loads; None for other work.

    Raises:
        DeviceError: the memory has ended.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what was loaded so far
        give_memory_back()
        if plan is not None and isinstance(model, ModelFile):
            raise _no_room(model, settings, plan) from error
        raise _out_of_memory(model, device, error) from error


def _choose(
    model: ModelFile | OtherModel, settings: ModelSettings, device: torch.device
) -> tuple[EngineChoice, Plan | None]:
    """The engine, and for the from-scratch one the precision that fits.

    Raises:
        ModelError: the settings ask for what the model cannot do.
        DeviceError: the model fits nowhere.
    """
    if not isinstance(model, ModelFile) or settings.engine == "hf":
        return choose_engine(settings.engine, model), None
    try:
        plan = plan_scratch(model, settings, device)
    except DeviceError as refusal:
        is_dense = settings.dtype not in FEW_BITS and settings.kv_dtype == "auto"
        can_be_spread = is_dense and len(free_places(device, settings.device)) > 1
        if settings.engine == "scratch" or not can_be_spread:
            raise
        return choose_engine(settings.engine, model, refusal.message.rstrip(".")), None
    return choose_engine(settings.engine, model), plan


def plan_scratch(model: ModelFile, settings: ModelSettings, device: torch.device) -> Plan:
    """How the from-scratch engine keeps the weights, held against the free memory.

    Raises:
        ModelError: a context that the model was not made for.
        DeviceError: it does not fit; with numbers, and a smaller choice.
    """
    check_context(settings.context, model.config.context_length, path_of(model).name)
    return plan_precision(
        settings.dtype,
        device,
        model.config,
        model.checkpoint.tensors,
        context=settings.context,
        free_bytes=free_memory(device),
        kv_dtype=settings.kv_dtype,
    )


def build_scratch(
    model: ModelFile,
    settings: ModelSettings,
    plan: Plan,
    threads: int,
    report: Callable[[float], None],
    cache_folder: Path | None = None,
) -> ScratchNetwork:
    """The from-scratch network; what is made of its weights is kept in the folder, if there is one."""
    return load_scratch(
        model.checkpoint,
        model.config,
        plan.precision,
        context=settings.context,
        threads=threads,
        report=report,
        cache_folder=cache_folder,
    )


def build_hf(
    model: ModelFile | OtherModel,
    settings: ModelSettings,
    device: torch.device,
    threads: int,
    report: Callable[[float], None],
) -> HfNetwork:
    """The network of transformers.

    Raises:
        ModelError: the settings ask for what the model, or the engine, cannot do.
        DeviceError: it fits neither the device nor all that it may be spread over.
    """
    from llama_chat.engine.hf.load import load_hf

    if settings.kv_dtype != "auto":
        raise ModelError(
            f"--kv-dtype {settings.kv_dtype} is made by the from-scratch engine, not by transformers",
            hint="Leave it away with this model or engine.",
        )
    return load_hf(
        model,
        library_dtype(settings.dtype, device),
        device,
        context=settings.context,
        threads=threads,
        free_bytes=free_places(device, settings.device),
        report=report,
    )


def _no_room(model: ModelFile, settings: ModelSettings, plan: Plan) -> DeviceError:
    return out_of_memory(
        plan.precision,
        model.config,
        model.checkpoint.tensors,
        context=settings.context,
        free_bytes=free_memory(plan.precision.device),
    )


def _out_of_memory(
    model: ModelFile | OtherModel, device: torch.device, error: RuntimeError | MemoryError
) -> DeviceError:
    free = free_memory(device)
    said = f"; {about_bytes(free)} are free" if free is not None else ""
    return DeviceError(
        f"{device_label(device)} has not enough memory for {path_of(model).name}: "
        f"{str(error).splitlines()[0] if str(error) else 'out of memory'}{said}",
        hint="Take a smaller model, or a --dtype of fewer bits.",
    )


def library_dtype(asked: str, device: torch.device) -> str:
    """The dtype of a transformers model for a `--dtype`: bf16 or f16 where nothing is asked for.

    Raises:
        ModelError: few bits are the from-scratch engine's.
    """
    if asked in FEW_BITS:
        raise ModelError(
            f"--dtype {asked} is made by the from-scratch engine, not by transformers",
            hint="Take bf16, f16 or f32 with --engine hf.",
        )
    if asked != "auto":
        return asked
    return "f16" if choose_precision("auto", device).compute is torch.float16 else "bf16"


def path_of(model: ModelFile | OtherModel) -> Path:
    """What a user would give as `--model`."""
    return model.checkpoint.path if isinstance(model, ModelFile) else model.path


def _model_info(
    model: ModelFile | OtherModel,
    network: Network,
    choice: EngineChoice,
    notices: tuple[str, ...],
    device: torch.device,
) -> ModelInfo:
    tokenizer = model.tokenizer
    vocabulary = tokenizer.vocabulary
    special_ids = tuple(sorted({*vocabulary.special_ids.values(), *vocabulary.hidden_ids}))
    source = model.checkpoint if isinstance(model, ModelFile) else model
    return ModelInfo(
        name=model.name,
        path=str(path_of(model)),
        engine=choice.engine,
        architecture=model.architecture,
        device=network.info.device,
        dtype=network.info.dtype,
        context_length=network.info.context_length,
        vocab_size=network.info.vocab_size,
        parameters=network.info.parameters,
        weights_bytes=network.info.weights_bytes,
        fingerprint=source.fingerprint(),
        chat_template=model.chat_template,
        special_tokens=tokenizer.special_tokens,
        visible_tokens=tokenizer.visible_tokens,
        bos_text=tokenizer.text_of(vocabulary.bos_id),
        eos_text=tokenizer.text_of(vocabulary.eos_id),
        threads=network.info.threads,
        torch=torch_build(),
        machine=machine_name(device),
        engine_reason=choice.reason,
        longest_context=model.config.context_length if isinstance(model, ModelFile) else 0,
        notices=(*model.notices, *notices),
        end_ids=tuple(sorted(vocabulary.end_ids)),
        special_ids=special_ids,
        vocabulary_digest=vocabulary_digest(vocabulary.pieces, special_ids),
    )
