"""What is otherwise in a rerun than it was when the reply was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llama_chat.events import ComputePlan, ModelInfo
from llama_chat.sessions import ModelRecord

NOT_ALTERED = "nowhere"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing, as it was recorded and as it is now; a template is not quoted, only named."""

    what: str
    recorded: str
    now: str

    def __str__(self) -> str:
        if not self.recorded or not self.now:
            return self.what
        return f"{self.what} {self.now} (recorded: {self.recorded})"


def changes_between(
    model: ModelRecord | None, recorded: ComputePlan | None, info: ModelInfo, now: ComputePlan | None
) -> tuple[Change, ...]:
    """What differs, the weightiest first; what one side does not know is passed over.

    Args:
        model: that wrote the reply, if that is known.
        recorded: the reply's plan.
        info: of the model that runs now.
        now: its plan for the reply.
    """
    found = [*_model_changes(model, info)]
    if recorded is None:
        found.append(Change("the compute plan was not recorded", "", ""))
    else:
        found.extend(_plan_changes(recorded, info, now))
    return tuple(found)


def _model_changes(model: ModelRecord | None, info: ModelInfo) -> Iterator[Change]:
    if model is None:
        yield Change("the model was not recorded", "", "")
        return
    yield from _differing("weights", model.fingerprint, info.fingerprint)
    yield from _differing("engine", model.engine, info.engine)
    if model.template != (info.chat_template or ""):
        yield Change("the model's own template is another one now (the recorded one is used)", "", "")


def _plan_changes(recorded: ComputePlan, info: ModelInfo, now: ComputePlan | None) -> Iterator[Change]:
    yield from _differing("device", recorded.device, info.device)
    yield from _differing("dtype", recorded.dtype, info.dtype)
    yield from _differing("threads", str(recorded.threads), str(info.threads))
    yield from _differing("torch", recorded.torch, info.torch)
    if now is not None:
        yield from _differing("machine", recorded.machine, now.machine)
        yield from _differing("decode step", recorded.step, now.step)
        yield from _differing("altered", recorded.alteration or NOT_ALTERED, now.alteration or NOT_ALTERED)


def _differing(what: str, recorded: str, now: str) -> Iterator[Change]:
    if recorded and now and recorded != now:
        yield Change(what, recorded, now)
