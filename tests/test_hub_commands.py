"""Models of the Hub from outside: the commands, a run, Ctrl+C, and the chat on a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from fake_hub import FakeHub, Repo
from pty_terminal import COMMAND, Terminal
from test_cli import run
from test_hub import (
    FILES,
    ID,
    MODEL,
    TIME_LIMIT_S,
    WANTED,
    WEIGHTS,
    cache,
    contents,
    fails,
    fetch,
    repo,
    wait_until,
)
from tiny_models import TinyModel

from llama_chat import catalogue
from llama_chat.catalogue import find_model, list_models
from llama_chat.errors import ModelError
from llama_chat.hub import HubModel, cached_path, removing
from llama_chat.hub import blob as blob_module
from llama_chat.hub.removing import remove

__all__ = ["repo"]  # a fixture

GGUF_ID = "owner/tiny-GGUF"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_module, "RETRY_S", 0.01)


def wait_for_half(fake_hub: FakeHub) -> None:
    """The server hangs, and what it has sent lies on the disk."""
    assert fake_hub.hanging.wait(TIME_LIMIT_S)
    parts = cache() / "models--owner--tiny-GGUF" / "blobs"
    wait_until(lambda: any(p.stat().st_size > 300_000 for p in parts.glob("*.incomplete")), "half on disk")


@pytest.fixture
def gguf_repo(fake_hub: FakeHub, tmp_path: Path) -> Repo:
    """A model that can really be loaded."""
    TinyModel().write(tmp_path / "t.gguf")
    fake_hub.repos[GGUF_ID] = Repo({"tiny-F32.gguf": (tmp_path / "t.gguf").read_bytes()})
    return fake_hub.repos[GGUF_ID]


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    out, err = capsys.readouterr()
    return out, err.splitlines()


def test_a_folder_of_that_name_wins(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch()
    (tmp_path / ID).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_model(ID, tmp_path / "models") == Path(ID)


def test_an_id_below_a_folder_that_is_here_names_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "Tiny-1C").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such file or folder") as caught:
        find_model(ID, tmp_path / "models")
    assert "Did you mean 'Tiny-1C'?" in caught.value.hint
    assert f"llama-chat models pull {ID}" in caught.value.hint


def test_pull_list_show_and_remove(repo: Repo, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "show", ID, "--json") == 0
    data = json.loads(shown(capsys)[0])
    size_bytes = sum(len(FILES[name]) for name in WANTED)
    assert (data["is_here"], data["size_bytes"], data["licence"]) == (False, size_bytes, "llama3.2")
    assert run("models", "pull", ID) == 0
    out, err = shown(capsys)
    assert out.strip() == str(cached_path(MODEL))
    assert err[0] == f"Downloading {ID}…"
    assert err[-1] == f"{ID} is here, 1.0 MB, checked."
    assert run("models", "list", "--json") == 0
    (listed,) = [model for model in json.loads(shown(capsys)[0]) if model["name"] == ID]
    assert (listed["size_bytes"], listed["commit"], listed["is_here"]) == (size_bytes, repo.commit, True)
    assert run("models", "list") == 0
    lines = shown(capsys)[0].splitlines()
    assert lines[lines.index("Hub's cache") + 1].split()[0] == ID
    assert run("models", "remove", ID) == 2, "nobody is there to be asked"
    assert "--yes" in shown(capsys)[1][-1]
    assert cached_path(MODEL) is not None
    assert run("models", "remove", ID, "--yes") == 0
    assert cached_path(MODEL) is None
    assert not list(cache().glob("models--*"))
    shown(capsys)
    assert run("models", "remove", ID, "--yes") == 1


def test_nothing_is_removed_while_it_is_fetched(
    repo: Repo, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils import WeakFileLock

    fetch()
    before = contents(cache() / "models--owner--Tiny-1B")
    monkeypatch.setattr(removing, "LOCK_WAIT_S", 0.01)
    lock = cache() / ".locks" / "models--owner--Tiny-1B" / "llama-chat.lock"
    with WeakFileLock(lock):
        for model in (MODEL, HubModel(ID, "a" * 40)):
            with pytest.raises(ModelError, match="being fetched or removed at this moment"):
                remove(model)
        assert run("models", "remove", ID, "--yes") == 1
    assert "Stop that, or wait for its end" in capsys.readouterr().err
    assert contents(cache() / "models--owner--Tiny-1B") == before
    remove(MODEL)
    assert not (cache() / "models--owner--Tiny-1B").exists()


def test_removing_one_gguf_leaves_the_other(fake_hub: FakeHub) -> None:
    fake_hub.repos[ID] = Repo({"t-Q4_0.gguf": WEIGHTS, "t-Q8_0.gguf": WEIGHTS * 2})
    fetch(HubModel(ID, label="Q4_0"))
    path, _ = fetch(HubModel(ID, label="Q8_0"))
    remove(HubModel(ID, label="Q4_0"))
    assert cached_path(MODEL) == path
    assert len(list((cache() / "models--owner--Tiny-1B" / "blobs").iterdir())) == 1


def test_removing_what_was_begun_gives_the_space_back(repo: Repo, fake_hub: FakeHub) -> None:
    fake_hub.breaks_after = [100_000] + 20 * [0]
    fails()
    remove(MODEL)
    assert not list(cache().glob("models--*"))


def test_a_snapshot_that_two_revisions_share_keeps_its_blobs(repo: Repo) -> None:
    path, _ = fetch()
    repo.commit, repo.files["config.json"] = "b" * 40, b'{"model_type": "llama"}'
    newer, _ = fetch()
    remove(HubModel(ID, "a" * 40))
    assert not path.exists()
    assert contents(newer) == {name: repo.files[name] for name in WANTED}


def test_what_is_no_language_model_is_not_listed(fake_hub: FakeHub, tmp_path: Path) -> None:
    config = json.dumps({"architectures": ["BertModel"]}).encode()
    fake_hub.repos[ID] = Repo({"config.json": config, "model.safetensors": WEIGHTS})
    fetch()
    assert [model.name for model in list_models(tmp_path)] == [catalogue.DEFAULT.name]


def test_run_fetches_and_answers_and_needs_no_hub_afterwards(
    gguf_repo: Repo, fake_hub: FakeHub, home: Path, tmp_path: Path
) -> None:
    command = [str(COMMAND), "run", "--model", GGUF_ID, "--max-new-tokens", "3", "--json", "Hi"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Downloading {GGUF_ID}" in done.stderr
    assert json.loads(done.stdout)["model"] == "tiny"
    fake_hub.status = 500
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("models", "pull", GGUF_ID), ("run", "--model", GGUF_ID, "Hi")])
def test_ctrl_c_ends_it_at_once_and_what_came_is_kept(
    arguments: tuple[str, ...], gguf_repo: Repo, fake_hub: FakeHub, home: Path, tmp_path: Path
) -> None:
    fake_hub.hangs_after = 400_000
    process = subprocess.Popen(
        [str(COMMAND), *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        wait_for_half(fake_hub)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert cached_path(HubModel(GGUF_ID)) is None
    fake_hub.hangs_after = None
    fake_hub.go_on.set()
    fetch(HubModel(GGUF_ID))
    assert fake_hub.asked_for("tiny-F32.gguf")[-1].start > 0


def test_the_chat_fetches_under_its_download_screen_and_esc_loses_nothing(
    gguf_repo: Repo, fake_hub: FakeHub, home: Path
) -> None:
    fake_hub.hangs_after = 400_000
    with Terminal("--model", GGUF_ID, environment={}) as terminal:
        terminal.wait_for(f"{GGUF_ID}, once")
        terminal.wait_for("the next fetch goes on from there")
        wait_for_half(fake_hub)
        terminal.send("\x1b")
        terminal.wait_for("The model was not fetched")
        fake_hub.hangs_after = None
        fake_hub.go_on.set()
        terminal.send("/reload\r")
        terminal.wait_for("● ready")
        assert "was not fetched" not in terminal.text
        terminal.send("\x11")
        assert terminal.wait_for_end() == 0
    assert fake_hub.asked_for("tiny-F32.gguf")[-1].start > 0
    assert cached_path(HubModel(GGUF_ID)) is not None


def test_the_chat_says_in_its_transcript_what_the_hub_refuses(fake_hub: FakeHub, home: Path) -> None:
    fake_hub.repos[GGUF_ID] = Repo({"a.gguf": WEIGHTS}, gated=True)
    with Terminal("--model", GGUF_ID, environment={}, size=(140, 30)) as terminal:
        terminal.wait_for(f"{GGUF_ID} is gated: accept its terms at {fake_hub.address}/{GGUF_ID}")
        terminal.send("\x11")
        assert terminal.wait_for_end() == 0
