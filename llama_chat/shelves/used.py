"""Which models ran lately, and how fast: one small file, so that neither the store nor a model is asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from llama_chat.events import ModelInfo
from llama_chat.paths import write_atomically

FILE_NAME = "models_used.json"
MOST = 50
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model as it ran on one device."""

    path: str
    name: str
    fingerprint: str
    device: str
    dtype: str
    used_at: float
    """Seconds since 1970."""
    tok_per_s: float = 0.0
    """Of the last reply that tells; 0 before there is one."""


class UsedModels:
    """The models that ran lately, the newest first.

    Args:
        file: where they are kept; it need not exist, and what is wrong with it is no error.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def list(self) -> list[UsedModel]:
        """All of them, as far as the file can be read."""
        try:
            if self._file.stat().st_size > _MOST_BYTES:
                return []
            data = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return []
        return [UsedModel(**each) for each in data if _is_used(each)] if isinstance(data, list) else []

    def note(self, info: ModelInfo, now: float, tok_per_s: float = 0.0) -> None:
        """This model runs now; a speed replaces the one before it.

        A disk that takes nothing is no reason to bother anybody.
        """
        with self._lock:
            known = self.list()
            mine = UsedModel(
                info.path, info.name, info.fingerprint, info.device, info.dtype, now, round(tok_per_s, 2)
            )
            before = next((used for used in known if _is_same(used, mine)), None)
            if before is not None and not tok_per_s and before.fingerprint == mine.fingerprint:
                mine = replace(mine, tok_per_s=before.tok_per_s)
            newest = [mine, *(used for used in known if not _is_same(used, mine))][:MOST]
            with contextlib.suppress(OSError):
                write_atomically(self._file, json.dumps([asdict(used) for used in newest]).encode())


def speed_of(used: Sequence[UsedModel], path: Path, device: str = "") -> UsedModel | None:
    """How the model at the path ran last on the device, or on any where none is named."""
    fitting = (each for each in used if each.path == str(path) and each.device == (device or each.device))
    return next((each for each in fitting if each.tok_per_s), None)


def _is_same(one: UsedModel, other: UsedModel) -> bool:
    return (one.path, one.device, one.dtype) == (other.path, other.device, other.dtype)


def _is_used(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {field.name for field in fields(UsedModel)}:
        return False
    numbers = ("used_at", "tok_per_s")
    return all(isinstance(value[key], int | float if key in numbers else str) for key in value)
