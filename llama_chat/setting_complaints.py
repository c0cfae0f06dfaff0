"""Words for what is wrong in a settings file or in the environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field
from typing import Any

from llama_chat.setting_values import shown_value
from llama_chat.toml_edit import line_of


def line_words(text: str, keys: tuple[str, ...]) -> str:
    """` line N` of a key in a settings file; empty where it cannot be found."""
    line = line_of(text, *keys)
    return f" line {line}" if line else ""


def unfit(what: str, error: ValueError, known: Field[Any]) -> str:
    """What is wrong with a value, and what counts instead."""
    return f"{what} {error}. {shown_value(known.default)} is used."


def nearest_words(word: str, known: Iterable[str]) -> str:
    """` ('near' is one)`; empty where none is near."""
    near = nearest(word, known)
    return f" ('{near}' is one)" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that was meant; None where none is near."""
    import difflib  # 5 ms: only where something is misspelt

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.8)), None)
