"""Which of a repository's files make a model that can be run: by their names, so before any is fetched."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from llama_chat.errors import ModelError
from llama_chat.hub.names import HubModel
from llama_chat.part_names import ORIGINAL, missing_parts, missing_shards, part_name, shard_number

Kind = Literal["hf", "gguf", "meta"]

_EXTRAS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *("chat_template.jinja", "chat_template.json", "model.safetensors.index.json"),
)
_OTHER_SAFETENSORS = re.compile(r"(?!consolidated|adapter)[^/]+\.safetensors")
_NO_MODEL_GGUF = re.compile(r"mmproj|imatrix|(?:^|[-_.])vocab", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|[._-])((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|FP?16|FP?32))$", re.IGNORECASE)
_MOST_LISTED = 30


@dataclass(frozen=True, slots=True)
class Choice:
    """The files of one model, weights first: what makes them findable is to come last."""

    kind: Kind
    weights: tuple[str, ...]
    others: tuple[str, ...] = ()
    label: str = ""
    """Of a GGUF."""
    missing: tuple[str, ...] = ()
    """What their names speak of and is not there."""

    @property
    def names(self) -> tuple[str, ...]:
        """All files."""
        return self.weights + self.others

    @property
    def place(self) -> str:
        """What stands for the model below its snapshot: a GGUF file, or a folder (`.` is the snapshot)."""
        return self.weights[0] if self.kind == "gguf" else str(PurePosixPath(self.weights[0]).parent)


def choose(names: Iterable[str], model: HubModel) -> Choice:
    """The model's files: safetensors before GGUF before Meta's own; with a label, the GGUF of that label.

    Raises:
        ModelError: there are none, or several to choose from.
    """
    have = set(names)
    groups = gguf_groups(have)
    if model.label:
        return _labelled(groups, model)
    choice = _safetensors(have)
    if choice is None and len(groups) > 1:
        raise _several(groups, model)
    choice = choice or next(iter(groups), None) or _meta(have)
    if choice is None:
        raise _none(have, model)
    return choice


def gguf_groups(names: Iterable[str]) -> list[Choice]:
    """Each GGUF model among the names, its parts together."""
    parts: dict[str, list[str]] = {}
    for name in sorted(names):
        stem = PurePosixPath(name).name.lower()
        if stem.endswith(".gguf") and not _NO_MODEL_GGUF.search(stem):
            part = part_name(name)
            parts.setdefault(part.stem if part else name.removesuffix(name[-5:]), []).append(name)
    return [
        Choice("gguf", tuple(found), label=_label(stem), missing=tuple(missing_parts(found)))
        for stem, found in parts.items()
    ]


def _label(stem: str) -> str:
    name = PurePosixPath(stem).name
    found = _LABEL.search(name)
    return found[1].upper() if found else name


def _labelled(groups: list[Choice], model: HubModel) -> Choice:
    wanted = model.label.lower().removesuffix(".gguf")
    fitting = [group for group in groups if wanted in (group.label.lower(), _stem(group).lower())]
    if len(fitting) == 1:
        return fitting[0]
    if not groups:
        raise ModelError(
            f"{model.repo_id} has no GGUF file to choose '{model.label}' from.",
            hint=f"Name it without the label: --model {model.repo_id}",
        )
    raise _several(fitting or groups, model, f"no GGUF file '{model.label}'; it has" if not fitting else "")


def _stem(group: Choice) -> str:
    name = PurePosixPath(group.weights[0]).name
    part = part_name(name)
    return part.stem if part else PurePosixPath(name).stem


def _safetensors(have: Collection[str]) -> Choice | None:
    parts = [(name, part) for name in sorted(have) if (part := part_name(name))]
    shards = [name for name, part in parts if (part.stem, part.ending) == ("model", "safetensors")]
    others = [name for name in sorted(have) if _OTHER_SAFETENSORS.fullmatch(name)]
    weights = ["model.safetensors"] if "model.safetensors" in have else shards or others
    if not weights:
        return None
    is_single = weights == ["model.safetensors"]
    extras = [n for n in _EXTRAS if n in have and not (is_single and n.endswith(".index.json"))]
    missing = (*missing_parts(weights), *(() if "config.json" in have else ("config.json",)))
    return Choice("hf", tuple(weights), tuple(reversed(extras)), missing=missing)


def _meta(have: Collection[str]) -> Choice | None:
    folder = next((folder for folder in ("", f"{ORIGINAL}/") if _shards_in(folder, have)), None)
    if folder is None:
        return None
    shards = _shards_in(folder, have)
    absent = missing_shards([name.removeprefix(folder) for name in shards])
    others = [f"{folder}{name}" for name in ("tokenizer.model", "params.json")]
    missing = [*(folder + name for name in absent), *(name for name in others if name not in have)]
    return Choice("meta", tuple(shards), tuple(n for n in others if n in have), missing=tuple(missing))


def _shards_in(folder: str, have: Collection[str]) -> list[str]:
    """Meta's shards in that folder, by their numbers."""
    inside = (name for name in sorted(have) if name.startswith(folder))
    return [name for name in inside if shard_number(name.removeprefix(folder)) is not None]


def _several(groups: list[Choice], model: HubModel, what: str = "") -> ModelError:
    are_told_apart = len({group.label for group in groups}) == len(groups)
    labels = [group.label if are_told_apart else _stem(group) for group in groups]
    more = f" and {len(labels) - _MOST_LISTED} more" if len(labels) > _MOST_LISTED else ""
    listed = ", ".join(labels[:_MOST_LISTED]) + more
    example = next((label for label in labels if label.startswith("Q4_K_M")), labels[0])
    name = HubModel(model.repo_id, model.revision, example).name
    return ModelError(
        f"{model.repo_id} has {what or f'{len(groups)} GGUF models'}: {listed}.",
        hint=f"Name one of them: --model {name}",
    )


def _none(have: Collection[str], model: HubModel) -> ModelError:
    if any(name.endswith((".bin", ".pt")) for name in have):
        return ModelError(
            f"{model.repo_id} has its weights as PyTorch pickles (.bin) only, which can carry code.",
            hint="Look for the same model as safetensors or GGUF.",
        )
    return ModelError(
        f"{model.repo_id} has no weights that can be run.",
        hint="They are .safetensors, .gguf, or Meta's consolidated.00.pth.",
    )
