"""`config.json` of a Hugging Face folder: the sizes of a Llama, or why it is none that runs here.

Defaults are those of transformers' `LlamaConfig` and `MistralConfig` (5.23), which leave out what equals
them when they save.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_chat.engine.config import OTHER_ENGINE, LlamaConfig, RopeScaling
from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.json_file import read_json
from llama_chat.errors import ModelError, NotOursError

GENERATION_CONFIG_NAME = "generation_config.json"
MAX_CONFIG_BYTES = 1 << 20

_MAX_SIZE = 1 << 24
_MAX_FACTOR = 1e6
_DEFAULT_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class _Family:
    """What a `model_type` leaves unsaid."""

    architecture: str
    context_length: int
    n_kv_heads: int | None
    """None: as many as there are heads."""
    sliding_window: int | None


# Every family that computes what a Llama computes. SmolLM2, TinyLlama, Yi and the distilled DeepSeek call
# themselves "llama". Mistral is one wherever its window is no shorter than its context.
FAMILIES: Mapping[str, _Family] = {
    "llama": _Family("LlamaForCausalLM", 2048, None, None),
    "mistral": _Family("MistralForCausalLM", 131_072, 8, 4096),
}


@dataclass(frozen=True, slots=True)
class HFConfig:
    """What config.json says."""

    model_type: str
    llama: LlamaConfig
    end_ids: frozenset[int]


class _Fields:
    """Typed reading of a table whose values nobody has checked."""

    def __init__(self, table: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self.table = table
        self.where = where
        self.prefix = prefix

    def wrong(self, key: str, wanted: str) -> ModelError:
        value = shown(repr(self.table.get(key))[:80])
        return ModelError(f"{self.where}: {self.prefix}{key} is {value}, wanted {wanted}", hint=DAMAGED)

    def get(self, key: str, default: Any = None) -> Any:
        """The value; the default where it is absent or null."""
        found = self.table.get(key)
        return default if found is None else found

    def required(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        if value is None:
            raise ModelError(f"{self.where}: there is no {self.prefix}{key}", hint=DAMAGED)
        return value

    def size(self, key: str, default: int | None = None) -> int:
        value = self.required(key, default)
        if type(value) is not int or not 1 <= value <= _MAX_SIZE:
            raise self.wrong(key, f"a whole number from 1 to {_MAX_SIZE:,}")
        return value

    def number(
        self, key: str, default: float | None = None, *, low: float = 0.0, high: float = 1e12
    ) -> float:
        """A number above `low` or equal to it, but never 0, and below `high`."""
        value = self.required(key, default)
        if type(value) not in (int, float) or not low <= value < high or not value:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value


def config_from_hf(config: Mapping[str, Any], where: str) -> HFConfig:
    """The sizes in a config.json.

    Args:
        config: the file's content.
        where: the file's name, for errors.

    Raises:
        ModelError: another architecture, something that the from-scratch engine does not compute, or a size
            that is missing or impossible.
    """
    fields = _Fields(config, where)
    family = _family_of(fields)
    _check_extras(fields)
    n_heads, dim = fields.size("num_attention_heads"), fields.size("hidden_size")
    if fields.get("head_dim") is None and dim % n_heads:
        raise ModelError(f"{where}: a width of {dim} cannot be split into {n_heads} heads", hint=DAMAGED)
    context_length = fields.size("max_position_embeddings", family.context_length)
    _check_window(fields, family, context_length)
    rope = _rope_of(fields)
    llama = LlamaConfig(
        dim=dim,
        n_layers=fields.size("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=fields.size("num_key_value_heads", family.n_kv_heads or n_heads),
        head_dim=fields.size("head_dim", dim // n_heads),
        ffn_dim=fields.size("intermediate_size"),
        vocab_size=fields.size("vocab_size"),
        context_length=context_length,
        norm_eps=fields.number("rms_norm_eps", 1e-6, high=1.0),
        rope_theta=rope.number("rope_theta", _DEFAULT_THETA, low=1.0),
        tied_output=fields.flag("tie_word_embeddings"),
        rope_divisor=_rope_divisor(rope),
        rope_scaling=_rope_scaling(rope, fields, context_length),
    )
    return HFConfig(config["model_type"], llama, end_ids_of(config, where))


def end_ids_of(config: Mapping[str, Any], where: str) -> frozenset[int]:
    """The ids that end a reply, in config.json (or its part about text) or generation_config.json.

    Raises:
        ModelError: they are no ids.
    """
    found = config.get("eos_token_id")
    ids = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(token_id) is int and token_id < _MAX_SIZE for token_id in ids):
        raise _Fields(config, where).wrong("eos_token_id", "the id of a token, or a list of such")
    text = config.get("text_config")
    of_text = end_ids_of(text, where) if isinstance(text, dict) else frozenset()
    return of_text.union(token_id for token_id in ids if token_id >= 0)  # -1 is how some say "none"


def end_ids_in(folder: Path, of_config: frozenset[int]) -> frozenset[int]:
    """The ids of config.json together with those of the folder's generation_config.json, where there is one.

    Raises:
        ModelError: it cannot be read, or names no ids.
    """
    path = folder / GENERATION_CONFIG_NAME
    if not path.is_file():
        return of_config
    return of_config | end_ids_of(read_json(path, MAX_CONFIG_BYTES), path.name)


def _family_of(fields: _Fields) -> _Family:
    model_type, architectures = fields.get("model_type"), fields.get("architectures")
    if not isinstance(model_type, str):
        raise ModelError(f"{fields.where}: there is no model_type", hint=DAMAGED)
    family = FAMILIES.get(model_type)
    if family is None:
        raise NotOursError(
            f"{fields.where}: the architecture is '{shown(model_type)}', not of the Llama family",
            hint=OTHER_ENGINE,
        )
    if architectures not in (None, [family.architecture]):
        raise NotOursError(
            f"{fields.where}: the architecture is {shown(str(architectures)[:80])}, "
            f"wanted {family.architecture}",
            hint=OTHER_ENGINE,
        )
    return family


def _check_extras(fields: _Fields) -> None:
    """Refuse what changes the computation and is not computed here."""
    quantised = fields.get("quantization_config")
    if quantised is not None:
        method = quantised.get("quant_method", "?") if isinstance(quantised, dict) else "?"
        raise NotOursError(
            f"{fields.where}: the weights are quantised ('{shown(str(method)[:80])}'), "
            "which the from-scratch engine does not read",
            hint="Take the model in 16 bits, which --dtype int8 or int4 packs while loading, or as GGUF.",
            by_auto=False,
        )
    activation = fields.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise _unfit(fields, f"the activation is '{shown(str(activation)[:80])}', wanted 'silu'")
    for key, of in (("attention_bias", "attention has"), ("mlp_bias", "the feed-forward layers have")):
        if fields.flag(key):
            raise _unfit(fields, f"{of} biases ({key})")


def _unfit(fields: _Fields, what: str) -> NotOursError:
    return NotOursError(
        f"{fields.where}: {what}, which the from-scratch engine does not run", hint=OTHER_ENGINE
    )


def _check_window(fields: _Fields, family: _Family, context_length: int) -> None:
    """Raises `ModelError` where a token would not see the whole context."""
    if family.sliding_window is None:
        return
    window = fields.table.get("sliding_window", family.sliding_window)
    if window is None:
        return
    if type(window) is not int:
        raise fields.wrong("sliding_window", "a whole number or null")
    if window < context_length:
        raise _unfit(fields, f"each token sees the last {window:,} only (sliding_window)")


# --- RoPE ------------------------------------------------------------------------------------------


def _rope_of(fields: _Fields) -> _Fields:
    """All that is said of RoPE, in one table.

    It stands in `rope_parameters` (transformers 5) or in `rope_scaling` beside `rope_theta`. transformers
    takes `rope_scaling` first where there are both, and the theta in the table before the one beside it.
    """
    for key in ("rope_scaling", "rope_parameters"):
        table = fields.get(key)
        if not table:
            continue
        if not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values()):
            raise _unfit(fields, f"RoPE is described layer by layer ({key})")
        break
    else:
        key, table = "rope_parameters", {}
    beside = {
        name: fields.table[name] for name in ("rope_theta", "partial_rotary_factor") if name in fields.table
    }
    rope = _Fields(beside | table, fields.where, f"{key}.")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise _unfit(fields, f"RoPE turns a part of each head ({rope.get('partial_rotary_factor')!r:.80})")
    kind = _rope_type(rope)
    if kind not in ("default", "linear", "llama3"):
        raise NotOursError(
            f"{fields.where}: RoPE is scaled as '{shown(str(kind)[:80])}'; "
            "the from-scratch engine knows 'default', 'linear' and 'llama3'",
            hint=OTHER_ENGINE,
        )
    return rope


def _rope_type(rope: _Fields) -> Any:
    return rope.get("rope_type", rope.get("type", "default"))


def _rope_divisor(rope: _Fields) -> float:
    if _rope_type(rope) != "linear":
        return 1.0
    return rope.number("factor", low=1.0, high=_MAX_FACTOR)


def _rope_scaling(rope: _Fields, fields: _Fields, context_length: int) -> RopeScaling | None:
    if _rope_type(rope) != "llama3":
        return None
    low, high = (rope.number(f"{end}_freq_factor", high=_MAX_FACTOR) for end in ("low", "high"))
    if not low < high:
        raise rope.wrong("high_freq_factor", f"a number above low_freq_factor, {low:g}")
    key = "original_max_position_embeddings"
    return RopeScaling(
        factor=rope.number("factor", low=1.0, high=_MAX_FACTOR),
        low_freq_factor=low,
        high_freq_factor=high,
        original_context=fields.size(key) if fields.get(key) else rope.size(key, context_length),
    )
