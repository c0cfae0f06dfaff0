"""How a model of the Hub is named: `owner/name`, with a revision, and one of several GGUF files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")

_PART = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"({_PART}/{_PART})(?:@(\w[\w./-]*))?(?::([\w.-]+))?", re.ASCII)
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/")
_FILE_ENDINGS = (".gguf", ".safetensors", ".pth", ".bin", ".json", ".model", ".git")
_MOST_LETTERS = 96
_SNAPSHOT = re.compile(r"models--(?:[^/\\]+--)?([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}(?:[/\\]original)?")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the Hub; naming it looks for nothing."""

    repo_id: str
    """`owner/name`."""
    revision: str = DEFAULT_REVISION
    """A branch, a tag or a commit."""
    label: str = ""
    """Which of several GGUF files: `Q4_K_M`, or a file's name; empty where there is nothing to choose."""

    @property
    def name(self) -> str:
        """As it is written after --model."""
        at = f"@{self.revision}" if self.revision != DEFAULT_REVISION else ""
        return f"{self.repo_id}{at}{f':{self.label}' if self.label else ''}"

    @property
    def title(self) -> str:
        """As the screens call it."""
        return self.name

    @property
    def page(self) -> str:
        """Where a browser shows it."""
        return f"{endpoint()}/{self.repo_id}"


def parse_hub_id(text: str) -> HubModel | None:
    """The model that `owner/name`, `owner/name@revision:label` or its address stands for; None for others."""
    found = _ID.fullmatch(_ADDRESS.sub("", text.strip(), count=1).rstrip("/"))
    if found is None:
        return None
    repo_id, revision, label = found[1], found[2] or DEFAULT_REVISION, found[3] or ""
    is_one = len(repo_id) <= _MOST_LETTERS and not repo_id.lower().endswith(_FILE_ENDINGS)
    if not is_one or "--" in repo_id or ".." in repo_id or not is_safe_path(revision):
        return None
    return HubModel(repo_id, revision, label)


def endpoint() -> str:
    """The Hub's address: `HF_ENDPOINT`, or that of everybody's."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def is_safe_path(name: str) -> bool:
    """Whether a name from a server stays below the folder that it is put into, on every system."""
    parts = name.split("/")
    return not any(c in name for c in "\\:\0") and not any(
        part in ("", ".", "..") or part != part.strip(" ") for part in parts
    )


def snapshot_name(path: Path) -> str | None:
    """The model's name where the path is a snapshot in the Hub's cache, whose own name is a commit's."""
    found = _SNAPSHOT.search(str(path))
    return found[1] if found is not None and found.end() == len(str(path)) else None
