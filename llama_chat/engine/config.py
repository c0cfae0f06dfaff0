"""The sizes of a Llama, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass

from llama_chat.engine.gguf import DAMAGED, GGUFFile, shown
from llama_chat.errors import ModelError

# What GGUF calls the network that is written here.
SCRATCH_ARCHITECTURES = ("llama",)

OTHER_ENGINE = "The transformers engine could run it; that engine comes with a later version."

ROPE_DIVISORS = "rope_freqs.weight"
"""The tensor that Llama 3.1 and later scale RoPE's frequencies by, pair by pair."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes of the network. RoPE turns neighbouring pairs (2i, 2i+1) of a head, as Meta's checkpoints do."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context_length: int
    norm_eps: float
    rope_theta: float
    tied_output: bool
    rope_divisor: float = 1.0
    """All frequencies are divided by it: linear scaling, which stretches the context by this factor."""


def config_from_gguf(file: GGUFFile) -> LlamaConfig:
    """The sizes that the file's metadata names, held against its tensors.

    Raises:
        ModelError: another architecture, a missing or impossible size, or tensors that do not fit.
    """
    architecture = file.get("general.architecture", str)
    if architecture not in SCRATCH_ARCHITECTURES:
        raise ModelError(
            f"{file.path.name}: the architecture is '{shown(architecture)}', not of the Llama family",
            hint=OTHER_ENGINE,
        )
    if file.get("llama.expert_count", int, 0):
        raise ModelError(
            f"{file.path.name}: a mixture of experts, which the from-scratch engine does not run",
            hint=OTHER_ENGINE,
        )
    if (parts := file.get("split.count", int, 1)) > 1:
        raise ModelError(
            f"{file.path.name}: one of {parts} parts of a model, which can only be read in one piece",
            hint="Join them with `llama-gguf-split --merge` of llama.cpp.",
        )

    def size(key: str, default: int | None = None) -> int:
        value: int = file.get(f"llama.{key}", int, default)
        if not 1 <= value <= 1 << 24:
            raise ModelError(f"{file.path.name}: llama.{key} is {value}", hint=DAMAGED)
        return value

    def number(key: str, default: float | None = None) -> float:
        value = float(file.get(f"llama.{key}", (int, float), default))
        if not 0 < value < 1e12:
            raise ModelError(f"{file.path.name}: llama.{key} is {value}", hint=DAMAGED)
        return value

    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise ModelError(f"{file.path.name}: there is no token embedding", hint=DAMAGED)
    n_heads = size("attention.head_count")
    config = LlamaConfig(
        dim=size("embedding_length"),
        n_layers=size("block_count"),
        n_heads=n_heads,
        n_kv_heads=size("attention.head_count_kv", n_heads),
        head_dim=size("attention.key_length", size("embedding_length") // n_heads),
        ffn_dim=size("feed_forward_length"),
        vocab_size=embedding.shape[0],
        context_length=size("context_length"),
        norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_theta=number("rope.freq_base", 10000.0),
        tied_output="output.weight" not in file.tensors,
        rope_divisor=_rope_divisor(file),
    )
    _check(config, file)
    return config


def _rope_divisor(file: GGUFFile) -> float:
    """The factor of linear RoPE scaling, 1 without it. Llama 3's scaling is a tensor, `rope_freqs.weight`.

    Raises:
        ModelError: another kind of scaling.
    """
    kind = file.get("llama.rope.scaling.type", str, "none")
    if kind not in ("none", "linear"):
        raise ModelError(
            f"{file.path.name}: RoPE is scaled as '{shown(kind)}'; the from-scratch engine knows 'linear'",
            hint=OTHER_ENGINE,
        )
    factor = float(file.get("llama.rope.scaling.factor", (int, float), 1.0)) if kind == "linear" else 1.0
    if not 1 <= factor <= 1e6:
        raise ModelError(f"{file.path.name}: llama.rope.scaling.factor is {factor}", hint=DAMAGED)
    return factor


def _check(config: LlamaConfig, file: GGUFFile) -> None:
    """Hold the sizes against each other and against the tensors.

    Raises:
        ModelError: naming the first thing that does not fit.
    """
    if config.n_heads % config.n_kv_heads or config.head_dim % 2:
        raise ModelError(
            f"{file.path.name}: {config.n_heads} heads of size {config.head_dim} cannot share "
            f"{config.n_kv_heads} key/value heads",
            hint=DAMAGED,
        )
    rope_dim = file.get("llama.rope.dimension_count", int, config.head_dim)
    if rope_dim != config.head_dim:
        raise ModelError(
            f"{file.path.name}: RoPE turns {rope_dim} of {config.head_dim} values of a head; "
            "the from-scratch engine turns all",
            hint=OTHER_ENGINE,
        )
    if config.n_layers > len(file.tensors):
        raise ModelError(
            f"{file.path.name}: {config.n_layers:,} layers, but only {len(file.tensors)} tensors",
            hint=DAMAGED,
        )
    for name, shape in expected_shapes(config).items():
        info = file.tensors.get(name)
        if info is None:
            raise ModelError(f"{file.path.name}: there is no tensor {name!r}", hint=DAMAGED)
        if info.shape != shape:
            raise ModelError(
                f"{file.path.name}: {name} has the shape {list(info.shape)}, wanted {list(shape)}",
                hint=DAMAGED,
            )
    _check_extras(config, file)


def _check_extras(config: LlamaConfig, file: GGUFFile) -> None:
    """A tensor that the network has no use for (a bias, say) would be a different model, silently.

    Raises:
        ModelError: there is one.
    """
    known = expected_shapes(config).keys() | {ROPE_DIVISORS}
    for name in sorted(file.tensors.keys() - known):
        raise ModelError(
            f"{file.path.name}: the from-scratch engine has no use for the tensor {shown(name)}",
            hint=OTHER_ENGINE,
        )
    divisors = file.tensors.get(ROPE_DIVISORS)
    if divisors is not None and divisors.shape != (config.head_dim // 2,):
        raise ModelError(
            f"{file.path.name}: {ROPE_DIVISORS} has the shape {list(divisors.shape)}, "
            f"wanted {[config.head_dim // 2]}",
            hint=DAMAGED,
        )


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that the network needs, by its name in GGUF."""
    query_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (config.vocab_size, config.dim),
        "output_norm.weight": (config.dim,),
    }
    if not config.tied_output:
        shapes["output.weight"] = (config.vocab_size, config.dim)
    for layer in range(config.n_layers):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (config.dim,),
            f"blk.{layer}.attn_q.weight": (query_dim, config.dim),
            f"blk.{layer}.attn_k.weight": (kv_dim, config.dim),
            f"blk.{layer}.attn_v.weight": (kv_dim, config.dim),
            f"blk.{layer}.attn_output.weight": (config.dim, query_dim),
            f"blk.{layer}.ffn_norm.weight": (config.dim,),
            f"blk.{layer}.ffn_gate.weight": (config.ffn_dim, config.dim),
            f"blk.{layer}.ffn_up.weight": (config.ffn_dim, config.dim),
            f"blk.{layer}.ffn_down.weight": (config.dim, config.ffn_dim),
        }
    return shapes
