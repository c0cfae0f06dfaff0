"""The record of the machine that goes with every figure."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import torch

from llama_chat.benchmarks.records import MachineRecord
from llama_chat.engine.devices import machine_name, torch_build
from llama_chat.engine.hardware import Machine

_NVIDIA_VERSION = Path("/proc/driver/nvidia/version")
_AMD_VERSION = Path("/sys/module/amdgpu/version")


def machine_record(device: torch.device) -> MachineRecord:
    """What this machine is, as far as it says."""
    machine = Machine()
    processor = machine.processor()
    return MachineRecord(
        processor=processor.name,
        cores=processor.cores,
        memory_bytes=machine.memory().total_bytes,
        gpu="" if device.type == "cpu" else gpu_name(device),
        driver="" if device.type == "cpu" else driver(device),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch_build(),
        instruction_sets=processor.instruction_sets,
    )


def gpu_name(device: torch.device) -> str:
    """What its maker calls it."""
    return "Apple GPU" if device.type == "mps" else machine_name(device)


def driver(device: torch.device) -> str:
    """The driver's version; empty where nobody says it."""
    if device.type == "xpu":
        return str(getattr(torch.xpu.get_device_properties(device), "driver_version", ""))
    if device.type != "cuda":
        return ""
    if torch.version.hip:
        return _first_line(_AMD_VERSION) or platform.release()  # the kernel's own where it has no number
    if line := _first_line(_NVIDIA_VERSION):
        return next((word for word in line.split() if word[0].isdigit() and "." in word), "")
    return _asked_of_nvidia_smi()


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _asked_of_nvidia_smi() -> str:
    """For Windows, which keeps no file of it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]
