"""Where models lie: each program's folders, what headers say, broken files, and how long it takes."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO
from fake_shelves import TINY, add_to_ollama, point_at_lm_studio, point_at_ollama
from gguf.constants import GGMLQuantizationType, LlamaFileType
from test_cli import run
from test_contracts import modules_after
from tiny_models import TinyModel

from llama_chat.catalogue import DEFAULT, find_model
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.model_file import read_model_file
from llama_chat.errors import ModelError
from llama_chat.events import ModelInfo
from llama_chat.hub import HubModel
from llama_chat.paths import Paths
from llama_chat.shelves import below, gguf_header
from llama_chat.shelves.below import models_below
from llama_chat.shelves.facts import Facts, KnownFacts, read_facts
from llama_chat.shelves.listing import FoundModel, list_found, used_file
from llama_chat.shelves.ollama import blob_name, list_ollama
from llama_chat.shelves.used import UsedModels, speed_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TINY.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    root = tmp_path / "home"
    found = Paths(root / "config", root / "data", root / "cache", root / "log")
    found.models.mkdir(parents=True)
    return found


def by_name(models: list[FoundModel]) -> dict[str, FoundModel]:
    return {model.name: model for model in models}


# --- headers ------------------------------------------------------------------------------------------


def test_a_header_says_what_the_engine_reads(tmp_path: Path) -> None:
    types = {"general.file_type": int(LlamaFileType.MOSTLY_Q4_K_M), "general.type": "model"}
    for metadata, kind in ((types, "Q4_K_M"), ({}, "Q4_1")):
        path = TinyModel(type=GGMLQuantizationType.Q4_1, metadata=metadata).write(tmp_path / "one.gguf")
        model = read_model_file(path)
        facts = Facts(model.architecture, kind, model.config.context_length, "gpt2", True, "scratch")
        assert read_facts(path) == facts


def test_the_tables_of_types_are_those_of_the_gguf_package() -> None:
    for number, name in gguf_header._TENSOR_TYPES.items():
        assert GGMLQuantizationType(number).name == name
    names = {kind.value: kind.name.removeprefix("ALL_").removeprefix("MOSTLY_") for kind in LlamaFileType}
    for number, name in gguf_header._FILE_TYPES.items():
        assert names.get(number, name).startswith(name)


def test_another_family_and_no_template_are_told(tmp_path: Path) -> None:
    path = TinyModel(architecture="qwen2", chat_template=None).write(tmp_path / "q.gguf")
    facts = read_facts(path)
    assert (facts.architecture, facts.engine, facts.has_template, facts.problem) == ("qwen2", "hf", False, "")


def test_every_cut_is_a_problem_and_no_error(tiny: Path, tmp_path: Path) -> None:
    content, path = tiny.read_bytes(), tmp_path / "cut.gguf"
    header_bytes = GGUFFile(tiny).header_bytes
    for length in [*range(0, header_bytes, 97), header_bytes + 64]:
        path.write_bytes(content[:length])
        assert read_facts(path).problem, length


@pytest.mark.alone
@pytest.mark.parametrize("at", [4, 8, 16, 24])
def test_numbers_that_lie_are_refused_at_once(tiny: Path, tmp_path: Path, at: int) -> None:
    content, path = bytearray(tiny.read_bytes()), tmp_path / "lies.gguf"
    content[at : at + 8] = struct.pack("<Q", 1 << 60)
    path.write_bytes(content)
    started_s = time.monotonic()
    assert "damaged" in read_facts(path).problem or "version" in read_facts(path).problem
    assert time.monotonic() - started_s < 1


def test_a_part_that_is_missing_is_told(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(tiny, tmp_path / "big-00001-of-00003.gguf")
    assert read_facts(tmp_path / "big-00001-of-00003.gguf").problem == "2 of its 3 parts missing"


def test_facts_of_a_folder_of_the_hub(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("x")
    expected = Facts("LlamaForCausalLM", "BF16", 131072, "tokenizer.json", True, "scratch")
    assert read_facts(tmp_path) == expected
    (tmp_path / "config.json").write_text("[")
    assert read_facts(tmp_path).problem == "its config.json is damaged"
    (tmp_path / "config.json").unlink()
    assert read_facts(tmp_path).problem == "config.json is missing"


def test_facts_are_kept_until_the_file_changes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "m.gguf"))
    kept = tmp_path / "cache" / "facts.json"
    known = KnownFacts(kept)
    facts = known.of(path)
    known.save()
    with monkeypatch.context() as patch:
        patch.setattr("llama_chat.shelves.facts.read_facts", lambda path: pytest.fail("read again"))
        assert KnownFacts(kept).of(path) == facts
    path.write_bytes(b"something else")
    assert KnownFacts(kept).of(path).problem == "not a GGUF file"
    kept.write_text('{"x": [1], "y": null}')
    assert KnownFacts(kept).of(path).problem == "not a GGUF file"


def test_two_hundred_models_take_less_than_a_second(tiny: Path, paths: Paths) -> None:
    for number in range(200):
        (paths.models / f"m{number:03}.gguf").hardlink_to(tiny)
    started_s = time.process_time()
    known = KnownFacts(paths.cache / "facts.json")
    facts = [known.of(model.path) for model in list_found(paths) if model.path]
    known.save()
    assert time.process_time() - started_s < 1
    assert len(facts) == 200
    assert {fact.problem for fact in facts} == {""}


def test_nothing_heavy_is_imported_for_it() -> None:
    loaded = modules_after("import llama_chat.shelves.listing, llama_chat.cli.models_list")
    assert not loaded & {"torch", "numpy", "gguf", "textual", "huggingface_hub", "sqlite3"}


# --- folders ------------------------------------------------------------------------------------------


def test_a_folder_is_looked_through_once_whatever_it_links_to(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in (
        "top.gguf",
        "one/alone.gguf",
        "two/a.gguf",
        "two/b.gguf",
        "a/b/c/d/deep.gguf",
        "a/b/c/d/e/f.gguf",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny, root / name)
    shutil.copy(tiny, root / "two" / "mmproj-x.gguf")
    (root / ".hidden.gguf").write_bytes(b"x")
    (root / "one" / "loop").symlink_to(root)
    (root / "gone.gguf").symlink_to(root / "nowhere")
    names = {model.name for model in models_below(root)}
    assert names == {"top.gguf", "one", "two/a.gguf", "two/b.gguf", "a/b/c/d"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    (found,) = models_below(tmp_path)
    assert (found.name, "Permission denied" in found.problem) == ("shut", True)


def test_a_huge_folder_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(below, "MOST_ENTRIES", 20)
    for number in range(60):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "m.gguf").write_bytes(b"")
    assert len(list(models_below(tmp_path))) <= 20


def test_every_shelf_is_listed_once_and_every_name_is_found_again(
    tiny: Path, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama = point_at_ollama(tmp_path / "ollama", monkeypatch)
    lm_studio = point_at_lm_studio(tmp_path / "lmstudio", monkeypatch)
    content = tiny.read_bytes()
    blob = add_to_ollama(ollama, content, "registry.ollama.ai", "library", "llama3.2", "1b")
    add_to_ollama(ollama, content + b"1", "registry.ollama.ai", "me", "mine", "latest")
    add_to_ollama(ollama, content + b"2", "hf.co", "owner", "Tiny-GGUF", "Q8_0")
    (lm_studio / "maker" / "Tiny-GGUF").mkdir(parents=True)
    theirs = lm_studio / "maker" / "Tiny-GGUF" / "Tiny-Q8_0.gguf"
    theirs.write_bytes(content + b"3")
    (paths.models / "own.gguf").write_bytes(content + b"4")
    before = tmp_path / "elsewhere.gguf"
    before.write_bytes(content + b"5")
    used = UsedModels(used_file(paths))
    for path in (before, paths.models / "own.gguf", tmp_path / "gone.gguf"):
        used.note(_info(path), 1.0)
    found = by_name(list_found(paths))
    assert [(model.name, model.shelf) for model in found.values()] == [
        ("own.gguf", "models"),
        ("ollama/hf.co/owner/Tiny-GGUF:Q8_0", "ollama"),
        ("ollama/llama3.2:1b", "ollama"),
        ("ollama/me/mine:latest", "ollama"),
        ("lmstudio/maker/Tiny-GGUF", "lmstudio"),
        (str(before), "recent"),
        (DEFAULT.name, "catalogue"),
    ]
    assert found["ollama/llama3.2:1b"].size_bytes == len(content)
    for model in found.values():
        resolved = find_model(model.name, paths.models)
        assert resolved == (model.path if model.path else DEFAULT)
    assert find_model("ollama/me/mine", paths.models) == found["ollama/me/mine:latest"].path
    assert find_model("lmstudio/maker/tiny-gguf", paths.models) == theirs
    assert find_model("ollama/llama3.2:8b", paths.models) == HubModel("ollama/llama3.2", label="8b")
    assert blob_name(blob) == "llama3.2:1b"
    assert read_model_file(blob).name == "llama3.2:1b"


def test_what_is_broken_at_ollama_is_named_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama = point_at_ollama(tmp_path, monkeypatch)
    place = ("registry.ollama.ai", "library")
    add_to_ollama(ollama, b"gone", *place, "gone", "latest").unlink()
    add_to_ollama(ollama, b"x", *place, "tensors", "latest", kind="application/vnd.ollama.image.tensor")
    add_to_ollama(ollama, b"y", *place, "bad", "latest")
    (ollama / "manifests").joinpath(*place, "bad", "latest").write_text("[[[")
    problems = {model.name: model.problem for model in list_ollama()}
    assert problems["bad:latest"] == "its manifest is damaged"
    assert problems["tensors:latest"] == "Ollama has no GGUF file of it"
    assert "No such file" in problems["gone:latest"]
    with pytest.raises(ModelError, match="ollama/gone: its file cannot be read"):
        find_model("ollama/gone", tmp_path)


# --- used lately --------------------------------------------------------------------------------------


def _info(path: Path, device: str = "cpu") -> ModelInfo:
    return replace(INFO, path=str(path), device=device)


def test_the_last_speed_is_kept_by_device_and_survives_a_loading(tmp_path: Path) -> None:
    used, path = UsedModels(tmp_path / "used.json"), tmp_path / "m.gguf"
    used.note(_info(path), 1.0)
    assert speed_of(used.list(), path) is None
    used.note(_info(path), 2.0, 112.345)
    used.note(_info(path, "cuda:0"), 3.0, 900.0)
    used.note(_info(path), 4.0)
    speeds = {device: speed_of(used.list(), path, device) for device in ("cpu", "cuda:0", "mps")}
    assert {device: speed and speed.tok_per_s for device, speed in speeds.items()} == {
        "cpu": 112.34, "cuda:0": 900.0, "mps": None,
    }  # fmt: skip
    assert [each.used_at for each in used.list()] == [4.0, 3.0]
    (tmp_path / "used.json").write_text('[1, {"path": 3}]')
    assert used.list() == []
    UsedModels(tmp_path / "used.json" / "no folder").note(_info(path), 1.0)  # nobody is told


# --- the command --------------------------------------------------------------------------------------


def test_models_list_has_every_shelf_with_its_figures(
    home: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ollama = point_at_ollama(tmp_path / "ollama", monkeypatch)
    add_to_ollama(ollama, tiny.read_bytes(), "registry.ollama.ai", "library", "tiny", "1b")
    models = home / "data" / "models"
    models.mkdir(parents=True)
    (models / "broken.gguf").write_bytes(b"GGUF")
    assert run("models", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "Models folder",
        "Ollama",
        "To be fetched",
    ]
    assert "its header is damaged or cut short" in lines[1]
    assert lines[4].split()[0] == "ollama/tiny:1b"
    assert lines[4].split()[3:] == ["F32", "512"]
    assert run("models", "list", "--json") == 0
    data = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert data["broken.gguf"]["problem"] == "its header is damaged or cut short"
    listed = data["ollama/tiny:1b"]
    assert (listed["shelf"], listed["engine"], listed["has_chat_template"]) == ("ollama", "scratch", True)
    assert (data[DEFAULT.name]["is_here"], data[DEFAULT.name]["quantisation"]) == (False, "Q4_1")
