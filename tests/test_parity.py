"""The network against transformers on the same weights, and the fast 4-bit path against f32."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import TinyModel
from torch import Tensor
from transformers_peer import build_peer, load_peer

from llama_chat.conversation import Message, Role
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.engine.model import Llama
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.events import Finished, LiveSampling, Piece, Sampling, Token
from llama_chat.settings import ModelSettings
from llama_chat.template.chat_template import ChatTemplate

QUALITY_TEXT = Path(__file__).parent / "data" / "quality_text.txt"
QUESTIONS = (
    "What is two plus two?",
    "Write a haiku about the sea.",
    "Explain in two sentences why the sky is blue.",
)
KL_BOUND = 0.0015
"""Nats a position."""
NEW_TOKENS = 40


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    """Off line, and on one thread: two take ten times as long as soon as another process wants a core."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exact(default_model: Path) -> LocalEngine:
    """The default model with its weights unpacked to f32."""
    return load_engine(default_model, ModelSettings(dtype="f32", threads=1))


@pytest.fixture(scope="module")
def fast(default_model: Path) -> LocalEngine:
    """The default model as everybody runs it: 4-bit layers, 8-bit output."""
    return load_engine(default_model, ModelSettings(threads=1))


@pytest.fixture(scope="module")
def peer(default_model: Path) -> Any:
    """transformers' model with the same weights unpacked to f32."""
    return build_peer(default_model)


@pytest.fixture(scope="module")
def text_ids(exact: LocalEngine) -> list[int]:
    return exact.tokenizer.encode(QUALITY_TEXT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def exact_logits(exact: LocalEngine, text_ids: list[int]) -> Tensor:
    """Of the whole text, [T, V]."""
    return all_logits(exact.network, text_ids)


def chat_prompt(engine: LocalEngine, question: str) -> list[Piece]:
    template = ChatTemplate.of_model(engine.info)
    assert template is not None
    return template.render([Message("m", None, Role.USER, question, 0.0)], today="2026-11-22")


def all_logits(network: ScratchNetwork, ids: Sequence[int], chunk: int = 256) -> Tensor:
    """[T, V], the ids going through a fresh cache in chunks."""
    cache = network.new_cache()
    rows = [network.forward(ids[at : at + chunk], cache, "all") for at in range(0, len(ids), chunk)]
    return torch.cat([row for row in rows if row is not None])


@torch.inference_mode()
def peer_logits(model: Any, ids: Sequence[int], last: int = 0) -> Tensor:
    """[T, V] of all or of the last ids."""
    logits: Tensor = model(torch.tensor([list(ids)]), logits_to_keep=last, use_cache=False).logits[0]
    return logits


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference over the largest logit of its row."""
    return float(((ours - theirs).abs().amax(-1) / theirs.abs().amax(-1)).max())


# --- against transformers ---------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_replies_are_those_of_transformers(exact: LocalEngine, peer: Any, question: str) -> None:
    """Each of its choices given the ids before it: what its own greedy loop would have taken there."""
    pieces = chat_prompt(exact, question)
    prompt = exact.tokenizer.encode_pieces(pieces)
    sampling = LiveSampling(Sampling(temperature=0.0, max_new_tokens=NEW_TOKENS))
    events = list(exact.stream(pieces, sampling=sampling, seed=0))
    finished = events[-1]
    assert isinstance(finished, Finished)
    said = [event.token_id for event in events if isinstance(event, Token)]
    theirs = peer_logits(peer, [*prompt, *said], last=len(said) + 1).argmax(-1).tolist()
    assert said == theirs[:-1]
    if finished.reason == "end":
        assert theirs[-1] in exact.tokenizer.vocabulary.end_ids
    else:
        assert len(said) == NEW_TOKENS


def test_every_logit_is_that_of_transformers(exact_logits: Tensor, peer: Any, text_ids: list[int]) -> None:
    assert relative_difference(exact_logits[:100], peer_logits(peer, text_ids[:100])) < 1e-4


def test_logits_far_into_the_context_are_those_of_transformers(
    exact: LocalEngine, default_model: Path, text_ids: list[int]
) -> None:
    """3,000 positions through the first two layers; all thirty would take a minute."""
    ids = (text_ids * 6)[:3000]
    shallow = build_peer(default_model, n_layers=2)
    network = cut_to_layers(exact.network, 2)
    cache = network.new_cache()
    for at in range(0, 2990, 256):
        network.forward(ids[at : min(at + 256, 2990)], cache, "none")
    ours = network.forward(ids[2990:], cache, "all")
    assert ours is not None
    assert relative_difference(ours, peer_logits(shallow, ids, last=10)) < 1e-4


def cut_to_layers(network: ScratchNetwork, n_layers: int) -> ScratchNetwork:
    whole = network.llama
    config = replace(whole.config, n_layers=n_layers)
    blocks = list(whole.blocks[:n_layers])
    llama = Llama(config, whole.embedding, blocks, whole.norm, whole.head, whole.rotary)  # type: ignore[arg-type]
    return ScratchNetwork(llama, network.precision, network.info)


@dataclass(frozen=True)
class Variant:
    """A random Llama that differs from the default model; transformers reads its file by itself."""

    name: str
    model: TinyModel


VARIANTS = (
    Variant("output of its own", TinyModel(tied=False, context_length=4096)),
    Variant("every head has its own keys", TinyModel(n_kv_heads=8, context_length=4096)),
    Variant("one head of keys for all", TinyModel(n_kv_heads=1, context_length=4096, seed=3)),
    Variant("slow turns", TinyModel(context_length=4096, metadata={"llama.rope.freq_base": 500000.0})),
)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_other_shapes_of_llama_are_computed_as_transformers_does(variant: Variant, tmp_path: Path) -> None:
    path = variant.model.write(tmp_path / "tiny.gguf")
    engine = load_engine(path, ModelSettings(dtype="f32", threads=1))
    ids = torch.randint(0, 300, (2000,), generator=torch.Generator().manual_seed(1)).tolist()
    ours, theirs = all_logits(engine.network, ids), peer_logits(load_peer(path), ids)
    for positions in (slice(0, 8), slice(900, 908), slice(1992, 2000)):
        assert relative_difference(ours[positions], theirs[positions]) < 1e-4


def test_both_ways_to_an_oracle_lead_to_the_same(tmp_path: Path) -> None:
    path = VARIANTS[0].model.write(tmp_path / "tiny.gguf")
    ids = list(range(6, 300, 3))
    assert relative_difference(peer_logits(build_peer(path), ids), peer_logits(load_peer(path), ids)) < 1e-5


# --- against itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "chunk"), [(300, 300), (200, 41), (16, 1)])
def test_the_size_of_the_chunks_makes_no_difference(
    exact: LocalEngine, exact_logits: Tensor, text_ids: list[int], length: int, chunk: int
) -> None:
    """Prefilled whole, in odd chunks, or step by step, instead of 256 at a time."""
    ours = all_logits(exact.network, text_ids[:length], chunk)
    assert relative_difference(ours, exact_logits[:length]) < 1e-4


def test_logits_of_none_of_the_last_and_of_all_belong_together(
    exact: LocalEngine, text_ids: list[int]
) -> None:
    network, cache = exact.network, exact.network.new_cache()
    assert network.forward(text_ids[:10], cache, "none") is None
    assert cache.length == 10
    last = network.forward(text_ids[10:20], cache, "last")
    assert last is not None
    assert last.shape == (exact.info.vocab_size,)
    assert last.dtype == torch.float32
    cache.rewind(10)
    every = network.forward(text_ids[10:20], cache, "all")
    assert every is not None
    assert every.shape == (10, exact.info.vocab_size)
    assert relative_difference(last, every[-1]) < 1e-5


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_a_fork_goes_its_own_way(engine: str, text_ids: list[int], request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(engine).network
    cache = network.new_cache()
    network.forward(text_ids[:50], cache, "none")
    fork = cache.fork()
    other = network.forward(text_ids[200:230], fork, "last")
    first = network.forward(text_ids[50:80], cache, "last")
    assert (cache.length, fork.length) == (80, 80)
    fresh = network.new_cache()
    network.forward(text_ids[:50], fresh, "none")
    assert torch.equal(first, network.forward(text_ids[50:80], fresh, "last"))
    fresh.rewind(50)
    assert torch.equal(other, network.forward(text_ids[200:230], fresh, "last"))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_a_rewound_cache_has_forgotten(
    engine: str, text_ids: list[int], request: pytest.FixtureRequest
) -> None:
    network = request.getfixturevalue(engine).network
    cache, fresh = network.new_cache(), network.new_cache()
    network.forward(text_ids[:40], fresh, "none")
    network.forward(text_ids[:40], cache, "none")
    network.forward(text_ids[100:400], cache, "none")  # beyond the first growth of the cache
    assert cache.rewind(40) == 40
    again = network.forward(text_ids[40:60], cache, "last")
    expected = network.forward(text_ids[40:60], fresh, "last")
    assert relative_difference(again, expected) < (1e-5 if engine == "exact" else 2e-2)


# --- the price of 4 bits ----------------------------------------------------------------------------


def perplexity(logits: Tensor, ids: Sequence[int]) -> float:
    """Of the ids, each given those before it."""
    targets = torch.tensor(ids[1:])
    return float(torch.nn.functional.cross_entropy(logits[:-1], targets).exp())


def mean_kl(exact: Tensor, other: Tensor) -> float:
    """KL(exact ‖ other), nats a position."""
    p, q = exact.log_softmax(-1), other.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_the_fast_path_stays_close_to_f32(
    fast: LocalEngine, exact_logits: Tensor, text_ids: list[int]
) -> None:
    """Measured 2026-11-22 over 555 tokens: KL 0.0007, perplexity 17.70 against 17.68 in f32."""
    found = all_logits(fast.network, text_ids)
    assert mean_kl(exact_logits, found) < KL_BOUND
    assert perplexity(exact_logits, text_ids) == pytest.approx(17.68, rel=0.001)
    assert perplexity(found, text_ids) == pytest.approx(17.68, rel=0.01)


def test_the_steps_of_the_fast_path_stay_close_to_f32_too(
    fast: LocalEngine, exact_logits: Tensor, text_ids: list[int]
) -> None:
    """One row at a time goes through other kernels than a prefill. Over the first 64 tokens: KL 0.0010."""
    found = all_logits(fast.network, text_ids[:64], chunk=1)
    assert mean_kl(exact_logits[:64], found) < KL_BOUND
