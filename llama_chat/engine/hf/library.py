"""Models by transformers' own reader: the families that we do not read ourselves."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from llama_chat.engine.devices import is_out_of_memory
from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import SCRATCH_ARCHITECTURES
from llama_chat.engine.hf.other_model import OtherModel
from llama_chat.errors import LlamaChatError, ModelError

_log = logging.getLogger(__name__)


def silence_library() -> None:
    """Let transformers say nothing from now on: its warnings and bars would be drawn into the chat.

    They come while a model answers, too, and some only once in a process.
    """
    from transformers.utils import logging as library_logging

    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()


@contextmanager
def asking_the_library(failed: str) -> Iterator[None]:
    """Calls into transformers, whose errors are all told in one line, but for those of memory.

    Args:
        failed: what could not be done, and where.

    Raises:
        ModelError: whatever the library made of a file; it raises nearly every kind of error.
    """
    try:
        yield
    except (LlamaChatError, MemoryError):
        raise
    except Exception as error:  # ValueError, OSError, KeyError, ImportError, SafetensorError, ...
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        _log.error(failed, exc_info=error)
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
        raise ModelError(f"{failed}: {reason}", hint="The log has the details.") from error


@contextmanager
def _hearing_progress(report: Callable[[float], None]) -> Iterator[None]:
    """Loading by transformers, whose bars nobody sees: what they would count goes to `report`.

    The library walks through the weights under the name "Loading weights" (5.23); other bars stay silent.
    What `report` raises ends the loading.
    """
    from transformers.utils import logging as library_logging

    def bar(make: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if options.get("desc") == "Loading weights" and args and hasattr(args[0], "__len__"):
            return _counted(args[0], report)
        return make(*args, **options)

    before = library_logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        library_logging.set_tqdm_hook(before)


def _counted(things: Any, report: Callable[[float], None]) -> Iterator[Any]:
    for done, thing in enumerate(things):
        report(done / len(things))
        yield thing


# What may be left out of a text model: RoPE's tables, state of the training, and networks beside the text's.
_HARMLESS = re.compile(
    r"(.*\.)?(rotary_emb\.inv_freq|position_ids|masked_bias|num_batches_tracked|_extra_state)"
    r"|(.*\.)?(visual|vision_\w+|audio_\w+|multi_modal_projector|mtp|nextn)\..*"
)
_TAKE_THE_FOLDER = "Take the model in its Hugging Face form: a folder with config.json and safetensors."


def check_gguf(path: Path) -> None:
    """Refuse a GGUF file of which the library leaves something out without a word, and then talks nonsense.

    It reads no `rope.scaling.*` (gpt-oss's it looks for, but in the wrong place), and drops tensors that its
    network has no place for: RoPE's divisors, and all biases of a Llama (transformers 5.23).

    Raises:
        ModelError: naming what it would leave out.
    """
    file = GGUFFile(path)
    architecture = file.get("general.architecture", str)
    kind = file.metadata.get(f"{architecture}.rope.scaling.type", "none")
    lost = sorted(name for name in file.tensors if name.startswith(("rope_freqs.", "rope_factors_")))
    if architecture in SCRATCH_ARCHITECTURES:
        lost += sorted(name for name in file.tensors if name.endswith(".bias"))
    if kind != "none":
        what = f"the scaling of RoPE ({shown(str(kind))})"
    elif lost:
        what = f"the tensor {shown(lost[0])}"
    else:
        return
    raise ModelError(f"{path.name}: transformers leaves {what} out of a GGUF file", hint=_TAKE_THE_FOLDER)


def read_library_config(model: OtherModel) -> Any:
    """The library's own reading of the sizes.

    Raises:
        ModelError: an architecture that it does not know, a damaged file, or one that it reads in part.
    """
    if model.is_gguf:
        check_gguf(model.path)
    with _refused_twice(model), asking_the_library("transformers does not know this model"):
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(local_files_only=True, trust_remote_code=False, **_place_of(model))


@contextmanager
def _refused_twice(model: OtherModel) -> Iterator[None]:
    """Asking the library about a model, whose refusal says why the from-scratch engine refused it, too."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{model.refusal_at}; {error.message}", hint=error.hint) from error


def _check_rope(config: Any) -> None:
    """Explain a refusal that comes of a scaling of RoPE, of which the library says the bare name.

    Raises:
        ModelError: naming it, and those that are known; nothing is raised where it is one of them.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    said = getattr(config.get_text_config(decoder=True), "rope_parameters", None)
    kind = said.get("rope_type", "default") if isinstance(said, dict) else "default"
    if kind not in ("default", *ROPE_INIT_FUNCTIONS):
        raise ModelError(
            f"transformers knows no RoPE of the type '{shown(str(kind)[:80])}', "
            f"but {', '.join(sorted(ROPE_INIT_FUNCTIONS))}",
            hint="Check rope_type in config.json, or look for a newer transformers.",
        )


def build_library_skeleton(model: OtherModel, config: Any) -> Any:
    """The network of that config, its weights without memory.

    Raises:
        ModelError: the architecture writes no text.
    """
    with _refused_twice(model):
        try:
            with asking_the_library("transformers has no text model for it"):
                from transformers import AutoModelForCausalLM

                with torch.device("meta"):
                    return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except ModelError:
            _check_rope(config)
            raise


def load_by_library(
    model: OtherModel,
    config: Any,
    dtype: torch.dtype,
    device_map: Mapping[str, Any] | None,
    report: Callable[[float], None] = lambda _: None,
) -> Any:
    """The model with its weights, in eval mode.

    Args:
        model: where it lies.
        config: from `read_library_config`.
        dtype: of the weights.
        device_map: for accelerate: which module goes where; None keeps all on the CPU.
        report: hears which share of the weights, counted as tensors, is in its place. (Of a GGUF file the
            library unpacks everything before that, unheard.)

    Raises:
        ModelError: damaged or incomplete files, tensors that the network does not have, or packages that
            are missing for them.
    """
    more: dict[str, Any] = {} if device_map is None else {"device_map": dict(device_map)}
    with asking_the_library(f"{model.path.name}: transformers cannot load it"), _hearing_progress(report):
        from transformers import AutoModelForCausalLM, GgufConfig

        if model.is_gguf:
            more["quantization_config"] = GgufConfig(dequantize=True)
        loaded, said = AutoModelForCausalLM.from_pretrained(
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **_place_of(model),
            **more,
        )
    missing = sorted(said["missing_keys"])
    if missing:
        raise ModelError(
            f"{model.path.name}: {len(missing)} tensors are missing, {shown(missing[0])} among them",
            hint=DAMAGED,
        )
    unknown = sorted(name for name in said["unexpected_keys"] if not _HARMLESS.fullmatch(name))
    if unknown:
        raise ModelError(
            f"{model.path.name}: transformers has no use for {len(unknown)} of the tensors, "
            f"{shown(unknown[0])} among them",
            hint="The config.json is of another model, or the model needs code of its own.",
        )
    return loaded.eval()


def _place_of(model: OtherModel) -> dict[str, Any]:
    if model.is_gguf:
        return {"pretrained_model_name_or_path": model.path.parent, "gguf_file": model.path.name}
    return {"pretrained_model_name_or_path": model.path}


# How many tokens a model was made for goes by many names.
_CONTEXT_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)


def context_length_of(config: Any) -> int | None:
    """Tokens that the model was made for; None where it says nothing, as recurrent ones do."""
    text = config.get_text_config(decoder=True)
    found = (getattr(text, name, None) for name in _CONTEXT_NAMES)
    return next((value for value in found if type(value) is int and value > 0), None)
