"""Which code computes a decode step: the one compiled for this machine, or the eager one.

They differ in the last bits. So a reply's plan names its step (`ComputePlan.step`), and who goes on with it
or runs it again takes that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

EAGER = "eager"
"""The step that is always there."""

BEST = ""
"""Asks for the fastest that is at hand."""


@runtime_checkable
class HasSteps(Protocol):
    """An engine, or a network, that can have more than one."""

    @property
    def step_name(self) -> str:
        """The one that counts now."""
        ...

    def take_step(self, wanted: str) -> None:
        """Compute with that one from the next reply on; the eager one, where there is none of that name."""
        ...


def step_name(network: object) -> str:
    """The step that counts; the eager one where there is no other."""
    return network.step_name if isinstance(network, HasSteps) else EAGER


@contextmanager
def stepping_as_begun(engine: object, recorded: str | None) -> Iterator[None]:
    """Work during which the engine computes with the step of that name; None: with the best, as always."""
    if recorded is None or not isinstance(engine, HasSteps):
        yield
        return
    engine.take_step(recorded)
    try:
        yield
    finally:
        engine.take_step(BEST)
