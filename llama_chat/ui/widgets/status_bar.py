"""The bottom line: what the program is at, in figures that do not jump, and the keys that count now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.chat.context.figures import NEAR_SHARE
from llama_chat.chat.keys import KEY_ACTIONS, KeyAction, Moment, footer_actions, key_name
from llama_chat.chat.live import Status
from llama_chat.chat.words import format_speed
from llama_chat.sanitize import sanitize
from llama_chat.ui.pacing import FIGURES_PATIENCE_S, FIGURES_S, Paced

METER_CELLS = 8
GAP = 3
"""Cells between two figures."""
SPEED_CELLS = len("99.9 tok/s")
WIDE_CELLS = 96
"""From here on there is room for a bar and for whole names."""
KEYS_CELLS = 28
"""Room for two keys, which go before the lesser figures; on a small screen a fifth of it."""
_LOADING = {"torch": "starting the engine", "header": "reading the file", "weights": "loading the weights"}
"""What the engine reports of its loading, in words."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def _state(status: Status) -> tuple[object, ...]:
    """What is shown at once when it changes."""
    return (status.doing, status.is_replying, status.is_saved, is_held(status))


def meter(fraction: float, cells: int = METER_CELLS, *, reused: float = 0.0) -> str:
    """A bar of so many cells, in eighths of a cell; the part that was reused is hatched, in whole cells."""
    eighths = round(min(max(fraction, 0.0), 1.0) * cells * 8)
    full, rest = divmod(eighths, 8)
    hatched = min(full, round(max(reused, 0.0) * cells))
    return ("▒" * hatched + "█" * (full - hatched) + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def is_held(status: Status) -> bool:
    """Whether the reply waits for its user, or does as soon as its next token is computed."""
    return status.is_replying and bool(status.awaiting or (status.hold and status.doing == "generating"))


def state_text(status: Status) -> tuple[str, str]:
    """A dot with words, and the colour of the dot."""
    if status.model_state == "failed":
        return "● no model", "$error"
    percent = f" {status.fraction * 100:.0f} %" if status.fraction else ""
    if status.model_state == "loading":
        return f"◌ {_LOADING.get(status.doing, status.doing)}{percent}", "$warning"
    if status.is_replying:
        if is_held(status):
            return f"◌ {'paused' if status.hold == 'paused' else 'step mode'}", "$warning"
        if status.doing == "generating":
            return f"● {format_speed(status.tok_per_s)}".ljust(SPEED_CELLS + 2), "$accent"
        doing = "reading the prompt" if status.doing == "ready" else status.doing  # not taken up yet
        return f"● {doing}{percent if doing == 'reading the prompt' else ''}", "$accent"
    return ("● ready, step mode" if status.hold else "● ready"), "$success"


class Figure(NamedTuple):
    """One figure; where it can be written in several ways, those before it leave room for the shortest."""

    texts: tuple[str, ...]
    """Ways to write it, the longest first."""
    style: str
    is_warning: bool = False
    """Such a one leaves no room for others."""
    action: str = ""
    """Of the screen; what a click on it does."""
    stays: bool = False
    """Whether those before it leave room for it, though it has one wording only."""

    @property
    def is_lesser(self) -> bool:
        """Whether it is there only where nothing else wants its room."""
        return len(self.texts) == 1 and not self.stays


def figures(status: Status, width: int = WIDE_CELLS) -> list[Figure]:
    """The figures, the most useful first; those stay where there is little room.

    Those that grow end in spaces: what follows them keeps its place. Each has the same words at a width,
    whatever else there is to say: the eye finds it where it was.
    """
    is_wide = width >= WIDE_CELLS
    parts: list[Figure] = []
    if not status.is_saved:
        words = "not saved yet" if status.can_be_saved else "not saved"
        parts.append(Figure((words, "unsaved"), "$warning bold", is_warning=True))
    if status.context_length:
        parts.append(_context(status, is_wide=is_wide))
    if status.tok_per_s and not status.is_replying:
        speed = format_speed(status.tok_per_s)
        parts.append(Figure((f"last {speed}", speed), "$foreground 60%"))
    if status.first_token_s is not None:
        parts.append(Figure((f"first {status.first_token_s:.2f} s".ljust(12),), "$foreground 60%"))
    if status.reused_tokens:
        parts.append(Figure((f"reused {status.reused_tokens:,}".ljust(12),), "$foreground 60%"))
    if status.reused_tokens and status.context_length:
        free = max(0, status.context_length - status.context_used)
        parts.append(Figure((f"free {free:,}".ljust(10),), "$foreground 60%"))
    if status.engine:
        engine, reason = f"engine {status.engine}", sanitize(status.engine_reason)
        why = (f"{engine}: {reason}",) if reason else ()
        texts = (*why, engine, status.engine) if is_wide else (status.engine,)
        parts.append(Figure(texts, "$foreground 60%", stays=True))
    return parts


def _context(status: Status, *, is_wide: bool) -> Figure:
    about = "≈" if status.is_estimate else ""
    length, used = f"{status.context_length:,}", f"{about}{status.context_used:,}"
    numbers, shortest = f"{used} / {length}", f"{used}/{length}"
    if n := status.dropped_messages:
        left = f"{n:,} message{'' if n == 1 else 's'} left out", f"{n:,} left out"
        wordings = [f"context {numbers} · {words}" for words in left]
        texts = (*wordings, f"{shortest} · {n:,} out", shortest)
        return Figure(texts, "$text-warning", is_warning=True, action="context")
    whole = status.context_length
    bar = meter(status.context_used / whole, reused=status.reused_tokens / whole)
    numbers = numbers.ljust(2 * len(length) + 3)
    wordings = [f"context {numbers}", shortest.ljust(2 * len(length) + 1)]
    if is_wide:
        wordings.insert(0, f"context ▕{bar}▏ {numbers}")
    is_near = status.context_used >= NEAR_SHARE * whole
    return Figure(tuple(wordings), "$text-warning" if is_near else "$foreground 60%", action="context")


def _fitting(figure: Figure, others: Sequence[Figure], free: int) -> str | None:
    """The longest wording for which there is room; None without.

    First with all its spaces and room for those of the others that can be short, so that the wording does
    not change while a number grows; then as it just fits, which is not for the lesser ones of one wording.
    """
    kept = 0 if figure.is_warning else sum(cell_len(f.texts[-1]) + GAP for f in others if not f.is_lesser)
    whole = (text for text in figure.texts if cell_len(text) <= free - kept)
    most = free - kept if figure.is_lesser else free
    fitting = (text for text in figure.texts if cell_len(text.rstrip()) <= most)
    text = next(whole, None) or next(fitting, None)
    return None if text is None else text.rstrip().ljust(min(len(text), free))


class StatusBar(Widget):
    """One line of figures and keys.

    Args:
        actions: the keys in force.
    """

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 2; color: $foreground 60%; }
    """

    status: reactive[Status] = reactive(Status(), repaint=False)

    def __init__(self, actions: Sequence[KeyAction] = KEY_ACTIONS) -> None:
        super().__init__()
        self._actions = actions
        self._places: dict[str, range] = {}
        """Cells in which a click does something, by the action."""
        self._repaint = Paced(self.refresh, FIGURES_S, FIGURES_PATIENCE_S)

    def take_actions(self, actions: Sequence[KeyAction]) -> None:
        """Name the keys of these from now on."""
        self._actions = actions
        self.refresh()

    def watch_status(self, before: Status, now: Status) -> None:
        """Show it: at once when something else begins, figures only so often that they can be read."""
        if _state(before) == _state(now):
            self._repaint.ask()
        else:
            self._repaint.now()

    def on_unmount(self) -> None:
        """Paint no more."""
        self._repaint.forget()

    @property
    def moment(self) -> Moment:
        """What the keys are chosen for."""
        if self.status.is_replying:
            return "held" if is_held(self.status) else "replying"
        return "ready" if self.status.model_state == "ready" else "loading"

    def _key_of(self, name: str) -> str:
        """What is printed on the key of an action; where it has none, its command."""
        action = next(action for action in self._actions if action.action == name)
        return key_name(action.keys[0]) if action.keys else action.command

    def _keys(self, cells: int) -> list[Content]:
        shown: list[Content] = []
        for action in footer_actions(self.moment, self._actions):
            name = key_name(action.keys[0], short=True)
            cells -= cell_len(name) + cell_len(action.label) + (4 if shown else 1)
            if cells < 0:
                if not shown:
                    shown.append(Content.assemble((name, "$primary")))
                break
            shown.append(Content.assemble((name, "$primary"), " ", (action.label, "$foreground 50%")))
        return shown

    async def on_click(self, event: events.Click) -> None:
        """Do what the key does that was clicked."""
        line = self.render().plain
        x = event.x - self.gutter.left
        for name, place in self._places.items():
            if x in place:
                await self.run_action(f"screen.{name}")
                return
        for action in footer_actions(self.moment, self._actions):
            start = line.rfind(f"{key_name(action.keys[0], short=True)} {action.label}")
            if start >= 0 and start <= x < start + len(action.label) + 4:
                await self.run_action(f"screen.{action.action}")
                return

    def render(self) -> Content:
        """The state, then as many figures and keys as there is room for."""
        width = self.content_size.width
        state, colour = state_text(self.status)
        if is_held(self.status):
            state += f" · {self._key_of('pause')} goes on"
        state = sanitize(state)[:width]
        left = Content.assemble((state[:1], colour), (state[1:], "$foreground 80%"))
        room = width - cell_len(state)
        shown = figures(self.status, width)
        self._places = {}
        for n, figure in enumerate(shown):
            text = _fitting(figure, shown[n + 1 :], room - GAP - min(KEYS_CELLS, width // 5))
            if text is not None:
                left = Content(" " * GAP).join([left, Content.assemble((text, figure.style))])
                room -= cell_len(text) + GAP
                if figure.action:
                    self._places[figure.action] = range(left.cell_length - cell_len(text), left.cell_length)
        keys = Content(" " * GAP).join(self._keys(room - GAP))
        return Content.assemble(left, " " * max(0, room - keys.cell_length), keys)
