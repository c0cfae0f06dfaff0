"""What a model is, by its headers alone: kept from one time to the next while the file is the same."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from llama_chat.errors import ModelError
from llama_chat.hub.choice import Choice, choose, gguf_groups
from llama_chat.hub.names import HubModel
from llama_chat.part_names import missing_parts, part_name
from llama_chat.paths import write_atomically
from llama_chat.shelves.gguf_header import BadHeaderError, read_gguf_header

EngineName: TypeAlias = Literal["", "scratch", "hf"]

_OWN_ARCHITECTURES = ("llama", "LlamaForCausalLM")
_MOST_JSON_BYTES = 16 << 20
_MOST_KEPT = 2000
_ANY_MODEL = HubModel("any/model")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the headers of a model say; what they do not say is empty."""

    architecture: str = ""
    """As the model calls it: `llama`, `LlamaForCausalLM`, `qwen2`."""
    quantisation: str = ""
    """`Q4_K_M`, `BF16`."""
    context_length: int = 0
    tokenizer: str = ""
    """The kind of its vocabulary; empty where there is none."""
    has_template: bool = False
    """Whether it knows turns; without a template it goes on with the words as they stand."""
    engine: EngineName = ""
    """What would run it: `scratch`, or `hf` where only transformers may; empty: nothing."""
    problem: str = ""
    """Why it cannot be loaded; empty where nothing speaks against it."""


def read_facts(path: Path) -> Facts:
    """The facts of a file or a folder; whatever is wrong with it is its `problem`."""
    try:
        if path.is_dir():
            return _of_folder(path)
        return _of_gguf(path) if _is_gguf(path) else _of_folder(path.parent, path.name)
    except BadHeaderError as error:
        return Facts(problem=str(error))
    except OSError as error:
        return Facts(problem=f"cannot be read: {error.strerror or error}")
    except ValueError:
        return Facts(problem="its config.json is damaged")


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() not in (".safetensors", ".pth", ".json")


def _of_gguf(path: Path) -> Facts:
    header = read_gguf_header(path)
    problem = ""
    if part := part_name(path.name):
        missing = missing_parts(
            [file.name for file in path.parent.glob("*.gguf") if _is_part_of(file, part.stem)]
        )
        problem = f"{len(missing)} of its {part.count} parts missing" if missing else ""
    elif header.part_count > 1:
        problem = f"one of {header.part_count} parts, and its name does not say which"
    if header.kind not in ("", "model") or header.architecture == "clip":
        problem = f"no language model, but {header.kind or 'a part that sees images'}"
    elif not header.vocabulary:
        problem = problem or "it has no tokenizer"
    return Facts(
        architecture=header.architecture,
        quantisation=header.type_name,
        context_length=header.context_length,
        tokenizer=header.vocabulary,
        has_template=header.has_template,
        engine="" if problem else "scratch" if header.architecture in _OWN_ARCHITECTURES else "hf",
        problem=problem,
    )


def _is_part_of(file: Path, stem: str) -> bool:
    part = part_name(file.name)
    return part is not None and part.stem == stem


def _of_folder(folder: Path, name: str = "") -> Facts:
    names = [entry.name for entry in folder.iterdir()]
    choice = folder_choice(names)
    if choice is not None and choice.kind == "hf":
        return _of_config(folder, names, choice)
    if choice is not None:
        missing = ", ".join(choice.missing[:3])
        return Facts(
            architecture="llama",
            quantisation="BF16",
            tokenizer="tiktoken or SentencePiece",
            has_template=False,
            engine="" if missing else "scratch",
            problem=f"{missing} is missing" if missing else "",
        )
    groups = gguf_groups(names)
    if len(groups) == 1 and not name:
        return _of_gguf(folder / groups[0].weights[0])
    if (folder / "original").is_dir():
        return _of_folder(folder / "original")
    several = f"{len(groups)} models are in it; name one of them"
    return Facts(problem=several if groups else "there are no weights in it")


def folder_choice(names: Iterable[str]) -> Choice | None:
    """The model that the files of one folder make together; None for GGUF files: each is one by itself."""
    try:
        return choose([name for name in names if not name.lower().endswith(".gguf")], _ANY_MODEL)
    except ModelError:
        return None


def _of_config(folder: Path, names: list[str], choice: Choice) -> Facts:
    if choice.missing:
        return Facts(problem=f"{', '.join(choice.missing[:3])} is missing")
    config = _json_object(folder / "config.json")
    architectures = config.get("architectures")
    architecture = str(architectures[0] if isinstance(architectures, list) and architectures else "")
    quantised = config.get("quantization_config")
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    dtype = str(method or config.get("torch_dtype") or config.get("dtype") or "")
    context = config.get("max_position_embeddings")
    tokenizer = next((n for n in ("tokenizer.json", "tokenizer.model", "vocab.json") if n in names), "")
    problem = "" if tokenizer else "it has no tokenizer"
    is_own = architecture in _OWN_ARCHITECTURES and not method
    return Facts(
        architecture=(architecture or str(config.get("model_type") or ""))[:80],
        quantisation=_SHORT_DTYPES.get(dtype, dtype[:20]),
        context_length=context if isinstance(context, int) else 0,
        tokenizer=tokenizer,
        has_template=_has_template(folder, names),
        engine="" if problem else "scratch" if is_own else "hf",
        problem=problem,
    )


_SHORT_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def _has_template(folder: Path, names: list[str]) -> bool:
    if "chat_template.jinja" in names or "chat_template.json" in names:
        return True
    try:
        return bool(_json_object(folder / "tokenizer_config.json").get("chat_template"))
    except (OSError, ValueError):
        return False


def _json_object(path: Path) -> dict[str, Any]:
    """Raises `ValueError` where the file is no object, or too large for what it should be."""
    if path.stat().st_size > _MOST_JSON_BYTES:
        raise ValueError("too large")
    try:
        value = json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


class KnownFacts:
    """Facts by path, as they were read last; a file that has changed is read again.

    Args:
        file: where they are kept; it need not exist, and what is wrong with it is no error.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, list[Any]] | None = None
        self._is_changed = False

    def of(self, path: Path) -> Facts:
        """The facts, read now where they are not known."""
        kept = self._load()
        stamp = _stamp(path)
        known = kept.pop(str(path), None)
        if known is None or stamp is None or known[:-1] != stamp:
            facts = read_facts(path)
            self._is_changed = True
            known = [*(stamp or ()), asdict(facts)]
        kept[str(path)] = known  # at the end: the oldest leave first
        return _as_facts(known[-1])

    def save(self) -> None:
        """Keep them for the next time, if that is possible and anything is new."""
        if self._is_changed and self._kept is not None:
            newest = dict(list(self._kept.items())[-_MOST_KEPT:])
            with contextlib.suppress(OSError):
                write_atomically(self._file, json.dumps(newest).encode("utf-8", "surrogatepass"))
                self._is_changed = False

    def _load(self) -> dict[str, list[Any]]:
        if self._kept is None:
            self._kept = {}
            with contextlib.suppress(OSError, ValueError, RecursionError):
                data = json.loads(self._file.read_bytes())
                self._kept = {key: value for key, value in data.items() if _is_entry(value)}
        return self._kept


def _is_entry(value: object) -> bool:
    names = {field.name for field in fields(Facts)}
    return (
        isinstance(value, list) and len(value) == 4 and isinstance(value[3], dict) and set(value[3]) == names
    )


def _as_facts(data: dict[str, Any]) -> Facts:
    return Facts(**data)


def _stamp(path: Path) -> list[int] | None:
    """What changes when the model does: of a folder its newest entry counts, too."""
    try:
        found = path.stat()
        if not path.is_dir():
            return [found.st_size, found.st_mtime_ns, found.st_ino]
        with os.scandir(path) as entries:
            times = [entry.stat().st_mtime_ns for entry in entries]
        return [len(times), max(times, default=0), found.st_ino]
    except OSError:
        return None
