"""The commands that print, on hostile stores, models and words: `hostile_commands.py SEED COUNT RESULT`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fake_engine
from fake_engine import INFO, FakeEngine, loader_of
from hostile_printing import MORE_PLACES, all_commands, device_access, environment
from hostile_seen import Seen
from hostile_text import HostileTexts

from llama_chat.chat.setup import ChatSetup
from llama_chat.cli import invoke
from llama_chat.cli.plain import PlainChat
from llama_chat.cli.plain_commands import PLAIN_COMMANDS
from llama_chat.cli.plain_input import LineReader
from llama_chat.cli.talk import exit_status, say
from llama_chat.conversation import Message, Reply, Role, new_id, short_id
from llama_chat.errors import ModelError
from llama_chat.events import Sampling
from llama_chat.paths import user_paths
from llama_chat.sessions import SessionStore
from llama_chat.settings import Settings

LINES = 40
"""Texts in one message."""
NAMES = all_commands()


class Commands:
    """Runs them in this process: its stdout and stderr are the terminal."""

    def __init__(self, texts: HostileTexts) -> None:
        self.texts = texts
        self.place = ""
        self.now = ""
        """The command that runs, or the plain chat's."""
        self.tried: set[str] = set()
        self.sessions: list[str] = []

    def take(self, cells: int = 60) -> str:
        return self.texts.take(self.place, cells=cells)

    def word(self, cells: int = 30) -> str:
        """A text as the command line can hold it."""
        return os.fsdecode(self.take(cells).encode("utf-8", "surrogatepass").replace(b"\x00", b"\x01"))

    def file_name(self) -> str:
        return self.word().replace("/", "|")

    def run(self, *words: str) -> int:
        self.now = next((each for each in NAMES if f" {each} " in f" {' '.join(words)} "), "llama-chat")
        self.tried.add(self.now)
        return exit_status(lambda: invoke(words))


def _store() -> SessionStore:
    path = user_paths().sessions_file
    path.parent.mkdir(parents=True, exist_ok=True)
    store = SessionStore(path)
    store.open()
    return store


def sessions(commands: Commands, count: int) -> None:
    """The titles in lists, the texts as they are shown, exported and found."""
    store = _store()
    while count > 0:
        info = store.create(title=commands.take(), date="2026-11-22")
        name = commands.take(30)
        store.set_model(info.id, replace(INFO, name=name, path=name))
        lines = [commands.take() for _ in range(min(LINES, count))]
        count -= len(lines) + 2
        said = Message(new_id(), None, Role.USER, "\n".join(lines[::2]) + " needle", time.time())
        made = Reply(7, Sampling(), name, (1, 2), "failed", commands.take(), 3)
        store.add_messages(info.id, [said], said.id)
        answer = Message(new_id(), said.id, Role.ASSISTANT, "\n".join(lines[1::2]), time.time(), made)
        store.begin_reply(info.id, replace(answer, reply=replace(made, finish_reason=None)))
        store.finish_reply(info.id, answer)
        commands.sessions.append(info.id)
    store.close()
    commands.run("sessions", "list")
    commands.run("sessions", "list", "--json")
    commands.run("sessions", "search", "needle")
    for number, session_id in enumerate(map(short_id, commands.sessions)):
        commands.run("sessions", "show", session_id)
        if number % 10 == 0:
            for form in ("md", "jsonl", "html"):
                commands.run("sessions", "export", session_id, "--format", form)
            commands.run("sessions", "rename", session_id, commands.word())
            commands.run("replay", "--plain", "--instant", session_id)
            commands.run("sessions", "show", "--json", session_id)
            commands.run("sessions", "delete", session_id)
            commands.run("sessions", "undelete", session_id)
            with _typed("n\n"):
                commands.run("sessions", "delete", "--now", session_id)


@contextlib.contextmanager
def _typed(words: str) -> Iterator[None]:
    """Somebody answers a question."""
    before, sys.stdin = sys.stdin, io.StringIO(words)
    sys.stdin.isatty = lambda: True  # type: ignore[method-assign]
    try:
        yield
    finally:
        sys.stdin = before


def models(commands: Commands, count: int) -> None:
    """File names, and what the headers say."""
    paths = user_paths()
    paths.models.mkdir(parents=True, exist_ok=True)
    used = []
    for _ in range(max(1, count // 3)):
        file = paths.models / f"{commands.file_name()}.gguf"
        with contextlib.suppress(OSError):  # too long a name
            file.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 8)
        names = {name: commands.take(20) for name in ("path", "name", "fingerprint", "device", "dtype")}
        used.append({**names, "path": f"/x/{names['path']}.gguf", "used_at": 1.0, "tok_per_s": 2.0})
    (paths.data / "models_used.json").write_text(json.dumps(used))
    commands.run("models", "list")
    commands.run("models", "list", "--json")
    for file in sorted(paths.models.iterdir())[:3]:
        commands.run("models", "show", str(file))
        commands.run("inspect", str(file))
        commands.run("models", "remove", file.name)


def tensors(commands: Commands, count: int) -> None:
    """Names and metadata of a safetensors file."""
    header: dict[str, object] = {
        "__metadata__": {commands.take(): commands.take() for _ in range(max(1, count // 4))}
    }
    end = 0
    for number in range(max(2, count // 2)):
        name = commands.take()
        header[name if number % 2 else f"model.layers.0.{name}"] = {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [end, end + 4],
        }
        end += 4
    data = json.dumps(header).encode()
    file = Path(os.environ["LLAMA_CHAT_HOME"]) / commands.file_name()
    file = file.with_name(file.name[:90] + ".safetensors")
    file.write_bytes(len(data).to_bytes(8, "little") + data + bytes(end))
    for options in ([], ["--all"], ["--json"], ["--tensor", "*"], ["--tensor", commands.word()]):
        commands.run("inspect", str(file), *options)
    file.write_bytes(len(data).to_bytes(8, "little") + data)
    commands.run("inspect", str(file))
    (file.parent / "folder").mkdir()
    (file.parent / "folder" / "config.json").write_text(
        json.dumps({commands.take(): commands.take() for _ in range(5)})
    )
    commands.run("inspect", str(file.parent / "folder"))


def settings(commands: Commands, count: int) -> None:
    """Values, keys and tables of the settings file."""
    file = user_paths().settings_file
    file.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(max(1, count // 6)):
        texts = [json.dumps(commands.take().encode("utf-8", "replace").decode()) for _ in range(6)]
        one, two, three, four, five, six = (text.replace("\x7f", "\\u007f") for text in texts)
        file.write_text(
            f"[model]\nmodel = {one}\n{two} = 1\n[chat]\nsystem = {three}\ntheme = {four}\n[sampling]\n"
            f"temperature = {five}\n[keys]\n{six} = {five}\nsend = {four}\n"
        )
        commands.run("config", "show")
        commands.run("config", "show", "--json")
        commands.run("--theme", commands.word(), "config", "show")
        os.environ["LLAMA_CHAT_TOP_K"] = commands.word()
        commands.run("config", "show")
        del os.environ["LLAMA_CHAT_TOP_K"]
        file.write_text(f"[{one} = ")
        commands.run("config", "show")
    file.unlink()


def words(commands: Commands, count: int) -> None:
    """Of the command line itself, where they mean nothing."""
    forms: tuple[Callable[[str], list[str]], ...] = (
        lambda word: [word],
        lambda word: ["--" + word],
        lambda word: ["-x" + word],
        lambda word: ["sessions", word],
        lambda word: ["sessions", "show", word],
        lambda word: ["sessions", "search", word],
        lambda word: ["sessions", "import", word],
        lambda word: ["sessions", "export", "--all", "--output", "/nowhere/" + word],
        lambda word: ["sessions", "rename", word, word],
        lambda word: ["sessions", "list", "--limit", word],
        lambda word: ["models", "show", word],
        lambda word: ["models", "pull", word],
        lambda word: ["models", "remove", word],
        lambda word: ["inspect", word],
        lambda word: ["replay", word],
        lambda word: ["replay", "--size", word, "x"],
        lambda word: ["--model", word, "run", "x"],
        lambda word: ["--temperature", word, "config", "show"],
        lambda word: ["--device", word, "run", "x"],
        lambda word: ["--plain", "--resume", word],
        lambda word: ["--resume", word],
        lambda word: ["completion", word],
        lambda word: ["run", "--n", word],
    )
    for number in range(count):
        commands.run(*forms[number % len(forms)](commands.word()))


def completions(commands: Commands, count: int) -> None:
    """What a shell is told of titles, models and themes. (A word that was begun goes back to it as it is.)"""
    commands.take()
    before = dict(os.environ)
    for shell in ("bash", "zsh", "fish", "powershell"):
        for words in ("llama-chat sessions show ", "llama-chat --model ", "llama-chat --theme "):
            os.environ |= {"_LLAMA_CHAT_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
            os.environ["COMP_CWORD"] = "" if shell in ("fish", "powershell") else str(words.count(" "))
            commands.run()
    for name in set(os.environ) - set(before):
        del os.environ[name]


def errors(commands: Commands, count: int) -> None:
    """Of every kind, raised by something below."""
    for number in range(count):
        text = commands.take()
        made = (ModelError(text, hint=text), OSError(5, text, text), ValueError(text), KeyError(text))[
            number % 4
        ]

        def fail(made: Exception = made) -> None:
            raise made

        exit_status(fail)
        say(text)


class Typed(LineReader):
    """Lines as if somebody typed them."""

    def __init__(self, lines: list[str], commands: Commands) -> None:
        super().__init__(io.StringIO("".join(f"{line}\n" for line in lines)), is_edited=False)
        self.is_terminal = True
        self._commands = commands

    def read(self, prompt: str, words: str = "") -> str:
        line = super().read(prompt, words)
        first = line.split(maxsplit=1)[0] if line.startswith("/") else ""
        self._commands.now = f"plain {first}" if first in PLAIN_COMMANDS else "plain"
        self._commands.tried.add(self._commands.now)
        return line


def plain(commands: Commands, count: int) -> None:
    """The line-by-line chat: replies in small pieces, commands, sessions, names."""
    texts, answers = commands.texts, [commands.take() for _ in range(count)]
    answers = ["\n".join(answers[place : place + LINES]) for place in range(0, count, LINES)]
    fake_engine._words = lambda _answer: iter(texts.pieces(answers.pop() if answers else "x"))  # type: ignore[assignment]
    name = commands.take(30)
    setup = ChatSetup(
        settings=Settings(),
        notices=(commands.take(),),
        paths=user_paths(),
        loader=loader_of(FakeEngine(["x"], info=replace(INFO, name=name, engine_reason=name))),
        model_label=name,
        pull=None,
        save_setting=lambda table, key, value: None,
        devices=device_access([commands.take() for _ in range(4)]),
    )
    said = [
        "".join(char for char in commands.word() if char not in "\\\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
        for _ in range(len(answers) + 1)
    ]
    word = said[0]
    lines = [*said, *(f"{name} {word}" for name in PLAIN_COMMANDS if name != "/quit")]
    more = ("model", "zz", "set temperature", "export md", "code 1", "preset save")
    lines += [f"/{name} {word}" for name in more]
    lines += ["/paste", word, "/end", word, "/resume 1", "/resume 2", "/tree 1", "/branch 1", word]
    lines += [name for name in PLAIN_COMMANDS if name not in ("/quit", "/paste", "/editor")]
    lines += ["/new", "/editor", "/quit"]
    with environment(EDITOR="true"):
        PlainChat(setup, Typed(lines, commands), is_talk=True).run()


PLACES: dict[Callable[[Commands, int], None], float] = {
    **{sessions: 45, models: 6, tensors: 6, settings: 3, words: 4, completions: 1, errors: 10, plain: 15},
    **MORE_PLACES,
}
"""Of a hundred texts, so many."""


def main(seed: int, whole: int, result: Path, chosen: list[str]) -> int:
    texts, failures, spent = HostileTexts(seed), [], {}
    os.chdir(os.environ["LLAMA_CHAT_HOME"])
    commands = Commands(texts)
    seen = Seen(lambda: commands.now)
    seen.watch_output()
    for place, share in PLACES.items():
        if chosen and place.__name__ not in chosen:
            continue
        commands.place, begin_s = place.__name__, time.process_time()
        try:
            place(commands, max(1, round(whole * share / sum(PLACES.values()))))
        except BaseException:
            failures.append(f"{place.__name__}: {traceback.format_exc()}")
        spent[place.__name__] = round(time.process_time() - begin_s, 2)
    kept = {"places": texts.by_place, "spent": spent, "failures": failures, "drawn": seen.as_data()}
    kept["tried"] = sorted(commands.tried)
    result.write_text(json.dumps(kept))
    return bool(failures)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # as `llama_chat.cli.main` does it
    sys.stderr.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
