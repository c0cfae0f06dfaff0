"""What the device says of the energy it took, where it says so."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import torch

from llama_chat.benchmarks.records import Energy

_POWERCAP = Path("/sys/class/powercap")
_SAMPLE_S = 0.1  # NVML renews its figure about that often


class EnergyMeter:
    """Adds up the energy between `start` and `stop`; says None where the device keeps it to itself.

    Counters of the processor (RAPL, Linux) where they can be read, else the power that the GPU's driver
    reports, sampled ten times a second. Both are of the whole chip, whoever uses it.

    Args:
        device: where the model runs.
        powercap: folder of the counters.
    """

    def __init__(self, device: torch.device, powercap: Path = _POWERCAP) -> None:
        self._device, self._powercap = device, powercap
        self._joules, self._tokens = 0.0, 0
        self._before: dict[Path, int] = {}
        self._sampler: _PowerSampler | None = None
        self._is_known = True

    def start(self) -> None:
        """Tokens are decoded from now on."""
        if self._device.type == "cpu":
            self._before = _counters(self._powercap)
        elif self._device.type == "cuda" and _power_w(self._device) is not None:
            self._sampler = _PowerSampler(self._device)
            self._sampler.start()
        self._is_known = self._is_known and bool(self._before or self._sampler)

    def stop(self, tokens: int) -> None:
        """So many were decoded since."""
        self._tokens += tokens
        if self._sampler is not None:
            self._joules += self._sampler.finish()
            self._sampler = None
            return
        after = _counters(self._powercap) if self._before else {}
        for path, microjoules in self._before.items():
            used = after.get(path, microjoules) - microjoules
            self._joules += (used if used >= 0 else used + _range(path)) / 1e6

    def energy(self) -> Energy | None:
        """All of it, by token; None: not available."""
        if not self._is_known or not self._tokens or self._joules <= 0:
            return None
        source = (
            "processor package (RAPL)" if self._device.type == "cpu" else "GPU (power reported by its driver)"
        )
        return Energy(self._joules / self._tokens, source)


def _counters(powercap: Path) -> dict[Path, int]:
    """Microjoules by file, one for each processor package; without those that only root may read."""
    found = {}
    for path in sorted(powercap.glob("intel-rapl:[0-9]*/energy_uj")):
        if path.parent.name.count(":") > 1:
            continue  # a part of a package, which counts there
        try:
            found[path] = int(path.read_text())
        except (OSError, ValueError):
            continue
    return found


def _range(path: Path) -> int:
    """Where the counter begins again at 0."""
    try:
        return int(path.with_name("max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return 0


def _power_w(device: torch.device) -> float | None:
    """What the GPU takes now, in watts; None where its library is missing or does not tell."""
    try:
        return torch.cuda.power_draw(device) / 1000  # in mW, by NVML or amdsmi
    except Exception:  # whatever the vendor's library raises: then there is no figure
        return None


class _PowerSampler(threading.Thread):
    """Adds up power over time."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(name="llama-chat power", daemon=True)
        self._device = device
        self._ended = threading.Event()
        self._watts: list[float] = []
        self._began = time.perf_counter()

    def run(self) -> None:
        while True:
            if (watts := _power_w(self._device)) is not None:
                self._watts.append(watts)
            if self._ended.wait(_SAMPLE_S):
                return

    def finish(self) -> float:
        """Joules since it was made."""
        self._ended.set()
        self.join()
        seconds = time.perf_counter() - self._began
        return seconds * sum(self._watts) / len(self._watts) if self._watts else 0.0
