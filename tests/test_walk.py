"""The walk: its numbers against transformers, what a probe costs, and the command."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from test_cli import run
from test_parity import relative_difference
from test_parity_formats import build_peer, llama3_rope, open_f32, save, some_ids
from tiny_meta import TinyMeta
from tiny_models import TinyModel
from torch import Tensor

from llama_chat.cli.tables import cells_of
from llama_chat.drawing.shading import glyph, pooled
from llama_chat.drawing.svg import step_svg
from llama_chat.drawing.views import Axis, Grid
from llama_chat.engine import probing as probing_module
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.model import attend
from llama_chat.engine.probing import OUTSIDE, PLACES, probing
from llama_chat.errors import PromptError, UsageError
from llama_chat.sanitize import is_safe
from llama_chat.settings import ModelSettings
from llama_chat.walk.checks import check_ids
from llama_chat.walk.lens import lens_logits
from llama_chat.walk.steps import STEP_NAMES, STEPS
from llama_chat.walk.walk import Walk

CASES: dict[str, dict[str, Any]] = {
    "grouped, tied": {"num_attention_heads": 4},
    "untied, every head its own keys": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "Llama 3's scaling": {"rope_parameters": llama3_rope(32.0, original=64), "num_attention_heads": 4},
}
NASTY = "Hello the 🦙!\n\n  a\x1b[31m\u202eb é <|im_end|>\t漢"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("walk") / "tiny.gguf")


def as_tensor(walk: Walk, name: str, layer: int, head: int) -> Tensor:
    """The first grid of a step, as a newcomer gets to see it."""
    grid = walk.step(name, layer, head).grids[0]
    return torch.tensor(grid.values).view(grid.rows.size, grid.columns.size)


# --- the numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_attention_and_lens_are_those_of_transformers(tmp_path: Path, fields: dict[str, Any]) -> None:
    peer = build_peer(**fields)
    engine, ids = open_f32(save(peer, tmp_path / "tiny")), some_ids(96)
    peer.set_attn_implementation("eager")
    with torch.inference_mode():
        theirs = peer(torch.tensor([ids]), use_cache=False, output_attentions=True, output_hidden_states=True)
        # The last of their hidden states is normalised already.
        streams = [peer.model.norm(x[0, -1:]) for x in theirs.hidden_states[:-1]]
        lens = torch.cat([peer.lm_head(x) for x in (*streams, theirs.hidden_states[-1][0, -1:])])
    weights = torch.stack([layer[0] for layer in theirs.attentions])  # [L, H, T, S]

    walk = Walk(engine, ids)
    for layer, head in np.ndindex(*weights.shape[:2]):
        ours = as_tensor(walk, "softmax", layer, head)
        assert (ours - weights[layer, head]).abs().max() < 1e-4
    assert relative_difference(lens_logits(walk._scene.network, walk._scene.passed), lens) < 1e-4
    assert walk.difference().largest < 1e-3
    assert walk.difference().is_same_top

    looks = weights[:, :, -1, 7]
    best = walk.heads_looking_at(7)[0]
    assert (best.layer, best.head) == np.unravel_index(int(looks.argmax()), looks.shape)
    assert best.share == pytest.approx(float(looks.max()), abs=1e-4)
    assert walk.mean_attention(40) == pytest.approx(weights[:, :, 40].mean((0, 1)).tolist(), abs=1e-4)
    rollout = torch.eye(len(ids))
    for layer_TS in weights.mean(1):
        rollout = (layer_TS + torch.eye(len(ids))) / 2 @ rollout
    assert walk.rollout() == pytest.approx(rollout[-1].tolist(), abs=1e-4)


def test_each_step_follows_from_the_one_before(tiny: Path) -> None:
    """Worked out again from what is shown, with the file's own matrices."""
    engine = load_engine(tiny, ModelSettings(dtype="f32", threads=1))
    walk, w = (
        Walk(engine, "the and you in the"),
        {k: torch.tensor(v) for k, v in TinyModel().arrays().items()},
    )
    layer, head, k = 1, 5, 32
    group = slice(head // 4 * k, (head // 4 + 1) * k)
    norm, q = as_tensor(walk, "norm", layer, head), as_tensor(walk, "queries", layer, head)
    torch.testing.assert_close(q, norm @ w["blk.1.attn_q.weight"][head * k : (head + 1) * k].T)
    turned, keys = as_tensor(walk, "rope", layer, head), as_tensor(walk, "keys", layer, head)
    assert torch.equal(turned[0], q[0])  # position 0 is not turned
    torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))
    scores = as_tensor(walk, "scores", layer, head)
    torch.testing.assert_close(scores, turned @ keys.T / k**0.5)
    masked = as_tensor(walk, "mask", layer, head)
    assert torch.equal(masked, scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf))
    weights = as_tensor(walk, "softmax", layer, head)
    torch.testing.assert_close(weights, masked.softmax(-1))
    values = as_tensor(walk, "values", layer, head)
    torch.testing.assert_close(values, norm @ w["blk.1.attn_v.weight"][group].T)
    gathered = walk.step("heads", layer, head).grids[0]
    torch.testing.assert_close(torch.tensor(gathered.row(head)), (weights @ values)[-1])
    before = as_tensor(walk, "layer", layer - 1, 0)
    torch.testing.assert_close(
        as_tensor(walk, "residual", layer, head), before + as_tensor(walk, "output", layer, head)
    )
    (arrow, *_) = walk.step("rope", layer, head).arrows
    last = len(norm) - 1
    assert arrow.position == last
    assert arrow.degrees == pytest.approx(last * 180 / torch.pi)


@pytest.mark.parametrize("kind", ["Q4_1", "meta"])
def test_every_step_of_quantised_weights_and_of_two_layers(kind: str, tmp_path: Path) -> None:
    path = (
        TinyMeta().write(tmp_path / "meta")
        if kind == "meta"
        else TinyModel(type=GGMLType.Q4_1, types={"token_embd.weight": GGMLType.Q8_0}).write(
            tmp_path / "q.gguf"
        )
    )
    engine = load_engine(path, ModelSettings(threads=1))
    assert engine.info.dtype == (
        "Q4_1" if kind == "Q4_1" else "f32" if engine.info.dtype == "f32" else "bf16"
    )
    walk = Walk(engine, "the and you in the")
    assert walk.difference().kl < 1e-3
    for step in STEPS:
        view = walk.step(step.name, 1, 7)
        assert view.sentences
        assert (view.layer, view.head) == (1 if step.in_layer else None, 7 if step.in_head else None)
    said = walk.lens()[-1].token_ids[0]
    assert walk.step("token").tables[0].rows[0][0] == said


def test_one_token_and_what_cannot_be_walked_with(tiny: Path) -> None:
    engine = load_engine(tiny, ModelSettings(dtype="f32", threads=1))
    walk = Walk(engine, "the")
    for name in STEP_NAMES:
        assert walk.step(name).sentences
    assert list(walk.step("softmax").grids[0].values) == [1.0]
    assert walk.rollout() == (1.0,)
    for ids, words in (
        ([], "no tokens"),
        ([6] * 513, "513 tokens; the context has 512"),
        ([304], "no token 304"),
    ):
        with pytest.raises(PromptError, match=words):
            Walk(engine, ids)
    with pytest.raises(PromptError, match="30,000 tokens; a walk takes 2,000"):
        check_ids([6] * 30_000, engine.network.llama.config, 131_072)
    with pytest.raises(UsageError, match="no layer 3: the model has 2 layers"):
        walk.step("norm", 2)
    with pytest.raises(UsageError, match="no step"):
        walk.step("nonsense")


# --- the probe ----------------------------------------------------------------------------------------------


def called_in_a_step(engine: LocalEngine) -> list[CodeType]:
    """Every Python function that one decode step calls, in order."""
    network, codes = engine.network, []
    cache = network.new_cache()
    network.forward([7, 8, 9], cache, "last")

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            codes.append(frame.f_code)

    sys.setprofile(note)
    try:
        network.forward([10], cache, "last")
    finally:
        sys.setprofile(None)
    return codes


def test_without_a_probe_nothing_is_paid(tiny: Path) -> None:
    engine = load_engine(tiny, ModelSettings(dtype="f32", threads=1))
    llama, before = engine.network.llama, called_in_a_step(engine)
    assert not any(code.co_filename == probing_module.__file__ for code in before)
    assert before.count(attend.__code__) == llama.config.n_layers

    seen: list[tuple[str, int]] = []
    with probing(llama, lambda place, layer, _: seen.append((place, layer)), layers=(1,)):
        during = called_in_a_step(engine)
    assert len(during) > len(before)
    assert {layer for _, layer in seen} == {1, OUTSIDE}
    assert {place for place, _ in seen} == PLACES.keys()

    with pytest.raises(ZeroDivisionError), probing(llama, lambda place, layer, _: 1 / 0):  # type: ignore[arg-type, return-value]
        engine.network.forward([7], engine.network.new_cache(), "last")
    assert called_in_a_step(engine) == before
    for module in llama.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(block.attention.attend is attend for block in llama.blocks)


def test_attention_is_in_memory_for_one_group_at_a_time(tiny: Path) -> None:
    engine = load_engine(tiny, ModelSettings(dtype="f32", threads=1))
    sizes = []

    def see(place: str, _layer: int, values: Tensor) -> None:
        if place in ("scores", "masked", "weights"):
            sizes.append(tuple(values.shape))

    with probing(engine.network.llama, see):
        engine.network.forward(list(range(6, 56)), engine.network.new_cache(), "last")
    assert set(sizes) == {(4, 50, 50)}  # 8 heads share 2 key/value heads
    walk = Walk(engine, list(range(6, 56)))
    walk.step("softmax", 1, 3)
    assert walk._parts is not None
    assert walk._parts["weights"].shape == (50, 50)
    assert walk._parts["weights"].untyped_storage().nbytes() == 50 * 50 * 4


# --- the command --------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_every_line_fits_the_terminal_and_is_safe(
    home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for text, width in ((NASTY * 3, 80), ("the", 80), (NASTY, 48)):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert run("walk", text, "--layer", "2", "--head", "8", "--model", str(tiny)) == 0
        lines = terminal.getvalue().splitlines()
        assert max(map(cells_of, lines)) <= width
        assert is_safe(terminal.getvalue())
        for number, step in enumerate(STEPS, 1):
            assert any(line.startswith(f"{number}. {step.title}") for line in lines)


def test_json_and_pictures(
    home: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--layer", "2", "--head", "3", "--model", str(tiny))
    assert run("walk", "the and ", "--step", "mask", *at, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (step,) = found["steps"]
    assert (step["name"], step["layer"], step["head"]) == ("mask", 2, 3)
    assert [token["label"] for token in found["tokens"]] == ["the", "␣", "and", "␣"]
    assert step["shapes"] == {"scores + mask": [["T", 4], ["S", 4]]}
    is_cut = [[value is None for value in row] for row in step["grids"][0]["values"]]
    assert is_cut == [[column > row for column in range(4)] for row in range(4)]
    svg, page = tmp_path / "step.svg", tmp_path / "walk.html"
    assert run("walk", NASTY, "--step", "rope", *at, "--svg", str(svg)) == 0
    assert "layer 2 of 2 · head 3 of 8" in svg.read_text(encoding="utf-8")
    assert run("walk", NASTY, *at, "--html", str(page)) == 0
    text = page.read_text(encoding="utf-8")
    assert all(f'id="{name}"' in text for name in STEP_NAMES)
    assert "\x1b" not in text
    assert "&lt;|im_end|&gt;" in text or "<|im" not in text
    assert run("walk", "the", "--html", str(page), "--model", str(tiny)) == 1  # it is there already
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", [NASTY, "the " * 80])
def test_every_picture_is_well_formed(tiny: Path, text: str) -> None:
    """Of few numbers as rectangles, of many as an image."""
    walk = Walk(load_engine(tiny, ModelSettings(threads=1)), text)
    for name in STEP_NAMES:
        view = walk.step(name)
        picture = ElementTree.fromstring(step_svg(view, walk.facts))
        images = [part for part in picture.iter() if part.tag.endswith("image")]
        large = [grid for grid in view.grids if len(grid.values) > 4096]
        assert len(images) == len(large)
        for image in images:
            data = base64.b64decode(image.attrib["href"].partition(",")[2])
            assert data.startswith(b"\x89PNG")


def test_a_small_heat_map_shows_the_strongest_of_the_large_one() -> None:
    values = array("f", [0.0] * 600)
    values[7 * 30 + 11], values[12 * 30 + 3], values[19 * 30 + 29] = -3.0, 2.0, -math.inf
    grid = Grid("g", Axis("T", 20), Axis("K", 30), values, "signed", 3.0, -3.0, 2.0)
    small = pooled(grid, 10, 6)
    assert (small.rows.size, small.columns.size) == (10, 6)
    found = {(n, m): small.value(n, m) for n in range(10) for m in range(6) if small.value(n, m)}
    assert found == {(3, 2): -3.0, (6, 0): 2.0}
    assert small.rows.label(3) == "6"
    assert [glyph(grid, value) for value in (-3.0, -1.5, 0.0, 2.0, 9.0, -math.inf)] == list("≡~ ▓█×")
    assert pooled(grid, 20, 30) is grid


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["the", "--layer", "99"], 2, "There is no layer 99: the model has 2 layers. Give --layer 1 to 2."),
        (["the", "--head", "9"], 2, "There is no head 9: the model has 8 heads."),
        (["the", "--layer", "0"], 2, "--layer"),
        (["the", "--step", "tokens", "--layer", "1"], 2, "The step tokens has no layer."),
        (["the", "--step", "nothing"], 2, "nothing"),
        (["the", "--svg", "x.svg"], 2, "Name it with --step"),
        (["the", "--engine", "hf"], 2, "from-scratch engine"),
        (["the", "--temperature", "1"], 2, "--temperature"),
        (["the " * 30000], 1, "tokens; the context has 512"),
        ([""], 2, "There is no text."),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_computed(
    arguments: list[str],
    status: int,
    words: str,
    home: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("llama_chat.engine.load.build_engine", lambda *_: pytest.fail("loaded"))
    assert run("walk", *arguments, "--model", str(tiny)) == status
    assert words in " ".join(capsys.readouterr().err.split())


def test_logits_that_are_no_numbers_are_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = TinyModel(n_layers=3)
    damaged = whole.arrays()["blk.1.ffn_down.weight"].copy()
    damaged[3, 5] = np.nan
    path = replace(whole, values={"blk.1.ffn_down.weight": damaged}).write(tmp_path / "nan.gguf")
    assert run("walk", "the and", "--model", str(path)) == 1
    assert "no number (NaN) as a logit of the next token, from layer 2 on" in capsys.readouterr().err


def test_a_walk_until_a_token_is_that_of_the_shorter_text(tiny: Path) -> None:
    """Nothing that comes later changes what came before; the difference is that of other shapes."""
    engine = load_engine(tiny, ModelSettings(dtype="f32", threads=1))
    ids = list(range(40, 60))
    whole, short = Walk(engine, ids), Walk(engine, ids[:9])
    until = whole.until(8)
    assert until.facts == short.facts
    assert whole.until(19) is whole
    for name in STEP_NAMES:
        ours, theirs = until.step(name, 1, 3), short.step(name, 1, 3)
        assert (ours.step, ours.layer, ours.head) == (theirs.step, theirs.layer, theirs.head)
        for one, other in zip(ours.grids, theirs.grids, strict=True):
            assert list(one.values) == pytest.approx(list(other.values), abs=1e-5)
    assert until.heads_looking_at(2)[0].share == pytest.approx(short.heads_looking_at(2)[0].share, abs=1e-5)
    again = whole.step("softmax", 1, 3).grids[0]  # the cache of both is the same one
    assert list(again.values) == pytest.approx(list(Walk(engine, ids).step("softmax", 1, 3).grids[0].values))
    with pytest.raises(UsageError, match="no position 20"):
        whole.until(20)
