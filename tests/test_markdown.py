"""Markdown as lines: the same whatever the pieces it arrives in, and no word of it lost."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from llama_chat.markup.parser import parse_blocks
from llama_chat.ui.markdown import Document, Line
from llama_chat.ui.markdown.blocks import BLANK, BlockRenderer

WORD = re.compile(r"[a-z0-9]{3,}")

words = st.sampled_from(
    ["alpha", "beta", "gamma", "delta one", "x1y2z3", "狐と川", "👩‍🚀", "**bold**", "`span`", "*em*"]
)
openers = st.sampled_from(
    [
        *(
            "",
            "",
            "# ",
            "## ",
            "- ",
            "* ",
            "1. ",
            "2) ",
            "  - ",
            "   ",
            "    ",
            "\t",
            "> ",
            ">> ",
            "> - ",
            "- - ",
        ),
        *(
            "1. > ",
            "```",
            "```python\n",
            "~~~~",
            "  ```",
            "- ```sh\n  ",
            "| ",
            "|--|--|",
            "--|:-:",
            "---",
            "===",
        ),
        *(
            "***",
            "-",
            "#",
            "<think>",
            "</think>",
            "[ref]: ",
            "![img](",
            "[link](",
            "&#x202e;",
            "\\",
            "\r",
            "~~",
        ),
    ]
)
closers = st.sampled_from(
    ["\n", "\n", "\n\n", "", " | alpha beta |\n", ")\n", "  \n", "```\n", "\r\n", "**\n", "\\\n"]
)
structured = st.lists(st.tuples(openers, words, closers).map("".join), max_size=14).map("".join)
soup = st.text(st.sampled_from(list("ab \n\n\t`~#*_->|:[]()<>!&;1.\\\r\u200d=+")), max_size=120)


def render(text: str, width: int) -> list[Line]:
    document = Document(width)
    document.append(text)
    document.finish()
    return document.lines


def drawn(lines: list[Line]) -> list[tuple[object, ...]]:
    return [
        (line.prefix.plain, line.content.plain, list(line.content.spans), line.fill, line.joint)
        for line in lines
    ]


def text_of(lines: list[Line]) -> str:
    """What is drawn, with lines that only the width has parted made whole."""
    return "".join(
        "\n" + line.plain if line.joint is None else line.joint + line.content.plain for line in lines
    )


@settings(max_examples=400, deadline=None)
@given(structured | soup, st.integers(14, 60), st.lists(st.integers(1, 9), min_size=1, max_size=12))
@example("text\n#a\n", 20, [6, 1])
@example("- a\n-\n===\n- b\n", 20, [1])
@example("alpha\n| alpha\n|--|--|alpha\n", 20, [1])
@example("1. a\n2. b\n\n7. c\n", 20, [3])
@example("```python\nx = '''\n```\n'''\n", 20, [1])
def test_pieces_give_the_same_lines_as_the_whole(text: str, width: int, sizes: list[int]) -> None:
    document = Document(width)
    position = 0
    number = 0
    while position < len(text):
        size = sizes[number % len(sizes)]
        document.append(text[position : position + size])
        position += size
        number += 1
    document.finish()
    assert drawn(document.lines) == drawn(render(text, width))


@settings(max_examples=300, deadline=None)
@given(structured | soup, st.integers(14, 60))
def test_freezing_gives_the_lines_that_parsing_all_at_once_gives(text: str, width: int) -> None:
    """The blocks of markdown-it, drawn without any freezing; ordered and loose lists included."""
    source = text.replace("\r\n", "\n").replace("\r", "␍")
    renderer = BlockRenderer(source.split("\n"))
    expected: list[str] = []
    for node in parse_blocks(source):
        expected += [BLANK.plain] if expected else []
        expected += [line.plain for line in renderer.render(node, width)]
    if "\u200d" not in text:
        assert [line.plain for line in render(text, width)] == expected


@settings(max_examples=400, deadline=None)
@given(structured, st.integers(14, 60))
def test_no_word_is_lost_and_no_line_is_too_wide(text: str, width: int) -> None:
    lines = render(text, width)
    shown = re.sub(r"\s+", "", text_of(lines))
    for word in WORD.findall(re.sub(r"&#x202e;|```\S*|~~~\S*", " ", text)):
        assert word in shown
    assert all(cell_len(line.plain) <= width for line in lines)


blocks = st.sampled_from([
    "```\n", "````py\n", "~~~\n", "- ```sh\n  ", "1. ```\n   ", "> ```\n> ",
    "| a \\| b | c |\n|--|:-:|\n| d `\\|` | e\n", "<b>bold</b>\n", "<!-- note -->\n",
    "<div>\nraw\n</div>\n\n",
    '[name](http://host/path "title")', "![pic](file.png)", "<http://auto.link>", "[ref]: http://there\n",
    "# head #\n", "word\n---\n", "  two  \n", "\\*star\\*", "&amp;", "\n\n", "- item\n", "  - under\n",
    "1) one\n", "> said\n", "*em* **st** ~~del~~ `code` ", "é狐ß\n", "    indented\n", "\t",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(blocks, max_size=9).map("".join), st.integers(14, 60))
@example("- a\n\n  ```\n  x\n````\n```\n", 20)
@example("| a | b |\n|--|--|\n| `x|y` | z |\n", 20)
def test_every_letter_of_the_source_is_drawn(text: str, width: int) -> None:
    """Of tags, addresses, titles, open fences and escaped cells, too; numbers of lists are counted anew."""
    shown = Counter(text_of(render(text, width)))
    wanted = Counter(character for character in text.replace("&amp;", "") if character.isalpha())
    assert not wanted - shown


@settings(max_examples=200, deadline=None)
@given(structured | soup, st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_append_names_the_first_line_that_changed(text: str, sizes: list[int]) -> None:
    document = Document(30)
    position = 0
    number = 0
    while position < len(text):
        before = drawn(document.lines)
        size = sizes[number % len(sizes)]
        changed = document.append(text[position : position + size])
        assert drawn(document.lines)[:changed] == before[:changed]
        position += size
        number += 1


def plain(text: str, width: int = 40) -> list[str]:
    return [line.plain for line in render(text, width)]


def test_links_show_their_address() -> None:
    assert plain('[a](http://b.c "t") <http://d.e> ![i](j.png) [http://f.g](http://f.g)', 99) == [
        'a (http://b.c "t") http://d.e i (j.png) http://f.g'
    ]


def test_links_cannot_be_clicked() -> None:
    for line in render("[a](http://b.c) https://d.e", 80):
        assert all(isinstance(span.style, str) and "@click" not in span.style for span in line.content.spans)


def test_html_and_reference_definitions_are_text() -> None:
    assert plain("<think>\nhm <b>x</b>\n</think>") == ["<think>", "hm <b>x</b>", "</think>"]
    assert plain("see [one]\n\n[one]: http://b.c") == ["see [one]", "", "[one]: http://b.c"]


def test_lists_count_nest_and_keep_their_gaps() -> None:
    assert plain("3. a\n3. b\n\n   more\n   - c\n     - d\n\n9. e") == [
        "3. a", "4. b", "   ", "   more", "   ◦ c", "     ▪ d", "", "5. e",
    ]  # fmt: skip


def test_cells_beyond_the_last_column_are_not_lost() -> None:
    assert plain("| a | b |\n|---|--:|\n| c | d | e | f |\n| g |", 30) == [
        "a │         b", "──┼──────────", "c │ d | e | f", "g │          ",
    ]  # fmt: skip


def test_a_table_that_cannot_fit_is_shown_as_rows() -> None:
    assert plain("|" + "aaaaaa|" * 9 + "\n" + "|-" * 9 + "|", 20)[0] == "aaaaaa | aaaaaa |"


def test_wide_characters_are_measured_in_cells() -> None:
    lines = render("狐と川と夜の話。" * 5 + " end", 20)
    assert max(cell_len(line.plain) for line in lines) == 20
    assert text_of(lines).strip() == "狐と川と夜の話。" * 5 + " end"


def test_a_fence_is_never_lost() -> None:
    for text in (
        "```\ncode",
        "```\ncode\n```",
        "````\n```\n````",
        "```py\n```",
        "- ```\n  code\n  ```",
        "> ```\n> q",
    ):
        assert any(line.fill == "code" for line in render(text, 30)), text


def test_what_may_become_the_closing_fence_waits() -> None:
    document = Document(30)
    document.append("```\na\n``")
    assert [line.plain for line in document.lines] == [" ", " a"]
    document.append("b")
    assert [line.plain for line in document.lines] == [" ", " a", " ``b"]
    assert plain("```\na\n``") == [" ", " a", " ``"]


def test_an_entity_cannot_bring_back_what_was_made_visible() -> None:
    assert plain("a&#x202e;b &#155;31m &#xad; [a](b&#x202e;c)") == ["a\ufffdb \ufffd31m \ufffd a (b\ufffdc)"]


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "![[" * 5_000, ">" * 3_000 + "deep", "- " * 2_000 + "deep", "`a" * 9_000]
)
def test_hostile_text_is_drawn_at_once(text: str) -> None:
    shown = re.sub(r"\s", "", text_of(render(text, 80)))
    assert shown.count("[") == text.count("[")
    assert ("deep" in shown) == ("deep" in text)


def test_code_gets_colours_and_keeps_its_spaces() -> None:
    lines = render("```python\ndef f():\n\treturn  'x'\n```", 40)
    assert [line.plain for line in lines] == [" python", " def f():", "     return  'x'"]
    assert "code.keyword" in {span.style for span in lines[1].content.spans}
    assert {span.style for span in render("```nosuch\ndef\n```", 40)[1].content.spans} == set()


def test_a_string_of_several_lines_keeps_its_colour_while_it_streams() -> None:
    document = Document(60)
    for piece in ("```python\nx = '''one\n", "for two in three\n", "four'''\ny = 1\n"):
        document.append(piece)
    styles = [{span.style for span in line.content.spans} for line in document.lines]
    assert styles[2:4] == [{"code.string"}, {"code.string"}]
    assert styles[4] == {"code.number"}
