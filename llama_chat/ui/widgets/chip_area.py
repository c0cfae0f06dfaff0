"""A text area with chips in its text: each is one piece, whatever the cursor and the keys do."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.document._document import EditResult, Location, Selection
from textual.message import Message

from llama_chat.ui.widgets.chips import Chip, Chips
from llama_chat.ui.widgets.line_area import LineArea


class ChipArea(LineArea):
    """Text, and marks in it that stand for files and long pastes. Takes what a `TextArea` takes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chip-area--chip"}

    DEFAULT_CSS = """
    ChipArea {
        & .chip-area--chip { background: $surface; color: $text-primary; }
        &:ansi .chip-area--chip { background: ansi_default; text-style: underline; }
        &:nocolor .chip-area--chip { text-style: underline; }
    }
    """

    class ChipClicked(Message):
        """The user wants to see what a chip holds."""

        def __init__(self, chip: Chip) -> None:
            super().__init__()
            self.chip = chip

    def __init__(self, **options: Any) -> None:
        self.chips = Chips()
        self.chip_tokens: dict[str, int] = {}
        """How many tokens what is sent has for a chip, by its text, where that is counted."""
        super().__init__(**options)

    def put_in(self, text: str) -> None:
        """Put a text as it is in the place of what is selected, and go behind it."""
        if result := self._replace_via_keyboard(text, *self.selection):
            self.move_cursor(result.end_location)

    def redraw_chips(self) -> None:
        """Paint the chips anew: their tokens are counted, or count no longer."""
        self._line_cache.clear()
        self.refresh()

    def get_line(self, line_index: int) -> Text:
        """The line, with its chips marked."""
        line = super().get_line(line_index)
        for start, end, chip in reversed(self.chips.spans(line.plain)):
            line.plain = line.plain[:start] + chip.drawn(self.chip_tokens.get(chip.text)) + line.plain[end:]
            line.stylize(self.get_component_rich_style("chip-area--chip"), start, end)
        return line

    def _validate_selection(self, selection: Selection) -> Selection:
        start, end = super()._validate_selection(selection)
        if self.chips:
            start, end = self._off_chips(start), self._off_chips(end)
        return Selection(start, end)

    def _off_chips(self, location: Location) -> Location:
        """The place, or if that is inside a chip the end of it where the cursor was not."""
        row, column = location
        for start, end, _chip in self.chips.spans(self.document.get_line(row)):
            if start < column < end:
                was = self.selection.end
                is_left = (column - start <= end - column or was == (row, end)) and was != (row, start)
                return (row, start if is_left else end)
        return location

    def _delete_via_keyboard(self, start: Location, end: Location) -> EditResult | None:
        return super()._delete_via_keyboard(*self._whole_chips(start, end))

    def _whole_chips(self, start: Location, end: Location) -> tuple[Location, Location]:
        """The range, with all of every chip that it has a part of."""
        first, last = sorted((start, end))
        for from_column, to_column, _chip in self.chips.spans(self.document.get_line(first[0])):
            if from_column < first[1] < to_column:
                first = (first[0], from_column)
        # The deletion of the last line ends in the one behind it, which is not there.
        line = self.document.get_line(last[0]) if last[0] < self.document.line_count else ""
        for from_column, to_column, _chip in self.chips.spans(line):
            if from_column < last[1] < to_column:
                last = (last[0], to_column)
        return first, last

    def chip_at_cursor(self) -> Chip | None:
        """The chip at the cursor, else the last one before it, else the first one."""
        row, column = self.cursor_location
        here = self.chips.spans(self.document.get_line(row))
        touched = [span.chip for span in here if span.start <= column <= span.end]
        every = [part for part in self.chips.parts(self.text) if isinstance(part, Chip)]
        before = [span.chip for span in here if span.end <= column]
        return next(iter(touched or before[-1:] or every), None)

    def unfold(self, chip: Chip) -> None:
        """Put what the chip holds into the text, in its place; undo folds it again."""
        self._replace_chip(chip, chip.text)

    def drop(self, chip: Chip) -> None:
        """Take the chip out; undo brings it back."""
        self._replace_chip(chip, "")

    def _replace_chip(self, chip: Chip, text: str) -> None:
        for row in range(self.document.line_count):
            line = self.document.get_line(row)
            for start, end, found in self.chips.spans(line):
                if found is chip:
                    is_block = bool(chip.name and text)  # then it stands on lines of its own
                    before = "\n" if is_block and line[:start].strip(" ") else ""
                    after = "\n" if is_block and line[end:].strip(" ") else ""
                    self.history.checkpoint()
                    self._replace_via_keyboard(before + text + after, (row, start), (row, end))
                    return

    async def _on_mouse_up(self, event: events.MouseUp) -> None:
        await super()._on_mouse_up(event)
        row, column = self.get_target_document_location(event)
        for start, end, chip in self.chips.spans(self.document.get_line(row)):
            if start <= column < end and not self.selected_text:
                self.post_message(self.ChipClicked(chip))

    def _recompute_cursor_offset(self) -> None:
        """Where the cursor is painted.

        While lines are undone that had brought the scrollbar, the cursor is still on one that is gone:
        Textual 8.2.8 breaks off there.
        """
        if self.cursor_location[0] < self.document.line_count:
            super()._recompute_cursor_offset()  # type: ignore[no-untyped-call]  # Textual's
