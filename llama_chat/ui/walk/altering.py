"""Heads and layers of the walk switched off and scaled by keys; what that does to the next token, at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.drawing.views import ComparedToken, Comparison, StepView, Walker
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.sanitize import one_line
from llama_chat.ui.walk.frame import WalkFrame
from llama_chat.ui.walk.waiting import heard
from llama_chat.ui.widgets.fitting import FittingLine

if TYPE_CHECKING:
    from llama_chat.chat.walking.desk import WalkDesk
    from llama_chat.ui.screens.chat_view import ChatViewScreen

EFFECTS = "effects"
_PROGRESS_S = 0.2
FACTORS = (1.0, 0.5, 2.0, -1.0, 0.0)
"""What `z` goes round."""


class AlteringWalk(WalkFrame):
    """A part of `WalkScreen`."""

    DEFAULT_CSS = """
    AlteringWalk {
        & .walk-altered { height: 1; padding: 0 1; background: $panel; color: $text-warning; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "switch_head", "Head off and on", show=False),
        Binding("X", "switch_layer", "Layer off and on", show=False),
        Binding("z", "scale_head", "Factor of the head", show=False),
        Binding("Z", "scale_layer", "Factor of the layer", show=False),
        Binding("u", "unalter", "As it is", show=False),
        Binding("h", "effects", "What each head does", show=False),
        Binding("enter", "keep_altered", "For the chat", show=False),
    ]

    chat: ChatViewScreen
    desk: WalkDesk
    walk: Walker | None
    alteration: Alteration = UNALTERED
    """With which the walk is taken."""
    _altered_line: FittingLine | None = None
    _mapping: threading.Event | None = None
    """Of the map that is made now: set to give it up."""

    def _start(self, work: Coroutine[object, object, None]) -> None:
        raise NotImplementedError

    def ask_again(self) -> None:
        """What is shown is computed anew."""
        raise NotImplementedError

    # --- keys -------------------------------------------------------------------------------------------

    def action_switch_head(self) -> None:
        """The head that is shown off, or on again."""
        self._aim()
        self._scale_head(0.0 if self._head_factor() == 1.0 else 1.0)

    def action_switch_layer(self) -> None:
        """The layer that is shown off, or on again."""
        self._aim()
        self._scale_layer(0.0 if self._layer_factor() == 1.0 else 1.0)

    def action_scale_head(self) -> None:
        """The next factor for the head."""
        self._scale_head(_next(self._head_factor()))

    def action_scale_layer(self) -> None:
        """The next factor for the layer."""
        self._scale_layer(_next(self._layer_factor()))

    def action_unalter(self) -> None:
        """All heads and layers as they are."""
        self._alter(UNALTERED)

    def action_keep_altered(self) -> None:
        """Let the chat run as the walk does, from the next reply on."""
        altering = self.chat.chat.altering
        if self.walk is None:
            return
        if self.alteration == altering.current:
            same = "runs like this already" if self.alteration else "runs as it is: x switches a head off"
            self.tell(f"The chat {same}.")
            return
        try:
            told = altering.take(self.alteration)
        except LlamaChatError as error:
            self.tell(str(error))
        else:
            self.tell(f"For the chat, from the next reply on: {told}")

    def action_effects(self) -> None:
        """A map of what each head does to the next token; once more while it is made: nothing."""
        if self.walk is not None and self._mapping is None:
            self._mapping = threading.Event()
            self._start(self._map_effects(self.place.position, self._mapping))

    def give_up_map(self) -> bool:
        """Make the map of the heads no further: a long text takes minutes; whether one was being made."""
        given_up, self._mapping = self._mapping, None
        if given_up is not None:
            given_up.set()
            self.show_hint()
        return given_up is not None

    async def _map_effects(self, position: int, given_up: threading.Event) -> None:
        done = 0.0

        def report(fraction: float) -> None:
            nonlocal done
            done = fraction
            if given_up.is_set():
                raise Interrupted("The map was given up.")

        def map_effects(walk: Walker) -> StepView:
            report(0.0)
            return walk.head_effects(report)

        future = heard(self.desk.ask_besides(map_effects, position))
        while not future.done() and not given_up.is_set():
            self.tell(f"Every head is switched off by itself: {done:.0%} · Esc stops")
            await asyncio.wait({future}, timeout=_PROGRESS_S)
        if given_up.is_set():
            return
        self._mapping = None
        try:
            view = future.result()
        except Interrupted:
            return
        except LlamaChatError as error:
            self.tell(str(error))
            return
        self.show_view(view)
        self.picture.focus()
        told = "x switches off the head under the cursor · ← → ↑ ↓ · Esc back"
        self.call_after_refresh(self.tell, told)  # the keyboard's new place says its keys first

    def _aim(self) -> None:
        """On the map of all heads, the one under the cursor is meant."""
        window = self.picture.window
        if self.view is not None and self.view.step.name == EFFECTS and window is not None:
            self.place = replace(self.place, layer=window.row, head=window.column)

    def _head_factor(self) -> float:
        return self.alteration.heads.get((self.place.layer, self.place.head), 1.0)

    def _layer_factor(self) -> float:
        return self.alteration.layers.get(self.place.layer, 1.0)

    def _scale_head(self, scale: float) -> None:
        self._alter(self.alteration.with_head(self.place.layer, self.place.head, scale))

    def _scale_layer(self, scale: float) -> None:
        self._alter(self.alteration.with_layer(self.place.layer, scale))

    # --- what it does -----------------------------------------------------------------------------------

    def _alter(self, alteration: Alteration) -> None:
        if self.walk is not None and alteration != self.alteration:
            self.give_up_map()
            self.alteration = alteration
            self.show_hint()
            self._show_altered(f"{alteration.words} …" if alteration else "")
            self._start(self._ask_altered(alteration))

    async def _ask_altered(self, alteration: Alteration) -> None:
        try:
            await asyncio.wrap_future(self.desk.alter(alteration))
        except Interrupted:
            return
        except LlamaChatError as error:
            self.show_trouble("This could not be computed:", str(error))
            return
        if alteration == self.alteration:
            self.ask_again()

    async def show_comparison(self, position: int) -> None:
        """What the alteration does to the token behind that position."""
        if not self.alteration:
            self._show_altered()
            return
        try:
            found = await asyncio.wrap_future(self.desk.ask_besides(_comparison, position))
        except LlamaChatError:
            return  # the step that is asked for beside this says so
        if found is not None and found.alteration == self.alteration.signature:
            self._show_altered(*comparison_wordings(found))

    def _show_altered(self, *wordings: str) -> None:
        if self._altered_line is None:
            self._altered_line = FittingLine("", classes="walk-altered")
            self.mount(self._altered_line, after="#walk-body")
        self._altered_line.display = any(wordings)
        self._altered_line.say(*wordings or ("",))


def comparison_wordings(found: Comparison) -> list[str]:
    """What an alteration does to the next token, in one line, from long to short."""
    words = one_line(found.words)
    moved = [*found.fallen[:1], *found.risen[:1]]
    moves = [_move(token) for token in moved]
    apart = f"{found.kl_bits:.2g} bits"
    keys = "Enter: for the chat · u: as it is"
    return [
        f"Altered: {words}   {'   '.join(moves)}   KL {apart}   {keys}",
        f"Altered: {words}   {'   '.join(moves)}   KL {apart}",
        f"{words}   {'   '.join(moves)}   {apart}",
        *(f"{name}   {moves[0]}" for name in (words, found.alteration) if moves),
        words,
        found.alteration,
    ]


def _comparison(walk: Walker) -> Comparison | None:
    return walk.comparison()


def _move(token: ComparedToken) -> str:
    return f"‹{one_line(token.label)}› {100 * token.before:.1f} → {100 * token.after:.1f} %"


def _next(factor: float) -> float:
    at = FACTORS.index(factor) if factor in FACTORS else 0
    return FACTORS[(at + 1) % len(FACTORS)]
