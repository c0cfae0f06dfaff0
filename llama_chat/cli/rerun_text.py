"""How the verdicts of a rerun are printed: a line a reply, what differs below it, the verdict over all."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Any, TextIO

from llama_chat.cli.tables import cells_of, count_text, painter_for, pictured_line, width_of, wrapped
from llama_chat.rerun import Difference, Pick, Progress, ReplyVerdict, worst
from llama_chat.sessions import SessionRecord

SHOWN_DIFFERENCES = 10
"""Of one reply; --json has all of them."""
_INDENT = "    "


class RerunPrinter:
    """Prints each verdict on stdout as it comes.

    Args:
        of_replies: how many there will be.
    """

    def __init__(self, of_replies: int) -> None:
        self._of_replies = of_replies
        self._painter = painter_for(sys.stdout, os.environ)
        self._width = width_of(sys.stdout)
        self._shown: list[ReplyVerdict] = []

    def show(self, verdict: ReplyVerdict) -> None:
        """Print the line of a reply and its differences; before the first, what computes now."""
        before = self._shown[-1] if self._shown else None
        if before is None or (before.setting, before.changes) != (verdict.setting, verdict.changes):
            for line in wrapped(setting_line(verdict), self._width):
                print(self._painter.bold(line))
        self._shown.append(verdict)
        for line in verdict_lines(verdict):
            for part in wrapped(line, self._width, indent=_INDENT):
                print(part)
        sys.stdout.flush()

    def end(self, *, is_whole: bool, not_judged: int = 0) -> None:
        """Print the verdict over all."""
        last = last_line(self._shown, self._of_replies, is_whole=is_whole, not_judged=not_judged)
        for line in wrapped(last, self._width):
            print(self._painter.bold(line), flush=True)


def setting_line(verdict: ReplyVerdict) -> str:
    """What computes now, and what was otherwise."""
    if not verdict.changes:
        return f"{verdict.setting} · as recorded"
    return f"{verdict.setting} · not as recorded: {', '.join(map(str, verdict.changes))}"


def verdict_lines(verdict: ReplyVerdict) -> list[str]:
    """The line of a reply, and what differs."""
    head = f"reply {verdict.number}: {verdict.verdict}, {count_text(verdict.tokens, 'token')}"
    if verdict.by_user:
        head += f" ({verdict.by_user} chosen by the user)"
    if not verdict.is_whole:
        head += f", stopped after {verdict.judged:,}"
    if verdict.differences:
        first = verdict.differences[0].index
        head += f", {count_text(len(verdict.differences), 'difference')}, the first at token {first}"
    if verdict.reason:
        head += f": {verdict.reason}"
    lines = [head]
    for difference in verdict.differences[:SHOWN_DIFFERENCES]:
        lines += difference_lines(difference)
    if len(verdict.differences) > SHOWN_DIFFERENCES:
        lines.append(f"  … and {len(verdict.differences) - SHOWN_DIFFERENCES:,} more; --json has them all")
    return lines


def difference_lines(found: Difference) -> list[str]:
    """The place, what each run chose, and by how much."""
    verdict = f"{found.verdict}: {found.reason}" if found.reason else found.verdict
    picks = [_pick_text(pick) for pick in (found.recorded, found.rerun)]
    widest = max(map(cells_of, picks))
    recorded, rerun = (pick + " " * (widest - cells_of(pick)) for pick in picks)
    return [
        f"  token {found.index}, {margin_text(found)}: {verdict}",
        f"{_INDENT}after      …{found.before}",
        f"{_INDENT}recorded   {recorded}  {_going_on(found.recorded_text)}".rstrip(),
        f"{_INDENT}rerun      {rerun}  {_going_on(found.rerun_text)}".rstrip(),
    ]


def margin_text(found: Difference) -> str:
    """The margin in words."""
    if found.margin is None:
        return "margin not known"
    return f"margin {'' if found.is_margin_exact else '≈ '}{found.margin:.3g} logits"


def _pick_text(pick: Pick) -> str:
    """The token and its probability in both runs."""
    token = "the end" if pick.is_end else repr(pick.text) if pick.text else f"token {pick.token_id}"
    then, now = (_percent(value) for value in (pick.recorded_probability, pick.rerun_probability))
    return f"{token} (recorded {then}, rerun {now})"


def _percent(probability: float | None) -> str:
    return "?" if probability is None else f"{probability:.3%}"


def _going_on(text: str) -> str:
    return f"…{text}…" if text else ""


def last_line(verdicts: list[ReplyVerdict], of_replies: int, *, is_whole: bool, not_judged: int = 0) -> str:
    """The verdict over all replies."""
    tokens = sum(verdict.judged for verdict in verdicts)
    apart = [v.largest_logprob_difference for v in verdicts if v.largest_logprob_difference is not None]
    replies = f"{len(verdicts)} of {of_replies} replies" if not is_whole else count_text_of(of_replies)
    line = f"{worst(each.verdict for each in verdicts).upper()}: {replies}, {tokens:,} choices"
    if apart:
        line += f"; log-probabilities differ by at most {max(apart):.2g}"
    if not_judged:
        line += f"; not judged: {not_judged:,}"
    return line if is_whole else f"{line}; stopped"


def count_text_of(replies: int) -> str:
    """`1 reply`, `5 replies`."""
    return "1 reply" if replies == 1 else f"{replies:,} replies"


def as_data(
    record: SessionRecord,
    verdicts: list[ReplyVerdict],
    of_replies: int,
    *,
    is_whole: bool,
    not_judged: int = 0,
) -> dict[str, Any]:
    """For JSON."""
    apart = [v.largest_logprob_difference for v in verdicts if v.largest_logprob_difference is not None]
    return {
        "session": record.info.id,
        "verdict": worst(each.verdict for each in verdicts),
        "is_whole": is_whole,
        "replies": of_replies,
        "judged_replies": len(verdicts),
        "not_judged": not_judged,
        "judged_choices": sum(verdict.judged for verdict in verdicts),
        "largest_logprob_difference": max(apart, default=None),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


class ProgressLine:
    """One line on stderr about how far a rerun is; only where that is a terminal.

    Args:
        of_replies: how many there are.
        stream: where it is told; None: stderr is closed.
    """

    def __init__(self, of_replies: int, stream: TextIO | None) -> None:
        self._of_replies, self._stream = of_replies, stream
        self._is_terminal = stream is not None and stream.isatty()
        self._shown = ""
        self._begun: set[int] = set()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, progress: Progress) -> None:
        """Tell how far it is."""
        self._begun.add(progress.number)
        self._draw(
            pictured_line(
                f"Reply {len(self._begun)} of {self._of_replies}: "
                f"{progress.tokens:,} of {progress.of_tokens:,} tokens"
            )
        )

    def clear(self) -> None:
        """Take the line away, since something else is printed."""
        self._draw("")

    def _draw(self, text: str) -> None:
        if not self._is_terminal or self._stream is None or text == self._shown:
            return
        try:
            self._stream.write(f"\r{' ' * len(self._shown)}\r{text}")
            self._stream.flush()
        except (OSError, ValueError):  # nobody looks any more: the work goes on
            self._is_terminal = False
        self._shown = text
