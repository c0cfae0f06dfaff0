"""Tokenizers written as Hugging Face folders have them, by the libraries that write real ones."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from llama_chat.engine.vocabulary.bpe import LLAMA3_PATTERN
from llama_chat.engine.vocabulary.byte_level import byte_of_printable

_TEXT = Path(__file__).parent / "data" / "quality_text.txt"
_PRINTABLE = {byte: char for char, byte in byte_of_printable().items()}


def in_alphabet(piece: bytes) -> str:
    """The bytes in GPT-2's alphabet."""
    return "".join(_PRINTABLE[byte] for byte in piece)


def write_folder(
    folder: Path,
    tokenizer: Tokenizer | Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    special_tokens: Mapping[str, Any] | None = None,
) -> Path:
    """The folder, now with tokenizer.json and what belongs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else json.dumps(tokenizer)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    for name, content in (("tokenizer_config", config), ("special_tokens_map", special_tokens)):
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def byte_level(
    pieces: Sequence[bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special: Sequence[str],
    *,
    split: pre_tokenizers.PreTokenizer,
    ignore_merges: bool = False,
) -> Tokenizer:
    """A byte-level vocabulary; control tokens get the ids behind the pieces, unless they are among them."""
    vocab = {
        in_alphabet(piece): i for i, piece in enumerate(pieces) if piece.decode("latin-1") not in special
    }
    vocab |= {text: i for i, piece in enumerate(pieces) if (text := piece.decode("latin-1")) in special}
    pairs = [(in_alphabet(left), in_alphabet(right)) for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return tokenizer


def smollm_split() -> pre_tokenizers.PreTokenizer:
    """Digits one by one, then GPT-2's pattern."""
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def llama3_split(pattern: str = LLAMA3_PATTERN) -> pre_tokenizers.PreTokenizer:
    """By a pattern, then bytes."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def every_merge(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every way to each token, in the order of the ranks, as Llama 3's tokenizer.json has them."""
    return [
        pair
        for piece in sorted(ranks, key=ranks.__getitem__)
        for pair in sorted(
            (
                (piece[:cut], piece[cut:])
                for cut in range(1, len(piece))
                if piece[:cut] in ranks and piece[cut:] in ranks
            ),
            key=lambda pair: (ranks[pair[0]], ranks[pair[1]]),
        )
    ]


def with_bos(tokenizer: Tokenizer, text: str) -> Tokenizer:
    """The tokenizer, which now begins every text with that token."""
    bos = (text, tokenizer.token_to_id(text))
    template = processors.TemplateProcessing(
        single=f"{text} $A", pair=f"{text} $A {text}:1 $B:1", special_tokens=[bos]
    )
    tokenizer.post_processor = template
    return tokenizer


# --- SentencePiece ---------------------------------------------------------------------------------


def train_sentencepiece(vocab_size: int = 700, **more: Any) -> sentencepiece.SentencePieceProcessor:
    """A byte-pair vocabulary with the settings of Llama 2's, learnt from two kilobytes."""
    lines = _TEXT.read_text(encoding="utf-8").splitlines()
    lines += [
        "    if a == b:  # 12345 == 12345",
        "        return aaaa + ----",
        "ana banana ananas == ====",
    ] * 3
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
        **more,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def sentencepiece_metadata(model: sentencepiece.SentencePieceProcessor) -> dict[str, Any]:
    """The vocabulary as GGUF's metadata has it."""
    ids = range(model.vocab_size())
    kinds = {2: model.is_unknown, 3: model.is_control, 6: model.is_byte}
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": None,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": [
            next((kind for kind, is_kind in kinds.items() if is_kind(i)), 1) for i in ids
        ],
        "tokenizer.ggml.bos_token_id": model.bos_id(),
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.add_bos_token": None,
    }


def spaced(model: sentencepiece.SentencePieceProcessor, *, scheme: str = "prepend") -> Tokenizer:
    """The vocabulary as a tokenizer.json, in the older way ("prepend") or by a Metaspace of that scheme."""
    vocab = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    normal = {piece: i for piece, i in vocab.items() if not model.is_control(i) and not model.is_byte(i)}
    ways = [
        (piece[:cut], piece[cut:])
        for piece in normal
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    ]
    ways.sort(key=lambda pair: (vocab["".join(pair)], vocab[pair[0]], vocab[pair[1]]))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=ways, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if scheme == "prepend":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>")]
    )
    return with_bos(tokenizer, "<s>")
