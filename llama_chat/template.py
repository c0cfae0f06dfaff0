"""A conversation to prompt pieces by the model's own chat template, so that no text can pose as a control token.

What users and models wrote is masked
first: wherever it spells a control token, or the beginning or end of one that could be completed across its
edge, a private-use character breaks the spelling. The rendered text is then split at the control tokens that
are left, which only the template can have written, and the masks come out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from llama_chat.conversation import Message, Role
from llama_chat.errors import TemplateError
from llama_chat.events import Ids, ModelInfo, Piece, Special, Text
from llama_chat.template_sandbox import SandboxedTemplate

_PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""A plane that no font and hardly any text uses; masks are picked from what the conversation leaves free."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """One message as the template sees it."""

    role: Role
    content: str
    token_ids: tuple[int, ...]


class ChatTemplate:
    """Renders conversations for one model.

    Args:
        source: the jinja2 template.
        special_tokens: texts of the control tokens.
        bos_text, eos_text: what the template knows as `bos_token` and `eos_token`.

    Raises:
        TemplateError: the source is no template.
    """

    def __init__(self, source: str, special_tokens: Sequence[str], bos_text: str = "", eos_text: str = "") -> None:
        self._template = SandboxedTemplate(source)
        self._specials = tuple(sorted(filter(None, special_tokens), key=len, reverse=True))
        self._split = re.compile("|".join(map(re.escape, self._specials)) or r"(?!)")
        self._variables = {"bos_token": bos_text, "eos_token": eos_text}

    @classmethod
    def of_model(cls, info: ModelInfo) -> ChatTemplate | None:
        """The template of a loaded model; None when it has none and starts raw."""
        if info.chat_template is None:
            return None
        return cls(info.chat_template, info.special_tokens, info.bos_text, info.eos_text)

    def render(self, messages: Sequence[Message], *, today: str, add_generation_prompt: bool = True) -> list[Piece]:
        """The prompt for the messages.

        A reply's text that comes out of the template unchanged is given as its recorded ids.

        Args:
            messages: a path of the conversation.
            today: the ISO date that the template may ask for.
            add_generation_prompt: whether the assistant's turn is opened.

        Raises:
            TemplateError: the template fails, or takes too long.
        """
        turns = [
            _Turn(message.role, message.text, message.reply.token_ids if message.reply else ())
            for message in messages
        ]
        masks = _free_characters("".join(turn.content for turn in turns), 2 + len(turns))
        mask, mark_end, *marks = masks
        contents = [self._mask(turn.content, mask) for turn in turns]

        def rendered(marked: Sequence[int]) -> str:
            shown = [
                f"{marks[i]}{content}{mark_end}" if i in marked else content for i, content in enumerate(contents)
            ]
            return self._run(turns, shown, today, add_generation_prompt)

        plain = rendered(())
        recorded = [i for i, turn in enumerate(turns) if turn.token_ids and turn.role is Role.ASSISTANT]
        unchanged = _unchanged(plain, recorded, rendered, marks, mark_end)
        text = rendered(unchanged) if unchanged else plain
        ids_of = {marks[i]: Ids(turns[i].token_ids, turns[i].content) for i in unchanged}
        return list(self._pieces(text, mask, mark_end, ids_of))

    def _mask(self, content: str, mask: str) -> str:
        """The content with every spelling of a control token broken after its first character."""
        if not self._specials:
            return content
        broken = self._split.sub(lambda match: f"{match[0][0]}{mask}{match[0][1:]}", content)
        return _mask_edges(broken, self._specials, mask)

    def _run(self, turns: Sequence[_Turn], contents: Sequence[str], today: str, add_generation_prompt: bool) -> str:
        messages = [
            {"role": turn.role.value, "content": content} for turn, content in zip(turns, contents, strict=True)
        ]
        return self._template.render(
            messages=messages,
            add_generation_prompt=add_generation_prompt,
            strftime_now=date.fromisoformat(today).strftime,
            tools=None,
            documents=None,
            **self._variables,
        )

    def _pieces(self, text: str, mask: str, mark_end: str, ids_of: Mapping[str, Ids]) -> Iterator[Piece]:
        """Split at the control tokens that the template wrote, and at the recorded replies."""
        if ids_of:
            recorded = "|".join(map(re.escape, ids_of))
            parts = re.split(f"({recorded}).*?{re.escape(mark_end)}", text, flags=re.DOTALL)
        else:
            parts = [text]
        for n, part in enumerate(parts):
            if n % 2:
                yield ids_of[part]
            else:
                yield from self._split_specials(part, mask)

    def _split_specials(self, text: str, mask: str) -> Iterator[Piece]:
        last = 0
        for match in self._split.finditer(text):
            if match.start() > last:
                yield Text(text[last : match.start()].replace(mask, ""))
            yield Special(match[0])
            last = match.end()
        if last < len(text):
            yield Text(text[last:].replace(mask, ""))


def render_raw(messages: Sequence[Message]) -> list[Piece]:
    """The prompt of a model without a template: the texts one after another, as they are."""
    return [
        Ids(message.reply.token_ids, message.text) if message.reply and message.reply.token_ids else Text(message.text)
        for message in messages
    ]


def _unchanged(
    plain: str, recorded: Sequence[int], rendered: Callable[[Sequence[int]], str], marks: Sequence[str], mark_end: str
) -> list[int]:
    """Which replies come out of the template as they went in: marking them changes nothing else."""

    def comes_out(marked: Sequence[int]) -> bool:
        text = rendered(marked)
        counted = all(text.count(marks[i]) == 1 for i in marked) and text.count(mark_end) == len(marked)
        return counted and re.sub(f"[{''.join(marks)}{mark_end}]", "", text) == plain

    if not recorded or comes_out(recorded):
        return list(recorded)
    return [i for i in recorded if comes_out([i])]


def _free_characters(text: str, count: int) -> list[str]:
    """Private-use characters that the text does not contain.

    Raises:
        TemplateError: it contains nearly all of them.
    """
    used = set(text)
    free = [chr(code) for code in _PRIVATE_USE if chr(code) not in used][:count]
    if len(free) < count:
        raise TemplateError("The conversation is too long, or uses every private-use character")
    return free


def _mask_edges(content: str, specials: Sequence[str], mask: str) -> str:
    """Break what could become a control token together with what the template puts around the content."""
    start = len(content) - len(content.lstrip())
    end = len(content.rstrip())
    body = content[start:end]
    if not body:
        return content
    at_start = any(body.startswith(special[cut:]) for special in specials for cut in range(1, len(special)))
    at_end = any(body.endswith(special[:cut]) for special in specials for cut in range(1, len(special)))
    inside = any(body in special for special in specials)
    if at_end and len(body) > 1:
        body = f"{body[:-1]}{mask}{body[-1]}"
    if at_start or inside or at_end:
        body = f"{body[0]}{mask}{body[1:]}"
    return content[:start] + body + content[end:]
