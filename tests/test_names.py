"""What tokens are called: each so that it can be told from all others, and none can command the terminal."""

from __future__ import annotations

from itertools import combinations

import pytest
from fake_engine import INFO, FakeEngine
from store_helpers import build_token

from llama_chat.distribution.names import TokenNames, quoted_piece, vocabulary_digest
from llama_chat.sanitize import is_safe

NAMED = {
    b" fox": '" fox"',
    b"\n": r'"\n"',
    b"\\n": r'"\\n"',
    b"\r\n\t": r'"\r\n\t"',
    b"  ": '"  "',
    b"": '""',
    b'"': '"""',
    b"\xe2\x80": "⟨E2 80⟩",
    b" \xe2\x80": '" ⟨E2 80⟩"',
    "⟨E2 80⟩".encode(): r'"\u27e8E2 80⟩"',
    "é".encode(): '"é"',
    "\u0301".encode(): '"◌\u0301"',
    "◌\u0301".encode(): '"\\u25cc\u0301"',
    "\u00a0".encode(): r'"\xa0"',
    "\u3000".encode(): r'"\u3000"',
    "\u200d".encode(): r'"\u200d"',
    b"\x1b[31m": r'"\x1b[31m"',
    b"\x1b]0;PWNED\x07": r'"\x1b]0;PWNED\x07"',
    b"\xc2\x9b31m": r'"\x9b31m"',
    "\u202egnp".encode(): r'"\u202egnp"',
    "\U000e0041".encode(): r'"\U000e0041"',
    "\u2028".encode(): r'"\u2028"',
    b"[red]x[/red]": '"[red]x[/red]"',
    b"\xed\xa0\x80": "⟨ED A0 80⟩",
}


@pytest.mark.parametrize(("piece", "name"), NAMED.items())
def test_pieces_are_quoted(piece: bytes, name: str) -> None:
    assert quoted_piece(piece) == name
    assert is_safe(name)
    assert "\n" not in name


def test_different_pieces_have_different_names() -> None:
    some = [
        *NAMED,
        *(bytes([a]) for a in range(256)),
        *(bytes([0xE2, a]) for a in range(256)),
        b"\\",
        b"\\x1b[31m",
    ]
    some = list(dict.fromkeys(some))
    for one, two in combinations(some, 2):
        assert quoted_piece(one) != quoted_piece(two), (one, two)
    assert all(is_safe(quoted_piece(piece)) for piece in some)


def test_control_tokens_go_by_their_text_and_no_text_poses_as_one() -> None:
    pieces = [b"<|im_end|>", b"<|im_end|>", b"\x1b[2J<|evil|>", b"   ", b"\n\n", b'"fox"', b"#9", b""]
    names = TokenNames(pieces, special_ids=(0, 2, 3, 4, 5, 6, 7))
    shown = [names.quoted(token_id) for token_id in range(len(pieces))]
    assert shown == [
        *("<|im_end|>", '"<|im_end|>"', r"\x1b[2J<|evil|>", '"   "', r"\n\n", '""fox""', '"#9"', '""'),
    ]


def test_what_is_not_known_is_a_number() -> None:
    names = TokenNames([b"a"])
    assert [names.quoted(i) for i in (-1, 0, 1, 31498)] == ["#-1", '"a"', "#1", "#31498"]
    assert names.piece(-1) is None
    assert TokenNames().quoted(7) == "#7"


def test_recorded_tokens_tell_their_own_names() -> None:
    tokens = [build_token(0, " fox"), build_token(1, " jumps")]
    names = TokenNames.of_tokens(tokens)
    assert [names.quoted(i) for i in (100, 101, 102)] == ['" fox"', '" jumps"', "#102"]
    assert names.fits(tokens)
    assert not TokenNames([b"x"] * 200).fits(tokens)


def test_an_engine_tells_its_tokens() -> None:
    names = TokenNames.of_engine(FakeEngine())
    assert [names.quoted(i) for i in (1, 7, 9, 10)] == ["<|im_end|>", '" river"', r'"\n"', '" ⟨E2 80⟩"']
    assert INFO.special_ids == (0, 1)


def test_the_digest_tells_vocabularies_apart() -> None:
    some = [
        ([b"a", b"b"], ()),
        ([b"ab", b""], ()),
        ([b"a", b"b"], (0,)),
        ([b"a", b"b"], (1,)),
        ([b"a"], ()),
        ([], ()),
    ]
    assert len({vocabulary_digest(pieces, ids) for pieces, ids in some}) == len(some)
    assert vocabulary_digest([b"a", b"b"], (1, 0)) == vocabulary_digest((b"a", b"b"), {0, 1})
