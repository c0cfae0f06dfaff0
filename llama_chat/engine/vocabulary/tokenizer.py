"""Text to token ids and back; control tokens come from the template only.

`encode` never gives a control token, whatever the text says; only a `Special` piece does.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from llama_chat.engine.vocabulary.vocabulary import Vocabulary
from llama_chat.errors import TemplateError
from llama_chat.events import Ids, Piece, Special, Text

if TYPE_CHECKING:
    from collections.abc import Callable


class Encoder(Protocol):
    """Ordinary text to ids of a vocabulary."""

    def encode(self, text: str, *, is_first: bool) -> list[int]:
        """The ids; none of them is a control token."""
        ...


class Tokenizer:
    """Encodes ordinary text and template pieces; decodes ids."""

    def __init__(self, vocabulary: Vocabulary, encoder: Encoder) -> None:
        self.vocabulary = vocabulary
        self._encoder = encoder

    def __len__(self) -> int:
        return len(self.vocabulary.pieces)

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The texts of the control tokens."""
        return tuple(self.vocabulary.special_ids)

    @property
    def visible_tokens(self) -> tuple[str, ...]:
        """The texts of those control tokens that are shown in a reply."""
        hidden = self.vocabulary.hidden_ids
        return tuple(text for text, i in self.vocabulary.special_ids.items() if i not in hidden)

    def text_of(self, token_id: int | None) -> str:
        """The text of one control token, empty for None."""
        return "" if token_id is None else self.vocabulary.pieces[token_id].decode("utf-8", "replace")

    def piece(self, token_id: int) -> bytes:
        """The bytes of a token; of a control token, its text.

        Raises:
            IndexError: no such id.
        """
        if token_id < 0:  # would count from the end
            raise IndexError(token_id)
        return self.vocabulary.pieces[token_id]

    def encode(self, text: str, *, is_first: bool = True) -> list[int]:
        """The ids of ordinary text. Lone surrogates, which no UTF-8 can carry, become U+FFFD.

        Args:
            text: whatever it says, it becomes no control token.
            is_first: whether nothing stands before it but what `Vocabulary.space_before` names: then it
                gets the space that SentencePiece puts before such text.
        """
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._encoder.encode(text, is_first=is_first)

    def encode_pieces(self, pieces: Iterable[Piece]) -> list[int]:
        """The ids of a rendered template, with the begin-of-text id in front where the model wants one.

        Raises:
            TemplateError: the template wrote a control token that the vocabulary lacks.
        """
        found: list[int] = []
        bos_id, before = self.vocabulary.bos_id, None
        parts = self._parts(pieces)
        is_templated = any(isinstance(part, Special) for part in parts)
        for part, following in zip(parts, [*parts[1:], None], strict=False):
            if isinstance(part, Special):
                found.append(self._special_id(part))
            elif isinstance(part, Ids):
                found += part.token_ids
            else:
                text = part.text
                if is_templated and self._begins_with_hidden_space(following):
                    text = text.removesuffix(" ")
                found += self.encode(text, is_first=not found or self._opens_text(before))
            before = part
        if self.vocabulary.adds_bos and bos_id is not None and found[:1] != [bos_id]:
            found.insert(0, bos_id)
        return found

    def _parts(self, pieces: Iterable[Piece]) -> list[Piece]:
        """The pieces; recorded ids that count no longer as their text, and texts side by side as one."""
        parts: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, Ids) and not self._spells(piece):
                piece = Text(piece.text)
            last = parts[-1] if parts else None
            if isinstance(piece, Text) and isinstance(last, Text):
                parts[-1] = Text(last.text + piece.text)
            else:
                parts.append(piece)
        return parts

    def _special_id(self, piece: Special) -> int:
        if piece.text not in self.vocabulary.special_ids:
            raise TemplateError(f"the chat template writes {piece.text!r}, which is no token of the model")
        return self.vocabulary.special_ids[piece.text]

    def _opens_text(self, before: Piece | None) -> bool:
        """Whether text behind that piece gets a space of its own (SentencePiece)."""
        if not isinstance(before, Special):
            return False
        return (
            self.vocabulary.space_before == "controls"
            or self.vocabulary.special_ids.get(before.text) == self.vocabulary.bos_id
        )

    def _begins_with_hidden_space(self, piece: Piece | None) -> bool:
        """Whether it is a reply that began with a space which its text does not show.

        A template that writes a space before the reply means that very one. With both, the prompt would not
        be what the model saw when it wrote the reply, and the cache would be of no use.
        """
        if self.vocabulary.space_before == "nothing" or not isinstance(piece, Ids) or not piece.token_ids:
            return False
        return self.piece(piece.token_ids[0]).startswith(b" ")

    def _spells(self, piece: Ids) -> bool:
        """Whether the ids are ordinary ones of this vocabulary that make the piece's text.

        Recorded ids may come from another model of the same name, or from a file that somebody changed.
        """
        ids, control_ids = piece.token_ids, self.vocabulary.hidden_ids | self.vocabulary.end_ids
        if (ids and (min(ids) < 0 or max(ids) >= len(self))) or not control_ids.isdisjoint(ids):
            return False
        if not piece.text:  # nothing is claimed, and there is nothing else to take
            return True
        spelt = b"".join(self.vocabulary.pieces[token_id] for token_id in ids)
        if self.vocabulary.space_before != "nothing":  # as `Detokenizer` has it
            spelt = spelt.removeprefix(b" ")
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(spelt)
        # An interrupted reply may lack the U+FFFD of a character that was cut at its end.
        return piece.text in (text, text + decoder.decode(b"", final=True))

    def decoder(self) -> Detokenizer:
        """A fresh decoder for one reply."""
        return Detokenizer(self)


class Detokenizer:
    """Ids to text as they come: bytes that do not end a character wait for those that do.

    Where the vocabulary puts a space before text, the one that begins the reply is left out.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._drops_space = tokenizer.vocabulary.space_before != "nothing"
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, token_id: int) -> str:
        """What became readable by this token; nothing for a control token."""
        if token_id in self._tokenizer.vocabulary.hidden_ids:
            return ""
        piece = self._tokenizer.piece(token_id)
        if self._drops_space:
            self._drops_space = False
            piece = piece.removeprefix(b" ")
        return self._decode(piece)

    def flush(self) -> str:
        """What is left: a character that was cut short becomes U+FFFD."""
        return self._decode(b"", final=True)
