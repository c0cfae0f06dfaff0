"""How likely a text is: as transformers has it, in one window or several; and what cannot be scored."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from fake_network import END, VOCAB_SIZE, FakeNetwork, babbling, raising
from tiny_models import TinyModel

from llama_chat.distribution.figures import bits_per_byte, perplexity, surprise_bits
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import Interrupted, ModelError, PromptError
from llama_chat.events import Token
from llama_chat.scoring import PLAIN, Window, score_by, windows
from llama_chat.settings import ModelSettings

NEVER = threading.Event()
ENGINES = ("scratch", "hf")


def score(engine: object, ids: Sequence[int], start: int = 0) -> list[Token]:
    return list(score_by(engine, ids, start, NEVER))


# --- windows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 20, 100])
@pytest.mark.parametrize("start", [0, 1, 3, 9])
def test_windows_score_every_id_once_and_each_sees_half_a_context(count: int, start: int) -> None:
    found = list(windows(count, start, 8))
    scored = [place for window in found for place in range(window.first, window.end)]
    assert scored == list(range(max(1, start), count))
    for window in found:
        assert window.end - window.begin <= 8
        assert window.begin < window.first
        assert window.first - window.begin >= min(4, window.first)


def test_what_fits_is_one_window() -> None:
    assert list(windows(8, 0, 8)) == [Window(0, 1, 8)]
    assert list(windows(8, 5, 8)) == [Window(0, 5, 8)]
    assert list(windows(9, 0, 8)) == [Window(0, 1, 8), Window(4, 8, 9)]
    assert [window.end for window in windows(30_000, 0, 8192)][-1] == 30_000
    assert list(windows(9, 0, 1)) == []  # a context of one id: nothing can stand before another


# --- the loop, on a network that counts ------------------------------------------------------------------


def test_ids_before_the_start_cost_no_logits_and_the_chats_cache_stays() -> None:
    network = FakeNetwork()
    engine = network.engine()
    engine.live.extend([1, 2, 3], "none", "prefill")
    network.rows.clear(), network.logits_wanted.clear()
    tokens = score(engine, [n % 256 for n in range(700)], 600)
    assert [token.index for token in tokens] == list(range(100))
    assert network.rows == [256, 256, 87, 64, 36]  # the last id predicts nothing that is asked for
    assert network.logits_wanted == [*["none"] * 3, "all", "all"]
    assert engine.live.ids == [1, 2, 3]


def test_each_token_is_told_behind_those_before_it() -> None:
    logits_of = babbling(3)
    engine = FakeNetwork(logits_of).engine()
    ids = [72, 105, 33, 10, 200, END]
    for start in (0, 1, 4):
        tokens = score(engine, ids, start)
        assert [token.token_id for token in tokens] == ids[max(1, start) :]
        for token in tokens:
            place = token.index + start
            logits = torch.tensor(logits_of(ids[:place]))
            assert token.logprob == pytest.approx(float(logits.log_softmax(-1)[ids[place]]), abs=1e-5)
            assert token.rank == int((logits > logits[ids[place]]).sum()) + 1 or token.token_id == END
            assert token.candidates.token_ids[0] == int(logits.argmax())
            assert token.sampling == PLAIN
            assert (token.chosen_by, token.seconds) == ("user", 0.0)


def test_more_than_the_context_is_scored_in_windows() -> None:
    seen: list[int] = []
    network = FakeNetwork(lambda ids: (seen.append(len(ids)), [0.0] * VOCAB_SIZE)[1], context_length=100)
    tokens = score(network.engine(), [n % 256 for n in range(1000)])
    assert [token.index for token in tokens] == list(range(1, 1000))
    assert max(seen) < 100
    assert min(seen[99:]) >= 50
    assert all(token.logprob == pytest.approx(-math.log(VOCAB_SIZE)) for token in tokens)


def test_cancelling_ends_it_between_two_forwards() -> None:
    cancel = threading.Event()
    network = FakeNetwork(before_forward=lambda number: cancel.set() if number == 1 else None)
    tokens = network.engine().score([65] * 300, 0, cancel)
    found = []
    with pytest.raises(Interrupted):
        found.extend(tokens)
    assert len(network.rows) == 2


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (FakeNetwork(lambda ids: [math.nan] * VOCAB_SIZE), r"no number \(NaN\).* of token 1 of the text"),
        (FakeNetwork(lambda ids: [math.inf] * VOCAB_SIZE), "infinity as the logit"),
        (FakeNetwork(before_forward=raising(MemoryError(), 0)), "ran out of memory"),
        (FakeNetwork(before_forward=raising(torch.OutOfMemoryError("no room"), 0)), "ran out of memory"),
    ],
)
def test_what_the_network_cannot_do_is_named(network: FakeNetwork, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        score(network.engine(), [65, 66, 67])


def test_ids_that_the_model_does_not_have_are_refused() -> None:
    for wrong in (-1, VOCAB_SIZE):
        with pytest.raises(PromptError, match=f"no token {wrong}"):
            score(FakeNetwork().engine(), [65, wrong])
    with pytest.raises(ModelError, match="cannot say"):
        score(object(), [1, 2])


def test_one_token_has_nothing_before_it() -> None:
    engine = FakeNetwork().engine()
    assert score(engine, [65]) == score(engine, []) == score(engine, [65, 66], 2) == []


# --- real weights ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    path = TinyModel(context_length=64).write(tmp_path_factory.mktemp("model") / "tiny.gguf")
    loaded = load_engine(path, ModelSettings(engine=request.param, dtype="f32", device="cpu"))
    assert loaded.info.engine == request.param
    yield loaded
    loaded.close()


def test_it_equals_the_log_softmax_of_transformers(engine: LocalEngine, tmp_path: Path) -> None:
    path = TinyModel(context_length=64).write(tmp_path / "tiny.gguf")
    library = load_engine(path, ModelSettings(engine="hf", dtype="f32", device="cpu")).network.model  # type: ignore[attr-defined]
    ids = [n * 37 % engine.info.vocab_size for n in range(60)]
    with torch.inference_mode():
        logits_TV = library(input_ids=torch.tensor([ids])).logits[0].double()
    wanted_T = logits_TV.log_softmax(-1)[torch.arange(59), torch.tensor(ids[1:])]
    tokens = score(engine, ids)
    found_T = torch.tensor([token.logprob for token in tokens], dtype=torch.float64)
    assert float((found_T - wanted_T).abs().max()) < 1e-4
    loss = torch.nn.functional.cross_entropy(logits_TV[:-1], torch.tensor(ids[1:]))
    assert perplexity([token.logprob for token in tokens]) == pytest.approx(float(loss.exp()), rel=1e-4)


def test_bits_per_byte() -> None:
    assert surprise_bits(math.log(1 / 1024)) == pytest.approx(10)
    assert bits_per_byte([math.log(1 / 4), math.log(1 / 4)], 8) == pytest.approx(0.5)
    assert math.isnan(bits_per_byte([], 0))
    assert math.isnan(bits_per_byte([-1.0], 0))
