"""What `bench` found as text: a list for one configuration, tables for several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median

from llama_chat.benchmarks.comparing import Comparison, Difference
from llama_chat.benchmarks.records import Drafted, MachineRecord, Measured
from llama_chat.cli.bench_run import BenchRun, Result
from llama_chat.cli.tables import Column, Painter, at_words, count_text, table_lines, wrapped
from llama_chat.units import about_bytes

_NOT_AVAILABLE = "not available"
_INDENT = "  "

_RESTLESS = 0.1
"""Of the median: a machine of its own stays within 2 to 3 % (2 cores, 2026-11-22)."""


def bench_lines(run: BenchRun, painter: Painter, width: int | None) -> list[str]:
    """All of it, in lines that fit the width.

    Args:
        run: with at least one result.
        painter: paints headings and what matters less.
        width: of the terminal; None: a pipe.
    """
    lines: list[str] = []
    if len(run.results) == 1 and not run.failures:
        lines += _list(run.results[0], painter, width)
    else:
        lines += _tables(run.results, painter, width)
    for result in run.results[:1]:
        lines += ["", *(painter.dim(line) for line in _machine_lines(result, width))]
    lines += _differences(run.results, run.compared_file, width)
    for notice in dict.fromkeys(notice for result in run.results for notice in result.measured.notices):
        lines += wrapped(f"Note: {notice}", width)
    if any(_unrest(result.measured.decode_s) > _RESTLESS for result in run.results):
        lines += wrapped("Note: the runs differ much: other programs may have been at work.", width)
    if run.others is not None and all(result.other is None for result in run.results):
        lines += wrapped(f"{run.compared_file}: no run in it has prompts and replies of this length.", width)
    for failure in run.failures:
        lines += wrapped(f"Not measured: {failure.what}: {failure.error.message.rstrip('.')}.", width)
        lines += [_INDENT + line for line in wrapped(failure.error.hint, width and width - 2) if line]
    return lines


# --- one configuration ------------------------------------------------------------------------------


def _list(result: Result, painter: Painter, width: int | None) -> list[str]:
    now = result.measured
    lines = [painter.bold(line) for line in wrapped(_heading(now), width)]
    lines += [painter.dim(line) for line in wrapped(_work(now), width)]
    columns = [Column(), Column(is_right=True), Column(paint=painter.dim, wraps=at_words, goes=1)]
    return [*lines, "", *table_lines(columns, list(_rows(result)), width=width, indent=_INDENT)]


def _heading(now: Measured) -> str:
    threads = f", {count_text(now.threads, 'thread')}" if now.device == "cpu" else ""
    step = ", compiled step" if _is_compiled(now) else ""
    return f"{now.model} · {now.engine} {now.dtype} on {now.device}{threads}{step}"


def _is_compiled(now: Measured) -> bool:
    return now.step.startswith("compiled")


def _work(now: Measured) -> str:
    prompt = {"ids": "", "raw text": " (raw text)"}.get(now.prompt, f" (in the {now.prompt})")
    return f"prompt {count_text(now.prompt_tokens, 'token')}{prompt}, {_how(now)}"


def _how(now: Measured) -> str:
    runs = len(now.decode_s)
    taken = "one run" if runs == 1 else f"median of {runs}"
    return f"{now.new_tokens:,} new; greedy, no drafting; {taken} after a warm-up"


def _rows(result: Result) -> Iterator[tuple[str, str, str]]:
    """What was measured, the figure, and what it means."""
    now = result.measured
    yield "prefill", f"{_rate(now.prefill_tok_per_s)} tok/s", _spread(now.prompt_tokens, now.prefill_s)
    yield "decode", f"{_rate(now.decode_tok_per_s)} tok/s", _spread(now.new_tokens, now.decode_s)
    if now.chat_decode_tok_per_s > 0:
        yield "  as in a chat", f"{_rate(now.chat_decode_tok_per_s)} tok/s", "with sampler and candidates"
    whole = f"{now.new_tokens:,} tokens in {_seconds(now.reply_s)}, the prompt included"
    yield "  whole reply", f"{_rate(now.reply_tok_per_s)} tok/s", whole
    yield "first token, cold", _seconds(now.first_token_cold_s), _cold(now)
    yield "first token, warm", _seconds(now.first_token_s), "the model is loaded, the prompt is new"
    yield "read for a token", about_bytes(now.bytes_per_token), _traffic(now)
    yield (
        "memory bandwidth",
        f"{now.bandwidth_bytes_per_s / 1e9:,.1f} GB/s",
        "measured now, beyond the caches",
    )
    yield "  used by decoding", f"{now.bandwidth_share:.0%}", "all of it would be the bound"
    weights = f"with {about_bytes(now.weights_bytes)} of weights"
    yield "peak memory", _memory(now.peak_memory_bytes), "" if now.peak_device_bytes else weights
    if now.peak_device_bytes is not None:
        yield "  of the GPU", about_bytes(now.peak_device_bytes), weights
    if now.energy is None:
        yield "energy", _NOT_AVAILABLE, "the device does not report it"
    else:
        yield "energy", f"{now.energy.joules_per_token:.2f} J/token", now.energy.source
    if (drafting := now.drafting) is not None:
        yield "with drafting", f"×{drafting.ratio:.2f} decode", _drafted(drafting)
    if (quality := now.quality) is not None:
        yield "mean KL from f32", f"{quality.mean_kl:.4f} nats", f"{quality.step_mean_kl:.4f} token by token"
        yield "perplexity", f"{quality.perplexity:.2f}", f"{quality.f32_perplexity:.2f} in f32"
        yield "same top token", f"{quality.top1_share:.1%}", f"over {quality.tokens:,} tokens of text"
    for title, comparison in (("last run", result.last), ("the file", result.other)):
        if comparison is not None:
            yield f"against {title}", f"×{comparison.decode:.2f} decode", _compared(comparison)


def _traffic(now: Measured) -> str:
    weights, kv = about_bytes(now.weights_read_bytes), about_bytes(now.kv_read_bytes)
    return f"{weights} of weights, {kv} of keys and values"


def _drafted(found: Drafted) -> str:
    taken = f"{found.accepted_tokens:,} of {found.drafted_tokens:,} drafted tokens taken"
    same = "the same reply" if found.is_equal else "another reply"
    return f"{taken}; {same} of {count_text(found.new_tokens, 'token')}"


def _cold(now: Measured) -> str:
    return f"{_seconds(now.import_s)} torch, {_seconds(now.load_s)} load, and the prompt"


def _compared(comparison: Comparison) -> str:
    parts = [f"×{comparison.prefill:.2f} prefill"]
    if comparison.first_token is not None:
        parts.append(f"×{comparison.first_token:.2f} first token")
    if comparison.peak_memory is not None:
        parts.append(f"×{comparison.peak_memory:.2f} memory")
    return ", ".join([*parts, f"of {_when(comparison)}"])


def _when(comparison: Comparison) -> str:
    return comparison.date[:16].replace("T", " ") or "an unknown date"


# --- several ----------------------------------------------------------------------------------------


def _tables(results: Sequence[Result], painter: Painter, width: int | None) -> list[str]:
    """Speeds, then what else was measured; one heading a model."""
    if not results:
        return []
    first = results[0].measured
    lines = [painter.dim(line) for line in wrapped(_how(first), width)]
    for model, found in groupby(results, key=lambda result: result.measured.model):
        group = list(found)
        lines += ["", *(painter.bold(line) for line in wrapped(model, width))]
        lines += _speed_table(group, painter, width)
        lines += ["", *_cost_table(group, painter, width)]
    explained = [line for text in _legend(results) for line in wrapped(text, width)]
    return [*lines, "", *map(painter.dim, explained)]


_NAMES = ("engine", "dtype", "device", "step", "threads", "context", "prompt")
_ONLY_IF_DIFFERENT = ("device", "step", "threads", "context")


def _name_columns(results: Sequence[Result]) -> tuple[list[Column], list[list[str]]]:
    """What tells the rows apart, engine, dtype and prompt always."""
    values = [
        [
            now.engine,
            now.dtype,
            now.device,
            "compiled" if _is_compiled(now) else "eager",
            f"{now.threads}",
            f"{now.context_length:,}",
            f"{now.prompt_tokens:,}",
        ]
        for now in (result.measured for result in results)
    ]
    kept = [
        place
        for place, name in enumerate(_NAMES)
        if name not in _ONLY_IF_DIFFERENT or len({row[place] for row in values}) > 1
    ]
    columns = [Column(_NAMES[place], is_right=place > 3) for place in kept]
    return columns, [[row[place] for place in kept] for row in values]


def _speed_table(results: Sequence[Result], painter: Painter, width: int | None) -> list[str]:
    columns, names = _name_columns(results)
    titles = ["prefill tok/s", "decode tok/s", "bandwidth", "last run"]
    titles += ["file"] * any(result.other is not None for result in results)
    columns += [Column(title, is_right=True, goes=2 * (place > 1)) for place, title in enumerate(titles)]
    rows = []
    for name, result in zip(names, results, strict=True):
        now = result.measured
        prefill = f"{_rate(now.prefill_tok_per_s)}{_half_range(now.prefill_s)}"
        decode = f"{_rate(now.decode_tok_per_s)}{_half_range(now.decode_s)}"
        figures = (prefill, decode, f"{now.bandwidth_share:.0%}", _ratio(result.last), _ratio(result.other))
        rows.append([*name, *figures][: len(columns)])
    return table_lines(columns, rows, painter=painter, width=width, indent=_INDENT)


def _cost_table(results: Sequence[Result], painter: Painter, width: int | None) -> list[str]:
    columns, names = _name_columns(results)
    has_drafting = any(result.measured.drafting is not None for result in results)
    has_energy = any(result.measured.energy is not None for result in results)
    has_quality = any(result.measured.quality is not None for result in results)
    titles = ["load", "cold", "warm", "memory", "a token"]
    titles += ["drafting"] * has_drafting
    titles += [*["energy"] * has_energy, *["KL", "perplexity"] * has_quality]
    columns += [Column(title, is_right=True, goes=1 * (title == "a token")) for title in titles]
    rows = []
    for name, result in zip(names, results, strict=True):
        now, quality = result.measured, result.measured.quality
        figures = [*map(_seconds, (now.load_s, now.first_token_cold_s, now.first_token_s))]
        figures.append(_memory(now.peak_device_bytes or now.peak_memory_bytes))
        figures.append(about_bytes(now.bytes_per_token))
        if has_drafting:
            drafting = now.drafting
            figures.append(f"×{drafting.ratio:.2f}" if drafting else "–")
        if has_energy:
            figures.append(f"{now.energy.joules_per_token:.2f} J" if now.energy else "–")
        if quality is not None:
            figures += [f"{quality.mean_kl:.4f}", f"{quality.perplexity:.2f}"]
        rows.append([*name, *figures])
    return table_lines(columns, rows, painter=painter, width=width, indent=_INDENT)


def _legend(results: Sequence[Result]) -> list[str]:
    """What the short titles mean."""
    found = [
        "bandwidth: the part of what the memory can give that decoding used, both measured here",
        "cold, warm: until the first token, in a new process and of a loaded model",
        "memory: at most; a token: what is read to decode one",
        "last run: decoding now over decoding then, ×1.10 is a tenth faster",
    ]
    if all(result.measured.energy is None for result in results):
        found.append("energy: not available, the device does not report it")
    if any(result.measured.quality is not None for result in results):
        found.append("KL: from f32, mean nats a token")
    return found


# --- for both ---------------------------------------------------------------------------------------


def _machine_lines(result: Result, width: int | None) -> list[str]:
    machine = result.machine
    return [line for text in _machine_texts(machine) for line in wrapped(text, width)]


def _machine_texts(machine: MachineRecord) -> Iterator[str]:
    memory = "" if machine.memory_bytes is None else f" · {about_bytes(machine.memory_bytes)}"
    yield f"{machine.processor} · {count_text(machine.cores, 'core')}{memory}"
    if machine.gpu:
        yield f"{machine.gpu} · driver {machine.driver or 'unknown'}"
    yield f"torch {machine.torch} · Python {machine.python} · {machine.os}"


def _differences(results: Sequence[Result], file: str, width: int | None) -> list[str]:
    """What was not the same in the runs that these are compared with."""
    found: dict[str, None] = {}
    for result in results:
        for where, comparison in (("The last run", result.last), (file, result.other)):
            for difference in comparison.differences if comparison is not None else ():
                found[_difference_text(where, difference)] = None
    return [line for text in found for line in wrapped(text, width)]


def _difference_text(where: str, difference: Difference) -> str:
    weight = "Warning" if difference.is_grave else "Note"
    then = difference.then or "unknown"
    if then == difference.now:  # two models of one name
        return f"{weight}: {where}: another {difference.what} of the same name"
    return f"{weight}: {where}: {difference.what} {then}, now {difference.now}"


def _rate(tok_per_s: float) -> str:
    return (
        f"{tok_per_s:,.0f}"
        if tok_per_s >= 1000
        else f"{tok_per_s:.1f}"
        if tok_per_s >= 10
        else f"{tok_per_s:.2f}"
    )


def _spread(tokens: int, seconds: Sequence[float]) -> str:
    """From the slowest run to the fastest."""
    if len(seconds) < 2:
        return ""
    return f"{_rate(tokens / max(seconds))} to {_rate(tokens / min(seconds))}"


def _half_range(seconds: Sequence[float]) -> str:
    """` ±2%`: half of what lies between the slowest and the fastest run, of the median."""
    share = _unrest(seconds)
    return "" if len(seconds) < 2 else f" ±{share:.0%}" if share < 1 else " ±>99%"


def _unrest(seconds: Sequence[float]) -> float:
    return (1 / min(seconds) - 1 / max(seconds)) / 2 * median(seconds)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _ratio(comparison: Comparison | None) -> str:
    return "–" if comparison is None else f"×{comparison.decode:.2f}"


def _memory(nbytes: int | None) -> str:
    return "unknown" if nbytes is None else about_bytes(nbytes)
