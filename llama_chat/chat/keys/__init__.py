"""Every key of the chat as data: the bindings, the footer, the help screen and the palette are made of it.

The defaults leave alone what the prompt edits with (Ctrl+A, E, K, U, W, F, arrows), and each has a fallback
for terminals and multiplexers that keep the key for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from llama_chat.chat.keys.action import KeyAction as KeyAction
from llama_chat.chat.keys.action import key_name as key_name
from llama_chat.chat.keys.around import VIEW_ACTIONS
from llama_chat.chat.keys.prompting import PROMPT_ACTIONS
from llama_chat.chat.keys.seeing import SEEING_ACTIONS
from llama_chat.chat.keys.talking import CHAT_ACTIONS, COPY_ACTIONS

Moment: TypeAlias = Literal["ready", "replying", "held", "loading"]

KEY_ACTIONS = (*PROMPT_ACTIONS, *CHAT_ACTIONS, *COPY_ACTIONS, *SEEING_ACTIONS, *VIEW_ACTIONS)

COMMANDS = {name: key for key in KEY_ACTIONS if key.command for name in (key.command, *key.aliases)}
"""The slash commands, by all of their names."""

FOOTER_ORDER: dict[Moment, tuple[str, ...]] = {
    "ready": ("palette", "tokens", "sampling", "sessions", "regenerate", "key_help"),
    "replying": ("stop", "tokens", "sampling", "sessions", "palette"),
    "held": ("sampling", "sessions", "palette"),
    "loading": ("palette", "key_help", "sessions"),
}


def footer_actions(moment: Moment, actions: Sequence[KeyAction] = KEY_ACTIONS) -> list[KeyAction]:
    """The keys that count now, the most useful first."""
    order = FOOTER_ORDER[moment]
    return [key for name in order for key in actions if key.action == name and key.keys]
