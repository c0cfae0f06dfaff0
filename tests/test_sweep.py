"""The sweep in the engine: one prefill, columns that are what a reply with their settings is."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_network import FakeNetwork, Rewind, babbling, in_blocks_of, question, raising, saying, sliding
from tiny_models import TinyModel

from llama_chat.distribution.bars import bars_of
from llama_chat.distribution.chosen import probability_after, probability_before
from llama_chat.engine import sweep as sweeping
from llama_chat.engine.cache import KVCache
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.load import load_engine
from llama_chat.errors import ModelError, UsageError
from llama_chat.events import LiveSampling, Loading, Piece, Prefilled, Sampling, Text, Token
from llama_chat.settings import ModelSettings
from llama_chat.sweep.asking import EVERY, InTurns, Sweeps, sweep_by
from llama_chat.sweep.columns import NEUTRAL, SweepColumn, default_variation, parse_variation
from llama_chat.sweep.gathered import SweepReplies

SHORT = replace(NEUTRAL, max_new_tokens=6)
COLUMNS = default_variation().columns(SHORT, 7)
PROMPT = question("What did the river say?")


def swept(
    engine: LocalEngine, pieces: list[Piece] | None = None, columns: list[SweepColumn] = COLUMNS
) -> SweepReplies:
    replies = SweepReplies.of(columns)
    for event in sweep_by(engine, pieces or PROMPT, columns, threading.Event()):
        replies.feed(event)
    return replies


def ids_of(replies: SweepReplies) -> list[list[int]]:
    return [[token.token_id for token in column.tokens] for column in replies.columns]


def streamed(network: FakeNetwork, column: SweepColumn) -> list[int]:
    events = network.engine().stream(PROMPT, sampling=LiveSampling(column.sampling), seed=column.seed)
    return [event.token_id for event in events if isinstance(event, Token)]


def test_one_prefill_and_every_column_is_what_a_reply_would_be() -> None:
    network = FakeNetwork(feels_shapes=True)
    replies = swept(network.engine())
    prompt_tokens = replies.prefilled.prompt_tokens if replies.prefilled else 0
    # The last of six tokens needs no forward of its own.
    assert network.rows == [prompt_tokens, *[1] * 5 * len(COLUMNS)]
    assert ids_of(replies) == [streamed(FakeNetwork(feels_shapes=True), column) for column in COLUMNS]
    assert [column.finished.reason for column in replies.columns if column.finished] == ["length"] * 5
    assert len(set(map(tuple, ids_of(replies)))) > 2, "temperature makes no difference"


def test_tokens_come_in_turn() -> None:
    events = list(sweep_by(FakeNetwork().engine(), PROMPT, COLUMNS, threading.Event()))
    assert [number for number, event in events if isinstance(event, Token)] == [*range(5)] * 6
    assert [number for number, event in events if isinstance(event, Prefilled)] == [EVERY]


def test_greedy_columns_are_equal_and_seeds_differ() -> None:
    greedy = parse_variation("seed=1,2,3").columns(replace(SHORT, temperature=0.0), 0)
    first, *others = ids_of(swept(FakeNetwork().engine(), columns=greedy))
    assert others == [first, first]
    chances = ids_of(swept(FakeNetwork().engine(), columns=parse_variation("seed=1,2,3").columns(SHORT, 0)))
    assert len(set(map(tuple, chances))) == 3


def test_columns_that_end_early_leave_the_others_alone() -> None:
    replies = swept(FakeNetwork(saying(b"yes")).engine())
    assert replies.columns[0].text == "yes"
    assert replies.columns[0].state == "ended after 3 tokens"
    assert len(replies.columns[4].tokens) == 6
    assert replies.is_over


def test_the_cache_of_the_chat_stays_and_is_used() -> None:
    network = FakeNetwork()
    engine = network.engine()
    words = question("What did the river say to the fox, who had asked it for the whole of a long evening?")
    list(engine.stream(words, sampling=LiveSampling(SHORT), seed=1))
    ids, forwards, length = list(engine.live.ids), list(engine.live.forwards), engine.live.cache.length
    network.rows.clear()
    replies = swept(engine, words)
    assert network.rows[0] == 1, "the prompt was computed again"
    assert replies.prefilled is not None
    assert replies.prefilled.reused_tokens == replies.prefilled.prompt_tokens - 1
    assert (engine.live.ids, engine.live.forwards, engine.live.cache.length) == (ids, forwards, length)


@pytest.mark.parametrize(
    ("rewinds", "prefills"),
    [(lambda _, wanted: wanted, 1), (in_blocks_of(8), 1), (sliding(4), len(COLUMNS))],
    ids=["whole", "blocks", "sliding"],
)
def test_without_memory_for_all_they_come_in_turns(
    monkeypatch: pytest.MonkeyPatch, rewinds: Rewind, prefills: int
) -> None:
    monkeypatch.setattr(sweeping, "free_memory", lambda _: 900)
    monkeypatch.setattr(sweeping, "bytes_at", lambda cache, length: 400)
    network = FakeNetwork(rewinds=rewinds)
    events = list(sweep_by(network.engine(), PROMPT, COLUMNS, threading.Event()))
    assert (EVERY, InTurns(1)) in events
    replies = SweepReplies.of(COLUMNS)
    for event in events:
        replies.feed(event)
    assert ids_of(replies) == [streamed(FakeNetwork(), column) for column in COLUMNS]
    assert replies.at_once == 1
    assert replies.is_over
    assert sum(rows > 1 for rows in network.rows) == prefills


def test_a_copy_that_fails_waits_for_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, left = sweeping.BranchingCache.fork, [None, MemoryError("no room")]

    def forked(live: sweeping.BranchingCache) -> sweeping.BranchingCache:
        if left and (error := left.pop(0)) is not None:
            raise error
        return fork(live)

    monkeypatch.setattr(sweeping.BranchingCache, "fork", forked)
    replies = swept(FakeNetwork().engine())
    assert replies.at_once == 2
    assert ids_of(replies) == [streamed(FakeNetwork(), column) for column in COLUMNS]


def test_a_cancel_keeps_what_there_is() -> None:
    cancel = threading.Event()
    replies = SweepReplies.of(COLUMNS)
    for event in sweep_by(FakeNetwork().engine(), PROMPT, COLUMNS, cancel):
        replies.feed(event)
        if len(replies.columns[-1].tokens) == 2:
            cancel.set()
    assert [column.state for column in replies.columns] == ["stopped after 2 tokens"] * 5
    assert replies.is_stopped


def test_a_cancel_while_the_prompt_is_read_ends_all() -> None:
    cancel = threading.Event()
    long = [Text("a" * 1000)]
    replies = SweepReplies.of(COLUMNS)
    for event in sweep_by(FakeNetwork().engine(), long, COLUMNS, cancel):
        replies.feed(event)
        if isinstance(event[1], Loading):
            cancel.set()
    assert replies.prefilled is None
    assert replies.is_over
    assert replies.is_stopped


def test_logits_that_are_no_numbers_end_their_column_alone() -> None:
    def logits(ids: list[int]) -> list[float]:
        row = list(babbling()(ids))
        return [math.nan] * len(row) if ids[-1] == first else row

    first = streamed(FakeNetwork(), COLUMNS[0])[0]
    replies = swept(FakeNetwork(logits).engine())  # type: ignore[arg-type]
    assert isinstance(replies.error, ModelError)
    assert "NaN" in str(replies.columns[0].error)
    assert replies.columns[0].state == "failed after 1 token"
    assert any(column.finished for column in replies.columns)


@pytest.mark.parametrize(("pieces", "said"), [([Text("")], "empty"), ([Text("a" * 30_000)], "30,000 tokens")])
def test_prompts_that_cannot_be_answered(pieces: list[Piece], said: str) -> None:
    replies = swept(FakeNetwork().engine(), pieces)
    assert said in str(replies.error)
    assert replies.prefilled is None


def test_a_prompt_of_one_token_and_a_failing_forward() -> None:
    assert len(swept(FakeNetwork().engine(), [Text("a")]).columns[4].tokens) == 6
    failing = FakeNetwork(before_forward=raising(MemoryError("not enough memory"), 3))
    replies = swept(failing.engine())
    assert [column.error is not None for column in replies.columns].count(True) == 1


def test_who_cannot_sweep_says_so() -> None:
    assert isinstance(FakeNetwork().engine(), Sweeps)
    with pytest.raises(ModelError, match="side by side"):
        sweep_by(object(), PROMPT, COLUMNS, threading.Event())


def test_a_real_network(tmp_path: Path) -> None:
    # Columns are never drafted, and forwards of several rows round otherwise.
    settings = ModelSettings(threads=1, draft="off")
    engine = load_engine(TinyModel().write(tmp_path / "tiny.gguf"), settings)
    columns = parse_variation("temperature=0,0.7,3").columns(
        replace(SHORT, repetition_penalty=1.2, max_new_tokens=20), 3
    )
    pieces = [Text("the fox and the river " * 20)]
    replies = swept(engine, pieces, columns)
    for column, reply in zip(columns, replies.columns, strict=True):
        engine.live = LiveCache(engine.network)
        events = engine.stream(pieces, sampling=LiveSampling(column.sampling), seed=column.seed)
        expected = [event for event in events if isinstance(event, Token)]
        assert [token.token_id for token in reply.tokens] == [token.token_id for token in expected]
        assert [token.logprob for token in reply.tokens] == [token.logprob for token in expected]


def test_what_a_copy_of_a_cache_takes() -> None:
    cache = KVCache(2, 3, 4, 4096, torch.float32, torch.device("cpu"))
    cache.reserve(1000)
    cache.advance(100)
    assert sweeping.bytes_at(cache, 300) == 512 * 2 * 2 * 3 * 4 * 4
    fork = cache.fork()
    assert (fork.length, fork.capacity, cache.capacity) == (100, 256, 1024)


def test_what_a_token_was_drawn_with() -> None:
    sampling = Sampling(temperature=3.0, top_k=0, max_new_tokens=30)
    engine = FakeNetwork().engine()
    tokens = [
        event
        for event in engine.stream(PROMPT, sampling=LiveSampling(sampling), seed=5)
        if isinstance(event, Token)
    ]
    ids = engine.tokenizer.encode_pieces(PROMPT)
    for token in tokens:
        row = babbling()(ids)
        weights = [math.exp((value - max(row)) / 3.0) for value in row]
        wanted = weights[token.token_id] / math.fsum(weights)
        found = probability_after(token, bars_of(token.candidates, sampling))
        assert found == pytest.approx(wanted, rel=0.02)
        plain = [math.exp(value) for value in row]
        assert probability_before(token) == pytest.approx(plain[token.token_id] / math.fsum(plain), rel=1e-4)
        ids.append(token.token_id)
    assert any(bars_of(token.candidates, sampling).of(token.token_id) is None for token in tokens)


# --- what is varied -----------------------------------------------------------------------------------------


def test_variations() -> None:
    assert parse_variation("temperature").values == (0.1, 0.316, 1.0, 3.16, 10.0)
    assert parse_variation(" --Top-K = 1, 40 ,all").values == (1, 40, 0)
    assert parse_variation("top-k=1,40,all").headings() == ["top-k 1", "top-k 40", "top-k all"]
    assert parse_variation("temperature=0,.5,10").headings() == [
        "temperature 0",
        "temperature 0.5",
        "temperature 10",
    ]
    seeds = parse_variation("seed=1,4294967295").columns(SHORT, 9)
    assert [(column.seed, column.sampling) for column in seeds] == [(1, SHORT), (4294967295, SHORT)]
    (column,) = parse_variation("min-p=0.25").columns(SHORT, 9)
    assert column == SweepColumn(replace(SHORT, min_p=0.25), 9)
    assert default_variation().columns(NEUTRAL, 1)[0].sampling.top_k == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be varied"),
        (
            "warmth=1",
            "'warmth' cannot be varied; temperature, top-k, top-p, min-p, repetition-penalty and seed",
        ),
        ("max-new-tokens=1,2", "cannot be varied"),
        ("temperature=", "a value missing"),
        ("temperature=1,,2", "a value missing"),
        ("temperature=1,1.0", "'1.0' stands there twice"),
        ("temperature=hot", "temperature: 'hot' is not a number"),
        ("temperature=11", "temperature: '11' is outside 0 to 10"),
        ("temperature=nan", "is not a finite number"),
        ("top-k=1.5", "not a whole number"),
        ("top-p=all", "top-p: 'all' is not a number"),
        ("seed=-1", "no whole number from 0 to 4,294,967,295"),
        ("seed=4294967296", "no whole number"),
        ("temperature=" + ",".join(f"{n / 10}" for n in range(17)), "17 values are too many"),
    ],
)
def test_nonsense_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        parse_variation(text)
