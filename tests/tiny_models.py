"""Random Llamas of a megabyte, written as GGUF files: real files for the real engine, without meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import quantize

from llama_chat.engine.vocabulary.from_gguf import byte_of_printable

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<file_sep>")
_CONTROL, _NORMAL = 3, 1
_WORDS = (
    "the",
    "and",
    "ing",
    "you",
    "ello",
    " the",
    " a",
    " in",
    " he",
    "er",
    "on",
    "re",
    "  ",
    "\n\n",
    "é",
    "→",
    "🦙",
)

# Types that can be written from values; the others are made of random blocks.
_WRITABLE = (GGMLType.Q4_0, GGMLType.Q4_1, GGMLType.Q5_0, GGMLType.Q5_1, GGMLType.Q8_0, GGMLType.BF16)


@dataclass(frozen=True, slots=True)
class TinyVocabulary:
    """Byte-pair tokens in GPT-2's alphabet: control tokens first, then 256 bytes, then the merges."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]

    def shuffled(self, seed: int) -> TinyVocabulary:
        """The same tokens under other ids, the merges in the same order."""
        order = np.random.default_rng(seed).permutation(len(self.tokens))
        return replace(
            self, tokens=tuple(self.tokens[i] for i in order), types=tuple(self.types[i] for i in order)
        )


def tiny_vocabulary(size: int = 304, words: Sequence[str] = _WORDS) -> TinyVocabulary:
    """A vocabulary that knows every byte and a few words; filled up to `size` with control tokens."""
    printable = {byte: char for char, byte in byte_of_printable().items()}
    merges: dict[str, None] = {}
    for word in words:
        chars = [printable[byte] for byte in word.encode()]
        for end in range(1, len(chars)):
            merges[f"{''.join(chars[:end])} {chars[end]}"] = None
    normal = [printable[byte] for byte in range(256)] + [merge.replace(" ", "") for merge in merges]
    reserved = [f"<|reserved_{n}|>" for n in range(size - len(SPECIALS) - len(normal))]
    specials = [*SPECIALS, *reserved]
    types = [_CONTROL] * len(specials) + [_NORMAL] * len(normal)
    return TinyVocabulary((*specials, *normal), tuple(types), tuple(merges))


@dataclass(frozen=True, slots=True)
class TinyModel:
    """What to write; sizes fit every quantised type (rows of whole 256s), and heads are grouped."""

    dim: int = 256
    n_layers: int = 2
    n_heads: int = 8
    n_kv_heads: int = 2
    ffn_dim: int = 512
    context_length: int = 512
    type: GGMLType = GGMLType.F32
    """Of all matrices."""
    types: Mapping[str, GGMLType] = field(default_factory=dict)
    """Of single tensors, by name."""
    tied: bool = True
    seed: int = 0
    vocabulary: TinyVocabulary = field(default_factory=tiny_vocabulary)
    chat_template: str | None = CHATML
    architecture: str = "llama"
    rope_freqs: np.ndarray[Any, Any] | None = None
    values: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """Instead of random ones, by name, f32."""
    extra: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """More tensors, f32."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """More pairs, or others; None leaves one out."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor in torch's order."""
        kv_dim = self.dim // self.n_heads * self.n_kv_heads
        vocab = len(self.vocabulary.tokens)
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab, self.dim)}
        for layer in range(self.n_layers):
            at = f"blk.{layer}."
            shapes |= {
                f"{at}attn_norm.weight": (self.dim,),
                f"{at}attn_q.weight": (self.dim, self.dim),
                f"{at}attn_k.weight": (kv_dim, self.dim),
                f"{at}attn_v.weight": (kv_dim, self.dim),
                f"{at}attn_output.weight": (self.dim, self.dim),
                f"{at}ffn_norm.weight": (self.dim,),
                f"{at}ffn_gate.weight": (self.ffn_dim, self.dim),
                f"{at}ffn_up.weight": (self.ffn_dim, self.dim),
                f"{at}ffn_down.weight": (self.dim, self.ffn_dim),
            }
        shapes["output_norm.weight"] = (self.dim,)
        return shapes if self.tied else shapes | {"output.weight": (vocab, self.dim)}

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The values of every tensor, f32, as a file of unquantised types has them."""
        rng = np.random.default_rng(self.seed)
        return {name: self._values(name, shape, rng) for name, shape in self.shapes.items()}

    def write(self, path: Path) -> Path:
        """The path, now a GGUF file."""
        writer = GGUFWriter(path, self.architecture)
        for key, value in (self._metadata() | dict(self.metadata)).items():
            _add_value(writer, key, value)
        rng = np.random.default_rng(self.seed)
        for name, shape in self.shapes.items():
            _add_tensor(writer, name, self._values(name, shape, rng), self._type_of(name, shape), rng)
        extra = dict(self.extra) | ({} if self.rope_freqs is None else {"rope_freqs.weight": self.rope_freqs})
        for name, values in extra.items():
            writer.add_tensor(name, values.astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _metadata(self) -> dict[str, Any]:
        at, tokens = self.architecture, self.vocabulary.tokens
        return {
            f"{at}.context_length": self.context_length,
            f"{at}.embedding_length": self.dim,
            f"{at}.block_count": self.n_layers,
            f"{at}.feed_forward_length": self.ffn_dim,
            f"{at}.attention.head_count": self.n_heads,
            f"{at}.attention.head_count_kv": self.n_kv_heads,
            f"{at}.attention.layer_norm_rms_epsilon": 1e-5,
            f"{at}.rope.freq_base": 10000.0,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": list(tokens),
            "tokenizer.ggml.token_type": list(self.vocabulary.types),
            "tokenizer.ggml.merges": list(self.vocabulary.merges),
            "tokenizer.ggml.bos_token_id": tokens.index("<|im_start|>"),
            "tokenizer.ggml.eos_token_id": tokens.index("<|im_end|>"),
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.chat_template": self.chat_template,
        }

    def _type_of(self, name: str, shape: tuple[int, ...]) -> GGMLType:
        return self.types.get(name, self.type if len(shape) > 1 else GGMLType.F32)

    def _values(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Normal numbers of such a size that the stream keeps its own through the layers."""
        if len(shape) == 1:
            random = 1 + 0.1 * rng.standard_normal(shape)
        else:
            random = rng.standard_normal(shape) * (0.1 if "token_embd" in name else shape[-1] ** -0.5)
        return np.asarray(self.values.get(name, random), dtype=np.float32)


def _add_value(writer: GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    add = {
        bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
        list: writer.add_array,
    }[type(value)]  # fmt: skip
    add(key, value)


def _add_tensor(
    writer: GGUFWriter, name: str, values: np.ndarray[Any, Any], kind: GGMLType, rng: np.random.Generator
) -> None:
    if kind is GGMLType.F32:
        writer.add_tensor(name, values)
    elif kind is GGMLType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        rows = quantize(values, kind) if kind in _WRITABLE else random_blocks(kind, values.shape, rng)
        writer.add_tensor(name, rows, raw_dtype=kind)


# Where a block keeps its f16 scales, which random bytes would make enormous: {type: byte offsets}.
_SCALES_AT: Mapping[str, tuple[int, ...]] = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "TQ1_0": (52,), "TQ2_0": (64,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,),
    "IQ3_S": (0,), "IQ1_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,),
}  # fmt: skip


def random_blocks(kind: GGMLType, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Random bytes [rows, bytes of a row] that are a valid tensor of the type, its values about 0.05."""
    block, nbytes = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (*shape[:-1], shape[-1] // block, nbytes), dtype=np.uint8)
    size = {"Q6_K": 2e-5, "Q4_K": 1e-4, "Q5_K": 5e-5, "IQ4_XS": 3e-5}.get(kind.name, 0.005)
    for at in _SCALES_AT.get(kind.name, ()):
        scales = (size * rng.uniform(0.5, 1.5, raw.shape[:-1])).astype(np.float16)
        raw[..., at : at + 2] = scales[..., None].view(np.uint8)
    if kind.name == "IQ1_M":  # its f16 scale is spread over the high nibbles of four 16-bit words
        raw[..., 49::2] &= 0x0F
        raw[..., 53] |= 0x20  # 0x0200 and up, low words 0: 2**-15 and less
    if kind.name == "MXFP4":  # an 8-bit exponent
        raw[..., 0] = rng.integers(118, 124, raw.shape[:-1], dtype=np.uint8)
    if kind.name == "NVFP4":  # four 8-bit floats, the sign bit clear, no NaN
        raw[..., :4] = rng.integers(0, 0x40, (*raw.shape[:-1], 4), dtype=np.uint8)
    return raw.reshape(*shape[:-1], shape[-1] // block * nbytes)
