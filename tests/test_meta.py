"""Meta's own checkpoints: merged as they were cut, sizes told by shapes, and nothing in them that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_meta import fuzz
from llama_models import llama3 as meta_package
from llama_models.llama3.tokenizer import Tokenizer as MetaTokenizer
from recorded_chat import RecordedChat
from test_cli import run
from tiny_meta import FIRST_SHARD, TINY_VOCAB, TinyMeta, meta_name, tiktoken_lines
from tiny_models import TinyModel, tiny_vocabulary

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import EMBEDDING, Checkpoint
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf
from llama_chat.engine.files.meta import canonical_name
from llama_chat.engine.files.meta_folder import read_meta_folder
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.load import load_engine
from llama_chat.engine.scratch import ScratchNetwork, load_scratch
from llama_chat.engine.vocabulary.llama3_template import LLAMA3_TEMPLATE
from llama_chat.engine.weights import Precision
from llama_chat.errors import ModelError
from llama_chat.events import Failed, Finished, LiveSampling, Sampling, Special, Text, Token
from llama_chat.replay import build_timeline
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings

SMALL_LLAMA3 = {"dim": 32, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 64, "vocab_size": 128_256}
TOKENIZER_MODEL = Path(meta_package.__file__).with_name("tokenizer.model")
F32 = Precision("f32", torch.float32, torch.device("cpu"))


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_meta_folder(path)
    assert str(caught.value).isprintable()
    return caught.value


def network_of(checkpoint: Checkpoint, config: LlamaConfig) -> ScratchNetwork:
    return load_scratch(checkpoint, config, F32, context=0, threads=1)


def greedy(network: ScratchNetwork, prompt: list[int], count: int) -> tuple[torch.Tensor, list[int]]:
    """The logits after the prompt, and the ids that follow it."""
    cache = network.new_cache()
    first = logits = network.forward(prompt, cache, "last")
    ids = []
    for _ in range(count):
        assert logits is not None
        ids.append(int(logits.argmax()))
        logits = network.forward(ids[-1:], cache, "last")
    assert first is not None
    return first, ids


# --- the same weights, however they are cut --------------------------------------------------------


@pytest.mark.parametrize(("shards", "axis"), [(1, 0), (2, 0), (4, 0), (2, 1), (4, 1)])
def test_shards_are_merged_as_they_were_cut(tmp_path: Path, shards: int, axis: int) -> None:
    model = TinyMeta(shards=shards, embedding_axis=axis)
    checkpoint = read_meta_folder(model.write(tmp_path / "tiny")).checkpoint
    assert (checkpoint.format, len(checkpoint.tensors)) == ("meta", 21)
    for name, whole in model.whole():
        stored, rows = checkpoint.tensors[name], len(whole)
        assert (stored.shape, stored.type_name, stored.nbytes) == (tuple(whole.shape), "F32", whole.nbytes)
        assert stored.source_name == meta_name(name)
        assert checkpoint.blocks(name) is None
        for start, stop in (
            (0, None),
            (0, 1),
            (1, rows - 1),
            (rows // 2 - 3, rows // 2 + 3),
            (rows - 1, rows),
            (5, 5),
        ):
            assert torch.equal(checkpoint.values(name, start, stop), whole[start:stop])
        checkpoint.forget(name)
        assert torch.equal(checkpoint.values(name), whole), "what is wanted again is read again"


def test_rows_that_lie_in_one_shard_are_not_copied(tmp_path: Path) -> None:
    checkpoint = read_meta_folder(TinyMeta(shards=2).write(tmp_path)).checkpoint
    again = [checkpoint.values(EMBEDDING, start, start + 9).data_ptr() for start in (20, 21, 20)]
    assert again[0] == again[2]
    assert again[1] - again[0] == 64 * 4


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_the_same_weights_in_gguf_give_the_same_logits_and_ids(tmp_path: Path, shards: int) -> None:
    tiny = TinyMeta(shards=shards, n_kv_heads=4, n_layers=3)
    values = {name: tensor.numpy() for name, tensor in tiny.whole()}
    path = TinyModel(
        dim=64, n_heads=8, n_kv_heads=4, ffn_dim=96, n_layers=3, tied=False, values=values,
        vocabulary=tiny_vocabulary(TINY_VOCAB),
    ).write(tmp_path / "tiny.gguf")  # fmt: skip
    gguf = GGUFFile(path)
    model = read_meta_folder(tiny.write(tmp_path / "meta"))
    prompt = [(7 * i) % TINY_VOCAB for i in range(40)]
    wanted = greedy(network_of(GGUFCheckpoint([gguf]), config_from_gguf(gguf)), prompt, 60)
    found = greedy(network_of(model.checkpoint, model.config), prompt, 60)
    assert torch.equal(found[0], wanted[0])
    assert found[1] == wanted[1]
    assert len(set(found[1])) > 5, "a reply that says nothing proves nothing"


def test_the_fingerprint_names_the_weights(tmp_path: Path) -> None:
    tiny = TinyMeta(shards=2)
    prints = [
        read_meta_folder(model.write(tmp_path / name)).checkpoint.fingerprint()
        for name, model in {
            "a": tiny,
            "b": tiny,
            "c": replace(tiny, seed=1),
            "d": replace(tiny, shards=1),
        }.items()
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in prints)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    tiny = TinyMeta(dtype=dtype, shards=2)
    checkpoint = read_meta_folder(tiny.write(tmp_path)).checkpoint
    for name, whole in tiny.whole():
        assert torch.equal(checkpoint.values(name), whole)


# --- shards that do not belong together ------------------------------------------------------------


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = TinyMeta(shards=4).write(tmp_path / "tiny")
    (folder / "consolidated.01.pth").unlink()
    (folder / "consolidated.02.pth").unlink()
    for path in (folder, folder / FIRST_SHARD, folder / "consolidated.03.pth"):
        assert refusal(path).message == "tiny: consolidated.01.pth, consolidated.02.pth are missing"


def test_the_last_shard_missing_shows_in_the_shapes(tmp_path: Path) -> None:
    folder = TinyMeta(shards=4).write(tmp_path / "tiny")
    (folder / "consolidated.03.pth").unlink()
    error = refusal(folder)
    assert error.message == "tiny: the queries have 48 rows in 3 of the shards, wanted 64"
    assert "A shard seems to be missing" in error.hint


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (TinyMeta(shards=2, dim=32, n_heads=4), "tok_embeddings.weight is"),
        (TinyMeta(shards=2, ffn_dim=64), "layers.0.feed_forward.w1.weight is [32, 64] in float32, in "),
        (TinyMeta(shards=2, dtype=torch.float16), "float16"),
        (
            TinyMeta(shards=2, n_layers=3),
            "consolidated.00.pth: there is no layers.2.attention.wk.weight, which ",
        ),
        (
            TinyMeta(shards=2, tied=True),
            "consolidated.01.pth: there is no output.weight, which consolidated.00",
        ),
    ],
    ids=["width", "feed-forward", "dtype", "layers", "tied"],
)
def test_shards_of_different_models(tmp_path: Path, other: TinyMeta, message: str) -> None:
    folder = TinyMeta(shards=2).write(tmp_path / "tiny")
    other.write(tmp_path / "other")
    (tmp_path / "other" / "consolidated.01.pth").replace(folder / "consolidated.01.pth")
    error = refusal(folder)
    assert message in error.message
    assert error.hint == "The shards belong to different models, or one is damaged."


@pytest.mark.parametrize("engine", ["auto", "scratch"])
def test_shards_of_different_models_of_one_shape(tmp_path: Path, engine: str) -> None:
    folder = TinyMeta(shards=2).write(tmp_path / "tiny")
    TinyMeta(shards=2, seed=1).write(tmp_path / "other")
    (tmp_path / "other" / "consolidated.01.pth").replace(folder / "consolidated.01.pth")
    with pytest.raises(ModelError) as caught:
        load_engine(folder, ModelSettings(threads=1, engine=engine))
    assert caught.value.message == (
        "consolidated.01.pth: layers.0.attention_norm.weight has other values than in consolidated.00.pth, "
        "and is not cut"
    )
    assert caught.value.hint == "The shards belong to different models, or one is damaged."


def test_norms_are_held_against_each_other_bit_for_bit(tmp_path: Path) -> None:
    """What is no number is not equal to itself, and yet no reason to doubt the shards."""
    norm = np.full(64, np.nan, dtype=np.float32)
    tiny = TinyMeta(shards=2, values={"blk.1.ffn_norm.weight": norm})
    checkpoint = read_meta_folder(tiny.write(tmp_path / "tiny")).checkpoint
    assert checkpoint.values("blk.1.ffn_norm.weight").isnan().all()
    states = tiny.state_dicts()
    states[1]["norm.weight"][63] += 2**-23
    torch.save(states[1], tmp_path / "tiny" / "consolidated.01.pth")
    assert "consolidated.01.pth: norm.weight has other values" in refusal(tmp_path / "tiny").message


def test_weights_that_are_no_numbers_end_the_reply(tmp_path: Path) -> None:
    values = np.ones((96, 64), dtype=np.float32)
    values[3, 5] = np.nan
    folder = TinyMeta(shards=2, values={"blk.1.ffn_gate.weight": values}).write(tmp_path / "tiny")
    for engine in ("scratch", "hf"):
        loaded = load_engine(folder, ModelSettings(threads=1, engine=engine))
        last = list(loaded.stream([Text("the answer")], sampling=LiveSampling(Sampling()), seed=3))[-1]
        assert isinstance(last, Failed)
        assert "no number (NaN)" in last.error.message


# --- where things lie ------------------------------------------------------------------------------


def test_one_shard_stands_for_all(tmp_path: Path) -> None:
    folder = TinyMeta(shards=2).write(tmp_path / "tiny")
    models = [
        read_meta_folder(path) for path in (folder, folder / FIRST_SHARD, folder / "consolidated.01.pth")
    ]
    assert {model.checkpoint.fingerprint() for model in models} == {models[0].checkpoint.fingerprint()}
    assert {(model.name, model.notices, model.config) for model in models} == {("tiny", (), models[0].config)}


def test_files_in_original(tmp_path: Path) -> None:
    """As the Hub has them, or with the tokenizer and params.json beside the other format's."""
    outer = tmp_path / "Llama-3-Tiny"
    TinyMeta().write(outer / "original")
    model = read_meta_folder(outer)
    assert (model.name, model.notices, model.config.n_layers) == ("Llama-3-Tiny", (), 2)
    assert read_meta_folder(outer / "original").name == "Llama-3-Tiny"
    for name in ("tokenizer.model", "params.json"):
        (outer / "original" / name).replace(outer / name)
    assert read_meta_folder(outer).config == model.config
    (outer / "original" / FIRST_SHARD).replace(outer / FIRST_SHARD)
    for name in ("tokenizer.model", "params.json"):
        (outer / name).replace(outer / "original" / name)
    assert read_meta_folder(outer).config == model.config


def test_a_name_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TinyMeta().write(tmp_path / "here"))
    for path in (Path(), Path(FIRST_SHARD)):
        assert read_meta_folder(path).name == "here"


def test_without_a_tokenizer(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    (folder / "tokenizer.model").unlink()
    error = refusal(folder)
    assert error.message == f"{folder}: there is no tokenizer.model, here or in original/"


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    error = refusal(TinyMeta(tokenizer=tiktoken_lines(["th", "in"])).write(tmp_path / "tiny"))
    assert error.message == f"tiny: 514 tokens, but {TINY_VOCAB} rows of embeddings"
    assert error.hint == "The tokenizer belongs to another model."


def test_llama_2_s_tokenizer_is_refused(tmp_path: Path) -> None:
    error = refusal(
        TinyMeta(tokenizer=b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02").write(tmp_path / "tiny")
    )
    assert "a SentencePiece vocabulary, as Llama 2 has it" in error.message
    assert "Hugging Face form" in error.hint


def test_several_checkpoints_and_none(tmp_path: Path) -> None:
    folder = TinyMeta().write(tmp_path / "tiny")
    whole = (folder / FIRST_SHARD).read_bytes()
    (folder / "consolidated_1layers.pth").write_bytes(whole)
    notice = read_meta_folder(folder).notices
    what = "consolidated.00.pth was taken, not consolidated_1layers.pth"
    assert notice == (f"tiny: {what} (give that path to take it instead).",)
    (folder / FIRST_SHARD).unlink()
    assert read_meta_folder(folder).name == "consolidated_1layers"
    (folder / "other.pth").write_bytes(whole)
    error = refusal(folder)
    assert error.message == f"{folder}: there are 2 checkpoints in it: consolidated_1layers.pth, other.pth"
    (folder / "nothing").mkdir()
    assert "there is no consolidated.00.pth" in refusal(folder / "nothing").message
    assert "cannot be read" in refusal(folder / "none.pth").message


@pytest.mark.parametrize(
    ("folder", "has_turns"),
    [
        ("Meta-Llama-3-8B-Instruct", True), ("Meta-Llama-3-8B", False), ("Llama-3.2-1B", False),
        ("Llama3.1-8B", False), ("Llama3.1-8B-Instruct/original", True), ("Llama-3.2-1B/original", False),
        ("my model", True), ("chat/Llama-3.2-1B", False),
        ("llama-3-8b-chat-hf", True), ("Llama-Guard-3-8B", True),
    ],
)  # fmt: skip
def test_base_models_start_raw_and_say_so(tmp_path: Path, folder: str, has_turns: bool) -> None:
    model = read_meta_folder(TinyMeta(n_layers=1).write(tmp_path / folder))
    assert model.chat_template == (LLAMA3_TEMPLATE if has_turns else None)
    name = folder.removesuffix("/original").rpartition("/")[2]
    assert model.notices == (
        () if has_turns else (f"{name}: by its name a base model, so it starts raw, without turns.",)
    )


def test_names_that_are_no_llama_s() -> None:
    assert canonical_name("layers.12.attention.wq.weight") == "blk.12.attn_q.weight"
    for name in (
        *("layers.x.ffn_norm.weight", "layers.01.ffn_norm.weight", "layers.99999.ffn_norm.weight"),
        *("layers.1٣.ffn_norm.weight", "layers.0.attention.wq.bias", "layers.0.attention.inner.wq.weight"),
        *("norm", "layers.0.weight", " norm.weight"),
    ):
        assert canonical_name(name) is None


# --- a small Llama 3 with the real vocabulary ------------------------------------------------------


@pytest.fixture(scope="module")
def small_llama3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in Llama 3's shape, Meta's own tokenizer.model, two shards."""
    tiny = TinyMeta(
        **SMALL_LLAMA3, shards=2, tied=True, dtype=torch.bfloat16, tokenizer=TOKENIZER_MODEL.read_bytes(),
        params={"rope_theta": 500_000.0, "use_scaled_rope": True},
    )  # fmt: skip
    return tiny.write(tmp_path_factory.mktemp("models") / "Small-Llama-3-Instruct")


def test_it_loads_and_answers(small_llama3: Path) -> None:
    engine = load_engine(small_llama3, ModelSettings(threads=1))
    info = engine.info
    assert (info.name, info.architecture, info.dtype) == ("Small-Llama-3-Instruct", "llama", "bf16")
    assert (info.vocab_size, info.context_length, info.chat_template) == (128_256, 131_072, LLAMA3_TEMPLATE)
    assert (info.bos_text, info.eos_text) == ("<|begin_of_text|>", "<|end_of_text|>")
    prompt = [Special("<|begin_of_text|>"), Text("the answer to the ultimate question")]
    sampling = LiveSampling(Sampling(temperature=1.0, max_new_tokens=12))
    replies = [list(engine.stream(prompt, sampling=sampling, seed=3)) for _ in range(2)]
    for events in replies:
        last = events[-1]
        assert isinstance(last, Finished)
        assert (last.usage.prompt_tokens, last.usage.new_tokens, last.reason) == (7, 12, "length")
    ids = [[event.token_id for event in events if isinstance(event, Token)] for events in replies]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) > 5


def test_it_answers_on_the_command_line(small_llama3: Path, home: Path) -> None:
    command = [str(Path(sys.executable).with_name("llama-chat")), "run", "--model", str(small_llama3)]
    done = subprocess.run(
        [*command, "--json", "--max-new-tokens", "5", "--seed", "1", "Hello"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["model"], len(answer["token_ids"])) == ("Small-Llama-3-Instruct", 5)
    assert answer["prompt_tokens"] == 11  # begin, header of three and a line break, Hello, end, header again


def test_it_is_inspected(small_llama3: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes as the whole model has them, and Llama 3's own vocabulary."""
    assert run("inspect", str(small_llama3), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (part,), (vocabulary,) = found["parts"], found["tokenizers"]
    whole = [np.prod(shape) for shape in TinyMeta(**SMALL_LLAMA3, tied=True).shapes.values()]
    assert (part["file_count"], part["totals"]["parameters"]) == (2, sum(whole))
    assert part["totals"]["read_bytes_per_token"] == 2 * sum(whole)  # the embedding is the output, too
    assert part["totals"]["kv_bytes_per_token"] == 2 * 2 * 2 * 16  # layers, keys and values, bf16, rows
    assert found["documents"]["params.json"]["rope_theta"] == 500_000.0
    assert (vocabulary["size"], len(vocabulary["special_tokens"])) == (128_256, 256)
    assert (vocabulary["bos_id"], vocabulary["end_ids"]) == (128_000, [128_001, 128_008, 128_009])
    assert vocabulary["pattern"] == MetaTokenizer(TOKENIZER_MODEL).model._pat_str
    assert run("inspect", str(small_llama3)) == 0
    out = capsys.readouterr().out
    for words in ("consolidated.00.pth … consolidated.01.pth", "128,256 tokens", "128009 <|eot_id|>"):
        assert words in out


def test_its_session_is_watched_and_run_again(small_llama3: Path, home: Path) -> None:
    """With a second turn, a moved slider and a branch: from the store, by a fresh engine, token by token."""
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    chat = RecordedChat(load_engine(small_llama3, ModelSettings(threads=1)), store)
    first = chat.say("Hello", moves={4: Sampling(temperature=1.5, max_new_tokens=16)}, stop_after=9)
    chat.say("And now?", stop_after=6)
    chat.regenerate(first, seed=8, stop_after=7)
    timeline = build_timeline(chat.record)
    assert timeline.token_count == 9 + 6 + 7
    assert timeline.state_at(len(timeline.moments)).path[-1].text == chat.conversation.path()[-1].text
    store.close()
    command = [str(Path(sys.executable).with_name("llama-chat")), "replay", chat.session.id[:8], "--rerun"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = json.loads(done.stdout)["verdicts"]
    assert [verdict["verdict"] for verdict in verdicts] == ["identical"] * 3


# --- memory ----------------------------------------------------------------------------------------

MEASURED = """
import sys
from pathlib import Path
from llama_chat.engine.load import load_engine
from llama_chat.settings import ModelSettings

def kilobytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])

Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins here
before = kilobytes("VmRSS")
engine = load_engine(Path(sys.argv[1]), ModelSettings(threads=1))
assert "torch._dynamo" not in sys.modules, "it takes seconds and 64 MB, and nothing here needs it"
print((kilobytes("VmHWM") - before) * 1024, engine.info.weights_bytes)
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux counts what a process took at most"
)
def test_loading_takes_little_more_than_the_weights(tmp_path: Path) -> None:
    words = [
        f"{a}{b}{c}" for a in "abcdefghijklmnop" for b in "abcdefghijklmnopqrst" for c in "0123456789abcdef"
    ]
    tokenizer = tiktoken_lines(words)
    tiny = TinyMeta(
        dim=1024, n_layers=5, n_heads=16, n_kv_heads=8, ffn_dim=4096, shards=2, dtype=torch.bfloat16,
        vocab_size=tokenizer.count(b"\n") + 256, tokenizer=tokenizer,
    )  # fmt: skip
    flat = {name: np.broadcast_to(np.float32(0.01), shape) for name, shape in tiny.shapes.items()}
    folder = replace(tiny, values=flat).write(tmp_path / "large")
    assert sum(path.stat().st_size for path in folder.glob("*.pth")) > 170_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    taken, weights = map(int, done.stdout.split())
    assert weights > 170_000_000
    assert weights * 0.9 < taken <= 1.15 * weights + 64e6, f"{taken / 1e6:.0f} MB for {weights / 1e6:.0f} MB"


# --- anything at all -------------------------------------------------------------------------------


def test_mutated_archives_and_params_are_read_or_refused(tmp_path: Path) -> None:
    counts, faults = fuzz(tmp_path, 2000, seed=11)
    assert faults == []
    assert counts["refused"] > 1000
    assert counts["read"] > 100


def test_a_model_file_is_what_is_read(tmp_path: Path) -> None:
    assert isinstance(read_meta_folder(TinyMeta().write(tmp_path)), ModelFile)
