"""Where positions look: against transformers, from the chat's own cache, and what may go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from test_parity_formats import build_peer, llama3_rope, open_f32, save, some_ids
from tiny_models import TinyModel

from llama_chat.chat.looking import Looking, Looks, Way
from llama_chat.conversation import Message, Reply, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.model import attend
from llama_chat.errors import Interrupted, ModelError, PromptError
from llama_chat.events import Engine, Finished, Ids, LiveSampling, Sampling, Token
from llama_chat.settings import ModelSettings
from llama_chat.turn import build_prompt
from llama_chat.walk import attention_reader
from llama_chat.walk.attention_reader import AttentionReader

CASES: dict[str, dict[str, Any]] = {
    "grouped, tied": {"num_attention_heads": 4},
    "Llama 3's scaling": {"rope_parameters": llama3_rope(32.0, original=64), "num_attention_heads": 4},
}
ON = threading.Event()
"""Nobody cancels."""


def quietly(_fraction: float) -> None: ...


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    path = TinyModel(n_layers=3).write(tmp_path / "tiny.gguf")
    return load_engine(path, ModelSettings(dtype="f32", threads=1))


def ids_for(engine: LocalEngine, count: int) -> list[int]:
    """That the model has; none of them is a control token."""
    return [64 + token_id % 100 for token_id in some_ids(count)]


def answer(engine: LocalEngine, ids: list[int], count: int) -> list[int]:
    """The ids that are in the live cache after a reply of so many tokens."""
    sampling = LiveSampling(Sampling(temperature=0, max_new_tokens=count))
    *_, last = engine.stream([Ids(tuple(ids))], sampling=sampling, seed=1)
    assert isinstance(last, Finished)
    return list(engine.live.ids)


# --- the numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_mean_and_rollout_are_those_of_transformers(tmp_path: Path, fields: dict[str, Any]) -> None:
    peer = build_peer(**fields)
    engine, ids = open_f32(save(peer, tmp_path / "tiny")), some_ids(96)
    peer.set_attn_implementation("eager")
    with torch.inference_mode():
        theirs = peer(torch.tensor([ids]), use_cache=False, output_attentions=True).attentions
    weights = torch.stack([layer[0] for layer in theirs])  # [L, H, T, S]
    rollout = torch.eye(len(ids))
    for layer_TS in weights.mean(1):
        rollout = (layer_TS + torch.eye(len(ids))) / 2 @ rollout

    reader = AttentionReader(engine)
    for at in (0, 1, 40, 95):
        mean = reader.mean(ids, at, ON, quietly)
        assert mean == pytest.approx(weights[:, :, at, : at + 1].mean((0, 1)).tolist(), abs=1e-4)
        assert sum(mean) == pytest.approx(1, abs=1e-5)
        assert reader.rollout(ids, at, ON, quietly) == pytest.approx(rollout[at, : at + 1].tolist(), abs=1e-4)


def test_a_rollout_is_the_same_in_blocks(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ids_for(engine, 50)
    whole = AttentionReader(engine).rollout(ids, 49, ON, quietly)
    monkeypatch.setattr(attention_reader, "_ROWS_AT_ONCE", 7)
    assert AttentionReader(engine).rollout(ids, 49, ON, quietly) == pytest.approx(whole, abs=1e-6)


def test_a_quantised_model_is_read(tmp_path: Path) -> None:
    model = TinyModel(type=GGMLType.Q4_1, types={"token_embd.weight": GGMLType.Q8_0})
    engine = load_engine(model.write(tmp_path / "q.gguf"), ModelSettings(threads=1))
    reader, ids = AttentionReader(engine), ids_for(engine, 40)
    for shares in (reader.mean(ids, 39, ON, quietly), reader.rollout(ids, 39, ON, quietly)):
        assert len(shares) == 40
        assert sum(shares) == pytest.approx(1, abs=1e-3)


# --- the caches --------------------------------------------------------------------------------------------


def test_the_chats_cache_is_borrowed_and_given_back_bit_for_bit(engine: LocalEngine) -> None:
    ids = answer(engine, ids_for(engine, 20), 12)
    cache = engine.live.cache
    before = [store.clone() for store in (*cache.keys, *cache.values)]  # type: ignore[attr-defined]
    rows: list[int] = []
    forward = engine.network.forward

    def counted(token_ids, cache, logits):  # type: ignore[no-untyped-def]
        rows.append(len(token_ids))
        return forward(token_ids, cache, logits)

    engine.network.forward = counted  # type: ignore[method-assign]
    reader = AttentionReader(engine)
    for at in (0, 10, len(ids) - 1):
        reader.mean(ids, at, ON, quietly)
    assert rows == [1, 1, 1], "one row each, nothing is computed again"
    assert engine.live.cache is cache
    assert cache.length == len(ids) == len(engine.live.ids)
    after = (*cache.keys, *cache.values)  # type: ignore[attr-defined]
    assert all(map(torch.equal, before, after))
    assert all(block.attention.attend is attend for block in engine.network.llama.blocks)  # type: ignore[attr-defined]


def test_another_context_is_read_beside_the_chats_cache(engine: LocalEngine) -> None:
    live = answer(engine, ids_for(engine, 20), 4)
    other = list(reversed(live))
    reader, fresh = AttentionReader(engine), AttentionReader(engine)
    first = reader.mean(other, 15, ON, quietly)
    assert engine.live.ids == live
    assert engine.live.cache.length == len(live)
    assert reader.mean(other, 9, ON, quietly) == pytest.approx(fresh.mean(other, 9, ON, quietly), abs=1e-5)
    assert reader.mean(other, 15, ON, quietly) == pytest.approx(first, abs=1e-6)


def test_an_altered_reply_is_read_altered(engine: LocalEngine) -> None:
    ids = ids_for(engine, 24)
    answer(engine, ids, 1)
    plain, altered = AttentionReader(engine), AttentionReader(engine, "L1×0")
    assert altered.mean(ids, 23, ON, quietly) != plain.mean(ids, 23, ON, quietly)
    assert engine.network.altered_by == ""  # type: ignore[attr-defined]
    engine.network.alter(altered._alteration)  # type: ignore[attr-defined]
    assert plain.mean(ids, 23, ON, quietly) == pytest.approx(
        AttentionReader(engine).mean(ids, 23, ON, quietly), abs=1e-6
    )
    assert engine.network.altered_by == "L1×0"  # type: ignore[attr-defined]


# --- long, short, stopped, broken --------------------------------------------------------------------------


def test_of_a_long_context_rollout_takes_the_last_tokens(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_reader, "MOST_TOKENS", 40)
    monkeypatch.setattr(attention_reader, "WINDOW_STEP", 10)
    ids = ids_for(engine, 200)
    reader = AttentionReader(engine)
    at_end = reader.rollout(ids, 195, ON, quietly)
    assert len(at_end) == 196
    assert not any(at_end[:160])
    assert all(at_end[160:])
    own = AttentionReader(engine).rollout(ids[160:200], 35, ON, quietly)
    assert at_end[160:] == pytest.approx(own, abs=1e-6)
    assert all(reader.rollout(ids, 30, ON, quietly)), "early tokens have a window of their own"
    assert all(reader.mean(ids, 199, ON, quietly)), "the mean needs no window"


def test_what_cannot_be_read_says_why(engine: LocalEngine) -> None:
    reader = AttentionReader(engine)
    with pytest.raises(PromptError, match=r"30,000 tokens; the context holds 512\. Start with a greater"):
        reader.mean([5] * 30_000, 29_999, ON, quietly)
    with pytest.raises(PromptError, match="There is a token 999999"):
        reader.rollout([5, 999_999], 1, ON, quietly)
    for read in (reader.mean, reader.rollout):
        assert read([5], 0, ON, quietly) == (1.0,)


@pytest.mark.parametrize("measure", ["mean", "rollout"])
def test_a_cancel_ends_it_and_leaves_all_as_it_was(engine: LocalEngine, measure: str) -> None:
    ids = ids_for(engine, 40)
    reader, cancel = AttentionReader(engine), threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        getattr(reader, measure)(ids, 30, cancel, quietly)
    assert sum(getattr(reader, measure)(ids, 30, ON, quietly)) == pytest.approx(1, abs=1e-5)
    assert all(block.attention.attend is attend for block in engine.network.llama.blocks)  # type: ignore[attr-defined]


def test_attention_that_is_no_number_is_named(engine: LocalEngine) -> None:
    qkv = engine.network.llama.blocks[1].attention.qkv  # type: ignore[attr-defined]
    with torch.inference_mode():
        next(iter(qkv.parameters())).fill_(torch.nan)
    for measure in ("mean", "rollout"):
        with pytest.raises(ModelError, match=r"no number \(NaN\) as its attention"):
            getattr(AttentionReader(engine), measure)([5, 6, 7], 2, ON, quietly)


# --- with a chat's messages --------------------------------------------------------------------------------


def ask(engine: LocalEngine, path: list[Message], index: int, way: Way = Way()) -> Looks:  # noqa: B008  (frozen)
    def compute(function: Callable[[Engine], Looks], _cancel: threading.Event) -> Future[Looks]:
        future: Future[Looks] = Future()
        future.set_result(function(engine))
        return future

    return Looking(compute, AttentionReader, path, "2026-11-22").ask(index, way).result()


def test_a_reply_is_read_by_the_ids_that_it_was_written_behind(engine: LocalEngine) -> None:
    said = Message("said", None, Role.USER, "a", 0.0)  # the template writes it, too, in `assistant`
    prompt = build_prompt(engine, [said], date="2026-11-22", max_new_tokens=8)
    sampling = LiveSampling(Sampling(temperature=0, max_new_tokens=8))
    events = list(engine.stream(prompt.pieces, sampling=sampling, seed=1))
    tokens = [event for event in events if isinstance(event, Token)]
    assert isinstance(events[-1], Finished)
    text = "".join(token.text for token in tokens) + events[-1].text
    ids = tuple(token.token_id for token in tokens)
    reply = Reply(1, sampling.current, engine.info.name, ids, "length", plan=events[-1].plan)
    path = [said, Message("reply", "said", Role.ASSISTANT, text, 0.0, reply)]

    looks = ask(engine, path, 3)
    found = looks.context.found
    live = engine.live.ids
    assert list(found.ids)[: len(live)] == live, "not the ids that the model saw"
    assert looks.row == found.prompt_tokens + 2, "the position that chose the fourth token"
    assert looks.raw == pytest.approx(AttentionReader(engine).mean(found.ids, looks.row, ON, quietly))
    assert looks.context.notes == ()
    assert sum(looks.shares) == pytest.approx(1, abs=1e-5)
    own = ask(engine, path, 3, Way(is_own_row=True))
    assert own.row == looks.row + 1

    places = [looks.context.place(n) for n in range(len(found.ids))]
    assert places.count("you") == 1
    assert places.index("you") < found.prompt_tokens - 3, "it is behind the word that opens the reply's turn"
    assert places[found.prompt_tokens :] == ["this reply"] * len(ids)

    changed = replace(path[0], text="Something else.")
    notes = ask(engine, [changed, path[1]], 0).context.notes
    assert "The prompt comes out differently today" in " ".join(notes)
