"""What else the commands print: answers, progress, tokens, devices, verdicts, imports, the settings file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TextIO, cast

import fake_engine
from fake_engine import INFO, FakeEngine
from hostile_bench import benchmarks
from hostile_replay import session
from hostile_text import HostileTexts

from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound
from llama_chat.cli import answer, cli, devices, engines, sweep_text, verify
from llama_chat.cli.engines import LoadingLine
from llama_chat.cli.pull_bar import ProgressTeller
from llama_chat.cli.rerun_compare import ask_again
from llama_chat.cli.rerun_text import RerunPrinter
from llama_chat.cli.tables import painter_for
from llama_chat.device_facts import DeviceFacts
from llama_chat.events import Loading
from llama_chat.pull_progress import PullProgress
from llama_chat.rerun import Difference, Pick, ReplyVerdict
from llama_chat.shelves.fit import ShortFit


class Commands(Protocol):
    """What runs commands; its stdout and stderr are the terminal."""

    texts: HostileTexts
    place: str
    now: str

    def take(self, cells: int = 60) -> str: ...
    def word(self, cells: int = 30) -> str: ...
    def run(self, *words: str) -> int: ...


def parrot(texts: HostileTexts, answers: Sequence[str], name: str) -> FakeEngine:
    """An engine that says the answers in small pieces, then `x`; all that it says of itself is the name."""
    left = list(answers)
    fake_engine._words = lambda _answer: iter(texts.pieces(left.pop() if left else "x"))  # type: ignore[assignment]
    return FakeEngine(["x"], info=replace(INFO, name=name, engine_reason=name, notices=(name,)))


def answers(commands: Commands, count: int) -> None:
    """`run`: what a model says, its name and what it has to notice."""
    load = answer.load_for_command
    lines = [commands.take() for _ in range(count)]
    replies = ["\n".join(lines[place : place + 40]) for place in range(0, count, 40)]
    for words in (["--stats"], ["--json"], ["--n", "3"], ["--raw"], *[[]] * len(replies)):
        engine = parrot(commands.texts, [*replies[-1:], *replies], commands.take(20))
        answer.load_for_command = lambda *_, engine=engine: engine  # type: ignore[assignment,misc]
        commands.run("run", commands.word(), *words)
        del replies[-1:]
    answer.load_for_command = load


class OwnLine(io.TextIOBase):
    """A line that is drawn again and again, each time in a line of its own: a CR is then never ours."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        first, _, rest = text.partition("\r") if text.startswith("\r") else ("", "", text)
        blank, found, shown = rest.partition("\r") if not rest.split("\r")[0].strip() else ("", "", rest)
        sys.stderr.write(f"{first}{blank}{found and ' '}{shown}\n")
        return len(text)


def progress(commands: Commands, count: int) -> None:
    """The names of files and models that are on their way."""
    for number in range(count):
        line = commands.take()
        for is_terminal in (True, False):
            teller = ProgressTeller(cast(TextIO, OwnLine()), is_terminal=is_terminal)
            teller(PullProgress(number, 100 + count, 1.0, line))
            teller(PullProgress(50 + number, 100 + count, 3.0, line))
            teller.end()
        with LoadingLine(line, cast(TextIO, OwnLine())) as loading:
            loading(Loading(0.0, "torch"))
            loading(Loading(0.5, "weights"))


def vocabulary(commands: Commands, count: int) -> None:
    """`tokens`: the text and tokens whose names are hostile."""
    from tiny_models import TinyModel, tiny_vocabulary

    known = tiny_vocabulary(size=320 + count)
    reserved = [n for n, token in enumerate(known.tokens) if token.startswith("<|reserved_")][:count]
    names = {n: commands.take() for n in reserved}
    tokens = tuple(names.get(n, token) for n, token in enumerate(known.tokens))
    model = str(TinyModel(vocabulary=replace(known, tokens=tokens)).write(Path("vocabulary.gguf")))
    for words in ([], ["--table"], ["--json"]):
        commands.run("tokens", "--model", model, *words, commands.word())
    commands.run("tokens", "--model", model, "--sample", str(len(tokens)), "--seed", "1")
    loading_line = engines.LoadingLine
    engines.LoadingLine = lambda name, _: loading_line(name, cast(TextIO, OwnLine()))  # type: ignore[assignment,misc]
    try:
        commands.run("walk", "--model", model, commands.word())
        sweep_text.drawn_over = lambda _, lines: "\n".join([*lines, ""])  # each drawing has lines of its own
        for words in (["--raw", "--vary", "seed=1,2"], ["--vary", "temperature=0,9", "--json"]):
            commands.run("sweep", "--model", model, commands.word(), "-n", "20", *words)
        for words in (["--score"], ["--score", "--json"]):
            commands.run("tokens", "--model", model, *words, commands.word())
        commands.run("tokens", "--model", model, f"{commands.word()} {' '.join(tokens)[:2000]}", "--score")
    finally:
        engines.LoadingLine = loading_line  # type: ignore[misc]
    commands.run("inspect", model, "--all")


def found_devices(lines: Sequence[str]) -> list[DeviceFacts]:
    """Devices of which a driver says such things."""
    return [
        DeviceFacts(f"cuda:{n}", line, line, 10**9, 10**8, (line[-6:],), line * (n % 2))
        for n, line in enumerate(lines)
    ]


def device_access(lines: Sequence[str]) -> DeviceAccess:
    """The same, as the plain chat asks for them."""

    def open_model(name: str, device: str) -> Any:
        raise AssertionError((name, device))

    found = DevicesFound(lines[0], tuple(found_devices(lines)), tuple(lines))
    return DeviceAccess(lambda: found, lambda *_: ShortFit("fits", 1, 2, lines[0]), lambda _: {}, open_model)


def verdicts(commands: Commands, count: int) -> None:
    """`devices`, `verify` and `replay --rerun`: what drivers, files and records say, without torch."""
    lines = [commands.take() for _ in range(max(8, count))]
    painter = painter_for(sys.stdout, os.environ)
    commands.now = "devices"
    for line in devices._device_lines(found_devices(lines), painter, 120):
        print(line)
    commands.now = "verify"
    one, two = lines[:2]
    found = SimpleNamespace(
        **dict.fromkeys(("torch", "transformers", "fingerprint", "model", "dtype", "device"), one),
        **{"threads": 2, "seconds": 1.0, "comparisons": (), "checks": (), "passed": True},
        **{"left_out": [SimpleNamespace(what=line, why=line) for line in lines], "damage": lines},
    )
    for line in verify.as_lines(cast("verify.Verification", found)):
        print(line)
    commands.now = "replay"
    printer = RerunPrinter(count)
    for line in lines:
        pick = Pick(7, line, False, 0.5, 0.5)
        difference = Difference(1, "diverged", 0.1, True, line, pick, pick, line, line, line)  # type: ignore[arg-type]
        printer.show(
            ReplyVerdict(1, "x", line, "diverged", 3, 3, 0, (difference,), line, 0.1, (), line)  # type: ignore[arg-type]
        )
    printer.end(is_whole=True)
    record = session(commands.texts, commands.place, min(count, 40))
    engine = parrot(commands.texts, ["\n".join(lines[:20])] * 2, two)
    for as_json in (False, True):
        ask_again(record, engine, as_json=as_json, cancel=threading.Event())


def imports(commands: Commands, count: int) -> None:
    """Sessions out of files, and files that are none."""
    chats = [
        {"id": f"{n:032}", "title": commands.take(), "create_time": 1.0, "mapping": _mapping(commands.take())}
        for n in range(max(1, count // 2))
    ]
    file = Path(f"{len(chats)}.json")
    file.write_text(json.dumps(chats))
    for _ in range(2):
        commands.run("sessions", "import", str(file))
    commands.run("sessions", "import", str(file), "--json")
    two, three, four, five = (commands.take() for _ in range(4))
    for damaged in ({two: three}, [{"title": four, "mapping": five}]):
        file.write_text(json.dumps(damaged))
        commands.run("sessions", "import", str(file))
    lines = Path(f"{commands.word().replace('/', '|')[:60]}.jsonl")
    lines.write_text(json.dumps({"format": commands.take(), "version": commands.take()}) + "\n")
    commands.run("sessions", "import", str(lines))
    commands.run("replay", str(lines))
    commands.run("sessions", "export", "--all", "--output", f"{lines}.md")


def _mapping(text: str) -> dict[str, object]:
    """A conversation of one message, as ChatGPT exports it."""
    content = {"content_type": "text", "parts": [text]}
    message = {"id": "m", "author": {"role": "user"}, "content": content, "create_time": 1.0}
    return {"r": {"id": "r", "children": ["m"]}, "m": {"id": "m", "parent": "r", "message": message}}


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """These variables are set meanwhile."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def folders(commands: Commands, count: int) -> None:
    """A home of such a name, an editor of such a name, settings that an editor has left so."""
    for _ in range(count):
        home = Path(f"{commands.word().replace('/', '|')[:60]}\x1b]0;k\x07")
        with environment(LLAMA_CHAT_HOME=str(home.absolute()), EDITOR="true"):
            commands.run("config", "path")
            commands.run("config", "edit")
            file = home / "config" / "settings.toml"
            theme = json.dumps(commands.take().encode("utf-8", "replace").decode())
            file.write_text(f"[chat]\ntheme = {theme}\n")
            commands.run("config", "edit")
            commands.run("models", "list")
            commands.run("sessions", "list")
        with environment(EDITOR=commands.word()):
            commands.run("config", "edit")


MORE_PLACES: dict[Callable[[Commands, int], None], float] = {
    answers: 8,
    progress: 1,
    vocabulary: 3,
    verdicts: 4,
    benchmarks: 3,
    imports: 3,
    folders: 0.2,
}
"""Of a hundred texts, so many."""


def all_commands() -> list[str]:
    """Every command of the program, as it is typed."""
    import click

    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
        if not isinstance(command, click.Group):
            yield " ".join(path)
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))

    return list(walk(cli, ()))
