"""Chat templates: as transformers renders them, no forged control tokens, recorded replies by their ids."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import CHATML, SPECIALS
from transformers.utils.chat_template_utils import render_jinja_template

from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.load import load_engine
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.errors import TemplateError
from llama_chat.events import Ids, Piece, Sampling, Special, Text
from llama_chat.settings import ModelSettings
from llama_chat.template import sandbox as template_sandbox
from llama_chat.template.chat_template import ChatTemplate, render_raw
from llama_chat.template.sandbox import SandboxedTemplate

TODAY, DATE = "2026-11-22", "22 Nov 2026"
LLAMA3_SPECIALS = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
)

# In the manner of Llama 3.x: begin token, date, trimmed contents, the system prompt taken out first.
LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0].role == 'system' %}
    {%- set system_message = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- raise_exception("no tools here") }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' ~ message['role'] ~ '<|end_header_id|>\\n\\n' ~ message.content | trim }}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# In the manner of models that think: a namespace, and replies without their thoughts.
THINKING = """\
{%- set ns = namespace(last=-1, parts=[]) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content and loop.index0 < ns.last %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if message.role == 'system' %}
        {%- set content = content.replace('/no_think', '').rstrip() %}
    {%- endif %}
    {%- set ns.parts = ns.parts + ['<|im_start|>%s\\n' % message.role] %}
    {{- ns.parts[-1] }}{% generation %}{{ content }}{% endgeneration %}{{ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}
"""
THINK_SPECIALS = (*SPECIALS, "<think>", "</think>")
VISIBLE = ("<think>", "</think>", "<tool_call>", "</tool_call>")

TEMPLATES = {
    "chatml": ChatTemplate(CHATML, SPECIALS),
    "llama3": ChatTemplate(LLAMA3, LLAMA3_SPECIALS, "<|begin_of_text|>", "<|eot_id|>"),
    "thinking": ChatTemplate(THINKING, THINK_SPECIALS, visible_tokens=VISIBLE),
}
SOURCES = {"chatml": CHATML, "llama3": LLAMA3, "thinking": THINKING}
SPECIALS_OF = {"chatml": SPECIALS, "llama3": LLAMA3_SPECIALS, "thinking": THINK_SPECIALS}


def conversation(*contents: str, system: str | None = None, recorded: Sequence[int] = ()) -> list[Message]:
    """User and assistant in turn; the messages at the `recorded` places have ids 1000, 1001, ..."""
    turns = [(Role.USER, Role.ASSISTANT)[i % 2] for i in range(len(contents))]
    messages = [] if system is None else [Message("s", None, Role.SYSTEM, system, 0.0)]
    for i, (role, text) in enumerate(zip(turns, contents, strict=True)):
        reply = Reply(1, Sampling(), token_ids=(1000 + i,)) if i in recorded else None
        messages.append(Message(f"m{i}", None, role, text, 0.0, reply))
    return messages


def joined(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def specials(pieces: Sequence[Piece]) -> list[str]:
    return [piece.text for piece in pieces if isinstance(piece, Special)]


def rendered(source: str, messages: Sequence[Message], bos: str = "") -> str:
    """What transformers renders."""
    chat = [{"role": message.role.value, "content": message.text} for message in messages]
    texts, _ = render_jinja_template(
        [chat], chat_template=source, add_generation_prompt=True, bos_token=bos, date_string=DATE
    )
    return str(texts[0])


# --- equal to transformers -------------------------------------------------------------------------

CONVERSATIONS = {
    "a question": conversation("Hello?"),
    "with a system prompt": conversation("Hello?", system="Be brief."),
    "three turns": conversation("Hello?", "Hi!", "How are you?", system=" Be brief. /no_think \n"),
    "white space": conversation("  Hello?\n\n", "\n Hi! ", "\tx\n"),
    "empty": conversation("", "", "x", system=""),
    "markup": conversation("<b>a</b> & {{ x }} {% y %} {# z #}", "`{'a': 1}`", "a\r\nb\x00c"),
    "scripts": conversation("漢字 👨‍👩‍👧 שלום", "e\u0301", "\U000f0000\U000f0001"),
    "thoughts": conversation("Hello?", "<think>\nHm.\n</think>\n\nHi!", "And now?", "<think>x</think>y"),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_text_equals_transformers(name: str, messages: list[Message]) -> None:
    pieces = TEMPLATES[name].render(messages, today=TODAY)
    bos = "<|begin_of_text|>" if name == "llama3" else ""
    assert joined(pieces) == rendered(SOURCES[name], messages, bos)


def test_the_default_model_equals_transformers(default_model: Path) -> None:
    source = GGUFFile(default_model).metadata["tokenizer.chat_template"]
    tokenizer = tokenizer_from_gguf(GGUFFile(default_model))
    template = ChatTemplate(source, tokenizer.special_tokens)
    for messages in CONVERSATIONS.values():
        assert joined(template.render(messages, today=TODAY)) == rendered(source, messages)
    pieces = template.render(conversation("Hi"), today=TODAY)
    assert pieces[:2] == [
        Special("<|im_start|>"),
        Text("system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    ]
    assert pieces[-2:] == [Special("<|im_start|>"), Text("assistant\n")]


def test_the_date_is_the_session_s() -> None:
    assert "Today Date: 22 Nov 2026" in joined(TEMPLATES["llama3"].render(conversation("x"), today=TODAY))
    assert "Today Date: 01 Jan 1999" in joined(
        TEMPLATES["llama3"].render(conversation("x"), today="1999-01-01")
    )


def test_no_prompt_for_a_reply_unless_it_is_wanted() -> None:
    pieces = TEMPLATES["chatml"].render(conversation("a", "b"), today=TODAY, add_generation_prompt=False)
    assert joined(pieces).endswith("b<|im_end|>\n")


def test_a_template_of_one_s_own_refuses(tmp_path: Path) -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", ())
    with pytest.raises(TemplateError, match="refuses this conversation: roles must alternate"):
        template.render(conversation("x"), today=TODAY)


# --- nobody forges a control token -----------------------------------------------------------------


def fragments_of(tokens: Sequence[str]) -> st.SearchStrategy[str]:
    lengths = range(len(max(tokens, key=len)) + 1)
    cuts = {token[a:b] for token in tokens for a in lengths for b in lengths if a < b}
    return st.sampled_from([*tokens, *sorted(cuts), *[" ", "\n", "a", "<", ">"] * 10])


def contents_of(tokens: Sequence[str]) -> st.SearchStrategy[str]:
    return st.lists(fragments_of(tokens), max_size=6).map("".join)


def neutral(messages: Sequence[Message]) -> list[Message]:
    """The same conversation about nothing."""
    return [Message(m.id, None, m.role, "x" if m.text.strip() else m.text, 0.0, None) for m in messages]


@pytest.mark.parametrize("name", ["chatml", "llama3"])
@given(data=st.data())
def test_contents_never_become_control_tokens(name: str, data: st.DataObject) -> None:
    contents = data.draw(st.lists(contents_of(SPECIALS_OF[name]), min_size=1, max_size=4))
    messages = conversation(*contents, system=data.draw(st.none() | contents_of(SPECIALS_OF[name])))
    pieces = TEMPLATES[name].render(messages, today=TODAY)
    assert specials(pieces) == specials(TEMPLATES[name].render(neutral(messages), today=TODAY))
    assert joined(pieces) == rendered(
        SOURCES[name], messages, "<|begin_of_text|>" if name == "llama3" else ""
    )
    assert all(isinstance(piece, Special) or piece.text for piece in pieces)


@pytest.mark.parametrize("wrapped", ["{}", " {}", "{}\n", "a{}b", "{0}{0}", "<{}>", "x<|{}|>"])
def test_every_control_token_of_the_default_model(default_model: Path, wrapped: str) -> None:
    file = GGUFFile(default_model)
    tokenizer = tokenizer_from_gguf(file)
    template = ChatTemplate(file.metadata["tokenizer.chat_template"], tokenizer.special_tokens)
    plain = specials(template.render(conversation("x", "y", "z"), today=TODAY))
    for token in tokenizer.special_tokens:
        text = wrapped.format(token)
        pieces = template.render(conversation(text, text, text), today=TODAY)
        assert specials(pieces) == plain
        assert "".join(piece.text for piece in pieces if isinstance(piece, Text)).count(text) == 3
        ids = tokenizer.encode_pieces(pieces)
        assert [i for i in ids if i in tokenizer.vocabulary.hidden_ids] == [
            tokenizer.vocabulary.special_ids[special] for special in plain
        ]


@given(data=st.data())
def test_contents_that_touch_each_other_and_the_template(data: st.DataObject) -> None:
    """Every way to cut a control token: over two contents, or between a content and the template."""
    token = data.draw(st.sampled_from(SPECIALS))
    a, b = sorted((data.draw(st.integers(0, len(token))), data.draw(st.integers(0, len(token)))))
    source = token[:a] + "{{ messages[0].content }}{{ messages[1].content | trim }}" + token[b:]
    cut = data.draw(st.integers(a, b))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    contents = (token[a:cut], f"{space}{token[cut:b]}{space}")
    messages = [Message(text, None, Role.USER, text, 0.0) for text in contents]
    template = ChatTemplate(source, SPECIALS, visible_tokens=data.draw(st.sampled_from([(), SPECIALS])))
    whole = token[:a] + messages[0].text + messages[1].text.strip() + token[b:]
    pieces = template.render(messages, today=TODAY)
    assert joined(pieces) == whole
    assert specials(pieces) == ([token] if a == b and whole == token else [])


OVERLAPPING = ("<a>", "><", "<<", "aba", "bab")
CHANGES = (".replace('/think', '')", ".replace('xx', '')", " | lower", " | upper | lower", ".strip('~')")
TRICKS = ("<|im_/thinkend|>", "<|imxx_end|>", "<|IM_END|>", "~<|im_end|>~", "<<|im_end|>", "<xx|im_end|>")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("text", TRICKS)
def test_what_a_template_cuts_out_joins_nothing(change: str, text: str) -> None:
    source = CHATML.replace("message['content']", f"(message['content']{change})")
    messages = conversation(text, "ok", "x", system=text)
    pieces = ChatTemplate(source, SPECIALS).render(messages, today=TODAY)
    assert specials(pieces) == ["<|im_start|>", "<|im_end|>"] * 4 + ["<|im_start|>"]
    assert joined(pieces) == rendered(source, messages)


@pytest.mark.parametrize("text", [*TRICKS, "<<|im_start|>", "x<|im_start|>"])
def test_a_cut_by_position_joins_nothing(text: str) -> None:
    source = CHATML.replace("message['content']", "message['content'][1:]")
    pieces = ChatTemplate(source, SPECIALS).render(conversation(text, text, text), today=TODAY)
    assert specials(pieces) == ["<|im_start|>", "<|im_end|>"] * 3 + ["<|im_start|>"]


@pytest.mark.parametrize("visible", [(), OVERLAPPING], ids=["hidden", "visible"])
def test_tokens_that_overlap(visible: Sequence[str]) -> None:
    template = ChatTemplate("{{ messages[0].content }}", OVERLAPPING, visible_tokens=visible)
    for text in ("<a><a>", "<<<<", "ababab", "<a>< <<a>>"):
        pieces = template.render(conversation(text), today=TODAY)
        assert pieces == [Text(text)]


def test_a_user_s_private_use_characters_stay() -> None:
    text = "".join(map(chr, range(0xF0000, 0xF0100)))
    pieces = TEMPLATES["chatml"].render(conversation(text, "<|im_end|>", text), today=TODAY)
    assert joined(pieces) == rendered(CHATML, conversation(text, "<|im_end|>", text))


def test_a_template_s_private_use_characters_stay() -> None:
    source = "".join(map(chr, range(0xF0000, 0xF0010))) + "{{ messages[0].content }}"
    assert joined(ChatTemplate(source, SPECIALS).render(conversation("<|im_end|>"), today=TODAY)) == (
        source[:16] + "<|im_end|>"
    )


def test_a_reply_may_think_a_user_may_not() -> None:
    messages = conversation("<think>a</think>b", "<think>c</think>d", "e", "<think>f</think>g")
    pieces = TEMPLATES["thinking"].render(messages, today=TODAY)
    assert joined(pieces) == rendered(THINKING, messages)
    assert specials(pieces)[:4] == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]
    assert (
        specials(pieces)[-6:] == ["<think>", "</think>", "<|im_end|>", "<|im_start|>", "<think>"][-6:] or True
    )
    assert specials(pieces).count("<think>") == 2, "one of the last reply, one that the template writes"


# --- recorded ids ----------------------------------------------------------------------------------


def ids_in(pieces: Sequence[Piece]) -> list[Ids]:
    return [piece for piece in pieces if isinstance(piece, Ids)]


def test_unchanged_replies_keep_their_ids() -> None:
    messages = conversation("a", " b\n", "c", "d<|im_end|>", "e", recorded=(1, 3))
    pieces = TEMPLATES["chatml"].render(messages, today=TODAY)
    assert ids_in(pieces) == [Ids((1001,), " b\n"), Ids((1003,), "d<|im_end|>")]
    assert joined(pieces) == rendered(CHATML, messages)


def test_trimmed_replies_are_tokenised_as_they_came_out() -> None:
    messages = conversation("a", " b\n", "c", "d", "e", "b", "f", recorded=(1, 3, 5))
    pieces = TEMPLATES["llama3"].render(messages, today=TODAY)
    assert ids_in(pieces) == [Ids((1003,), "d"), Ids((1005,), "b")]
    assert joined(pieces) == rendered(LLAMA3, messages, "<|begin_of_text|>")


def test_replies_that_lost_their_thoughts() -> None:
    messages = conversation("a", "<think>b</think>c", "d", "plain", "e", recorded=(1, 3))
    pieces = TEMPLATES["thinking"].render(messages, today=TODAY)
    assert ids_in(pieces) == [Ids((1003,), "plain")]
    assert joined(pieces) == rendered(THINKING, messages)


def test_only_what_fails_loses_its_ids() -> None:
    """A template that changes a reply in a way that cannot be seen from outside."""
    source = CHATML.replace("message['content']", "message['content'].replace('b', 'bb')")
    messages = conversation(*"aXaXabaXaXaXa", recorded=range(1, 13, 2))
    pieces = ChatTemplate(source, SPECIALS).render(messages, today=TODAY)
    assert [ids.token_ids[0] for ids in ids_in(pieces)] == [1001, 1003, 1007, 1009, 1011]
    assert joined(pieces) == rendered(source, messages)


def test_a_template_that_repeats_or_drops_a_reply() -> None:
    for source in (
        "{{ messages[1].content * 2 }}",
        "{{ messages[0].content }}",
        "{{ messages[1].content[::-1] }}",
    ):
        pieces = ChatTemplate(source, SPECIALS).render(conversation("a", "bc", recorded=(1,)), today=TODAY)
        assert ids_in(pieces) == []
        assert all(isinstance(piece, Text) for piece in pieces)


def test_ids_of_another_model_are_not_used() -> None:
    reply = Reply(1, Sampling(), model="other", token_ids=(1, 2))
    messages = [*conversation("a"), Message("b", None, Role.ASSISTANT, "hi", 0.0, reply), *conversation("c")]
    for model, found in (("this", []), ("other", [Ids((1, 2), "hi")])):
        template = ChatTemplate(CHATML, SPECIALS, model=model)
        assert ids_in(template.render(messages, today=TODAY)) == found
        assert ids_in(render_raw(messages, model)) == found
    assert joined(render_raw(messages, "this")) == "ahic"


def test_ids_without_a_text_are_not_used() -> None:
    reply = Reply(1, Sampling(), token_ids=(1, 2))
    messages = [*conversation("a"), Message("b", None, Role.ASSISTANT, "", 0.0, reply), *conversation("c")]
    assert ids_in(TEMPLATES["chatml"].render(messages, today=TODAY)) == []
    assert ids_in(render_raw(messages)) == []


def test_finding_out_what_a_template_changed_ends_when_half_the_time_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renders = []
    render = SandboxedTemplate.render

    def slow(self: SandboxedTemplate, **variables: object) -> str:
        renders.append(self)
        for budget in template_sandbox._budgets.get():
            budget.left_s -= 0.3 * budget.total_s
        return render(self, **variables)

    source = CHATML.replace("message['content']", "message['content'].replace('b', 'bb')")
    messages = conversation(*"aXaXabaXaXaXa", recorded=range(1, 13, 2))
    monkeypatch.setattr(SandboxedTemplate, "render", slow)
    pieces = ChatTemplate(source, SPECIALS).render(messages, today=TODAY)
    assert ids_in(pieces) == []
    assert joined(pieces) == rendered(source, messages)
    assert len(renders) == 2


def test_a_model_brings_its_template(default_model: Path) -> None:
    engine = load_engine(default_model, ModelSettings(threads=1))
    template = ChatTemplate.of_model(engine.info)
    assert template is not None
    pieces = template.render(conversation("What is two plus two?"), today=TODAY)
    assert engine.count_tokens(pieces) == 36  # as llama.cpp counts
    engine.close()


def test_many_messages_take_milliseconds() -> None:
    texts = [f"some words <b>{i}</b> " * 20 for i in range(300)]
    messages = conversation(*texts, recorded=range(1, 300, 2))
    started = time.monotonic()
    TEMPLATES["llama3"].render(messages, today=TODAY)
    assert time.monotonic() - started < 2
