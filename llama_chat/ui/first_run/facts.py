"""What is found out about the machine for a newcomer, on a thread of its own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound
from llama_chat.chat.machine.recommending import Circumstances
from llama_chat.chat.prompt.typed_path import is_there
from llama_chat.hub.cache import cache_folder, has_token
from llama_chat.paths import Paths

_log = logging.getLogger(__name__)


def gather(
    access: DeviceAccess, paths: Paths, tell: Callable[[DevicesFound | None, Circumstances, str], None]
) -> None:
    """Look at the machine, then hold the offers against it; each is told when it is known."""
    known, found = Circumstances(), None
    try:
        known = Circumstances(has_token=has_token(), free_disk_bytes=free_disk_bytes(paths))
        found = access.find()
        known = replace(known, device=found.best)
        tell(found, known, "")
        if found.best is not None:
            tell(found, replace(known, fits=access.fit_offers(found.best.name)), "")
    except Exception as error:  # torch and drivers fail in any way: a newcomer still gets a model
        _log.warning("the machine could not be asked", exc_info=True)
        if found is None:  # else it stays as it is shown, without what fits it
            tell(None, known, str(error) or type(error).__name__)


def free_disk_bytes(paths: Paths) -> int | None:
    """What is free where models are put, the Hub's or our own, whichever has less; None where nobody says."""
    free = []
    for folder in (cache_folder(), paths.models):
        there = next((place for place in (folder, *folder.parents) if is_there(place)), Path())
        try:
            free.append(shutil.disk_usage(there).free)
        except OSError:
            return None
    return min(free)
