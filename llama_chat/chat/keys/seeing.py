"""What looks inside: the tokens of a message, and how the model came to them."""

from __future__ import annotations

from llama_chat.chat.keys.action import KeyAction

ALTER_WORDS = "[L3 | L3.H4 [SCALE] … | reset]"
"""What may stand behind `/alter`."""

SEEING_ACTIONS = (
    KeyAction(
        "tokens",
        ("ctrl+t",),
        "tokens",
        "Show what the model was choosing from at every token, and go on from another choice.",
        "/tokens",
        group="See inside",
    ),
    KeyAction(
        "pause",
        ("alt+j",),
        "pause",
        "Let the reply wait and show what its next token is chosen from; again lets it go on.",
        "/pause",
        group="See inside",
    ),
    KeyAction(
        "step_mode",
        ("alt+shift+j",),
        "step mode",
        "Let the reply, or the next one, wait at each token for you to choose; again ends it.",
        "/step",
        group="See inside",
    ),
    KeyAction(
        "walk",
        ("alt+shift+w",),
        "walk",
        "Follow the chosen message, else the last one, or a text through the model, with its own numbers.",
        "/walk",
        "[TEXT]",
        group="See inside",
    ),
    KeyAction(
        "sweep",
        ("alt+shift+t",),
        "sweep",
        "Answer the chosen message, else the last one, or a prompt at a row of temperatures, side by side.",
        "/sweep",
        "[PROMPT]",
        group="See inside",
    ),
    KeyAction(
        "alter",
        ("alt+shift+a",),
        "alter",
        "Switch off a head (/alter L3.H4) or layer (/alter L7), or scale it (/alter L7 0.5); alone, reset.",
        "/alter",
        ALTER_WORDS,
        group="See inside",
    ),
    KeyAction(
        "looks",
        ("alt+shift+l",),
        "looks",
        "Show what the chosen reply looked at when it chose a token; /looks 12 for its twelfth.",
        "/looks",
        "[N]",
        group="See inside",
    ),
)
