"""Replies with candidates as a real model has them, without one; and a chat that holds such a reply."""

from __future__ import annotations

import math
import random
import re
from array import array
from collections.abc import Sequence
from dataclasses import replace

from fake_engine import INFO, PLAN
from test_chat_app import Home

from llama_chat.candidates import Candidates
from llama_chat.conversation import Message, Reply, Role
from llama_chat.distribution.names import vocabulary_digest
from llama_chat.events import Sampling, Token
from llama_chat.sessions import SessionStore
from llama_chat.sessions.vocabularies import pack_vocabulary

TALE = (
    "Once upon a time, there was a fox named Felix. He was a curious and adventurous fox, and he lived by "
    "a wide, slow river. Every evening he asked it the same question:\n\n"
    "Why do you never hurry?\n\nThe river said nothing for a long while. Then it said: listen, wait, and "
    "ask again tomorrow. 狐狸 smiled 🦊 and went home."
)
"""What the reply says; the fox's face is three tokens."""
SPECIAL = (b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>")
VOCAB_SIZE = 49_152
END_ID = 2
REPLY_ID, WORDS_ID = "tale-reply", "tale-words"
NOON = 1_795_348_800.0


def _pieces_of(text: str) -> list[bytes]:
    found: list[bytes] = []
    for part in re.findall(r" ?\w+|\n+| ?[^\w\s]+|\s", text):
        piece = part.encode()
        found += [piece[:3], piece[3:4], piece[4:]] if "🦊" in part else [piece]
    return [piece for piece in found if piece]


def vocabulary() -> list[bytes]:
    """The tale's own tokens behind the control tokens, then some that are harmless."""
    own = [*SPECIAL, *dict.fromkeys(_pieces_of(TALE))]
    words = (
        b" little",
        b" young",
        b" bear",
        b" wolf",
        b" day",
        b" small",
        b" clever",
        b" old",
        b"\n",
        b",",
        b" the",
    )
    own += [word for word in words if word not in own]
    return own + [f" w{n}".encode() for n in range(VOCAB_SIZE - len(own))]


VOCABULARY = vocabulary()
IDS = {piece: token_id for token_id, piece in reversed(list(enumerate(VOCABULARY)))}
DIGEST = vocabulary_digest(VOCABULARY, range(len(SPECIAL)))
_OWN = 110


def candidates(token_id: int, place: int, seed: int, *, spread: float = 0.9) -> Candidates:
    """The likeliest 64, that token among them at that place, from 0, and a tail as a real one's."""
    chance = random.Random(seed)
    gaps = [chance.expovariate(1 / spread) for _ in range(63)]
    logits = array("f", [17 - math.fsum(gaps[:n]) / (1 + n / 12) for n in range(64)])
    logits = array("f", sorted(logits, reverse=True))
    others = [number for number in range(2, _OWN) if number != token_id]
    chance.shuffle(others)
    ids = array("i", [*others[:place], token_id, *others[place:]][:64])
    heights = [math.exp(-(((bin_ / 8 - 17) / 2.5) ** 2)) for bin_ in range(160)]
    counts = array("i", [round((VOCAB_SIZE - 64) * height / sum(heights)) for height in heights])
    counts[-1] += VOCAB_SIZE - 64 - sum(counts)
    sums = array(
        "f", [math.log(n) + logits[0] - (at + 0.5) / 8 if n else -math.inf for at, n in enumerate(counts)]
    )
    whole = [*logits, *(value for value in sums if value > -math.inf)]
    logsumexp = logits[0] + math.log(math.fsum(math.exp(value - logits[0]) for value in whole))
    return Candidates(ids, logits, array("f", logits), counts, sums, logsumexp)


def token(index: int, piece: bytes, text: str, *, sampling: Sampling | None = None) -> Token:
    """A token of the tale, mostly the likeliest."""
    chance = random.Random(index)
    token_id = IDS.get(piece, 5)
    place = min(30, int(chance.expovariate(1.1)))
    found = candidates(token_id, place, 100 + index, spread=0.3 + chance.random())
    logprob = found.penalised[place] - found.logsumexp
    seconds = 0.0021 if index == 0 else 1 / (112 + 9 * math.sin(index / 7))
    by = "user" if index == 9 else "sampler"
    return Token(index, token_id, piece, text, by, logprob, place + 1, found, seconds, sampling or Sampling())  # type: ignore[arg-type]


def tokens_of(text: str = TALE) -> list[Token]:
    """The tokens of a text; a cut character becomes readable with its last one."""
    found: list[Token] = []
    held = b""
    for index, piece in enumerate(_pieces_of(text)):
        held += piece
        try:
            readable, held = held.decode(), b""
        except UnicodeDecodeError:
            readable = ""
        found.append(token(index, piece, readable))
    return found


def many_tokens(count: int) -> list[Token]:
    """A long message: the tale again and again."""
    tale = tokens_of()
    return [
        Token(n, each.token_id, each.piece, each.text, *[getattr(each, name) for name in _REST])
        for n in range(count)
        for each in [tale[n % len(tale)]]
    ]


_REST = ("chosen_by", "logprob", "rank", "candidates", "seconds", "sampling")


def reply_of(tokens: Sequence[Token], message_id: str = REPLY_ID) -> Message:
    """The message that they make."""
    reply = Reply(
        seed=7,
        sampling=Sampling(),
        model=INFO.name,
        token_ids=tuple(each.token_id for each in tokens),
        finish_reason="end",
        prompt_tokens=36,
        prefill_s=0.2,
        decode_s=len(tokens) / 112,
        plan=PLAN,
    )
    return Message(
        message_id, WORDS_ID, Role.ASSISTANT, "".join(each.text for each in tokens), NOON + 60, reply
    )


def fill(
    home: Home, tokens: Sequence[Token] | None = None, *, has_names: bool = True, has_tokens: bool = True
) -> None:
    """A session with a question and a reply of these tokens, as it is kept when a model has answered."""
    tokens = tokens_of() if tokens is None else tokens
    message = reply_of(tokens)
    words = Message(WORDS_ID, None, Role.USER, "Tell me about the fox and the river.", NOON)
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title="The fox and the river", model=INFO.name, date="2026-11-20")
    store.set_model(
        info.id, replace(INFO, special_ids=(0, 1, 2), vocabulary_digest=DIGEST if has_names else "")
    )
    store.add_messages(info.id, [words, message], message.id)
    if has_tokens:
        store.append_tokens(message.id, tokens)
        store.pack_tokens(message.id)
    if has_names:
        store.keep_vocabulary(DIGEST, len(VOCABULARY), pack_vocabulary(VOCABULARY, range(len(SPECIAL))))
    store.close()
