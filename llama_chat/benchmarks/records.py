"""What is measured and what was found, as plain data that goes through JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from llama_chat.settings import ModelSettings

FORMAT = "llama-chat bench 1"
"""Stands in every object that is printed or kept, so that a file of another kind is recognised."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt in words, instead of a number of ids."""

    text: str
    raw: bool = False
    """Given to the model as it is, without the chat template."""
    system: str = ""
    date: str = ""
    """As the template is told."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One combination of what was asked for; it is measured in a process of its own."""

    settings: ModelSettings
    """The model by its path."""
    prompt_tokens: int
    """0 where the prompt is a text."""
    new_tokens: int
    repeats: int
    prompt: PromptText | None = None
    draft: str = "off"
    """What is to draft tokens in a run besides; the plain figures are without."""

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Configuration:
        """The same again."""
        prompt = None if data["prompt"] is None else PromptText(**data["prompt"])
        return cls(**{**data, "settings": ModelSettings(**data["settings"]), "prompt": prompt})


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """On what it was measured."""

    processor: str
    cores: int
    """That the program may use."""
    memory_bytes: int | None
    gpu: str
    """Empty where the processor computes."""
    driver: str
    os: str
    python: str
    torch: str
    instruction_sets: tuple[str, ...] = ()

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> MachineRecord:
        """The same again, from our own process: not checked."""
        return cls(**{**data, "instruction_sets": tuple(data["instruction_sets"])})


@dataclass(frozen=True, slots=True)
class Energy:
    """What the device says it took while tokens were decoded."""

    joules_per_token: float
    source: str
    """Who says so, and of what."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the logits are from those of the same weights in f32, over a fixed text."""

    tokens: int
    mean_kl: float
    """KL(f32 ‖ this), nats a token; of forwards over many ids."""
    step_tokens: int
    step_mean_kl: float
    """The same over the last of the tokens, which went through one by one, as in a reply."""
    perplexity: float
    f32_perplexity: float
    top1_share: float
    """The part of the tokens, 0 to 1, with the same likeliest next one."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """The same reply as in a chat, up to its end, without drafting and with it."""

    draft: str
    """What drafted."""
    new_tokens: int
    plain_tok_per_s: float
    tok_per_s: float
    drafted_tokens: int
    accepted_tokens: int
    is_equal: bool
    """Whether both replies have the same tokens."""

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.tok_per_s / self.plain_tok_per_s


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one configuration; times in seconds, one for each repeat where there are several."""

    model: str
    fingerprint: str
    parameters: int
    engine: str
    dtype: str
    device: str
    threads: int
    context_length: int
    prompt_tokens: int
    new_tokens: int
    prompt: str
    """`ids`, `chat template` or `raw text`."""
    import_s: float
    """Of torch."""
    load_s: float
    first_token_cold_s: float
    """From the start of a new process, with the import, the loading and the whole prompt."""
    first_token_s: float
    """Of a loaded model, as a chat gets it: with the sampler and the 64 candidates."""
    prefill_s: tuple[float, ...]
    """All ids of the prompt up to the first chosen token."""
    decode_s: tuple[float, ...]
    """`new_tokens` forwards of one id, each with the choice of the likeliest next."""
    chat_decode_tok_per_s: float
    """The same through the loop of a chat, greedy."""
    peak_memory_bytes: int | None
    """Of main memory, with the files that were mapped and read; None where the system does not say."""
    peak_device_bytes: int | None
    weights_bytes: int
    weights_read_bytes: int
    """Of one decode step."""
    kv_read_bytes: int
    """Keys and values that a step reads, at the middle of what was decoded."""
    bandwidth_bytes_per_s: float
    """Measured: a read over a buffer far larger than the caches."""
    energy: Energy | None = None
    step: str = ""
    """Which code computed a token: `eager`, or the name of what was compiled for this machine."""
    quality: Quality | None = None
    drafting: Drafted | None = None
    notices: tuple[str, ...] = ()

    @property
    def prefill_tok_per_s(self) -> float:
        """The median."""
        return self.prompt_tokens / median(self.prefill_s)

    @property
    def decode_tok_per_s(self) -> float:
        """The median."""
        return self.new_tokens / median(self.decode_s)

    @property
    def reply_s(self) -> float:
        """Prompt and reply together, the median."""
        return median(map(sum, zip(self.prefill_s, self.decode_s, strict=True)))

    @property
    def reply_tok_per_s(self) -> float:
        """New tokens over all of that: what others mostly tell."""
        return self.new_tokens / self.reply_s

    @property
    def bytes_per_token(self) -> int:
        """Read from memory for each decoded token."""
        return self.weights_read_bytes + self.kv_read_bytes

    @property
    def bandwidth_share(self) -> float:
        """Of what the memory can give, the part that decoding reads: 1 is the bound."""
        return self.bytes_per_token * self.decode_tok_per_s / self.bandwidth_bytes_per_s

    def as_data(self) -> dict[str, Any]:
        """For JSON: the fields, and what follows from them."""
        return {
            "prefill_tok_per_s": round(self.prefill_tok_per_s, 2),
            "decode_tok_per_s": round(self.decode_tok_per_s, 2),
            "reply_tok_per_s": round(self.reply_tok_per_s, 2),
            "bytes_per_token": self.bytes_per_token,
            "bandwidth_share": round(self.bandwidth_share, 4),
            "repeats": len(self.decode_s),
            **asdict(self),
        }

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Measured:
        """The same again, from our own process: not checked."""
        energy, quality, drafting = data["energy"], data["quality"], data["drafting"]
        known = {name: data[name] for name in cls.__dataclass_fields__}
        return cls(
            **{
                **known,
                "prefill_s": tuple(data["prefill_s"]),
                "decode_s": tuple(data["decode_s"]),
                "notices": tuple(data["notices"]),
                "energy": None if energy is None else Energy(**energy),
                "quality": None if quality is None else Quality(**quality),
                "drafting": None if drafting is None else Drafted(**drafting),
            }
        )
