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
    "bar.found": "$text-warning on $warning 40%",
    "name.user": "bold $user",
    "name.assistant": "bold $assistant",
    "name.system": "bold $system",
    "meta": "$muted",
    "placeholder": "italic $muted",
    "foot": "italic $muted",
    "foot.error": "$text-error",
    "notice.info": "$muted",
    "notice.warning": "$text-warning",
    "notice.error": "$text-error",
    "strong": "bold",
    "emphasis": "italic",
    "strike": "strike $muted",
    "code_span": "$text-accent on $surface",
    "link": "underline $text-primary",
    "address": "$muted",
    "heading.1": "bold underline $text-primary",
    "heading.2": "bold $text-primary",
    "heading.3": "bold",
    "heading.4": "bold italic",
    "heading.5": "italic",
    "heading.6": "italic $muted",
    "quote": "$foreground 75%",
    "quote.bar": "$primary 60%",
    "marker": "$text-primary",
    "rule": "$muted 50%",
    "table.line": "$muted 50%",
    "table.head": "bold",
    "code": "$foreground 90% on $surface",
    "code.label": "italic $muted",
    "code.keyword": "$text-accent",
    "code.string": "$text-success",
    "code.number": "$text-warning",
    "code.comment": "italic $muted",
    "code.function": "$text-primary",
    "code.type": "$text-secondary",
}

# For themes that are not of this program: the readable variants of Textual's own colours.
_FALLBACKS = {
    "user": "text-primary",
    "assistant": "text-secondary",
    "system": "text-warning",
    "muted": "foreground-muted",
}
_VARIABLE = re.compile(r"\$([\w-]+)")


class Palette:
    """The styles of one theme. Must be made while an app is running, whose theme it then reads.

    Args:
        variables: the theme's variables; `user`, `assistant`, `system` and `muted` may be absent.
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
