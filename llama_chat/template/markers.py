"""Turn markers that a chat template writes as plain text: a message that contains them can pose as a turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llama_chat.errors import TemplateError
from llama_chat.template.sandbox import SandboxedTemplate

# Stand for contents and for the control tokens that templates know by name; private use, as in `template`.
_SYSTEM, _QUESTION, _ANSWER, _NEXT, _BOS, _EOS = (chr(0xF0000 + n) for n in range(6))
_CONTENTS = (_SYSTEM, _QUESTION, _ANSWER, _NEXT)

_ROLES = "user|human|system|assistant|ai|bot|model|instruction|prompt|question|input|response|answer|output"

# What marks a turn in the families that do so in plain text: <|user|>, [INST], <<SYS>>, ### Human, USER:
_MARKER = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<</?[A-Z]{1,20}>>|\[/?[A-Z_]{2,20}\]"
    rf"|#{{2,4}} ?(?i:{_ROLES})\b:?|(?<!\w)(?i:{_ROLES}):(?=\s|$)"
)
MAX_MARKERS = 8


def forgeable_markers(template: str, special_tokens: Sequence[str]) -> tuple[str, ...]:
    """The texts by which the template marks turns without control tokens; empty where none can be forged.

    `<|user|>` of Zephyr and TinyLlama, `[INST]` of Llama 2: no mask can keep them out of what users write,
    because the model reads them letter by letter anyway.

    Args:
        template: the jinja2 source. One that fails says so in the chat; here it has no markers.
        special_tokens: texts of the control tokens, which no text becomes.
    """
    found: dict[str, None] = {}
    for contents in (_CONTENTS, _CONTENTS[1:]):  # many templates refuse a system prompt, or bring their own
        for text, has_control in _between_contents(template, contents, special_tokens):
            markers = _MARKER.findall(text)
            if not markers and not has_control and text.strip():
                markers = [" ".join(text.split())[:40]]
            found |= dict.fromkeys(markers)
    return tuple(found)[:MAX_MARKERS]


def forgery_notice(markers: Sequence[str]) -> str:
    """What the user is told of them."""
    return (
        f"This model marks turns with plain text ({', '.join(markers)}): whoever writes that into a message, "
        "or into a text that you paste, can make the model take it for another turn."
    )


def _between_contents(
    template: str, contents: Sequence[str], special_tokens: Sequence[str]
) -> Iterator[tuple[str, bool]]:
    """What the template writes around and between contents: the plain text, and whether control tokens, too.

    Its beginning and end stand beside one content only, and count as if they had control tokens: a system
    prompt of the template's own is no marker.
    """
    roles = {_SYSTEM: "system", _ANSWER: "assistant"}
    messages = [{"role": roles.get(content, "user"), "content": content} for content in contents]
    try:
        text = SandboxedTemplate(template).render(
            messages=messages,
            add_generation_prompt=True,
            bos_token=_BOS,
            eos_token=_EOS,
            strftime_now=lambda _: "",
            tools=None,
            documents=None,
        )
    except TemplateError:
        return
    controls = re.compile("|".join(map(re.escape, sorted(filter(str.strip, [*special_tokens, _BOS, _EOS])))))
    parts = re.split("|".join(contents), text)
    for n, part in enumerate(parts):
        plain = controls.sub("\n", part)
        yield plain, plain != part or n in (0, len(parts) - 1)
