"""What is known of a device that a model could run on."""

from __future__ import annotations

from dataclasses import dataclass

from llama_chat.units import about_bytes


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device, as far as it answered."""

    name: str
    """What `--device` takes: `rocm:0`."""
    product: str = ""
    details: str = ""
    """`gfx942`, `sm_86`, or the processor's cores and instruction sets."""
    total_bytes: int | None = None
    free_bytes: int | None = None
    fast: tuple[str, ...] = ()
    """Names for `--dtype` that run fast there."""
    problem: str = ""
    """Why it did not answer, or cannot compute."""

    @property
    def is_cpu(self) -> bool:
        """Whether it is the processor."""
        return self.name == "cpu"

    @property
    def memory_text(self) -> str:
        """`21.3 GB of 24.0 GB free`, as far as that is known."""
        if self.free_bytes is None:
            return "memory not known"
        of_total = f" of {about_bytes(self.total_bytes)}" if self.total_bytes else ""
        return f"{about_bytes(self.free_bytes)}{of_total} free"
