"""What is said of a device, as content."""

from __future__ import annotations

import re

from textual.content import Content

from llama_chat.device_facts import DeviceFacts
from llama_chat.sanitize import one_line, sanitize

_COMMAND = re.compile(r"`([^`]+)`")


def device_content(device: DeviceFacts) -> Content:
    """A device in two or three lines."""
    product = one_line(device.product)
    head = Content.assemble((device.name, "bold"), "  ", product)
    if device.problem:
        return Content("\n").join([head, Content.styled(sanitize(device.problem), "$text-warning")])
    fast = f" · fast: {' '.join(device.fast)}" if device.fast else ""
    lines = [head, Content.styled(device.memory_text + fast, "$foreground 70%")]
    if device.details:
        lines.append(Content.styled(one_line(device.details), "$foreground 50%"))
    return Content("\n").join(lines)


def missing_content(line: str) -> Content:
    """What is missing, the command that mends it in a colour."""
    text, parts, end = sanitize(line), [], 0
    for found in _COMMAND.finditer(text):
        parts += [Content(text[end : found.start()]), Content.styled(found[1], "$primary bold")]
        end = found.end()
    return Content.assemble(*parts, text[end:])
