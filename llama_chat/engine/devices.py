"""Where the tensors go: the device that was asked for, or why it is not there."""

from __future__ import annotations

import re

import torch

from llama_chat.engine.hardware import Machine, usable_cores
from llama_chat.errors import DeviceError

_NAMES = re.compile(r"(auto|cpu|mps|cuda|rocm|xpu)(?::(\d+))?")

BUILDS_PAGE = "https://pytorch.org/get-started/locally/"
ROCM_HELP = f"Install torch for ROCm, before llama-chat: choose Linux, Pip and ROCm at {BUILDS_PAGE}"
CUDA_HELP = f"Install torch for CUDA, before llama-chat: choose Pip and CUDA at {BUILDS_PAGE}"
XPU_HELP = f"Install torch for Intel GPUs, before llama-chat: choose Pip and XPU at {BUILDS_PAGE}"


def torch_build() -> str:
    """What this torch was built for: `2.13.0+cpu`, `2.13.0 (CUDA 12.8)`, `2.13.0 (ROCm 6.4)`."""
    if torch.version.hip:
        return f"{torch.__version__} (ROCm {torch.version.hip})"
    if torch.version.cuda:
        return f"{torch.__version__} (CUDA {torch.version.cuda})"
    return str(torch.__version__)


def find_device(asked: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `mps`, or `cuda`, `rocm`, `xpu` with an optional `:N`.

    ROCm's devices go by the name `cuda` in torch.

    Raises:
        DeviceError: an unknown name, or a device that is not there; says what torch is installed.
    """
    match = _NAMES.fullmatch(asked.strip().lower())
    if match is None:
        raise DeviceError(f"There is no device {asked!r}", hint="Use auto, cpu, mps, cuda, rocm or xpu.")
    name, number = match[1], int(match[2] or 0)
    if name == "auto":
        return _best_device()
    if name in ("cpu", "mps") and match[2]:
        raise DeviceError(f"{name} takes no number")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise _missing("mps", "It needs an Apple GPU and macOS 14 or later.")
        return torch.device("mps")
    return _numbered(name, number)


def _numbered(name: str, number: int) -> torch.device:
    """One of several GPUs of a kind."""
    if name == "xpu":
        count = torch.xpu.device_count() if torch.xpu.is_available() else 0
        help_text = XPU_HELP
    else:
        is_rocm = torch.version.hip is not None
        fits = torch.cuda.is_available() and is_rocm == (name == "rocm")
        count = torch.cuda.device_count() if fits else 0
        help_text = ROCM_HELP if name == "rocm" else CUDA_HELP
    if count == 0:
        raise _missing(name, help_text)
    if number >= count:
        raise DeviceError(f"There is no {name}:{number}; found are {name}:0 to {name}:{count - 1}")
    return torch.device("xpu" if name == "xpu" else "cuda", number)


def _missing(name: str, help_text: str) -> DeviceError:
    return DeviceError(
        f"No {name} device: the installed torch is {torch_build()} and sees none.", hint=help_text
    )


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.xpu.is_available():
        return torch.device("xpu", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


AMD_MATRIX_CORES = frozenset({"gfx90a", "gfx942", "gfx950"})
"""Instinct cards (MI200 and later) whose 4-bit products torch knows (`isCDNA2orLater` in its int4mm.cu)."""

# Radeon before RDNA 3 and Instinct before MI100 have no bf16 arithmetic: torch computes it in f32.
_AMD_WITHOUT_BF16 = ("gfx8", "gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c", "gfx10")


def gpu_architecture(device: torch.device) -> str:
    """What a cuda device's code is built for: `sm_86`, `gfx942`."""
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        return str(properties.gcnArchName).partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"


def is_bf16_fast(device: torch.device) -> bool:
    """Whether the device computes in bf16 by itself; where it does not, f16 is the faster one."""
    if device.type == "cuda":
        architecture = gpu_architecture(device)
        if architecture.startswith("gfx"):
            return not architecture.startswith(_AMD_WITHOUT_BF16)
        return torch.cuda.get_device_properties(device).major >= 8
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_bfloat16_conversions)
    return True


def free_memory(device: torch.device) -> int | None:
    """As `ask_free_memory`; None where the device fails while it is asked: loading will show why."""
    try:
        return ask_free_memory(device)
    except (RuntimeError, AttributeError):
        return None


def ask_free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken there; None where nobody says.

    What torch holds in reserve counts as free: a model that was closed leaves its memory there.

    Raises:
        RuntimeError: the device does not answer.
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + reserve
    if device.type == "xpu":
        reserve = torch.xpu.memory_reserved(device) - torch.xpu.memory_allocated(device)
        return int(torch.xpu.mem_get_info(device)[0]) + reserve
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return Machine().memory().free_bytes


def device_label(device: torch.device) -> str:
    """The name that a user knows: `rocm:0` where torch says `cuda:0` on an AMD card."""
    if device.type == "cuda" and torch.version.hip:
        return f"rocm:{device.index or 0}"
    return str(device)


def machine_name(device: torch.device) -> str:
    """What computes there, by the name that its maker gave it; empty where it does not answer."""
    try:
        if device.type == "cuda":
            return str(torch.cuda.get_device_properties(device).name)
        if device.type == "xpu":
            return str(torch.xpu.get_device_properties(device).name)
    except RuntimeError:
        return ""
    return Machine().processor().name


def set_threads(asked: int) -> int:
    """The number of processor threads that products use from now on: at most one a core, which 0 takes."""
    cores = usable_cores()
    torch.set_num_threads(min(asked, cores) or cores)
    return torch.get_num_threads()


def threads_notices(asked: int) -> tuple[str, ...]:
    """A word where more threads are asked for than `set_threads` takes; they would wait for each other."""
    cores = usable_cores()
    if asked <= cores:
        return ()
    have = "1 processor" if cores == 1 else f"{cores} processors"
    return (f"This program may use {have}: so many threads run, not {asked:,}.",)


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether there was no room: a class of its own on GPUs, words on the CPU and on Apple's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in ("out of memory", "allocate memory", "not enough memory"))
