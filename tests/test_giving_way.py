"""What a reply leaves to the screen: rests while a key is echoed, frames that take a share of the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import FakeEngine, Pace
from rich.segment import Segment
from test_chat_app import WIDE, Home, chat
from textual.strip import Strip
from tiny_models import TinyModel

from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.events import LiveSampling, Sampling, Text, Token
from llama_chat.giving_way import Gate
from llama_chat.settings import ModelSettings
from llama_chat.ui.pacing import FrameBudget
from llama_chat.ui.transcript.drawn import DrawnLines, thumb_of

LAYERS = 3
LONG_S = 30.0


@pytest.fixture
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# --- the gate --------------------------------------------------------------------------------------


class Passing(threading.Thread):
    """Passes a gate and says so."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(daemon=True)
        self._gate = gate
        self.start()

    def run(self) -> None:
        self._gate()


def is_open(gate: Gate) -> bool:
    passing = Passing(gate)
    passing.join(0.2)
    return not passing.is_alive()


def test_an_open_gate_lets_pass_and_a_closed_one_waits_until_it_is_opened() -> None:
    gate = Gate(longest_s=LONG_S)
    assert is_open(gate)
    gate.close()
    passing = Passing(gate)
    passing.join(0.1)
    assert passing.is_alive(), "it did not wait"
    gate.open()
    passing.join(5)
    assert not passing.is_alive(), "it was not let go"
    assert is_open(gate)


def test_a_gate_that_nobody_opens_lets_pass_in_time() -> None:
    gate = Gate(longest_s=0.05)
    gate.close()
    closed_s = time.monotonic()
    gate()
    assert time.monotonic() - closed_s >= 0.04
    passing = Passing(gate)
    passing.join(5)
    assert not passing.is_alive()


# --- the network -----------------------------------------------------------------------------------


def engine_of(folder: Path) -> LocalEngine:
    return load_engine(TinyModel(n_layers=LAYERS).write(folder / "tiny.gguf"), ModelSettings(threads=1))


def reply_of(engine: LocalEngine) -> list[Token]:
    sampling = LiveSampling(Sampling(temperature=1.0, max_new_tokens=8))
    events = engine.stream([Text("hello")], sampling=sampling, seed=7)
    return [event for event in events if isinstance(event, Token)]


def test_every_layer_asks_and_the_tokens_stay_the_same(tmp_path: Path, same_threads: None) -> None:
    engine = engine_of(tmp_path)
    assert isinstance(engine.network, ScratchNetwork)
    assert engine.network.llama.before_layer is None, "nothing is asked where nobody wants it"
    alone = reply_of(engine)
    engine.close()

    engine = engine_of(tmp_path)
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1

    engine.give_way_at(ask)
    beside = reply_of(engine)
    forwards = sum(forward.kept if forward.kind == "step" else 1 for forward in engine.live.forwards)
    engine.close()
    assert asked == LAYERS * forwards > 0
    assert [(t.token_id, t.logprob, t.candidates) for t in alone] == [
        (t.token_id, t.logprob, t.candidates) for t in beside
    ]


# --- the chat --------------------------------------------------------------------------------------


class GivingEngine(FakeEngine):
    """Knows where it is to give way."""

    gate: Callable[[], None] | None = None

    def give_way_at(self, gate: Callable[[], None]) -> None:
        self.gate = gate


async def test_the_model_rests_until_the_key_is_painted(tmp_path: Path) -> None:
    engine = GivingEngine([None], pace=Pace(is_stepped=True))
    async with chat(Home(tmp_path).setup(engine), WIDE) as user:
        await user.idle()
        gate = user.app.bridge.worker.gate
        assert engine.gate is gate
        gate._longest_s = LONG_S
        gate.close()  # as the thread that reads the terminal does
        assert not is_open(gate)
        await user.press("a")
        await user.until(lambda: "a" in user.screen.prompt.text)
        await user.until(lambda: is_open(gate))


async def test_the_cursor_stands_while_a_reply_is_written(tmp_path: Path) -> None:
    pace = Pace(is_stepped=True)
    async with chat(Home(tmp_path).setup(FakeEngine([None], pace=pace)), WIDE) as user:
        await user.idle()
        assert user.screen.prompt.cursor_blink
        await user.say("hello")
        pace.step(3)
        await user.until(lambda: not user.screen.prompt.cursor_blink)
        await user.press("escape")
        pace.step(1)
        await user.idle()
        await user.until(lambda: user.screen.prompt.cursor_blink)


async def test_the_cursor_blinks_again_after_a_turn_that_never_began(tmp_path: Path) -> None:
    loads = threading.Event()
    setup = Home(tmp_path).setup(FakeEngine(["One."]))

    def late(progress: Any, cancel: threading.Event) -> Any:
        loads.wait(20)
        return setup.loader(progress, cancel)

    async with chat(replace(setup, loader=late), WIDE) as user:
        await user.say("hello")
        await user.until(lambda: not user.screen.prompt.cursor_blink)
        user.screen.chat.stop()
        assert not user.screen.chat.is_replying
        assert user.screen.prompt.cursor_blink, "no note tells of a turn that was withdrawn"
        loads.set()


# --- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cost_s", "frame_s"), [(0.0, 0.03), (0.002, 0.04), (0.5, 0.1)])
def test_frames_lie_apart_as_their_cost_demands(cost_s: float, frame_s: float) -> None:
    used_s = 0.0
    budget = FrameBudget(0.05, 0.03, 0.1, clock=lambda: used_s)
    for _ in range(40):
        budget.frame()
        used_s += cost_s
    assert budget.frame_s == pytest.approx(frame_s, rel=0.01)


def test_a_line_is_drawn_again_only_when_it_or_its_look_is_another() -> None:
    lines, made = DrawnLines(), 0

    def make() -> Strip:
        nonlocal made
        made += 1
        return Strip.blank(made)

    one, other = Strip([Segment("a")]), Strip([Segment("a")])
    first = lines.get(0, one, "dark", make)
    assert lines.get(0, one, "dark", make) is first
    assert made == 1
    for source, look in ((one, "light"), (other, "light"), (one, "dark")):
        lines.get(0, source, look, make)
    assert made == 4


def test_the_thumb_stands_still_while_a_long_session_grows() -> None:
    assert thumb_of(30, 30, 0) == (0, 0)
    assert thumb_of(30, 60, 30) == (120, 240)
    assert thumb_of(30, 40_000, 39_970) == thumb_of(30, 40_001, 39_971) == (232, 240)
