"""What the model is given for the next reply, and what leaves when the context is full."""

from dataclasses import replace
from typing import Any

import pytest
from fake_network import INFO, FakeNetwork, byte_tokenizer

from llama_chat import turn
from llama_chat.conversation import Conversation, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.errors import PromptError, TemplateError
from llama_chat.events import Ids, Sampling, Special, Text
from llama_chat.turn import FULL_SHARE_AFTER_DROP, MIN_REPLY_SHARE, Prompt, build_prompt

TEMPLATE = (
    "{% for message in messages %}{{ '<|reply|>' if message['role'] == 'assistant' else '<|user|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)
"""A message takes two tokens and one a character; the open reply takes one."""

CONTEXT = 1000
TURN = 50 + 2
"""Tokens of one message of the conversations below."""


def engine(context_length: int = CONTEXT, template: str | None = TEMPLATE) -> LocalEngine:
    info = replace(INFO, context_length=context_length, chat_template=template)
    return LocalEngine(FakeNetwork(context_length=context_length), byte_tokenizer(), info)


def answered(text: str, context_start: str | None = None) -> Reply:
    token_ids = tuple(text.encode())
    return Reply(1, Sampling(), model=INFO.name, token_ids=token_ids, context_start=context_start)


def conversation(pairs: int, *, system: str = "") -> Conversation:
    """Questions and answers of 50 characters, and one more question."""
    chat = Conversation()
    if system:
        chat.append(Role.SYSTEM, system)
    for n in range(pairs):
        chat.append(Role.USER, f"question {n}".ljust(50, "?"))
        chat.append(Role.ASSISTANT, (text := f"answer {n}".ljust(50, "!")), reply=answered(text))
    chat.append(Role.USER, f"question {pairs}".ljust(50, "?"))
    return chat


def build(chat: Conversation, *, max_new_tokens: int = 512, **kinds: Any) -> Prompt:
    return build_prompt(engine(**kinds), chat.path(), date="2026-11-22", max_new_tokens=max_new_tokens)


def texts(prompt: Prompt) -> list[str]:
    return [piece.text for piece in prompt.pieces if not isinstance(piece, Special)]


def test_everything_is_given_while_it_fits() -> None:
    prompt = build(conversation(3, system="Be kind."))
    assert prompt.tokens == 10 + 7 * TURN + 1
    assert (prompt.context_start, prompt.dropped_messages) == (None, 0)
    assert texts(prompt)[0] == "Be kind."
    assert len(texts(prompt)) == 8
    assert prompt.pieces[-1] == Special("<|reply|>")


def test_earlier_replies_are_given_as_their_recorded_ids() -> None:
    recorded = [piece for piece in build(conversation(2)).pieces if isinstance(piece, Ids)]
    assert [bytes(piece.token_ids)[:8] for piece in recorded] == [b"answer 0", b"answer 1"]


def test_the_oldest_pairs_leave_until_sixty_percent_are_used() -> None:
    chat = conversation(12, system="Be kind.")  # 10 + 25 turns of 52 + 1 = 1,311 tokens
    prompt = build(chat)
    assert prompt.tokens <= CONTEXT * FULL_SHARE_AFTER_DROP < prompt.tokens + 2 * TURN
    assert texts(prompt)[0] == "Be kind.", "the system prompt stays"
    assert texts(prompt)[1].startswith("question 7"), "what is left begins with a question"
    assert texts(prompt)[-1].startswith("question 12")
    assert prompt.dropped_messages == 14
    assert prompt.context_start == chat.turns[14].id


@pytest.mark.parametrize(("max_new_tokens", "dropped"), [(1, 0), (40, 0), (41, 8), (125, 8), (10_000, 8)])
def test_room_is_kept_for_the_reply_but_no_more_than_an_eighth(max_new_tokens: int, dropped: int) -> None:
    chat = conversation(8)
    chat.append(Role.ASSISTANT, "-", reply=answered("-"))
    chat.append(Role.USER, "x" * (960 - 17 * TURN - 3 - 2 - 1))
    prompt = build(chat, max_new_tokens=max_new_tokens)
    assert prompt.dropped_messages == dropped
    if not dropped:
        assert prompt.tokens == 960


def test_the_reply_gets_an_eighth_of_the_context() -> None:
    fits, too_long = conversation(7), conversation(8)
    assert 15 * TURN + 1 <= CONTEXT * (1 - MIN_REPLY_SHARE) < 17 * TURN + 1
    assert build(fits, max_new_tokens=10_000).dropped_messages == 0
    assert build(too_long, max_new_tokens=10_000).dropped_messages > 0


def test_what_a_reply_no_longer_saw_stays_out() -> None:
    chat = conversation(5)
    start = chat.turns[4]
    chat.append(Role.ASSISTANT, "Yes.", reply=answered("Yes.", context_start=start.id))
    chat.append(Role.USER, "More?")
    prompt = build(chat)
    assert prompt.tokens < CONTEXT * FULL_SHARE_AFTER_DROP, "all of it would fit"
    assert prompt.context_start == start.id
    assert prompt.dropped_messages == 4
    assert texts(prompt)[0] == start.text


def test_the_newest_reply_says_where_the_context_starts() -> None:
    chat = conversation(3)
    chat.append(Role.ASSISTANT, "a", reply=answered("a", context_start=chat.turns[2].id))
    chat.append(Role.USER, "b")
    chat.append(Role.ASSISTANT, "c", reply=answered("c"))
    chat.append(Role.USER, "d")
    assert build(chat).context_start is None


def test_a_start_that_left_the_path_counts_for_nothing() -> None:
    chat = conversation(3)
    chat.append(Role.ASSISTANT, "a", reply=answered("a", context_start="gone"))
    chat.append(Role.USER, "b")
    assert build(chat).dropped_messages == 0


def test_more_leaves_when_what_was_left_fills_up_again() -> None:
    chat = conversation(12)
    first = build(chat)
    chat.append(Role.ASSISTANT, "a" * 300, reply=answered("a" * 300, context_start=first.context_start))
    chat.append(Role.USER, "b" * 100)
    second = build(chat)
    assert second.dropped_messages > first.dropped_messages
    assert second.tokens <= CONTEXT * FULL_SHARE_AFTER_DROP
    steady = build(chat, max_new_tokens=1)
    assert steady.dropped_messages == first.dropped_messages, "nothing leaves before it must"


def test_the_last_message_stays_even_above_sixty_percent() -> None:
    chat = conversation(3)
    chat.append(Role.ASSISTANT, "a", reply=answered("a"))
    chat.append(Role.USER, "x" * 900)
    prompt = build(chat)
    assert texts(prompt) == ["x" * 900]
    assert prompt.tokens == 903


@pytest.mark.parametrize("length", [997, 998, 5000])
def test_a_last_message_that_alone_is_too_long_is_refused(length: int) -> None:
    chat = conversation(2, system="")
    chat.append(Role.ASSISTANT, "a", reply=answered("a"))
    chat.append(Role.USER, "x" * length)
    with pytest.raises(PromptError, match=rf"{length + 3:,} tokens, the context holds 1,000"):
        build(chat)


def test_the_longest_message_that_leaves_room_for_one_token_is_taken() -> None:
    chat = Conversation()
    chat.append(Role.USER, "x" * 996)
    assert build(chat).tokens == 999


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_message_is_refused(text: str) -> None:
    chat = conversation(1)
    chat.append(Role.ASSISTANT, "a")
    chat.append(Role.USER, text)
    with pytest.raises(PromptError, match="empty"):
        build(chat)


def test_a_path_of_nothing_but_a_system_prompt_is_refused() -> None:
    chat = Conversation()
    chat.append(Role.SYSTEM, "Be kind.")
    with pytest.raises(PromptError, match="empty"):
        build(chat)


def test_without_a_template_the_texts_are_given_as_they_are() -> None:
    chat = Conversation()
    chat.append(Role.USER, "Once upon ")
    chat.append(Role.ASSISTANT, "a time", reply=answered("a time"))
    chat.append(Role.USER, ", there")
    prompt = build_prompt(engine(template=None), chat.path(), date="2026-11-22", max_new_tokens=9)
    assert prompt.pieces == (Text("Once upon "), Ids(tuple(b"a time"), "a time"), Text(", there"))


def test_the_template_has_one_time_limit_for_the_whole_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "TEMPLATE_LIMIT_S", 0.2)
    slow = "{% for i in range(100000) %}{% if i is odd %}{% endif %}{% endfor %}" + TEMPLATE
    with pytest.raises(TemplateError, match=r"takes more than 0\.2 s"):
        build(conversation(200), template=slow)


@pytest.mark.parametrize(
    ("longest", "hint"),
    [
        (0, "Shorten it, or raise --context if the model allows it."),
        (CONTEXT, "Shorten it: the model was made for no longer context."),
        (1200, "Shorten it: even with --context 1200, all that the model was made for, it would not fit."),
        (8192, "Shorten it, or start with a greater --context, up to 8192."),
    ],
)
def test_what_helps_against_a_long_prompt_is_true_of_the_model(longest: int, hint: str) -> None:
    error = turn.prompt_too_long(1500, replace(INFO, context_length=CONTEXT, longest_context=longest))
    assert error.message == "The prompt has 1,500 tokens, the context holds 1,000."
    assert error.hint == hint


# --- a prompt that was given before -----------------------------------------------------------------


def test_the_prompt_of_a_reply_that_goes_on_leaves_out_what_it_left_out() -> None:
    chat = conversation(6)
    turns = chat.turns
    made = engine()
    for start in (None, turns[2].id, turns[8].id):
        prompt = build_prompt(made, chat.path(), date="2026-11-22", max_new_tokens=512, context_start=start)
        assert prompt.context_start == start
        assert texts(prompt)[0] == turns[0 if start is None else turns.index(chat.messages[start])].text


def test_a_prompt_that_filled_the_context_is_not_made_smaller_when_its_reply_goes_on() -> None:
    chat = conversation(9)
    anew = build(chat)
    assert anew.dropped_messages
    whole = build_prompt(
        engine(2 * CONTEXT), chat.path(), date="2026-11-22", max_new_tokens=1, context_start=None
    )
    assert whole.dropped_messages == 0
    again = build_prompt(
        engine(whole.tokens + 1), chat.path(), date="2026-11-22", max_new_tokens=512, context_start=None
    )
    assert again == whole


def test_a_prompt_whose_beginning_is_gone_is_refused() -> None:
    with pytest.raises(PromptError, match="is not before it any more"):
        build_prompt(
            engine(), conversation(2).path(), date="2026-11-22", max_new_tokens=9, context_start="f00"
        )
