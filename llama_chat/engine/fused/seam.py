"""What an engine of our own networks does with compiled steps: which one counts, and when it may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llama_chat.decode_steps import BEST, step_name
from llama_chat.engine.fused.source import StepSource
from llama_chat.engine.network import Network
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.engine.unpacked import UnpackedLayers


class SteppingEngine:
    """A part of `LocalEngine`: `llama_chat.decode_steps.HasSteps`, and the making of them."""

    network: Network
    _wanted_step = BEST
    _replies = 0
    """That run side by side, as those of a sweep do."""

    @property
    def step_name(self) -> str:
        """Which code computes a decode step."""
        return step_name(self.network)

    def take_step(self, wanted: str) -> None:
        """Compute with that one from the next reply on; the eager one, where there is none of that name."""
        self._wanted_step = wanted

    def build_step(self, *, waits: bool = False) -> None:
        """Have made, once for this machine, what makes the network faster, if it is not there; never fails.

        Args:
            waits: come back when it is made; otherwise at once, and a later reply takes it.
        """
        for part in self._made_parts():
            part.make(waits=waits)

    @property
    def is_building(self) -> bool:
        """Whether something is being made."""
        return any(part.is_being_made for part in self._made_parts())

    @contextmanager
    def replying(self) -> Iterator[None]:
        """Work during which the step stays the same, and what is being made stands still."""
        parts = self._made_parts()
        self._replies += 1
        if self._replies == 1:
            if isinstance(self.network, ScratchNetwork):
                self.network.take_step(self._wanted_step)
            for part in parts:
                part.pause()
        try:
            yield
        finally:
            self._replies -= 1
            if not self._replies:
                for part in parts:
                    part.resume()

    def _made_parts(self) -> list[StepSource | UnpackedLayers]:
        if not isinstance(self.network, ScratchNetwork):
            return []
        return [part for part in (self.network.unpacked, self.network.steps) if part is not None]
