"""One setting of the sampling by words, as behind `/set`."""

from __future__ import annotations

from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.commands import parse_setting
from llama_chat.sampling import setting_label, setting_value


def set_by_words(bridge: Bridge, words: str) -> str:
    """Change a setting, as in `temperature 0.3`, or without a value look at it; what is to be said of it.

    Raises:
        UsageError: there is no such setting, or the value does not fit.
    """
    setting, value = parse_setting(words)
    label = setting_label(setting)
    if value is None:
        now = getattr(bridge.sampling.current, setting)
        return f"{label} is {setting_value(setting, now)}. /set {setting} 1 would change it."
    bridge.sampling.change(**{setting: value})
    bridge.save_setting("sampling", setting, value)
    return f"{label} is {setting_value(setting, value)} from the next token on."
