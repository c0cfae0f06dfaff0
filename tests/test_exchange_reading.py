"""Sessions as Markdown and HTML: what was written cannot break out of its place."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from store_helpers import build_candidates, build_tokens
from test_exchange import build_session, store

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.events import Sampling, Token
from llama_chat.sanitize import is_safe
from llama_chat.sessions import SessionInfo, SessionRecord, SessionStore
from llama_chat.sessions.exchange import jsonl
from llama_chat.sessions.exchange.html import html_parts
from llama_chat.sessions.exchange.markdown import markdown_parts

__all__ = ["store"]  # a fixture
EVIL = "<script>alert(1)</script>\n# Heading\n```\n<!--\n</div>\n\n> quoted\n\n    code\n\"'&amp;"


def record_of(conversation: Conversation, title: str = "T", tokens: tuple[Token, ...] = ()) -> SessionRecord:
    info = SessionInfo("0123456789abcdef", title, 1e9, 1e9, EVIL, "", len(conversation.messages))
    return SessionRecord(info, conversation, {}, lambda _: tokens)


def evil_record() -> SessionRecord:
    conversation = Conversation()
    conversation.append(Role.USER, EVIL)
    tokens = tuple(replace(token, text=EVIL) for token in build_tokens(2))
    reply = Reply(1, Sampling(), EVIL, (100, 101), "failed", EVIL)
    conversation.append(Role.ASSISTANT, EVIL * 2, reply=reply)
    conversation.add_sibling(conversation.path()[0].id, EVIL)
    return record_of(conversation, EVIL, tokens)


class Elements(HTMLParser):
    """Names, texts and attributes of a page, and what was left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.titles: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.titles += [value for name, value in attrs if name == "title" and value]
        assert {name for name, _ in attrs} <= {"class", "title", "charset", "content", "http-equiv", "name"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_markdown_keeps_every_message_in_its_quotation() -> None:
    text = "".join(markdown_parts(evil_record(), branches=True))
    assert is_safe(text)
    nodes = SyntaxTreeNode(MarkdownIt().parse(text)).children
    assert {node.type for node in nodes} == {"heading", "paragraph", "blockquote", "hr"}
    headings = [node.tag for node in nodes if node.type == "heading"]
    assert headings == ["h1", "h2", "h1", "h2", "h2"]  # title, the path that is shown, the other branch
    quoted = "\n".join(line[2:] for line in text.splitlines() if line.startswith(">"))
    assert quoted.count("```\n<!--\n</div>") == 4
    assert "<script>" not in re.sub(r"^>.*$", "", text, flags=re.M).replace(r"\<script\>", "")


def test_markdown_has_the_path_or_every_branch(store: SessionStore) -> None:
    record = store.record(build_session(store))
    path = "".join(markdown_parts(record))
    assert "> And then?" in path
    assert "w0 w1 w2" not in path
    assert "1 message of other branches left out" in path
    whole = "".join(markdown_parts(record, branches=True))
    assert "Instead of this message: branch 1" in whole
    assert whole.index("# Branch 1") < whole.index(">  w0 w1 w2")


def test_html_of_anything_is_a_page_of_its_own_elements() -> None:
    page = "".join(html_parts([evil_record()], title=EVIL))
    assert is_safe(page)
    found = Elements(page)
    assert found.open == []
    assert "script" not in found.names
    assert not re.search(r"https?:|url\(|@import", page)
    assert found.text.count("<script>alert(1)</script>\n# Heading") == 4  # the messages, one of them twice
    assert found.names.count("details") == 1


def test_html_tells_probability_rank_and_candidates(store: SessionStore) -> None:
    record = store.record(build_session(store))
    found = Elements("".join(html_parts([record])))
    assert found.names.count("details") == 1
    first = next(title for title in found.titles if title.startswith("id 100 · 96.7% · rank 1\n"))
    assert len(first.splitlines()) == 6
    both = next(title for title in found.titles if "id 101" in title and "id 100" in title)
    assert "from here: temperature 1.5, top_k 7" in both  # the character's first half has no place of its own


def test_html_of_10_000_tokens_stays_small() -> None:
    candidates = [build_candidates(n) for n in range(9)]
    some = [replace(token, candidates=candidates[token.index % 9]) for token in build_tokens(10_000)]
    conversation = Conversation()
    reply = Reply(1, Sampling(), "tiny", tuple(token.token_id for token in some), "end")
    conversation.append(Role.ASSISTANT, "".join(token.text for token in some), reply=reply)
    begin_s = time.monotonic()
    page = "".join(html_parts([record_of(conversation, tokens=tuple(some))]))
    assert page.count("<span") > 10_000
    assert len(page.encode()) < 3_000_000
    assert time.monotonic() - begin_s < 5


def test_a_branch_in_a_branch_in_a_branch_is_no_matter_of_depth() -> None:
    conversation = Conversation()
    conversation.append(Role.USER, "0")
    for n in range(1, 1500):  # each path leaves the one before it
        conversation.add_sibling(conversation.append(Role.USER, "x").id, str(n))
        first = next(iter(conversation.messages))
    conversation.select(first)
    conversation.leaf_id = first
    record = record_of(conversation)
    assert Elements("".join(html_parts([record]))).names.count("section") == len(conversation.messages)
    assert "".join(markdown_parts(record, branches=True)).count("## User") == len(conversation.messages)


def test_a_time_that_no_calendar_has_is_a_question_mark() -> None:
    conversation = Conversation()
    conversation.add(Message("a", None, Role.USER, "x", 1e300))
    assert "*?*" in "".join(markdown_parts(record_of(conversation)))


def test_the_format_is_documented_field_by_field(store: SessionStore, tmp_path: Path) -> None:
    head, *messages = [json.loads(line) for line in jsonl.jsonl_lines(store.record(build_session(store)))]
    names = {*head, *head["models"][0]}
    for message in messages:
        names |= {*message, *(message["reply"] or {}), *((message["reply"] or {}).get("tokens") or {})}
    assert not {name for name in names if not re.search(rf"\b{name}\b", jsonl.__doc__ or "")}
