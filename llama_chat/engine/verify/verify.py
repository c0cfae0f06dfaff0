"""`verify`: one engine after the other over the same ids, then the figures and the verdict.

Only one network is in memory at a time; what is kept of each are its logits at the compared places.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from llama_chat.engine.devices import device_label, find_device, free_memory, set_threads, torch_build
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.hf.load import library_version
from llama_chat.engine.hf.other_model import OtherModel
from llama_chat.engine.load import (
    FEW_BITS,
    build_hf,
    build_scratch,
    library_dtype,
    plan_scratch,
    telling_out_of_memory,
)
from llama_chat.engine.memory import Plan as MemoryPlan
from llama_chat.engine.network import Network
from llama_chat.engine.verify.damage import bad_tensors
from llama_chat.engine.verify.figures import Difference, Greedy, differences, greedy
from llama_chat.engine.verify.plan import LeftOut, Plan, plan_positions
from llama_chat.engine.verify.probe import (
    GREEDY_PROMPT_TOKENS,
    GREEDY_TOKENS,
    Said,
    go_on,
    say_at,
    say_text,
)
from llama_chat.engine.verify.text import TEXT, long_ids
from llama_chat.engine.verify.verdict import Check, check_dtype, check_f32
from llama_chat.engine.weights import running_dtype
from llama_chat.errors import DeviceError, Interrupted, ModelError
from llama_chat.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Comparison:
    """One network against another, each by its engine and what it ran in: `scratch Q4_1`, `hf f32`."""

    ours: str
    reference: str
    places: tuple[Difference, ...]
    greedy: Greedy


@dataclass(frozen=True, slots=True)
class Verification:
    """All that was found."""

    model: str
    fingerprint: str
    device: str
    threads: int
    torch: str
    transformers: str
    dtype: str
    """That was to be verified beside f32."""
    text_tokens: int
    positions: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    damage: tuple[str, ...]
    """What holds values that are no numbers: networks, and tensors of the file."""
    seconds: float

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.damage and all(check.passed for check in self.checks)


def verify(
    model: ModelFile | OtherModel,
    settings: ModelSettings,
    *,
    positions: Sequence[int] = (),
    tell: Callable[[str], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> Verification:
    """Both engines on the model, in f32 and in the dtype of the settings.

    Args:
        model: from `read_model`.
        settings: device, dtype, context and threads count; the engine does not.
        positions: where to compare beside the text, as numbers of tokens; none: a few that take no long time.
        tell: hears what is done next.
        cancel: stops it at the next chunk.

    Raises:
        ModelError: only one of the engines runs the model.
        DeviceError: the device is not there, or has not enough memory even without f32.
        Interrupted: `cancel` was set.
    """
    if not isinstance(model, ModelFile):
        raise ModelError(
            f"{model.name}: there is nothing to hold it against, the from-scratch engine does not run it: "
            f"{model.why}"
        )
    device = find_device(settings.device)
    work = _Work(model, settings, device, set_threads(settings.threads), tuple(positions), tell, cancel)
    return work.run()


@dataclass(slots=True)
class _Work:
    """One verification on its way."""

    model: ModelFile
    settings: ModelSettings
    device: torch.device
    threads: int
    asked: tuple[int, ...]
    tell: Callable[[str], None]
    cancel: threading.Event | None
    plan: Plan | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def run(self) -> Verification:
        started = time.perf_counter()
        comparisons, checks, dtype = self.compare()
        if self.damage:
            self.tell("looking for the tensors that are damaged")
            self.damage += bad_tensors(self.model.checkpoint)

        assert self.plan is not None
        return Verification(
            model=self.model.name,
            fingerprint=self.model.checkpoint.fingerprint(),
            device=device_label(self.device),
            threads=self.threads,
            torch=torch_build(),
            transformers=library_version(),
            dtype=dtype,
            text_tokens=len(self.text_ids()),
            positions=self.plan.positions,
            left_out=tuple(self.left_out),
            comparisons=tuple(comparisons),
            checks=tuple(checks),
            damage=tuple(self.damage),
            seconds=time.perf_counter() - started,
        )

    def compare(self) -> tuple[list[Comparison], list[Check], str]:
        """The engines in f32 if that fits, then both in the dtype that is wanted."""
        comparisons, checks = [], []
        exact: Said | None = None
        if (in_f32 := self.ask_in_f32()) is not None:
            exact, ours = in_f32
            comparisons.append(_compared("scratch f32", ours, "hf f32", exact))
            checks += check_f32(comparisons[-1].places, comparisons[-1].greedy)
        if self.settings.dtype == "f32" and exact is not None:
            return comparisons, checks, "f32"
        wanted = "auto" if self.settings.dtype == "f32" else self.settings.dtype
        dense = library_dtype("auto" if wanted in FEW_BITS else wanted, self.device)
        theirs, _ = self.ask("hf", dense)
        ours, dtype = self.ask("scratch", wanted)
        if exact is not None:
            comparisons.append(_compared(f"scratch {dtype}", ours, "hf f32", exact))
            checks += check_dtype(dtype, comparisons[-1].places)
            comparisons.append(_compared(f"hf {dense}", theirs, "hf f32", exact))
        comparisons.append(_compared(f"scratch {dtype}", ours, f"hf {dense}", theirs))
        if exact is None:
            checks += check_dtype(dtype, comparisons[-1].places)
        return comparisons, checks, dtype

    def ask_in_f32(self) -> tuple[Said, Said] | None:
        """What transformers says in f32, and the from-scratch engine; None where f32 is left out."""
        try:
            plan_scratch(
                self.model, replace(self.settings, dtype="f32", kv_dtype="auto"), self.device
            )  # it needs the most
            exact, _ = self.ask("hf", "f32")
            ours, _ = self.ask("scratch", "f32")
        except DeviceError as refusal:
            self.left_out.append(LeftOut("f32", refusal.message.rstrip(".")))
            return None
        return exact, ours

    def text_ids(self) -> list[int]:
        tokenizer = self.model.tokenizer
        return tokenizer.encode(TEXT)[: self.settings.context or self.model.config.context_length]

    def ask(self, engine: str, dtype: str) -> tuple[Said, str]:
        """What one network says, and what it ran in; it is gone afterwards."""
        self.check_cancel()
        # In f32 the engines must compute the same; transformers knows no cache of few bits.
        kv_dtype = "auto" if engine == "hf" or dtype == "f32" else self.settings.kv_dtype
        settings = replace(self.settings, dtype=dtype, kv_dtype=kv_dtype)
        plan = plan_scratch(self.model, settings, self.device) if engine == "scratch" else None
        if plan is not None:  # the dtype may be `auto`
            dtype = running_dtype(self.model.checkpoint.tensors.values(), plan.precision)
        label = f"{engine} {dtype}"
        self.tell(f"{label}: loading")
        with telling_out_of_memory(self.model, settings, self.device):
            return self.ask_network(self.load(settings, plan), label)

    def ask_network(self, network: Network, label: str) -> tuple[Said, str]:
        """What it says, and what it ran in; it is closed afterwards."""
        try:
            ids = self.text_ids()
            self.tell(f"{label}: a text of {len(ids):,} tokens")
            text_TV, tok_per_s = say_text(network, ids)
            if self.plan is None:
                self.plan = plan_positions(
                    self.asked,
                    network.info.context_length,
                    self.model.config,
                    tok_per_s,
                    free_memory(self.device),
                )
                self.left_out += self.plan.left_out
            long = long_ids(self.model.tokenizer.encode, max(self.plan.positions, default=0))
            self.tell(f"{label}: positions {', '.join(f'{p:,}' for p in self.plan.positions)}")
            at_RV = say_at(network, long, self.plan.positions, lambda _: self.check_cancel())
            self.tell(f"{label}: going on by itself")
            greedy_ids, margins = go_on(network, ids[:GREEDY_PROMPT_TOKENS], GREEDY_TOKENS)
            said = Said(text_TV, at_RV, greedy_ids, margins, tok_per_s)
            if not said.is_finite():
                self.damage.append(f"the logits of {label} are no numbers (NaN or infinity)")
            return said, network.info.dtype
        finally:
            network.close()

    def load(self, settings: ModelSettings, plan: MemoryPlan | None) -> Network:
        """The from-scratch network by its plan, or the one of transformers."""

        def on_progress(_fraction: float) -> None:
            self.check_cancel()

        if plan is None:
            return build_hf(self.model, settings, self.device, self.threads, on_progress)
        with telling_out_of_memory(self.model, settings, self.device, plan):
            return build_scratch(self.model, settings, plan, self.threads, on_progress)

    def check_cancel(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Interrupted("Stopped")


def _compared(ours: str, said: Said, reference: str, reference_said: Said) -> Comparison:
    return Comparison(ours, reference, differences(said, reference_said), greedy(said, reference_said))
