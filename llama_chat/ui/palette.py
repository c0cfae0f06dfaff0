"""Names of styles and what the theme makes of them.

Lines are made without a theme and hold these names; they become colours when they are painted, so another
theme needs no new layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from textual.style import Style

STYLES = {
    "bar.user": "$user",
    "bar.assistant": "$assistant",
    "bar.system": "$system",
    "name.user": "bold $user",
    "name.assistant": "bold $assistant",
    "name.system": "bold $system",
    "meta": "$foreground 50%",
    "placeholder": "italic $foreground 50%",
    "foot": "italic $foreground 60%",
    "foot.error": "$text-error",
    "notice.info": "$foreground 60%",
    "notice.warning": "$text-warning",
    "notice.error": "$text-error",
    "strong": "bold",
    "emphasis": "italic",
    "strike": "strike $foreground 60%",
    "code_span": "$text-accent on $surface",
    "link": "underline $text-primary",
    "address": "$foreground 50%",
    "heading.1": "bold underline $text-primary",
    "heading.2": "bold $text-primary",
    "heading.3": "bold",
    "heading.4": "bold italic",
    "heading.5": "italic",
    "heading.6": "italic $foreground 70%",
    "quote": "$foreground 75%",
    "quote.bar": "$primary 60%",
    "marker": "$text-primary",
    "rule": "$foreground 25%",
    "table.line": "$foreground 30%",
    "table.head": "bold",
    "code": "$foreground 90% on $surface",
    "code.label": "italic $foreground 50%",
    "code.keyword": "$text-accent",
    "code.string": "$text-success",
    "code.number": "$text-warning",
    "code.comment": "italic $foreground 50%",
    "code.function": "$text-primary",
    "code.type": "$text-secondary",
}

_FALLBACKS = {"user": "text-primary", "assistant": "text-secondary", "system": "text-warning"}
_VARIABLE = re.compile(r"\$([\w-]+)")


class Palette:
    """The styles of one theme. Must be made while an app is running, whose theme it then reads.

    Args:
        variables: the theme's variables; `user`, `assistant` and `system` may be absent.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._styles: dict[str | Style, Style] = {}

    def style(self, name: str | Style) -> Style:
        """The style of this name; nothing special for one that is not known."""
        if isinstance(name, Style):
            return name
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = Style.parse(self._resolve(STYLES.get(name, "")))
        return found

    def _resolve(self, style: str) -> str:
        def fall_back(match: re.Match[str]) -> str:
            name = match[1]
            return match[0] if name in self._variables else f"${_FALLBACKS.get(name, 'foreground')}"

        return _VARIABLE.sub(fall_back, style)
