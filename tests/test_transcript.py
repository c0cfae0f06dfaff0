"""The conversation on the screen, driven as a user would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from capture_driver import OWN_SEQUENCE, CaptureDriver
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import SELECT_ALL

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.sanitize import is_safe
from llama_chat.ui.widgets.transcript import Transcript

MARKUP = "[/zz] [bold]b[/bold] $x [@click=app.quit]q[/]"
HOSTILE = "a\x1b]0;t\x07b\x1b[2J\x9b31m\u202ec\x1b]8;;http://evil\x1b\\d\ud800\x00 &#x202e;&#27;[m"


class TranscriptApp(App[None]):
    def __init__(self, driver: type[CaptureDriver] | None = None) -> None:
        super().__init__(driver_class=driver)
        self.below: list[int] = []

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_transcript_below_changed(self, event: Transcript.BelowChanged) -> None:
        self.below.append(event.lines)


def message(name: str, text: str, role: Role = Role.ASSISTANT, **reply: object) -> Message:
    record = Reply(1, Sampling(), **reply) if reply or role is Role.ASSISTANT else None  # type: ignore[arg-type]
    return Message(name, None, role, text, 0.0, record)


def open_reply(name: str, text: str = "") -> Message:
    return message(name, text, finish_reason=None)


def rows(view: Transcript) -> list[str]:
    """What the view shows, without margins."""
    return [view.render_line(y).text.strip() for y in range(view.scrollable_content_region.height)]


def view_of(pilot: Pilot[None]) -> Transcript:
    return pilot.app.query_one(Transcript)


async def wait_for(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await pilot.pause()


def many(count: int) -> list[Message]:
    return [
        message(f"m{n}", f"message {n} " + "with **words** in it " * (n % 7 * 6) + "\n\n- x\n- y")
        for n in range(count)
    ]


# --- what is shown ---------------------------------------------------------------------------------


async def test_head_text_and_foot_of_messages() -> None:
    async with TranscriptApp().run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        view.show(
            [
                message("u", "two  spaces\n  *kept*", Role.USER),
                message(
                    "a",
                    "an *answer*",
                    finish_reason="stopped",
                    model="SmolLM2",
                    token_ids=tuple(range(148)),
                    decode_s=1.3125,
                ),
                message("b", "", finish_reason="failed", error="It broke."),
                message("c", "c", finish_reason="length", token_ids=tuple(range(512))),
                open_reply("d"),
            ]
        )
        await pilot.pause()
        shown = rows(view)
        assert shown[0].startswith("you ")
        assert shown[1:4] == ["▍ two  spaces", "▍   *kept*", ""]
        assert shown[4].startswith("SmolLM2 ")
        assert shown[4].endswith("148 tokens · 112 tok/s")
        assert shown[5:8] == ["▍ an answer", "▍ Stopped. 148 tokens kept.", ""]
        assert shown[9] == "▍ ✗ It broke."
        assert shown[12:14] == ["▍ c", "▍ Cut at max new tokens (512)."]
        assert shown[16] == "▍ …"


async def test_a_reply_streams_and_is_replaced_by_its_record() -> None:
    async with TranscriptApp().run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        view.add(message("u", "hi", Role.USER))
        view.add(open_reply("a"))
        for piece in ("# He", "llo\n\n", "```py\nx = 1", "\n```\nbye"):
            view.append_text("a", piece)
        view.set_head("a", "99 tok/s")
        await pilot.pause()
        streamed = rows(view)
        assert streamed[3].endswith("99 tok/s")
        assert streamed[4:9] == [
            "▍ Hello", "▍", f"▍  py{'1 · copy ⧉':>71}", "▍  x = 1", "▍",
        ]  # fmt: skip
        view.replace(message("a", "# Hello\n\n```py\nx = 1\n```\nbye", finish_reason="end", model="M"))
        await pilot.pause()
        assert rows(view)[4:] == streamed[4:]
        assert rows(view)[3].startswith("M ")
        view.set_place("a", 2, 3)
        assert rows(view)[3].endswith("‹ 2/3 ›")
        view.replace(message("a", "another text", finish_reason="end"))
        assert rows(view)[4:6] == ["▍ another text", ""]


async def test_streamed_and_shown_replies_look_the_same() -> None:
    text = "".join(
        f"{n}. item **{n}**\n\n   more\n\n| a | b |\n|--|--|\n| {n} |\n\n~~~\n{n}\n" for n in range(30)
    )
    final = message("a", text, finish_reason="end")
    async with TranscriptApp().run_test(size=(60, 30)) as pilot:
        view = view_of(pilot)
        view.add(open_reply("a"))
        for start in range(0, len(text), 7):
            view.append_text("a", text[start : start + 7])
        view.replace(final)
        height = view.virtual_size.height
        streamed = [view.render_line(y).text for y in range(30)]
        view.show([final])
        assert view.virtual_size.height == height
        assert [view.render_line(y).text for y in range(30)] == streamed


async def test_a_long_paragraph_is_drawn_late_but_whole() -> None:
    async with TranscriptApp().run_test(size=(80, 24)) as pilot:
        view = view_of(pilot)
        view.add(open_reply("a"))
        for n in range(900):
            view.append_text("a", f"word{n} ")
        await wait_for(pilot, lambda: any("word899" in row for row in rows(view)))
        view.append_text("a", "last")
        view.replace(message("a", "".join(f"word{n} " for n in range(900)) + "last", finish_reason="end"))
        assert any(row.endswith("last") for row in rows(view))


async def test_notices_stand_where_they_belong() -> None:
    async with TranscriptApp().run_test(size=(40, 12)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "one", Role.USER), message("b", "two", Role.USER)])
        view.add_notice("older turns have left", kind="info", before="b")
        view.add_notice("it is not saved, and that is said in two lines", kind="warning")
        await pilot.pause()
        shown = rows(view)
        assert shown[3] == "· older turns have left"
        assert shown[8:10] == ["! it is not saved, and that is said", "in two lines"]
        view.append_text("b", " more")
        assert rows(view)[6] == "▍ two more"
        view.clear()
        assert set(rows(view)) == {""}


def test_what_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Transcript().append_text("nobody", "text")


async def test_a_message_cannot_be_added_twice() -> None:
    async with TranscriptApp().run_test() as pilot:
        view_of(pilot).add(open_reply("a"))
        with pytest.raises(ValueError, match="message a is in the transcript already"):
            view_of(pilot).add(open_reply("a"))


# --- foreign text ----------------------------------------------------------------------------------


def fill_with(view: Transcript, text: str) -> None:
    """Hand the text to every method that takes one."""
    view.show(
        [message("u", text, Role.USER), message("s", text, Role.SYSTEM), message("a", text, model=text)]
    )
    view.add(message("b", text, finish_reason=None, model=text))
    view.append_text("b", text)
    view.add(open_reply("c"))
    view.set_head("c", text)
    view.replace(message("a", f"{text} `{text}`\n```{text}\n{text}\n```", finish_reason="failed", error=text))
    for kind in ("info", "warning", "error"):
        view.add_notice(text, kind=kind)


async def test_markup_is_text_everywhere() -> None:
    async with TranscriptApp().run_test(size=(120, 40)) as pilot:
        view = view_of(pilot)
        fill_with(view, MARKUP)
        await pilot.pause()
        assert sum(row.count(MARKUP) for row in rows(view)) == 14
        await pilot.click(Transcript, offset=(20, 5))
        assert pilot.app.is_running


async def test_nothing_hostile_reaches_the_terminal() -> None:
    class HostileApp(TranscriptApp):
        def on_ready(self) -> None:
            fill_with(self.query_one(Transcript), HOSTILE)
            self.call_after_refresh(self.call_after_refresh, self.exit)

    app = HostileApp(CaptureDriver)
    await asyncio.wait_for(app.run_async(mouse=False), timeout=20)
    assert isinstance(app._driver, CaptureDriver)
    output = "".join(app._driver.written)
    text = OWN_SEQUENCE.sub("", output)
    assert "␛]0;t" in text
    assert is_safe(text)
    output.encode("utf-8")


async def test_wide_characters_do_not_break_the_layout() -> None:
    text = (
        "狐と川👩‍🚀 " * 30
        + "\n\n| 狐 | b |\n|--|--|\n| 川と夜 | 👍🏽 |\n\n```\n狐"
        + "と" * 90
        + "\n```\n❤️ x\u200dy"
    )
    for width in (80, 41, 23):
        async with TranscriptApp().run_test(size=(width, 50)) as pilot:
            view = view_of(pilot)
            view.show([message("u", text, Role.USER), message("a", text, model="狐" * 50)])
            await pilot.pause()
            for y in range(50):
                strip = view.render_line(y)
                assert cell_len(strip.text) == strip.cell_length == view.scrollable_content_region.width


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (12, 4), (40, 12)])
async def test_small_terminals(size: tuple[int, int]) -> None:
    async with TranscriptApp().run_test(size=size) as pilot:
        view = view_of(pilot)
        fill_with(view, "some words\n\n> - `code` and **more**\n")
        await pilot.press("pageup", "home", "end")
        await pilot.pause()
        assert len(rows(view)) == size[1]


async def test_the_column_is_at_most_100_wide_and_centred() -> None:
    async with TranscriptApp().run_test(size=(160, 10)) as pilot:
        view = view_of(pilot)
        view.show([message("u", "x" * 300, Role.USER)])
        await pilot.pause()
        line = view.render_line(1).text
        assert line.index("▍") == (159 - 100) // 2
        assert line.count("x") == 98


# --- scrolling -------------------------------------------------------------------------------------


async def test_it_follows_the_end_until_the_user_scrolls_away() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(50))
        view.add(open_reply("live"))
        view.focus()
        await pilot.pause()
        view.append_text("live", "line\n\n" * 20)
        assert view.is_vertical_scroll_end
        assert view.follows_end
        await pilot.press("pageup")
        await wait_for(pilot, lambda: not view.follows_end)
        top = rows(view)[0:5]
        view.append_text("live", "line\n\n" * 20)
        await pilot.pause()
        assert rows(view)[0:5] == top
        assert view.below >= 40
        await wait_for(pilot, lambda: bool(app.below) and app.below[-1] == view.below)
        await pilot.press("end")
        await wait_for(pilot, lambda: view.follows_end and view.below == 0)
        view.append_text("live", "line\n\n" * 20)
        assert view.is_vertical_scroll_end


async def test_scrolling_down_to_the_end_follows_it_again() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(20))
        view.focus()
        await wait_for(pilot, lambda: view.show_vertical_scrollbar)
        await pilot.press("up", "up", "up")
        await wait_for(pilot, lambda: view.below == 3)
        await pilot.press("down", "down", "down")
        await wait_for(pilot, lambda: view.follows_end and view.below == 0)


async def test_scrolling_into_the_unseen_never_jumps() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(80))
        view.focus()
        await pilot.pause()
        seen = rows(view)
        while view.scroll_y > 0:
            before = rows(view)
            view.scroll_relative(y=-1)
            after = rows(view)
            assert after[1:] == before[:-1]
            seen = [after[0], *seen]
        expected = [row for entry in view._entries for row in entry.lay_out()]
        assert len(seen) == len(expected)


async def test_what_is_at_the_top_stays_there_when_the_width_changes() -> None:
    async with TranscriptApp().run_test(size=(80, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(60))
        await pilot.pause()
        view.scroll_to(y=200)
        await pilot.pause()
        index = view._anchor[0]
        for width in (50, 120, 80):
            await pilot.resize_terminal(width, 20)
            await wait_for(pilot, lambda width=width: view.size.width == width)  # type: ignore[misc]
            await pilot.pause()
            assert view._anchor[0] == index
            assert not view.follows_end


async def test_a_notice_above_the_view_does_not_move_it() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(30))
        view.focus()
        await wait_for(pilot, lambda: view.show_vertical_scrollbar)
        await pilot.press("pageup", "pageup")
        await wait_for(pilot, lambda: not view.follows_end)
        before = rows(view)
        view.add_notice("older turns have left", kind="info", before="m2")
        await pilot.pause()
        assert rows(view) == before


async def test_a_notice_that_is_true_no_longer_goes_and_the_view_stays() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(30))
        view.add_notice("six messages have left", about="context", before="m2")
        view.focus()
        await wait_for(pilot, lambda: view.show_vertical_scrollbar)
        await pilot.press("pageup", "pageup")
        await wait_for(pilot, lambda: not view.follows_end)
        before, total = rows(view), view.virtual_size.height
        view.drop_notices("context")
        await pilot.pause()
        assert rows(view) == before
        assert view.virtual_size.height == total - 2
        view.append_text("m29", "\n\nstill there")
        view.scroll_end()
        await pilot.pause()
        assert "▍ still there" in rows(view)


async def test_a_newer_notice_about_the_same_takes_the_place_of_the_older() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "one", Role.USER), message("b", "two", Role.USER)])
        view.add_notice("two have left", about="context", before="b")
        view.add_notice("locked", about="store")
        view.add_notice("one has left", about="context", before="a")
        await pilot.pause()
        shown = rows(view)
        assert shown[0] == "· one has left"
        assert [row for row in shown if "left" in row or "locked" in row] == ["· one has left", "· locked"]
        view.drop_notices("")
        view.show([message("c", "three", Role.USER)], keep_notices=True)
        await pilot.pause()
        assert rows(view)[1:4] == ["▍ three", "", "· locked"]  # the other one belonged to a message
        view.drop_notices("store")
        view.show([])
        assert view.is_empty


async def test_another_theme_paints_anew() -> None:
    async with TranscriptApp().run_test(size=(60, 20)) as pilot:
        view = view_of(pilot)
        view.show(many(3))
        await pilot.pause()
        before = view.render_line(1)
        pilot.app.theme = "textual-light"
        await pilot.pause()
        after = view.render_line(1)
        assert after.text == before.text
        assert [segment.style for segment in after] != [segment.style for segment in before]


# --- selection -------------------------------------------------------------------------------------


async def test_dragging_selects_the_text_without_what_is_drawn_around_it() -> None:
    async with TranscriptApp().run_test(size=(40, 20)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "first line is long enough to be wrapped here\n\n```py\nx = 1\n```")])
        await pilot.pause()
        await pilot.mouse_down(Transcript, offset=(9, 1))
        await pilot.hover(Transcript, offset=(30, 5))
        await pilot.mouse_up(Transcript, offset=(30, 5))
        await wait_for(pilot, lambda: pilot.app.screen.get_selected_text() is not None)
        text = pilot.app.screen.get_selected_text()
        assert text == "line is long enough to be wrapped here\n\n\nx = 1"
        assert any(segment.style and segment.style.bgcolor for segment in view.render_line(2))


async def test_a_selection_stays_on_its_text_when_heights_above_change() -> None:
    async with TranscriptApp().run_test(size=(40, 20)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "one two"), message("b", "three four", Role.USER)])
        await pilot.pause()
        await pilot.mouse_down(Transcript, offset=(3, 4))
        await pilot.hover(Transcript, offset=(7, 4))
        await pilot.mouse_up(Transcript, offset=(7, 4))
        selected = pilot.app.screen.get_selected_text()
        assert selected
        assert "three".startswith(selected)
        view.replace(message("a", "one\n\ntwo\n\nthree", finish_reason="end"))
        assert pilot.app.screen.get_selected_text() == selected


async def test_selecting_all_copies_the_words_of_all_messages() -> None:
    async with TranscriptApp().run_test(size=(40, 8)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "狐 " * 40), message("b", "last **word**")])
        await pilot.pause()
        found = view.get_selection(SELECT_ALL)
        assert found is not None
        assert found[0].split() == ["狐"] * 40 + ["last", "word"]


async def test_a_double_click_selects_one_message() -> None:
    async with TranscriptApp().run_test(size=(40, 20)) as pilot:
        view = view_of(pilot)
        view.show([message("a", "one two"), message("b", "three four", Role.USER)])
        await pilot.pause()
        await pilot.click(Transcript, offset=(5, 4), times=2)
        await wait_for(pilot, lambda: pilot.app.screen.get_selected_text() == "three four")


def test_offsets_are_ordered_like_the_rows() -> None:
    from llama_chat.ui.transcript.selecting import name_row

    names = [Offset(0, name_row(entry, row)).y for entry in range(3) for row in range(5)]
    assert names == sorted(set(names))
