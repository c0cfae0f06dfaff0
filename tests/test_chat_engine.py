"""The chat with the real generation loop: around a network without weights, and with the default model."""

from __future__ import annotations

import string
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import pytest
import test_chat_app
from fake_network import INFO, VOCAB_SIZE, FakeNetwork, byte_tokenizer
from test_chat_app import NARROW, TIMEOUT_S, Home, User, chat

from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.engines import engine_loader
from llama_chat.conversation import Message, Reply
from llama_chat.engine.generate import LocalEngine
from llama_chat.events import Engine, Loading, Sampling, Token
from llama_chat.sessions import SessionStore
from llama_chat.ui.widgets.slider import Slider
from llama_chat.ui.widgets.transcript import Transcript

TEMPLATE = (
    "{% for message in messages %}"
    "{{ ('<|user|>' if message['role'] == 'user' else '<|reply|>') + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|reply|>' }}{% endif %}"
)
LETTERS = string.ascii_lowercase.encode()


@dataclass
class Gate:
    """Holds every forward back until it is let through; the engine's thread waits meanwhile."""

    is_open: threading.Event = field(default_factory=threading.Event)
    _steps: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self, _number: int) -> None:
        for _ in range(TIMEOUT_S * 100):
            if self.is_open.is_set() or self._steps.acquire(timeout=0.01):
                return
        raise AssertionError("nobody let the forward through")

    def step(self, forwards: int = 1) -> None:
        self._steps.release(forwards)


def spelling(ids: Sequence[int]) -> Sequence[float]:
    """Letters without an end, likely or not by a hash of all ids."""
    row = [-30.0] * VOCAB_SIZE
    number = crc32(array("i", ids).tobytes())
    for place, letter in enumerate(LETTERS):
        row[letter] = (number >> place % 27) % 7 / 2 + place / 100
    return row


def setup_of(home: Home, network: FakeNetwork, sampling: Sampling) -> ChatSetup:
    """The chat on the real loop around the network."""

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        return LocalEngine(network, byte_tokenizer(), replace(INFO, chat_template=TEMPLATE))

    setup = home.setup(loader=load)
    return replace(setup, settings=replace(setup.settings, sampling=sampling))


def stored_tokens(home: Home, message_id: str) -> list[Token]:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    try:
        return list(store.load_tokens(message_id))
    finally:
        store.close()


def reply_of(message: Message) -> Reply:
    assert message.reply is not None
    return message.reply


async def forwards(user: User, network: FakeNetwork, count: int) -> None:
    """Until so many forwards have begun, the last of them held back, and the screen has what came before."""
    await user.until(lambda: len(network.rows) == count, f"{len(network.rows)} forwards, not {count}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_a_slider_is_in_the_next_token_and_esc_in_the_next_forward(home: Home) -> None:
    gate = Gate()
    network = FakeNetwork(logits_of=spelling, before_forward=gate.wait)
    async with chat(setup_of(home, network, Sampling(temperature=1.5, max_new_tokens=500)), NARROW) as user:
        await user.ready()
        await user.say("spell")
        gate.step(4)  # the prefill and three tokens; a fourth token is out, its forward waits
        await forwards(user, network, 5)
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider), "no slider")
        await user.press("home")
        assert user.app.bridge.sampling.current.temperature == 0.0
        gate.step(3)
        await forwards(user, network, 8)
        reply_id = user.screen.chat.conversation.path()[-1].id
        entry = user.screen.query_one(Transcript)._message(reply_id)
        await user.until(lambda: len(entry.text) == 7, "the tokens are not shown")
        await user.press("escape")
        gate.is_open.set()
        await user.idle()
        await user.sees("Stopped.")
        assert len(network.rows) == 8
        shown = entry.text
    message = home.stored()[0].path()[-1]
    tokens = stored_tokens(home, message.id)
    assert [token.sampling.temperature for token in tokens] == [1.5] * 4 + [0.0] * 3
    assert all(token.rank == 1 for token in tokens[4:])
    assert reply_of(message).finish_reason == "stopped"
    assert message.text == shown == "".join(token.text for token in tokens)
    assert tuple(token.token_id for token in tokens) == reply_of(message).token_ids


async def test_a_second_turn_and_another_answer_read_only_what_is_new(home: Home) -> None:
    network = FakeNetwork(logits_of=spelling)
    async with chat(setup_of(home, network, Sampling(temperature=1.0, max_new_tokens=12)), NARROW) as user:
        for question in ("first", "second"):
            await user.say(question)
            await user.idle()
        await user.press("ctrl+r")
        await user.sees("2/2")
        await user.idle()
    (conversation,) = home.stored()
    _, first, words, again = conversation.path()
    second, sibling = (reply_of(reply) for reply in conversation.children(words.id))
    assert reply_of(again) == sibling
    kept = reply_of(first).prompt_tokens + len(reply_of(first).token_ids)
    assert reply_of(first).reused_tokens == 0
    assert second.reused_tokens in (kept - 1, kept)  # the last token needs no forward of its own
    assert sibling.reused_tokens == sibling.prompt_tokens - 1
    assert second.prompt_tokens == sibling.prompt_tokens == kept + len("<") + len("second") + len("<>")
    assert second.seed != sibling.seed
    assert second.token_ids != sibling.token_ids


async def test_the_default_model_says_what_is_shown_and_kept(
    home: Home, default_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        test_chat_app, "TIMEOUT_S", 60
    )  # on a busy machine 10 s do not load torch and weights
    plain = home.setup()
    settings = replace(plain.settings, sampling=Sampling(max_new_tokens=12))
    setup = replace(plain, settings=settings, loader=engine_loader(default_model, settings.model))
    async with chat(setup, NARROW) as user:
        await user.until(lambda: user.screen.chat.status.model_state != "loading", "not loaded")
        await user.say("Tell me a long story about a fox.")
        await user.sees("Cut at max new tokens (12).")
        await user.idle()
        reply_id = user.screen.chat.conversation.path()[-1].id
        shown = user.screen.query_one(Transcript)._message(reply_id).text
        assert shown.split()[0].strip('"*') in user.seen
    message = home.stored()[0].path()[-1]
    tokens = stored_tokens(home, reply_id)
    assert message.text == shown == "".join(token.text for token in tokens)
    assert reply_of(message).finish_reason == "length"
    assert [len(token.candidates) for token in tokens] == [64] * 12
    assert [token.index for token in tokens] == list(range(12))
