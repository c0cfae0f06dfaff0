"""Thoughts that fold: by a click on the line above them, by a key on the chosen message, or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message as TextualMessage

from llama_chat.chat.branches.continuing import why_it_cannot_go_on
from llama_chat.chat.thoughts import ThoughtFigures
from llama_chat.ui.pacing import FIGURES_PATIENCE_S, FIGURES_S, Paced
from llama_chat.ui.transcript.cursor import CursorView
from llama_chat.ui.transcript.entries import GO_ON, MessageEntry
from llama_chat.ui.transcript.thinking import THOUGHT

MOST_FIGURES = 1_000
"""Of so many messages the figures are known; those of the oldest go first."""


class FoldingView(CursorView):
    """A view of messages whose thoughts fold, and whose feet can be clicked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "fold_chosen", "Fold or unfold what the model thought", show=False),
    ]

    class GoOnWanted(TextualMessage):
        """The foot of a reply was clicked that can go on."""

        def __init__(self, view: FoldingView, message_id: str) -> None:
            super().__init__()
            self.view = view
            self.message_id = message_id

        @property
        def control(self) -> FoldingView:
            """The view that sent it."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._folds_thoughts = True
        self._thought_figures: dict[str, tuple[ThoughtFigures | None, ...]] = {}
        self._thinking_id = ""
        self._thinking_head = Paced(self._redraw_thinking_head, FIGURES_S, FIGURES_PATIENCE_S)
        self._pressed_at = (0, 0)
        self._offering: MessageEntry | None = None
        self.offer = "F5 goes on."
        """What the foot of the last reply says where that was cut."""

    @property
    def folds_thoughts(self) -> bool:
        """Whether thoughts are folded once they are over; setting it does so with those that are there."""
        return self._folds_thoughts

    @folds_thoughts.setter
    def folds_thoughts(self, folds: bool) -> None:
        if folds != self._folds_thoughts:
            self.fold_all(folds)

    def fold_all(self, is_folded: bool | None = None) -> bool:
        """Fold or unfold every thought, or change how they are now; False where there is none."""
        entries = [entry for entry in self._messages() if entry.has_thoughts]
        if is_folded is None:
            if not entries:
                return False
            is_folded = not self._folds_thoughts or any(False in e.folds.chosen.values() for e in entries)
        self._folds_thoughts = is_folded
        index = self._heights.find(self.scroll_offset.y)
        before = self.scroll_offset.y - self._heights.start(index)
        for entry in self._messages():
            entry.folds.is_default = is_folded
            if not entry.has_files:  # those are folded and unfolded one by one
                entry.folds.chosen.clear()
        for entry in entries:
            entry.refold()
        self._heights.recount(self._entries)
        height = self._entries[index].height if index < len(self._entries) else 1
        self._settle(self._heights.start(index) + min(before, height - 1))
        self._clear_selection()
        self.refresh()
        return bool(entries)

    def fold(self, message_id: str, number: int | None = None) -> bool:
        """Fold or unfold one thought of the message, or all of its; False where there is none."""
        place = self._place_of(message_id)
        if place is None or not ((entry := self._at(place)).has_thoughts or entry.has_files):
            return False
        numbers = [thought for thought, _ in entry.thought_texts() if thought is not None]
        if not numbers:
            return False
        chosen = numbers if number is None else [number]
        is_folded = not any(entry.is_folded(each) for each in chosen)
        self._fold_there(place, entry, chosen, is_folded)
        return True

    def unfold(self, entry: MessageEntry, numbers: Sequence[int]) -> bool:
        """Unfold these thoughts of an entry; whether any was folded. Heights are not summed up."""
        folded = [number for number in numbers if entry.is_folded(number)]
        if folded:
            entry.folds.chosen |= dict.fromkeys(folded, False)
            entry.refold()
        return bool(folded)

    def set_thoughts(self, message_id: str, figures: tuple[ThoughtFigures | None, ...]) -> None:
        """How long the thoughts of a message are, so far; what is not known any more stays as it was."""
        known = self._thought_figures.get(message_id, ())
        merged = tuple(
            now if now is not None else (known[n] if n < len(known) else None)
            for n, now in enumerate(figures)
        )
        self._thought_figures[message_id] = merged
        if len(self._thought_figures) > MOST_FIGURES:
            del self._thought_figures[next(iter(self._thought_figures))]
        place = self._place_of(message_id)
        if place is not None:
            self._at(place).folds.figures = merged
            self._thinking_id = message_id
            self._thinking_head.ask()

    def _redraw_thinking_head(self) -> None:
        place = self._place_of(self._thinking_id)
        if place is not None and (row := self._at(place).redraw_thought_head()) is not None:
            start = self._heights.start(place) + row
            self._refresh_rows(start, start + 1)

    def _take_folds(self, entry: MessageEntry) -> None:
        """Let an entry that comes in fold as the others do."""
        entry.folds.is_default = self._folds_thoughts
        entry.folds.figures = self._thought_figures.get(entry.message.id, ())

    def take_offer(self, offer: str) -> None:
        """Say this in the foot of the last reply where that was cut."""
        self.offer = offer
        self._offer_at_end()

    def _offer_at_end(self) -> None:
        """Let the last message, and no other, offer to go on, if it can."""
        last = next((entry for entry in reversed(self._entries) if isinstance(entry, MessageEntry)), None)
        if self._offering is not None and self._offering is not last:
            self._set_offer(self._offering, "")
        self._offering = last
        if last is not None:
            can_go_on = not last.is_open and not why_it_cannot_go_on(last.message, is_shared=False)
            self._set_offer(last, self.offer if can_go_on else "")

    def _set_offer(self, entry: MessageEntry, offer: str) -> None:
        if entry.offer != offer and (first := entry.make_offer(offer)) is not None:
            place = self._place_of(entry.message.id)
            if place is not None:
                self._entry_changed(place, first)

    def _messages(self) -> Iterator[MessageEntry]:
        return (entry for entry in self._entries if isinstance(entry, MessageEntry))

    def _fold_there(self, place: int, entry: MessageEntry, numbers: Sequence[int], is_folded: bool) -> None:
        """Fold or unfold, and leave the line where it is on the screen."""
        entry.folds.chosen |= dict.fromkeys(numbers, is_folded)
        top = self.scroll_offset.y
        changed = self._heights.start(place) + entry.refold()
        self._heights.recount(self._entries, place)
        self._clear_selection()
        height = self._view_size.height
        self._follows_end = False
        self._settle(min(top, changed))
        self._follows_end = self.scroll_offset.y >= self._heights.total - height
        self.refresh()

    def _clear_selection(self) -> None:
        if self.is_attached:
            self.screen.clear_selection()  # it names rows by their numbers

    def action_fold_chosen(self) -> None:
        """Fold or unfold the thoughts of the chosen message; without one, of the last that has any."""
        message_id = self.cursor_id
        if message_id is None:
            last = next((entry for entry in reversed([*self._messages()]) if entry.has_thoughts), None)
            message_id = last.message.id if last is not None else None
        if message_id is not None:
            self.fold(message_id)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Where a click begins: one that ends elsewhere selects text."""
        self._pressed_at = (event.screen_x, event.screen_y)

    def on_click(self, event: events.Click) -> None:
        """Do what the line offers."""
        found = self._row_at(event.y + self.scroll_offset.y)
        if found is None or (event.screen_x, event.screen_y) != self._pressed_at:
            return
        entry, action = self._entries[found[0]], found[2].line.action
        if not isinstance(entry, MessageEntry) or event.chain > 1:
            return
        if action == GO_ON:
            self.post_message(self.GoOnWanted(self, entry.message.id))
        elif action.startswith(THOUGHT):
            self.fold(entry.message.id, int(action.removeprefix(THOUGHT)))
