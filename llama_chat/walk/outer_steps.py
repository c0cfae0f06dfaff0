"""The steps outside the layers: from the text to the stream, and from the stream to the next token.

Shapes: T positions, D width, L layers, V vocabulary.
"""

from __future__ import annotations

import math

import torch

from llama_chat.drawing.views import Axis, Bar, Bars, Cell, StepView, Table
from llama_chat.walk.comparing import (
    comparison_bars,
    comparison_of,
    comparison_sentence,
    comparison_table,
)
from llama_chat.walk.lens import LENS_TOP, lens_lines
from llama_chat.walk.plain import grid_of, number, percent, quoted, rms, share_bars
from llama_chat.walk.scene import Scene

SHOWN_TOKENS = 12
"""Of the likeliest next tokens."""


def tokens_step(scene: Scene) -> StepView:
    """The text in pieces."""
    facts, vocabulary = scene.facts, scene.tokenizer.vocabulary
    ids = facts.token_ids
    begins = vocabulary.adds_bos and ids[0] == vocabulary.bos_id
    sentences = (
        "A model reads no letters. The text is cut into tokens, pieces that were frequent where the "
        "vocabulary was made, and each is replaced by its number in the vocabulary, its id.",
        f"This text is {_count(len(ids), 'token')} out of the {facts.size('V'):,} that {facts.model} knows.",
        f"{quoted(facts.labels[0])} was put in front: with it every text begins for this model."
        if begins
        else "",
        "␣ stands for a space at the edge of a token: it belongs to the word behind it."
        if any("␣" in label for label in facts.labels)
        else "",
    )
    rows = tuple(
        (position, token_id, scene.tokenizer.piece(token_id).hex(" "), label)
        for position, (token_id, label) in enumerate(zip(ids, facts.labels, strict=True))
    )
    table = Table("The tokens", ("position", "id", "bytes", "token"), rows)
    return scene.view("tokens", sentences, [("ids", "T", torch.tensor(ids))], tables=(table,))


def embedding_step(scene: Scene) -> StepView:
    """The row of each token."""
    x_TD, config, labels = scene.passed.embedding, scene.config, scene.facts.labels
    sentences = (
        f"Each id picks a row of the embedding table [V {config.vocab_size:,}, D {config.dim:,}]: "
        f"{config.dim:,} numbers that stand for this token. They were learned, and are the same wherever "
        "the token stands.",
        f"The row of {scene.last} begins with {', '.join(number(v) for v in x_TD[-1, :4].tolist())}.",
        f"{'These rows are' if len(labels) > 1 else 'This row is'} the beginning of the residual stream, "
        f"one lane for each token: every one of the {config.n_layers} layers reads it and adds something to "
        "it.",
        "The same table serves again at the end, to turn numbers into tokens." if config.tied_output else "",
    )
    grid = scene.stream_grid("embeddings", x_TD)
    return scene.view("embedding", sentences, [("x", "TD", x_TD)], grids=(grid,))


def lens_step(scene: Scene) -> StepView:
    """What would be said after every layer."""
    lines = lens_lines(scene.network, scene.passed)
    final = quoted(scene.label(lines[-1].token_ids[0]))
    settled = len(lines) - 1
    while settled > 0 and lines[settled - 1].final_rank == 0:
        settled -= 1
    since = "already in the embeddings" if settled == 0 else f"after layer {settled}"
    first = lines[0]
    sentences = (
        "What would the model say next if it ended after one of its layers? The final norm and the output "
        "product are applied to the stream behind each layer (logit lens); the layers before the last were "
        "never asked to be readable in this way, so the first lines are often odd.",
        f"Without any layer it would say {quoted(scene.label(first.token_ids[0]))}; in the end it says "
        f"{final}.",
        f"{final} takes the first place for good {since}; in the embeddings it is number "
        f"{first.final_rank + 1:,} of {scene.config.vocab_size:,}.",
    )
    titles = ("layer", "final", *(f"{n}." for n in range(1, LENS_TOP + 1)))
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        pairs = zip(line.token_ids, line.shares, strict=True)
        said = [f"{_short_percent(share)} {scene.label(token_id)}" for token_id, share in pairs]
        rows.append((line.layer or "none", line.final_rank + 1, *said))
    title = f"The next token after each layer; `final` is the place of {final}"
    stacked_LD = torch.stack([x_TD[-1] for x_TD in scene.passed.streams])
    return scene.view(
        "lens",
        sentences,
        [("last rows, of the embeddings and the layers", "LD", stacked_LD)],
        tables=(Table(title, titles, tuple(rows)),),
    )


def final_norm_step(scene: Scene) -> StepView:
    """The last row brought to a common size once more."""
    x_D, n_D = scene.passed.streams[-1][-1], scene.passed.final_norm
    sentences = (
        f"All {scene.config.n_layers} layers are done. The row of the last token, {scene.last}, has "
        "gathered what counts for the next one; only this row is needed now.",
        f"It is normalised once more: its root mean square is {number(rms(x_D))}, after the norm and its "
        f"weights {number(rms(n_D))}.",
    )
    one = Axis("T", 1, scene.facts.labels[-1:])
    grid = grid_of("the last row, normalised", one, Axis("D", len(n_D)), n_D[None])
    return scene.view("final-norm", sentences, [("n", "D", n_D)], grids=(grid,))


def logits_step(scene: Scene) -> StepView:
    """A number for every token of the vocabulary."""
    logits_V, config = scene.passed.logits, scene.config
    top = logits_V.topk(min(SHOWN_TOKENS, len(logits_V)))
    matrix = "the embedding table" if config.tied_output else "an output matrix"
    sentences = (
        f"The {config.dim:,} numbers are multiplied with {matrix} [V {config.vocab_size:,}, D "
        f"{config.dim:,}]: one product for each token of the vocabulary, its logit. The larger, the better "
        "the token fits.",
        f"They lie between {number(float(logits_V.min()))} and {number(float(logits_V.max()))}, "
        f"{number(float(logits_V.mean()))} on average.",
        _difference_sentence(scene),
    )
    ids, values = top.indices.tolist(), top.values.tolist()
    bars = tuple(Bar(scene.label(i), value, f"{value:.3f}") for i, value in zip(ids, values, strict=True))
    return scene.view(
        "logits", sentences, [("logits", "V", logits_V)], bars=(Bars("The largest logits", bars),)
    )


def distribution_step(scene: Scene) -> StepView:
    """The logits as shares."""
    p_V = scene.passed.logits.softmax(-1)
    top = p_V.topk(min(SHOWN_TOKENS, len(p_V)))
    bits = float(-(p_V * p_V.clamp_min(1e-30).log2()).sum())
    best = scene.passed.logits.topk(min(2, len(p_V))).values.tolist()
    sentences = (
        "Softmax turns logits into shares that sum to 1: e to the power of each, divided by their sum. A "
        "logit that is 1 larger makes a token e = 2.72 times as likely.",
        f"Here the first is {number(best[0] - best[-1])} ahead of the second, so "
        f"{number(math.exp(best[0] - best[-1]))} times as likely."
        if len(best) > 1 and best[0] - best[-1] < 20
        else "",
        f"The entropy is {bits:.2f} bits: as unsure as a choice among {number(2**bits)} tokens that are all "
        f"alike. The {len(top.values)} first hold {percent(min(1.0, float(top.values.sum())))}.",
        "Temperature, top-k, top-p and min-p would reshape this distribution before a token is drawn from "
        "it.",
    )
    labels = [scene.label(i) for i in top.indices.tolist()]
    if (found := comparison_of(scene)) is not None:
        return scene.view(
            "distribution",
            (comparison_sentence(found), *sentences),
            [("p", "V", p_V)],
            bars=(comparison_bars(found),),
            tables=(comparison_table(found),),
        )
    bars = Bars("The likeliest next tokens", share_bars(labels, top.values.tolist()))
    return scene.view("distribution", sentences, [("p", "V", p_V)], bars=(bars,))


def token_step(scene: Scene) -> StepView:
    """The token that is taken at temperature 0."""
    logits_V = scene.passed.logits
    token_id = int(logits_V.argmax())
    share = float(logits_V.softmax(-1)[token_id])
    is_end = token_id in scene.tokenizer.vocabulary.end_ids
    sentences = (
        f"At temperature 0 the likeliest token is taken: {quoted(scene.label(token_id))}, id {token_id:,}, "
        f"with {percent(share)}.",
        "It ends the text."
        if is_end
        else "It is put behind the text, and all of this begins again with one token more: its queries meet "
        "the keys and values that were kept (the cache), so only its own row is computed.",
        _difference_sentence(scene),
    )
    rows = ((token_id, scene.tokenizer.piece(token_id).hex(" "), scene.label(token_id), percent(share)),)
    table = Table("The next token", ("id", "bytes", "token", "probability"), rows)
    return scene.view("token", sentences, [], tables=(table,))


def _difference_sentence(scene: Scene) -> str:
    found = scene.difference()
    same = "the same token first" if found.is_same_top else "another token first"
    return (
        f"Chats run on fused kernels, {scene.facts.dtype} on {scene.facts.device}; here attention was done "
        f"in single steps and f32. Their logits differ from these by {number(found.largest)} at most (KL "
        f"{found.kl:.1g} nats), and put {same}."
    )


def _short_percent(share: float) -> str:
    return f"{100 * share:2.0f}%" if share >= 0.0095 else "<1%"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
