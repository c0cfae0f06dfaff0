"""The user's theme files, looked at now and then: one that was saved is seen at once."""

from __future__ import annotations

from pathlib import Path

from textual.theme import Theme

from llama_chat.ui.themes import load_theme

_Stamp = tuple[int, int]


class ThemeWatch:
    """Tells which theme files were saved since it last looked.

    Args:
        folder: the user's themes; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._stamps()

    def look(self) -> tuple[list[Theme], list[str]]:
        """The themes of the files that were saved, and a line for each that cannot be read as one.

        A file that has gone says nothing: its theme stays until the chat ends.
        """
        stamps = self._stamps()
        saved = [path for path, stamp in stamps.items() if self._seen.get(path) != stamp]
        self._seen = stamps
        themes: list[Theme] = []
        notices: list[str] = []
        for path in saved:
            try:
                themes.append(load_theme(path, notices))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                notices.append(f"themes/{path.name}: {reason or error}. The theme stays as it was.")
        return themes, notices

    def _stamps(self) -> dict[Path, _Stamp]:
        """Time and size of every theme file, in the order of their names."""
        stamps: dict[Path, _Stamp] = {}
        try:
            for path in sorted(self._folder.glob("*.toml")):
                stat = path.stat()
                stamps[path] = (stat.st_mtime_ns, stat.st_size)
        except OSError:  # the folder or a file goes while it is looked at: the next look sees what is there
            return stamps
        return stamps
