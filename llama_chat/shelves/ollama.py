"""Ollama's models on this disk: manifests name them, blobs hold them, and a blob of a model is a GGUF file.

`manifests/<host>/<namespace>/<model>/<tag>` is a JSON object whose layers have a media type and a digest;
`blobs/sha256-<digest>` is the layer (github.com/ollama/ollama, docs/faq.md and server/modelpath.go, 2026-11).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "ollama/"
"""How such a model is named after --model: `ollama/llama3.2:1b`."""

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_ADAPTER_LAYER = "application/vnd.ollama.image.adapter"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_MOST_MANIFESTS = 1000
_MOST_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """One model that Ollama has pulled or made."""

    name: str
    """As `ollama list` shows it: `llama3.2:1b`, `hf.co/owner/name:Q4_K_M`."""
    path: Path | None
    """The blob; None where the manifest names none."""
    size_bytes: int
    problem: str = ""


def folders() -> list[Path]:
    """Where Ollama keeps its models: `OLLAMA_MODELS`, or the user's and the service's folder."""
    if place := os.environ.get("OLLAMA_MODELS"):
        return [Path(place).expanduser()]
    return [Path("~/.ollama/models").expanduser(), Path("/usr/share/ollama/.ollama/models")]


def list_ollama() -> list[OllamaModel]:
    """Every model of Ollama's, by name; what cannot be read is told as its problem."""
    found = {model.name: model for folder in reversed(folders()) for model in _list_in(folder)}
    return [found[name] for name in sorted(found)]


def find_ollama(name: str) -> OllamaModel | None:
    """The model that `ollama/llama3.2:1b` stands for; without a tag it is `latest`."""
    if not name.startswith(PREFIX):
        return None
    wanted = name.removeprefix(PREFIX)
    if ":" not in wanted.rpartition("/")[2]:
        wanted += f":{_TAG}"
    return next((model for model in list_ollama() if model.name.lower() == wanted.lower()), None)


def blob_name(path: Path) -> str | None:
    """The name of the model whose blob lies there, `llama3.2:1b`; None for any other path."""
    found = _DIGEST.fullmatch(path.name)
    if found is None or path.parent.name != "blobs":
        return None
    models = _list_in(path.parent.parent)
    return next((model.name for model in models if model.path and model.path.name == path.name), None)


def _list_in(folder: Path) -> Iterator[OllamaModel]:
    manifests = folder / "manifests"
    for count, path in enumerate(_files_below(manifests)):
        if count >= _MOST_MANIFESTS:
            return
        parts = path.relative_to(manifests).parts
        if len(parts) >= 3:
            yield _read_manifest(path, _name(parts), folder / "blobs")


def _files_below(folder: Path) -> Iterator[Path]:
    """Links to folders are not followed, so this ends."""
    for place, names, files in os.walk(folder):
        names.sort()
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _name(parts: tuple[str, ...]) -> str:
    """What Ollama leaves out is left out."""
    host, *middle, tag = parts
    if host == _HOST:
        middle = middle[1:] if middle[0] == _NAMESPACE and len(middle) > 1 else middle
    else:
        middle = [host, *middle]
    return f"{'/'.join(middle)}:{tag}"


def _read_manifest(path: Path, name: str, blobs: Path) -> OllamaModel:
    try:
        layers = _layers(path)
    except OSError as error:
        return OllamaModel(name, None, 0, f"cannot be read: {error.strerror or error}")
    except (ValueError, RecursionError):
        return OllamaModel(name, None, 0, "its manifest is damaged")
    digest = layers.get(_MODEL_LAYER)
    if digest is None:
        return OllamaModel(name, None, 0, "Ollama has no GGUF file of it")
    blob = blobs / f"sha256-{digest}"
    try:
        size_bytes = blob.stat().st_size
    except OSError as error:
        return OllamaModel(name, blob, 0, f"its file cannot be read: {error.strerror or error}")
    adapted = "it needs an adapter, which is not supported" if _ADAPTER_LAYER in layers else ""
    return OllamaModel(name, blob, size_bytes, adapted)


def _layers(path: Path) -> dict[str, str]:
    """Digests by media type, the first of each.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no manifest.
    """
    with path.open("rb") as file:
        manifest = json.loads(file.read(_MOST_MANIFEST_BYTES))
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list):
        raise ValueError("no list of layers")
    found: dict[str, str] = {}
    for layer in layers:
        if isinstance(layer, dict) and (digest := _DIGEST.fullmatch(str(layer.get("digest")))):
            found.setdefault(str(layer.get("mediaType")), digest[1])
    return found
