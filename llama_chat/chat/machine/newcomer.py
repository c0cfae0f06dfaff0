"""Who is new here."""

from __future__ import annotations


def is_first_run(*, is_model_named: bool, is_model_here: bool, has_chatted: bool, was_welcomed: bool) -> bool:
    """Whether whoever starts the chat is new here, and is to be led to a model.

    Args:
        is_model_named: by an option, a variable or the settings.
        is_model_here: whether the one that would run is on this disk.
        has_chatted: whether any model ran before.
        was_welcomed: whether this was answered before.
    """
    return not (is_model_named or is_model_here or has_chatted or was_welcomed)
