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
    "bar.chosen": "bold $text-accent on $accent 18%",
    "chosen": "on $accent 18%",
    "name.user": "bold $user",
    "name.assistant": "bold $assistant",
    "name.system": "bold $system",
    "meta": "$muted",
    "placeholder": "italic $muted",
    "foot": "italic $muted",
    "foot.error": "$text-error",
    "foot.offer": "underline $text-primary",
    "notice.info": "$muted",
    "notice.warning": "$text-warning",
    "notice.error": "$text-error",
    "below": "$text-primary on $surface",
    "found": "underline on $warning 30%",
    "thought": "$muted",
    "thought.head": "italic $muted",
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
    "map.arrow": "$text-primary",
    "map.bar": "$primary",
    "code": "$foreground 90% on $surface",
    "code.label": "italic $muted",
    "code.copy": "$text-primary",
    "code.copy.hovered": "bold reverse $text-primary",
    "code.keyword": "$text-accent",
    "code.string": "$text-success",
    "code.number": "$text-warning",
    "code.comment": "italic $muted",
    "code.function": "$text-primary",
    "code.type": "$text-secondary",
    "look.measure": "underline $text-primary",
    "candidate.before": "$muted",
    "candidate.after": "$text-primary",
    "candidate.chosen": "bold $text-accent",
    "candidate.cut": "$muted",
    **{f"look.{level}": f"on $accent {8 + 8 * level}%" for level in range(8)},
}

# The terminal's own colours cannot be mixed: a quarter of one would be all of it.
_ANSI_STYLES = {
    "bar.chosen": "bold reverse",
    "chosen": "reverse",
    "bar.found": "reverse $text-warning",
    "found": "underline reverse",
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
        self._is_ansi = variables.get("accent", "").startswith("ansi")

    def style(self, name: str | Style) -> Style:
        """The style of this name; nothing special for one that is not known."""
        if isinstance(name, Style):
            return name
        found = self._styles.get(name)
        if found is None:
            style = _ANSI_STYLES.get(name) if self._is_ansi else None
            found = self._styles[name] = Style.parse(self._resolve(style or STYLES.get(name, "")))
        return found

    def _resolve(self, style: str) -> str:
        def fall_back(match: re.Match[str]) -> str:
            name = match[1]
            return match[0] if name in self._variables else f"${_FALLBACKS.get(name, 'foreground')}"

        return _VARIABLE.sub(fall_back, style)
