"""Everything that is measured of one configuration, in this process, which should be a new one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from llama_chat.benchmarks.prompts import prompt_ids
from llama_chat.benchmarks.records import Configuration, Drafted, Energy, Measured
from llama_chat.conversation import Conversation, Role
from llama_chat.decode_steps import step_name
from llama_chat.engine.bench.bandwidth import read_bandwidth
from llama_chat.engine.bench.energy import EnergyMeter
from llama_chat.engine.bench.memory import peak_device_bytes, peak_memory_bytes
from llama_chat.engine.bench.speed import WARM_UP_TOKENS, ChatRun, Run, run_chat, run_network
from llama_chat.engine.bench.traffic import kv_bytes_per_position, weights_read_bytes
from llama_chat.engine.drafting.build import build_drafting
from llama_chat.engine.generate import LocalEngine
from llama_chat.errors import Interrupted, UsageError
from llama_chat.events import Text
from llama_chat.paths import user_paths
from llama_chat.turn import build_prompt

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Start:
    """How the process came to its engine."""

    started: float
    """Of the process, by `time.time`."""
    import_s: float
    load_s: float


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the measurements gave."""

    start: Start
    cold: ChatRun
    runs: Sequence[Run]
    chat: ChatRun
    kv_bytes: int
    peak_memory_bytes: int | None
    peak_device_bytes: int | None
    bandwidth_bytes_per_s: float
    energy: Energy | None
    drafting: Drafted | None


def measure(
    engine: LocalEngine,
    wanted: Configuration,
    ids: Sequence[int],
    start: Start,
    *,
    device: torch.device,
    cancel: threading.Event,
    tell: Callable[[str], None] = lambda _: None,
) -> Measured:
    """The figures. What is measured first is the warm-up of what follows, as in the process of a chat.

    Raises:
        UsageError: prompt and new tokens do not fit into the context.
        Interrupted: `cancel` was set.
    """
    check_room(engine, len(ids), wanted.new_tokens)
    tell("first prompt, cold")
    warm_up = min(WARM_UP_TOKENS, wanted.new_tokens)
    cold = run_chat(engine, ids, warm_up, cancel)
    if build_step(engine, cancel, tell):
        run_chat(engine, ids, warm_up, cancel)
    runs: list[Run] = []
    meter = EnergyMeter(device)
    for number in range(wanted.repeats):
        tell(f"{number + 1} of {wanted.repeats}")
        runs.append(run_network(engine, ids, wanted.new_tokens, cancel, device=device, decoding=meter.start))
        meter.stop(wanted.new_tokens)
    kv_bytes = kv_bytes_per_position(engine.live.cache) * (len(ids) + wanted.new_tokens // 2)
    tell("as in a chat")
    chat = run_chat(engine, ids, wanted.new_tokens, cancel)
    peaks = peak_memory_bytes(), peak_device_bytes(device)  # before the buffer of the next one
    tell("memory bandwidth")
    bandwidth = read_bandwidth(device)
    drafting = measure_drafting(engine, wanted, ids, cancel, tell)
    taken = _Taken(start, cold, runs, chat, kv_bytes, *peaks, bandwidth, meter.energy(), drafting)
    return _record(engine, wanted, len(ids), taken)


def _record(engine: LocalEngine, wanted: Configuration, prompt_tokens: int, taken: _Taken) -> Measured:
    info = engine.info
    return Measured(
        model=info.name,
        fingerprint=info.fingerprint,
        parameters=info.parameters,
        engine=info.engine,
        dtype=info.dtype,
        device=info.device,
        threads=info.threads,
        context_length=info.context_length,
        prompt_tokens=prompt_tokens,
        new_tokens=wanted.new_tokens,
        prompt=_kind_of_prompt(wanted, engine),
        import_s=taken.start.import_s,
        load_s=taken.start.load_s,
        first_token_cold_s=taken.cold.first_token_at - taken.start.started,
        first_token_s=taken.chat.first_token_s,
        prefill_s=tuple(run.prefill_s for run in taken.runs),
        decode_s=tuple(run.decode_s for run in taken.runs),
        chat_decode_tok_per_s=taken.chat.decode_tok_per_s,
        peak_memory_bytes=taken.peak_memory_bytes,
        peak_device_bytes=taken.peak_device_bytes,
        weights_bytes=info.weights_bytes,
        weights_read_bytes=weights_read_bytes(engine.network),
        kv_read_bytes=taken.kv_bytes,
        bandwidth_bytes_per_s=taken.bandwidth_bytes_per_s,
        energy=taken.energy,
        step=step_name(engine.network),
        drafting=taken.drafting,
        notices=info.notices,
    )


def build_step(engine: LocalEngine, cancel: threading.Event, tell: Callable[[str], None]) -> bool:
    """Whether the compiled decode step was made now; where it is kept, or cannot be made, there is no need.

    Raises:
        Interrupted: `cancel` was set.
    """
    engine.build_step()
    was_built = False
    while engine.is_building:
        tell("compiling the decode step, once for this machine")
        if cancel.wait(_POLL_S):
            raise Interrupted("Stopped")
        was_built = True
    return was_built


def measure_drafting(
    engine: LocalEngine,
    wanted: Configuration,
    ids: Sequence[int],
    cancel: threading.Event,
    tell: Callable[[str], None] = lambda _: None,
) -> Drafted | None:
    """One reply without drafting and with it; None where it was not asked for, or is not two tokens long.

    Raises:
        ModelError: the model that is to draft is not there, or has other tokens.
        Interrupted: `cancel` was set.
    """
    if wanted.draft == "off":
        return None
    tell("with drafting")
    settings = replace(wanted.settings, draft=wanted.draft)
    plain = run_chat(engine, ids, wanted.new_tokens, cancel, ends=True)
    engine.drafting = build_drafting(engine, settings, user_paths().cache)
    try:
        run_chat(engine, ids, min(WARM_UP_TOKENS, wanted.new_tokens), cancel)
        drafted = run_chat(engine, ids, wanted.new_tokens, cancel, ends=True)
    finally:
        engine.drafting = None
    if not plain.decode_tok_per_s or not drafted.decode_tok_per_s:
        return None
    return Drafted(
        draft=wanted.draft,
        new_tokens=len(drafted.token_ids),
        plain_tok_per_s=plain.decode_tok_per_s,
        tok_per_s=drafted.decode_tok_per_s,
        drafted_tokens=drafted.usage.drafted_tokens,
        accepted_tokens=drafted.usage.accepted_tokens,
        is_equal=plain.token_ids == drafted.token_ids,
    )


def ids_of(engine: LocalEngine, wanted: Configuration) -> list[int]:
    """The prompt: the ids that every program gets, or a text as the chat or the model itself takes it.

    Raises:
        PromptError: the text does not fit.
    """
    if wanted.prompt is None:
        return prompt_ids(wanted.prompt_tokens, engine.info.vocab_size, engine.info.special_ids)
    if wanted.prompt.raw or engine.info.chat_template is None:
        return engine.encode([Text(wanted.prompt.text)])
    conversation = Conversation()
    conversation.set_system(wanted.prompt.system)
    conversation.append(Role.USER, wanted.prompt.text)
    path, new_tokens = conversation.path(), wanted.new_tokens
    prompt = build_prompt(engine, path, date=wanted.prompt.date, max_new_tokens=new_tokens)
    return engine.encode(prompt.pieces)


def _kind_of_prompt(wanted: Configuration, engine: LocalEngine) -> str:
    if wanted.prompt is None:
        return "ids"
    return "raw text" if wanted.prompt.raw or engine.info.chat_template is None else "chat template"


def check_room(engine: LocalEngine, prompt_tokens: int, new_tokens: int) -> None:
    """Raises `UsageError` where prompt and new tokens do not fit into the context."""
    context = engine.info.context_length
    if prompt_tokens < 1:
        raise UsageError("The prompt is empty.", hint="Give --prompt a text.")
    if prompt_tokens + new_tokens > context:
        raise UsageError(
            f"{prompt_tokens:,} prompt tokens and {new_tokens:,} new ones do not fit into the context of "
            f"{context:,}.",
            hint="Take a smaller --prompt-tokens or --new-tokens, or a larger --context.",
        )
