"""Plain characters while a message or a slider has the keyboard: nothing typed there does harm or is lost.

The rule: a letter at a chosen message only says what is wanted, and the same letter again or Enter does it.
A character that means nothing where the keyboard is was the beginning of a sentence: the keyboard goes to the
prompt, and what was typed with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events, on

from llama_chat.chat.branches.choosing import keys_of
from llama_chat.chat.keys.inside import TRANSCRIPT_KEYS, TranscriptKey
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.action_line import ActionLine, key_wordings, wish_wordings
from llama_chat.ui.widgets.transcript import Transcript
from llama_chat.ui.widgets.typed_value import TypedValue

_BY_KEY = {key: each for each in TRANSCRIPT_KEYS for key in each.keys}


class LetterActions(ChatViewScreen):
    """Takes such keys before Textual does.

    Textual looks a binding up when the key has bubbled up to the app. Of a sentence that came in one burst,
    letters were there before those that gave the keyboard to the prompt: "hello dear" was "hlloa".
    """

    _asked: tuple[TranscriptKey, events.Key] | None = None
    """The letter that waits to be pressed again."""

    _action_line: ActionLine | None = None

    def on_mount(self) -> None:
        """Name the keys whenever the transcript has the keyboard."""
        self.watch(self, "focused", self._keyboard_moved, init=False)

    def take_letter(self, event: events.Key) -> bool:
        """Do what the key stands for where the keyboard is; whether nobody else shall."""
        if isinstance(self.focused, Transcript):
            return self._take_at_message(event)
        if isinstance(self.focused, TypedValue):
            return self._take_at_slider(event, self.focused)
        return False

    # --- a chosen message -----------------------------------------------------------------------------

    def _take_at_message(self, event: events.Key) -> bool:
        asked, self._asked = self._asked, None
        if asked is not None:
            letter, pressed = asked
            self._show_actions()
            if event.key == "enter" or event.key in letter.keys:
                self.call_later(self.run_action, letter.action)
            elif event.is_printable:
                self.write_into_prompt(pressed, event)
            return event.key in ("enter", "escape") or event.is_printable
        if not event.is_printable:
            return False
        found = next((_BY_KEY[key] for key in event.aliases if key in _BY_KEY), None)
        if found is None:
            self.write_into_prompt(event)
        elif found.wish:
            self._asked = found, event
            self._show_actions()
        return found is None or bool(found.wish)

    def write_into_prompt(self, *pressed: events.Key) -> None:
        """Give the keyboard to the prompt, and these keys before all that follow them."""
        self.transcript.leave_cursor()
        self.set_focus(self.prompt)
        for event in pressed:
            self.prompt.post_message(events.Key(event.key, event.character))

    @on(Transcript.CursorMoved)
    def _keyboard_moved(self) -> None:
        self._asked = None
        self._show_actions()

    def _show_actions(self) -> None:
        message = self.chosen_message() if isinstance(self.focused, Transcript) else None
        if message is None:
            if self._action_line is not None:
                self._action_line.say(())
        elif self._asked is None:
            keys = keys_of(message, self.chat.conversation)
            self._tell([self.keys.in_words(words) for words in key_wordings(keys)])
        else:
            letter, _ = self._asked
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

    def _take_at_slider(self, event: events.Key, row: TypedValue) -> bool:
        if not event.is_printable:
            return False
        if row.collect(event.character or ""):
            return True
        typed, row.typed = row.typed, ""
        before = [events.Key(character, character) for character in typed]
        self.write_into_prompt(*before, event)
        return True
