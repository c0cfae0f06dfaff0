"""The themes as lines with their own colours."""

from __future__ import annotations

from textual.app import App
from textual.content import Content
from textual.theme import BUILTIN_THEMES

from llama_chat.sanitize import sanitize
from llama_chat.ui.widgets.filter_list import Item


def theme_items(app: App[object]) -> list[Item]:
    """Our themes and the user's first, then those that come with Textual."""
    themes = app.available_themes
    ours = sorted(name for name in themes if name not in BUILTIN_THEMES)
    items = []
    mark = "  " if app.no_color else "● "  # dots without their colours say nothing
    for name in [*ours, *sorted(name for name in themes if name in BUILTIN_THEMES)]:
        theme = themes[name]
        swatch = Content.assemble(
            *((mark, colour) for colour in (theme.primary, theme.secondary, theme.accent) if colour)
        )
        kind = "dark" if theme.dark else "light"
        content = Content.assemble((sanitize(name).ljust(22), ""), swatch)
        items.append(
            Item(name, content, f"{name} {kind}", "Themes" if name in ours else "More, from Textual")
        )
    return items
