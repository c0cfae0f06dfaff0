"""The walk: a text on its way through the model, step by step, with the model's own numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from llama_chat.chat.walking.desk import WalkDesk
from llama_chat.chat.walking.place import WalkPlace
from llama_chat.chat.walking.source import WalkSource
from llama_chat.drawing.views import Difference, Look, StepView, Walker, WalkFacts, WalkOpener
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.ui.walk.altering import AlteringWalk
from llama_chat.ui.walk.opening import source_when_written
from llama_chat.ui.walk.picture_view import PictureView
from llama_chat.ui.walk.step_list import StepList
from llama_chat.ui.walk.token_line import TokenLine
from llama_chat.ui.walk.waiting import heard

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

T = TypeVar("T")

MARK_AFTER_S = 0.15
"""What comes sooner needs no mark of its being computed."""
PROGRESS_S = 0.1
MOST_LOOKS = 20
"""Heads that `f` goes round."""
_MAPS_OF_LOOKS = ("scores", "mask", "softmax")


class WalkScreen(AlteringWalk):
    """All of a walk; the chat goes on behind it.

    Args:
        chat: the chat's screen.
        source: what is walked through.
        opener: makes the walk.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c,q", "leave", "Back", show=False),
        Binding("left_square_bracket,pageup", "layer(-1)", "Layer before", show=False),
        Binding("right_square_bracket,pagedown", "layer(1)", "Next layer", show=False),
        Binding("comma,less_than_sign", "head(-1)", "Head before", show=False),
        Binding("full_stop,greater_than_sign", "head(1)", "Next head", show=False),
        Binding("plus,equals_sign", "zoom(1)", "Nearer", show=False),
        Binding("minus", "zoom(-1)", "Further", show=False),
        Binding("v", "next_picture", "Next picture", show=False),
        Binding("f", "find_head", "Head that looks most", show=False),
        Binding("t", "choose_token", "Token", show=False),
        Binding("e", "export('svg')", "Export", show=False),
        Binding("E", "export('html')", "Export a page", show=False),
        Binding("s", "stop_reply", "Stop the reply", show=False),
        Binding("question_mark,f1", "help", "Keys", show=False),
        Binding("tab", "next_part(1)", show=False, priority=True),
        Binding("shift+tab", "next_part(-1)", show=False, priority=True),
    ]

    def __init__(self, chat: ChatViewScreen, source: WalkSource, opener: WalkOpener) -> None:
        super().__init__()
        self.chat = chat
        self.desk = WalkDesk(chat.bridge.worker.compute, opener)
        self._source = source
        self.walk: Walker | None = None
        """Once it is open; asked by `desk` only, but for its facts and steps."""
        self._told_besides: int | None = None
        """The position for which lens and exactness are shown, or on their way."""
        self._looks: tuple[tuple[int, int], tuple[Look, ...], int] | None = None
        self._asked = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def on_mount(self) -> None:
        """Begin the walk."""
        super().on_mount()
        self._start(self._open())

    def on_unmount(self) -> None:
        """Give up what is asked, and let the memory go."""
        self.desk.close()
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- asking the engine ----------------------------------------------------------------------------------

    async def _open(self) -> None:
        """The pass, then what is shown beside every step."""
        source = await source_when_written(self.chat, self._source, self._show_waiting)
        future = heard(self.desk.open(source))
        while not future.done():
            self._show_waiting()
            await asyncio.wait({future}, timeout=PROGRESS_S if self.desk.fraction else MARK_AFTER_S)
        try:
            walk = future.result()
        except Interrupted:
            return
        except LlamaChatError as error:
            self.show_trouble("There is no walk:", str(error))
            return
        self.walk, self.alteration = walk, walk.alteration
        self.all_labels, self.note = walk.facts.labels, self.desk.text.note
        last = len(self.all_labels) - 1
        self.say("title", f"Walk · {walk.facts.model}", "Walk")
        self.show_facts(walk.facts, None)
        self.show_hint()
        self.go(WalkPlace(position=last, target=max(0, last - 1)))

    def _show_waiting(self) -> None:
        """What the walk waits for, in words."""
        status = self.chat.chat.status
        if self.desk.fraction:
            self.show_trouble(f"The text goes through the model: {self.desk.fraction:.0%}", "")
        elif status.is_replying:
            self.show_trouble(
                "A reply is being written.",
                "The walk begins when it is over: the model does one thing at a time. s stops the reply, Esc "
                "goes back to it.",
            )
        elif status.model_state == "loading":
            self.show_trouble("The model is being loaded.", "The walk begins when it is there.")
        else:
            self.show_trouble("The text goes through the model …", "")

    def go(self, place: WalkPlace) -> None:
        """Be there: the place is shown at once, its numbers when they are computed."""
        if self.walk is None:
            return
        self.give_up_map()
        self.place = place
        self._asked += 1
        self.show_hint()
        self.show_place(self.walk.steps, self.walk.facts)
        self._start(self._fetch(self._asked))

    def ask_again(self) -> None:
        """What is shown is no longer so (the model was altered): compute it anew."""
        self._looks = self._told_besides = None
        self._asked += 1
        self._start(self._fetch(self._asked))

    async def _fetch(self, number: int) -> None:
        assert self.walk is not None
        place = self.place
        name = self.walk.steps[place.step].name
        asked = self.desk.ask(lambda walk: walk.step(name, place.layer, place.head), place.position)
        view = await self._answer(asked, number, "computing …")
        if view is None:
            return
        self.show_view(view)
        if place.position != self._told_besides:
            self._told_besides = place.position
            self._start(self._fetch_besides(place.position))

    async def _fetch_besides(self, position: int) -> None:
        """What the layers would say, and how exact the steps are; not before the step is there."""
        self._start(self.show_comparison(position))
        lens = await self._answer(self.desk.ask_besides(lambda walk: walk.step("lens"), position), None, "")
        if lens is not None and position == self.place.position:
            self.show_lens(lens)
        found = await self._answer(self.desk.ask_besides(_facts_of, position), None, "")
        if found is not None and position == self.place.position:
            self.show_facts(*found)

    async def _answer(self, asked: Future[T], number: int | None, mark: str) -> T | None:
        """What was asked; None where something else has been asked since, or it failed and was told."""
        future = heard(asked)
        done, _ = await asyncio.wait({future}, timeout=MARK_AFTER_S)
        if not done and mark and number == self._asked:
            self.say("picture-head", mark)
        try:
            answer = await future
        except Interrupted:
            return None
        except LlamaChatError as error:
            if number in (None, self._asked):
                self.show_trouble("This could not be computed:", str(error))
            return None
        return answer if number in (None, self._asked) else None

    # --- moving about ---------------------------------------------------------------------------------------

    @on(StepList.Moved)
    def _to_step(self, event: StepList.Moved) -> None:
        event.stop()
        if self.walk is not None:
            moved = self.place.moved(self.walk.steps, event.by)
            if moved != self.place:
                self.go(moved)

    def action_layer(self, by: int) -> None:
        """Another layer."""
        if self.walk is not None:
            self._turn(self.place.in_layer(self.walk.facts, by), "layer")

    def action_head(self, by: int) -> None:
        """Another head."""
        if self.walk is not None:
            self._turn(self.place.in_head(self.walk.facts, by), "head")

    def _turn(self, place: WalkPlace, what: str) -> None:
        """Another layer or head, where the step has any; else it is kept for those that do."""
        assert self.walk is not None
        step = self.walk.steps[self.place.step]
        counts = step.in_layer if what == "layer" else step.in_head
        self.go(place)
        if not counts:
            self.tell(f"This step is the same for every {what}: the choice counts for those that are not.")

    def action_next_picture(self) -> None:
        """The next picture of the step."""
        if len(self.pictures) > 1:
            self.show_picture(1)
        elif self.pictures:
            self.tell("This step has one picture only.")

    def action_zoom(self, steps: int) -> None:
        """Look at the map from nearer or further away."""
        if self.picture.window is None:
            self.tell("Only heat maps can be looked at from nearer.")
        elif not self.picture.zoom_by(steps):
            self.tell("It cannot be seen any nearer." if steps > 0 else "This is all of it.")
        else:
            self.show_hint()

    def action_next_part(self, way: int) -> None:
        """The keyboard to the next part: steps, picture, words."""
        parts: list[Widget] = [self.query_one(StepList), self.picture, self.query_one("#walk-words")]
        at = parts.index(self.focused) if self.focused in parts else 0
        parts[(at + way) % len(parts)].focus()

    def action_leave(self) -> None:
        """Out of the map that is made, out of the tokens; else back to the chat."""
        if self.give_up_map():
            return
        if self.focused is self.tokens:
            self.query_one(StepList).focus()
        elif self.is_current:
            self.dismiss(None)

    def action_help(self) -> None:
        """All keys."""
        from llama_chat.ui.walk.help import WalkHelp

        self.app.push_screen(WalkHelp())

    def action_stop_reply(self) -> None:
        """Stop the reply that the walk waits for."""
        if self.walk is None and self.chat.chat.is_replying:
            self.chat.chat.stop()

    # --- tokens ---------------------------------------------------------------------------------------------

    def action_choose_token(self) -> None:
        """Mark a token."""
        if self.tokens.display:
            self.tokens.focus()
        else:
            self.tell("There is no room for the tokens here: make the window larger.")

    @on(TokenLine.Marked)
    def _mark(self, event: TokenLine.Marked) -> None:
        event.stop()
        self.place = self.place.looking_at(min(event.place, self.place.position))

    @on(TokenLine.Taken)
    def _walk_from(self, event: TokenLine.Taken) -> None:
        event.stop()
        self.query_one(StepList).focus()
        self.go(self.place.looking_from(event.place))

    @on(PictureView.Moved)
    def _looking(self, event: PictureView.Moved) -> None:
        event.stop()
        if event.column <= self.place.position and self.walk is not None:
            self.place = self.place.looking_at(event.column)
            self.tokens.show(self.all_labels, self.place.position, self.place.target)

    def action_find_head(self) -> None:
        """The head that looks most at the marked token; again, the next one."""
        if self.walk is not None:
            row = self.place.position
            if self.focused is self.picture and (pair := self.picture.pair) is not None:
                row = max(pair[0], self.place.target)
            self._start(self._find_head(row, self.place.target))

    async def _find_head(self, row: int, target: int) -> None:
        if self._looks is None or self._looks[0] != (row, target):
            asked = self.desk.ask_besides(
                lambda walk: walk.heads_looking_at(target, row, MOST_LOOKS), self.place.position
            )
            self.tell("looking at all heads …")
            looks = await self._answer(asked, None, "")
            if not looks:
                return
            self._looks = ((row, target), looks, 0)
        else:
            of, looks, place = self._looks
            self._looks = (of, looks, (place + 1) % len(looks))
        self._go_to_look()

    def _go_to_look(self) -> None:
        assert self.walk is not None
        assert self._looks is not None
        (row, target), looks, place = self._looks
        look = looks[place]
        names = [step.name for step in self.walk.steps]
        at = self.place.step if names[self.place.step] in _MAPS_OF_LOOKS else names.index("softmax")
        self.go(WalkPlace(at, look.layer, look.head, self.place.position, target))
        of = "most" if place == 0 else f"number {place + 1}"
        self.tell(
            f"Layer {look.layer + 1} head {look.head + 1}: {100 * look.share:.0f} % from "
            f"‹{self.all_labels[row]}› to ‹{self.all_labels[target]}› ({of}) · f again: the next one"
        )

    # --- files ----------------------------------------------------------------------------------------------

    def action_export(self, form: str) -> None:
        """Write the step into a file."""
        if self.view is not None and self.walk is not None:
            self._start(self._export(self.view, form))

    async def _export(self, view: StepView, form: str) -> None:
        from llama_chat.chat.walking.exporting import write_step

        assert self.walk is not None
        facts = self.walk.facts
        try:
            path = await asyncio.wrap_future(self.chat.bridge.ask_disk(lambda: write_step(view, facts, form)))
        except LlamaChatError as error:
            self.tell(str(error))
        else:
            self.tell(f"Wrote {path}")


def _facts_of(walk: Walker) -> tuple[WalkFacts, Difference]:
    return walk.facts, walk.difference()
