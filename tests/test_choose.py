"""Which engine runs what, and how that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_hf_engine import ids_of, open_model, refusal, reply
from tiny_hf import TinyHF
from tiny_library import write_family
from tiny_models import TinyModel

from llama_chat.cli import invoke
from llama_chat.cli.talk import exit_status
from llama_chat.engine import load, scratch
from llama_chat.engine.choose import choose_engine, read_model
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.hf import load as hf_load
from llama_chat.engine.hf import placement
from llama_chat.engine.hf.other_model import OtherModel
from llama_chat.errors import DeviceError, LlamaChatError, ModelError, NotOursError


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(tmp_path_factory.mktemp("choose") / "tiny-qwen", "qwen2")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyHF().write(tmp_path_factory.mktemp("choose") / "tiny-llama")


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "set_threads", lambda asked: asked)


def test_a_llama_runs_from_scratch_and_the_rest_in_transformers(qwen: Path, llama: Path) -> None:
    info = open_model(llama).info
    assert (info.engine, info.engine_reason) == ("scratch", "Llama family, fits one device")
    info = open_model(qwen).info
    assert (info.engine, info.engine_reason) == ("hf", "the architecture is 'qwen2', not of the Llama family")


@pytest.mark.parametrize("engine", ["scratch", "hf"])
def test_who_names_the_engine_needs_no_reason(llama: Path, engine: str) -> None:
    info = open_model(llama, engine=engine).info
    assert (info.engine, info.engine_reason) == (engine, "")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"attention_bias": True}, "attention has biases"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "RoPE is scaled as 'dynamic'"),
        ({"hidden_act": "gelu"}, "the activation is 'gelu'"),
    ],
)
def test_a_llama_with_something_of_its_own_goes_to_transformers(
    tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    folder = TinyHF(config=config).write(tmp_path / "odd")
    model = read_model(folder, "auto")
    assert isinstance(model, OtherModel)
    choice = choose_engine("auto", model)
    assert choice.engine == "hf"
    assert choice.reason.startswith(reason)
    with pytest.raises(ModelError, match="--engine hf"):
        read_model(folder, "scratch")


def test_pickled_weights_go_to_transformers(qwen: Path, llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    folder.mkdir()
    for file in llama.iterdir():
        if file.suffix == ".json":
            (folder / file.name).symlink_to(file)
    torch.save(load_file(llama / "model.safetensors"), folder / "pytorch_model.bin")
    engine = open_model(folder)
    assert engine.info.engine == "hf"
    assert "pickled weights" in engine.info.engine_reason
    assert ids_of(reply(engine)) == ids_of(reply(open_model(llama)))


def test_a_damaged_llama_is_not_handed_on(llama: Path, tmp_path: Path) -> None:
    folder = TinyHF(config={"intermediate_size": 300}).write(tmp_path / "wrong")
    for engine in ("auto", "hf", "scratch"):
        assert "mlp.gate_proj.weight has the shape" in refusal(folder, engine=engine).message
    for engine in ("auto", "hf"):
        assert "no such file or folder" in refusal(tmp_path / "none", engine=engine).message


@pytest.mark.parametrize("by_auto", [True, False])
def test_who_goes_to_transformers_is_told_by_the_refusal_not_by_its_words(
    qwen: Path, monkeypatch: pytest.MonkeyPatch, by_auto: bool
) -> None:
    def refuse(path: Path) -> ModelFile:
        raise NotOursError("config.json: something odd", hint="Reworded.", by_auto=by_auto)

    monkeypatch.setattr("llama_chat.engine.choose.read_model_file", refuse)
    model = read_model(qwen, "hf")
    assert isinstance(model, OtherModel)
    assert model.why == "something odd"
    for engine in ("scratch", *(() if by_auto else ("auto",))):
        with pytest.raises(NotOursError, match="Reworded"):
            read_model(qwen, engine)
    if by_auto:
        assert isinstance(read_model(qwen, "auto"), OtherModel)


def test_a_hint_at_the_other_engine_hands_nothing_on(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> ModelFile:
        raise ModelError("config.json: something odd", hint="Not even --engine hf.")

    monkeypatch.setattr("llama_chat.engine.choose.read_model_file", refuse)
    for engine in ("scratch", "auto", "hf"):
        with pytest.raises(ModelError, match="Not even"):
            read_model(qwen, engine)


def test_quantised_weights_go_to_transformers_only_when_asked(tmp_path: Path) -> None:
    folder = TinyHF(config={"quantization_config": {"quant_method": "gptq"}}).write(tmp_path / "gptq")
    with pytest.raises(ModelError, match="quantised"):
        read_model(folder, "auto")
    assert isinstance(read_model(folder, "hf"), OtherModel)


def test_a_gguf_whose_text_is_cut_in_an_unknown_way_goes_to_transformers_only_when_asked(
    tmp_path: Path,
) -> None:
    path = TinyModel(metadata={"tokenizer.ggml.pre": "frobnicator"}).write(tmp_path / "odd.gguf")
    with pytest.raises(ModelError, match="which is not known"):
        read_model(path, "auto")
    assert isinstance(read_model(path, "hf"), OtherModel)


# --- what transformers would leave out -------------------------------------------------------------------

BIAS = {"blk.0.attn_q.bias": np.full(256, 0.1, dtype=np.float32)}


@pytest.mark.parametrize(
    ("tiny", "lost"),
    [
        (TinyModel(metadata={"llama.rope.scaling.type": "yarn"}), "the scaling of RoPE (yarn)"),
        (TinyModel(metadata={"llama.rope.scaling.type": "frobnicate"}), "the scaling of RoPE (frobnicate)"),
        (TinyModel(metadata={"llama.rope.scaling.type": "a\nb"}), "the scaling of RoPE ('a\\nb')"),
        (
            TinyModel(architecture="qwen2", metadata={"qwen2.rope.scaling.type": "linear"}),
            "the scaling of RoPE (linear)",
        ),
        (TinyModel(extra=BIAS, rope_freqs=np.linspace(1, 8, 16)), "the tensor rope_freqs.weight"),
        (TinyModel(extra=BIAS), "the tensor blk.0.attn_q.bias"),
    ],
    ids=["yarn", "unknown", "two lines", "linear", "divisors", "bias"],
)
@pytest.mark.parametrize("engine", ["auto", "hf"])
def test_a_gguf_that_transformers_would_read_in_part_is_refused(
    tmp_path: Path, tiny: TinyModel, lost: str, engine: str
) -> None:
    error = refusal(tiny.write(tmp_path / "odd.gguf"), engine=engine)
    assert error.message == f"odd.gguf: transformers leaves {lost} out of a GGUF file"
    assert "config.json" in error.hint


def test_a_gguf_that_says_its_rope_is_not_scaled_is_read(tmp_path: Path) -> None:
    biases = {
        f"blk.{layer}.attn_{name}.bias": np.full(width, 0.1, dtype=np.float32)
        for layer in range(2)
        for name, width in (("q", 256), ("k", 64), ("v", 64))
    }
    said = {"qwen2.rope.scaling.type": "none"}
    path = TinyModel(architecture="qwen2", extra=biases, metadata=said).write(tmp_path / "plain.gguf")
    assert open_model(path).info.engine == "hf"


def test_tensors_that_transformers_has_no_use_for_are_no_small_matter(tmp_path: Path) -> None:
    extra = {f"model.layers.{n}.self_attn.q_proj.bias": torch.zeros(256) for n in range(2)}
    error = refusal(TinyHF(extra=extra).write(tmp_path / "biased"))
    assert error.message == (
        "biased: transformers has no use for 2 of the tensors, "
        "model.layers.0.self_attn.q_proj.bias among them"
    )
    harmless = {"model.vision_tower.patch.weight": torch.zeros(4), "mtp.norm.weight": torch.zeros(4)}
    assert open_model(TinyHF(extra=harmless).write(tmp_path / "seeing")).info.engine == "hf"


@pytest.mark.parametrize("rope", [{"rope_type": "frobnicate", "factor": 2.0}, {"type": 5}, {"rope_type": []}])
def test_an_unknown_rope_type_ends_in_one_line(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], rope: dict[str, Any]
) -> None:
    folder = TinyHF(config={"rope_scaling": rope}).write(tmp_path / "odd")
    assert run("--threads", "1", "--model", str(folder), "Hello") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    first, *hint = err.splitlines()
    assert first.startswith("llama-chat: odd/config.json: RoPE is scaled as ")
    assert "transformers knows no RoPE of the type " in first
    assert "llama3, longrope" in first
    assert len(hint) <= 1


def test_both_engines_read_a_llama_the_same_way(llama: Path) -> None:
    assert isinstance(read_model(llama, "hf"), ModelFile)
    assert isinstance(read_model(llama, "auto"), ModelFile)


# --- too large for one device ----------------------------------------------------------------------------


class TwoGPUs:
    """What torch would say of two small GPUs; nothing is ever put on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
        self.asked: list[dict[torch.device, int]] = []
        free = {"cuda": free_bytes, "cpu": 10**9}
        monkeypatch.setattr(load, "find_device", lambda asked: torch.device("cuda", 0))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr("llama_chat.engine.precision.is_bf16_fast", lambda device: True)
        for module in (load, placement):
            monkeypatch.setattr(module, "free_memory", lambda device: free[device.type])

        def load_hf(*arguments: Any, free_bytes: dict[torch.device, int], **more: Any) -> None:
            self.asked.append(free_bytes)
            raise ModelError("enough was seen")

        monkeypatch.setattr(hf_load, "load_hf", load_hf)


def test_what_fits_no_gpu_alone_is_spread_by_transformers(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = TwoGPUs(monkeypatch, 1_000_000)
    assert refusal(llama, dtype="bf16").message == "enough was seen"
    (free,) = gpus.asked
    assert list(free) == [torch.device("cuda", 0), torch.device("cuda", 1), torch.device("cpu")]
    gpus.asked.clear()
    refusal(llama, dtype="bf16", device="cuda:0")
    assert list(gpus.asked[0]) == [torch.device("cuda", 0), torch.device("cpu")]
    choice, plan = load._choose(
        read_model(llama, "auto"), load.ModelSettings(dtype="bf16"), torch.device("cuda", 0)
    )
    assert (choice.engine, plan) == ("hf", None)
    assert choice.reason.startswith("This needs ")
    assert choice.reason.endswith("cuda:0 has 1 MB free")


@pytest.mark.parametrize("settings", [{"engine": "scratch", "dtype": "bf16"}, {"dtype": "int4"}])
def test_who_insists_is_told_the_numbers(
    llama: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    gpus = TwoGPUs(monkeypatch, 1_000_000)
    error = refusal(llama, **settings)
    assert isinstance(error, DeviceError)
    assert error.message.startswith("This needs ")
    assert gpus.asked == []


def test_the_processor_has_nowhere_to_spread_to(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "free_memory", lambda device: 1_000_000)
    monkeypatch.setattr(scratch, "build_llama", None)
    error = refusal(llama)
    assert isinstance(error, DeviceError)
    assert "cpu has 1 MB free" in error.message


# --- how it is said --------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    return exit_status(lambda: invoke(["run", "--max-new-tokens", "3", *arguments]))


def test_stats_say_which_engine_and_why(
    qwen: Path, llama: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--stats", "--threads", "1", "--model", str(qwen), "Hello") == 0
    assert "hf engine (the architecture is 'qwen2', not of the Llama family)" in capsys.readouterr().err
    assert run("--stats", "--threads", "1", "--model", str(llama), "Hello") == 0
    assert "scratch engine (Llama family, fits one device)" in capsys.readouterr().err
    assert run("--stats", "--threads", "1", "--engine", "hf", "--model", str(llama), "Hello") == 0
    assert "· hf engine ·" in capsys.readouterr().err


def test_notices_go_to_stderr_once(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_family(tmp_path / "slow", "openai-gpt")
    assert run("--n", "2", "--threads", "1", "--model", str(folder), "Hello") == 0
    out, err = capsys.readouterr()
    assert err.count("llama-chat: This model keeps nothing between tokens") == 1
    assert "keeps nothing" not in out


def test_a_refusal_is_one_line_and_a_hint(qwen: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--engine", "scratch", "--model", str(qwen), "Hello") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "llama-chat: config.json: the architecture is 'qwen2', not of the Llama family\n"
        "The transformers engine may run it: --engine hf.\n"
    )


def test_a_model_for_no_engine_keeps_the_first_refusal(tmp_path: Path) -> None:
    path = TinyModel(architecture="frobnicator").write(tmp_path / "odd.gguf")
    with pytest.raises(LlamaChatError) as caught:
        open_model(path)
    assert "odd.gguf" in caught.value.message
    assert "frobnicator" in caught.value.message


def test_a_template_whose_turns_can_be_forged_says_so(tmp_path: Path) -> None:
    plain = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    model = read_model(TinyModel(chat_template=plain).write(tmp_path / "tiny.gguf"), "auto")
    assert any("[INST]" in notice for notice in model.notices)
    assert read_model(TinyModel().write(tmp_path / "safe.gguf"), "auto").notices == ()
