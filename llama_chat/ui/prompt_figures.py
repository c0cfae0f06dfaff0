"""What the prompt says of its tokens: how many they are, and whether there is room for them."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from llama_chat.chat.backstage.counting import AskEngine, TokenCounter
from llama_chat.errors import LlamaChatError
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from llama_chat.chat.talk import Talk


WAIT_S = 0.08
"""Words are counted once the fingers rest for so long, or every so often while they do not."""
NEAR_SHARE = 0.5
"""Of the room that is left; from there on the room is named, too."""
_COMMAND = re.compile(r"/[a-z?]*(?: [^\n]*)?")


class PromptFigures:
    """Keeps the figures in the border of the prompt true.

    Args:
        prompt: whose words are counted.
        talk: whose context they go into.
        ask: calls something with the engine that is loaded, on the caller's thread; None without one.
    """

    def __init__(self, prompt: Prompt, talk: Talk, ask: AskEngine) -> None:
        self._prompt = prompt
        self._talk = talk
        self._counter = TokenCounter(ask, lambda: prompt.call_later(self._counted))
        self._is_waiting = False
        self._seen: tuple[object, ...] = ()
        self._model: object = None

    # --- when something has changed -----------------------------------------------------------------------

    def text_changed(self) -> None:
        """The words are others: count them soon. Costs a comparison."""
        if not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(WAIT_S, self._take)

    def follow(self) -> None:
        """The model or the context may be another. Costs a comparison."""
        status, info = self._talk.status, self._talk.info
        model = info if status.model_state == "ready" else None
        if model is not self._model:
            self._model = model
            self._counter.forget()
            self._prompt.chip_tokens.clear()
            self._prompt.redraw_chips()
            if self._prompt.is_attached:
                self.text_changed()
        seen = (status.context_used, status.context_length, self._model is None)
        if seen != self._seen:
            self._seen = seen
            self._show()

    def _take(self) -> None:
        self._is_waiting = False
        if self._prompt.is_attached:
            if self._model is not None and self._prompt.text:
                self._counter.want(self._parts(self._prompt.text), self._talk.conversation.system)
            self._show()

    def _counted(self) -> None:
        prompt, tokens = self._prompt, self._prompt.chip_tokens
        is_new = False
        for chip in (part for part in prompt.chips.parts(prompt.text) if isinstance(part, Chip)):
            count = self._counter.count_of(chip.text)
            if count is not None and tokens.get(chip.text) != count:
                tokens[chip.text], is_new = count, True
                self._tell_too_long(chip, count)
        if is_new:
            prompt.redraw_chips()
        self._show()

    def _tell_too_long(self, chip: Chip, tokens: int) -> None:
        overhead = self._counter.overhead_of(self._talk.conversation.system)
        room = self._talk.status.context_length - (overhead.first if overhead is not None else 0)
        if tokens >= room:
            name, info = chip.name or "What was pasted", self._talk.info
            can_grow = info is not None and (not info.longest_context or info.longest_context > tokens)
            error = LlamaChatError(
                f"{name} has {tokens:,} tokens; the context has room for {room:,}.",
                hint="Take it out and paste the part that matters"
                + (", or start with a greater --context." if can_grow else "."),
            )
            self._prompt.post_message(Prompt.NotAttached(error, chip))

    # --- what is said -------------------------------------------------------------------------------------

    def why_too_long(self, sent: Prompt.Sent) -> str:
        """Why the words cannot be sent, as far as it is known already; empty: nothing speaks against it."""
        parts = list(sent.chips.parts(sent.typed))
        tokens = self._total([part.text if isinstance(part, Chip) else part for part in parts])
        overhead, info = self._counter.overhead_of(self._talk.conversation.system), self._talk.info
        if tokens is None or overhead is None or info is None:
            return ""
        if tokens + overhead.first < info.context_length:
            return ""
        from llama_chat.turn import prompt_too_long  # brings jinja2, which counting has brought already

        counts = {part: self._counter.count_of(part.text) or 0 for part in parts if isinstance(part, Chip)}
        largest = max(counts, key=lambda chip: counts[chip], default=None)
        says = ""
        if largest is not None and counts[largest] > tokens / 2:
            says = f" {largest.name or 'What was pasted'} alone has {counts[largest]:,}."
        error = prompt_too_long(tokens + overhead.first, info)
        return f"{error.message}{says} {error.hint}"

    def _parts(self, text: str) -> list[str]:
        return [part.text if isinstance(part, Chip) else part for part in self._prompt.chips.parts(text)]

    def _total(self, parts: list[str]) -> int | None:
        counts = [self._counter.count_of(part) for part in parts]
        return None if None in counts else sum(count for count in counts if count is not None)

    def _left(self) -> int | None:
        """About how many tokens there is room for before anything has to leave the context."""
        status = self._talk.status
        overhead = self._counter.overhead_of(self._talk.conversation.system)
        if overhead is None or not status.context_length:
            return None
        used = status.context_used + overhead.later if status.context_used else overhead.first
        return max(0, status.context_length - used)

    def _show(self) -> None:
        text = self._prompt.text
        if self._model is None or not text.strip() or _COMMAND.fullmatch(text):
            self._prompt.show_figures("")
            return
        tokens, left = self._total(self._parts(text)), self._left()
        if tokens is None:
            return  # what was said of the words a moment ago is nearer the truth than nothing
        key = self._prompt.send_sign
        if left is None or tokens < left * NEAR_SHARE:
            self._prompt.show_figures(f"{tokens:,} tok {key}")
        else:
            self._prompt.show_figures(f"{tokens:,} tok, {left:,} left {key}", is_over=tokens > left)
