"""Weights in few bits: how GGUF's blocks and plain values become what torch's products take; the products.

One room a width; `blocks` unpacks, `kernels` knows which product runs on which device.
"""

from llama_chat.engine.quantize.blocks import GROUP, plain_view, rows_at_once, unpack
from llama_chat.engine.quantize.int4 import (
    INT4_TYPES,
    Int4Groups,
    Int4Matrix,
    Int4Slices,
    int4_groups_from_gguf,
    quantize_int4,
)
from llama_chat.engine.quantize.int4_linear import (
    MANY_ROWS,
    Int4Linear,
    MappedMatrix,
    TiledInt4Linear,
    Trials,
    UnpackingInt4Linear,
    XpuInt4Linear,
    build_int4_linear,
    takes_int4,
)
from llama_chat.engine.quantize.int8 import (
    Int8Embedding,
    Int8Linear,
    Int8RowEmbedding,
    RescoredHead,
    takes_int8,
)

__all__ = [
    "GROUP",
    "INT4_TYPES",
    "MANY_ROWS",
    "Int4Groups",
    "Int4Linear",
    "Int4Matrix",
    "Int4Slices",
    "Int8Embedding",
    "Int8Linear",
    "Int8RowEmbedding",
    "MappedMatrix",
    "RescoredHead",
    "TiledInt4Linear",
    "Trials",
    "UnpackingInt4Linear",
    "XpuInt4Linear",
    "build_int4_linear",
    "int4_groups_from_gguf",
    "plain_view",
    "quantize_int4",
    "rows_at_once",
    "takes_int4",
    "takes_int8",
    "unpack",
]
