"""From a path and settings to an engine: what a user can get wrong, and what is said about it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import CHATML, TinyModel, tiny_vocabulary

from llama_chat.engine import devices, scratch
from llama_chat.engine.config import OTHER_ENGINE
from llama_chat.engine.devices import find_device, is_out_of_memory, torch_build
from llama_chat.engine.files.find import find_model_files
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.load import load_engine
from llama_chat.errors import DeviceError, Interrupted, LlamaChatError, ModelError
from llama_chat.events import Finished, LiveSampling, Loading, Sampling, Text, Token
from llama_chat.settings import ModelSettings


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel(n_layers=1).write(tmp_path_factory.mktemp("models") / "tiny.gguf")


def open_model(path: Path, **settings: Any) -> LocalEngine:
    return load_engine(path, ModelSettings(**{"threads": 1, **settings}))


def refusal(path: Path, **settings: Any) -> LlamaChatError:
    with pytest.raises(LlamaChatError) as caught:
        open_model(path, **settings)
    assert "\n" not in str(caught.value)
    return caught.value


# --- what is loaded --------------------------------------------------------------------------------


def test_a_model_says_what_it_is(tiny: Path) -> None:
    engine = open_model(tiny)
    info = engine.info
    assert (info.name, info.path, info.engine, info.architecture) == ("tiny", str(tiny), "scratch", "llama")
    assert (info.device, info.threads, info.torch) == ("cpu", 1, torch.__version__)
    assert (info.context_length, info.vocab_size, info.chat_template) == (512, 304, CHATML)
    assert info.parameters == sum(int(np.prod(shape)) for shape in TinyModel(n_layers=1).shapes.values())
    assert (info.bos_text, info.eos_text, info.visible_tokens) == ("<|im_start|>", "<|im_end|>", ())
    assert engine.count_tokens([Text("hello")]) == 2


def test_the_default_model_loads_from_its_folder(home_with_model: Path) -> None:
    folder = home_with_model / "data" / "models"
    info = open_model(folder, threads=2).info
    assert (info.name, info.dtype, info.context_length) == ("SmolLM2-135M-Instruct", "Q4_1", 8192)
    assert (info.parameters, info.threads) == (134_515_008, 2)


def test_progress_rises_and_names_what_it_does(tiny: Path) -> None:
    heard: list[Loading] = []
    load_engine(tiny, ModelSettings(threads=1), heard.append)
    assert [event.what for event in heard[:2]] == ["header", "weights"]
    assert {event.what for event in heard[2:]} == {"weights"}
    fractions = [event.fraction for event in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_loading_can_be_stopped(tiny: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        load_engine(tiny, ModelSettings(threads=1), lambda _: None, cancel)


def test_the_fingerprint_names_the_weights(tmp_path: Path, tiny: Path) -> None:
    same = TinyModel(n_layers=1).write(tmp_path / "other-name.gguf")
    other = TinyModel(n_layers=2).write(tmp_path / "other.gguf")
    prints = [open_model(path).info.fingerprint for path in (tiny, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_threads(tiny: Path) -> None:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert open_model(tiny, threads=1).info.threads == 1 == torch.get_num_threads()
    assert open_model(tiny, threads=0).info.threads == available == torch.get_num_threads()
    assert open_model(tiny, threads=999).info.threads == available


# --- paths -----------------------------------------------------------------------------------------


def test_no_such_path(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").message == f"{tmp_path / 'none'}: there is no such file or folder"
    assert "cannot be read" in refusal(tmp_path / ("x" * 5000)).message


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder.gguf.d").mkdir()
    error = refusal(tmp_path)
    assert "no weights in this folder" in error.message
    assert ".gguf" in error.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", "there is no config.json in this folder"),
        ("pytorch_model.bin", "holds pytorch_model.bin, pickled weights"),
        ("consolidated.00.pth", "consolidated.00.pth"),
    ],
)
def test_a_folder_whose_weights_are_not_whole(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).touch()
    assert words in refusal(tmp_path, engine="scratch").message


def test_a_folder_with_several_models(tmp_path: Path, tiny: Path) -> None:
    for n in range(8):
        (tmp_path / f"m{n}.gguf").symlink_to(tiny)
    error = refusal(tmp_path)
    assert "8 models in it: m0.gguf, m1.gguf, m2.gguf, m3.gguf, m4.gguf and 3 more" in error.message
    assert str(tmp_path / "m0.gguf") in error.hint


def test_a_folder_with_one_model_among_other_files(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "MODEL.GGUF").symlink_to(tiny)
    assert find_model_files(tmp_path).files == (tmp_path / "MODEL.GGUF",)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such files here")
def test_neither_file_nor_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert "cannot be read" in refusal(Path("s")).message


# --- files -----------------------------------------------------------------------------------------


def test_a_file_that_is_cut_short(tmp_path: Path, tiny: Path) -> None:
    whole = tiny.read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in (0, 3, 100, 5000, len(whole) // 2, len(whole) - 100):
        cut.write_bytes(whole[:length])
        assert "cut.gguf" in refusal(cut).message


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "picture.gguf"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert "not a GGUF file" in refusal(path).message


WRONG: dict[str, tuple[TinyModel, str]] = {
    "another family": (TinyModel(architecture="qwen3"), "architecture is 'qwen3', not of the Llama family"),
    "experts": (TinyModel(metadata={"llama.expert_count": 8}), "a mixture of experts"),
    "a part of a split model": (TinyModel(metadata={"split.count": 3}), "one of 3 parts"),
    "no size": (TinyModel(metadata={"llama.block_count": None}), "has no 'llama.block_count'"),
    "a size of text": (TinyModel(metadata={"llama.block_count": "two"}), "'llama.block_count' is a str"),
    "a size of nothing": (TinyModel(metadata={"llama.attention.head_count": 0}), "attention.head_count is 0"),
    "a size beyond reason": (TinyModel(metadata={"llama.block_count": 2**31}), "block_count is 2147483648"),
    "layers that are not there": (TinyModel(metadata={"llama.block_count": 3}), "no tensor 'blk.2.attn_norm"),
    "more layers than tensors": (TinyModel(metadata={"llama.block_count": 999}), "999 layers, but only 20"),
    "layers too many": (TinyModel(metadata={"llama.block_count": 1}), "no use for the tensor blk.1.attn_"),
    "another width": (
        TinyModel(metadata={"llama.feed_forward_length": 256}),
        "ffn_gate.weight has the shape",
    ),
    "heads that do not group": (TinyModel(metadata={"llama.attention.head_count_kv": 3}), "cannot share 3"),
    "no eps": (
        TinyModel(metadata={"llama.attention.layer_norm_rms_epsilon": float("nan")}),
        "epsilon is nan",
    ),
    "half a rotation": (TinyModel(metadata={"llama.rope.dimension_count": 16}), "turns 16 of 32 values"),
    "another vocabulary": (
        TinyModel(vocabulary=tiny_vocabulary(310), values={"token_embd.weight": np.zeros((304, 256))}),
        "310 tokens, but 304 rows of embeddings",
    ),
    "no tokenizer": (TinyModel(metadata={"tokenizer.ggml.model": None}), "has no 'tokenizer.ggml.model'"),
}


@pytest.mark.parametrize(("model", "message"), WRONG.values(), ids=WRONG)
def test_models_that_cannot_run(tmp_path: Path, model: TinyModel, message: str) -> None:
    error = refusal(model.write(tmp_path / "wrong.gguf"), engine="scratch")
    assert isinstance(error, ModelError)
    assert error.message.startswith("wrong.gguf: ")
    assert message in error.message
    assert error.hint


def test_other_families_are_told_which_engine_could_run_them(tmp_path: Path) -> None:
    path = TinyModel(architecture="gemma3", metadata={"tokenizer.ggml.model": "llama"}).write(
        tmp_path / "g.gguf"
    )
    assert refusal(path, engine="scratch").hint == OTHER_ENGINE


# --- the context -----------------------------------------------------------------------------------


def test_a_context_longer_than_the_model_s_is_refused(tiny: Path) -> None:
    error = refusal(tiny, context=513)
    assert error.message == "tiny.gguf was made for a context of 512 tokens, not of 513"
    assert "--context 512" in error.hint
    assert open_model(tiny, context=512).info.context_length == 512
    assert open_model(tiny, context=0).info.context_length == 512


def test_a_shorter_context_ends_the_reply(tiny: Path) -> None:
    engine = open_model(tiny, context=12)
    events = list(engine.stream([Text("hello")], sampling=LiveSampling(Sampling(temperature=5.0)), seed=1))
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.usage.context_length == 12
    assert last.reason in ("length", "end")
    assert sum(isinstance(event, Token) for event in events) <= 10


# --- devices ---------------------------------------------------------------------------------------

NO_GPU = pytest.mark.skipif(
    torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available(),
    reason="this machine has a GPU that torch sees",
)


@NO_GPU
@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("rocm", "torch for ROCm"), ("rocm:1", "torch for ROCm"), ("cuda", "torch for CUDA"),
        ("cuda:0", "torch for CUDA"), ("xpu", "torch for Intel GPUs"), ("mps", "Apple GPU"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_there(tiny: Path, device: str, words: str) -> None:
    error = refusal(tiny, device=device)
    assert isinstance(error, DeviceError)
    name = device.partition(":")[0]
    assert error.message == f"No {name} device: the installed torch is {torch_build()} and sees none."
    assert words in error.hint


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:x", "cuda:-1", "gpu", "rocm:"])
def test_a_device_that_does_not_exist(device: str) -> None:
    with pytest.raises(DeviceError, match="There is no device") as caught:
        find_device(device)
    assert "auto, cpu, mps, cuda, rocm or xpu" in caught.value.hint


def test_the_cpu_takes_no_number() -> None:
    assert find_device(" CPU ") == torch.device("cpu")
    with pytest.raises(DeviceError, match="cpu takes no number"):
        find_device("cpu:0")


@pytest.mark.parametrize(
    ("hip", "cuda", "asked", "found"),
    [
        ("6.4", None, "rocm", "cuda:0"), ("6.4", None, "rocm:1", "cuda:1"), ("6.4", None, "cuda", None),
        (None, "12.8", "cuda:1", "cuda:1"), (None, "12.8", "rocm", None), (None, "12.8", "cuda:2", None),
        ("6.4", None, "auto", "cuda:0"),
    ],
)  # fmt: skip
def test_gpus_by_the_name_that_the_user_knows(
    monkeypatch: pytest.MonkeyPatch, hip: str | None, cuda: str | None, asked: str, found: str | None
) -> None:
    """With a torch that claims two GPUs."""
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if found is None:
        with pytest.raises(DeviceError) as caught:
            find_device(asked)
        assert asked in caught.value.message or torch_build() in caught.value.message
    else:
        device = find_device(asked)
        assert device == torch.device(found)
        assert devices.device_label(device) == (found.replace("cuda", "rocm") if hip else found)


# --- memory ----------------------------------------------------------------------------------------


def test_no_memory_for_the_weights(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_llama(*_: object) -> None:
        torch.empty(1 << 50)

    monkeypatch.setattr(scratch, "build_llama", build_llama)
    error = refusal(tiny)
    assert error.message.startswith("cpu had no room for the ")
    assert "smaller model" in error.hint or "Try --dtype" in error.hint


def test_other_errors_of_torch_are_bugs_and_pass(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_llama(*_: object) -> None:
        torch.ones(2) @ torch.ones(3)

    monkeypatch.setattr(scratch, "build_llama", build_llama)
    with pytest.raises(RuntimeError, match="size"):
        open_model(tiny)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("size mismatch"))
