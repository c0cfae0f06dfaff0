"""Folders as Ollama and LM Studio make them, around tiny models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tiny_models import TinyModel

TINY = TinyModel(n_layers=1, ffn_dim=256)
MODEL_LAYER = "application/vnd.ollama.image.model"


def add_to_ollama(folder: Path, content: bytes, *place: str, kind: str = MODEL_LAYER) -> Path:
    """The blob; its manifest lies at host, namespace, model, tag."""
    digest = hashlib.sha256(content).hexdigest()
    blob = folder / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    manifest = folder.joinpath("manifests", *place)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'0' * 64}", "size": 3},
        {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def point_at_ollama(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    return folder


def point_at_lm_studio(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of its models."""
    monkeypatch.setattr("llama_chat.shelves.lm_studio._HOMES", (str(home),))
    (home / "models").mkdir(parents=True)
    return home / "models"
