"""A model held against every device and precision, without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.engine.config import check_context
from llama_chat.engine.device_report import DeviceFacts
from llama_chat.engine.devices import device_label, find_device
from llama_chat.engine.memory import estimate, largest_context, plan_precision, verdict
from llama_chat.engine.model_file import ModelFile
from llama_chat.engine.precision import Precision, choose_precision
from llama_chat.errors import DeviceError
from llama_chat.settings import DTYPES, ModelSettings


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model takes on one device in one precision, and whether that is there."""

    device: str
    dtype: str
    context: int
    weights_bytes: int
    cache_bytes: int
    working_bytes: int
    total_bytes: int
    verdict: str
    """`fits`, `tight`, `does not fit`, `unknown`."""
    largest_context: int | None
    """Tokens that fit; None where the free memory is not known."""


def list_fits(model: ModelFile, found: Sequence[DeviceFacts], settings: ModelSettings) -> list[Fit]:
    """The fits on all devices that answered, for all precisions; `--device` and `--dtype` leave one of each.

    Raises:
        ModelError: a context beyond the model's.
        DeviceError: the device that was asked for is not there.
    """
    context = check_context(settings.context, model.config.context_length, model.checkpoint.path.name)
    wanted = None if settings.device == "auto" else device_label(find_device(settings.device))
    dtypes = DTYPES if settings.dtype == "auto" else (settings.dtype,)
    return [
        _fit(model, facts, dtype, context)
        for facts in found
        if not facts.problem and wanted in (None, facts.name)
        for dtype in dtypes
    ]


def _fit(model: ModelFile, facts: DeviceFacts, dtype: str, context: int) -> Fit:
    tensors = model.checkpoint.tensors
    precision = _planned(model, facts, dtype, context)
    need = estimate(model.config, tensors, precision, context)
    fitting = (
        None
        if facts.free_bytes is None
        else largest_context(model.config, tensors, precision, facts.free_bytes)
    )
    return Fit(
        facts.name,
        dtype if precision.kind in ("auto", dtype) else f"{dtype} ({precision.kind})",
        context,
        need.weights_bytes,
        need.cache_bytes,
        need.working_bytes,
        need.total_bytes,
        verdict(need, facts.free_bytes),
        fitting,
    )


def _planned(model: ModelFile, facts: DeviceFacts, dtype: str, context: int) -> Precision:
    """What loading would take: `auto` may choose fewer bits, or none."""
    device = find_device(facts.name)
    try:
        plan = plan_precision(
            dtype,
            device,
            model.config,
            model.checkpoint.tensors,
            context=context,
            free_bytes=facts.free_bytes,
        )
    except DeviceError:
        return choose_precision(dtype, device)
    return plan.precision
