"""What the settings did to one choice, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llama_chat.distribution.bars import Bar, Bars
from llama_chat.sampling import Sampling, setting_label, setting_value

_ALIKE = 0.005
"""Two probabilities that a reader takes for one."""
_ROUNDING = 2**-22
"""What sums of float32 shares miss 1 by; float32 knows only three numbers between."""


def told(bars: Bars, sampling: Sampling, token_id: int, name: Callable[[int], str]) -> str:
    """A sentence for the reader.

    `temperature 0.3 raised " the" from 41 % to 78 %; top-k 10 leaves 10 of 49,152 tokens: 80 %.`

    Args:
        bars: of the choice.
        sampling: what they were made with.
        token_id: whose fate is told; where it has no bar, that of the likeliest.
        name: of a token as it is shown, in quotes.
    """
    if not bars.bars:
        return "Nothing is known of what else could have been said here."
    bar = bars.of(token_id) or bars.bars[0]
    if sampling.is_greedy:
        return _greedy(bars, sampling, bar, name)
    parts = [_by_temperature(sampling, bar, name(bar.token_id)), *_by_filters(bars, sampling)]
    return "; ".join(parts) + _in_the_end(bars, bar) + "."


def percent(share: float) -> str:
    """`41 %`, `0.4 %`, `< 0.01 %`, `> 99.9 %`: two figures that tell, and never 0 or 100 for what is neither.

    No longer than `< 0.01 %`, as wide as which columns are.
    """
    value = 100 * share
    if value == 0 or share > 1 - _ROUNDING:
        return f"{value:.0f} %"
    if value < 0.01:
        return "< 0.01 %"
    if value >= 99.95:
        return "> 99.9 %"
    digits = 0 if 9.95 <= value < 99 else 1 if value >= 0.095 else 2
    return f"{value:.{digits}f} %"


def _greedy(bars: Bars, sampling: Sampling, bar: Bar, name: Callable[[int], str]) -> str:
    cause = "temperature 0" if sampling.temperature == 0 else "top-k 1"
    best = bars.bars[0]
    sentence = f"{cause} always takes the likeliest, {name(best.token_id)} ({percent(best.before)})"
    if bar is not best:
        sentence += f"; {name(bar.token_id)} had {percent(bar.before)}"
    return sentence + "."


def _by_temperature(sampling: Sampling, bar: Bar, name: str) -> str:
    label = f"temperature {setting_value('temperature', sampling.temperature)}"
    if sampling.temperature == 1:
        return f"{label} leaves {name} at {percent(bar.before)}, as the model says"
    if abs(bar.warmed - bar.before) < _ALIKE and percent(bar.warmed) == percent(bar.before):
        return f"{label} leaves {name} at {percent(bar.before)}"
    verb = "raised" if bar.warmed > bar.before else "lowered"
    return f"{label} {verb} {name} from {percent(bar.before)} to {percent(bar.warmed)}"


def _by_filters(bars: Bars, sampling: Sampling) -> Iterator[str]:
    for place, stage in enumerate(bars.stages):
        value = setting_value(stage.setting, getattr(sampling, stage.setting))
        about = "" if stage.is_exact else "about "
        of = f" of {bars.vocab_size:,} tokens" if place == 0 else ""
        yield f"{setting_label(stage.setting)} {value} leaves {about}{stage.left:,}{of}"


def _in_the_end(bars: Bars, bar: Bar) -> str:
    if bar.cut_by:
        return f" and cuts it by {setting_label(bar.cut_by)}" if len(bars.stages) > 1 else ", not this one"
    if percent(bar.after) == percent(bar.warmed):
        return ""
    return f": {'' if bars.is_exact else '≈ '}{percent(bar.after)}"
