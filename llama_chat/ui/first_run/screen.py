"""The screens for newcomers, one after the other; Esc leaves them, and then the default model is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from llama_chat.catalogue import DEFAULT
from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.machine.devices import DevicesFound
from llama_chat.chat.machine.recommending import Circumstances
from llama_chat.chat.prompt.typed_path import is_there, typed_path
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import ModelInfo
from llama_chat.pull import PullProgress
from llama_chat.ui.first_run.device_step import DeviceStep
from llama_chat.ui.first_run.facts import gather
from llama_chat.ui.first_run.model_step import ModelStep
from llama_chat.ui.first_run.try_step import TryStep
from llama_chat.ui.first_run.words import FIRST_PROMPTS, steps_line
from llama_chat.ui.model_finding import ModelFinding
from llama_chat.ui.model_rows import ModelRow
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.units import about_bytes

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

Step: TypeAlias = Literal["device", "model", "try"]
_ORDER: tuple[Step, ...] = ("device", "model", "try")
_LOOK_S = 0.1
SECOND_PRESS_S = 2.0
"""As the chat has it for the second Ctrl+C."""


class FirstRunScreen(Card[None]):
    """Leads to a model that runs, and to the first words.

    Args:
        chat_screen: whose model and prompt it is about.
        is_first: whether no model is on its way; one that is shown again leaves things as they are.
    """

    AUTO_FOCUS = None
    DEFAULT_CSS = """
    FirstRunScreen {
        background: $background;
        & > .card {
            width: 80;
            max-width: 100%;
            height: 100%;
            max-height: 34;
            background: $background;
            border-left: none;
        }
        & .steps { height: 1; padding: 0 1; margin-bottom: 1; }
        & .body { height: 1fr; }
        & .hint { height: 1; }
        &.-low {
            & > .card { padding: 0; }
            & .steps { margin-bottom: 0; }
            & .greeting, & .lead, & TryStep .name { display: none; }
            & .device, & .missing, & .prompt { margin-bottom: 0; }
            & ModelStep > .room { height: 3; margin: 0 1; }
            & ModelStep Input { margin: 0 1; }
            & TryStep > .model { height: 1; margin: 0 1; }
            & .prompts { padding: 0 1; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "Go on", show=False),
        Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True),
        Binding("alt+left", "go_back", "Back", show=False, priority=True),
        *(Binding(str(n), f"take_prompt({n})", show=False) for n in range(1, len(FIRST_PROMPTS) + 1)),
    ]

    class FoundDevices(Message):
        """The machine was looked at."""

        def __init__(self, found: DevicesFound | None, known: Circumstances, why: str = "") -> None:
            super().__init__()
            self.found, self.known, self.why = found, known, why

    class Learned(Message):
        """More is known of the models on this disk."""

        def __init__(self, rows: Sequence[ModelRow]) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, chat_screen: ChatViewScreen, *, is_first: bool) -> None:
        super().__init__()
        self._chat_screen = chat_screen
        self._is_first = is_first
        self._wants_model = is_first
        self._step: Step = "device"
        self._device_step, self._model_step = DeviceStep(), ModelStep()
        self._try_step = TryStep(chat_screen.keys.in_words, self.action_take_prompt)
        self._asker = OwnThread("looking at the machine", gives_way=True)
        self._has_devices = self._is_asking = False
        self._chosen: str | None = None
        self._info_before: ModelInfo | None = None
        self._finding = ModelFinding(
            chat_screen.setup, chat_screen.bridge.used, "", self._freed_bytes, self._tell_rows
        )

    # --- what stands there ----------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Which step it is, the step, and what the keys do."""
        with Vertical(classes="card"):
            yield Static(classes="steps")
            with Horizontal(classes="body"):
                yield self._device_step
                yield self._model_step
                yield self._try_step
            yield FittingLine("", classes="hint")

    def on_mount(self) -> None:
        """Begin to look at the machine."""
        super().on_mount()
        self._show_step()
        self.call_after_refresh(self._begin_to_look)  # all that shows what is found is there by then

    def _begin_to_look(self) -> None:
        access = self._chat_screen.setup.devices
        if access is not None:
            self._asker.do(lambda: gather(access, self._chat_screen.setup.paths, self._tell_devices))
        self._finding.start()
        self.set_interval(_LOOK_S, self._look)

    def on_unmount(self) -> None:
        """Look no further."""
        self._finding.stop()
        self._asker.close(0)  # its thread would hold the screen for ever

    def on_resize(self) -> None:
        """As much as there is room for."""
        self.call_after_refresh(self._show_step)
        self.call_after_refresh(self._model_step.show)

    def _stay_above_prompt(self) -> None:
        """It takes all of the screen."""

    def _show_step(self) -> None:
        if not self.query(".hint"):  # it was left before its next frame
            return
        self._device_step.display = self._step == "device"
        self._model_step.display = self._step == "model"
        self._try_step.display = self._step == "try"
        self.query_one(".steps", Static).update(steps_line(_ORDER.index(self._step), self.size.width - 4))
        self._show_hint()

    def _go_to(self, step: Step) -> None:
        self._step = step
        self._show_step()
        if step == "model":
            self.call_after_refresh(self._model_step.show)
            self._model_step.focus_list()
        else:
            self.set_focus(None)

    def _show_hint(self) -> None:
        for hint in self.query(".hint").results(FittingLine):
            hint.say(*self._hints())

    def _hints(self) -> tuple[str, ...]:
        if self._is_asking:
            return ("Press Ctrl+C again to quit.",)
        if self._step == "try":
            return self._try_step.hints()
        does = "Enter goes on" if self._step == "device" else "Enter takes it"
        if not self._wants_model:
            return f"{does} · Esc back to the chat", f"{does} · Esc back"
        size = about_bytes(DEFAULT.download_bytes)
        return f"{does} · Esc skips: fetches {DEFAULT.title} ({size})", f"{does} · Esc skips"

    # --- what is learned ------------------------------------------------------------------------------

    def _tell_devices(self, found: DevicesFound | None, known: Circumstances, why: str) -> None:
        self._has_devices = found is not None
        self.post_message(self.FoundDevices(found, known, why))

    def _tell_rows(self, rows: Sequence[ModelRow]) -> None:
        self.post_message(self.Learned(rows))

    def _freed_bytes(self) -> int | None:
        info = self._chat_screen.chat.info
        return (info.weights_bytes if info else 0) if self._has_devices else None

    @on(FoundDevices)
    def _show_devices(self, event: FoundDevices) -> None:
        if event.found is None:
            self._device_step.fail(event.why)
        elif event.known.fits is None:
            self._device_step.show(event.found)
        self._model_step.show_known(event.known)

    @on(Learned)
    def _show_rows(self, event: Learned) -> None:
        self._model_step.show_rows(event.rows)

    # --- the model ------------------------------------------------------------------------------------

    @on(ModelStep.Chosen)
    def _take_model(self, event: ModelStep.Chosen) -> None:
        event.stop()
        screen, chat = self._chat_screen, self._chat_screen.chat
        if screen.setup.open_model is None:
            self._model_step.say("No other model can be loaded here.")
            return
        try:
            model = screen.setup.open_model(event.name)
        except LlamaChatError as error:
            self._model_step.say(str(error))
            return
        self._chosen, self._info_before = event.name, chat.info
        step = self._try_step
        step.begin(event.title)
        self._go_to("try")
        if chat.info is not None and event.name == chat.info.path:
            self._info_before = None
            step.is_there(chat.info)
        elif self._wants_model or chat.status.model_state == "failed":
            chat.switching.begin_first(model)
        else:
            chat.switching.begin(model)
        self._wants_model = False

    def show(self, progress: PullProgress) -> None:
        """So far is the download."""
        self._try_step.show(progress)
        self._show_hint()

    def end(self) -> None:
        """All of it is here, or it will not come."""
        self._try_step.pulled()

    def _look(self) -> None:
        """Follow the loading: the chat is told of it, not this screen."""
        if self._step != "try":
            return
        step, chat = self._try_step, self._chat_screen.chat
        was, error = step.phase, chat.load_error or chat.switching.error
        if error is not None and was != "stopped" and not isinstance(error, Interrupted):
            self._say_why(error)
        elif error is not None or chat.info is None or chat.info is not self._info_before:
            step.follow(chat.status, chat.info)
        if step.phase == "ready" and was != "ready":
            self._keep_choice()
        self._show_hint()

    def _say_why(self, error: LlamaChatError) -> None:
        """Back to the list: another one, or a path, may do."""
        chat = self._chat_screen.chat
        self._wants_model = self._is_first and chat.info is None
        chat.switching.take_error()
        self._go_to("model")
        words = f"{error.message} {error.hint}".strip()
        self._model_step.say(f"{words} The path of a model on this disk will do, too.")

    def _keep_choice(self) -> None:
        """The next start takes the same model."""
        chosen, self._chosen = self._chosen, None
        info = self._chat_screen.chat.info
        if chosen is None or info is None:
            return
        path = typed_path(chosen)
        kept = str(path.absolute()) if "/" in chosen and is_there(path) else chosen
        screen, wanted = self._chat_screen, "" if chosen == DEFAULT.name else kept
        if wanted != screen.setup.settings.model.model:
            screen.bridge.save_setting("model", "model", wanted)
        screen.bridge.note_welcomed()

    # --- keys -----------------------------------------------------------------------------------------

    def action_go_on(self) -> None:
        """The next step; from the last one, the chat."""
        phase = self._try_step.phase
        if self._step == "device":
            self._go_to("model")
        elif self._step == "try" and phase == "stopped":
            self._try_step.begin(self._chat_screen.chat.switching.label)
            self._chat_screen.chat.load_again()
        elif self._step == "try" and phase in ("ready", "loading"):
            self.dismiss(None)

    def action_go_back(self) -> None:
        """The step before, unless a model is on its way."""
        if self._step == "model":
            self._go_to("device")
        elif self._step == "try" and self._try_step.phase in ("stopped", "ready"):
            self._go_to("model")

    def action_take_prompt(self, number: int) -> None:
        """Put one of the first prompts where it can be sent."""
        if self._step == "try":
            self._chat_screen.prompt.take_back(FIRST_PROMPTS[number - 1].text)
            self.dismiss(None)

    def action_leave(self) -> None:
        """Stop the download; else go to the chat, where the default model is fetched if none was chosen."""
        step = self._try_step
        if self._step == "try" and step.phase == "fetching":
            step.phase = "stopping"
            self._chat_screen.bridge.worker.stop_loading()
            self._show_hint()
        elif self._step != "try" or step.phase != "stopping":
            if self._wants_model:
                self._skip()
            self.dismiss(None)

    def _skip(self) -> None:
        """As if it had never been shown: the default model is fetched."""
        screen = self._chat_screen
        screen.bridge.note_welcomed()
        if screen.setup.open_model is None or self._chosen is None:
            screen.bridge.worker.load()
            return
        try:
            screen.chat.switching.begin_first(screen.setup.open_model(DEFAULT.name))
        except LlamaChatError as error:
            screen.hint(str(error), "warning")
            screen.bridge.worker.load()  # the one that was wanted before: else nobody loads one

    async def action_interrupt(self) -> None:
        """Ctrl+C fetches nothing: twice, it quits."""
        await self.app.run_action("app.quit_on_second_press")
        self._is_asking = True
        self._show_hint()
        self.set_timer(SECOND_PRESS_S, self._ask_no_more)

    def _ask_no_more(self) -> None:
        self._is_asking = False
        self._show_hint()

    def on_click(self, event: events.Click) -> None:
        """The line of the keys does what Enter does."""
        if event.widget is self.query_one(".hint"):
            event.stop()
            self.action_go_on()
