"""Plain characters while a message or a slider has the keyboard: nothing typed there does harm or is lost.

The rule: a letter at a chosen message only says what is wanted, and the same letter again or Enter does it.
A character that means nothing where the keyboard is was the beginning of a sentence: the keyboard goes to the
prompt, and what was typed with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from textual import events, on

from llama_chat.chat.branches.choosing import keys_of
from llama_chat.chat.keys.inside import TRANSCRIPT_KEYS, TranscriptKey
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.action_line import ActionLine, key_wordings, wish_wordings
from llama_chat.ui.widgets.transcript import Transcript
from llama_chat.ui.widgets.typed_value import TypedValue

HELD_S = 0.15
"""Presses of one letter that follow each other faster are those of a key that is held. Its first repeat comes
later than that (0.25 to 0.7 s), so a second press counts when no third has come for so long."""

_BY_KEY = {key: each for each in TRANSCRIPT_KEYS for key in each.keys}


def _transcript_key(event: events.Key) -> TranscriptKey | None:
    return next((_BY_KEY[key] for key in event.aliases if key in _BY_KEY), None)


def _acts_behind_a_letter(event: events.Key) -> bool:
    """Whether the key means its own and no sentence; a space may be in one: "c u"."""
    found = _transcript_key(event)
    return found is not None and not found.wish and event.key != "space"


@dataclass(eq=False, slots=True)
class _Wish:
    """A letter that waits to be pressed again."""

    letter: TranscriptKey
    message_id: str | None
    """The message that it is for."""
    pressed: list[events.Key]
    waits: asyncio.TimerHandle | None = None
    """Runs while it was pressed twice, and may be held."""

    def press(self, event: events.Key) -> bool:
        """Take the letter once more; whether that is not the repeat of a held key."""
        rest_s = event.time - self.pressed[-1].time
        self.pressed.append(event)
        return rest_s >= HELD_S

    def stop_waiting(self) -> bool:
        """Let nothing happen by itself; whether it would have."""
        waits, self.waits = self.waits, None
        if waits is not None:
            waits.cancel()
        return waits is not None


class LetterActions(ChatViewScreen):
    """Takes all keys there before Textual does, in their order.

    Textual looks a binding up when the key has bubbled up to the app. Of keys that came in one burst, letters
    were there before those that gave the keyboard to the prompt: "hello dear" was "hlloa", and "↓ d d"
    deleted from the message that was chosen before the arrow.
    """

    _wish: _Wish | None = None

    _action_line: ActionLine | None = None

    def on_mount(self) -> None:
        """Name the keys whenever the transcript has the keyboard."""
        self.watch(self, "focused", self._keyboard_moved, init=False)

    async def take_letter(self, event: events.Key) -> bool:
        """Do what the key stands for where the keyboard is; whether nobody else shall."""
        if isinstance(self.focused, Transcript):
            return await self._take_at_message(event)
        if isinstance(self.focused, TypedValue):
            return await self._take_at_slider(event, self.focused)
        return False

    async def _run_binding(self, key: str) -> bool:
        """Do what the key is bound to, now; whether it is bound."""
        self._clear_tooltip()
        look_up = self.app._check_bindings
        return await look_up(key, priority=True) or await look_up(key)

    # --- a chosen message -----------------------------------------------------------------------------

    async def _take_at_message(self, event: events.Key) -> bool:
        wish, self._wish = self._wish, None
        if wish is None:
            return await self._take_first(event)
        is_said_twice = wish.stop_waiting()
        if event.key in wish.letter.keys:
            self._wish = wish
            if wish.press(event):
                due = partial(self.app.call_later, self._do_due, wish)
                wish.waits = asyncio.get_running_loop().call_later(HELD_S, due)
            return True
        self._show_actions()
        if event.key == "escape":
            return True
        if event.key == "enter":
            await self._fulfil(wish)
            return True
        if is_said_twice:
            await self._fulfil(wish)
            return await self.take_letter(event)
        if event.is_printable and not _acts_behind_a_letter(event):
            self.write_into_prompt(*wish.pressed, event)
            return True
        return await self._take_first(event)

    async def _take_first(self, event: events.Key) -> bool:
        """Take a key that has no letter before it."""
        found = _transcript_key(event)
        if not event.is_printable or (found is not None and not found.wish):
            return await self._run_binding(event.key)
        if found is None:
            self.write_into_prompt(event)
        else:
            self._wish = _Wish(found, self._chosen_id(), [event])
            self._show_actions()
        return True

    async def _do_due(self, wish: _Wish) -> None:
        """Do it: the letter was pressed twice, and is not held."""
        if self._wish is wish and wish.waits is not None:
            self._wish = None
            self._show_actions()
            await self._fulfil(wish)

    async def _fulfil(self, wish: _Wish) -> None:
        """Do what was asked for, if its message is still the chosen one."""
        if self._is_for_chosen(wish):
            await self.run_action(wish.letter.action)

    def _is_for_chosen(self, wish: _Wish) -> bool:
        return isinstance(self.focused, Transcript) and self._chosen_id() == wish.message_id

    def _chosen_id(self) -> str | None:
        message = self.chosen_message()
        return message.id if message is not None else None

    def write_into_prompt(self, *pressed: events.Key) -> None:
        """Give the keyboard to the prompt, and these keys before all that follow them."""
        self.transcript.leave_cursor()
        self.set_focus(self.prompt)
        for event in pressed:
            self.prompt.post_message(events.Key(event.key, event.character))

    @on(Transcript.CursorMoved)
    def _keyboard_moved(self) -> None:
        if self._wish is not None and not self._is_for_chosen(self._wish):
            self._wish.stop_waiting()
            self._wish = None
        self._show_actions()

    def _show_actions(self) -> None:
        message = self.chosen_message() if isinstance(self.focused, Transcript) else None
        if message is None:
            if self._action_line is not None:
                self._action_line.say(())
        elif self._wish is None:
            keys = keys_of(message, self.chat.conversation)
            self._tell([self.keys.in_words(words) for words in key_wordings(keys)])
        else:
            letter = self._wish.letter
            figures = self._behind() if letter.action == "delete_from_here" else ""
            self._tell(wish_wordings(letter.name, letter.wish, figures), is_asking=True)

    def _tell(self, wordings: Sequence[str], *, is_asking: bool = False) -> None:
        if self._action_line is None:
            self._action_line = ActionLine()
            self.query_one("#prompt-row").mount(self._action_line, before=self.prompt)
        self._action_line.say(wordings, is_asking=is_asking)

    def _behind(self) -> str:
        """How many messages go off the path with the chosen one."""
        path = [message.id for message in self.chat.conversation.path()]
        message = self.chosen_message()
        if message is None or message.id not in path:
            return ""
        count = len(path) - path.index(message.id)
        return f"{count:,} message{'' if count == 1 else 's'}"

    # --- a slider -------------------------------------------------------------------------------------

    async def _take_at_slider(self, event: events.Key, row: TypedValue) -> bool:
        if row.take_key(event):
            return True
        if event.is_printable:
            typed, row.typed = row.typed, ""
            before = [events.Key(character, character) for character in typed]
            self.write_into_prompt(*before, event)
            return True
        is_done = await self._run_binding(event.key)
        if self.focused is not row:
            row.take_typed()  # before the next key, which may come back to it; its `Blur` comes later
        return is_done
