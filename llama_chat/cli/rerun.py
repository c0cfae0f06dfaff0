"""`llama-chat replay --rerun`: a session generated again, by the model that wrote it or by another one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llama_chat.cli.answer import cancel_on_interrupt
from llama_chat.cli.rerun_compare import ask_again
from llama_chat.cli.rerun_model import load_at, load_recorded, place_of, settings_as_recorded
from llama_chat.cli.rerun_text import ProgressLine, RerunPrinter, as_data
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import Interrupted, StoreError
from llama_chat.events import Engine
from llama_chat.log import start_log
from llama_chat.paths import Paths
from llama_chat.rerun import RecordedReply, ReplyVerdict, recorded_replies, rerun, worst
from llama_chat.sessions import SessionRecord
from llama_chat.settings import LoadedSettings, Settings

IDENTICAL, DIFFERENT = 0, 1


@dataclass(slots=True)
class _Job:
    """What all parts of one rerun need."""

    record: SessionRecord
    settings: Settings
    paths: Paths
    given: frozenset[str]
    as_json: bool
    cancel: threading.Event


def run_rerun(
    record: SessionRecord,
    loaded: LoadedSettings,
    paths: Paths,
    *,
    given_options: Collection[str],
    as_json: bool,
) -> int:
    """Generate the session again and print what came of it; the exit status.

    Without model options, or with such that name the recorded model, every token is checked: 0 when all are
    identical, 1 when one is not, or when a reply could not be judged. Another model is asked the same, and
    both answers are shown: 0.

    Args:
        record: of the session.
        loaded: the settings, the command line's among them.
        paths: where models lie.
        given_options: the model options of the command line, as names (`dtype`) or as written (`--dtype`).
        as_json: print one JSON object.

    Raises:
        StoreError: no model wrote anything in the session.
        ModelError: the recorded model is not found, and none was given.
        Interrupted: Ctrl+C; what was judged so far is printed.
    """
    start_log(paths.log_file)
    say_notices(loaded.notices)
    replies = recorded_replies(record)
    if not replies:
        raise StoreError("The session has no reply that a model wrote: there is nothing to run again.")
    given = frozenset(name.removeprefix("--").replace("-", "_") for name in given_options)
    with cancel_on_interrupt() as cancel:
        job = _Job(record, loaded.settings, paths, given, as_json, cancel)
        if "model" not in given and any(reply.model is not None for reply in replies):
            return _on_recorded(job, replies)
        return _on_given(job, replies)


def _on_recorded(job: _Job, replies: list[RecordedReply]) -> int:
    """The recorded model, as it was but for what was given."""
    if job.given:
        newest = next(reply for reply in reversed(replies) if reply.model is not None)
        wanted = settings_as_recorded(newest, _needed_tokens(replies), job.settings.model, job.given)
        with _closing(load_recorded(newest, wanted, job.settings, job.paths, job.cancel)) as engine:
            return _on_engine(job, engine, replies)
    known = [reply for reply in replies if reply.model is not None]
    not_judged = len(replies) - len(known)
    if not_judged:
        say(f"llama-chat: {not_judged} of {len(replies)} replies do not tell their model.")
    return _report(job, len(known), _verdicts_as_recorded(job, known), not_judged=not_judged)


def _on_given(job: _Job, replies: list[RecordedReply]) -> int:
    """The model that was given; its own settings count."""
    from llama_chat.cli.engines import find_or_fetch

    if "model" not in job.given:
        say("llama-chat: which model wrote the session was not recorded; the settings' model is asked.")
    path = find_or_fetch(job.settings, job.paths, job.cancel)
    with _closing(load_at(path, job.settings.model, job.cancel)) as engine:
        return _on_engine(job, engine, replies)


def _on_engine(job: _Job, engine: Engine, replies: list[RecordedReply]) -> int:
    """The check, where the engine is the recorded one; else both answers."""
    same = [reply for reply in replies if _is_same(engine, reply)]
    if not same:
        ask_again(job.record, engine, as_json=job.as_json, cancel=job.cancel)
        return IDENTICAL
    not_judged = len(replies) - len(same)
    if not_judged:
        say(f"llama-chat: {not_judged} of {len(replies)} replies are another model's, or do not tell theirs.")
    return _report(job, len(same), _verdicts(job, engine, same), not_judged=not_judged)


def _is_same(engine: Engine, reply: RecordedReply) -> bool:
    info, model = engine.info, reply.model
    return model is not None and (model.fingerprint, model.engine, model.dtype) == (
        *(info.fingerprint, info.engine, info.dtype),
    )


def _verdicts_as_recorded(job: _Job, replies: list[RecordedReply]) -> Iterator[ReplyVerdict]:
    """Verdicts on all replies, those of one model and place together, so that each is loaded once."""
    needed = _needed_tokens(replies)
    for place in dict.fromkeys(map(place_of, replies)):
        here = [reply for reply in replies if place_of(reply) == place]
        wanted = settings_as_recorded(here[0], needed, job.settings.model, job.given)
        with _closing(load_recorded(here[0], wanted, job.settings, job.paths, job.cancel)) as engine:
            yield from _verdicts(job, engine, here)


def _verdicts(job: _Job, engine: Engine, replies: list[RecordedReply]) -> Iterator[ReplyVerdict]:
    with ProgressLine(len(replies), sys.stderr) as line:
        ids = {reply.message.id for reply in replies}
        for verdict in rerun(job.record, engine, message_ids=ids, cancel=job.cancel, report=line.show):
            line.clear()
            yield verdict


def _report(job: _Job, of_replies: int, verdicts: Iterator[ReplyVerdict], *, not_judged: int) -> int:
    """Print the verdicts as they come and the last line; the exit status.

    Args:
        job: whose they are.
        of_replies: how many are judged.
        verdicts: on these.
        not_judged: how many other replies there are: what was not looked at is not called identical.
    """
    found: list[ReplyVerdict] = []
    printer = None if job.as_json else RerunPrinter(of_replies)
    is_whole = False
    try:
        for verdict in verdicts:
            found.append(verdict)
            if printer is not None:
                printer.show(verdict)
        is_whole = not job.cancel.is_set()
    finally:  # what is judged is told, whatever ended it
        if found or job.cancel.is_set():
            if printer is not None:
                printer.end(is_whole=is_whole, not_judged=not_judged)
            else:
                data = as_data(job.record, found, of_replies, is_whole=is_whole, not_judged=not_judged)
                print(json.dumps(data, indent=2), flush=True)
    if not is_whole:
        raise Interrupted("Stopped")
    is_identical = worst(each.verdict for each in found) == "identical" and not not_judged
    return IDENTICAL if is_identical else DIFFERENT


def _needed_tokens(replies: list[RecordedReply]) -> int:
    """Context that the longest of them takes, with room for one token more than there was."""
    return max(reply.reply.prompt_tokens + len(reply.ids) for reply in replies) + 1


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    """The engine, freed at the end; its notices are said."""
    try:
        say_notices(engine.info.notices)
        yield engine
    finally:
        engine.close()
