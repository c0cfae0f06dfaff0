"""`llama-chat tokens`: a text as its tokens, or tokens drawn from the vocabulary."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from llama_chat.cli.options import RunOptions, model_options
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.engine.vocabulary.tokenizer import Tokenizer

PIPED = "-"
"""Instead of a file."""
_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: as such Python hands on the bytes that are not UTF-8."""


@click.command(
    short_help="A text as the model's tokens, or a sample of the vocabulary.",
    epilog="""\b
Examples:
  llama-chat tokens "the answer to life"
  llama-chat tokens --table < notes.txt
  llama-chat tokens --score notes.txt
  llama-chat tokens "The capital of France is Paris." --score
  llama-chat tokens --sample 12 --seed 7 --model ~/Meta-Llama-3-8B-Instruct""",
)
@click.argument("text", required=False)
@click.option("--table", "as_table", is_flag=True, help="One line a token: its id, bytes and text.")
@click.option(
    "--score",
    "score_file",
    is_flag=False,
    flag_value=PIPED,
    metavar="[FILE]",
    help="How likely FILE is to the model, or TEXT, or what is piped in (-): each token, and the perplexity.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Show N tokens drawn from the vocabulary instead, its size and the end tokens.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Draw the same sample again.")
@model_options
@click.pass_context
def tokens(
    ctx: click.Context,
    text: str | None,
    as_table: bool,
    score_file: str | None,
    as_json: bool,
    sample: int | None,
    seed: int | None,
) -> None:
    """Show TEXT, or what is piped in, as the tokens that the model sees.

    The text is taken as it is, without the chat template, down to the last newline of a pipe. Control tokens
    written in it stay ordinary text. A byte that is not UTF-8 is taken as U+FFFD, and stderr says how many.

    With --score the model is loaded and says how likely it holds each token behind those before it: its
    probability, its rank, its surprise in bits, and what the model would have said first. The figures of the
    whole text follow. More text than the context holds is scored in windows.
    """
    if sample is not None and text is not None:
        raise UsageError("--sample and TEXT exclude each other.", hint="Give one of them.")
    if sample is not None and score_file is not None:
        raise UsageError("--sample and --score exclude each other.", hint="Give one of them.")
    if sample is None and seed is not None:
        raise UsageError("--seed belongs to --sample.", hint="Leave it out, or add --sample N.")
    if score_file is not None:
        _score(ctx.ensure_object(RunOptions), score_file, text, as_json=as_json)
        return
    if sample is None:
        text = _read_text(text)
    tokenizer = _tokenizer(ctx.ensure_object(RunOptions))
    if sample is not None:
        _show_sample(tokenizer, sample, seed, as_json=as_json)
    else:
        assert text is not None
        _show_text(tokenizer, text, as_table=as_table, as_json=as_json)


def _score(options: RunOptions, score_file: str, text: str | None, *, as_json: bool) -> None:
    """Score the text: the argument's, the file's, or the piped one.

    Raises:
        UsageError: there is none, or two.
    """
    from llama_chat.cli.score import ScoreRequest, read_score_file, show_score

    if text is not None and score_file != PIPED:
        raise UsageError("--score has a FILE, and there is a TEXT too.", hint="Give one of them.")
    if text is None:
        text = read_score_file(score_file).decode("utf-8", "surrogateescape")
    loaded, paths = options.load()
    say_notices(loaded.notices)
    show_score(ScoreRequest(_told_text(text), as_json), loaded.settings, paths)


def _read_text(given: str | None) -> str:
    """The argument, or all that is piped in; says what of it is no text.

    Raises:
        UsageError: there is neither.
    """
    if given is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("There is no text.", hint='Give one: llama-chat tokens "some words"')
    if given is None and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as arguments are read
    return _told_text(sys.stdin.read() if given is None else given)


def _told_text(text: str) -> str:
    """The text; stderr hears how much of it is none."""
    if lost := len(_NO_TEXT.findall(text)):
        from llama_chat.cli.tables import count_text

        say(f"llama-chat: {count_text(lost, 'byte')} of no UTF-8 text, each taken as U+FFFD (\ufffd).")
    return text


def _tokenizer(options: RunOptions) -> Tokenizer:
    """The tokenizer of the model that the settings name, fetched if it is not at hand."""
    loaded, paths = options.load()
    say_notices(loaded.notices)
    from llama_chat.cli.engines import find_or_fetch
    from llama_chat.engine.inspect.tokenizer_at import read_tokenizer

    return read_tokenizer(find_or_fetch(loaded.settings, paths))


def _show_text(tokenizer: Tokenizer, text: str, *, as_table: bool, as_json: bool) -> None:
    from llama_chat.cli.tables import painter_for, width_of
    from llama_chat.cli.tokens_text import as_data, text_lines, token_table
    from llama_chat.events import Text

    ids = tokenizer.encode_pieces([Text(text)])
    if as_json:
        data = {"count": len(ids), "vocabulary_size": len(tokenizer), "tokens": as_data(tokenizer, ids)}
        click.echo(json.dumps(data, indent=2))
        return
    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    to_lines = token_table if as_table else text_lines
    for line in to_lines(tokenizer, ids, painter, width):
        click.echo(line)


def _show_sample(tokenizer: Tokenizer, count: int, seed: int | None, *, as_json: bool) -> None:
    """Tokens drawn without putting one back; the seed is told, so that they can be drawn again.

    Raises:
        UsageError: more than the vocabulary has.
    """
    import random

    from llama_chat.cli.tables import painter_for, table_lines, width_of
    from llama_chat.cli.tokens_text import as_data, sample_columns, sample_facts, token_table

    if count > len(tokenizer):
        raise UsageError(f"--sample {count:,}: the vocabulary has {len(tokenizer):,} tokens.")
    seed = random.randrange(1 << 32) if seed is None else seed
    ids = random.Random(seed).sample(range(len(tokenizer)), count)
    end_ids = sorted(tokenizer.vocabulary.end_ids)
    if as_json:
        data = {"vocabulary_size": len(tokenizer), "end_tokens": as_data(tokenizer, end_ids), "seed": seed}
        click.echo(json.dumps(data | {"tokens": as_data(tokenizer, ids)}, indent=2))
        return
    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    for line in token_table(tokenizer, ids, painter, width):
        click.echo(line)
    click.echo("")
    for line in table_lines(sample_columns(painter), sample_facts(tokenizer, seed), width=width):
        click.echo(line)
