"""Looks for models on a thread of its own: first their names, then their headers, then whether they fit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from llama_chat.chat.setup import ChatSetup
from llama_chat.paths import Paths
from llama_chat.shelves.facts import KnownFacts
from llama_chat.shelves.listing import facts_file, facts_of, list_found
from llama_chat.shelves.offers import offers_beside
from llama_chat.shelves.used import UsedModels, speed_of
from llama_chat.ui.model_rows import ModelRow, row_of_offer

_log = logging.getLogger(__name__)

TELL_S = 0.1
"""What is learned is told at most so often."""
_ASK_AGAIN_S = 0.2


class ModelFinding:
    """A daemon thread: a disk that does not answer holds up nothing but this list.

    Args:
        setup: where to look, and what knows whether a model fits.
        used: what ran lately.
        device: the one that the model runs on; empty before there is one.
        freed_bytes: asked once torch is there: what the model that runs gives back; None while it is not.
        tell: called on this thread with all rows, each time that more is known.
    """

    def __init__(
        self,
        setup: ChatSetup,
        used: UsedModels,
        device: str,
        freed_bytes: Callable[[], int | None],
        tell: Callable[[Sequence[ModelRow]], None],
    ) -> None:
        self._setup, self._used, self._device = setup, used, device
        self._freed_bytes, self._tell = freed_bytes, tell
        self._rows: list[ModelRow] = []
        self._told_s = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="finding models", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Nobody looks any more."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            self._look(self._setup.paths)
        except Exception:  # a list that stays short is better than none
            _log.warning("models could not be looked for", exc_info=True)
            self._say(True)

    def _look(self, paths: Paths) -> None:
        used = self._used.list()
        found = list_found(paths)
        for model in found:
            speed = speed_of(used, model.path, self._device) if model.path is not None else None
            self._rows.append(ModelRow(model, tok_per_s=speed.tok_per_s if speed else 0.0))
        self._rows += map(row_of_offer, offers_beside(model.name for model in found))
        self._say(True)
        known = KnownFacts(facts_file(paths))
        for n, row in enumerate(self._rows):
            if self._stopped.is_set():
                break
            if row.facts is None:
                self._rows[n] = row.with_facts(facts_of(row.model, known))
            self._say(False)
        known.save()
        self._say(True)
        self._find_fits()

    def _find_fits(self) -> None:
        if self._setup.fit_of is None:
            return
        while (freed_bytes := self._freed_bytes()) is None:
            if self._stopped.wait(_ASK_AGAIN_S):
                return
        for n, row in enumerate(self._rows):
            if self._stopped.is_set():
                return
            if row.model.path is not None and not row.problem:
                self._rows[n] = replace(row, fit=self._setup.fit_of(row.model.path, freed_bytes))
                self._say(False)
        self._say(True)
        self._find_fits_of_offers()

    def _find_fits_of_offers(self) -> None:
        """Of what is not on this disk, by its sizes."""
        if self._setup.devices is None:
            return
        fits = self._setup.devices.fit_offers(self._device or "auto")
        self._rows = [
            replace(row, fit=row.fit or fits.get(row.model.name)) if row.model.path is None else row
            for row in self._rows
        ]
        self._say(True)

    def _say(self, must: bool) -> None:
        now_s = time.monotonic()
        if not self._stopped.is_set() and (must or now_s - self._told_s >= TELL_S):
            self._told_s = now_s
            self._tell(tuple(self._rows))
