"""A run beside an earlier one: ratios, and what was not the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.benchmarks.history import Past
from llama_chat.benchmarks.records import MachineRecord, Measured

_MAY_DIFFER = frozenset({"machine", "torch", "decode step"})
"""What the same configuration can come to at another time; it is told with the ratios."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was otherwise then."""

    what: str
    then: str
    now: str

    @property
    def is_grave(self) -> bool:
        """Whether the ratios mean little by it."""
        return self.what in ("machine", "model")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Now over then: of speeds, more than 1 is faster."""

    date: str
    prefill: float
    decode: float
    first_token: float | None
    peak_memory: float | None
    differences: tuple[Difference, ...] = ()


def compare_with_last(now: Measured, machine: MachineRecord, past: Sequence[Past]) -> Comparison | None:
    """With the last run of the same model in the same configuration; None: there is none."""
    same = [
        then
        for then in past
        if not {difference.what for difference in differences(now, machine, then)} - _MAY_DIFFER
        and _is_same_work(now, then)
    ]
    return compare(now, machine, same[-1]) if same else None


def compare_with_any(now: Measured, machine: MachineRecord, past: Sequence[Past]) -> Comparison | None:
    """With the one that differs least, of those the latest; None: none had prompts and replies as long."""
    of_that_length = [then for then in past if _is_same_work(now, then)]
    if not of_that_length:
        return None
    least = min(len(differences(now, machine, then)) for then in of_that_length)
    nearest = [then for then in of_that_length if len(differences(now, machine, then)) == least]
    return compare(now, machine, nearest[-1])


def compare(now: Measured, machine: MachineRecord, then: Past) -> Comparison:
    """The ratios."""
    return Comparison(
        date=then.date,
        prefill=now.prefill_tok_per_s / then.prefill_tok_per_s,
        decode=now.decode_tok_per_s / then.decode_tok_per_s,
        first_token=now.first_token_s / then.first_token_s if then.first_token_s > 0 else None,
        peak_memory=(
            now.peak_memory_bytes / then.peak_memory_bytes
            if now.peak_memory_bytes and then.peak_memory_bytes > 0
            else None
        ),
        differences=differences(now, machine, then),
    )


def differences(now: Measured, machine: MachineRecord, then: Past) -> tuple[Difference, ...]:
    """What was not the same, the machine first."""
    pairs = (
        ("machine", then.machine, machine.gpu or machine.processor),
        ("model", then.model, now.model),
        ("engine", then.engine, now.engine),
        ("dtype", then.dtype, now.dtype),
        ("device", then.device, now.device),
        ("threads", str(then.threads), str(now.threads)),
        ("torch", then.torch, machine.torch),
        ("decode step", then.step, now.step),
    )
    found = [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
    if now.model == then.model and now.fingerprint != then.fingerprint:
        found.append(Difference("model", then.model, now.model))  # another one of the same name
    return tuple(found)


def _is_same_work(now: Measured, then: Past) -> bool:
    ours = now.prompt_tokens, now.new_tokens, now.prompt
    return ours == (then.prompt_tokens, then.new_tokens, then.prompt)
