"""Models of the Hub: named, chosen, fetched from a Hub made here, found again, and all that can go wrong.

Whatever happens, what can be found in the cache is whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from fake_hub import TOKEN, FakeHub, Repo

from llama_chat.catalogue import find_model, list_models
from llama_chat.errors import Interrupted, LlamaChatError, ModelError, PullError
from llama_chat.hub import HubModel, cached_path, fetching, parse_hub_id
from llama_chat.hub import blob as blob_module
from llama_chat.hub.choice import choose
from llama_chat.pull_progress import PullProgress

TIME_LIMIT_S = 20.0
ID = "owner/Tiny-1B"
MODEL = HubModel(ID)
WEIGHTS = bytes(range(256)) * 2000
SHARDS = {f"model-0000{n}-of-00002.safetensors": WEIGHTS + bytes([n]) for n in (1, 2)}
CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
FILES = {
    **SHARDS,
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "config.json": CONFIG,
    "tokenizer.json": b"{}",
    "README.md": b"# a page",
    "pytorch_model.bin": WEIGHTS,
    "onnx/model.onnx": WEIGHTS,
    "original/consolidated.00.pth": WEIGHTS,
    "original/params.json": b"{}",
}
WANTED = {*SHARDS, "model.safetensors.index.json", "config.json", "tokenizer.json"}


@pytest.fixture
def repo(fake_hub: FakeHub) -> Repo:
    fake_hub.repos[ID] = Repo(dict(FILES))
    return fake_hub.repos[ID]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_module, "RETRY_S", 0.01)


def cache() -> Path:
    return Path(os.environ["HF_HOME"]) / "hub"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + TIME_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {TIME_LIMIT_S} s: {what}"
        time.sleep(0.01)


def fetch(model: HubModel = MODEL) -> tuple[Path, list[PullProgress]]:
    reports: list[PullProgress] = []
    return fetching.fetch(model, reports.append, threading.Event()), reports


def fails(model: HubModel = MODEL) -> LlamaChatError:
    """The error of a fetch that must fail: one line, and nothing that looks whole is left."""
    with pytest.raises((PullError, ModelError)) as caught:
        fetch(model)
    assert str(caught.value).isprintable()
    assert cached_path(model) is None
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", HubModel("meta-llama/Llama-3.2-1B-Instruct")),
        ("a/b@v1.0", HubModel("a/b", "v1.0")),
        ("a/b@refs/pr/1:Q4_K_M", HubModel("a/b", "refs/pr/1", "Q4_K_M")),
        (" a/b-GGUF:Q8_0 ", HubModel("a/b-GGUF", "main", "Q8_0")),
        ("https://huggingface.co/a/b/", HubModel("a/b")),
        ("hf.co/a/b:Q4_0", HubModel("a/b", "main", "Q4_0")),
        ("a", None),
        ("a/b/c", None),
        ("./a/b", None),
        ("/a/b", None),
        ("~/b", None),
        ("../b", None),
        ("a/..", None),
        ("a/b--c", None),
        ("a/b@../../x", None),
        ("models/own.gguf", None),
        ("C:/models", None),
        ("a/b\n", HubModel("a/b")),
        ("a/\x1b[2J", None),
        ("a/" + "b" * 100, None),
        ("", None),
    ],
)
def test_what_is_an_id_and_what_is_none(text: str, model: HubModel | None) -> None:
    assert parse_hub_id(text) == model
    if model is not None:
        assert parse_hub_id(model.name) == model


# --- which files --------------------------------------------------------------------------------------


def chosen(*names: str, label: str = "") -> tuple[set[str], str]:
    choice = choose(names, HubModel("a/b", label=label))
    assert not choice.missing
    return set(choice.names), choice.place


def test_safetensors_are_wanted_before_all_else() -> None:
    assert chosen(*FILES) == (WANTED, ".")
    names = ("config.json", "model.safetensors", "m-Q8_0.gguf", "model.safetensors.index.json")
    assert chosen(*names) == ({"config.json", "model.safetensors"}, ".")
    assert chosen("config.json", "weights.safetensors", "consolidated.safetensors")[0] == {
        "config.json",
        "weights.safetensors",
    }


def test_a_gguf_is_chosen_by_its_label_or_because_it_is_the_only_one() -> None:
    names = ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "BF16/m-BF16-00001-of-00002.gguf", "mmproj-m-f16.gguf")
    names += ("BF16/m-BF16-00002-of-00002.gguf", "README.md")
    assert chosen(*names, label="q4_k_m") == ({"m-Q4_K_M.gguf"}, "m-Q4_K_M.gguf")
    assert chosen(*names, label="m-Q8_0.gguf") == ({"m-Q8_0.gguf"}, "m-Q8_0.gguf")
    both = {"BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"}
    assert chosen(*names, label="bf16") == (both, "BF16/m-BF16-00001-of-00002.gguf")
    assert chosen("only.gguf") == ({"only.gguf"}, "only.gguf")
    with pytest.raises(ModelError, match="a/b has 3 GGUF models: BF16, Q4_K_M, Q8_0") as caught:
        chosen(*names)
    assert caught.value.hint == "Name one of them: --model a/b:Q4_K_M"
    with pytest.raises(ModelError, match="no GGUF file 'Q2_K'; it has: BF16, Q4_K_M, Q8_0"):
        chosen(*names, label="Q2_K")
    with pytest.raises(ModelError, match="has no GGUF file to choose"):
        chosen("config.json", "model.safetensors", label="Q8_0")


def test_meta_s_own_files_come_last() -> None:
    names = ["original/consolidated.00.pth", "original/consolidated.01.pth"]
    names += ["original/params.json", "original/tokenizer.model"]
    assert chosen(*names, "README.md") == (set(names), "original")
    assert chosen("consolidated.00.pth", "params.json", "tokenizer.model")[1] == "."


@pytest.mark.parametrize(
    ("names", "words"), [(("pytorch_model.bin",), "pickles"), (("README.md",), "no weights")]
)
def test_a_repository_without_a_model_that_runs(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        chosen(*names)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("config.json", "model-00001-of-00003.safetensors"), 2),
        (("model.safetensors",), 1),
        (("m-00002-of-00002.gguf",), 1),
        (("original/consolidated.01.pth", "original/params.json"), 2),
        (("config.json", "model-00001-of-99999.safetensors"), 1),
    ],
)
def test_what_is_missing_is_known_by_the_names(names: tuple[str, ...], missing: int) -> None:
    assert len(choose(names, MODEL).missing) == missing


# --- fetching -----------------------------------------------------------------------------------------


def test_a_fetch_brings_what_is_wanted_to_where_the_hub_s_own_tools_look(repo: Repo) -> None:
    path, reports = fetch()
    assert path == cache() / "models--owner--Tiny-1B" / "snapshots" / repo.commit
    assert contents(path) == {name: FILES[name] for name in WANTED}
    total_bytes = sum(len(FILES[name]) for name in WANTED)
    assert {report.total_bytes for report in reports} == {total_bytes}
    assert reports[0].what == f"Downloading {ID}"
    assert reports[-1].is_complete
    assert all(report.keeps_part for report in reports)
    from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

    options: dict[str, Any] = {"cache_dir": cache(), "local_files_only": True}
    assert Path(hf_hub_download(ID, "config.json", **options)).read_bytes() == CONFIG
    assert snapshot_download(ID, **options) == str(path)
    (found,) = scan_cache_dir(cache()).repos
    assert (found.repo_id, set(found.refs), found.size_on_disk) == (ID, {"main"}, total_bytes)
    assert not list(cache().rglob("*.incomplete"))


def test_what_is_here_is_taken_without_asking_and_a_pull_brings_only_what_is_new(
    repo: Repo,
    fake_hub: FakeHub,
    tmp_path: Path,
) -> None:
    path, _ = fetch()
    fake_hub.requests.clear()
    assert find_model(ID, tmp_path) == path
    assert fake_hub.requests == []
    repo.commit, repo.files["config.json"] = "b" * 40, b'{"model_type": "llama"}'
    newer, reports = fetch()
    assert newer.name == "b" * 40
    assert [request.path.rpartition("/")[2] for request in fake_hub.requests] == ["main", "config.json"]
    assert reports[0].fraction > 0.99 or reports[1].fraction > 0.99
    assert find_model(ID, tmp_path) == newer
    assert find_model(f"{ID}@{'a' * 40}", tmp_path) == path
    assert contents(newer)["config.json"] == repo.files["config.json"]


def test_a_revision_is_asked_for_by_its_name(repo: Repo) -> None:
    repo.revisions["v1"] = repo.commit
    fetch(HubModel(ID, "v1"))
    assert cached_path(HubModel(ID, "v1")) is not None
    assert cached_path(MODEL) is None


def test_one_of_several_gguf_files(fake_hub: FakeHub) -> None:
    fake_hub.repos[ID] = Repo({"t-Q4_0.gguf": WEIGHTS, "t-Q8_0.gguf": WEIGHTS * 2, "config.json": CONFIG})
    assert "2 GGUF models: Q4_0, Q8_0" in fails().message
    path, _ = fetch(HubModel(ID, label="Q8_0"))
    assert (path.name, path.read_bytes()) == ("t-Q8_0.gguf", WEIGHTS * 2)
    assert cached_path(MODEL) == path, "the only one that is here needs no label"
    assert cached_path(HubModel(ID, label="Q4_0")) is None
    fetch(HubModel(ID, label="Q4_0"))
    with pytest.raises(ModelError, match="2 GGUF models"):
        cached_path(MODEL)


def test_meta_s_format(fake_hub: FakeHub) -> None:
    names = ("original/consolidated.00.pth", "original/params.json", "original/tokenizer.model")
    fake_hub.repos[ID] = Repo(dict.fromkeys(names, WEIGHTS) | {"README.md": b"x"})
    path, _ = fetch()
    assert path.name == "original"
    assert set(contents(path)) == {"consolidated.00.pth", "params.json", "tokenizer.model"}
    assert cached_path(MODEL) == path


def test_the_model_is_called_by_its_repository_not_by_its_commit(repo: Repo) -> None:
    from llama_chat.engine.files.checkpoint import model_name

    path, _ = fetch()
    assert model_name(path) == model_name(path / "original") == "Tiny-1B"
    assert model_name(path / "t-Q8_0.gguf") == "t"


# --- broken off and gone on with ----------------------------------------------------------------------


def test_a_connection_that_breaks_goes_on_where_it_was(repo: Repo, fake_hub: FakeHub) -> None:
    fake_hub.breaks_after = [100_000, 150_000, 50_000]
    path, reports = fetch()
    assert contents(path) == {name: FILES[name] for name in WANTED}
    assert fake_hub.sent_bytes == sum(map(len, SHARDS.values()))
    starts = [request.start for request in fake_hub.requests if request.path.startswith("/files/")]
    assert starts == [0, 100_000, 250_000, 300_000, 0]
    done = [report.done_bytes for report in reports]
    assert done == sorted(done)


def test_a_server_that_sends_whole_files_only(repo: Repo, fake_hub: FakeHub) -> None:
    fake_hub.breaks_after, fake_hub.knows_ranges = [100_000], False
    path, _ = fetch()
    assert contents(path) == {name: FILES[name] for name in WANTED}


def test_a_connection_that_never_holds_is_given_up_and_the_rest_comes_later(
    repo: Repo,
    fake_hub: FakeHub,
) -> None:
    fake_hub.breaks_after = [100_000] + 20 * [0]
    error = fails()
    assert "cannot be reached" in error.message
    assert "100.0 kB of it are here" in error.message
    fake_hub.breaks_after, fake_hub.sent_bytes = [], 0
    path, reports = fetch()
    assert contents(path) == {name: FILES[name] for name in WANTED}
    assert fake_hub.sent_bytes == sum(map(len, SHARDS.values())) - 100_000
    assert reports[0].what == f"Reading what is here of {ID}"


@pytest.mark.alone
def test_stopping_takes_less_than_a_second_even_while_the_server_hangs(
    repo: Repo,
    fake_hub: FakeHub,
) -> None:
    fake_hub.hangs_after = 100_000
    cancel, took_s = threading.Event(), []

    def stop() -> None:
        fake_hub.hanging.wait(TIME_LIMIT_S)
        took_s.append(time.monotonic())
        cancel.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Interrupted, match="goes on from there") as caught:
        fetching.fetch(MODEL, lambda _: None, cancel)
    assert time.monotonic() - took_s[0] < 1.0
    assert caught.value.exit_code == 130
    stopper.join()
    assert cached_path(MODEL) is None
    fake_hub.hangs_after = None
    fake_hub.go_on.set()
    path, _ = fetch()  # it waits for the lock of the first, which ends with its network call
    assert contents(path) == {name: FILES[name] for name in WANTED}


def test_killed_half_way_nothing_looks_whole_and_the_next_fetch_goes_on(
    repo: Repo,
    fake_hub: FakeHub,
    tmp_path: Path,
) -> None:
    fake_hub.hangs_after = 400_000
    program = f"""
        import threading
        from llama_chat.hub import HubModel, fetching
        fetching.fetch(HubModel({ID!r}), lambda _: None, threading.Event())
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        assert fake_hub.hanging.wait(TIME_LIMIT_S)
        parts = cache() / "models--owner--Tiny-1B" / "blobs"
        wait_until(
            lambda: any(p.stat().st_size > 300_000 for p in parts.glob("*.incomplete")), "half on disk"
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert find_model(ID, tmp_path) == MODEL
    (listed,) = [model for model in list_models(tmp_path) if model.hub]
    assert (listed.path, listed.missing) == (None, ("the rest",))
    fake_hub.hangs_after = None
    fake_hub.go_on.set()
    path, _ = fetch()
    assert contents(path) == {name: FILES[name] for name in WANTED}
    assert max(request.start for request in fake_hub.asked_for(".safetensors")) > 300_000
    assert not list(cache().rglob("*.incomplete"))


def test_two_fetches_at_once_bring_every_byte_once(repo: Repo, fake_hub: FakeHub) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch()[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT_S)
    assert len(paths) == 3
    assert fake_hub.sent_bytes == sum(map(len, SHARDS.values()))


def test_waiting_for_another_fetch_can_be_stopped(repo: Repo) -> None:
    from huggingface_hub.utils import WeakFileLock

    lock = cache() / ".locks" / "models--owner--Tiny-1B" / "llama-chat.lock"
    lock.parent.mkdir(parents=True)
    cancel = threading.Event()
    told: list[str] = []

    def stop_when_it_waits(progress: PullProgress) -> None:
        told.append(progress.what)
        cancel.set()

    with WeakFileLock(lock), pytest.raises(Interrupted):
        fetching.fetch(MODEL, stop_when_it_waits, cancel)
    assert told == [f"Waiting for another fetch of {ID}"]


# --- what can go wrong --------------------------------------------------------------------------------


def test_another_content_is_refused_by_its_hash_and_begins_anew(repo: Repo, fake_hub: FakeHub) -> None:
    fake_hub.lies = True
    error = fails()
    assert "is not what it must be" in error.message
    fake_hub.lies = False
    assert contents(fetch()[0]) == {name: FILES[name] for name in WANTED}


def test_a_disk_that_fills_up_on_the_way(
    repo: Repo,
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, room = Path.open, [300_000]

    class Full:
        """A file on a disk that ends."""

        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            kept = self.file.write(data[: room[0]])
            room[0] -= kept
            if kept < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return kept

    def open_on_a_small_disk(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = opened(path, mode, *args, **kwargs)
        return Full(file) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", open_on_a_small_disk)
    error = fails()
    assert "not enough space on the disk" in error.message
    assert "goes on from there" in error.hint
    room[0] = 10**9
    path, _ = fetch()
    assert contents(path) == {name: FILES[name] for name in WANTED}
    assert max(request.start for request in fake_hub.asked_for(".safetensors")) > 250_000


def test_too_little_room_is_said_before_anything_is_fetched(
    repo: Repo,
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil._ntuple_diskusage(10**12, 10**12, 10**6)  # type: ignore[attr-defined]  # not in the stubs
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = fails()
    assert "what is missing needs 18 MB" in error.message
    assert "HF_HUB_CACHE" in error.hint
    assert not any("/resolve/" in request.path for request in fake_hub.requests)


def test_a_cache_that_cannot_be_written(repo: Repo) -> None:
    cache().parent.mkdir(exist_ok=True)
    cache().write_text("a file in its place")
    with pytest.raises(PullError, match="was not fetched"):
        fetch()


def test_a_gated_model_is_one_line_with_the_page_to_visit(
    repo: Repo,
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo.gated = True
    error = fails()
    page = f"{fake_hub.address}/{ID}"
    assert error.message == f"{ID} is gated: accept its terms at {page}, then set HF_TOKEN."
    assert fake_hub.sent_bytes == 0
    repo.hides_sizes = True
    assert "is gated" in fails().message
    repo.hides_sizes = False
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    assert page in fails().message
    assert "has no access" in fails().message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path, _ = fetch()
    assert cached_path(MODEL) == path
    by_place = {request.token for request in fake_hub.requests if request.path.startswith("/files/")}
    assert by_place == {""}, "another host must not see the token"


def test_the_token_may_be_in_the_file_that_hf_auth_login_writes(repo: Repo) -> None:
    repo.private = True
    assert "or it is private" in fails().message
    (Path(os.environ["HF_HOME"]) / "token").write_text(TOKEN)
    fetch()


def test_what_the_hub_does_not_have(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no model 'owner/unknown'" in fails(HubModel("owner/unknown")).message
    assert "has no revision 'v9'" in fails(HubModel(ID, "v9")).message
    monkeypatch.setenv("HF_TOKEN", "rubbish")
    assert "does not take your token" in fails().message


def test_a_network_that_answers_for_the_hub(repo: Repo, fake_hub: FakeHub) -> None:
    fake_hub.is_a_hotel = True
    assert "does not answer as the Hub does" in fails().message


@pytest.mark.parametrize("name", ["../../evil.gguf", "/etc/evil.gguf", "a\\..\\evil.gguf", "a/../../b.gguf"])
def test_a_name_that_leads_out_of_the_cache(name: str, fake_hub: FakeHub) -> None:
    fake_hub.repos[ID] = Repo({name: WEIGHTS})
    assert "impossible name" in fails().message
    assert not list(cache().rglob("*evil*"))


def test_a_repository_that_misses_a_shard(repo: Repo) -> None:
    del repo.files["model-00002-of-00002.safetensors"]
    assert "it has no model-00002-of-00002.safetensors" in fails().message


# --- without the network ------------------------------------------------------------------------------


def test_offline_the_cache_is_used_and_says_so(
    repo: Repo,
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, _ = fetch()
    fake_hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found, (first, *_) = fetch()
    assert found == path
    assert first.what.startswith(f"Taking {ID} from the cache: HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fake_hub.status = 503
    assert fetch()[0] == path
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found, (first, *_) = fetch()
    assert found == path
    assert "from the cache" in first.what


def test_offline_what_is_not_whole_is_named(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, _ = fetch()
    (path / "model-00002-of-00002.safetensors").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = fails()
    assert "model-00002-of-00002.safetensors missing" in error.message
    assert find_model(ID, tmp_path) == MODEL
    shutil.rmtree(cache())
    assert "cannot be reached" in fails().message
