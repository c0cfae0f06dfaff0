"""Tokenizers that lie there in a form that only transformers reads, made into a tokenizer.json for us."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from llama_chat.engine.hf.library import asking_the_library, silence_library
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import NotOursError


def tokenizer_by_library(
    folder: Path, gguf_name: str | None = None, end_ids: Collection[int] = ()
) -> Tokenizer:
    """The tokenizer of a folder without a tokenizer.json, or of a GGUF file in the folder.

    Raises:
        ModelError: the library cannot read it either.
    """
    from llama_chat.engine.vocabulary.any_kind import tokenizer_of_any_kind
    from llama_chat.engine.vocabulary.from_json import tokenizer_from_json

    silence_library()
    more = {} if gguf_name is None else {"gguf_file": gguf_name}
    where = gguf_name or folder.name
    with tempfile.TemporaryDirectory(prefix="llama-chat-") as made:
        with asking_the_library(f"{where}: transformers cannot read the tokenizer"):
            from transformers import AutoTokenizer

            found = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **more
            )
            found.save_pretrained(made)
        try:
            return tokenizer_from_json(Path(made), end_ids)
        except NotOursError:
            return tokenizer_of_any_kind(Path(made), end_ids)
