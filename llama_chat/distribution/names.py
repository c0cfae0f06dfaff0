"""What tokens are called: every id of a vocabulary as a reader can tell it from all others."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence

from llama_chat.events import Engine, Token
from llama_chat.sanitize import UNSAFE

_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": "\\\\"}
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Harmless in a text; in a token, of which they may be all, nobody would see them."""
_CARRIER = "◌"
"""Carries a combining character that would else sit on the quotation mark."""
_OURS = f"⟨{_CARRIER}"
"""Spelled out where they are part of a token, so that they mean what we write with them."""
_TAKEN = ('"', "#", "⟨")
"""What other names begin with."""


class TokenNames:
    """The tokens of a vocabulary by their ids; an id that it lacks is shown as a number.

    Args:
        pieces: bytes of the tokens, by id; control tokens by their text.
        special_ids: control and user-defined tokens, which no ordinary text becomes.
    """

    def __init__(
        self, pieces: Sequence[bytes] | Mapping[int, bytes] = (), special_ids: Collection[int] = ()
    ) -> None:
        self.pieces = pieces
        self.special_ids = frozenset(special_ids)

    @staticmethod
    def of_engine(engine: Engine) -> TokenNames:
        """Those of a loaded model; on any thread."""
        return TokenNames(engine.pieces(), engine.info.special_ids)

    @staticmethod
    def of_tokens(tokens: Iterable[Token]) -> TokenNames:
        """The few that recorded tokens tell of themselves: where nothing else is known of the vocabulary."""
        return TokenNames({token.token_id: token.piece for token in tokens})

    def __len__(self) -> int:
        return len(self.pieces)

    def piece(self, token_id: int) -> bytes | None:
        """The bytes of a token; None where they are not known."""
        if isinstance(self.pieces, Mapping):
            return self.pieces.get(token_id)
        return self.pieces[token_id] if 0 <= token_id < len(self.pieces) else None

    def quoted(self, token_id: int) -> str:
        r"""The token in one safe line: `" fox"`, `"\n"`, `⟨E2 80⟩`, `<|im_end|>`; `#31498` if not known.

        Different pieces have different names. Text is in quotation marks, so that blanks at its ends are
        seen; a control token is not, so that no text poses as one; bytes that are no whole character are
        in hexadecimal.
        """
        piece = self.piece(token_id)
        if piece is None:
            return f"#{token_id}"
        if token_id in self.special_ids:
            name = visible_piece(piece)
            if name and name == name.strip() and not name.startswith(_TAKEN):
                return name
        return quoted_piece(piece)

    def fits(self, tokens: Iterable[Token]) -> bool:
        """Whether recorded tokens are tokens of this vocabulary, by their bytes."""
        return all(self.piece(token.token_id) == token.piece for token in tokens)


def quoted_piece(piece: bytes) -> str:
    """The bytes of an ordinary token as `TokenNames.quoted` has them."""
    if piece.isascii() and (text := piece.decode("ascii")).isprintable() and "\\" not in text:
        return f'"{text}"'
    shown = visible_piece(piece)
    return shown if piece and not piece.decode("utf-8", "ignore") else f'"{shown}"'


def visible_piece(piece: bytes) -> str:
    """The bytes in one safe line without quotation marks, every character of them seen."""
    shown = (_seen(char, is_first=n == 0) for n, char in enumerate(piece.decode("utf-8", "surrogateescape")))
    return "".join(shown).replace("⟩⟨", " ")


def _seen(char: str, *, is_first: bool) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is part of no character
        return f"⟨{code - 0xDC00:02X}⟩"
    if char in _ESCAPES:
        return _ESCAPES[char]
    if UNSAFE.match(char) or char in _JOINERS or char in _OURS or (char.isspace() and char != " "):
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    if is_first and code > 0x7F:
        import unicodedata  # 1 ms, and most tokens are ASCII

        if unicodedata.category(char).startswith("M"):
            return _CARRIER + char
    return char


def vocabulary_digest(pieces: Sequence[bytes], special_ids: Collection[int]) -> str:
    """16 hexadecimal digits that another vocabulary does not have.

    3.5 ms for 49,152 tokens, 12 ms for 128,256 (2 busy cores, 2026-11-22).
    """
    from hashlib import sha256  # 4 ms, and nothing at the start needs it

    found = sha256(array("I", [len(pieces), *sorted(special_ids)]).tobytes())
    found.update(array("I", map(len, pieces)).tobytes())
    found.update(b"".join(pieces))
    return found.hexdigest()[:16]
