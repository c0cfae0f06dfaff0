"""Keys that a part of the screen has while it has the focus."""

from __future__ import annotations

from dataclasses import dataclass

SLIDER_KEYS = (
    ("← →", "one step"),
    ("PgUp PgDn", "a big step"),
    ("Home End", "to an end"),
    ("0…9", "type a value, Enter takes it"),
    ("d", "back to the default"),
    ("l", "on the seed: lock the last one, or free it"),
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


TRANSCRIPT_KEYS = (
    TranscriptKey(("up", "k"), "choose(-1)", "↑ k", "the message above"),
    TranscriptKey(("down", "j"), "choose(1)", "↓ j", "the message below"),
    TranscriptKey(("r",), "regenerate", "r", "again: another reply, beside this one"),
    TranscriptKey(("e",), "edit_last", "e", "edit: say it otherwise"),
    TranscriptKey(("b",), "branch", "b", "branch: say something else here"),
    TranscriptKey(("d", "delete"), "delete_from_here", "d Del", "delete: end the path before it"),
    TranscriptKey(("c",), "copy_message", "c", "copy: the message"),
    TranscriptKey(tuple("123456789"), "copy_code({key})", "1…9", "copy its first, second, … code block"),
    TranscriptKey(("space",), "", "Space", "fold or unfold what the model thought"),
    TranscriptKey(("slash",), "find", "/", "find words in this chat"),
    TranscriptKey(("left_square_bracket",), "sibling(-1)", "[", "the branch before this one"),
    TranscriptKey(("right_square_bracket",), "sibling(1)", "]", "the next branch"),
)
"""While it has the focus, the transcript is not typed into: letters act on the chosen message."""
