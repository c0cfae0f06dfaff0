"""A message without tokens as the loaded model sees it: where it begins in the prompt, what is told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import pytest
from fake_network import INFO, FakeNetwork, babbling, byte_tokenizer

from llama_chat.chat.tokens.scoring import MessageScores, ScoredMessage
from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.errors import Interrupted, LlamaChatError, PromptError
from llama_chat.events import Engine, Sampling

T = TypeVar("T")
DATE = "2026-11-22"
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{% else %}<|reply|>{% endif %}{{ m.content }}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|reply|>{% endif %}"
)


class Here:
    """Computes at once, on this thread."""

    def __init__(self, template: str = TEMPLATE, *, context_length: int = 4096) -> None:
        self.network = FakeNetwork(babbling(), context_length=context_length)
        info = replace(INFO, chat_template=template, context_length=context_length)
        self.engine = LocalEngine(self.network, byte_tokenizer(), info)

    def compute(self, function: Callable[[Engine], T], cancel: threading.Event) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(self.engine))
        except LlamaChatError as error:
            future.set_exception(error)
        return future


def talk(*texts: str) -> list[Message]:
    conversation = Conversation()
    for n, text in enumerate(texts):
        conversation.append(Role.ASSISTANT if n % 2 else Role.USER, text)
    return conversation.path()


def scored(
    path: list[Message], worker: Here | None = None, cancel: threading.Event | None = None
) -> ScoredMessage:
    return MessageScores(worker or Here()).score(path, DATE, cancel or threading.Event()).result()


def test_an_imported_reply_is_scored_behind_its_path() -> None:
    found = scored(talk("Hi?", "Héllo!"))
    assert b"".join(token.piece for token in found.tokens) == "Héllo!".encode()
    assert "".join(token.text for token in found.tokens) == "Héllo!"
    assert [token.index for token in found.tokens] == list(range(7))
    assert found.names.quoted(found.tokens[0].token_id) == '"H"'
    assert found.model == "fake"
    by_hand = Here()
    ids = [*by_hand.engine.encode([]), 256, *b"Hi?", 258, 257, *"Héllo!".encode()]
    assert [token.logprob for token in found.tokens] == [
        token.logprob for token in by_hand.engine.score(ids, len(ids) - 7, threading.Event())
    ]


def test_a_users_message_is_found_in_the_prompt() -> None:
    found = scored(talk("first", "one", "second words"))
    assert b"".join(token.piece for token in found.tokens) == b"second words"


def test_a_reply_of_this_model_is_scored_by_the_ids_that_it_was_written_in() -> None:
    path = talk("Hi?", "abc")
    reply = Reply(seed=1, sampling=Sampling(), model="fake", token_ids=tuple(b"abc"), finish_reason="end")
    found = scored([path[0], replace(path[1], reply=reply)])
    assert [token.token_id for token in found.tokens] == list(b"abc")


@pytest.mark.parametrize(
    ("path", "template", "said"),
    [
        (talk("Hi?", "  "), TEMPLATE, "is empty"),
        ([Message("s", None, Role.SYSTEM, "Be brief.", 0.0)], TEMPLATE, "system prompt is not scored"),
        (talk("Hi?"), TEMPLATE.replace("m.content", "m.content|upper"), "changed the text"),
        (talk("x" * 5000, "y"), TEMPLATE, "the context holds"),
    ],
)
def test_what_cannot_be_scored_says_why(path: list[Message], template: str, said: str) -> None:
    with pytest.raises(PromptError, match=said):
        scored(path, Here(template))


def test_it_is_remembered_until_the_text_changes() -> None:
    worker = Here()
    scores = MessageScores(worker)
    path = talk("Hi?", "Hello")
    first = scores.score(path, DATE, threading.Event()).result()
    forwards = len(worker.network.rows)
    assert scores.score(path, DATE, threading.Event()).result() is first
    assert len(worker.network.rows) == forwards
    changed = [path[0], replace(path[1], text="Hullo")]
    assert scores.score(changed, DATE, threading.Event()).result() is not first
    for n in range(5):
        scores.score(talk("Hi?", f"number {n}"), DATE, threading.Event())
    assert scores.score(path, DATE, threading.Event()).result() is not first


def test_it_can_be_cancelled_and_another_model_does_not_see_it() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        scored(talk("Hi?", "Hello"), cancel=cancel)
