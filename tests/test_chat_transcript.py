"""The transcript in the chat: thoughts that fold, feet that offer to go on, words that are found."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fake_engine import INFO, FakeEngine, Pace
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Input

from llama_chat.chat.finding import Needle, fold_case
from llama_chat.chat.thoughts import ThoughtFigures, ThoughtMeter
from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import FinishReason, Sampling
from llama_chat.markup.thoughts import Kind, ThoughtParser
from llama_chat.sessions import SessionStore
from llama_chat.settings import ChatSettings
from llama_chat.ui.markdown.line import wrap
from llama_chat.ui.transcript.finding import find_in_rows
from llama_chat.ui.transcript.rows import Row
from llama_chat.ui.transcript.thinking import Folds, ReplyBody, format_seconds, thought_words

THOUGHT = "<think>\nThe user wants a **fox**.\n\n- one\n- two\n</think>\n\nHere is the answer."

pieces = (
    "<think>|</think>|<th|ink>|\n|\n|```|~~~\n|```\n|word |  |    |> |- |`|py|\r\n|<|/|**|\u200d|</|a: b\n"
)
parts = st.sampled_from([*pieces.split("|"), "| a |\n|--|\n"])
replies = st.lists(parts, max_size=16).map("".join)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=9)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def cut(text: str, lengths: list[int]) -> list[str]:
    """The text in pieces of these lengths, again and again."""
    pieces, at = [], 0
    while at < len(text):
        length = lengths[len(pieces) % len(lengths)]
        pieces.append(text[at : at + length])
        at += length
    return pieces


def parsed(pieces: list[str]) -> list[tuple[Kind, str]]:
    parser = ThoughtParser()
    found: list[tuple[Kind, str]] = []
    for piece in [*(p for text in pieces for p in parser.feed(text)), *parser.finish()]:
        if found and found[-1][0] is piece.kind:
            found[-1] = piece.kind, found[-1][1] + piece.text
        else:
            found.append((piece.kind, piece.text))
    return found


# --- thoughts, without a screen -------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(replies, sizes)
@example(THOUGHT, [1])
@example("so it is.\n</think>\nHi", [2])
def test_thoughts_are_the_same_wherever_the_text_is_cut(text: str, lengths: list[int]) -> None:
    assert parsed(cut(text, lengths)) == parsed([text])
    assert "".join(piece for _, piece in parsed([text])) == text


def test_the_lines_of_a_text_that_comes_whole_are_one_piece() -> None:
    lines = "one\ntwo\n```\n<think>\n```\nthree"
    pieces = ThoughtParser().feed(f"<think>\n{lines}</think>\n{lines}")
    assert [piece.kind for piece in pieces] == [Kind.OPENING, Kind.THOUGHT, Kind.CLOSING, Kind.ANSWER]


def test_what_is_a_thought() -> None:
    a, t, o, c = Kind.ANSWER, Kind.THOUGHT, Kind.OPENING, Kind.CLOSING
    tags = {o: "<think>", c: "</think>"}

    def kinds(text: str) -> list[object]:
        return [kind if kind in tags else (kind, piece) for kind, piece in parsed([text])]

    assert kinds("<think>hm</think>Hi") == [o, (t, "hm"), c, (a, "Hi")]
    assert kinds("one\n<think>x</think>\n<think>y") == [(a, "one\n"), o, (t, "x"), c, (a, "\n"), o, (t, "y")]
    assert kinds("Use <think> for it") == [(a, "Use <think> for it")]
    assert kinds("```\n<think>\n```\n") == [(a, "```\n<think>\n```\n")]
    assert kinds("<think>\n```\n</think>\n```\n</think>") == [o, (t, "\n```\n</think>\n```\n"), c]
    assert kinds("    <think>") == [(a, "    <think>")]
    assert parsed(["hm\n</think>\nHi"]) == [(a, "hm\n"), (Kind.CLOSING_ALL, "</think>"), (a, "\nHi")]


@settings(max_examples=300, deadline=None)
@given(replies, sizes, st.booleans(), st.integers(14, 40))
@example(THOUGHT, [3], True, 30)
@example("```\na\n```\n\n```\nb\n```", [4], True, 30)
def test_a_streamed_reply_is_drawn_as_a_stored_one(
    text: str, lengths: list[int], folds: bool, width: int
) -> None:
    streamed = ReplyBody(width, Folds(folds))
    for piece in cut(text, lengths):
        before = list(streamed.lines)
        changed = streamed.append(piece)
        assert [line.plain for line in streamed.lines[:changed]] == [line.plain for line in before[:changed]]
    streamed.finish()
    whole = ReplyBody(width, Folds(folds))
    whole.append(text)
    whole.finish()
    assert [line.plain for line in streamed.lines] == [line.plain for line in whole.lines]
    assert all(Content(line.plain).cell_length <= width for line in whole.lines)


def test_the_meter_counts_tokens_and_seconds_of_each_thought() -> None:
    meter = ThoughtMeter()
    for text in ("<think>", "\n", "hm", "</think>", "\n", "Hi"):
        meter.feed(text, 0.5)
    assert meter.take_figures() == (ThoughtFigures(4, 2.0),)
    assert meter.take_figures() == ()
    late = ThoughtMeter()
    for text in ("hm", "\n", "</think>", "Hi"):
        late.feed(text, 1.0)
    assert late.take_figures() == (ThoughtFigures(3, 3.0),)
    going_on = ThoughtMeter("<think>\nso")
    going_on.feed(" far</think>\n<think>", 1.0)
    going_on.feed("x", 1.0)
    assert going_on.take_figures() == (None, ThoughtFigures(2, 2.0))


def test_words_of_a_thought() -> None:
    figures = ThoughtFigures(1_240, 12.34)
    assert thought_words("x", figures, is_closed=True, is_over=True) == "thought for 12 s · 1,240 tokens"
    assert thought_words("two words", None, is_closed=True, is_over=True) == "thought · 2 words"
    assert thought_words("x", figures, is_closed=False, is_over=False) == "thinking… 12 s · 1,240 tokens"
    assert thought_words("x", None, is_closed=False, is_over=True) == "thinking, broken off: 1 word"
    assert [format_seconds(s) for s in (0.44, 9.9, 99, 125)] == ["0.4 s", "9.9 s", "99 s", "2 min 5 s"]


# --- thoughts in the chat -------------------------------------------------------------------------------


def line_of(user: User, words: str) -> int:
    """The row of the terminal that the words are in."""
    return next(n for n, line in enumerate(user.seen.split("\n")) if words in line)


async def click(user: User, words: str) -> None:
    """Click on these words."""
    row = line_of(user, words)
    assert await user.pilot.click(offset=(user.seen.split("\n")[row].index(words) + 1, row))


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_thought_is_seen_while_it_streams_and_folds_when_it_is_over(
    home: Home, size: tuple[int, int]
) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([THOUGHT], pace=pace)), size) as user:
        await user.say("fox?")
        pace.step(6)
        await user.sees("▾ thinking… 0.1 s · 6 tokens", "┊ The user wants a")
        pace.step(99)
        await user.sees("Here is the answer.", "▸ thought for 0.1 s · 12 tokens")
        await user.idle()
        assert "The user wants" not in user.seen
        await click(user, "thought for")
        await user.sees("▾ thought for", "┊ The user wants a fox.", "┊ • one")
        await user.press("alt+m")
        await user.until(lambda: "┊" not in user.seen, "not folded")
        await user.say("/think")
        await user.sees("┊ The user wants")
        assert user.screen.chat.conversation.path()[-1].text == THOUGHT
    assert home.stored()[0].path()[-1].text == THOUGHT


async def test_space_folds_the_thoughts_of_the_chosen_message(home: Home) -> None:
    async with chat(home.setup(FakeEngine([THOUGHT]))) as user:
        await user.say("fox?")
        await user.sees("▸ thought")
        await user.idle()
        user.screen.transcript.focus()
        await user.press("space")
        await user.sees("▾ thought", "┊ • one")
        await user.press("space")
        await user.sees("▸ thought")


async def test_a_thought_that_was_stopped_says_so_and_stays_open(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([THOUGHT], pace=pace))) as user:
        await user.say("fox?")
        pace.step(6)
        await user.sees("wants a")
        await user.press("escape")
        await user.idle()
        await user.sees(
            "▾ thinking, broken off: 0.1 s · 6 tokens", "┊ The user wants a", "Stopped. 6 tokens kept."
        )


async def test_the_setting_leaves_thoughts_open_and_without_any_a_hint_says_so(home: Home) -> None:
    engine = FakeEngine(["no thought", THOUGHT])
    async with chat(home.setup(engine, chat=ChatSettings(fold_thinking=False))) as user:
        await user.say("hello")
        await user.idle()
        await user.press("alt+m")
        await user.sees("There are no thoughts to fold here")
        await user.say("fox?")
        await user.sees("Here is the answer.", "▾ thought for", "┊ • two")


async def test_a_thought_that_is_being_read_is_not_folded_away(home: Home) -> None:
    pace = Pace(is_stepped=True)
    thought = "<think>\n" + "".join(f"line{n}\n\n" for n in range(30)) + "</think>\n\nDone."
    async with chat(home.setup(FakeEngine([thought], pace=pace))) as user:
        await user.say("fox?")
        pace.step(61)
        await user.sees("line29")

        def is_scrolled_up() -> (
            bool
        ):  # a frame of words that was on its way takes the view to the end once more
            if user.screen.transcript.follows_end:
                user.screen.transcript.scroll_relative(y=-8)
            return not user.screen.transcript.follows_end

        await user.until(is_scrolled_up, "it follows")
        pace.step(99)
        await user.idle()
        await user.sees("line24")


# --- the foot -------------------------------------------------------------------------------------------


def store_replies(home: Home, *ends: tuple[FinishReason, str]) -> None:
    """A session with replies that ended so."""
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title="An old talk", model=INFO.name, date="2026-11-20")
    store.set_model(info.id, INFO)
    messages: list[Message] = []
    for n, (end, text) in enumerate(ends):
        parent = messages[-1].id if messages else None
        messages.append(Message(f"u{n}", parent, Role.USER, f"question {n}", 1_780_000_000.0 + n))
        reply = Reply(7, Sampling(), INFO.name, (100, 101), end)
        messages.append(Message(f"a{n}", f"u{n}", Role.ASSISTANT, text, 1_780_000_000.5 + n, reply))
    store.add_messages(info.id, messages, messages[-1].id)
    store.close()


@pytest.mark.parametrize("size", [NARROW, SMALL])
async def test_the_last_reply_offers_to_go_on_where_it_was_cut(home: Home, size: tuple[int, int]) -> None:
    store_replies(home, ("stopped", "word0 word1 "), ("interrupted", "word0 word1 "))
    async with chat(home.setup(FakeEngine(["word0 word1 word2"]), continue_last=True), size) as user:
        await user.idle()
        await user.sees(" F5 goes on.")
        assert user.seen.count("F5 goes on.") == 1
        await click(user, "F5 goes on.")
        await user.sees("word2")
        await user.idle()
        await user.until(lambda: "F5 goes on." not in user.seen, "it still offers to")


# --- find -----------------------------------------------------------------------------------------------

STORIES = [
    ("end", "A fox met a **grey\nriver**."),
    ("end", THOUGHT),
    ("end", "The GREY river.\n\n" + "x\n\n" * 40),
]


def count(user: User) -> tuple[int, int]:
    view = user.screen.transcript
    return view._place_of_hit(), sum(view._counts)


async def test_find_goes_from_hit_to_hit(home: Home) -> None:
    store_replies(home, *STORIES)  # type: ignore[arg-type]  # reasons
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        view = user.screen.transcript
        await user.press("ctrl+l")
        await user.until(lambda: user.screen.query(Input), "no bar")
        await user.until(lambda: isinstance(user.screen.focused, Input), "the bar has no focus")
        await user.press(*"grey")
        await user.press("space", *"river")
        await user.sees("2 of 2", "The GREY river.")
        await user.press("enter")
        await user.sees("1 of 2", "A fox met a grey")
        await user.press("up")
        await user.sees("2 of 2")
        await user.press("escape")
        await user.until(lambda: user.screen.prompt.has_focus, "the prompt has no focus")
        assert "of 2" not in user.seen
        assert "The GREY river." in user.seen
        assert not view._counts


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_hit_in_a_thought_unfolds_it(home: Home, size: tuple[int, int]) -> None:
    store_replies(home, *STORIES)  # type: ignore[arg-type]  # reasons
    async with chat(home.setup(continue_last=True), size) as user:
        await user.idle()
        await user.say("/find wants a FOX")
        await user.sees("┊ The user wants a fox.", "1 of 1")
        user.screen.transcript.focus()
        await user.press("slash")
        await user.until(lambda: isinstance(user.screen.focused, Input), "the bar has no focus")
        await user.press("ctrl+u", *"zebra")
        await user.sees("nothing found" if size != SMALL else "nothing")


async def test_hits_are_counted_while_a_reply_grows(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("word")
        pace.step(2)
        await user.sees("word1")
        await user.say("/find word")
        await user.sees("of 3")
        pace.step(4)
        await user.sees("of 7")


def test_hits_are_found_across_rows() -> None:
    text = "one two three four five six seven"
    rows = [Row(line) for line in wrap(Content(text), 11)]
    assert [row.line.plain for row in rows] == ["one two", "three four", "five six", "seven"]
    hits = find_in_rows(Needle("FOUR five"), rows)
    assert hits.rows == [1]
    assert hits.spans == {1: [(6, 10, 0)], 2: [(0, 4, 0)]}


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from(list("aAİß \nµ狐")), max_size=40),
    st.text(st.sampled_from("aAİß"), min_size=1, max_size=2),
)
def test_every_hit_in_a_text_is_drawn(text: str, words: str) -> None:
    needle = Needle(words)
    assert len(fold_case(text)) == len(text)
    rows = [Row(line) for line in wrap(Content(text.replace(" ", "_")), 7)]
    assert len(find_in_rows(needle, rows).rows) == needle.count(fold_case(text.replace(" ", "_")))


# --- below and selected ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL, (40, 8), (24, 16)])
async def test_it_says_what_is_below_and_a_click_goes_there(home: Home, size: tuple[int, int]) -> None:
    store_replies(home, ("end", "x\n\n" * 40 + "the end"))
    async with chat(home.setup(continue_last=True), size) as user:
        await user.idle()
        view = user.screen.transcript
        await user.until(lambda: view.below == 0 and view.virtual_size.height > 80, "not shown")
        assert "↓" not in user.seen
        bordered = size not in {(40, 8), (24, 16)}
        view.scroll_relative(y=-1)
        await user.sees("↓ 1 more line ─" if bordered else "↓ 1 ")
        view.scroll_relative(y=-8)
        await user.sees("↓ 9 more lines ─" if bordered else "↓ 9 ")
        if bordered:
            await click(user, "↓ 9 more")
        else:
            await user.press("ctrl+end")
        await user.until(lambda: view.follows_end and "↓" not in user.seen, "it is not at the end")


async def test_what_is_selected_can_be_seen(home: Home) -> None:
    store_replies(home, ("end", "some plain words"))
    async with chat(home.setup(continue_last=True)) as user:
        await user.sees("plain words")
        row = line_of(user, "plain words")
        await user.pilot.mouse_down(offset=(10, row))
        await user.pilot.hover(offset=(14, row))
        await user.pilot.mouse_up(offset=(14, row))
        await user.until(lambda: user.app.screen.get_selected_text(), "nothing is selected")
        view = user.screen.transcript
        shades = {
            s.style.bgcolor for s in view.render_line(row - view.region.y) if s.style and s.text.strip()
        }
        assert len(shades) == 2


# --- widths ---------------------------------------------------------------------------------------------

CLUSTERS = (
    *("狐", "👩‍🚀", "👨‍👩‍👧‍👦", "🇩🇪", "🇩", "👍🏽", "❤️", "1️⃣", "e\u0301", "กำ", "क्षि", "سلام", "שלום"),
    *("\u1112\u1161\u11ab", "→", "ｱｲ", "☺︎", "می\u200cخواهم", "\u0301", "\u20e3", "🏽"),
)
MARKDOWN = (
    "a",
    "word ",
    " ",
    "\n\n",
    "**",
    "`",
    "- ",
    "| a |\n|--|\n",
    "```\n",
    "> ",
    "\t",
    "[x](",
    "</think>\n",
)


def widths(strip: Strip) -> tuple[int, int]:
    """What the strip takes by its own word, and what its parts take."""
    return strip.cell_length, sum(cell_len(segment.text) for segment in strip)


@pytest.mark.parametrize("size", [NARROW, (23, 20)])
async def test_every_row_is_as_wide_as_the_screen(home: Home, size: tuple[int, int]) -> None:
    chance = Random(5)
    async with chat(home.setup(), size) as user:
        await user.ready()
        view, header = user.screen.transcript, user.screen._header
        for _ in range(40):
            text = "".join(chance.choice((*CLUSTERS, *MARKDOWN)) for _ in range(chance.randint(1, 14)))
            said = Message("u", None, Role.USER, text, 0.0)
            reply = Message(
                "a", "u", Role.ASSISTANT, text, 0.0, Reply(7, Sampling(), text[:9], (1,), "stopped")
            )
            user.screen.show_path([said, reply])
            view.find(chance.choice(["a", "o", "👩", "狐", "ل"]))
            user.screen.prompt.load_text(text)
            user.screen.prompt.move_cursor(user.screen.prompt.document.end)  # else it parts the first cluster
            header.title_text = text
            user.screen.notice(text, about="widths")
            await user.pilot.pause()
            await user.until(lambda: view.virtual_size.width > 0)  # it is shown with the first words
            view_width = view.scrollable_content_region.width
            for y in range(view.size.height):
                assert widths(view.render_line(y)) == (view_width, view_width), text
            for strip in user.app.screen._compositor.render_strips():
                assert widths(strip)[1] == size[0], (text, strip.text)


# --- scrolling from the prompt ------------------------------------------------------------------------------


async def test_the_page_keys_of_a_short_prompt_scroll_the_chat(home: Home) -> None:
    long = "\n\n".join(f"paragraph {n}" for n in range(60))
    async with chat(home.setup(FakeEngine([long])), NARROW) as user:
        await user.say("go")
        await user.sees("paragraph 59")
        await user.idle()
        await user.press("pageup", "pageup")
        await user.until(lambda: "paragraph 59" not in user.seen)
        assert user.screen.prompt.has_focus
        await user.press("pagedown", "pagedown")
        await user.sees("paragraph 59")
        await user.press(*["ctrl+j"] * 30)
        await user.press("pageup")
        await user.until(lambda: user.screen.prompt.cursor_location[0] < 30)
        await user.sees("paragraph 59")
