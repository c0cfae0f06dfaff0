"""Foreign text on its way to a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_chat.sanitize import complete_length, is_safe, sanitize

# Characters of category Cf that are seen, or that ordinary text needs.
VISIBLE_OR_NEEDED = set(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u200c\u200d"
) | set("\U000110bd\U000110cd")

any_text = st.text(st.characters(exclude_categories=()))
hostile_text = st.text(
    st.sampled_from("a \t\n\r\x1b\x00\x07\x9b\x9c\x7f[]0m;\u202e\u200d\ufe0f\u2028👩é\ud800")
)


@given(any_text | hostile_text)
def test_the_result_is_safe_and_stays_as_it_is(text: str) -> None:
    once = sanitize(text)
    assert is_safe(once)
    assert sanitize(once) == once


@given(any_text | hostile_text)
def test_nothing_unsafe_is_left_and_no_line_break_is_added(text: str) -> None:
    result = sanitize(text)
    for character in set(result) - VISIBLE_OR_NEEDED - set("\n\t"):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    assert result.count("\n") == text.count("\n")
    assert result.splitlines() == result.split("\n")[: len(result.splitlines())]


@given(any_text | hostile_text, st.data())
def test_pieces_cut_at_complete_length_give_the_same(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    ready = complete_length(text[:cut])
    assert sanitize(text[:ready]) + sanitize(text[ready:]) == sanitize(text)


def test_every_format_control_of_unicode_is_covered() -> None:
    controls = {
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert {character for character in controls if is_safe(character)} == VISIBLE_OR_NEEDED | set("\n\t")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "␛]8;;http://evil␇link␛]8;;␇"),
        ("a\x00b\x7fc", "a␀b␡c"),
        ("\x9b31m", "\ufffd31m"),
        ("one\r\ntwo", "one\ntwo"),
        ("over\rwrite", "over␍write"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("a\u2028b\x85c", "a␤b␤c"),
        ("lone \ud83d", "lone \ufffd"),
        ("hid\u200d\u200d\u200dden", "hid\u200d\u200d\ufffdden"),
        ("tag \U000e0041", "tag \ufffd"),
    ],
)
def test_what_could_command_or_hide_becomes_visible(text: str, shown: str) -> None:
    assert not is_safe(text)
    assert sanitize(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "tab\tand\nnewline",
        "naïve café",
        "日本語",
        "👩‍👩‍👧‍👦 ❤️ ✈︎",
        "می‌خواهم",
        "שלום",
        "[/zz] [bold]",
        "",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert is_safe(text)
    assert sanitize(text) == text
