"""A slider for whole numbers and fractions, by mouse, wheel and keyboard, which shows its value."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from llama_chat.ui.scale import Scale
from llama_chat.ui.widgets.fitting import cut
from llama_chat.ui.widgets.typed_value import TypedValue

LABEL_CELLS = 15
LONG_LABEL_CELLS = 19
VALUE_CELLS = 6
KNOBS = {-1: "◀", 0: "●", 1: "▶"}
"""An arrow for a value that lies beyond the end of the track."""


def label_cells(width: int) -> int:
    """How much of a compact row the name takes."""
    wanted = LONG_LABEL_CELLS if width >= 60 else LABEL_CELLS
    return wanted if width >= wanted + VALUE_CELLS + 10 else min(12, width // 3)


class Slider(TypedValue):
    """One setting on a track.

    Two lines high (name and value above the track), or one line where `is_compact`.

    Args:
        setting: its name, which `Changed` carries.
        label: what the user reads.
        scale: what the track means.
        value: where it stands.
    """

    DEFAULT_CSS = """
    Slider {
        height: 2;
        padding: 0 1;
        color: $foreground;
        &:focus { background: $boost; }
        &.-compact { height: 1; }
    }
    """

    CHARACTERS = "0123456789.,"
    MOST_CHARACTERS = 9  # as long as the greatest value; `VALUE_CELLS` of them are seen

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "One step down", show=False),
        Binding("right", "step(1)", "One step up", show=False),
        Binding("pagedown,shift+left", "step(-5)", "A big step down", show=False),
        Binding("pageup,shift+right", "step(5)", "A big step up", show=False),
        Binding("home", "end(0)", "To the left end", show=False),
        Binding("end", "end(1)", "To the right end", show=False),
        Binding("delete", "reset", "Back to the default", show=False),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    value: reactive[float] = reactive(0.0)
    is_compact: reactive[bool] = reactive(False)

    class Changed(Message):
        """The user moved the slider."""

        def __init__(self, slider: Slider, setting: str, value: float) -> None:
            super().__init__()
            self.slider = slider
            self.setting = setting
            self.value = value

        @property
        def control(self) -> Slider:
            """The slider that was moved."""
            return self.slider

    class Refused(Message):
        """What the user typed is no value for this slider, which stays where it was."""

        def __init__(self, slider: Slider, why: str) -> None:
            super().__init__()
            self.slider = slider
            self.why = why
            """A sentence."""

        @property
        def control(self) -> Slider:
            """The slider that was typed into."""
            return self.slider

    def __init__(
        self, setting: str, label: str, scale: Scale, value: float, *, compact: bool = False
    ) -> None:
        super().__init__(id=f"slider-{setting}")
        self.setting = setting
        self.label = label
        self.scale = scale
        self.set_reactive(Slider.value, value)
        self.set_reactive(Slider.is_compact, compact)
        self.set_class(compact, "-compact")
        self._is_dragged = False

    def validate_value(self, value: float) -> float:
        """Only what the scale allows."""
        return self.scale.clamp(value)

    def move_to(self, value: float) -> None:
        """Set the value for the user, and tell."""
        before = self.value
        self.value = value
        if self.value != before:
            self.post_message(self.Changed(self, self.setting, self.value))

    # --- how it looks ---------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        """Whether the value is another than the default."""
        return self.value != self.scale.default

    @property
    def _track(self) -> tuple[int, int]:
        """Column and cells of the track, ends included."""
        width = self.content_size.width
        if not self.is_compact:
            return 0, max(3, width - VALUE_CELLS)
        label = label_cells(width)
        return label, max(3, width - label - VALUE_CELLS - 2)

    @property
    def _top_text(self) -> str:
        return self.scale.format(self.scale.top).removesuffix(".00")

    def _value_content(self) -> Content:
        if self.typed:
            end = self.typed[1 - VALUE_CELLS :]
            return Content.assemble((f"{end}▏".rjust(VALUE_CELLS), "$accent bold"))
        style = "$accent bold" if self.is_changed else "bold"
        return Content.assemble((self._value_text.rjust(VALUE_CELLS), style))

    @property
    def _value_text(self) -> str:
        """The value in the cells that there are: `4,096`, `123456`, `1M`."""
        text = self.scale.format(self.value)
        if len(text) > VALUE_CELLS:
            text = text.replace(",", "")
        return text if len(text) <= VALUE_CELLS else f"{self.value / 1e6:.3g}M"

    def _track_content(self, cells: int) -> Content:
        knob = min(cells - 1, round(self.scale.fraction(self.value) * (cells - 1)))
        default = round(self.scale.fraction(self.scale.default) * (cells - 1))
        rail = ["─"] * cells
        if default != knob:
            rail[default] = "┴"
        line = "".join(rail)
        knob_style = "$accent bold" if self.has_focus else "$primary bold"
        return Content.assemble(
            (line[:knob].replace("─", "━"), "$primary"),
            (KNOBS[self.scale.beyond(self.value)], knob_style),
            (line[knob + 1 :], "$foreground 25%"),
        )

    def render(self) -> Content:
        """The name, the value, a mark when it is not the default, and the track."""
        width = self.content_size.width
        column, cells = self._track
        name_style = "$accent" if self.has_focus else "$foreground 80%"
        mark = Content.assemble(("•" if self.is_changed else " ", "$accent"))
        if self.is_compact:
            name = Content.assemble((cut(self.label, column - 1).ljust(column), name_style))
            return Content("").join(
                [name, self._track_content(cells), Content(" "), self._value_content(), mark]
            )
        name_cells = max(0, width - VALUE_CELLS - 2)
        name = Content.assemble((self.label[:name_cells].ljust(name_cells), name_style))
        top = Content.assemble((self._top_text.rjust(VALUE_CELLS), "$foreground 50%"))
        return Content("").join(
            [name, Content(" "), self._value_content(), mark, Content("\n"), self._track_content(cells), top]
        )

    # --- the keyboard ---------------------------------------------------------------------------------

    def action_step(self, steps: int) -> None:
        """Move by so many steps."""
        self.typed = ""
        self.move_to(self.scale.stepped(self.value, steps))

    def action_end(self, end: int) -> None:
        """Move to the left (0) or right (1) end."""
        self.typed = ""
        self.move_to(self.scale.at(float(end)))

    def action_reset(self) -> None:
        """Move back to the default."""
        self.typed = ""
        self.move_to(self.scale.default)

    def take(self, typed: str) -> None:
        """Move to what was typed; say why not, where that is no value."""
        try:
            self.move_to(self.scale.parse(typed))
        except ValueError as error:
            self.post_message(self.Refused(self, f"{self.label}: {typed} {error}."))

    # --- the mouse ------------------------------------------------------------------------------------

    def _move_to_column(self, x: int) -> None:
        column, cells = self._track
        self.move_to(self.scale.at((x - column) / max(1, cells - 1)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Jump to where the track was clicked, and follow the mouse from there."""
        offset = event.get_content_offset(self)
        if offset is None or (not self.is_compact and offset.y == 0):
            return
        self.capture_mouse()
        self._is_dragged = True
        self._move_to_column(offset.x)
        event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse."""
        if self._is_dragged:
            self._move_to_column(event.x - self.gutter.left)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let go."""
        if self._is_dragged:
            self._is_dragged = False
            self.release_mouse()
            event.stop()

    def on_click(self, event: events.Click) -> None:
        """A double click goes back to the default."""
        if event.chain == 2:
            self.action_reset()
            event.stop()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """One step up."""
        self.action_step(1)
        event.stop()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """One step down."""
        self.action_step(-1)
        event.stop()
