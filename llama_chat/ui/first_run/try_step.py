"""The third of the screens for newcomers: the model on its way, and something to say to it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llama_chat.chat.live import Status
from llama_chat.events import ModelInfo
from llama_chat.pull import PullProgress
from llama_chat.sanitize import sanitize
from llama_chat.ui.first_run.words import FIRST_PROMPTS
from llama_chat.ui.screens.download import figures_content, progress_content
from llama_chat.ui.widgets.status_bar import meter, state_text

LEAD = "To begin with; it goes into the prompt, and Enter sends it:"
Phase: TypeAlias = Literal["fetching", "loading", "stopping", "stopped", "ready"]


class TryStep(Vertical):
    """How far the model is; then the first prompts.

    Args:
        in_words: says of default keys what is said of those in force.
    """

    DEFAULT_CSS = """
    TryStep {
        & > .model { height: 4; margin: 1 1 0 1; }
        & > .model > Static { height: auto; padding: 0 1; border-left: outer $primary; }
        & > .model > .name { text-style: bold; }
        & > .model > .progress { color: $foreground 70%; }
        & > .prompts { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
        & .lead { color: $foreground 60%; margin-bottom: 1; }
        & .prompt {
            height: auto;
            margin-bottom: 1;
            &:hover { background: $primary 12%; }
            & > .key { width: 4; color: $primary; text-style: bold; }
            & > .words { width: 1fr; height: auto; }
        }
    }
    """

    def __init__(self, in_words: Callable[[str], str], choose: Callable[[int], object]) -> None:
        super().__init__()
        self._in_words, self._choose = in_words, choose
        self.phase: Phase = "loading"
        self._progress: PullProgress | None = None
        self._shown = Content("")

    def compose(self) -> ComposeResult:
        """The model above, the prompts below."""
        with Vertical(classes="model"):
            yield Static(classes="name")
            yield Static(classes="progress")
        with VerticalScroll(classes="prompts"):
            yield Static(Content(LEAD), classes="lead")
            for number, prompt in enumerate(FIRST_PROMPTS, 1):
                yield _Choice(number, prompt.text, self._in_words(prompt.seen), self._choose)

    def begin(self, title: str) -> None:
        """This model is on its way."""
        self.phase, self._progress = "loading", None
        self.query_one(".name", Static).update(Content(sanitize(title)))
        self._draw(Content("…"))

    def show(self, progress: PullProgress) -> None:
        """So far is the download."""
        if self.phase != "stopping":
            self.phase = "fetching"
        self._progress = progress
        cells = self._bar_cells
        self._draw(figures_content(progress, cells) if self._is_low else progress_content(progress, cells))

    @property
    def _bar_cells(self) -> int:
        """Room for a bar; some is guessed before the first frame."""
        return self.query_one(".progress", Static).content_size.width or 40

    @property
    def _is_low(self) -> bool:
        return self.screen.has_class("-low")

    def on_resize(self) -> None:
        """Draw what is on its way for the new width."""
        if self._progress is not None and self.phase in ("fetching", "stopping"):
            self.call_after_refresh(self.show, self._progress)

    @property
    def keeps_part(self) -> bool:
        """Whether a stop keeps what is here."""
        return self._progress is not None and self._progress.keeps_part

    def follow(self, status: Status, info: ModelInfo | None) -> None:
        """So far is the loading; called now and then."""
        if status.model_state == "failed":
            if self.phase != "stopped":
                self.phase = "stopped"
                part = " What is here is kept." if self.keeps_part else ""
                self._draw(Content.styled(f"Stopped.{part}", "$text-warning"))
        elif status.model_state == "ready" and info is not None:
            self.is_there(info)
        elif self.phase == "loading":
            words, colour = state_text(status)
            line = Content.assemble((words[:1], colour), words[1:])
            if status.fraction is not None and not self._is_low:
                bar = meter(status.fraction, self._bar_cells)
                line = Content.assemble((bar, "$primary on $foreground 10%"), "\n", line)
            self._draw(line)

    def is_there(self, info: ModelInfo) -> None:
        """It runs."""
        self.phase = "ready"
        facts = f"{info.dtype} · {info.device} · context {info.context_length:,}"
        self._draw(Content.assemble(("● ready", "$success"), "  ", (sanitize(facts), "$foreground 60%")))

    def pulled(self) -> None:
        """All of it is here."""
        if self.phase in ("fetching", "stopping"):
            self.phase = "loading"

    def hints(self) -> tuple[str, ...]:
        """What the keys do now, the longest wording first."""
        take = "1 2 3 take a prompt"
        match self.phase:
            case "fetching":
                whole = (f"Esc stops; the next fetch goes on from there · {take}",) if self.keeps_part else ()
                return (*whole, f"Esc stops · {take}", "Esc stops")
            case "stopping":
                return ("Stopping…",)
            case "stopped":
                again = "Enter tries again"
                return f"{again} · Alt+← another model · Esc leaves it", f"{again} · Alt+← others · Esc"
        return f"{take} · Enter begins with an empty one", f"{take} · Enter"

    def _draw(self, content: Content) -> None:
        if content != self._shown:
            self._shown = content
            self.query_one(".progress", Static).update(content)


class _Choice(Horizontal):
    """One of the prompts with its key and what will be seen; a click takes it."""

    def __init__(self, number: int, text: str, seen: str, choose: Callable[[int], object]) -> None:
        super().__init__(classes="prompt")
        self._number, self._text, self._seen, self._choose = number, text, seen, choose

    def compose(self) -> ComposeResult:
        """The key, and the words."""
        yield Static(Content(f" {self._number}"), classes="key")
        yield Static(Content.assemble(self._text, "\n", (self._seen, "$foreground 50%")), classes="words")

    def on_click(self, event: events.Click) -> None:
        """Take it."""
        event.stop()
        self._choose(self._number)
