"""A conversation to prompt pieces by the model's own chat template, so that no text poses as a control token.

What users and models wrote is masked first: wherever it spells a control token, or the beginning or end of
one that could be completed across its edge, a private-use character breaks the spelling. The rendered text
is then split at the control tokens that are left, which only the template can have written, and the masks
come out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import count, islice, pairwise

from llama_chat.conversation import Message, Role
from llama_chat.errors import TemplateError
from llama_chat.events import Ids, ModelInfo, Piece, Special, Text
from llama_chat.template.sandbox import RenderBudget, SandboxedTemplate, render_budget

_PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""A plane that no font and hardly any text uses; masks are picked from what the conversation leaves free."""


MAX_ATTEMPTS = 40
"""Renders spent on finding out which replies a template changed; beyond them, or half of the time that there
is, all are tokenised again.
"""


class ChatTemplate:
    """Renders conversations for one model.

    Args:
        source: the jinja2 template.
        special_tokens: texts of the control tokens.
        bos_text, eos_text: what the template knows as `bos_token` and `eos_token`.
        visible_tokens: those of the special tokens that are shown, as `<think>`: replies may contain them.
        model: the model's name; only replies of its own are given as recorded ids.

    Raises:
        TemplateError: the source is no template.
    """

    def __init__(
        self,
        source: str,
        special_tokens: Sequence[str],
        bos_text: str = "",
        eos_text: str = "",
        *,
        visible_tokens: Sequence[str] = (),
        model: str = "",
    ) -> None:
        self._source = source
        self._template = SandboxedTemplate(source)
        # A token of one character, or of white space, is not told from text: it stays text everywhere.
        specials = [text for text in special_tokens if len(text) > 1 and text.strip()]
        self._user_mask = _Mask(specials)
        self._reply_mask = _Mask([text for text in specials if text not in set(visible_tokens)])
        self._split = _any_of(specials)
        self._variables = {"bos_token": bos_text, "eos_token": eos_text}
        self._model = model

    @staticmethod
    def of_model(info: ModelInfo) -> ChatTemplate | None:
        """The template of a loaded model; None when it has none and starts raw."""
        return None if info.chat_template is None else _template_of(info)

    def render(
        self, messages: Sequence[Message], *, today: str, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """The prompt for the messages.

        A reply's text that comes out of the template unchanged is given as its recorded ids.

        Args:
            messages: a path of the conversation.
            today: the ISO date that the template may ask for.
            add_generation_prompt: whether the assistant's turn is opened.

        Raises:
            TemplateError: the template fails, or takes too long.
        """
        used = "".join([self._source, *(message.text for message in messages)])
        mask, mark_end, text_break, *marks = _free_characters(used, 3 + len(messages))

        def run(contents: Sequence[str]) -> str:
            return self._run(messages, contents, today, add_generation_prompt, text_break)

        with render_budget() as budget:
            contents, plain = self._render_masked(messages, mask, run)
            replies = [
                _Reply(i, mark, contents[i], ids)
                for i, (message, mark) in enumerate(zip(messages, marks, strict=True))
                if message.role is Role.ASSISTANT and (ids := _recorded_ids(message, self._model))
            ]
            text, kept = _marked(plain, contents, replies, mark_end, run, budget)
        pieces = self._pieces(text, mask, mark_end, {reply.mark: reply.ids for reply in kept})
        return list(_broken_up(pieces, text_break))

    def _render_masked(
        self, messages: Sequence[Message], mask: str, run: Callable[[Sequence[str]], str]
    ) -> tuple[list[str], str]:
        """The contents as the template may see them, and what it makes of them.

        Only the spellings of control tokens are broken, so that a template finds what it looks for. One that
        cuts something out of a content could join the halves of a spelling: so it also renders contents in
        which every possible beginning is broken, and if that gives other control tokens, it counts.
        """
        masks = [self._reply_mask if m.role is Role.ASSISTANT else self._user_mask for m in messages]
        contents = [m.apply(message.text, mask) for m, message in zip(masks, messages, strict=True)]
        plain = run(contents)
        guarded = [m.apply_everywhere(message.text, mask) for m, message in zip(masks, messages, strict=True)]
        if guarded != contents:
            safe = run(guarded)
            found = self._reply_mask.split.findall
            if found(safe) != found(plain):
                return guarded, safe
        return contents, plain

    def _run(
        self,
        messages: Sequence[Message],
        contents: Sequence[str],
        today: str,
        add_generation_prompt: bool,
        text_break: str,
    ) -> str:
        return self._template.render(
            messages=[
                {"role": message.role.value, "content": content}
                for message, content in zip(messages, contents, strict=True)
            ],
            add_generation_prompt=add_generation_prompt,
            strftime_now=date.fromisoformat(today).strftime,
            tools=None,
            documents=None,
            text_break=text_break,
            **self._variables,
        )

    def _pieces(self, text: str, mask: str, mark_end: str, ids_of: Mapping[str, Ids]) -> Iterator[Piece]:
        """Split at the control tokens that the template wrote, and at the recorded replies."""
        if ids_of:
            recorded = "|".join(map(re.escape, ids_of))
            parts = re.split(f"({recorded})[^{mark_end}]*{mark_end}", text)
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
            if plain := text[last : match.start()].replace(mask, ""):
                yield Text(plain)
            yield Special(match[0])
            last = match.end()
        if plain := text[last:].replace(mask, ""):
            yield Text(plain)


_BREAK = Ids(())
"""No ids at all: the texts on both sides of it are encoded each by itself."""


def _broken_up(pieces: Iterable[Piece], text_break: str) -> Iterator[Piece]:
    """The pieces, texts cut where the template wrote `text_break`.

    Templates of the Hub know no such thing; ours for Meta's own files does as Meta's code.
    """
    for piece in pieces:
        if not isinstance(piece, Text):
            yield piece
            continue
        for n, part in enumerate(piece.text.split(text_break)):
            if n:
                yield _BREAK
            if part:
                yield Text(part)


@lru_cache(maxsize=2)
def _template_of(info: ModelInfo) -> ChatTemplate:
    assert info.chat_template is not None, "asked for by `of_model` only"
    return ChatTemplate(
        info.chat_template,
        info.special_tokens,
        info.bos_text,
        info.eos_text,
        visible_tokens=info.visible_tokens,
        model=info.name,
    )


def render_raw(messages: Sequence[Message], model: str = "") -> list[Piece]:
    """The prompt of a model without a template: the texts one after another, as they are."""
    return [_recorded_ids(message, model) or Text(message.text) for message in messages]


# --- recorded replies ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply that may be given by its ids, and the character that marks its place."""

    index: int
    mark: str
    content: str
    ids: Ids


def _recorded_ids(message: Message, model: str) -> Ids | None:
    """The ids that the model wrote the text with: another's mean other words.

    Ids without a text would be seen by nobody. A model's name proves little: the tokenizer checks that the
    ids spell the text.
    """
    reply = message.reply
    if reply is None or not reply.token_ids or not message.text or reply.model != model:
        return None
    return Ids(reply.token_ids, message.text)


def _marked(
    plain: str,
    contents: Sequence[str],
    replies: Sequence[_Reply],
    mark_end: str,
    run: Callable[[Sequence[str]], str],
    budget: RenderBudget,
) -> tuple[str, Sequence[_Reply]]:
    """The rendered text, and the replies that came out of it as they went in, with marks around them."""
    attempts = count(1)

    def attempt(chosen: Sequence[_Reply]) -> str | None:
        if next(attempts) > MAX_ATTEMPTS or budget.left_s < budget.total_s / 2:
            return None
        shown = list(contents)
        for reply in chosen:
            shown[reply.index] = f"{reply.mark}{reply.content}{mark_end}"
        text = run(shown)
        marks = "".join(reply.mark for reply in chosen)
        is_whole = all(text.count(f"{reply.mark}{reply.content}{mark_end}") == 1 for reply in chosen)
        return text if is_whole and re.sub(f"[{marks}{mark_end}]", "", text) == plain else None

    def search(some: Sequence[_Reply]) -> Sequence[_Reply]:
        if not some or attempt(some) is not None:
            return some
        half = len(some) // 2
        return [*search(some[:half]), *search(some[half:])] if half else []

    # Most templates change nothing; others trim or cut, and what they cut is not to be found whole.
    whole = [reply for reply in replies if reply.content in plain]
    for chosen in (replies, whole):
        if chosen and (text := attempt(chosen)) is not None:
            return text, chosen
    chosen = search(whole)
    text = attempt(chosen) if chosen else None
    return (text, chosen) if text is not None else (plain, [])


# --- masks -----------------------------------------------------------------------------------------


class _Mask:
    """Breaks up spellings of control tokens with a character that nothing else uses."""

    def __init__(self, specials: Sequence[str]) -> None:
        self.split = _any_of(specials)
        self._begins = re.compile(f"(?={self.split.pattern})")
        self._beginnings = {special[:cut] for special in specials for cut in range(1, len(special))}
        self._endings = {special[cut:] for special in specials for cut in range(1, len(special))}
        self._insides = "\n".join(specials)
        self._longest = max(map(len, specials), default=0)
        first = {special[0] for special in specials if not special[0].isspace()}
        self._first = re.compile(f"([{re.escape(''.join(first))}])" if first else "(?!)")

    def apply(self, content: str, mask: str) -> str:
        """The content with every spelling broken, also one that its surroundings could complete."""
        starts = [match.start() + 1 for match in self._begins.finditer(content)]
        parts = (content[i:j] for i, j in pairwise([0, *starts, len(content)]))
        return self._mask_edges(mask.join(parts), mask)

    def apply_everywhere(self, content: str, mask: str) -> str:
        """The content with a mask behind every character that a control token can begin with."""
        return self._mask_edges(self._first.sub(rf"\1{mask}", content), mask)

    def _mask_edges(self, content: str, mask: str) -> str:
        """Templates trim: the edges are those of the text without the white space around it."""
        body = content.strip()
        if not body:
            return content
        is_inside = len(body) < self._longest and body in self._insides
        lengths = range(1, min(self._longest, len(body) + 1))
        start = mask if is_inside or any(body[:n] in self._endings for n in lengths) else ""
        end = mask if is_inside or any(body[-n:] in self._beginnings for n in lengths) else ""
        at = len(content) - len(content.lstrip())
        return f"{content[:at]}{start}{body}{end}{content[at + len(body) :]}"


def _any_of(specials: Sequence[str]) -> re.Pattern[str]:
    """Finds each of the texts, the longest first; without any, nothing."""
    return re.compile("|".join(map(re.escape, sorted(specials, key=len, reverse=True))) or r"(?!)")


def _free_characters(text: str, count: int) -> list[str]:
    """Private-use characters that the text does not contain.

    Raises:
        TemplateError: it contains nearly all of them.
    """
    used = set(text)
    free = list(islice((char for code in _PRIVATE_USE if (char := chr(code)) not in used), count))
    if len(free) < count:
        raise TemplateError("The conversation is too long, or uses every private-use character")
    return free
