"""The transformers engine: its networks under our loop, against the library's own models."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_hf import TinyHF
from tiny_library import FAMILIES, N_TOKENS, write_family
from tiny_meta import TinyMeta
from tiny_models import TinyModel
from torch import Tensor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llama_chat.engine import sweep
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.hf import build, placement
from llama_chat.engine.hf import load as hf_load
from llama_chat.engine.hf.cache import HfCache
from llama_chat.engine.hf.network import HfNetwork
from llama_chat.engine.load import load_engine
from llama_chat.errors import DeviceError, Interrupted, LlamaChatError, ModelError
from llama_chat.events import Event, Failed, LiveSampling, Loading, Prefilled, Sampling, Text, Token
from llama_chat.settings import ModelSettings
from llama_chat.sweep.columns import SweepColumn
from llama_chat.sweep.gathered import SweepReplies

PROMPT = "The other day you and the ringmaster sang in the rain, and then he went on and on. "


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_family(root / name, name) for name in FAMILIES}


def open_model(path: Path, **settings: Any) -> LocalEngine:
    return load_engine(path, ModelSettings(**{"threads": 1, "dtype": "f32", **settings}))


def refusal(path: Path, **settings: Any) -> LlamaChatError:
    with pytest.raises(LlamaChatError) as caught:
        open_model(path, **settings)
    assert "\n" not in str(caught.value)
    return caught.value


def reply(engine: LocalEngine, text: str = PROMPT, count: int = 12, **sampling: Any) -> list[Event]:
    wanted = Sampling(**{"temperature": 0.0, "max_new_tokens": count, **sampling})
    return list(engine.stream([Text(text)], sampling=LiveSampling(wanted), seed=3))


def ids_of(events: list[Event]) -> list[int]:
    return [event.token_id for event in events if isinstance(event, Token)]


@torch.inference_mode()
def greedy_by_the_library(folder: Path, ids: list[int], count: int, end_ids: frozenset[int]) -> list[int]:
    """Everything anew for every token: no cache that could be wrong."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: list[int] = []
    for _ in range(count):
        logits = model(input_ids=torch.tensor([[*ids, *found]])).logits[0, -1]
        best = int(logits.argmax())
        if best in end_ids:
            break
        found.append(best)
    return found


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    return float(((ours - theirs).abs().amax(-1) / theirs.abs().amax(-1)).max())


def all_logits(network: Any, ids: list[int], chunk: int = 100) -> Tensor:
    cache = network.new_cache()
    return torch.cat(
        [network.forward(ids[at : at + chunk], cache, "all") for at in range(0, len(ids), chunk)]
    )


# --- any architecture that transformers knows --------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_that_we_do_not_read_is_answered_by_transformers(
    folders: dict[str, Path], family: str
) -> None:
    engine = open_model(folders[family])
    info = engine.info
    assert (info.engine, info.architecture, info.name) == ("hf", family, family)
    assert (info.dtype, info.device, info.vocab_size) == ("f32", "cpu", N_TOKENS)
    assert info.engine_reason
    prompt = engine.tokenizer.encode(PROMPT)
    assert len(prompt) > 24  # more than a window
    end_ids = engine.tokenizer.vocabulary.end_ids
    assert end_ids
    said = ids_of(reply(engine))
    assert said == greedy_by_the_library(folders[family], prompt, 12, end_ids)
    assert len(said) == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_chunks_steps_and_what_is_reused_make_no_difference(folders: dict[str, Path], family: str) -> None:
    engine = open_model(folders[family])
    network = engine.network
    ids = engine.tokenizer.encode(PROMPT * 2)
    whole = all_logits(network, ids, len(ids))
    for chunk in (1, 7, 40):
        assert relative_difference(all_logits(network, ids, chunk), whole) < 1e-4
    cache = network.new_cache()
    assert network.forward(ids[:30], cache, "none") is None
    kept = cache.rewind(20)
    assert kept == cache.length == {"mistral": 0, "gemma3_text": 0, "mamba": 0}.get(family, 20)
    last = network.forward(ids[kept:50], cache, "last")
    assert last is not None
    assert (last.shape, last.dtype) == ((N_TOKENS,), torch.float32)
    assert relative_difference(last, whole[49]) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fork_goes_its_own_way(folders: dict[str, Path], family: str) -> None:
    engine = open_model(folders[family])
    network, ids = engine.network, engine.tokenizer.encode(PROMPT)
    cache = network.new_cache()
    network.forward(ids[:20], cache, "none")
    fork = cache.fork()
    other = network.forward(ids[5:9], fork, "last")
    first = network.forward(ids[20:26], cache, "last")
    assert (cache.length, fork.length) == (26, 24)
    assert relative_difference(first, all_logits(network, ids[:26])[-1]) < 1e-4
    assert relative_difference(other, all_logits(network, [*ids[:20], *ids[5:9]])[-1]) < 1e-4


@pytest.mark.parametrize("has_room", [True, False], ids=["at-once", "in-turns"])
@pytest.mark.parametrize("family", FAMILIES)
def test_columns_of_a_sweep_are_what_replies_are(
    folders: dict[str, Path], family: str, has_room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turns, a cache that cannot be cut is computed again."""
    if not has_room:
        monkeypatch.setattr(sweep, "_room_for", lambda *_: 0)
    columns = [SweepColumn(Sampling(temperature=value, max_new_tokens=6), 3) for value in (0.0, 0.7, 2.0)]
    replies = SweepReplies.of(columns)
    for event in open_model(folders[family]).sweep([Text(PROMPT)], columns, threading.Event()):
        replies.feed(event)
    assert replies.at_once == (0 if has_room else 1)
    for column, found in zip(columns, replies.columns, strict=True):
        events = open_model(folders[family]).stream(
            [Text(PROMPT)], sampling=LiveSampling(column.sampling), seed=3
        )
        assert [token.token_id for token in found.tokens] == ids_of(list(events))


def test_a_short_rewind_within_the_window_keeps_what_it_can(folders: dict[str, Path]) -> None:
    network = open_model(folders["mistral"]).network
    cache = network.new_cache()
    network.forward(list(range(6, 20)), cache, "none")
    assert cache.rewind(10) == 10  # of a window of 24, which has let nothing go yet
    assert cache.rewind(99) == 10
    assert cache.rewind(-1) == 0


def test_the_next_turn_uses_the_prefix_again(folders: dict[str, Path]) -> None:
    engine = open_model(folders["qwen2"])
    reply(engine)
    events = reply(engine, PROMPT + "and then what?")
    prefilled = events[0]
    assert isinstance(prefilled, Prefilled)
    assert prefilled.reused_tokens > 20
    assert ids_of(events) == ids_of(reply(open_model(folders["qwen2"]), PROMPT + "and then what?"))


def test_a_failed_forward_leaves_no_half_filled_cache(folders: dict[str, Path]) -> None:
    engine = open_model(folders["qwen2"])
    network = engine.network
    ids = engine.tokenizer.encode(PROMPT)
    cache = network.new_cache()
    assert isinstance(cache, HfCache)
    network.forward(ids[:10], cache, "none")

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    assert isinstance(network, HfNetwork)
    handle = network.model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError):
        network.forward(ids[10:12], cache, "last")
    handle.remove()
    assert cache.length == 0
    again = network.forward(ids[:12], cache, "last")
    assert relative_difference(again, all_logits(network, ids[:12])[-1]) < 1e-5


def test_what_the_library_raises_ends_the_reply(folders: dict[str, Path]) -> None:
    engine = open_model(folders["qwen2"])
    assert isinstance(engine.network, HfNetwork)

    def fail(*_: Any) -> None:
        raise ValueError("no such layer\nat all")

    handle = engine.network.model.model.layers[1].register_forward_pre_hook(fail)
    last = reply(engine)[-1]
    assert isinstance(last, Failed)
    assert last.error.message == "transformers failed while the model was running: ValueError: no such layer"
    handle.remove()
    assert len(ids_of(reply(engine))) == 12


def test_a_model_without_a_cache_says_so(folders: dict[str, Path]) -> None:
    assert any(
        "keeps nothing between tokens" in line for line in open_model(folders["openai-gpt"]).info.notices
    )
    assert open_model(folders["qwen2"]).info.notices == ()


def test_a_model_without_a_length_of_context_takes_what_is_asked(folders: dict[str, Path]) -> None:
    info = open_model(folders["mamba"]).info
    assert info.context_length == 8192
    assert "names no length of context" in info.notices[0]
    info = open_model(folders["mamba"], context=300).info
    assert (info.context_length, info.notices) == (300, ())


def test_rows_beyond_the_tokenizer_are_never_chosen(tmp_path: Path) -> None:
    engine = open_model(write_family(tmp_path / "padded", "qwen2", vocab_size=N_TOKENS + 16))
    assert engine.info.vocab_size == N_TOKENS
    assert len(ids_of(reply(engine, count=40, temperature=9.0))) > 1
    assert max(ids_of(reply(engine, count=40, temperature=9.0))) < N_TOKENS


def test_a_gguf_of_another_family(tmp_path: Path) -> None:
    biases = {
        f"blk.{layer}.attn_{name}.bias": np.full(width, 0.1, dtype=np.float32)
        for layer in range(2)
        for name, width in (("q", 256), ("k", 64), ("v", 64))
    }
    path = TinyModel(architecture="qwen2", extra=biases).write(tmp_path / "tiny-qwen.gguf")
    engine = open_model(path)
    assert (engine.info.engine, engine.info.architecture, engine.info.name) == ("hf", "qwen2", "tiny-qwen")
    assert len(engine.info.fingerprint) == 16
    assert reply(engine)[-1].reason in ("length", "end")  # type: ignore[union-attr]  # Finished


# --- a Llama: both engines on the same weights -------------------------------------------------------

LLAMA3_SCALING = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LLAMAS: dict[str, TinyModel | TinyHF | TinyMeta] = {
    "GGUF": TinyModel(),
    "GGUF in 4 bits": TinyModel(types={"blk.0.attn_q.weight": 3}),  # type: ignore[dict-item]  # Q4_1
    "an output of its own": TinyModel(tied=False, seed=2),
    "one head of keys": TinyModel(n_kv_heads=1, seed=3),
    "divisors of RoPE": TinyModel(rope_freqs=np.linspace(1, 8, 16)),
    "stretched": TinyModel(metadata={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}),
    "Meta's folder": TinyMeta(),
    "a folder": TinyHF(shards=2),
    "a folder with Llama 3's scaling": TinyHF(config={"rope_scaling": LLAMA3_SCALING}),
}


@pytest.mark.parametrize("name", LLAMAS)
def test_both_engines_say_the_same_of_a_llama(tmp_path: Path, name: str) -> None:
    tiny = LLAMAS[name]
    path = tiny.write(tmp_path / ("tiny.gguf" if isinstance(tiny, TinyModel) else "tiny"))
    ours, theirs = open_model(path, engine="scratch"), open_model(path, engine="hf")
    assert (ours.info.engine, theirs.info.engine) == ("scratch", "hf")
    assert ours.info.fingerprint == theirs.info.fingerprint
    assert ours.info.parameters == theirs.info.parameters
    ids = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(1)).tolist()
    assert relative_difference(all_logits(ours.network, ids), all_logits(theirs.network, ids)) < 1e-4
    warm = {"temperature": 0.9, "top_k": 40, "count": 40}
    assert ids_of(reply(ours, **warm)) == ids_of(reply(theirs, **warm))


def test_the_default_model_says_the_same_in_transformers(default_model: Path) -> None:
    ours, theirs = (open_model(default_model, engine=engine) for engine in ("scratch", "hf"))
    question = "The capital of France is"
    assert ids_of(reply(theirs, question, 16)) == ids_of(reply(ours, question, 16))
    assert theirs.info.parameters == 134_515_008
    assert theirs.info.weights_bytes == pytest.approx(4 * 134_515_008, rel=0.001)
    for engine in (theirs, ours) if sys.platform == "linux" else ():
        before = resident_bytes()
        engine.close()
        assert before - resident_bytes() > 0.9 * engine.info.weights_bytes


def resident_bytes() -> int:
    """What the process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_the_dtype_is_what_was_asked_for(tmp_path: Path) -> None:
    path = TinyModel().write(tmp_path / "tiny.gguf")
    for asked, runs_in in (("auto", torch.bfloat16), ("bf16", torch.bfloat16), ("f16", torch.float16)):
        engine = open_model(path, engine="hf", dtype=asked)
        assert isinstance(engine.network, HfNetwork)
        assert engine.network.model.dtype is runs_in
        assert engine.info.dtype == ("bf16" if asked == "auto" else asked)


# --- silence ------------------------------------------------------------------------------------------


ANSWER = """
import socket, sys
def refuse(*_):
    raise AssertionError("a connection was opened")
socket.socket.connect = socket.getaddrinfo = refuse
from test_hf_engine import Path, open_model, reply
for path in sys.argv[1:]:
    reply(open_model(Path(path), engine="hf"), count=2)
"""


def test_nothing_is_printed_and_nobody_is_called(folders: dict[str, Path], tmp_path: Path) -> None:
    """In a process of its own: the library gives some of its warnings only once."""
    llama = TinyModel().write(tmp_path / "tiny.gguf")
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, folders["mamba"], folders["gpt2"], llama],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent,
        env={name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


IMPORTS = """
import sys
import llama_chat.engine.choose
assert not {"torch", "transformers", "accelerate"} & set(sys.modules)
import llama_chat.engine.load, llama_chat.engine.hf.load, llama_chat.engine.verify.verify
assert not {"transformers", "accelerate"} & set(sys.modules)
"""


def test_the_library_is_imported_only_where_it_is_used() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, timeout=120)


# --- what cannot be --------------------------------------------------------------------------------------


def changed(folder: Path, target: Path, **config: Any) -> Path:
    """A copy of the folder with other fields in its config.json; None takes one out."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).symlink_to(file)
    said = json.loads((folder / "config.json").read_text()) | config
    (target / "config.json").unlink()
    (target / "config.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))
    return target


def test_the_from_scratch_engine_says_where_to_go(folders: dict[str, Path]) -> None:
    error = refusal(folders["qwen2"], engine="scratch")
    assert "the architecture is 'qwen2', not of the Llama family" in error.message
    assert "--engine hf" in error.hint


def test_loading_by_the_library_is_heard_tensor_by_tensor(folders: dict[str, Path]) -> None:
    heard: list[Loading] = []
    load_engine(folders["qwen2"], ModelSettings(threads=1, dtype="f32"), heard.append)
    fractions = [loading.fraction for loading in heard if loading.what == "weights"]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 10  # of 26 tensors
    assert fractions[-1] == 1.0


def test_loading_by_the_library_can_be_stopped_half_way(folders: dict[str, Path]) -> None:
    cancel = threading.Event()

    def report(loading: Loading) -> None:
        if loading.fraction > 0.4:
            cancel.set()

    with pytest.raises(Interrupted):
        load_engine(folders["qwen2"], ModelSettings(threads=1, dtype="f32"), report, cancel)
    assert open_model(folders["qwen2"]).info.engine == "hf"  # nothing of the hook stays behind


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_few_bits_are_made_by_the_other_engine(folders: dict[str, Path], dtype: str) -> None:
    error = refusal(folders["qwen2"], dtype=dtype)
    assert error.message == f"--dtype {dtype} is made by the from-scratch engine, not by transformers"
    assert "bf16" in error.hint


def test_an_architecture_that_nobody_knows(folders: dict[str, Path], tmp_path: Path) -> None:
    error = refusal(changed(folders["qwen2"], tmp_path / "odd", model_type="frobnicator"))
    assert isinstance(error, ModelError)
    assert error.message.startswith(
        "odd/config.json: the architecture is 'frobnicator', not of the Llama family; "
        "transformers does not know this model: ValueError: "
    )


def test_a_model_that_writes_no_text(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["qwen2"], tmp_path / "picture", model_type="vit", architectures=["ViTModel"])
    message = refusal(folder).message
    assert message.startswith("picture/config.json: the architecture is 'vit'")
    assert "transformers has no text model for it: ValueError: " in message


def test_a_rope_that_nobody_knows_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    scaling = {"rope_type": "wiggle", "factor": 2.0}
    folder = TinyHF(config={"rope_scaling": scaling}).write(tmp_path / "odd")
    for engine in ("auto", "hf"):
        assert refusal(folder, engine=engine).message == (
            "odd/config.json: RoPE is scaled as 'wiggle'; the from-scratch engine knows 'default', 'linear' "
            "and 'llama3'; transformers knows no RoPE of the type 'wiggle', "
            f"but {', '.join(sorted(ROPE_INIT_FUNCTIONS))}"
        )
    assert "knows 'default', 'linear' and 'llama3'" in refusal(folder, engine="scratch").message


def test_weights_that_are_not_all_there(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["qwen2"], tmp_path / "deeper", num_hidden_layers=3, layer_types=None)
    error = refusal(folder)
    assert error.message.startswith("deeper: 12 tensors are missing, model.layers.2.")
    assert "not complete" in error.hint


def test_weights_of_another_size(folders: dict[str, Path], tmp_path: Path) -> None:
    error = refusal(changed(folders["qwen2"], tmp_path / "wide", intermediate_size=128))
    assert error.message.startswith("wide: transformers cannot load it: ")


def test_a_damaged_file(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["qwen2"], tmp_path / "cut")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(whole[: len(whole) // 2])
    assert refusal(folder).message.startswith("cut: transformers cannot load it: ")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "small", "qwen2", vocab_size=N_TOKENS - 10)
    assert refusal(folder).message == f"small: {N_TOKENS} tokens, but {N_TOKENS - 10} rows of embeddings"


def test_a_context_longer_than_the_model_s(folders: dict[str, Path]) -> None:
    error = refusal(folders["gpt2"], context=513)
    assert error.message == "gpt2 was made for a context of 512 tokens, not of 513"
    assert open_model(folders["gpt2"], context=100).info.context_length == 100


def test_code_in_the_folder_is_never_run(folders: dict[str, Path], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w')\nclass Config: pass\nclass Model: pass\n"
    folder = changed(
        folders["qwen2"],
        tmp_path / "trap",
        model_type="trapped",
        auto_map={"AutoConfig": "trap.Config", "AutoModelForCausalLM": "trap.Model"},
    )
    (folder / "trap.py").write_text(code)
    assert refusal(folder).message.startswith("trap/config.json: the architecture is 'trapped'")
    assert not canary.exists()


def test_weights_that_are_no_numbers_end_the_reply(tmp_path: Path) -> None:
    values = np.ones((512, 256), dtype=np.float32)
    values[3, 5] = np.nan
    path = TinyModel(values={"blk.1.ffn_gate.weight": values}).write(tmp_path / "nan.gguf")
    engine = open_model(path, engine="hf")
    last = reply(engine)[-1]
    assert isinstance(last, Failed)
    assert "no number (NaN)" in last.error.message
    assert engine.live.ids == []  # nor are its keys and values taken again


# --- memory -------------------------------------------------------------------------------------------


def test_closing_frees_the_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    for path in (folders["qwen2"], TinyModel().write(tmp_path / "tiny.gguf")):
        engine = open_model(path, engine="hf")
        reply(engine, count=2)
        assert isinstance(engine.network, HfNetwork)
        weights = [weakref.ref(tensor) for tensor in engine.network.model.parameters()]
        engine.close()
        assert [ref for ref in weights if ref() is not None] == []


def test_no_memory_for_the_weights_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Tensor]] = []
    whole = build._weight

    def weight(*args: Any) -> Tensor:
        if len(made) == 5:
            torch.empty(1 << 50)
        made.append(weakref.ref(tensor := whole(*args)))
        return tensor

    monkeypatch.setattr(build, "_weight", weight)
    path = TinyModel().write(tmp_path / "tiny.gguf")
    error = refusal(path, engine="hf")
    assert isinstance(error, DeviceError)
    assert error.message.startswith("cpu has not enough memory for tiny.gguf: ")
    assert "are free" in error.message
    assert "--dtype" in error.hint
    gc.collect()
    assert [ref for ref in made if ref() is not None] == []


def test_too_little_memory_is_known_before_anything_is_loaded(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "free_memory", lambda device: 100)
    monkeypatch.setattr(build, "_weight", None)
    monkeypatch.setattr(hf_load, "load_by_library", None)
    for path in (folders["qwen2"], TinyModel().write(tmp_path / "tiny.gguf")):
        error = refusal(path, engine="hf")
        assert isinstance(error, DeviceError)
        assert error.message.endswith("in transformers; free are 100 B on cpu.")


def test_loading_can_be_stopped(tmp_path: Path, folders: dict[str, Path]) -> None:
    cancel = threading.Event()
    cancel.set()
    for path in (folders["qwen2"], TinyModel().write(tmp_path / "tiny.gguf")):
        with pytest.raises(Interrupted):
            load_engine(path, ModelSettings(engine="hf", threads=1), lambda _: None, cancel)


def test_layers_are_spread_over_the_devices_in_order(tmp_path: Path) -> None:
    """By the sizes alone: no GPU is touched."""
    from llama_chat.engine.model_file import read_model_file

    model = read_model_file(TinyModel(n_layers=6, tied=False).write(tmp_path / "tiny.gguf"))
    skeleton = build.build_skeleton(model.config)
    first, second, cpu = torch.device("cuda", 0), torch.device("cuda", 1), torch.device("cpu")
    layer = sum(p.numel() * 2 for p in skeleton.model.layers[0].parameters())
    free = {first: 5 * layer, second: 3 * layer, cpu: 20 * layer}
    found = placement.spread(skeleton, torch.bfloat16, free)
    places = [found.device_of(f"model.layers.{n}.mlp.up_proj.weight") for n in range(6)]
    assert places == sorted(places, key=[first, second, cpu].index)
    assert set(places) == {first, second, cpu}
    assert (found.device, found.is_spread) == (first, True)
    assert found.label == "cuda:0 + cuda:1 + cpu"
    for n in range(6):  # a layer is never cut
        names = [name for name, _ in skeleton.named_parameters() if f"layers.{n}." in name]
        assert len({found.device_of(name) for name in names}) == 1
    with pytest.raises(DeviceError, match=r"needs \d+ MB in transformers; free are 1 kB on cuda:0") as caught:
        placement.spread(skeleton, torch.bfloat16, dict.fromkeys(free, 1000))
    assert "smaller model" in caught.value.hint
