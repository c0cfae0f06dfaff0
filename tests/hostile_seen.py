"""What was seen to show a hostile text: classes of the screen that drew one, commands that printed one."""

from __future__ import annotations

import importlib
import io
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

import llama_chat.ui

NUMBER = re.compile(r"\[[/|]?k\d+\]")
"""What begins every hostile text."""
HOME = f"{llama_chat.ui.__name__}."
NO_FOREIGN_TEXT = {
    "first_run.try_step._Choice": "prompts of ours",
    "replay.bar.PlayerBar": "figures",
    "replay.help.ReplayHelp": "keys and sentences of ours",
    "replay.help.ReplayKeyList": "keys and sentences of ours",
    "replay.sliders.SettingsLine": "names of settings and figures",
    "replay.sliders.ShownSliders": "names of settings and figures",
    "replay.status.ReplayStatus": "figures and keys",
    "screens.key_rows._Catcher": "a sentence of ours",
    "tokens.head_lines.AlongLine": "figures",
    "tokens.help.TokenHelp": "keys and sentences of ours",
    "walk.help.WalkHelp": "keys and sentences of ours",
    "walk.help.WalkKeyList": "keys and sentences of ours",
    "walk.step_list.StepList": "names of steps, ours",
    "widgets.action_line.ActionLine": "names of actions, keys and figures",
    "widgets.slider.Slider": "figures: nothing else can be typed into it",
}
"""Classes that show none, and what they show."""


def drawing_classes() -> list[str]:
    """All widgets, screens, visuals and applications of the package `ui`."""
    for module in pkgutil.walk_packages(llama_chat.ui.__path__, HOME):
        importlib.import_module(module.name)
    return sorted({_name(kind) for base in (Widget, Visual, App) for kind in _subclasses(base)} - {""})


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _name(kind: type) -> str:
    """`screens.tree.TreeScreen`; empty for a class that is not of this program."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name.removeprefix(HOME) if name.startswith(HOME) else ""


class Seen:
    """By class or command: the places of the stage in which a hostile text was seen there.

    Args:
        place: where the stage is now.
    """

    def __init__(self, place: Callable[[], str]) -> None:
        self.places: dict[str, set[str]] = {}
        self._place = place
        self._known: WeakKeyDictionary[Widget, set[str]] = WeakKeyDictionary()

    def as_data(self) -> dict[str, list[str]]:
        """For JSON."""
        return {name: sorted(places) for name, places in sorted(self.places.items())}

    def watch_widgets(self) -> None:
        """Look at what every widget hands to the screen from now on."""
        for own in (Widget, *(each for each in _subclasses(Widget) if _name(each))):
            if "render_lines" in vars(own):
                self._watch_widget(own)
        for kind in filter(_name, _subclasses(Visual)):
            self._watch_visual(kind)

    def _watch_widget(self, kind: Any) -> None:
        render_lines = kind.render_lines

        def watched(widget: Widget, crop: Region) -> list[Strip]:
            strips: list[Strip] = render_lines(widget, crop)
            self._look(widget, strips)
            return strips

        kind.render_lines = watched

    def _watch_visual(self, kind: Any) -> None:
        render_strips = kind.render_strips

        def watched(visual: Visual, *arguments: Any) -> list[Strip]:
            strips: list[Strip] = render_strips(visual, *arguments)
            if any(NUMBER.search(strip.text) for strip in strips):
                self._note(_name(kind))
            return strips

        kind.render_strips = watched

    def _look(self, widget: Widget, strips: list[Strip]) -> None:
        """Widgets draw, and all that they stand in shows it."""
        known = self._known.setdefault(widget, set())
        if self._place() in known or not any(NUMBER.search(strip.text) for strip in strips):
            return
        known.add(self._place())
        for node in (*widget.ancestors_with_self, widget.app):
            for kind in type(node).__mro__:
                self._note(_name(kind))

    def watch_output(self) -> None:
        """Look at what is printed from now on; the place is a command."""
        for stream in (sys.stdout, sys.stderr):
            assert isinstance(stream, io.TextIOWrapper)
            self._watch_stream(stream)

    def _watch_stream(self, stream: Any) -> None:
        write = stream.write

        def watched(text: str) -> int:
            if NUMBER.search(text):
                self._note(self._place())
            return int(write(text))

        stream.write = watched

    def _note(self, name: str) -> None:
        if name:
            self.places.setdefault(name, set()).add(self._place())
