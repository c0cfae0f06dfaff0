"""Steps as a page of HTML that needs nothing else: words, pictures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from llama_chat.drawing.svg import cell_text, pictures_svg, step_title
from llama_chat.drawing.views import LETTERS, StepView, Table, WalkFacts

_STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: #1b1f24; background: white; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
code, table, .tokens { font-size: 0.85rem;
  font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; }
code { color: #2166ac; } .shapes, .about { color: #57606a; font-size: 0.9rem; }
.tokens span { padding: 0 0.1em; } .tokens span:nth-child(4n+1) { background: #cfe8ff; }
.tokens span:nth-child(4n+2) { background: #d7f5d0; } .tokens span:nth-child(4n+3) { background: #ffe2c0; }
.tokens span:nth-child(4n) { background: #ffd9ec; }
table { border-collapse: collapse; }
td, th { padding: 0.1rem 0.7rem 0.1rem 0; text-align: left; white-space: pre; }
th { color: #57606a; font-weight: normal; } svg { max-width: 100%; height: auto; }
"""


def walk_html(views: Sequence[StepView], facts: WalkFacts) -> str:
    """The page of all the steps."""
    title = f"A walk through {facts.model}{f', altered: {facts.altered}' if facts.altered else ''}"
    sizes = " · ".join(f"{letter} {size:,} {LETTERS[letter]}" for letter, size in facts.sizes)
    tokens = "".join(f"<span>{escape(label)}</span>" for label in facts.labels)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="tokens">{tokens}</p>\n<p class="about">{escape(sizes)}</p>\n'
        f"{''.join(_section(view, facts) for view in views)}</body></html>\n"
    )


def _section(view: StepView, facts: WalkFacts) -> str:
    shapes = " ".join(f"{shape.name} {shape.text}" for shape in view.shapes)
    words = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in view.sentences)
    tables = "".join(map(_table, view.tables))
    return (
        f'<h2 id="{view.step.name}">{escape(step_title(view, facts))}</h2>\n'
        f"<p><code>{escape(view.step.formula)}</code></p>\n"
        f'<p class="shapes">{escape(shapes)}</p>\n{words}{pictures_svg(replace(view, tables=()))}\n{tables}\n'
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell_text(cell))}</td>' for cell in row)}</tr>\n" for row in table.rows
    )
    return f"<p>{escape(table.title)}</p>\n<table><tr>{head}</tr>\n{rows}</table>\n"
