"""How many bytes a second the device reads from its memory: what bounds decoding."""

from __future__ import annotations

import time

import torch

from llama_chat.engine.devices import free_memory

BUFFER_BYTES = 1 << 30
"""Several times the largest caches: 384 MB in a server's processor, 256 MB in a GPU."""

_READS = 5


def read_bandwidth(device: torch.device) -> float:
    """Bytes a second: the fastest of some sums over a buffer far larger than the caches.

    A sum reads every byte once and writes next to nothing. On the CPU it runs on the threads that torch
    is set to. A device with little free memory gets a smaller buffer.
    """
    free = free_memory(device)
    nbytes = BUFFER_BYTES if free is None else max(1 << 24, min(BUFFER_BYTES, free // 4))
    buffer = torch.ones(nbytes // 4, dtype=torch.float32, device=device)  # 4: bytes of an f32
    buffer.sum().item()  # the kernel is loaded now
    seconds = []
    for _ in range(_READS):
        wait_for(device)
        started = time.perf_counter()
        total = buffer.sum()
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    del total
    return buffer.nbytes / min(seconds)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "xpu":
        torch.xpu.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
