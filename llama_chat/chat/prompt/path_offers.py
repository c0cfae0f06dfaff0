"""How a path behind an `@` may go on: the folder's entries, read on a thread that may wait for its disk."""

from __future__ import annotations

from llama_chat.chat.prompt.completing import Offer, escaped
from llama_chat.chat.prompt.typed_path import PathEntry, folder_entries


def list_folder(folder: str, name: str = "") -> list[Offer]:
    """Its entries whose names hold this name, folders first. What begins with a dot is among them."""
    return [_offer(entry) for entry in folder_entries(folder, name)]


def _offer(entry: PathEntry) -> Offer:
    return Offer(
        f"@{escaped(entry.path)}",
        entry.name,
        goes_on=entry.is_folder,
        must_go_on=entry.is_folder,
        path="" if entry.is_folder else entry.path,
    )
