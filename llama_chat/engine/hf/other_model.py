"""Models of families that only transformers runs: what can be known of them without it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from llama_chat.engine.files.checkpoint import model_name, shown
from llama_chat.engine.files.find import CONFIG_NAME, find_model_files
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import hash_ends
from llama_chat.engine.files.hf_config import MAX_CONFIG_BYTES, end_ids_in, end_ids_of
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError, NotOursError

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, slots=True)
class OtherModel:
    """A folder or GGUF file that transformers is to read."""

    path: Path
    name: str
    architecture: str
    """As its file calls it: `qwen2`."""
    tokenizer: Tokenizer
    chat_template: str | None
    """Jinja source; None where the model starts raw."""
    refusal: str
    """What the from-scratch engine says of it, with the file's name."""
    notices: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why the from-scratch engine does not run it: its refusal without the file's name."""
        return _without_name(self.refusal)

    @property
    def refusal_at(self) -> str:
        """The refusal, which begins with the name under which the user knows the model."""
        if self.refusal.startswith((str(self.path), self.path.name)):
            return self.refusal
        return f"{self.path.name}/{self.refusal}"

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.path.is_file()

    def fingerprint(self) -> str:
        """Names these weights: 16 digits of a hash over sizes, headers and some bytes of the files."""
        digest = hashlib.sha256()
        for file in [self.path] if self.is_gguf else weight_files(self.path):
            size = file.stat().st_size
            stretch = max(1, size // 256)  # where its tensors lie is the library's business
            hash_ends(digest, file, min(1 << 16, size), [(at, stretch) for at in range(0, size, stretch)])
        return digest.hexdigest()[:16]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold weights as transformers reads them: safetensors, otherwise torch's own."""
    for pattern in _WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            return found
    return []


def _without_name(refusal: str) -> str:
    return refusal.partition(": ")[2] or refusal


def read_other_model(path: Path, refusal: str) -> OtherModel:
    """The model at the path, as far as it can be read without transformers.

    Args:
        path: a folder with `config.json`, a file in one, or a GGUF file.
        refusal: the from-scratch engine's.

    Raises:
        ModelError: no model there, or one whose tokenizer cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    if path.suffix.lower() != ".gguf" and (folder / CONFIG_NAME).is_file() and weight_files(folder):
        return _read_folder(folder, refusal)
    found = find_model_files(path)
    if found.kind != "gguf":
        raise ModelError(
            f"{found.path}: {_without_name(refusal)}",
            hint=f"transformers needs a {CONFIG_NAME} and safetensors beside it.",
        )
    if len(found.files) > 1:
        raise ModelError(
            f"{found.path.name}: {_without_name(refusal)}, and transformers reads no GGUF in several parts",
            hint="Merge its parts (llama-gguf-split --merge).",
        )
    return _read_gguf(found.path, refusal, found.notices)


def _read_folder(folder: Path, refusal: str) -> OtherModel:
    from llama_chat.engine.vocabulary.from_json import chat_template_of

    config = read_json(folder / CONFIG_NAME, MAX_CONFIG_BYTES)
    tokenizer, notices = _folder_tokenizer(folder, end_ids_in(folder, end_ids_of(config, CONFIG_NAME)))
    return OtherModel(
        path=folder,
        name=model_name(folder.absolute()),
        architecture=shown(str(config.get("model_type", "unknown"))),
        tokenizer=tokenizer,
        chat_template=chat_template_of(folder),
        refusal=refusal,
        notices=notices,
    )


def _folder_tokenizer(folder: Path, end_ids: frozenset[int]) -> tuple[Tokenizer, tuple[str, ...]]:
    """The tokenizer, and what is to be said of it."""
    from llama_chat.engine.vocabulary.from_json import tokenizer_from_json

    if (folder / "tokenizer.json").is_file():
        try:
            return tokenizer_from_json(folder, end_ids), ()
        except NotOursError as refusal:
            from llama_chat.engine.vocabulary.any_kind import tokenizer_of_any_kind

            said = f"{refusal.message}; the tokenizers library runs it."
            return tokenizer_of_any_kind(folder, end_ids), (said,)
    from llama_chat.engine.hf.tokenizer import tokenizer_by_library

    try:
        made = tokenizer_by_library(folder, end_ids=end_ids)
    except ModelError as error:
        raise ModelError(
            error.message,
            hint="There is no tokenizer.json; fetch it from where the weights came from.",
        ) from error
    return made, ("There is no tokenizer.json; transformers made one of the other files.",)


def _read_gguf(path: Path, refusal: str, notices: tuple[str, ...]) -> OtherModel:
    file = GGUFFile(path)
    try:
        tokenizer = tokenizer_from_gguf(file)
    except ModelError as error:
        from llama_chat.engine.hf.tokenizer import tokenizer_by_library

        ends = {value for key in ("eos", "eot") if type(value := _id_of(file, key)) is int}
        tokenizer = tokenizer_by_library(path.parent, path.name, end_ids=frozenset(ends))
        notices += (f"{error.message}; the tokenizer is as transformers reads it.",)
    template = file.metadata.get("tokenizer.chat_template")
    return OtherModel(
        path=path,
        name=model_name(path),
        architecture=shown(file.get("general.architecture", str)),
        tokenizer=tokenizer,
        chat_template=template if isinstance(template, str) else None,
        refusal=refusal,
        notices=notices,
    )


def _id_of(file: GGUFFile, name: str) -> object:
    return file.metadata.get(f"tokenizer.ggml.{name}_token_id")
