"""What is said of a token and of a whole message, as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.words import format_speed, format_tokens, name_of
from llama_chat.conversation import Message, Role
from llama_chat.distribution.bars import Bars
from llama_chat.distribution.figures import Entropy, entropy, surprise_bits
from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import percent, told
from llama_chat.events import ModelInfo, Token
from llama_chat.sampling import Sampling, changed_settings, setting_label, setting_value
from llama_chat.sanitize import one_line

_SHOWN_SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_TELLING_ERROR_BITS = 0.05
_MOST_HEX_BYTES = 12
_UNKNOWN = "–"


def figures_of_sheet(sheet: TokenSheet) -> list[str]:
    """What the head says of the whole message, the most useful first: `perplexity 3.2`."""
    who = one_line(f"{name_of(sheet.message)}, as {sheet.judged_by} sees it") if sheet.is_opinion else ""
    found = [who or name_of(sheet.message)]
    if not len(sheet):
        return found
    found.append(format_tokens(len(sheet)))
    if sheet.logprobs:
        found.append(f"perplexity {figure(sheet.perplexity)}")
        found.append(f"{figure(sheet.mean_surprise_bits)} bits a token")
    reply = sheet.message.reply
    if reply is not None and reply.decode_tok_per_s and not (sheet.is_running or sheet.is_opinion):
        found.append(format_speed(reply.decode_tok_per_s))
        if reply.drafted_tokens:
            found.append(f"{reply.accepted_tokens:,} of {reply.drafted_tokens:,} drafted tokens kept")
    return found


def facts_of_token(sheet: TokenSheet, place: int) -> list[str]:
    """All that is known of one token, in the order of a panel; the first is its name."""
    token = sheet.tokens[place]
    vocab_size = sheet.vocab_size(token.candidates)
    of = f" of {vocab_size:,}" if vocab_size else ""
    facts = [quoted(sheet.names, token), f"id {token.token_id}", hex_bytes(token.piece)]
    if math.isnan(token.logprob):
        facts.append("probability not known")
    else:
        facts += [
            f"rank {token.rank:,}{of}",
            f"{share_words(sheet, place)}",
            f"surprise {figure(surprise_bits(token.logprob))} bits",
        ]
    if len(token.candidates):
        facts.append(entropy_words(entropy(token.candidates)))
    facts.append(f"token {token.index + 1:,} of {len(sheet):,}{'…' if sheet.is_running else ''}")
    facts += _how_it_was_drawn(sheet, token)
    return [fact for fact in facts if fact]


def _how_it_was_drawn(sheet: TokenSheet, token: Token) -> list[str]:
    if sheet.is_opinion:
        return ["not drawn here: this is what the model that is loaded holds of it"]
    taken_s, count = sheet.together.get(token.index, (token.seconds, 1))
    at_once = f" for {count} at once" if count > 1 else ""
    seconds = [f"{1000 * taken_s:.1f} ms{at_once}"] if taken_s > 0 else []
    if token.chosen_by == "user":
        return [*seconds, "chosen by you"]
    reply = sheet.message.reply
    seed = [f"seed {reply.seed}"] if reply is not None else []
    return [*seconds, "drawn with " + settings_words(token.sampling), *seed]


def share_words(sheet: TokenSheet, place: int) -> str:
    """The token's probability, before and after the settings that it was drawn with: `41 % → 63 %`."""
    token = sheet.tokens[place]
    before = percent(math.exp(min(0.0, token.logprob)))
    if sheet.is_opinion or not len(token.candidates):
        return before
    bars = sheet.bars(place)
    bar = bars.of(token.token_id)
    if bar is None:
        return before
    return f"{before} → {'' if bars.is_exact else '≈ '}{percent(bar.after)}"


def entropy_words(found: Entropy) -> str:
    """`entropy 4.1 bits`; with how far off it may be, where that shows: `entropy 4.1 ± 0.2 bits`."""
    if found.error_bits < _TELLING_ERROR_BITS:
        return f"entropy {figure(found.bits)} bits"
    return f"entropy {figure(found.bits)} ± {figure(found.error_bits)} bits"


def settings_words(sampling: Sampling) -> str:
    """The settings that choose a token, those that do nothing left out: `temperature 0.7, top-k 40`."""
    if sampling.temperature == 0:
        return "temperature 0"
    changed = {"temperature", "top_k", *changed_settings(sampling)}
    told_of = (name for name in _SHOWN_SETTINGS if name in changed)
    return ", ".join(
        f"{setting_label(name)} {setting_value(name, getattr(sampling, name))}" for name in told_of
    )


def quoted(names: TokenNames, token: Token) -> str:
    """The token by its name; by its own bytes, where the names are not those of its model."""
    known = names if names.piece(token.token_id) == token.piece else TokenNames.of_tokens([token])
    return known.quoted(token.token_id)


def hex_bytes(piece: bytes) -> str:
    """`20 66 6f 78`; of many bytes the first ones."""
    more = " …" if len(piece) > _MOST_HEX_BYTES else ""
    return piece[:_MOST_HEX_BYTES].hex(" ") + more


def figure(value: float) -> str:
    """Two figures that tell: `0.42`, `1.3`, `12`, `4,096`; a dash where it is not known."""
    if not math.isfinite(value):
        return _UNKNOWN
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 99.5 else f"{value:,.0f}"


def told_of_candidate(sheet: TokenSheet, bars: Bars, sampling: Sampling, token_id: int) -> str:
    """What the settings did to that candidate, and what it would do to the reply where it ends it."""
    words = told(bars, sampling, token_id, sheet.names.quoted)
    if sheet.ends_the_reply(token_id):
        words += f" {sheet.names.quoted(token_id)} ends the reply."
    return words


def table_of_tokens(sheet: TokenSheet) -> list[tuple[str, ...]]:
    """A row for each token, for a chat without a screen: its name, probability, rank, surprise."""
    return [
        (
            str(place + 1),
            quoted(sheet.names, token),
            percent(math.exp(min(0.0, token.logprob))) if not math.isnan(token.logprob) else _UNKNOWN,
            f"{token.rank:,}" if token.rank else _UNKNOWN,
            figure(surprise_bits(token.logprob)) if not math.isnan(token.logprob) else _UNKNOWN,
        )
        for place, token in enumerate(sheet.tokens)
    ]


def flowed(parts: Sequence[str], width: int, gap: str = "   ") -> list[list[str]]:
    """The parts in as few lines as they need: which stand in which."""
    lines: list[list[str]] = []
    room = 0
    for part in parts:
        needed = len(part) + len(gap)
        if not lines or needed > room:
            lines.append([])
            room = width + len(gap)
        lines[-1].append(part)
        room -= needed
    return lines


END_NAMES = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>")
"""What the tokens are called that end a reply, where no model is loaded that tells."""


def end_ids_of(names: TokenNames, info: ModelInfo | None) -> frozenset[int]:
    """The tokens that end a reply: as the loaded model has them, if it wrote these; else by their names."""
    if info is not None and info.special_ids and set(info.special_ids) == names.special_ids:
        return frozenset(info.end_ids)
    return frozenset(token_id for token_id in names.special_ids if names.quoted(token_id) in END_NAMES)


SCORE_OFFER = "Enter asks the model that is loaded how likely it holds each token to be."
NO_MODEL_TO_SCORE = "A loaded model could say how likely it holds each token to be; F4 shows those at hand."
IS_SCORED = "The model reads it … Esc gives up."


def why_no_tokens(message: Message) -> str:
    """What is said of a message whose tokens are not known."""
    if message.role is Role.ASSISTANT:
        return (
            "This reply came from elsewhere, or you wrote it: nobody kept what its tokens were chosen from."
        )
    if message.role is Role.SYSTEM:
        return "This is the system prompt: no model chose its tokens."
    return "These words are yours: no model chose them."
