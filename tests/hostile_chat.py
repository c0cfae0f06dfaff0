"""The chat as a program of its own that shows hostile texts: `hostile_chat.py SEED COUNT RESULT [PLACE]...`.

It puts texts where foreign ones are shown, and writes down which of them went where. Whoever started it reads
what comes out at the terminal. Places that show many texts at once get most of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fake_engine
import hostile_altering as altering
import hostile_cards as cards
import hostile_looks as looks
import hostile_newcomer as newcomer
import hostile_picks as picks
import hostile_places as places
import hostile_screens as screens
import hostile_stepping as stepping
import hostile_sweep as sweep
import hostile_tokens as token_view
import hostile_walk as walking
from fake_engine import FakeEngine, loader_of
from hostile_seen import Seen
from hostile_stage import RUNS, Place, Stage
from hostile_text import HostileTexts
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot

from llama_chat.chat.farewell import close_bridge, farewell
from llama_chat.chat.setup import ChatSetup
from llama_chat.paths import user_paths
from llama_chat.sanitize import is_safe
from llama_chat.settings import Settings
from llama_chat.ui.app import ChatApp
from llama_chat.ui.line_filter import SafeLineFilter

PLACES: dict[Place, float] = {
    places.words_of_the_user: 30,
    places.a_reply: 8,
    places.lines_of_a_paragraph: 4,
    places.lists_quotes_and_headings: 7,
    places.fences: 12,
    places.tables: 4,
    places.links: 2,
    places.thinking: 4,
    places.ends_of_replies: 1,
    places.streamed: 3,
    places.cut_everywhere: 0.15,
    places.notices_in_the_chat: 16,
    places.pasted: 0.15,
    places.given_back: 2,
    places.refused_commands: 0.1,
    places.hints: 0.3,
    places.header_and_status: 0.3,
    places.welcome: 0.1,
    places.a_note_on_the_desktop: 0.3,
    places.copied: 0.5,
    cards.titles_in_a_card: 4,
    cards.titles_in_the_list: 2,
    cards.hits_of_a_search: 1.2,
    cards.stored: 0.2,
    cards.names_of_sessions: 0.05,
    cards.models: 2,
    cards.paths: 0.2,
    cards.lists: 2,
    cards.system_prompts: 0.4,
    cards.settings: 0.03,
    cards.downloads: 0.03,
    cards.themes: 0.1,
    cards.a_model_that_fails: 0.1,
    cards.all_actions: 0.05,
    **screens.SHARES,
    **picks.SHARES,
    **newcomer.SHARES,
    **stepping.SHARES,
    **token_view.SHARES,
    **sweep.SHARES,
    **walking.SHARES,
    **looks.SHARES,
    **altering.SHARES,
}
"""Where foreign text is shown, and how many of a hundred texts go there."""
LARGE, USUAL, SMALL = (160, 100), (120, 36), (90, 28)
"""Sizes of the terminal."""
ONE_BY_ONE = {
    places.cut_everywhere,
    places.pasted,
    places.refused_commands,
    places.hints,
    places.header_and_status,
    places.welcome,
    cards.names_of_sessions,
    cards.settings,
    cards.downloads,
    cards.a_model_that_fails,
    cards.all_actions,
    cards.a_crash,
    *screens.SHARES,
    *(picks.SHARES.keys() - {picks.said_before, picks.folded}),
    *newcomer.SHARES,
    *stepping.SHARES,
    *token_view.SHARES,
    *sweep.SHARES,
    *walking.SHARES,
    *looks.SHARES,
    *altering.SHARES,
}
"""Where few texts stand at once: there the terminal is of the usual size, drawn in a third of the time."""


class Parrot(FakeEngine):
    """Says what stands in `RUNS`, in small pieces."""

    def __init__(self, texts: HostileTexts) -> None:
        super().__init__(["x"])
        fake_engine._words = lambda _answer: iter(texts.pieces(RUNS.pop(0)) if RUNS else ["x"])  # type: ignore[assignment]


class Second:
    """The second line of defence, which tells what the first let through to it."""

    def __init__(self) -> None:
        self.caught: Counter[str] = Counter()
        self.stage: Stage | None = None
        apply = SafeLineFilter.apply

        def watched(own: SafeLineFilter, segments: list[Segment], background: Color) -> list[Segment]:
            place = self.stage.place if self.stage else ""
            for segment in segments:
                if not segment.control and not is_safe(segment.text):
                    self.caught[place] += 1
                    self.caught.setdefault(f"{place}: {segment.text[:90]!r}", 0)
            return apply(own, segments, background)

        SafeLineFilter.apply = watched  # type: ignore[method-assign]


def _size_for(place: Place) -> tuple[int, int]:
    if place is cards.all_actions:  # opens every card
        return SMALL
    return USUAL if place in ONE_BY_ONE else LARGE


def main(seed: int, whole: int, result: Path, chosen: Sequence[str]) -> int:
    texts, second = HostileTexts(seed), Second()
    seen = Seen(lambda: second.stage.place if second.stage else "")
    seen.watch_widgets()
    wanted = {place: share for place, share in PLACES.items() if not chosen or place.__name__ in chosen}
    if cards.a_crash.__name__ in chosen:
        wanted[cards.a_crash] = 0.01
    setup = ChatSetup(
        settings=Settings(),
        notices=(texts.take("notices"),),
        paths=user_paths(),
        loader=loader_of(Parrot(texts)),
        model_label=texts.take("label"),
        pull=None,
        save_setting=lambda table, key, value: None,
    )
    app = ChatApp(setup)
    spent: dict[str, float] = {}
    failures: list[str] = []

    async def act(pilot: Pilot[None]) -> None:
        stage = second.stage = Stage(app, pilot, texts)
        try:
            await stage.until(lambda: stage.chat.chat.status.model_state == "ready", "the model")
            for place, share in sorted(wanted.items(), key=lambda each: each[0] in ONE_BY_ONE):
                stage.place = place.__name__
                await stage.resize(*_size_for(place))
                begin_s = time.process_time()
                await place(stage, max(1, round(whole * share / sum(wanted.values()))))
                await stage.frame()
                if place is not cards.a_crash:
                    await stage.until(lambda: not stage.chat.chat.is_replying, "the end of a reply")
                spent[stage.place] = round(time.process_time() - begin_s, 2)
        except asyncio.CancelledError:
            raise
        except BaseException:
            failures.append(f"{stage.place}: {traceback.format_exc()}")
        app.exit(message=None)

    os.chdir(os.environ["LLAMA_CHAT_HOME"])
    app.run(auto_pilot=act)
    if app._exception is not None and cards.a_crash not in wanted:
        failures.append("".join(traceback.format_exception(app._exception)))
    close_bridge(app.bridge)
    farewell("f" * 16, is_kept=True, has_unsent=True, rescued=Path(texts.take("farewell")))
    kept = {"places": texts.by_place, "spent": spent, "failures": failures, "caught": second.caught}
    kept["drawn"] = seen.as_data()
    result.write_text(json.dumps(kept))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
