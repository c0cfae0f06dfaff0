"""Textual's wait for an app that has come to rest, without most of the waiting.

Textual's own (8.2.8) looks every 20 ms whether the process has used less than 1 ms of its processor, twice
for every key: two thirds of the time of a test that types were such sleeps (2026-11-22). On a busy machine it
is over before the app has done anything, since a process that gets no processor uses none.
"""

from __future__ import annotations

import asyncio
import time

from textual import _wait, app, pilot
from textual._context import active_app, visible_screen_stack
from textual.strip import Strip

STEP_S = 0.005
IDLE = 0.1
"""A process that uses less of the processor is at rest."""


async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Until every widget has taken in what was sent to it, and the process then rests for a step."""
    running = pilot.Pilot(active_app.get())
    begin_s = time.monotonic()
    while True:
        await running._wait_for_screen()
        used_s, step_s = time.process_time(), time.monotonic()
        await asyncio.sleep(STEP_S)
        now_s = time.monotonic()
        if now_s - begin_s >= max_sleep:
            return
        if time.process_time() - used_s < IDLE * (now_s - step_s) and now_s - begin_s > min_sleep:
            return


def strips_of(running: app.App[object]) -> list[Strip]:
    """The lines on the terminal.

    A card that is drawn for the first time looks into Textual's context for what lies below it; drawn
    outside of a paint it found nothing there, and kept that.
    """
    visible_screen_stack.set(running._background_screens)
    return running.screen._compositor.render_strips()


def settle_soon() -> None:
    """Have all pilots wait so."""
    for module in (_wait, app, pilot):
        module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]
