"""A model in a Hugging Face folder: config.json, safetensors, tokenizer.json and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llama_chat.engine.config import LlamaConfig, check_config, expected_shapes
from llama_chat.engine.files.checkpoint import DAMAGED, OUTPUT, model_name, shown
from llama_chat.engine.files.find import CONFIG_NAME
from llama_chat.engine.files.hf_config import MAX_CONFIG_BYTES, HFConfig, config_from_hf, end_ids_in
from llama_chat.engine.files.hf_weights import INDEX_NAME, SafetensorsCheckpoint, hf_name, open_indexed
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.model import ModelFile, check_vocabulary
from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError, NotOursError

TOKENIZER_NAME = "tokenizer.json"


def read_hf_folder(folder: Path, weights: Sequence[Path] = ()) -> ModelFile:
    """The model in the folder, its headers and tokenizer read and checked.

    Args:
        folder: where config.json lies.
        weights: its safetensors files, or the index that names them; empty for what the folder has under
            the usual names.

    Raises:
        ModelError: something is missing, damaged, or beyond the from-scratch engine.
    """
    from llama_chat.engine.vocabulary.from_json import chat_template_of, tokenizer_from_json

    found, checkpoint = open_checkpoint(folder, weights)
    _check_tokenizer(folder)
    tokenizer = tokenizer_from_json(folder, end_ids=end_ids_in(folder, found.end_ids))
    tokenizer = with_padding(tokenizer, found.llama.vocab_size)
    name = model_name(folder.absolute())
    check_vocabulary(tokenizer, found.llama, name)
    return ModelFile(
        name=name,
        architecture=found.model_type,
        checkpoint=checkpoint,
        config=found.llama,
        tokenizer=tokenizer,
        chat_template=chat_template_of(folder),
    )


def _check_tokenizer(folder: Path) -> None:
    """Raises `NotOursError` where the tokenizer is there in a form that only transformers reads."""
    others = [name for name in ("tokenizer.model", "vocab.json", "vocab.txt") if (folder / name).is_file()]
    if others and not (folder / TOKENIZER_NAME).is_file():
        raise NotOursError(
            f"{folder}: there is no {TOKENIZER_NAME} in this folder, but {others[0]}, "
            "which the from-scratch engine does not read",
            hint=f"Fetch {TOKENIZER_NAME} from where the weights came from, or try --engine hf.",
        )


def open_checkpoint(folder: Path, weights: Sequence[Path] = ()) -> tuple[HFConfig, SafetensorsCheckpoint]:
    """The sizes and the weights that fit them, without the tokenizer; arguments as `read_hf_folder`.

    Raises:
        ModelError: something is missing, damaged, or beyond the from-scratch engine.
    """
    said = config_from_hf(read_json(folder / CONFIG_NAME, MAX_CONFIG_BYTES), CONFIG_NAME)
    checkpoint = SafetensorsCheckpoint(
        folder, open_weights(weights or [_usual_weights(folder)]), said.llama.head_dim
    )
    # As for transformers, an output matrix that is there counts, whatever the config says of it.
    config = replace(said.llama, tied_output=said.llama.tied_output and OUTPUT not in checkpoint.tensors)
    _check_complete(checkpoint, config)
    check_config(config, checkpoint.tensors, _label(checkpoint))
    return replace(said, llama=config), checkpoint


def open_weights(weights: Sequence[Path]) -> list[SafetensorsFile]:
    """The files, opened: those named, or those that the one index names.

    Raises:
        ModelError: one is missing or damaged, or the index and the files do not fit.
    """
    if len(weights) == 1 and weights[0].suffix == ".json":
        return open_indexed(weights[0])
    return [SafetensorsFile(path) for path in weights]


def with_padding(tokenizer: Tokenizer, rows: int) -> Tokenizer:
    """The tokenizer with as many tokens as the embedding has rows, where those were only rounded up.

    Rows are often rounded up to a multiple that suits a GPU (32,022 to 32,256). What comes out of them is
    nothing, and is not shown.
    """
    vocabulary, missing = tokenizer.vocabulary, rows - len(tokenizer)
    if not 0 < missing < max(256, len(tokenizer) // 32):
        return tokenizer
    tokenizer.vocabulary = replace(
        vocabulary,
        pieces=[*vocabulary.pieces, *[b""] * missing],
        hidden_ids=vocabulary.hidden_ids | set(range(len(tokenizer), rows)),
    )
    return tokenizer


def _usual_weights(folder: Path) -> Path:
    index = folder / INDEX_NAME
    return index if index.is_file() else folder / "model.safetensors"


def _label(checkpoint: SafetensorsCheckpoint) -> str:
    """The file, or for several the folder, as errors name it."""
    return checkpoint.files[0].path.name if len(checkpoint.files) == 1 else shown(checkpoint.path.name)


def _check_complete(checkpoint: SafetensorsCheckpoint, config: LlamaConfig) -> None:
    """Names what is missing as the files would name it; `check_config` speaks as GGUF does."""
    if config.n_layers > len(checkpoint.tensors):
        return  # which it refuses before it lists them
    for name in expected_shapes(config):
        if name not in checkpoint.tensors:
            raise ModelError(f"{_label(checkpoint)}: there is no tensor {hf_name(name)}", hint=DAMAGED)
