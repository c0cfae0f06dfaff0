"""The screens for newcomers, and the choice of a device: what is recommended, fetched, loaded and kept."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from fake_shelves import TINY
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from textual.widgets import Input

from llama_chat.catalogue import DEFAULT
from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound, is_same, parse_device
from llama_chat.chat.machine.newcomer import is_first_run
from llama_chat.chat.machine.recommending import Circumstances, about, recommended
from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.chat import build_setup
from llama_chat.cli.device_access import device_access
from llama_chat.cli.other_models import ModelOpener
from llama_chat.cli.plain import PlainChat
from llama_chat.cli.plain_input import LineReader
from llama_chat.device_facts import DeviceFacts
from llama_chat.errors import DeviceError, Interrupted, PullError, UsageError
from llama_chat.events import ModelInfo
from llama_chat.paths import Paths
from llama_chat.pull import PullProgress
from llama_chat.settings import LoadedSettings, ModelSettings, Settings
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.offers import OFFERS, ModelShape, Offer
from llama_chat.shelves.to_load import ModelToLoad
from llama_chat.ui.first_run.model_step import ModelStep
from llama_chat.ui.first_run.screen import FirstRunScreen
from llama_chat.ui.first_run.try_step import TryStep
from llama_chat.ui.first_run.words import FIRST_PROMPTS
from llama_chat.ui.screens.devices import DevicesScreen

CPU = DeviceFacts("cpu", "A Processor", "2 cores", 24_000_000_000, 20_000_000_000, ("bf16", "int8"))
GPU = DeviceFacts("rocm:0", "A Card", "gfx942", 64_000_000_000, 60_000_000_000, ("bf16", "f16"))
AMD = "There is an AMD GPU, but torch 2.13.0 is not built for ROCm. `pip install torch` mends it."
ROCM_INFO = replace(INFO, device="rocm:0")


def fits_on(device: DeviceFacts, verdict: str = "fits") -> dict[str, ShortFit]:
    return {
        offer.name: ShortFit(verdict, offer.bytes_to_fetch, device.free_bytes, device.name, "bf16")
        for offer in OFFERS
    }


@dataclass
class Machine:
    """Devices of plain data, and models that are fetched as the test says."""

    devices: tuple[DeviceFacts, ...] = (CPU,)
    missing: tuple[str, ...] = ()
    torch_is_there: threading.Event = field(default_factory=threading.Event)
    opened: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    pull_errors: list[Exception] = field(default_factory=list)
    pull_goes_on: threading.Event = field(default_factory=threading.Event)
    infos: dict[str, ModelInfo] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.torch_is_there.set()
        self.pull_goes_on.set()

    def find(self) -> DevicesFound:
        assert self.torch_is_there.wait(20)
        return DevicesFound("2.13.0", self.devices, self.missing)

    def open(self, name: str) -> ModelToLoad:
        self.opened.append(name)
        info = self.infos.get(name, INFO)
        return ModelToLoad(info.name, loader_of(FakeEngine(["Two words."], info=info)), self.puller(name))

    def open_on(self, name: str, device: str) -> ModelToLoad:
        if device not in (*(found.name for found in self.devices), "auto"):
            raise DeviceError(f"No {device} device: torch sees none.", hint="Install torch for it.")
        self.opened.append(f"{name} on {device}")
        info = replace(INFO, device=device)
        return ModelToLoad(INFO.name, loader_of(FakeEngine(["from there"], info=info)))

    def puller(self, name: str) -> Callable[[Callable[[PullProgress], None], threading.Event], None]:
        def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
            self.pulled.append(name)
            report(PullProgress(46_000_000, 92_000_000, 3.0, "Downloading", keeps_part=True))
            while not self.pull_goes_on.wait(0.01):
                if cancel.is_set():
                    raise Interrupted("Stopped.")
            if self.pull_errors:
                raise self.pull_errors.pop(0)

        return pull

    def setup(self, home: Home, *, is_first_run: bool = True) -> ChatSetup:
        access = DeviceAccess(
            self.find,
            lambda path, device, freed: ShortFit("tight", 19_000_000_000, 20_000_000_000, device, "bf16"),
            lambda device: fits_on(next(found for found in self.devices if found.name == device)),
            self.open_on,
        )
        pull = self.puller("the default") if is_first_run else None
        return replace(
            home.setup(FakeEngine(["Two words."]), pull=pull),
            devices=access,
            open_model=self.open,
            is_first_run=is_first_run,
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def machine() -> Machine:
    return Machine()


# --- what is decided --------------------------------------------------------------------------------------


def test_who_is_new_here() -> None:
    new = {"is_model_named": False, "is_model_here": False, "has_chatted": False, "was_welcomed": False}
    assert is_first_run(**new)
    assert not any(is_first_run(**{**new, reason: True}) for reason in new)


def test_a_mark_or_a_model_ends_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "config", tmp_path / "data", tmp_path / "cache", tmp_path / "log")

    def is_new(settings: Settings | None = None, *, continue_last: bool = False) -> bool:
        loaded = LoadedSettings(settings or Settings(), ())
        return build_setup(loaded, paths, resume=None, continue_last=continue_last).is_first_run

    assert is_new()
    assert not is_new(continue_last=True)
    assert not is_new(Settings(model=ModelSettings(model="meta-llama/Llama-3.2-1B-Instruct")))
    paths.data.mkdir()
    paths.welcomed_file.touch()
    assert not is_new()


def test_the_sizes_of_the_offers_are_those_of_the_models() -> None:
    millions = {offer.title: round(offer.shape.parameters / 1e6) for offer in OFFERS}
    assert millions == {
        "SmolLM2-135M-Instruct": 135,
        "SmolLM2-360M-Instruct": 362,
        "SmolLM2-1.7B-Instruct": 1711,
        "Llama-3.2-1B-Instruct": 1236,
        "Llama-3.2-3B-Instruct": 3213,
        "Llama-3.1-8B-Instruct": 8030,
    }


@pytest.mark.parametrize(
    ("known", "title"),
    [
        (Circumstances(), "SmolLM2-135M-Instruct"),
        (Circumstances(CPU, fits_on(CPU), has_token=True), "SmolLM2-135M-Instruct"),
        (Circumstances(GPU, fits_on(GPU)), "SmolLM2-1.7B-Instruct"),
        (Circumstances(GPU, fits_on(GPU), has_token=True), "Llama-3.1-8B-Instruct"),
        (
            Circumstances(GPU, fits_on(GPU), has_token=True, free_disk_bytes=9 * 10**9),
            "Llama-3.2-3B-Instruct",
        ),
        (Circumstances(GPU, fits_on(GPU, "tight"), has_token=True), "SmolLM2-135M-Instruct"),
    ],
)
def test_what_is_recommended(known: Circumstances, title: str) -> None:
    offer, why = recommended(known)
    assert offer.title == title
    assert why.endswith(".")


def test_what_stands_in_the_way_is_said_first() -> None:
    llama = OFFERS[-1]
    known = Circumstances(CPU, fits_on(CPU, "does not fit"), free_disk_bytes=10**9)
    terms, memory, disk, size, *_ = about(llama, known)
    assert "huggingface.co/meta-llama/Llama-3.1-8B-Instruct" in terms
    assert "HF_TOKEN" in terms
    assert "more memory" in memory
    assert "1.0 GB free" in disk
    assert "16.1 GB" in size


def test_an_offer_is_measured_as_its_file_would_be(tmp_path: Path) -> None:
    """Sizes alone tell what the engine plans for the file itself."""
    path = TINY.write(tmp_path / "tiny.gguf")
    shape = ModelShape(
        TINY.dim, TINY.n_layers, TINY.n_heads, TINY.n_kv_heads, TINY.dim // TINY.n_heads, TINY.ffn_dim,
        len(TINY.vocabulary.tokens), TINY.context_length,
    )  # fmt: skip
    from llama_chat.engine.offer_fit import fit_offer
    from llama_chat.engine.quick_fit import quick_fit

    offer = Offer("tiny", "Tiny", shape, "MIT", type_name="F32", table_type_name="F32")
    planned = fit_offer(offer, ModelSettings(device="cpu"))
    real = quick_fit(path, ModelSettings(device="cpu"))
    assert real is not None
    assert (planned.needed_bytes, planned.dtype) == (real.needed_bytes, real.dtype)


@pytest.mark.parametrize("words", ["gpu", "cpu:x", "cuda:", "cpu cpu"])
def test_a_name_that_no_device_has(words: str) -> None:
    with pytest.raises(UsageError, match="There is no device"):
        parse_device(words)


def test_names_of_devices() -> None:
    assert parse_device(" CUDA:1 ") == "cuda:1"
    assert is_same("rocm", "rocm:0")
    assert not is_same("rocm", "rocm:1")


# --- the three screens ------------------------------------------------------------------------------------


async def at_models(user: User) -> ModelStep:
    """On the second screen, with all known."""
    await user.until(lambda: user.app.screen.query(ModelStep), "no first screen")
    step = user.app.screen.query_one(ModelStep)
    await user.until(lambda: step.known.fits, "the machine is not known")
    await user.press("enter")
    await user.sees("To be fetched")
    return step


def phase(user: User) -> str:
    return user.app.screen.query_one(TryStep).phase if user.app.screen.query(TryStep) else "left"


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_newcomer_is_led_to_the_first_words(
    home: Home, machine: Machine, size: tuple[int, int]
) -> None:
    machine.torch_is_there.clear()
    machine.pull_goes_on.clear()
    async with chat(machine.setup(home), size) as user:
        await user.sees("ooking at this machine", "Esc skips")
        assert machine.pulled == []
        machine.torch_is_there.set()
        await user.sees("A Processor", "20.0 GB of 24.0 GB")
        await at_models(user)
        await user.sees("Recommended")
        assert machine.pulled == []
        await user.press("enter")
        await user.sees("46.0 of 92.0 MB", FIRST_PROMPTS[0].text[:20])
        machine.pull_goes_on.set()
        await user.sees("ready")
        await user.press("1")
        await user.until(lambda: user.app.screen is user.screen, "still there")
        assert user.screen.prompt.text == FIRST_PROMPTS[0].text
        assert user.said == []
        await user.press("enter")
        await user.sees("Two words.")
    assert machine.opened == [DEFAULT.name]
    assert machine.pulled == [DEFAULT.name]
    assert home.saved == []
    assert home.paths.welcomed_file.exists()


async def test_esc_does_what_was_done_before(home: Home, machine: Machine) -> None:
    async with chat(machine.setup(home)) as user:
        await user.until(lambda: isinstance(user.app.screen, FirstRunScreen))
        await user.press("escape")
        await user.ready()
        await user.until(lambda: user.app.screen is user.screen)
    assert machine.pulled == ["the default"]
    assert home.paths.welcomed_file.exists()


async def test_esc_loads_what_was_wanted_before_where_the_default_cannot_be_opened(
    home: Home, machine: Machine
) -> None:
    def refuse(name: str) -> ModelToLoad:
        raise UsageError(f"{name} cannot be opened.")

    async with chat(replace(machine.setup(home), open_model=refuse)) as user:
        await user.until(lambda: isinstance(user.app.screen, FirstRunScreen))
        user.app.screen._chosen = "another one"
        await user.press("escape")
        await user.ready()
    assert machine.pulled == ["the default"]


async def test_ctrl_c_fetches_nothing_and_quits(home: Home, machine: Machine) -> None:
    async with chat(machine.setup(home)) as user:
        await user.until(lambda: isinstance(user.app.screen, FirstRunScreen))
        await user.press("ctrl+c")
        await user.sees("Ctrl+C again")
        await user.press("ctrl+c")
        await user.until(lambda: user.app.return_code is not None)
    assert machine.pulled == []
    assert not home.paths.welcomed_file.exists()


async def test_a_download_is_stopped_and_gone_on_with(home: Home, machine: Machine) -> None:
    machine.pull_goes_on.clear()
    async with chat(machine.setup(home)) as user:
        await at_models(user)
        await user.press("enter")
        await user.sees("46.0 of 92.0 MB", "Esc stops")
        await user.press("escape")
        await user.sees("What is here is kept", "Enter tries again")
        machine.pull_goes_on.set()
        await user.press("enter")
        await user.until(lambda: phase(user) == "ready", "not ready")
        assert len(machine.pulled) == 2
        await user.press("enter")
        await user.until(lambda: user.app.screen is user.screen)
        await user.ready()


async def test_what_cannot_be_fetched_leads_back_to_a_path(
    home: Home, machine: Machine, tmp_path: Path
) -> None:
    machine.pull_errors.append(PullError("The Hub cannot be reached.", hint="Is there a network?"))
    model = TINY.write(tmp_path / "fox.gguf")
    machine.infos[str(model)] = replace(INFO, name="fox", path=str(model))
    async with chat(machine.setup(home)) as user:
        step = await at_models(user)
        await user.press("down", "enter")
        await user.sees("The Hub cannot be reached.", "The path of a model")
        step.models.query_one(Input).value = str(model)
        await user.until(lambda: step.models.highlighted_id == f"path:{model}", "the path is not marked")
        await user.press("enter")
        await user.until(lambda: phase(user) == "ready", "not ready")
        await user.press("enter")
        await user.ready()
    assert machine.opened == [OFFERS[1].name, str(model)]
    assert home.saved == [("model", "model", str(model))]


async def test_what_is_on_the_disk_comes_first(home: Home, machine: Machine) -> None:
    home.paths.models.mkdir(parents=True)
    path = TINY.write(home.paths.models / "fox.gguf")
    async with chat(machine.setup(home)) as user:
        step = await at_models(user)
        await user.sees("Models folder", "fox", "nothing is to be fetched")
        assert step.models.shown_ids[0] == step.models.highlighted_id == "models:fox.gguf"
        await user.press("enter")
        await user.until(lambda: phase(user) == "ready", "not ready")
    assert machine.opened == [str(path)]


async def test_welcome_shows_them_again_and_changes_nothing(home: Home, machine: Machine) -> None:
    machine.missing = (AMD,)
    async with chat(machine.setup(home, is_first_run=False)) as user:
        await user.ready()
        await user.say("/welcome")
        await user.sees("There is an AMD GPU", "mends it.", "Esc back")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await user.say("hello")
        await user.sees("Two words.")
    assert machine.opened == []


# --- another device ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_the_picker_moves_the_model(home: Home, size: tuple[int, int]) -> None:
    machine = Machine((GPU, CPU), missing=(AMD,))
    async with chat(machine.setup(home, is_first_run=False), size) as user:
        await user.say("first?")
        await user.sees("Two words.")
        await user.idle()
        await user.press("alt+d")
        await user.sees("rocm:0", "The model takes 19.0 GB")
        if size != SMALL:
            await user.sees("60.0 GB free", "tight")
        assert isinstance(user.app.screen, DevicesScreen)
        await user.press("up", "enter")
        await user.sees("rocm:0 from here on.")
        await user.idle()
        assert user.screen.chat.info == ROCM_INFO
        await user.say("second?")
        await user.sees("from there")
    assert machine.opened == [f"{INFO.path} on rocm:0"]


async def test_a_device_is_typed_and_what_is_missing_is_said(home: Home) -> None:
    machine = Machine((GPU, CPU))
    pace = Pace(is_stepped=True)
    setup = machine.setup(home, is_first_run=False)
    async with chat(replace(setup, loader=loader_of(FakeEngine([None], pace=pace)))) as user:
        await user.ready()
        await user.say("/device cpu")
        await user.sees("runs on cpu already")
        await user.say("/device gpu")
        await user.sees("There is no device 'gpu'")
        assert user.screen.prompt.text == "/device gpu"
        user.screen.prompt.clear_all()
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.say("/device xpu")
        await user.sees("No xpu device", "Install torch for it.")
        assert user.screen.chat.is_replying
        await user.say("/device rocm:0")
        pace.step(100)
        await user.sees("runs on rocm:0 from here on")
    reply = home.stored()[0].path()[-1]
    assert reply.text.startswith("word0 word1 word2")


def test_the_real_functions_agree_with_the_devices_command(tmp_path: Path) -> None:
    """Torch is asked: the CPU is there, a model goes to it, and a card that is not there is told of."""
    import torch

    from llama_chat.engine.device_report import advice, list_devices

    path = TINY.write(tmp_path / "fox.gguf")
    opener = ModelOpener(ModelSettings(), Paths(tmp_path, tmp_path, tmp_path, tmp_path))
    access = device_access(opener)
    found = access.find()
    assert [device.name for device in found.devices] == [facts.name for facts in list_devices()]
    assert found.missing == tuple(advice())
    fit = access.fit(path, "cpu", 0)
    assert fit is not None
    assert fit.verdict == "fits"
    assert set(access.fit_offers("cpu")) == {offer.name for offer in OFFERS}
    engine = access.open_model(str(path), "cpu").loader(lambda _: None, threading.Event())
    assert engine.info.device == "cpu"
    assert opener.settings.device == "cpu"
    engine.close()
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            access.open_model(str(path), "cuda:0")


# --- line by line -----------------------------------------------------------------------------------------


def say_all(setup: ChatSetup, lines: str) -> None:
    plain = PlainChat(setup, LineReader(io.StringIO(lines), is_edited=False), is_talk=False)
    plain.run()


def test_a_device_line_by_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine((GPU, CPU), missing=(AMD,))
    say_all(machine.setup(home, is_first_run=False), "/device\n/device cpu\n/device xpu\n/device rocm\n")
    told = capsys.readouterr().err
    assert "rocm:0: A Card, 60.0 GB of 64.0 GB free; fast: bf16 f16; SmolLM2-135M-Instruct tight." in told
    assert f"{INFO.name} runs there" in told
    assert "There is an AMD GPU" in told
    assert f"{INFO.name} runs on cpu already." in told
    assert "No xpu device" in told
    assert machine.opened == []  # `rocm` alone is no name that this machine knows


def test_the_tree_line_by_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    setup = home.setup(FakeEngine(["A fox.", "Another fox.", "A slow river."]))
    say_all(setup, "first?\n/again\n/tree\n/tree 3\n/find FOX\n/delete 1\n/undo\n/branch 9\n/welcome\n")
    told = capsys.readouterr().err
    assert "1, you: first?" in told
    assert "on another branch, model: A fox. (1 of 2" in told
    assert "model: …Another fox.…" in told
    assert "The chat is at its beginning." in told
    assert "That is no number of a message. /tree lists them." in told
    assert "/welcome needs the screen." in told
