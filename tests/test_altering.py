"""Heads and layers switched off or scaled: numbers against transformers, cache, record, walk."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_network import FakeNetwork, babbling
from gguf.constants import GGMLQuantizationType as GGMLType
from recorded_chat import RecordedChat
from test_cli import run
from test_parity import relative_difference
from test_parity_formats import build_peer, open_f32, save, some_ids
from test_walk import called_in_a_step
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.alteration import (
    UNALTERED,
    Alteration,
    alteration_of,
    altered_as,
    changed_by,
    parse_alteration,
)
from llama_chat.engine import altering as altering_module
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import Interrupted, LlamaChatError, ModelError, UsageError
from llama_chat.events import Finished, LiveSampling, Prefilled, Sampling, Text, Token
from llama_chat.rerun import rerun
from llama_chat.sessions import SessionStore
from llama_chat.sessions.exchange import read_sessions
from llama_chat.sessions.exchange.jsonl import jsonl_lines
from llama_chat.sessions.words import notes_of
from llama_chat.settings import ModelSettings
from llama_chat.walk.walk import Walk, open_walk

HEAD, LAYER = parse_alteration("L2.H3"), parse_alteration("L1")
GREEDY = Sampling(temperature=0.0, max_new_tokens=6)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("altering") / "tiny.gguf")


def f32(path: Path) -> LocalEngine:
    return load_engine(path, ModelSettings(dtype="f32", threads=1))


def logits_of(engine: LocalEngine, ids: list[int]) -> Tensor:
    """Of every position."""
    found = engine.network.forward(ids, engine.network.new_cache(), "all")
    assert found is not None
    return found


# --- the text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "signature"),
    [
        ("L3.H4", "L3.H4×0"),
        ("l3h4 x", None),
        ("L7 0.5, L3.H4", "L3.H4×0 L7×0.5"),
        ("L7*2 l2 off L1.H1=-1", "L1.H1×-1 L2×0 L7×2"),
        ("L3 on L4 1 L5×1.0", ""),
        ("L3.H4 .25", "L3.H4×0.25"),
        ("L3 -0", "L3×0"),
        ("", ""),
        ("L0", None),
        ("L3.H0", None),
        ("L3 0.5 0.6", None),
        ("L3 11", None),
        ("L3 nan", None),
        ("L99999", None),
        ("\x1b[31mL3", None),
        ("L٣", None),
    ],
)
def test_what_is_written_is_read_and_written_again(words: str, signature: str | None) -> None:
    if signature is None:
        with pytest.raises(UsageError) as error:
            parse_alteration(words)
        assert "\x1b" not in str(error.value)
        return
    found = parse_alteration(words)
    assert found.signature == signature
    assert parse_alteration(signature) == found
    assert bool(found) == bool(signature)


def test_words_add_to_what_is_altered_and_take_it_back() -> None:
    found = changed_by(changed_by(UNALTERED, "L3.H4"), "L7 0.5")
    assert found.words == "layer 3 head 4 off, layer 7 × 0.5"
    assert changed_by(found, "L3.H4 on").signature == "L7×0.5"
    assert changed_by(found, "L3.H4 on, L7 1") == UNALTERED
    assert (found.first_layer, LAYER.first_layer) == (2, 0)
    for text, words in (
        ("L3", "no layer 3: the model has 2 layers"),
        ("L1.H9", "no head 9: the model has 8"),
    ):
        with pytest.raises(UsageError, match=words):
            parse_alteration(text).check(2, 8)


# --- the numbers -----------------------------------------------------------------------------------------


def test_a_head_off_is_its_columns_of_the_output_product_at_zero(tmp_path: Path) -> None:
    peer, ids = build_peer(num_attention_heads=4), some_ids(40)
    engine = open_f32(save(peer, tmp_path / "tiny"))
    k = peer.model.layers[1].self_attn.head_dim
    engine.alter(Alteration({(1, 2): 0.0, (1, 0): 0.5}))
    with torch.inference_mode():
        columns = peer.model.layers[1].self_attn.o_proj.weight
        columns[:, 2 * k : 3 * k] = 0
        columns[:, :k] *= 0.5
        theirs = peer(torch.tensor([ids]), use_cache=False).logits[0]
    assert relative_difference(logits_of(engine, ids), theirs) < 1e-5


def test_a_layer_off_is_the_model_without_it(tmp_path: Path) -> None:
    peer, ids = build_peer(), some_ids(40)
    engine = open_f32(save(peer, tmp_path / "tiny"))
    unaltered = logits_of(engine, ids)
    engine.alter(Alteration(layers={0: 0.0}))
    del peer.model.layers[0]
    with torch.inference_mode():
        theirs = peer(torch.tensor([ids]), use_cache=False).logits[0]
    assert relative_difference(logits_of(engine, ids), theirs) < 1e-5
    assert relative_difference(unaltered, theirs) > 1e-2
    engine.alter(UNALTERED)
    assert torch.equal(logits_of(engine, ids), unaltered)


def test_half_a_layer_is_half_of_what_it_adds(tiny: Path) -> None:
    engine, ids = f32(tiny), [7, 8, 9]
    network = engine.network
    assert isinstance(network, ScratchNetwork)
    streams: dict[float, Tensor] = {}
    network.alter(parse_alteration("L1 off"))  # the second layer reads the embeddings
    for scale in (0.0, 0.5, 1.0):
        with network.altered(network.alteration.with_layer(1, scale)), torch.inference_mode():
            streams[scale] = network.llama(torch.tensor(ids), network.new_cache())
    torch.testing.assert_close(streams[0.5], (streams[0.0] + streams[1.0]) / 2)
    assert network.altered_by == "L1×0"


@pytest.mark.parametrize("kind", ["f32", "bf16", "Q4_1", "Q8_0", "Q4_1 on plain products"])
def test_on_every_path_reset_is_as_it_was_and_off_is_off(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = {"Q4_1": GGMLType.Q4_1, "Q8_0": GGMLType.Q8_0}.get(kind.split()[0])
    if kind.endswith("products"):
        from llama_chat.engine.quantize import int4_linear

        monkeypatch.setattr(int4_linear, "has_int4_product", lambda *_: False)
    model = TinyModel(**({"type": packed} if packed is not None else {}))
    dtype = kind if packed is None else "auto"
    engine = load_engine(model.write(tmp_path / "m.gguf"), ModelSettings(dtype=dtype, threads=1))
    ids = list(range(6, 40))
    unaltered = logits_of(engine, ids)
    engine.alter(Alteration({(1, 3): 1.0}, {0: 1.0}))
    assert not engine.alteration
    assert torch.equal(logits_of(engine, ids), unaltered)
    every_head_off = Alteration({(1, head): 0.0 for head in range(8)})
    engine.alter(every_head_off)
    altered = logits_of(engine, ids)
    assert not torch.equal(altered, unaltered)
    network = engine.network
    assert isinstance(network, ScratchNetwork)
    output = network.llama.blocks[1].attention.output
    removed = output.register_forward_hook(lambda _m, _i, out: torch.zeros_like(out))
    engine.alter(UNALTERED)
    torch.testing.assert_close(logits_of(engine, ids), altered)
    removed.remove()
    assert torch.equal(logits_of(engine, ids), unaltered)


def test_unaltered_nothing_is_paid(tiny: Path) -> None:
    engine = f32(tiny)
    before = called_in_a_step(engine)
    assert not any(code.co_filename == altering_module.__file__ for code in before)
    with altered_as(engine, HEAD.and_then(LAYER)):
        assert any(code.co_filename == altering_module.__file__ for code in called_in_a_step(engine))
    assert called_in_a_step(engine) == before
    for module in engine.network.llama.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


# --- the cache and the record ------------------------------------------------------------------------------


def stream(engine: LocalEngine, text: str) -> tuple[Prefilled, list[int], Finished]:
    events = list(engine.stream([Text(text)], sampling=LiveSampling(GREEDY), seed=7))
    (prefilled,) = (event for event in events if isinstance(event, Prefilled))
    finished = events[-1]
    assert isinstance(finished, Finished)
    return prefilled, [event.token_id for event in events if isinstance(event, Token)], finished


def test_an_altered_reply_shares_no_cache_with_an_unaltered_one(tiny: Path) -> None:
    engine, text = f32(tiny), "the and you in the"
    fresh = {a: stream(f32_altered(tiny, a), text)[1] for a in (UNALTERED, HEAD, LAYER)}
    for alteration in (UNALTERED, HEAD, LAYER, HEAD, UNALTERED):
        engine.alter(alteration)
        prefilled, ids, finished = stream(engine, text)
        assert prefilled.reused_tokens == 0
        assert ids == fresh[alteration]
        assert finished.plan.alteration == alteration.signature
        assert prefilled.plan is not None
        assert prefilled.plan.alteration == alteration.signature
        again, ids, _ = stream(engine, text)
        assert again.reused_tokens == again.prompt_tokens - 1
        assert ids == fresh[alteration]
    assert len({tuple(ids) for ids in fresh.values()}) > 1


def f32_altered(path: Path, alteration: Alteration) -> LocalEngine:
    engine = f32(path)
    engine.alter(alteration)
    return engine


def test_the_cache_itself_knows_under_which_alteration_it_was_filled(tiny: Path) -> None:
    """Whoever alters the network behind the engine's back finds nothing to go on from either."""
    engine, network = f32(tiny), f32(tiny).network
    assert isinstance(network, ScratchNetwork)
    engine = LocalEngine(network, engine.tokenizer, engine.info)
    live = engine.live
    assert stream(engine, "the and you")[0].reused_tokens == 0
    for signature in ("L2.H3×0", "L2.H3×0.5", ""):
        network.alter(parse_alteration(signature))
        with pytest.raises(AssertionError, match="another alteration"):
            live.extend([7], "none", "step")
        assert stream(engine, "the and you")[0].reused_tokens == 0
        assert engine.live is live
        assert live.altered_by == signature


@pytest.mark.parametrize("has_store", [True, False])
def test_altered_replies_are_run_again_altered(tiny: Path, tmp_path: Path, has_store: bool) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite3") if has_store else None
    if store is not None:
        store.open()
    engine = with_template(f32(tiny))
    chat = RecordedChat(engine, store)
    for alteration in (HEAD, UNALTERED, LAYER.with_head(1, 4, 0.5)):
        engine.alter(alteration)
        message = chat.say("the and you")
    engine.alter(UNALTERED)
    found = list(rerun(chat.record, with_template(f32(tiny))))
    assert [verdict.verdict for verdict in found] == ["identical"] * 3
    assert all(verdict.largest_logprob_difference == 0 and not verdict.changes for verdict in found)
    said = chat.record.conversation.messages[message.id]
    assert "model altered: L1×0 L2.H5×0.5" in notes_of(said)

    # What cannot be altered says so, and the rest is judged.
    other = FakeNetwork(babbling()).engine()
    reasons = [verdict.reason for verdict in rerun(chat.record, other)]
    assert "only the from-scratch engine can be altered" in reasons[0]
    if store is not None:
        check_archive(chat, tmp_path)
        store.close()


def check_archive(chat: RecordedChat, folder: Path) -> None:
    lines = list(jsonl_lines(chat.record))
    (folder / "out.jsonl").write_text("".join(lines))
    (session,) = read_sessions(folder / "out.jsonl")
    plans = [message.reply.plan for message in session.conversation.messages.values() if message.reply]
    assert [plan.alteration for plan in plans if plan] == ["L2.H3×0", "", "L1×0 L2.H5×0.5"]
    bad = "".join(lines).replace("L2.H3×0", "L2.H3×fox")
    (folder / "bad.jsonl").write_text(bad)
    with pytest.raises(LlamaChatError, match="'alteration' of the plan"):
        list(read_sessions(folder / "bad.jsonl"))


def with_template(engine: LocalEngine) -> LocalEngine:
    template = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|reply|>"
    return LocalEngine(engine.network, engine.tokenizer, replace(engine.info, chat_template=template))


def test_work_that_is_altered_leaves_the_engine_as_it_was(tiny: Path) -> None:
    engine = f32_altered(tiny, LAYER)
    with altered_as(engine, HEAD):
        assert alteration_of(engine) == HEAD
    assert engine.alteration == LAYER
    with pytest.raises(ZeroDivisionError), altered_as(engine, HEAD):
        raise ZeroDivisionError
    assert engine.alteration == LAYER
    with pytest.raises(UsageError, match="no layer 9"):
        engine.alter(parse_alteration("L9"))
    assert engine.alteration == LAYER
    with pytest.raises(ModelError, match="cannot be altered"), altered_as(object(), HEAD):
        pass


# --- the walk ----------------------------------------------------------------------------------------------


def test_an_altered_walk_is_that_of_the_altered_network(tiny: Path) -> None:
    engine = f32(tiny)
    ids = list(range(6, 30))
    plain = Walk(engine, ids)
    assert plain.comparison() is None
    for alteration in (HEAD, LAYER, parse_alteration("L2×0.5 L1.H2×2")):
        walk = plain.altered(alteration)
        with altered_as(engine, alteration):
            direct = logits_of(engine, ids)[-1]
            opened = open_walk(engine, ids)
        torch.testing.assert_close(walk._scene.passed.logits, direct, rtol=1e-4, atol=1e-4)
        assert opened.alteration == alteration
        assert torch.equal(opened._scene.passed.logits, walk._scene.passed.logits)
        assert walk.difference().largest < 1e-3
        found = walk.comparison()
        assert found is not None
        before, after = (logits_V.log_softmax(-1) for logits_V in (plain._scene.passed.logits, direct))
        kl = float((before.exp() * (before - after)).sum()) / math.log(2)
        assert found.kl_bits == pytest.approx(kl, abs=1e-4)
        assert found.likeliest[0].token_id == int(before.argmax())
        assert found.likeliest[0].rank_before == 1
        change = after.exp() - before.exp()
        assert found.risen[0].token_id == int(change.argmax())
        assert found.fallen[0].after - found.fallen[0].before == pytest.approx(float(change.min()), abs=1e-5)
        assert walk.altered(UNALTERED)._scene.passed is plain._scene.passed
        cut, made_of_cut = walk.until(9).comparison(), plain.until(9).altered(alteration).comparison()
        assert cut is not None
        assert made_of_cut is not None
        assert cut.kl_bits == pytest.approx(made_of_cut.kl_bits, abs=1e-5)
    assert not engine.alteration
    # From the last layer on only that is computed again; the streams before it are the same tensors.
    last = plain.altered(HEAD)
    assert last._scene.passed.streams[1] is plain._scene.passed.streams[1]


def test_the_steps_say_where_they_are_altered(tiny: Path) -> None:
    walk = Walk(f32(tiny), "the and you", alteration=parse_alteration("L2.H3 0.5, L1 off"))
    told = {
        ("values", 1, 2): "multiplied by 0.5",
        ("heads", 1, 0): "head 3 × 0.5",
        ("layer", 0, 0): "multiplied by 0",
        ("distribution", 0, 0): "layer 1 off, layer 2 head 3 × 0.5",
    }
    for (name, layer, head), words in told.items():
        assert any(words in sentence for sentence in walk.step(name, layer, head).sentences)
    before, after = (walk.step("layer", 0).grids[0], walk.step("embedding").grids[0])
    assert before.values == after.values  # what layer 1 gives on is what it read


def test_the_effect_of_every_head_is_that_of_switching_it_off(tiny: Path) -> None:
    engine = f32(tiny)
    walk, reported = Walk(engine, "the and you"), list[float]()
    (grid,) = walk.head_effects(reported.append).grids
    assert (grid.rows.size, grid.columns.size) == (2, 8)
    for layer, head in ((0, 0), (1, 2), (1, 7)):
        found = walk.altered(Alteration({(layer, head): 0.0})).comparison()
        assert found is not None
        assert grid.value(layer, head) == pytest.approx(found.kl_bits, abs=1e-4)
    assert reported[-1] == 1.0
    assert not engine.alteration
    stopped = threading.Event()
    walk = Walk(engine, "the and you", stopped)
    with pytest.raises(Interrupted):
        walk.head_effects(lambda _: stopped.set())
    assert not engine.alteration


def test_the_command_maps_the_effects(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["walk", "the and", "--effects", "--model", str(tiny)]
    assert run(*words) == 0
    assert "The next token depends most on layer" in " ".join(capsys.readouterr().out.split())
    assert run(*words, "--json") == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["name"] == "effects"
    assert len(step["grids"][0]["values"]) == 2
    assert run(*words, "--svg", str(tmp_path / "effects.svg")) == 0
    assert "What each head does" in (tmp_path / "effects.svg").read_text()
    assert run(*words, "--layer", "1") != 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--without", "L3"], "no layer 3: the model has 2 layers"),
        (["--without", "L1.H9"], "no head 9"),
        (["--alter", "fox"], "'fox' is no head and no layer"),
        (["--alter", "L1 99"], "too much"),
    ],
)
def test_what_cannot_be_altered_is_refused(
    options: list[str], words: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("walk", "the", *options, "--model", str(tiny)) != 0
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_command_shows_both_distributions(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["walk", "the and", "--without", "L2.H3", "--alter", "L1*0.5", "--step", "distribution"]
    assert run(*words, "--model", str(tiny)) == 0
    text = capsys.readouterr().out
    assert "The model is altered: layer 1 × 0.5, layer 2 head 3 off" in text
    assert "points" in text
    assert run(*words, "--json", "--model", str(tiny)) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert data["comparison"]["alteration"] == "L1×0.5 L2.H3×0"
    assert data["comparison"]["kl_bits"] > 0
