"""Nothing that any widget draws can command the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from capture_driver import OWN_SEQUENCE, CaptureDriver
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import App, ComposeResult
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.sanitize import is_safe
from llama_chat.ui.line_filter import SafeLineFilter

BLACK = Color(0, 0, 0)
HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202ed\x1b[2Je\x00f\ud800g"


def apply(*segments: Segment) -> list[Segment]:
    return SafeLineFilter().apply(list(segments), BLACK)


@given(st.text(st.characters(exclude_categories=())))
def test_the_text_is_safe_and_as_wide_as_before(text: str) -> None:
    (segment,) = apply(Segment(text))
    assert is_safe(segment.text)
    assert "\n" not in segment.text
    assert "\t" not in segment.text
    if "\u200d" not in text and "\ufe0f" not in text:
        assert cell_len(segment.text) == cell_len(text)


def test_what_is_not_seen_goes_though_python_calls_it_printable() -> None:
    unseen = [each for each in map(chr, range(0x30000)) if each.isprintable() and not is_safe(each)]
    assert "\u3164" in unseen
    for character in unseen:
        (segment,) = apply(Segment(f"a{character}b"))
        assert is_safe(segment.text)
        assert cell_len(segment.text) == cell_len(f"a{character}b")


def test_joiners_that_meet_a_letter_when_what_was_between_is_gone_go_too() -> None:
    (segment,) = apply(Segment("a\u200d\x1b\u200d\u061cb"))
    assert segment.text == "ab"


def test_harmless_segments_are_handed_on_untouched() -> None:
    segments = [Segment("plain"), Segment("日本 👩‍🚀", Style(bold=True))]
    assert SafeLineFilter().apply(segments, BLACK) == segments


def test_links_are_taken_out_and_the_rest_of_the_style_stays() -> None:
    style = Style(bold=True, link="http://evil\x1b\\") + Style.from_meta({"offset": (1, 2)})
    (segment,) = apply(Segment("text", style))
    assert segment.style is not None
    assert segment.style.link is None
    assert segment.style.bold
    assert segment.style.meta["offset"] == (1, 2)


class Raw(Widget):
    """A widget that forgot to sanitise."""

    def render_line(self, y: int) -> Strip:
        text = Text(HOSTILE, style=Style(link="http://evil\x07\x1b]52;c;!\x07"))
        return Strip([Segment(text.plain, Style(link="http://evil\x07"))], cell_len(HOSTILE))


class RawApp(App[None]):
    safe_filter = SafeLineFilter()

    def __init__(self) -> None:
        super().__init__(driver_class=CaptureDriver)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self.safe_filter]

    def compose(self) -> ComposeResult:
        yield Raw()

    def on_ready(self) -> None:
        self.call_after_refresh(self.exit)


async def test_a_careless_widget_cannot_reach_the_terminal() -> None:
    app = RawApp()
    await asyncio.wait_for(app.run_async(mouse=False), timeout=20)
    driver = app._driver
    assert isinstance(driver, CaptureDriver)
    text = OWN_SEQUENCE.sub("", "".join(driver.written))
    assert "title" in text
    assert is_safe(text.replace("\n", ""))
    assert "evil" not in text
