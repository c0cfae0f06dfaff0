"""How the HTML file looks, by day and by night."""

from __future__ import annotations

LIKELIHOODS = (
    (0.9, "90% and more"),
    (0.6, "60%"),
    (0.3, "30%"),
    (0.1, "10%"),
    (0.03, "3%"),
    (0.0, "less"),
)
"""The least probability of each background, and its words in the legend."""

_LIGHT = ("transparent", "#e3eefa", "#bcd7f2", "#8bb8e8", "#5b96d9", "#2f63a6")
_DARK = ("transparent", "#15293f", "#1c3f63", "#27588c", "#3a7cc0", "#8fc2f5")


def _backgrounds(colours: tuple[str, ...], text_on_last: str) -> str:
    rules = [f".p{n}{{background:{colour}}}" for n, colour in enumerate(colours)]
    return "".join([*rules, f".p{len(colours) - 1}{{color:{text_on_last}}}"])


STYLE = (
    ":root{color-scheme:light dark}"
    "body{max-width:50rem;margin:2rem auto;padding:0 1rem;font:16px/1.55 system-ui,sans-serif;"
    "color:#1b1b1b;background:#fff;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;margin:2rem 0 0}h2{font-size:1rem;margin:1.5rem 0 0}"
    ".about,.legend{font-size:.8rem;margin:.2rem 0 .5rem;opacity:.75}.legend{opacity:1}"
    "section>div{white-space:pre-wrap}section.user>div{border-left:3px solid #2f63a6;padding-left:.7rem}"
    "section.system>div{font-style:italic}"
    "details{margin:.7rem 0 .7rem .5rem;padding-left:.7rem;border-left:1px dashed #888}"
    "summary{cursor:pointer;font-size:.85rem}"
    ".u{text-decoration:underline 2px}.s{border-left:2px solid #b35900}"
    f"{_backgrounds(_LIGHT, '#fff')}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#14161a}"
    f"{_backgrounds(_DARK, '#000')}"
    "}"
)
