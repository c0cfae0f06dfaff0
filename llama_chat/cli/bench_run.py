"""One `bench`: its configurations one after the other, what was found, and how it compares."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llama_chat import __version__
from llama_chat.benchmarks.children import ask_child
from llama_chat.benchmarks.comparing import Comparison, compare_with_any, compare_with_last
from llama_chat.benchmarks.history import Past, append_run, past_runs
from llama_chat.benchmarks.records import FORMAT, Configuration, MachineRecord, Measured, Quality
from llama_chat.cli.engines import LoadingLine
from llama_chat.cli.options import MODEL_OPTIONS
from llama_chat.cli.other_models import label_of
from llama_chat.cli.talk import say
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.paths import Paths
from llama_chat.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one configuration beside earlier ones."""

    measured: Measured
    machine: MachineRecord
    last: Comparison | None
    """With the last run alike."""
    other: Comparison | None
    """With the file that was given."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A configuration that could not be measured."""

    what: str
    error: LlamaChatError


@dataclass(slots=True)
class BenchRun:
    """What is asked for, and what was found so far."""

    paths: Paths
    others: Sequence[Past] | None
    """Of the file to compare with."""
    compared_file: str
    cancel: threading.Event
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    results: list[Result] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _qualities: dict[ModelSettings, Quality] = field(default_factory=dict)

    def measure(self, wanted: Sequence[Configuration], *, with_quality: bool) -> None:
        """All of them; one that fails leaves the others.

        Raises:
            LlamaChatError: the only one could not be measured.
            Interrupted: Ctrl+C; what was found by then is there.
        """
        earlier = self._earlier()
        with LoadingLine("", sys.stderr) as line:
            for number, configuration in enumerate(wanted, start=1):
                what = describe(configuration)
                place = f"{number} of {len(wanted)}: " if len(wanted) > 1 else ""

                def tell(doing: str, about: str = f"{place}{what}") -> None:
                    line.show(f"{about}: {doing}…")

                tell("starting")
                try:
                    self.results.append(self._result(configuration, with_quality, earlier, tell))
                except Interrupted:
                    raise
                except LlamaChatError as error:
                    if len(wanted) == 1:
                        raise
                    self.failures.append(Failure(what, error))

    def _result(
        self,
        configuration: Configuration,
        with_quality: bool,
        earlier: Sequence[Past],
        tell: Callable[[str], None],
    ) -> Result:
        found = ask_child(configuration, "speed", self.cancel, tell)
        machine, measured = MachineRecord.of_data(found["machine"]), Measured.of_data(found["figures"])
        if with_quality:
            key = configuration.settings
            if key not in self._qualities:
                self._qualities[key] = Quality(**ask_child(configuration, "quality", self.cancel, tell))
            measured = replace(measured, quality=self._qualities[key])
        last = compare_with_last(measured, machine, earlier)
        other = None if self.others is None else compare_with_any(measured, machine, self.others)
        return Result(measured, machine, last, other)

    def _earlier(self) -> list[Past]:
        try:
            return past_runs(self.paths.benchmarks_file)
        except OSError:  # there was none, or nobody may read it: then there is nothing to compare with
            return []

    def keep(self) -> None:
        """Add what was found to the file of all runs; a disk that does not take it is told of."""
        if not self.results:
            return
        try:
            append_run(self.paths.benchmarks_file, self.record())
        except OSError as error:
            say(f"llama-chat: {self.paths.benchmarks_file}: {error.strerror or error}: the run is not kept.")

    def record(self) -> dict[str, Any]:
        """What is kept: figures and machine; where a GPU and the processor took turns, each has its own."""
        machine = self.results[0].machine
        results = [
            result.measured.as_data()
            | ({} if result.machine == machine else {"machine": asdict(result.machine)})
            for result in self.results
        ]
        return {
            "format": FORMAT,
            "date": self.date,
            "program": f"llama-chat {__version__}",
            "machine": asdict(machine),
            "results": results,
        }

    def as_data(self) -> dict[str, Any]:
        """For --json: the record, how it compares, and the two speeds at hand where there is one result."""
        record = self.record()
        for data, result in zip(record["results"], self.results, strict=True):
            data["compared"] = {
                name: None if comparison is None else asdict(comparison)
                for name, comparison in (("last", result.last), ("file", result.other))
            }
        record["failures"] = [
            {"what": failure.what, "message": failure.error.message} for failure in self.failures
        ]
        if len(self.results) == 1:
            names = ("prefill_tok_per_s", "decode_tok_per_s")
            record |= {name: record["results"][0][name] for name in names}
        return record


def describe(configuration: Configuration) -> str:
    """`tinyllama, bf16, prompt of 512`: what was asked for, but for what is as always."""
    settings = configuration.settings
    shown = [label_of(Path(settings.model))]
    for known in fields(settings):
        value = getattr(settings, known.name)
        if known.name in MODEL_OPTIONS[1:] and value != known.default:
            words = f"{known.name} {value:,}" if isinstance(value, int) else str(value)
            shown.append(f"cache {words}" if known.name == "kv_dtype" else words)
    if configuration.prompt is None:
        shown.append(f"prompt of {configuration.prompt_tokens:,}")
    return ", ".join(shown)
