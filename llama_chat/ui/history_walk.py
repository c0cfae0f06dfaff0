"""Up from the first row of the prompt: what was said before. Down from the last one: back to the draft."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from llama_chat.chat.prompt.recall import Said, Walk
from llama_chat.errors import LlamaChatError
from llama_chat.ui.screens.session_openers import read_store
from llama_chat.ui.widgets.prompt import Prompt, without_controls

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NOTHING_BEGINS_SO = "Nothing that was said begins so."
NOTHING_SAID = "Nothing was said yet."


class HistoryWalk:
    """What was said, as the prompt of one screen goes through it.

    Args:
        screen: the chat's.
        pass_over: called when words were put into the prompt: there is nothing to complete in them.
    """

    def __init__(self, screen: ChatViewScreen, pass_over: Callable[[], None]) -> None:
        self._pass_over = pass_over
        self._screen = screen
        self._prompt = screen.prompt
        self._stored: list[str] = []
        self._walk: Walk | None = None
        self._draft: Prompt.Sent | None = None
        self._shown = ""
        self._waiting_steps = 0
        self.said = Said()

    async def read(self) -> list[str]:
        """All that was said, the newest first; a store that does not answer has told it before."""
        with contextlib.suppress(LlamaChatError):
            self._stored = await read_store(self._screen, self._screen.bridge.store.last_said)
        return self.said.with_stored(self._stored)

    # --- the keys -------------------------------------------------------------------------------------------

    def take_key(self, key: str) -> bool:
        """Go to older words or to newer ones; whether the key was one for that."""
        if key not in ("up", "down") or self._prompt.edited or not self._prompt.selection.is_empty:
            return False
        if self._walk is not None and self._prompt.text != self._shown:
            self._walk = None  # it was changed, and is a draft of its own now: the first one joins the list
            if self._draft is not None:
                self.said.add(self._draft.text)
        navigator, cursor = self._prompt.navigator, self._prompt.cursor_location
        if key == "up":
            return navigator.is_first_wrapped_line(cursor) and self._go_up()
        if self._waiting_steps:
            self._waiting_steps -= 1
            return True
        is_back = self._walk is not None and not self._walk.is_at_draft
        return is_back and navigator.is_last_wrapped_line(cursor) and self._step(-1)

    def _go_up(self) -> bool:
        if self._walk is not None and not self._walk.is_at_draft:
            return self._step(1)
        self._waiting_steps += 1
        if self._waiting_steps == 1:
            self._draft = Prompt.Sent(self._prompt)
            self._screen.run_worker(self._begin(), group="history", exclusive=True)
        return True

    async def _begin(self) -> None:
        try:
            said = await self.read()
        finally:
            steps, self._waiting_steps = self._waiting_steps, 0
        draft = self._draft
        if draft is None or self._prompt.text != draft.typed:  # typing went on
            return
        walk = Walk(said, draft.typed)
        if not walk:
            self._prompt.action_cursor_up()
            self._screen.hint(NOTHING_BEGINS_SO if draft.typed else NOTHING_SAID, is_quiet=True)
            return
        self._walk, self._shown = walk, draft.typed
        for _ in range(steps):
            self._step(1)

    def show(self, said: list[str], text: str) -> None:
        """Put this of what was said into the prompt; Down leads back to what stood there."""
        self._draft = Prompt.Sent(self._prompt)
        self._walk = Walk(said, "")
        self._walk.go_to(text)
        self._show(self._walk, is_upwards=False)

    def _step(self, by: int) -> bool:
        """Always True: at the end of the walk, too, the key is one for it."""
        assert self._walk is not None
        if self._walk.step(by):
            self._show(self._walk, is_upwards=by > 0)
        return True

    def _show(self, walk: Walk, *, is_upwards: bool) -> None:
        """Upwards the cursor stays in the first row, so that the next Up goes on; else it is at the end."""
        self._prompt.clear_all()
        if walk.is_at_draft and self._draft is not None:
            self._prompt.restore(self._draft)
        else:
            self._prompt.take_back(without_controls(walk.text))
        self._shown = self._prompt.text
        self._pass_over()
        if is_upwards:
            self._prompt.move_cursor(self._prompt.navigator.get_location_end((0, 0)))
