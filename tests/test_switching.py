"""Another model in the middle of a chat: the worker's order of things, failures, the picker, memory."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from fake_shelves import TINY
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_worker import Log, turn_for, worker_of
from textual.widgets import Input
from tiny_models import TinyModel

from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.other_models import fit_finder, model_opener
from llama_chat.errors import Interrupted, LlamaChatError, ModelError
from llama_chat.events import Finished, LiveSampling, Loading, ModelInfo, Sampling, Token
from llama_chat.paths import Paths
from llama_chat.pull import PullProgress
from llama_chat.sessions import SessionStore
from llama_chat.settings import ModelSettings
from llama_chat.shelves.listing import used_file
from llama_chat.shelves.offers import OFFERS
from llama_chat.shelves.to_load import ModelToLoad
from llama_chat.shelves.used import UsedModels
from llama_chat.ui.model_paths import is_path, path_completions
from llama_chat.ui.screens.models import ModelList, ModelsScreen
from llama_chat.worker import Worker

OTHER = replace(INFO, name="Other-1B", path="/models/other.gguf", fingerprint="other", context_length=2048)


class SwitchLog(Log):
    """What the worker says of a switch, too."""

    def not_switched(self, error: LlamaChatError, info: ModelInfo | None) -> None:
        self._put("not_switched", (error, info))


@pytest.fixture
def log() -> SwitchLog:
    return SwitchLog()


def other_engine(**options: Any) -> FakeEngine:
    return FakeEngine(["from the other one"], info=OTHER, **options)


# --- the worker -----------------------------------------------------------------------------------------


def test_a_switch_stops_the_reply_and_closes_before_it_loads(log: SwitchLog) -> None:
    pace = Pace(is_stepped=True)
    first, second = FakeEngine([None], pace=pace), other_engine()
    closed_when_loading: list[bool] = []

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> FakeEngine:
        closed_when_loading.append(first.is_closed)
        return second

    closed_when_checked: list[bool] = []
    worker = worker_of(first, log)
    worker.answer(turn_for("a"))
    pace.step()
    log.until("event", Token)
    worker.switch(ModelToLoad("other", load, check=lambda: closed_when_checked.append(first.is_closed)))
    finished = log.until("event", Finished)
    assert isinstance(finished, Finished)
    assert finished.reason == "stopped"
    assert log.until("loaded") == OTHER
    worker.answer(turn_for("b"))
    log.until("event", Finished)
    assert "b<|im_end|>" in second.prompts[0]
    assert (closed_when_checked, closed_when_loading) == ([False], [True])
    assert worker.close()
    assert second.is_closed


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_switch_that_fails_goes_back(log: SwitchLog, is_closed: bool) -> None:
    first = FakeEngine(["still here"])

    def fail() -> None:
        raise ModelError("Not a model.")

    bad = ModelToLoad("bad", loader_of(other_engine(), errors=[ModelError("Not a model.")]))
    worker = worker_of(first, log)
    log.until("loaded")
    worker.switch(bad if is_closed else replace(bad, check=fail))
    error, info = log.until("not_switched")  # type: ignore[misc]  # a pair
    assert str(error) == "Not a model."
    assert info == (None if is_closed else INFO)
    assert first.is_closed == is_closed
    if is_closed:
        assert log.until("loaded") == INFO
    worker.answer(turn_for("a"))
    log.until("event", Finished)
    assert worker.close()


def test_of_three_models_the_last_one_runs(log: SwitchLog) -> None:
    gate = threading.Event()
    third = FakeEngine(["third"], info=replace(OTHER, name="Third"))
    worker = worker_of(FakeEngine(), log)
    log.until("loaded")
    worker.switch(ModelToLoad("other", loader_of(other_engine(), gate=gate)))
    log.until("loading", Loading)
    worker.switch(ModelToLoad("third", loader_of(third)))
    info = log.until("loaded")
    assert info == third.info
    assert worker.close()
    kinds = set()
    while not log.notes.empty():
        kinds.add(log.notes.get()[0])
    assert "not_switched" not in kinds


def test_a_switch_while_the_first_model_loads_gives_that_up(log: SwitchLog) -> None:
    worker = worker_of(FakeEngine(), log, gate=threading.Event())
    log.until("loading")
    worker.switch(ModelToLoad("other", loader_of(other_engine())))
    assert isinstance(log.until("not_loaded"), Interrupted)
    assert log.until("loaded") == OTHER
    assert worker.close()


def test_nothing_of_the_old_model_lives_on(tmp_path: Path, log: SwitchLog) -> None:
    """Engine, network, weights and mapped files are gone while the next one loads, five times over."""
    import llama_chat.engine.load  # noqa: F401  (torch: seconds on a busy machine, that no time limit is for)

    models = [
        TINY.write(tmp_path / "a.gguf"),
        TinyModel(n_layers=1, ffn_dim=256, seed=1).write(tmp_path / "b.gguf"),
    ]
    open_model = model_opener(ModelSettings(), Paths(tmp_path, tmp_path, tmp_path, tmp_path))
    alive: list[weakref.ref[Any]] = []
    at_loading: list[int] = []

    def watched(path: Path) -> ModelToLoad:
        model = open_model(str(path))

        def load(report: Callable[[Loading], None], cancel: threading.Event) -> Any:
            gc.collect()
            at_loading.append(sum(ref() is not None for ref in alive))
            engine: Any = model.loader(report, cancel)
            parts = (engine, engine.network, engine.network.llama, engine.tokenizer)
            alive[:] = [weakref.ref(part) for part in parts]
            return engine

        return replace(model, loader=load)

    worker = Worker(watched(models[0]).loader, log, LiveSampling(Sampling(max_new_tokens=3)))
    worker.start()
    log.until("loaded")
    for number in range(5):
        worker.answer(turn_for("the fox"))
        log.until("event", Finished)
        worker.switch(watched(models[(number + 1) % 2]))
        log.until("loaded")
    assert worker.close(10)
    gc.collect()
    assert at_loading == [0] * 6
    assert [ref() for ref in alive] == [None] * 4


def test_a_loading_that_fails_half_way_leaves_nothing(tmp_path: Path, log: SwitchLog) -> None:
    class Half:
        """Stands for the weights that came before it failed."""

    half: list[weakref.ref[Half]] = []

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Any:
        weights = Half()
        half.append(weakref.ref(weights))
        raise RuntimeError("no room")

    worker = worker_of(FakeEngine(), log)
    log.until("loaded")
    worker.switch(ModelToLoad("half", load))
    error, _ = log.until("not_switched")  # type: ignore[misc]  # a pair
    assert "no room" in str(error)
    log.until("loaded")
    assert half[0]() is None
    assert worker.close()


# --- the chat -------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def setup_with(home: Home, others: dict[str, ModelToLoad], engine: FakeEngine | None = None) -> ChatSetup:
    def open_model(name: str) -> ModelToLoad:
        if name not in others:
            raise ModelError(f"No model '{name}'.", hint="There is none.")
        return others[name]

    return replace(home.setup(engine or FakeEngine(["from the first one"])), open_model=open_model)


def stored_models(home: Home) -> list[str]:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    try:
        return [(store.model_of(info.id) or pytest.fail("none")).name for info in store.list()]
    finally:
        store.close()


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_the_conversation_goes_on_with_another_model(home: Home, size: tuple[int, int]) -> None:
    second = other_engine()
    others = {"other": ModelToLoad("other", loader_of(second))}
    async with chat(setup_with(home, others), size) as user:
        await user.say("first?")
        await user.idle()
        await user.say("/model other")
        await user.sees("Other-1B answers from here on.")
        await user.say("second?")
        await user.sees("from the other one")
        await user.idle()
        assert user.screen.chat.status.context_length == 2048
        if size != SMALL:
            await user.sees("2,048")
    assert "from the first one" in second.prompts[0]
    path = home.stored()[0].path()
    assert [message.reply.model for message in path if message.reply] == [INFO.name, OTHER.name]
    assert stored_models(home) == [OTHER.name]


async def test_a_running_reply_is_kept_and_a_switch_is_noted_without_words(home: Home) -> None:
    pace = Pace(is_stepped=True)
    others = {"other": ModelToLoad("other", loader_of(other_engine()))}
    async with chat(setup_with(home, others, FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(3)
        await user.sees("word0 word1 word2")
        await user.say("/model other")
        pace.step(100)
        await user.sees("Other-1B answers from here on.")
    reply = home.stored()[0].path()[-1]
    assert reply.text.startswith("word0 word1 word2")
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"
    assert stored_models(home) == [OTHER.name]


async def test_a_model_that_fails_says_why_and_the_old_one_is_back(home: Home) -> None:
    bad = loader_of(other_engine(), errors=[ModelError("The file is cut short.", hint="Fetch it again.")])
    async with chat(setup_with(home, {"bad": ModelToLoad("Bad-7B", bad)})) as user:
        await user.ready()
        await user.say("/model bad")
        await user.sees("Bad-7B could not be loaded: The file is cut short.", "Fetch it again.")
        await user.ready()
        await user.sees(INFO.name)
        await user.say("still there?")
        await user.sees("from the first one")
        await user.idle()
        await user.say("/model nowhere")
        await user.sees("No model 'nowhere'.")


@pytest.mark.parametrize("has_begun", [False, True])
async def test_esc_cancels_the_loading_and_the_old_one_is_back(home: Home, has_begun: bool) -> None:
    gate = threading.Event()
    slow = ModelToLoad("Slow-70B", loader_of(other_engine(), gate=gate))

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        while not cancel.wait(0.01):
            pass
        raise Interrupted("Stopped.")

    first = FakeEngine(["from the first one"])
    async with chat(
        setup_with(home, {"slow": slow if has_begun else replace(slow, pull=pull)}, first)
    ) as user:
        await user.ready()
        await user.say("/model slow")
        await user.until(lambda: user.screen.chat.switching.wanted is not None)
        if has_begun:
            await user.until(lambda: first.is_closed, "the old one is not closed")
            first.is_closed = False
        await user.sees("Slow-70B")
        await user.press("escape")
        await user.sees("Slow-70B was not loaded.")
        await user.ready()
        assert not first.is_closed
        await user.say("there?")
        await user.sees("from the first one")
        await user.idle()


async def test_the_speed_of_a_reply_is_kept_for_the_list(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["word " * 40]))) as user:
        await user.say("count")
        await user.idle()
    (used,) = UsedModels(used_file(home.paths)).list()
    assert (used.name, used.device, round(used.tok_per_s)) == (INFO.name, "cpu", 112)


# --- the picker -----------------------------------------------------------------------------------------


def with_models(home: Home, tmp_path: Path) -> ChatSetup:
    """Two tiny models in the models folder, which really load."""
    home.paths.models.mkdir(parents=True)
    TINY.write(home.paths.models / "fox-F32.gguf")
    shutil.copy(home.paths.models / "fox-F32.gguf", tmp_path / "river.gguf")
    (home.paths.models / "broken.gguf").write_bytes(b"GGUF")
    settings = ModelSettings()
    setup = home.setup(FakeEngine(["from the first one"]))
    return replace(
        setup,
        settings=replace(setup.settings, sampling=Sampling(max_new_tokens=8)),
        open_model=model_opener(settings, home.paths),
        fit_of=fit_finder(settings),
    )


async def open_picker(user: User) -> ModelList:
    await user.ready()
    await user.press("f4")
    await user.until(lambda: isinstance(user.app.screen, ModelsScreen), "no picker")
    await user.sees("Models folder")
    return user.app.screen.query_one(ModelList)


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_the_picker_shows_what_there_is_and_loads_it(
    home: Home, tmp_path: Path, size: tuple[int, int]
) -> None:
    import torch  # noqa: F401  (the chat's engine is a fake one: nothing else brings it)

    setup = with_models(home, tmp_path)
    UsedModels(used_file(home.paths)).note(
        replace(INFO, path=str(home.paths.models / "fox-F32.gguf")), 1.0, 55.0
    )
    async with chat(setup, size) as user:
        models = await open_picker(user)
        offered = [f"catalogue:{offer.name}" for offer in OFFERS]
        listed = ["models:broken.gguf", "models:fox-F32.gguf", *offered]
        await user.until(lambda: models.shown_ids == listed, f"not all are listed: {models.shown_ids}")
        if size != SMALL:
            await user.sees("F32", "its header is damaged", "To be fetched", "fits", "55 tok/s", "98 MB")
        await user.press(*"fox")
        await user.until(lambda: models.highlighted_id == "models:fox-F32.gguf", "not found")
        await user.press("enter")
        await user.until(lambda: user.screen.chat.info and user.screen.chat.info.name == "fox", "not loaded")
        await user.sees("fox")
        await user.say("the fox")
        await user.idle()
        assert user.said[-1][0] == "assistant"


async def test_a_path_can_be_typed_and_completed(home: Home, tmp_path: Path) -> None:
    async with chat(with_models(home, tmp_path)) as user:
        models = await open_picker(user)
        models.type(f"{tmp_path}/riv")
        await user.until(lambda: models.highlighted_id == f"path:{tmp_path}/river.gguf", "no completion")
        await user.press("tab")
        assert models.query_one(Input).value == f"{tmp_path}/river.gguf"
        await user.press("enter")
        await user.until(
            lambda: user.screen.chat.info and user.screen.chat.info.name == "river", "not loaded"
        )


async def test_a_folder_without_a_model_is_gone_into(home: Home, tmp_path: Path) -> None:
    async with chat(with_models(home, tmp_path)) as user:
        models = await open_picker(user)
        models.type(f"{tmp_path}/ho")
        await user.until(lambda: models.highlighted_id == f"path:{tmp_path}/home/", "no completion")
        await user.press("enter")
        await user.until(lambda: models.query_one(Input).value == f"{tmp_path}/home/", "not gone into")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "the card is still there")
        assert user.screen.chat.info == INFO


def test_completions_are_folders_and_weights(tmp_path: Path) -> None:
    for name in ("a.gguf", "ab.txt", "abc.safetensors", ".hidden.gguf"):
        (tmp_path / name).touch()
    (tmp_path / "Afolder").mkdir()
    expected = [f"{tmp_path}/{name}" for name in ("Afolder/", "a.gguf", "abc.safetensors")]
    assert path_completions(f"{tmp_path}/a") == expected
    assert path_completions(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden.gguf"]
    assert path_completions(f"{tmp_path}/nowhere/x") == []
    assert [is_path(text) for text in ("/x", "~/x", "./x", "llama", "owner/name")] == [True] * 3 + [False] * 2
