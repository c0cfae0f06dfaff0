"""The steps of attention: from the norm to what is added to the stream.

Shapes: T positions, S the same looked at, D width, H query heads, G key/value heads, K head size, P pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from llama_chat.drawing.views import Arrow, Axis, Cell, Grid, StepView, Table
from llama_chat.walk.layer_parts import LayerParts
from llama_chat.walk.plain import grid_of, joined, length, number, percent, quoted, rms
from llama_chat.walk.scene import Scene

SHOWN_PAIRS = 6


def norm_step(scene: Scene, parts: LayerParts) -> StepView:
    """Rows of a common size."""
    before_TD, after_TD = parts["layer_input"], parts["attention_norm"]
    sentences = (
        "Before attention reads it, each row is brought to a common size: divided by its root mean square "
        f"(the root of the mean of its {scene.config.dim:,} squares), then every column times a learned "
        "weight.",
        f"The row of {scene.last} has the root mean square {number(rms(before_TD[-1]))}; divided by it 1, "
        f"and after the weights {number(rms(after_TD[-1]))}.",
        "The stream itself stays as it is: this copy is what the layer works on.",
    )
    rows = tuple(
        (n, scene.facts.labels[n], number(rms(before_TD[n])), number(rms(after_TD[n])))
        for n in scene.shown_rows()
    )
    table = Table("Root mean square of each row", ("position", "token", "before", "after"), rows)
    grid = scene.stream_grid("normalised", after_TD)
    return scene.view("norm", sentences, [("n", "TD", after_TD)], parts, grids=(grid,), tables=(table,))


def queries_step(scene: Scene, parts: LayerParts) -> StepView:
    """What one head looks for."""
    config, q_THK = scene.config, parts["q"]
    q_TK = q_THK[:, parts.head]
    pairs = q_TK[-1].float().view(-1, 2)
    sentences = (
        f"Attention has {config.n_heads} heads in each layer; each looks for something else. A learned "
        f"matrix turns the {config.dim:,} numbers of a token into {config.head_dim}, the query: what this "
        "head looks for, seen from this token.",
        f"The {config.head_dim} numbers are taken as {len(pairs)} pairs, points in a plane, for what comes "
        f"next; of {scene.last} the first is ({number(float(pairs[0, 0]))}, {number(float(pairs[0, 1]))}).",
        "Queries of all heads, keys and values come out of one product with a matrix of "
        f"{(config.n_heads + 2 * config.n_kv_heads) * config.head_dim:,} rows.",
    )
    rows = tuple(
        (n, number(x), number(y), number(math.hypot(x, y)), f"{math.degrees(math.atan2(y, x)):.0f}°")
        for n, (x, y) in enumerate(pairs[: 2 * SHOWN_PAIRS].tolist())
    )
    table = Table(f"The first pairs of {scene.last}", ("pair", "x", "y", "length", "direction"), rows)
    grid = _head_grid(scene, f"queries of head {parts.head + 1}", q_TK)
    shapes = [("q", "THK", q_THK), ("of the head", "TK", q_TK)]
    return scene.view("queries", sentences, shapes, parts, grids=(grid,), tables=(table,))


def rope_step(scene: Scene, parts: LayerParts) -> StepView:
    """The position, written into the query by turning its pairs."""
    config, rotary = scene.config, scene.network.llama.rotary
    position = len(scene.facts.labels) - 1
    speeds_P = rotary.frequencies
    turned_TK = parts["q_rope"][:, parts.head]
    before, after = (
        values[-1].float().view(-1, 2).tolist() for values in (parts["q"][:, parts.head], turned_TK)
    )
    degrees = [math.degrees(position * speed) for speed in speeds_P.tolist()]
    plain_P = config.rope_theta ** (
        -torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    )
    slowed = float((plain_P / speeds_P).max())
    last_pair = len(degrees) - 1
    sentences = (
        "So far nothing says where a token stands. RoPE writes it into the query: each pair is turned by "
        "an angle, its position times a speed that belongs to the pair. Lengths stay as they are.",
        f"Pair 0 turns by {_degrees(math.degrees(float(speeds_P[0])))} a token; pair {last_pair}, the "
        f"slowest, needs {number(2 * math.pi / float(speeds_P[-1]))} tokens for one turn (base "
        f"{config.rope_theta:,.0f}).",
        f"The slow pairs of this model turn up to {number(slowed)} times slower than its base says, for a "
        "longer context."
        if slowed > 1.001
        else "",
        f"{scene.last} stands at position {position}, counted from 0: its pair 0 is turned by "
        f"{_degrees(degrees[0])}, pair {last_pair} by {_degrees(degrees[-1])}.",
        "A query and a key that are turned alike meet as before: what they say to each other depends on "
        "how far apart they stand, not on where.",
    )
    chosen = sorted({round(n * last_pair / (SHOWN_PAIRS - 1)) for n in range(SHOWN_PAIRS)})
    arrows = tuple(Arrow(n, position, degrees[n], _point(before[n]), _point(after[n])) for n in chosen)
    table = Table(
        f"The row of the table for position {position}, and what it does to the query",
        ("pair", "tokens a turn", "angle", "cos", "sin", "before", "after"),
        tuple(_rope_row(scene, position, n, before[n], after[n], degrees[n]) for n in _spread(last_pair)),
    )
    rows_TP = rotary.rows(0, position + 1)
    shapes = [("cos + i sin", "TP", rows_TP), ("q'", "THK", parts["q_rope"])]
    grid = _head_grid(scene, f"queries of head {parts.head + 1}, turned", turned_TK)
    return scene.view("rope", sentences, shapes, parts, arrows=arrows, tables=(table,), grids=(grid,))


def _rope_row(
    scene: Scene, position: int, pair: int, before: list[float], after: list[float], degrees: float
) -> tuple[Cell, ...]:
    rotary = scene.network.llama.rotary
    rotation = complex(rotary.rows(position, position + 1)[0, pair].cpu().item())
    return (
        pair,
        number(2 * math.pi / float(rotary.frequencies[pair])),
        _degrees(degrees),
        f"{rotation.real:.3f}",
        f"{rotation.imag:.3f}",
        f"{number(before[0])}, {number(before[1])}",
        f"{number(after[0])}, {number(after[1])}",
    )


def keys_step(scene: Scene, parts: LayerParts) -> StepView:
    """What can be found at each token."""
    config = scene.config
    group, per_group = parts.head // scene.per_group, scene.per_group
    keys_SK = parts["k_rope"][group]
    others = [str(n + 1) for n in range(group * per_group, (group + 1) * per_group) if n != parts.head]
    if others:
        of_others = f"head{'s' if len(others) > 1 else ''} {joined(others)}"
        shared = (
            f"Head {parts.head + 1} shares its keys and values with {of_others}: {config.n_heads} query "
            f"heads, {config.n_kv_heads} key/value head{'s' if config.n_kv_heads > 1 else ''} (grouped-query "
            f"attention), so the cache is {per_group} times smaller than with keys for every head."
        )
    else:
        shared = "In this model every head has keys and values of its own."
    sentences = (
        f"Each token also offers a key: {config.head_dim} numbers that say what can be found at it. Keys "
        "are turned by RoPE just as queries are.",
        shared,
        "Keys and values are what a chat keeps in its cache: they stay the same whatever follows.",
    )
    rows = Axis("S", keys_SK.shape[0], scene.facts.labels)
    grid = grid_of(f"keys for head {parts.head + 1}, turned", rows, Axis("K", config.head_dim), keys_SK)
    shapes = [("k", "TGK", parts["k"]), ("k' in the cache", "GSK", parts["k_rope"])]
    return scene.view("keys", sentences, shapes, parts, grids=(grid,))


def scores_step(scene: Scene, parts: LayerParts) -> StepView:
    """How well every query fits every key."""
    scores_TS, head_dim = parts["scores"], scene.config.head_dim
    best = int(scores_TS[-1].argmax())
    sentences = (
        "How well a query and a key fit is their product: number by number, summed up, divided by √K = "
        f"√{head_dim} = {number(math.sqrt(head_dim))}, so that it does not grow with the size of the head.",
        "A row is a token that looks, a column a token that is looked at.",
        f"{scene.last} fits best with {quoted(scene.facts.labels[best])} (position {best}): "
        f"{number(float(scores_TS[-1, best]))}.",
    )
    grid = _token_grid(scene, f"scores of head {parts.head + 1}", scores_TS)
    return scene.view("scores", sentences, [("scores", "TS", scores_TS)], parts, grids=(grid,))


def mask_step(scene: Scene, parts: LayerParts) -> StepView:
    """No look ahead."""
    masked_TS = parts["masked"]
    cut, count = int((masked_TS == -torch.inf).sum()), masked_TS.numel()
    sentences = (
        "A token may look at itself and at what stands before it, never ahead: in training the answer "
        "stood there.",
        f"So {cut:,} of the {count:,} scores, those right of the diagonal, become -∞."
        if cut
        else "One token has nothing ahead: nothing is cut here.",
        "That is also why keys and values can be kept: a new token changes nothing for those before it.",
    )
    grid = _token_grid(scene, f"scores of head {parts.head + 1}, masked", masked_TS)
    return scene.view("mask", sentences, [("scores + mask", "TS", masked_TS)], parts, grids=(grid,))


def softmax_step(scene: Scene, parts: LayerParts) -> StepView:
    """Scores as shares."""
    weights_TS, labels = parts["weights"], scene.facts.labels
    top = weights_TS[-1].topk(min(3, len(labels)))
    most = [
        f"{percent(share)} at {quoted(labels[n])}{_place(labels, n)}"
        for n, share in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
    rests = len(labels) > 2 and float(weights_TS[-1, 0]) > 0.5
    sentences = (
        "Softmax turns each row into shares that sum to 1: e to the power of each score, divided by the "
        "sum of the row. -∞ becomes 0. These are the attention weights.",
        f"Head {parts.head + 1} looks from {scene.last}: {joined(most)}.",
        "Much weight on the very first token is usual: heads rest there when they find nothing (an "
        "attention sink)."
        if rests
        else "",
    )
    rows = Axis("T", len(labels), labels), Axis("S", len(labels), labels)
    grid = grid_of(f"attention of head {parts.head + 1}", *rows, weights_TS, "share")
    return scene.view("softmax", sentences, [("weights", "TS", weights_TS)], parts, grids=(grid,))


def values_step(scene: Scene, parts: LayerParts) -> StepView:
    """What is handed over."""
    values_SK = parts["v_cached"][parts.head // scene.per_group]
    out_TK = parts.heads[:, parts.head]
    sentences = (
        f"Each token also has a value: the {scene.config.head_dim} numbers that it hands over when it is "
        "looked at.",
        "What a head gathers for a token is the sum of all values, each times its attention weight.",
        f"For {scene.last} that is a row of length {number(length(out_TK[-1]))}; the values themselves are "
        f"{number(float(values_SK.float().norm(dim=-1).mean()))} long on average.",
    )
    rows = Axis("S", len(values_SK), scene.facts.labels)
    grids = (
        grid_of("values", rows, Axis("K", scene.config.head_dim), values_SK),
        _head_grid(scene, f"gathered by head {parts.head + 1}", out_TK),
    )
    shapes = [("v in the cache", "GSK", parts["v_cached"]), ("out", "TK", out_TK)]
    return scene.view("values", sentences, shapes, parts, grids=grids)


def heads_step(scene: Scene, parts: LayerParts) -> StepView:
    """What all heads gathered."""
    config, labels = scene.config, scene.facts.labels
    shares, at = (found.tolist() for found in parts.last_weights.max(-1))
    different = len(set(at))
    sentences = (
        f"All {config.n_heads} heads do this at the same time, each with queries of its own. What they "
        f"gathered is put side by side: {config.n_heads} × {config.head_dim} = "
        f"{config.n_heads * config.head_dim:,} numbers a token.",
        f"From {scene.last} they look most at {different} different tokens."
        if different > 1
        else f"From {scene.last} all of them look most at the same token.",
    )
    out_HK = parts.heads[-1]
    numbers = Axis("H", config.n_heads, tuple(str(n + 1) for n in range(config.n_heads)))
    grid = grid_of(f"gathered for {scene.last}", numbers, Axis("K", config.head_dim), out_HK)
    rows = tuple(
        (head + 1, labels[n], n, percent(share))
        for head, (n, share) in enumerate(zip(at, shares, strict=True))
    )
    table = Table(
        f"Where each head looks most from {scene.last}", ("head", "token", "position", "share"), rows
    )
    stacked_TN = parts.heads.flatten(1)
    shapes = [("heads", "THK", parts.heads), ("side by side", "TD", stacked_TN)]
    return scene.view("heads", sentences, shapes, parts, grids=(grid,), tables=(table,))


def output_step(scene: Scene, parts: LayerParts) -> StepView:
    """The heads, mixed."""
    out_TD, config = parts["attention_output"], scene.config
    inner = config.n_heads * config.head_dim
    sentences = (
        f"One more learned matrix [{config.dim:,}, {inner:,}] mixes what the heads gathered, and gives a "
        "row as wide as the stream for each token.",
        f"The row of {scene.last} is {number(length(out_TD[-1]))} long, and the stream that it is going to "
        f"be added to {number(length(parts['layer_input'][-1]))}.",
    )
    grid = scene.stream_grid("attention's output", out_TD)
    return scene.view("output", sentences, [("o", "TD", out_TD)], parts, grids=(grid,))


def residual_step(scene: Scene, parts: LayerParts) -> StepView:
    """What attention found, added."""
    before, added, after = parts["layer_input"], parts["attention_output"], parts["residual_attention"]
    sentences = (
        "What attention found is added to the stream. Nothing is written over: what a token was stays in "
        "its row, and what it learned from the others comes on top.",
        f"For {scene.last}: a row of length {number(length(before[-1]))}, {number(length(added[-1]))} "
        f"added, now {number(length(after[-1]))}.",
    )
    rows = length_rows(scene, before, added, after)
    table = Table("Lengths of the rows", ("position", "token", "before", "added", "after"), rows)
    grid = scene.stream_grid("the stream after attention", after)
    return scene.view("residual", sentences, [("x", "TD", after)], parts, grids=(grid,), tables=(table,))


def length_rows(scene: Scene, before: Tensor, added: Tensor, after: Tensor) -> tuple[tuple[Cell, ...], ...]:
    """Lengths of rows before something was added to them, of that, and after it; of the last tokens."""
    return tuple(
        (n, scene.facts.labels[n], *(number(length(x_TD[n])) for x_TD in (before, added, after)))
        for n in scene.shown_rows()
    )


def _head_grid(scene: Scene, title: str, values_TK: Tensor) -> Grid:
    return grid_of(title, scene.tokens(), Axis("K", values_TK.shape[-1]), values_TK)


def _token_grid(scene: Scene, title: str, values_TS: Tensor) -> Grid:
    return grid_of(title, scene.tokens(), scene.tokens("S"), values_TS)


def _place(labels: tuple[str, ...], n: int) -> str:
    """What tells the token from others that are spelled alike."""
    if n == len(labels) - 1:
        return " (itself)"
    return f" (position {n})" if labels.count(labels[n]) > 1 else ""


def _point(pair: list[float]) -> tuple[float, float]:
    return pair[0], pair[1]


def _spread(last: int, count: int = 8) -> list[int]:
    return sorted({round(n * last / (count - 1)) for n in range(count)})


def _degrees(degrees: float) -> str:
    """Beyond a turn, what is left of it as well."""
    if degrees >= 360:
        return f"{degrees:,.0f}° ({degrees % 360:.0f}°)"
    return f"{degrees:.1f}°" if degrees >= 1 or degrees == 0 else f"{degrees:.2g}°"
