"""What the sweep's screen says beside the columns."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from llama_chat.chat.sweeping.run import SweepRun
from llama_chat.events import Token
from llama_chat.sampling import Sampling, setting_label, setting_value
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sweep.columns import DEFAULT_VALUES, SweepColumn, Variation, value_text
from llama_chat.sweep.words import LEGEND

if TYPE_CHECKING:
    from llama_chat.ui.widgets.filter_list import Item

WAITS = "waits for the model…"
WAITS_FOR_REPLY = "waits until the reply is written…"
_NOT_TAKEN = ("max_new_tokens",)


def title_words(variation: Variation, others: Sampling, *, is_neutral: bool) -> tuple[str, ...]:
    """What is varied, and what the other settings are, the longest wording first."""
    title = f"Sweep over {variation.label}"
    rest = [
        f"{setting_label(name)} {setting_value(name, getattr(others, name))}"
        for name in DEFAULT_VALUES
        if name not in ("seed", variation.name) and not _does_nothing(name, getattr(others, name))
    ]
    if is_neutral:
        return (f"{title} · the other settings do nothing", f"{title} · others neutral", title)
    as_sliders = f"{title} · the others as your sliders have them"
    named = f"{as_sliders}: {', '.join(rest)}" if rest else as_sliders
    return (named, as_sliders, f"{title} · others as the sliders", title)


def _does_nothing(name: str, value: float) -> bool:
    return value == {"temperature": 1, "top_p": 1, "repetition_penalty": 1}.get(name, 0)


def status_words(run: SweepRun, *, is_running: bool, is_replying: bool, has_begun: bool) -> tuple[str, ...]:
    """How far it is, or what it was computed with."""
    if not has_begun:
        return (WAITS_FOR_REPLY if is_replying else WAITS,)
    replies = run.replies
    if replies.prefilled is None:
        percent = f" {replies.loading:.0%}" if replies.loading else ""
        return (f"reads the prompt…{percent}",)
    count = replies.prefilled.prompt_tokens
    said = [f"prompt of {count:,} token{'s' if count != 1 else ''}, computed once"]
    if run.variation.name != "seed":
        said.append(f"seed {run.seed}")
    if replies.at_once:
        said.append(f"{replies.at_once} at a time: there is no memory for more")
    if is_running:
        said.append("Esc stops")
    return (" · ".join(said), " · ".join(said[1:]), said[-1])


def legend_words() -> tuple[str, ...]:
    """What the figures mean, as much as there is room for."""
    said = [f"{label}: {meaning}" for label, meaning in LEGEND]
    return tuple(" · ".join(said[:count]) for count in range(len(said), 0, -1))


def prompt_words(words: str) -> str:
    """What every column answers, in one line."""
    return f"“{one_line(words)}”"


def token_words(token: Token | None, name: str, index: int, heading: str) -> tuple[str, ...]:
    """The token under the cursor."""
    if token is None:
        return (f"token {index + 1:,} of {heading}: not said",)
    return (
        f"token {index + 1:,} of {heading}: {name}, rank {token.rank:,}",
        f"token {index + 1:,}: {name}, rank {token.rank:,}",
        f"{index + 1:,}: {name}",
    )


def hint_words(heading: str, *, is_running: bool) -> tuple[str, ...]:
    """The keys."""
    esc = "Esc stop" if is_running else "Esc back"
    return (
        f"← → column · ↑ ↓ token · Enter: use {heading} · v vary something else · "
        f"n the others neutral, or as the sliders · r another seed · {esc}",
        f"← → column · ↑ ↓ token · Enter: use {heading} · v vary · n neutral · r seed · {esc}",
        f"← → column · ↑ ↓ token · Enter use · v vary · n neutral · r seed · {esc}",
        f"← → ↑ ↓ · Enter use · v vary · n neutral · r seed · {esc}",
        f"← → ↑ ↓ · Enter · v · n · r · {esc}",
    )


def changes(column: SweepColumn, now: Sampling, variation: Variation) -> dict[str, float]:
    """The settings that differ from the sliders, and the seed where it is what varies."""
    found = {
        field.name: getattr(column.sampling, field.name)
        for field in fields(Sampling)
        if field.name not in _NOT_TAKEN and getattr(column.sampling, field.name) != getattr(now, field.name)
    }
    return found | ({"seed": column.seed} if variation.name == "seed" else {})


def taken_words(taken: dict[str, float]) -> str:
    """What Enter has done."""
    if not taken:
        return "The sliders are so already."
    said = ", ".join(f"{setting_label(name)} {value_text(name, value)}" for name, value in taken.items())
    return f"From now on: {said}."


def trouble_words(run: SweepRun) -> str:
    """What a column failed with; empty where none did."""
    error = run.replies.error
    return sanitize(str(error)) if error is not None else ""


def visible_columns(chosen: int, count: int, most: int, first: int) -> range:
    """Those that are shown, the chosen one among them; no more than there is room for.

    Args:
        chosen: the number of the one under the cursor.
        count: how many there are.
        most: how many there is room for.
        first: that was shown at the left until now.
    """
    shown = max(1, min(count, most))
    first = min(max(first, chosen - shown + 1), chosen, count - shown)
    return range(first, first + shown)


def vary_item(name: str) -> Item:
    """A setting to be varied, with the values that it gets."""
    from textual.content import Content

    from llama_chat.ui.widgets.filter_list import Item

    values = ", ".join(value_text(name, value) for value in DEFAULT_VALUES[name])
    label = setting_label(name)
    content = Content.assemble((label.ljust(20), "bold"), (values, "$foreground 60%"))
    return Item(name, content, label, name=label, details=values)
