"""What torch sees of this machine's devices, what each is good for, and what is missing for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from llama_chat.device_facts import DeviceFacts as DeviceFacts
from llama_chat.engine.devices import (
    BUILDS_PAGE,
    CUDA_HELP,
    ROCM_HELP,
    XPU_HELP,
    ask_free_memory,
    device_label,
    gpu_architecture,
    is_bf16_fast,
    torch_build,
)
from llama_chat.engine.hardware import Machine, Processor
from llama_chat.engine.quantize.kernels import has_int4_product


def list_devices(machine: Machine | None = None) -> list[DeviceFacts]:
    """Every device that torch sees, the CPU last; one that fails while it is asked says so."""
    machine = machine or Machine()
    return [*_gpus(), _answered("cpu", lambda: _cpu(machine))]


def _gpus() -> Iterator[DeviceFacts]:
    prefix = "rocm" if torch.version.hip else "cuda"
    yield from _numbered(prefix, _cuda, torch.cuda.is_available, torch.cuda.device_count)
    yield from _numbered("xpu", _xpu, torch.xpu.is_available, torch.xpu.device_count)
    try:
        has_mps = torch.backends.mps.is_available()
    except Exception as error:  # a driver may fail in any way; the list goes on
        yield DeviceFacts("mps", problem=_reason(error))
        return
    if has_mps:
        yield _answered("mps", _mps)


def _numbered(
    name: str, ask: Callable[[int], DeviceFacts], is_available: Callable[[], bool], count: Callable[[], int]
) -> Iterator[DeviceFacts]:
    """All devices of a kind."""
    try:
        found = count() if is_available() else 0
    except Exception as error:  # a driver may fail in any way; the list goes on
        yield DeviceFacts(name, problem=_reason(error))
        return
    for index in range(found):
        yield _answered(f"{name}:{index}", lambda index=index: ask(index))  # type: ignore[misc]  # bound now


def _answered(name: str, ask: Callable[[], DeviceFacts]) -> DeviceFacts:
    try:
        return ask()
    except Exception as error:  # a driver may fail in any way; the list goes on
        return DeviceFacts(name, problem=_reason(error))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _cuda(index: int) -> DeviceFacts:
    device = torch.device("cuda", index)
    properties = torch.cuda.get_device_properties(device)
    architecture = gpu_architecture(device)
    return DeviceFacts(
        device_label(device),
        properties.name,
        architecture,
        properties.total_memory,
        ask_free_memory(device),
        _fast(device),
        _without_code(architecture),
    )


def _without_code(architecture: str) -> str:
    """What is wrong where this torch holds no code for the GPU; its first product would fail."""
    known = [name for name in torch.cuda.get_arch_list() if not name.startswith("compute_")]
    if not known or any(_runs_on(name, architecture) for name in known):
        return ""
    return f"this torch has no code for {architecture}, only for {', '.join(known)}; {_other_build()}"


def _runs_on(built_for: str, architecture: str) -> bool:
    """Whether code for one architecture runs on another: the same, or an older step of NVIDIA's major one."""
    if built_for == architecture:
        return True
    ours, theirs = built_for.removeprefix("sm_"), architecture.removeprefix("sm_")
    if not (ours.isdigit() and theirs.isdigit()):
        return False
    return int(ours) // 10 == int(theirs) // 10 and int(ours) <= int(theirs)


def _other_build() -> str:
    return f"another build may have it: {BUILDS_PAGE}"


def _xpu(index: int) -> DeviceFacts:
    device = torch.device("xpu", index)
    properties = torch.xpu.get_device_properties(device)
    return DeviceFacts(
        device_label(device),
        properties.name,
        f"driver {properties.driver_version}",
        properties.total_memory,
        ask_free_memory(device),
        _fast(device),
    )


def _mps() -> DeviceFacts:
    device = torch.device("mps")
    return DeviceFacts(
        "mps",
        "Apple GPU",
        "memory shared with the processor",
        torch.mps.recommended_max_memory(),
        ask_free_memory(device),
        _fast(device),
    )


def _fast(device: torch.device) -> tuple[str, ...]:
    """What a GPU computes by itself; int4 needs a product of torch's, int8 is multiplied everywhere."""
    has_bf16 = is_bf16_fast(device)
    compute = torch.bfloat16 if has_bf16 else torch.float16
    names = ("bf16",) if has_bf16 else ()
    return (*names, "f16", "int8", *(("int4",) if has_int4_product(device, compute) else ()))


def _cpu(machine: Machine) -> DeviceFacts:
    processor, memory = machine.processor(), machine.memory()
    return DeviceFacts(
        "cpu",
        processor.name,
        _cpu_details(processor) + ("; memory limited by its container" if memory.is_limited else ""),
        memory.total_bytes,
        memory.free_bytes,
        _fast_on_cpu(processor),
    )


def _cpu_details(processor: Processor) -> str:
    cores = f"{processor.cores} core{'s' * (processor.cores != 1)}"
    return ", ".join((cores, *processor.instruction_sets))


def _fast_on_cpu(processor: Processor) -> tuple[str, ...]:
    """bf16 counts where the processor multiplies it; elsewhere it still halves what is read for a token."""
    sets = set(processor.instruction_sets)
    bf16 = ("bf16",) if sets & {"AVX-512 BF16", "AMX BF16", "BF16"} else ()
    few_bits = ("int8", "int4") if sets & {"AVX2", "AVX-512", "NEON"} else ()
    return (*bf16, "f32", *few_bits)


# --- what is missing -------------------------------------------------------------------------------


def advice(machine: Machine | None = None) -> list[str]:
    """A line for each graphics card that is there and that this torch does not use: why, and what to do."""
    machine = machine or Machine()
    ask = {"AMD": _advice_for_amd, "NVIDIA": _advice_for_nvidia, "Intel": _advice_for_intel}
    lines = []
    for vendor in machine.gpu_vendors():
        try:
            line = ask[vendor](machine)
        except Exception as error:  # a driver may fail in any way; the others are still asked
            line = f"The {vendor} GPU could not be asked: {_reason(error)}"
        if line:
            lines.append(line)
    return lines


def _advice_for_amd(machine: Machine) -> str:
    if not torch.version.hip:
        return (
            f"There is an AMD GPU, but torch {torch_build()} is not built for ROCm. {ROCM_HELP}, "
            "with `pip install --force-reinstall`."
        )
    if torch.cuda.is_available():
        return ""
    usable = machine.has_device_file("kfd")
    if usable is None:
        reason = "/dev/kfd is not there: load the amdgpu driver, or give the container --device /dev/kfd."
    elif not usable:
        reason = "/dev/kfd is not yours to open: sudo usermod -aG render,video $USER, then log in again."
    else:
        reason = "Its ROCm may not know this card; see `rocminfo`, and HSA_OVERRIDE_GFX_VERSION for Radeon."
    return f"There is an AMD GPU, but torch {torch_build()} does not see it. {reason}"


def _advice_for_nvidia(machine: Machine) -> str:
    if not torch.version.cuda:
        return (
            f"There is an NVIDIA GPU, but torch {torch_build()} is not built for CUDA. {CUDA_HELP}, "
            "with `pip install --force-reinstall`."
        )
    if torch.cuda.is_available():
        return ""
    reason = (
        "Its driver may be too old for this CUDA; see `nvidia-smi`."
        if machine.which("nvidia-smi")
        else "Its driver is missing: there is no `nvidia-smi`."
    )
    return f"There is an NVIDIA GPU, but torch {torch_build()} does not see it. {reason}"


def _advice_for_intel(machine: Machine) -> str:
    if torch.xpu.is_available() or torch.cuda.is_available():
        return ""
    if "+xpu" not in torch.__version__:
        return f"There is an Intel GPU; Arc and Core Ultra can be used. {XPU_HELP}."
    usable = machine.has_device_file("dri/renderD128")
    reason = (
        "/dev/dri/renderD128 is not yours to open: sudo usermod -aG render $USER, then log in again."
        if usable is False
        else "Its compute runtime may be missing: install intel-level-zero-gpu and intel-opencl-icd."
    )
    return f"There is an Intel GPU, but torch {torch_build()} does not see it. {reason}"
