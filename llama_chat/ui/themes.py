"""Themes as TOML files of named colours, the program's own and the user's, turned into Textual's.

A file has `name` (without it, the file's name counts), `dark` and colours: `primary`, `background` and
`foreground`, which it must have, and `accent`, `surface`, `panel`, `muted`, `user`, `assistant`, `system`,
`success`, `warning`, `error`, which are derived where they are left out. The role colours reach the
stylesheets as the variables `$user`, `$assistant`, `$system` and `$muted`. When `background` is an ANSI
colour, all must be, and the terminal's own palette is used. `themes/ember.toml` is the commented example.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

from llama_chat.setting_values import shown_value
from llama_chat.toml_edit import read_toml

COLOURS = (
    *("primary", "accent", "background", "surface", "panel", "foreground", "muted"),
    *("user", "assistant", "system", "success", "warning", "error"),
)
NEEDED = ("primary", "background", "foreground")
MAX_FILE_BYTES = 65_536
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

# A terminal may be light or dark: what must stand out is reversed, never set on a colour that is guessed.
_ANSI_VARIABLES = {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "block-cursor-foreground": "ansi_default",
    "block-cursor-background": "ansi_default",
    "block-cursor-text-style": "bold reverse",
    "border": "ansi_blue",
    "border-blurred": "ansi_bright_black",
    "scrollbar": "ansi_bright_black",
    "scrollbar-background": "ansi_default",
    "scrollbar-background-hover": "ansi_default",
    "scrollbar-background-active": "ansi_default",
}


@dataclass(frozen=True, slots=True)
class LoadedThemes:
    """The themes by name, and a line for every file or key that was passed over."""

    themes: dict[str, Theme]
    notices: tuple[str, ...] = ()


def load_themes(bundled: Path, user: Path) -> LoadedThemes:
    """The themes of both folders; the user's take the place of bundled ones of the same name."""
    themes: dict[str, Theme] = {}
    notices: list[str] = []
    for folder in (bundled, user):
        for path in _theme_files(folder, notices):
            try:
                theme = load_theme(path, notices)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                notices.append(f"themes/{path.name}: {reason or error}. The theme is left out.")
            else:
                themes[theme.name] = theme
    return LoadedThemes(themes, tuple(notices))


def load_theme(path: Path, notices: list[str]) -> Theme:
    """The theme in the file; keys that mean nothing become notices.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no theme; the message names the key.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"more than {MAX_FILE_BYTES:,} bytes")
    table = read_toml(content)[1]
    known = ("name", "dark", *COLOURS)
    notices += [f"themes/{path.name}: {_unknown(key, known)}" for key in table if key not in known]
    return build_theme(table, fallback_name=path.stem)


def build_theme(table: Mapping[str, object], *, fallback_name: str = "") -> Theme:
    """The theme that the table describes.

    Raises:
        ValueError: a key is missing or does not fit; the message names it.
    """
    name = _name(table.get("name", fallback_name))
    dark = table.get("dark")
    if not isinstance(dark, bool):
        raise ValueError("'dark' must be true or false" if "dark" in table else "'dark' is missing")
    for key in NEEDED:
        if key not in table:
            raise ValueError(f"'{key}' is missing")
    parsed = {key: _colour(key, table[key]) for key in COLOURS if key in table}
    ansi = parsed["background"].ansi is not None
    for key, colour in parsed.items():
        if (colour.ansi is not None) != ansi:
            raise ValueError(f"'{key}' and 'background' must both be ANSI colours, or neither")
    colours = {key: str(table[key]) for key in parsed}
    return _theme(name, dark, ansi, colours)


def _theme(name: str, dark: bool, ansi: bool, colours: Mapping[str, str]) -> Theme:
    primary = colours["primary"]
    secondary = colours.get("assistant", primary)
    roles = {
        "user": colours.get("user", primary),
        "assistant": secondary,
        "system": colours.get("system", colours.get("accent", primary)),
        "muted": colours.get("muted", colours["foreground"]),
    }
    return Theme(
        name=name,
        dark=dark,
        ansi=ansi,
        primary=primary,
        secondary=secondary,
        accent=colours.get("accent"),
        background=colours["background"],
        foreground=colours["foreground"],
        surface=colours.get("surface"),
        panel=colours.get("panel"),
        success=colours.get("success"),
        warning=colours.get("warning"),
        error=colours.get("error"),
        variables=(_ANSI_VARIABLES if ansi else {}) | roles,
    )


def _theme_files(folder: Path, notices: list[str]) -> list[Path]:
    """The folder's theme files by name; a folder that is not there has none."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml" and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        notices.append(f"{folder}: {error.strerror or error}. No themes are read from there.")
        return []


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"'name' must be small letters, digits and hyphens, not {shown_value(value)}")
    return value


def _colour(key: str, value: object) -> Color:
    try:
        colour = Color.parse(value) if isinstance(value, str) else None
    except ColorParseError:
        colour = None
    if colour is None:
        raise ValueError(f"'{key}' is no colour: {shown_value(value)}")
    if colour.a != 1:
        raise ValueError(f"'{key}' must not be transparent: {shown_value(value)}")
    return colour


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.7)
    return f"there is no key {shown_value(key)}{f' ({near[0]!r} is one)' if near else ''}. It is passed over."
