"""A model held against every device and precision, without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_chat.engine.config import check_context
from llama_chat.engine.device_report import DeviceFacts
from llama_chat.engine.devices import device_label, find_device
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.load import FEW_BITS, library_dtype
from llama_chat.engine.memory import Need, estimate, largest_context, plan_precision, verdict
from llama_chat.engine.precision import Precision, choose_precision
from llama_chat.errors import DeviceError
from llama_chat.settings import DTYPES, ModelSettings

if TYPE_CHECKING:
    from llama_chat.engine.hf.load import LibraryNeed
    from llama_chat.engine.hf.other_model import OtherModel


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model takes on one device in one precision, and whether that is there."""

    device: str
    dtype: str
    context: int
    weights_bytes: int
    cache_bytes: int | None
    working_bytes: int | None
    total_bytes: int
    """Of what is known: transformers says nothing of its working memory, nor always of the cache."""
    verdict: str
    """`fits`, `tight`, `does not fit`, `unknown`."""
    largest_context: int | None
    """Tokens that fit; None where that is not known."""


def list_fits(
    model: ModelFile | OtherModel, found: Sequence[DeviceFacts], settings: ModelSettings
) -> list[Fit]:
    """The fits on all devices that answered, for all precisions; `--device` and `--dtype` leave one of each.

    Of what transformers runs, the weights count, and the cache where the model's config tells.

    Raises:
        ModelError: a context beyond the model's; a model, or a dtype, that transformers does not know.
        DeviceError: the device that was asked for is not there.
    """
    wanted = None if settings.device == "auto" else device_label(find_device(settings.device))
    asked = [facts for facts in found if not facts.problem and wanted in (None, facts.name)]
    dtypes = DTYPES if settings.dtype == "auto" else (settings.dtype,)
    if settings.engine == "hf" or not isinstance(model, ModelFile):
        return _library_fits(model, asked, dtypes, settings.context)
    context = check_context(settings.context, model.config.context_length, model.checkpoint.path.name)
    kv_dtype = settings.kv_dtype
    return [_fit(model, facts, dtype, context, kv_dtype) for facts in asked for dtype in dtypes]


def _library_fits(
    model: ModelFile | OtherModel, asked: Sequence[DeviceFacts], dtypes: Sequence[str], context: int
) -> list[Fit]:
    from llama_chat.engine.hf.load import DTYPES as LIBRARY_DTYPES
    from llama_chat.engine.hf.load import library_needs

    needs = library_needs(model, LIBRARY_DTYPES, context)
    dense = [name for name in dtypes if name not in FEW_BITS] or dtypes  # alone, they are refused below
    return [
        _library_fit(facts, name, needs[library_dtype(name, find_device(facts.name))])
        for facts in asked
        for name in dense
    ]


def _library_fit(facts: DeviceFacts, dtype: str, need: LibraryNeed) -> Fit:
    total = Need(need.weights_bytes, need.cache_bytes or 0, 0)
    return Fit(
        facts.name,
        dtype,
        need.context,
        need.weights_bytes,
        need.cache_bytes,
        None,
        total.total_bytes,
        verdict(total, facts.free_bytes),
        None,
    )


def _fit(model: ModelFile, facts: DeviceFacts, dtype: str, context: int, kv_dtype: str) -> Fit:
    tensors = model.checkpoint.tensors
    precision = _planned(model, facts, dtype, context, kv_dtype)
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


def _planned(model: ModelFile, facts: DeviceFacts, dtype: str, context: int, kv_dtype: str) -> Precision:
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
            kv_dtype=kv_dtype,
        )
    except DeviceError:
        return choose_precision(dtype, device, kv_dtype)
    return plan.precision
