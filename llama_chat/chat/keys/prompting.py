"""What is done at the prompt."""

from __future__ import annotations

from llama_chat.chat.keys.action import KeyAction

PROMPT_ACTIONS = (
    KeyAction("send", ("enter",), "send", "Send the prompt.", bound=False, palette=False, group="Prompt"),
    KeyAction(
        "newline",
        ("ctrl+j", "shift+enter", "alt+enter"),
        "new line",
        "Begin a new line. The setting `enter_sends` swaps it with sending.",
        bound=False,
        palette=False,
        group="Prompt",
    ),
    KeyAction(
        "undo",
        ("ctrl+underscore",),
        "undo",
        "Take back the last edit of the prompt.",
        bound=False,
        palette=False,
        group="Prompt",
    ),
    KeyAction(
        "editor",
        ("ctrl+g",),
        "editor",
        "Write the prompt in $VISUAL or $EDITOR; nothing is sent by that.",
        "/editor",
        group="Prompt",
    ),
    KeyAction(
        "history",
        ("alt+h",),
        "history",
        "Find what was said before, in all sessions, and say it again; Up and Down go through it.",
        "/history",
        "[WORDS]",
        group="Prompt",
    ),
    KeyAction(
        "queue",
        ("alt+q",),
        "take back",
        "Take the words that wait for the end of the reply back into the prompt.",
        "/queue",
        group="Prompt",
    ),
    KeyAction(
        "attach",
        ("alt+o",),
        "attach",
        "Give the model a text file to read, with your next words; dropping it here does it too.",
        "/attach",
        "[PATH…]",
        group="Prompt",
    ),
    KeyAction(
        "look_at_chip",
        ("alt+v",),
        "look",
        "Look at a file or a long paste in the prompt; Enter puts it into the text.",
        "/look",
        group="Prompt",
    ),
)
