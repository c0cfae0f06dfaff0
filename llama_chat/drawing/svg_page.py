"""Elements of SVG, and a page that grows downwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

WIDTH = 960
MARGIN = 24
ROOM = WIDTH - 2 * MARGIN
LETTER = 7.3
"""How wide a letter of 12 px is, about; all are alike."""
LINE = 18
INK, FAINT, ACCENT, BEFORE, RING = "#1b1f24", "#6a737d", "#2166ac", "#b35806", "#d0d7de"
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def element(name: str, content: str = "", **attributes: str | float) -> str:
    """One element; `_` in the names of attributes stands for `-`. The content is markup."""
    said = "".join(f' {key.replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{content}</{name}>" if content else f"<{name}{said}/>"


def text(
    x: float, y: float, words: str, *, fill: str = INK, font_size: float = 12, **attributes: str | float
) -> str:
    """Words whose letters stand on y."""
    return element("text", escape(words), x=x, y=y, font_size=font_size, fill=fill, **attributes)


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(slots=True)
class Page:
    """Elements, and how far down they go."""

    y: float = MARGIN
    parts: list[str] = field(default_factory=list)

    def add(self, *elements: str) -> None:
        """Draw them."""
        self.parts.extend(elements)

    def line(self, words: str, *, fill: str = INK, font_size: float = 12, weight: str = "normal") -> None:
        """A line of text below what is there."""
        self.y += LINE
        self.add(text(MARGIN, self.y, words, fill=fill, font_size=font_size, font_weight=weight))

    def heading(self, words: str) -> None:
        """The same in bold, with room around it."""
        self.y += 16
        self.line(words, weight="bold")
        self.y += 8

    def document(self) -> str:
        """The whole file."""
        height = self.y + MARGIN
        background = element("rect", width="100%", height="100%", fill="white")
        return element(
            "svg",
            background + "".join(self.parts),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {height:.0f}",
            width=WIDTH,
            height=height,
            font_family=FONT,
            style="white-space:pre",
        )


def cut(words: str, letters: int) -> str:
    """At most so many letters."""
    return words if len(words) <= letters else words[: letters - 1] + "…"


def wrapped(words: str, letters: int) -> list[str]:
    """Lines of at most so many letters, broken at spaces."""
    lines = [""]
    for word in words.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
