"""The card with the devices: what is free there, and whether the model that runs would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.machine.devices import AUTO, DeviceAccess, DevicesFound, is_same, parse_device
from llama_chat.device_facts import DeviceFacts
from llama_chat.events import ModelInfo
from llama_chat.sanitize import one_line, sanitize
from llama_chat.shelves.fit import ShortFit
from llama_chat.ui.device_words import missing_content
from llama_chat.ui.model_rows import VERDICTS
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.fitting import FittingLine, cut
from llama_chat.units import about_bytes

if TYPE_CHECKING:
    from llama_chat.shelves.to_load import ModelToLoad
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NO_OTHER = "No other device can be chosen here."
STILL_LOADING = "The model is still loading. Esc gives that up; then it can go elsewhere."
HINTS = ("Enter runs the model there · Esc back", "Enter runs it there · Esc back", "Enter · Esc")
_PRODUCT_CELLS = 30


def choose_device(screen: ChatViewScreen) -> None:
    """Show what there is; the model goes to the chosen one."""
    if screen.setup.devices is None:
        screen.hint(NO_OTHER, "warning")
        return

    def take(name: str | None) -> None:
        if name is not None:
            take_device(screen, name)

    screen.app.push_screen(DevicesScreen(screen.setup.devices, screen.chat.info), take)


def take_device(screen: ChatViewScreen, words: str) -> None:
    """Run the model on this device; whether there is such a one is found out on another thread.

    Raises:
        UsageError: no device has such a name.
    """
    device, access, chat = parse_device(words), screen.setup.devices, screen.chat
    if access is None:
        screen.hint(NO_OTHER, "warning")
        return
    if chat.status.model_state == "loading":
        screen.hint(STILL_LOADING, "warning")
        return
    if chat.info is not None and is_same(device, chat.info.device):
        screen.hint(f"{one_line(chat.info.name)} runs on {chat.info.device} already.")
        return
    name = chat.info.path if chat.info is not None else screen.setup.settings.model.model
    running = chat.info

    def take(model: ModelToLoad | None, error: Exception | None) -> None:
        if error is not None:
            screen.hint(str(error), "warning", seconds=15.0)
        elif model is not None and chat.info is running:
            chat.switching.begin(model)

    def look() -> None:
        try:
            model = access.open_model(name, device)
        except Exception as error:  # a driver may fail in any way
            screen.call_later(take, None, error)
        else:
            screen.call_later(take, model, None)

    looking = OwnThread("looking for a device", gives_way=True)
    looking.do(look)
    looking.close(0)  # that is all it has to do


class DevicesScreen(Card[str]):
    """Choose a device; its name is the result.

    Args:
        access: what is asked.
        info: the model that runs; None: there is none.
    """

    DEFAULT_CSS = """
    DevicesScreen {
        & > .card { height: 100%; max-height: 24; }
        & FilterList { height: auto; max-height: 50%; }
        & FilterList > OptionList { height: auto; max-height: 100%; }
        & .about { height: 1fr; padding: 1 1 0 1; color: $foreground 60%; }
        &.-low > .card { height: 100%; }
        &.-low .about { padding: 0 1; }
    }
    """

    class Learned(Message):
        """The devices are known, and how the model fits, as far as that is known."""

        def __init__(self, found: DevicesFound | None, fits: Mapping[str, ShortFit], why: str = "") -> None:
            super().__init__()
            self.found, self.fits, self.why = found, fits, why

    def __init__(self, access: DeviceAccess, info: ModelInfo | None) -> None:
        super().__init__()
        self._access, self._info = access, info
        self._found: DevicesFound | None = None
        self._fits: Mapping[str, ShortFit] = {}

    def compose(self) -> ComposeResult:
        """Title, list, what is to be known, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Devices"), classes="title")
            yield FilterList("type to search…", empty="Looking at this machine…")
            yield Static(classes="about")
            yield FittingLine(*HINTS, classes="hint")

    def on_mount(self) -> None:
        """Begin to look."""
        super().on_mount()
        self.query_one(FilterList).show_items(())
        looking = OwnThread("looking at the devices", gives_way=True)
        looking.do(self._look)
        looking.close(0)  # that is all it has to do

    def _look(self) -> None:
        try:
            found = self._access.find()
            self.post_message(self.Learned(found, {}))
            if self._info is not None:
                self.post_message(self.Learned(found, self._fits_of(found, self._info)))
        except Exception as error:  # torch and drivers fail in any way
            self.post_message(self.Learned(None, {}, str(error) or type(error).__name__))

    def _fits_of(self, found: DevicesFound, info: ModelInfo) -> Mapping[str, ShortFit]:
        fits = {}
        for device in found.devices:
            freed = info.weights_bytes if device.name == info.device else 0
            fit = None if device.problem else self._access.fit(Path(info.path), device.name, freed)
            if fit is not None:
                fits[device.name] = fit
        return fits

    @on(Learned)
    def _take_in(self, event: Learned) -> None:
        if event.found is None:
            self.query_one(".about", Static).update(Content.styled(sanitize(event.why), "$text-warning"))
            return
        self._found, self._fits = event.found, event.fits
        running = self._info.device if self._info is not None else ""
        models = self.query_one(FilterList)
        best = event.found.best
        items = [self._item(device, running) for device in event.found.devices]
        automatic = f"the best one: {best.name}" if best is not None else "none answers"
        items.append(_plain_item(AUTO, automatic))
        models.show_items(items, marked=models.highlighted_id or running or None)
        self._follow()

    def _item(self, device: DeviceFacts, running: str) -> Item:
        is_running = device.name == running
        product = cut(one_line(device.product), _PRODUCT_CELLS)
        fit = self._fits.get(device.name)
        words, style = VERDICTS.get(fit.verdict if fit else "", ("", ""))
        memory = about_bytes(device.free_bytes) + " free" if device.free_bytes is not None else ""
        return Item(
            device.name,
            Content.assemble(
                ("● ", "$success") if is_running else "  ",
                (device.name.ljust(8), "bold" if is_running else ""),
                (f" {product}", "$foreground 60%"),
            ),
            f"{device.name} {device.product}",
            name=device.name,
            aside=Content.assemble(
                (memory.rjust(13), "$foreground 60%"), "  ", (words.ljust(7), style or "")
            ),
        )

    @on(FilterList.Highlighted)
    def _follow(self) -> None:
        marked = self.query_one(FilterList).highlighted_id
        if self._found is not None and marked is not None:
            lines = [missing_content(line) for line in self._about(marked, self._found)]
            self.query_one(".about", Static).update(Content("\n").join(lines))

    def _about(self, name: str, found: DevicesFound) -> Sequence[str]:
        device = next((device for device in found.devices if device.name == name), None)
        lines = list(found.missing)
        if device is None:
            return lines or [f"torch {found.torch} chooses."]
        if device.problem:
            return [device.problem, *lines]
        fast = f"; fast there: {' '.join(device.fast)}" if device.fast else ""
        own = [f"{device.memory_text}{fast}."]
        if (fit := self._fits.get(name)) is not None:
            own.append(f"The model takes {about_bytes(fit.needed_bytes)} there, in {fit.dtype}.")
        return own + lines

    @on(FilterList.Chosen)
    def _take(self, event: FilterList.Chosen) -> None:
        self.dismiss(event.item_id)


def _plain_item(name: str, words: str) -> Item:
    content = Content.assemble("  ", name.ljust(8), (f" {words}", "$foreground 60%"))
    return Item(name, content, f"{name} {words}", name=name)
