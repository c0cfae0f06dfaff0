"""Replays of hostile sessions, on the screen and in a file: `hostile_replay.py SEED COUNT RESULT`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from hostile_seen import Seen
from hostile_text import HostileTexts
from replay_records import MODEL, Script
from textual.pilot import Pilot

from llama_chat.cli.cast import write_cast
from llama_chat.events import Sampling
from llama_chat.paths import user_paths
from llama_chat.replay import Player, build_timeline
from llama_chat.sessions import SessionRecord
from llama_chat.settings import LoadedSettings, Settings
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.tokens.token_view import TokenView

TURN = 40
"""Texts in one reply."""
PIECE = 3
"""Letters in one token, at most."""
LEAST_STEPS = 12
"""The replay is looked at in so many places, and in one for every screen of texts."""


def session(texts: HostileTexts, place: str, count: int) -> SessionRecord:
    """What was said, by whom, and what it is called."""
    script = Script(texts.take(place))
    while count > 0:
        script.say(texts.take(place))
        lines = texts.lines(place, max(1, min(TURN, count)))
        moved = {n: Sampling(temperature=0.1 + n % 9 / 10) for n in range(0, 200, 40)}
        script.reply(texts.pieces("\n".join(lines), PIECE), moved=moved, reason="failed")
        count -= TURN + 1
    record = script.record()
    name = texts.take(place, cells=30)
    model = replace(MODEL, name=name, device=texts.take(place, cells=12), dtype=name[-5:])
    return replace(record, models=dict.fromkeys(record.models, model))


def main(seed: int, whole: int, result: Path, chosen: list[str]) -> int:
    texts, failures, spent, now = HostileTexts(seed), [], {}, ["replay"]
    seen = Seen(lambda: now[0])
    seen.watch_widgets()

    async def act(pilot: Pilot[None]) -> None:
        try:
            steps = max(LEAST_STEPS, whole // TURN)
            for step in range(steps + 1):
                app.replay_screen.action_seek(step / steps)
                await pilot.pause(0)
                app.replay_screen.action_step(1)
                await pilot.pause(0)
            await app.replay_screen.action_tokens()
            await pilot.pause(0)
            await pilot.pause(0)
            app.screen.query_one(TokenView).action_go(-1)
            await pilot.pause(0)
            app.pop_screen()
            app.notify(texts.take("replay"), severity="warning")
            await pilot.pause(0)
        except asyncio.CancelledError:
            raise
        except BaseException:
            failures.append(traceback.format_exc())
        app.exit(message=None)

    begin_s = time.process_time()
    os.chdir(os.environ["LLAMA_CHAT_HOME"])
    looks = ReplayLooks("ember", Path("no-themes"), (texts.take("replay"),))
    record = session(texts, "replay", whole)
    app = ReplayApp(Player(build_timeline(record)), looks, ticks=False, record=record)
    app.run(auto_pilot=act)
    if app._exception is not None:
        failures.append(repr(app._exception))
    spent["replay"] = round(time.process_time() - begin_s, 2)

    now[0], begin_s = "played", time.process_time()
    try:
        _play(texts, max(1, min(whole // 10, 200)))
    except BaseException:
        failures.append(traceback.format_exc())
    spent["played"] = round(time.process_time() - begin_s, 2)
    kept = {"places": texts.by_place, "spent": spent, "failures": failures, "drawn": seen.as_data()}
    result.write_text(json.dumps(kept))
    return bool(failures)


def _play(texts: HostileTexts, count: int) -> None:
    """What `asciinema play` would write of the file that `replay --cast` makes of a session."""
    file = Path("k.cast")
    loaded = LoadedSettings(Settings(), (texts.take("played"),))
    timeline = build_timeline(session(texts, "played", count))
    with contextlib.redirect_stderr(io.StringIO()):  # its line of progress is drawn again and again with CR
        write_cast(timeline, loaded, user_paths(), file, "100x60", 64.0, force=True)
    _title, *events = file.read_text().splitlines()
    sys.stdout.write("\x1b[?1049h")  # for the check: from here on a screen is drawn
    for line in events[1:-1]:  # but the empty screen at the beginning, and the cursor at the end
        _at_s, kind, data = json.loads(line)
        assert kind == "o"
        sys.stdout.write(data)
    sys.stdout.write("\x1b[?1049l")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
