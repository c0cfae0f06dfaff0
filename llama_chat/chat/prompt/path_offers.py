"""How a path behind an `@` may go on: the folder's entries, read on a thread that may wait for its disk."""

from __future__ import annotations

import os
from pathlib import Path

from llama_chat.chat.prompt.completing import Offer, escaped

MOST_ENTRIES = 2_000
"""Of one folder; 10 ms on a warm disk (2026-11-22)."""


def folder_of(typed: str) -> str:
    """What of a typed path names the folder that is looked into: `~/no` is `~/`, `no` is nothing."""
    return "~/" if typed == "~" else typed[: typed.rfind("/") + 1]


def list_folder(folder: str) -> list[Offer]:
    """Its entries, folders first; none where it cannot be read. What begins with a dot is among them."""
    folders: list[Offer] = []
    files: list[Offer] = []
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            for count, entry in enumerate(entries):
                if count >= MOST_ENTRIES:
                    break
                is_folder = _is_folder(entry)
                (folders if is_folder else files).append(_offer(folder, entry.name, is_folder=is_folder))
    except (OSError, RuntimeError, ValueError):
        return []
    return [*sorted(folders, key=_by_name), *sorted(files, key=_by_name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _offer(folder: str, name: str, *, is_folder: bool) -> Offer:
    path = f"{folder}{name}{'/' if is_folder else ''}"
    return Offer(
        f"@{escaped(path)}",
        f"{name}/" if is_folder else name,
        goes_on=is_folder,
        must_go_on=is_folder,
        path="" if is_folder else path,
    )


def _by_name(offer: Offer) -> str:
    return offer.name.casefold()


def fitting_paths(entries: list[Offer], typed: str) -> list[Offer]:
    """The entries that the typed path may go on to; hidden ones only behind a dot."""
    name = "" if typed == "~" else typed[typed.rfind("/") + 1 :]
    wanted = name.casefold()
    shown = [offer for offer in entries if offer.name.startswith(".") == name.startswith(".")]
    found = [offer for offer in shown if wanted in offer.name.casefold()]
    return sorted(found, key=lambda offer: not offer.name.casefold().startswith(wanted))  # stable
