"""What is said of a step: title, formula, sentences, shapes; and what the layers would say next."""

from __future__ import annotations

from itertools import groupby

from textual.content import Content

from llama_chat.chat.walking.place import WalkPlace
from llama_chat.drawing.views import Difference, Step, StepView, WalkFacts
from llama_chat.sanitize import sanitize

LENS = "layer says next: "


def step_words(view: StepView, *, has_title: bool) -> Content:
    """The words beside or below the picture."""
    shapes = "   ".join(f"{shape.name} {shape.text}" for shape in view.shapes)
    title = f"{view.step.title}\n" if has_title else ""
    sentences = "\n".join(view.sentences) if not has_title else "\n\n".join(view.sentences)
    gap = "\n\n" if has_title else "\n"
    return Content.assemble(
        (title, "bold"),
        (view.step.formula, "$text-primary"),
        gap,
        sanitize(sentences),
        (f"{gap}{shapes}" if shapes else "", "$foreground 60%"),
    )


def lens_words(view: StepView) -> list[str]:
    """What each layer would say, `1–3 ‹of› · 24–30 ‹Paris› 62 %`; the longest wording first.

    Args:
        view: the step `lens`.
    """
    if not view.tables:
        return [""]
    said = [(str(row[0]), str(row[2])) for row in view.tables[0].rows]
    runs = []
    for label, run in groupby(said, key=lambda pair: pair[1].split(" ", 1)[-1]):
        members = list(run)
        first, last = members[0][0], members[-1][0]
        span = first if first == last else f"{first}–{last}"
        runs.append(f"{span} ‹{label}› {members[-1][1].split(' ')[0] or members[-1][1].split()[0]}")
    return [LENS + " · ".join([*(["…"] if cut else []), *runs[cut:]]) for cut in range(len(runs))]


def facts_words(facts: WalkFacts, difference: Difference | None, note: str) -> list[str]:
    """The model, and how exact all of this is."""
    count = len(facts.token_ids)
    tokens = f"{count:,} token{'s' if count > 1 else ''}"
    model = f"{facts.model} · {facts.dtype} on {facts.device} · {tokens}"
    exact = "probed, eager"
    if difference is not None:
        exact += f": logits within {difference.largest:.2g} of the running path's"
    kind = f"{facts.dtype} on {facts.device}"
    wordings = [f"{model} · {exact}", f"{kind} · {tokens} · {exact}", f"{tokens} · {exact}", exact]
    return [*(f"{note} {words}" for words in wordings), note] if note else wordings


def place_words(step: Step, place: WalkPlace, facts: WalkFacts, *, is_wide: bool) -> Content:
    """`layer 7 of 30   head 4 of 9 (keys shared by 3)`; pale where the step has none."""
    layers, heads, groups = facts.size("L"), facts.size("H"), facts.size("G")
    shared = heads // groups if groups else 1
    by = f" (keys shared by {shared})" if is_wide and shared > 1 else ""
    layer = f"layer {place.layer + 1:{len(str(layers))}d} of {layers}"
    head = f"head {place.head + 1:{len(str(heads))}d} of {heads}{by}"
    on, off = "bold $text-primary", "$foreground 35%"
    return Content.assemble((layer, on if step.in_layer else off), "   ", (head, on if step.in_head else off))
