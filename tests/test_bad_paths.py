"""Everything that can stand after --model and is no model: one line, a hint, exit status 1."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_hf import TinyHF
from tiny_models import TinyModel

from llama_chat.cli import invoke
from llama_chat.cli.talk import exit_status
from llama_chat.engine.files.other_kinds import kind_of

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NASTY = "a b\n\x1b[31mred\x1b]0;title\x07\r"

Make = Callable[[Path], Path | str]
"""Puts something into the folder, and says what is given as the model."""


def folder_of(*names: str) -> Make:
    """A folder with those files of a model."""

    def make(root: Path) -> Path:
        model, folder = TinyHF().write(root / "whole"), root / "some"
        folder.mkdir()
        for name in names:
            shutil.copy(model / name, folder)
        return folder

    return make


def file_of(name: str, content: bytes) -> Make:
    """One file."""

    def make(root: Path) -> Path:
        (root / name).write_bytes(content)
        return root / name

    return make


def shards_of_two(root: Path) -> Path:
    model = TinyHF(shards=2).write(root / "mixed")
    other = TinyHF(replace(TinyModel(), ffn_dim=256), shards=2).write(root / "other")
    shutil.copy(other / "model-00002-of-00002.safetensors", model)
    return model


def without(name: str) -> Make:
    """A model that lacks a file."""

    def make(root: Path) -> Path:
        model = TinyHF().write(root / "model")
        (model / name).unlink()
        return model

    return make


def broken_link(root: Path) -> Path:
    (root / "model.gguf").symlink_to(root / "gone.gguf")
    return root / "model.gguf"


def broken_weights(root: Path) -> Path:
    model = without("model.safetensors")(root)
    (Path(model) / "model.safetensors").symlink_to(root / "gone")
    return Path(model)


def pipe(root: Path) -> Path:
    os.mkfifo(root / "model.gguf")
    return root / "model.gguf"


def forbidden(root: Path) -> Path:
    TinyModel().write(root / "model.gguf").chmod(0)
    return root / "model.gguf"


def nasty_folder(root: Path) -> Path:
    (root / NASTY).mkdir()
    return root / NASTY


def named_as_a_file(root: Path) -> Path:
    (root / "x.gguf").mkdir()
    return root / "x.gguf"


BAD: dict[str, tuple[Make, str, str]] = {
    # what there is, the message, the hint
    "an empty folder": (nasty_folder, "there are no weights in this folder", "Give a .gguf file"),
    "a folder called x.gguf": (named_as_a_file, "there are no weights in this folder", "Give a .gguf file"),
    "config.json alone": (folder_of("config.json"), "its weights are not there", "Fetch its *.safetensors"),
    "no tokenizer.json": (without("tokenizer.json"), "there is no tokenizer.json in this folder", "fetch it"),
    "no config.json": (without("config.json"), "there is no config.json in this folder", "fetch it"),
    "shards of two models": (shards_of_two, "wanted [512, 256]", "of another model"),
    "a text": (file_of(f"{NASTY}.gguf", b"hello\n"), "not a GGUF file, but a text file", "Give a .gguf file"),
    "JSON": (file_of("tokenizer_config.json", b"{}"), "not a GGUF file, but JSON", "Give a .gguf file"),
    "an empty file": (file_of("m.gguf", b""), "the file is empty", "fetch it again"),
    "a broken link": (broken_link, "gone.gguf, which is not there", "Put that file back"),
    "a broken link inside": (broken_weights, "gone, which is not there", "fetch it"),
    "a long name": (lambda root: f"{root}/{'x' * 300}", "File name too long", "Give a .gguf file"),
    "a long path": (lambda root: str(root) + "/x" * 3000, "File name too long", "Give a .gguf file"),
    "escape sequences": (lambda root: f"{root}/{NASTY}", "no such file or folder", "models list"),
    "a file as a folder": (lambda root: f"{file_of('f', b'')(root)}/x", "no such file or folder", ""),
    "a device": (lambda _: os.devnull, "no ordinary file", "Give a .gguf file"),
    "a pipe": (pipe, "no ordinary file", "Give a .gguf file"),
    "a file that is not ours": (forbidden, "cannot be read: Permission denied", "permissions"),
}


@pytest.mark.skipif(os.name == "nt", reason="names and links of another kind")
@pytest.mark.parametrize(("make", "message", "hint"), BAD.values(), ids=BAD)
def test_what_is_no_model_ends_in_one_line_and_a_hint(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], make: Make, message: str, hint: str
) -> None:
    if make is forbidden and IS_ROOT:
        pytest.skip("root may read everything")
    given = str(make(tmp_path))
    assert exit_status(lambda: invoke(["run", "--model", given, "hi"])) == 1
    out, err = capsys.readouterr()
    assert not out
    said, hinted = err.rstrip("\n").split("\n")
    assert said.startswith("llama-chat: ")
    assert message in said
    assert hint in hinted
    assert said.isprintable()
    assert hinted.isprintable()


def test_a_name_with_spaces_and_breaks_is_a_name(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TinyHF().write(tmp_path / NASTY)
    assert exit_status(lambda: invoke(["run", "--model", str(model), "--max-new-tokens", "2", "hi"])) == 0
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
        (b"<!DOCTYPE html><html>", "a web page"),
        ("größer".encode() * 400, "a text file"),
        ("\ufeff[1]".encode(), "JSON"),
        (bytes(100), "nothing but zeros"),
        (b"\x80\x02}q\x01", "something that begins with the bytes 80 02 7d 71"),
        (b"a\x00b", "something that begins with the bytes 61 00 62"),
    ],
)
def test_what_a_file_is_in_words(start: bytes, kind: str) -> None:
    assert kind_of(start) == kind
    assert kind_of(start[:1024]) == kind
