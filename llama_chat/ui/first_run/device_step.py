"""The first of the screens for newcomers: what this machine has to run a model on."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llama_chat.chat.machine.devices import DevicesFound
from llama_chat.sanitize import sanitize
from llama_chat.ui.device_words import device_content, missing_content
from llama_chat.ui.first_run.words import PROMISE, device_verdict
from llama_chat.ui.widgets.welcome import LLAMA

LOOKING = "Looking at this machine…"


class DeviceStep(Vertical):
    """Says that it looks, and then what was found."""

    DEFAULT_CSS = """
    DeviceStep {
        & > .greeting {
            height: auto;
            padding: 1 1;
            & > .llama { width: 14; height: auto; color: $primary; }
            & > .promise { width: 1fr; height: 6; content-align: left middle; color: $foreground 70%; }
        }
        & > .found { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
        & .device { height: auto; padding: 0 1; margin-bottom: 1; border-left: outer $foreground 20%; }
        & .device.-best { border-left: outer $primary; }
        & .missing { height: auto; padding: 0 1; margin-bottom: 1; border-left: outer $warning; }
        & .verdict { height: auto; color: $foreground 70%; }
    }
    """

    def compose(self) -> ComposeResult:
        """A greeting, and room for the devices."""
        with Horizontal(classes="greeting"):
            yield Static(Content("\n".join(LLAMA)), classes="llama")
            yield Static(
                Content.assemble(("Welcome to llama-chat.", "bold $foreground"), "\n\n", PROMISE),
                classes="promise",
            )
        with VerticalScroll(classes="found"):
            yield Static(Content(LOOKING), classes="verdict")

    def show(self, found: DevicesFound) -> None:
        """Say what was found."""
        room = self.query_one(".found", VerticalScroll)
        parts = [
            Static(device_content(device), classes="device -best" if device is found.best else "device")
            for device in found.devices
        ]
        parts += [Static(missing_content(line), classes="missing") for line in found.missing]
        room.mount_all(parts, before=0)
        room.query_one(".verdict", Static).update(Content(device_verdict(found)))

    def fail(self, why: str) -> None:
        """Say that nothing could be found out."""
        self.query_one(".verdict", Static).update(Content(f"The machine could not be asked: {sanitize(why)}"))
