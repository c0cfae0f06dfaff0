"""What a tokenizer.json does to text before the merges: how it is cut, and where it gets spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED, OTHER_ENGINE, shown
from llama_chat.engine.vocabulary.bpe import LLAMA3_PATTERN, PRE_TOKENIZERS, PreTokenizer
from llama_chat.engine.vocabulary.library import Steps
from llama_chat.engine.vocabulary.vocabulary import SpaceBefore
from llama_chat.errors import ModelError, NotOursError

MAX_STEPS = 64
MAX_NESTING = 8

# Others drop characters (all spaces, say) or belong to models that write no text.
_NORMALIZERS = frozenset(
    [
        "ByteLevel",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Prepend",
        "Replace",
        "Strip",
        "StripAccents",
    ]
)
_PRE_TOKENIZERS = frozenset(["ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "UnicodeScripts"])

Step = dict[str, Any]


class JsonSteps:
    """The steps of a tokenizer.json.

    Args:
        normalizer: as the file has it.
        pre_tokenizer: as the file has it.
        where: the file, for errors.
        takes_all: whether steps may be there that are not known, and what they do to text.

    Raises:
        ModelError: there is something that is no step.
        NotOursError: there is a step that is not known.
    """

    def __init__(self, normalizer: Any, pre_tokenizer: Any, where: str, *, takes_all: bool = False) -> None:
        self._normalizers = flat_steps(normalizer, "normalizers", where, None if takes_all else _NORMALIZERS)
        known = None if takes_all else _PRE_TOKENIZERS
        steps = flat_steps(pre_tokenizer, "pretokenizers", where, known)
        self._pre_tokenizers = [_explicit(step) for step in steps]

    @property
    def _all(self) -> Sequence[Step]:
        return (*self._normalizers, *self._pre_tokenizers)

    @property
    def is_byte_level(self) -> bool:
        """Whether tokens are written in GPT-2's alphabet of bytes."""
        return any(step["type"] == "ByteLevel" for step in self._all)

    @property
    def space(self) -> str | None:
        """What stands for a space in tokens (`▁`); None where nothing does."""
        for step in self._all:
            mark = None
            if step["type"] == "Metaspace":
                mark = step.get("replacement")
            elif step["type"] == "Replace" and step.get("pattern") == {"String": " "}:
                mark = step.get("content")
            if isinstance(mark, str) and len(mark) == 1:
                return mark
        return None

    @property
    def pre_tokenizer(self) -> PreTokenizer | None:
        """The way to cut text that tiktoken does just so; None for any other."""
        if self._normalizers:
            return None
        found = [_essence(step) for step in self._pre_tokenizers]
        return next((PRE_TOKENIZERS[name] for name, essence in _KNOWN.items() if essence == found), None)

    @property
    def space_before(self) -> SpaceBefore:
        """Where text gets a space in front."""
        kinds = {_space_before(step) for step in self._all}
        return "controls" if "controls" in kinds else "start" if "start" in kinds else "nothing"

    @property
    def opening(self) -> Steps:
        """For text that gets the space."""
        return _steps(self._normalizers, self._pre_tokenizers)

    @property
    def inside(self) -> Steps:
        """For text that gets none."""
        normalizers = [step for step in self._normalizers if step["type"] != "Prepend"]
        return _steps(normalizers, [_without_prefix(step) for step in self._pre_tokenizers])


def flat_steps(found: Any, key: str, where: str, known: frozenset[str] | None = None) -> list[Step]:
    """The steps one after another, those of nested sequences, too.

    Args:
        found: a step or None.
        key: under which a sequence has its steps.
        where: the file, for errors.
        known: the types that may occur; None for all.

    Raises:
        ModelError: one of them is no step.
        NotOursError: one of them is not known.
    """
    steps: list[Step] = []

    def walk(step: Any, depth: int) -> None:
        kind = step.get("type") if isinstance(step, dict) else None
        if not isinstance(kind, str) or depth > MAX_NESTING or len(steps) == MAX_STEPS:
            raise ModelError(f"{where}: {step!r:.80} among the {key} is no step", hint=DAMAGED)
        if kind == "Sequence":
            inner = step.get(key)
            if not isinstance(inner, list):
                raise ModelError(f"{where}: a sequence has no list of {key}", hint=DAMAGED)
            for each in inner:
                walk(each, depth + 1)
        elif known is not None and kind not in known:
            raise NotOursError(
                f"{where}: text goes through {shown(kind)}, which is not known here",
                hint=f"Known are {', '.join(sorted(known))}. {OTHER_ENGINE}",
            )
        else:
            steps.append(step)

    if found is not None:
        walk(found, 0)
    return steps


# What matters of the steps whose pattern tiktoken knows; ByteLevel brings GPT-2's own, unless told otherwise.
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_GPT2 = _BYTES | {"use_regex": True}
_KNOWN: dict[str, list[Step]] = {
    "gpt-2": [_GPT2],
    "smollm": [{"type": "Digits", "individual_digits": True}, _GPT2],
    "llama3": [
        {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": False},
        _BYTES,
    ],
}


def _essence(step: Step) -> Step:
    if step["type"] != "ByteLevel":
        return step
    return {name: value for name, value in ({"use_regex": True} | step).items() if name != "trim_offsets"}


def _explicit(step: Step) -> Step:
    """Metaspace by its scheme: older files have a flag, which the library takes only where it is true."""
    if step["type"] != "Metaspace":
        return step
    usual = "never" if step.get("add_prefix_space") is False else "always"
    rest = {name: value for name, value in step.items() if name != "add_prefix_space"}
    return {"prepend_scheme": usual} | rest


def _space_before(step: Step) -> SpaceBefore:
    kind = step["type"]
    if kind == "Metaspace":
        scheme = step["prepend_scheme"]
        return "controls" if scheme == "always" else "start" if scheme == "first" else "nothing"
    if kind == "Prepend" or (kind == "ByteLevel" and step.get("add_prefix_space") is True):
        return "controls"
    return "nothing"


def _without_prefix(step: Step) -> Step:
    if step["type"] == "Metaspace":
        return step | {"prepend_scheme": "never"}
    if step["type"] == "ByteLevel":
        return step | {"add_prefix_space": False}
    return step


def _steps(normalizers: Sequence[Step], pre_tokenizers: Sequence[Step]) -> Steps:
    return Steps(
        {"type": "Sequence", "normalizers": list(normalizers)} if normalizers else None,
        {"type": "Sequence", "pretokenizers": list(pre_tokenizers)} if pre_tokenizers else None,
    )
