"""Keys that a part of the screen has while it has the focus."""

from __future__ import annotations

from dataclasses import dataclass

SLIDER_KEYS = (
    ("← →", "one step"),
    ("PgUp PgDn", "a big step"),
    ("Home End", "to an end"),
    ("0…9", "type a value, Enter takes it"),
    ("Del", "back to the default"),
    ("Enter", "on the seed: lock the last one, or free it"),
    ("a … z", "go to the prompt, and are typed there"),
)


SESSION_KEYS = (
    ("Enter", "open the session"),
    ("Ctrl+R", "rename it"),
    ("Del", "delete it; Alt+Z brings it back"),
)


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """What plain letters do while the transcript has the focus."""

    keys: tuple[str, ...]
    """As Textual names them."""
    action: str
    """Of the chat's screen, told which key it was where it says `{key}`; empty: the transcript's own."""
    name: str
    """What is printed on them."""
    what: str
    """For the help screen."""
    wish: str = ""
    """What it will do, where it asks first; empty: it is done at once."""


TRANSCRIPT_KEYS = (
    TranscriptKey(("up",), "choose(-1)", "↑", "the message above"),
    TranscriptKey(("down",), "choose(1)", "↓", "the message below"),
    TranscriptKey(("r",), "regenerate", "r", "again: another reply, beside this one", "answer again"),
    TranscriptKey(("e",), "edit_last", "e", "edit: say it otherwise", "say it otherwise"),
    TranscriptKey(("b",), "branch", "b", "branch: say something else here", "say something else here"),
    TranscriptKey(("t",), "tokens", "t", "tokens: what it was choosing from", "look into its tokens"),
    TranscriptKey(("w",), "walk", "w", "walk: its way through the model", "walk through the model"),
    TranscriptKey(("d",), "delete_from_here", "d", "delete: it and what follows", "delete from here"),
    TranscriptKey(("c",), "copy_message", "c", "copy: the message", "copy it"),
    TranscriptKey(("delete",), "delete_from_here", "Del", "end the path before it, at once"),
    TranscriptKey(tuple("123456789"), "copy_code({key})", "1…9", "copy its first, second, … code block"),
    TranscriptKey(("space",), "", "Space", "fold or unfold what the model thought"),
    TranscriptKey(("slash",), "find", "/", "find words in this chat"),
    TranscriptKey(("left_square_bracket",), "sibling(-1)", "[", "the branch before this one"),
    TranscriptKey(("right_square_bracket",), "sibling(1)", "]", "the next branch"),
)
"""While it has the focus, the transcript is not typed into: keys act on the chosen message.

A letter only says what is wanted. The same letter once more, or Enter, does it; any other character shows
that it was the beginning of a sentence, and all of it goes to the prompt.
"""

LETTERS_HELP = (
    ("Enter", "do what the letter said; the same letter again does it, too"),
    ("a … z", "with another letter behind it: it was a sentence, and goes to the prompt"),
)
