"""Files and long pastes in the prompt: what becomes a chip, what the model gets, how many tokens it has."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, loader_of
from pty_terminal import Terminal
from test_chat_app import SMALL, Home, chat, home
from test_plain import Typed
from textual import events
from textual.app import App, ComposeResult
from textual.document._document import Selection

from llama_chat.chat.backstage.counting import SLICE_CHARACTERS, TokenCounter, slice_end
from llama_chat.chat.code_files import proposed_words, save_code
from llama_chat.chat.prompt.attaching import MOST_BYTES, AttachError, name_of, read_attachment
from llama_chat.chat.prompt.completing import escaped
from llama_chat.chat.prompt.pasted_paths import dropped_files, typed_files
from llama_chat.chat.prompt.path_offers import list_folder
from llama_chat.chat.prompt.typed_path import MOST_ENTRIES, entries_of, going_on
from llama_chat.chat.prompt.written import without_controls
from llama_chat.cli.plain import PlainChat
from llama_chat.errors import LlamaChatError
from llama_chat.events import Piece, Text
from llama_chat.markup.attached import AttachedFile, block_of, parts_of
from llama_chat.markup.code_blocks import CodeBlock
from llama_chat.ui.model_paths import path_completions
from llama_chat.ui.screens.attach import AttachScreen, PathList
from llama_chat.ui.screens.chip_look import ChipScreen
from llama_chat.ui.widgets.chips import CHIP_FROM_CHARACTERS
from llama_chat.ui.widgets.prompt import Prompt

__all__ = ["home"]

NOTES = "# Notes\n\n- ask the river\n"


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true: files are read on another thread."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def attach(prompt: Prompt, path: str) -> None:
    count = prompt.text.count("[")
    prompt.attach(Path(path))
    await until(lambda: prompt.text.count("[") > count)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file or two."""
    folder = tmp_path / "papers"
    (folder / "src").mkdir(parents=True)
    (folder / "notes.md").write_text(NOTES)
    (folder / "src" / "ask it.py").write_text("def ask(): ...\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x00\x01")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


# --- how a file stands in a message ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["one line", "a\nb\n\nc", "```py\nx\n```", "````\n```\n````\n", "File: b.md\n```\nno\n```", "    \tx"],
)
def test_a_file_is_found_again_in_the_message_that_holds_it(text: str) -> None:
    message = f"Read this:\n{block_of('a b.md', text)}\nand say\n{block_of('c', text)}"
    parts = list(parts_of(message))
    file = text.removesuffix("\n")
    assert parts == ["Read this:\n", AttachedFile("a b.md", file), "\nand say\n", AttachedFile("c", file)]


@pytest.mark.parametrize("text", ["", "File: x", "File: x\n```\nnever closed", "File: x\n```\na\n````b\n"])
def test_words_are_only_words(text: str) -> None:
    assert "".join(str(part) for part in parts_of(text)) == text


def test_a_name_with_a_line_break_stays_one_line(folder: Path) -> None:
    odd = folder / "two\nlines\x1b[2J.txt"
    odd.write_text("x")
    name = read_attachment(odd).name
    assert "\n" not in name
    assert "\x1b" not in name
    assert list(parts_of(block_of(name, "x"))) == [AttachedFile(name, "x")]


# --- what can be read -----------------------------------------------------------------------------------


def test_a_file_below_the_working_folder_is_called_as_from_there(folder: Path, tmp_path: Path) -> None:
    assert name_of(folder / "src" / "ask it.py") == "src/ask it.py"
    assert name_of(Path("src/ask it.py")) == "src/ask it.py"
    assert name_of(tmp_path / "elsewhere.md") == "elsewhere.md"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (NOTES.encode(), NOTES),
        (b"\xef\xbb\xbfwith a mark\r\n", "with a mark\n"),
        ("Grüße, 世界".encode("utf-16"), "Grüße, 世界"),
        ("be".encode("utf-16-be").join([b"\xfe\xff", b""]), "be"),
        (b"\x1b[31mred\x1b[0m\x07", "[31mred[0m"),
    ],
)
def test_text_is_read_in_its_encoding(tmp_path: Path, raw: bytes, text: str) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(raw)
    assert read_attachment(path).text == text


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"a\x00b", "file.bin is not text: there is a NUL in it, at byte 1."),
        (b"caf\xe9!", "file.bin is not text in UTF-8: byte 3 is 0xE9."),
        (b" \n", "file.bin is empty."),
        (b"x" * (MOST_BYTES + 500_000), "file.bin has 1.5 MB; at most 1.0 MB can be attached."),
        (b"\xff\xfea", "file.bin is not text"),
    ],
)
def test_what_is_no_text_is_refused_with_a_reason(tmp_path: Path, raw: bytes, why: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(raw)
    with pytest.raises(AttachError) as caught:
        read_attachment(path)
    assert caught.value.message.startswith(why)


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders there")
def test_nothing_waits_for_a_pipe_a_socket_or_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    kinds = {tmp_path / "pipe": "a pipe", tmp_path: "a folder", Path("/dev/zero"): "a device"}
    short = Path(f"/tmp/llama-chat-{os.getpid()}.sock")  # a socket's path may have 107 letters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short))
        kinds[short] = "a socket"
        for path, kind in kinds.items():
            with pytest.raises(AttachError, match=f"is {kind}"):
                read_attachment(path)
    short.unlink()
    for path in (tmp_path / "not there", tmp_path / "nul\0", Path("/" + "x" * 300)):
        with pytest.raises(AttachError):
            read_attachment(path)


@pytest.mark.parametrize(
    "how",
    [
        str,
        "{0} ".format,
        "'{0}' ".format,
        '"{0}"'.format,
        lambda path: shlex.quote(str(path)) + "\n",
        lambda path: str(path).replace(" ", "\\ "),
        lambda path: path.as_uri() + "\r\n",
        lambda path: f"~/papers/{path.relative_to(Path.cwd())}",
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths are written otherwise there")
def test_a_dropped_path_is_known_however_the_terminal_writes_it(folder: Path, how) -> None:
    path = folder / "src" / "ask it.py"
    assert dropped_files(without_controls(how(path))) == [path]


def test_only_whole_paths_of_files_that_are_there_count_as_dropped(folder: Path) -> None:
    both = f"{shlex.quote(str(folder / 'src' / 'ask it.py'))} {folder / 'notes.md'}"
    assert dropped_files(both) == [folder / "src" / "ask it.py", folder / "notes.md"]
    notes = folder / "notes.md"
    not_paths = ("notes.md", f"see {notes}", f"{notes} please", str(folder), f"{notes} {notes}x", f"'{notes}")
    assert [text for text in (*not_paths, "", "/", "'", "/\0", "~nobody/x") if dropped_files(text)] == []
    assert typed_files("src/ask it.py") == [Path("src/ask it.py")]
    assert typed_files("notes.md 'src/ask it.py'") == [Path("notes.md"), Path("src/ask it.py")]


def test_a_typed_path_goes_on_with_what_is_there(folder: Path) -> None:
    (folder / ".hidden").write_text("x")
    assert [entry.path for entry in entries_of("")] == ["src/", "notes.md", "picture.png"]
    assert [entry.path for entry in entries_of("./N")] == ["./notes.md", "./picture.png"]
    assert [entry.path for entry in entries_of("src/")] == ["src/ask it.py"]
    assert [entry.path for entry in entries_of(".h")] == [".hidden"]
    assert [entry.path for entry in entries_of("~/pa")] == ["~/papers/"]
    assert entries_of("nowhere/") == []


def test_one_rule_for_every_path_that_is_completed(folder: Path) -> None:
    """A folder of more entries than are listed at a time hides none that begins with what is typed."""
    many = folder / "many"
    many.mkdir()
    for n in range(MOST_ENTRIES + 10):
        (many / f"a{n}.txt").touch()
    (many / "zebra.gguf").touch()
    assert [entry.path for entry in entries_of("many/ze")] == ["many/zebra.gguf"]
    assert path_completions("many/ze") == ["many/zebra.gguf"]
    assert [offer.path for offer in going_on(list_folder("many/", "ze"), "ze")] == ["many/zebra.gguf"]


@pytest.mark.parametrize("words", ["a" * 300, "~nobody/x.py", "~nobody/", "nul\0", "b " * 200])
def test_no_words_for_a_path_break_anything(folder: Path, words: str) -> None:
    assert typed_files(words)
    assert entries_of(words) == []
    assert path_completions(words) == []
    with pytest.raises(LlamaChatError):
        save_code(words, CodeBlock("x"))


@pytest.mark.skipif(os.name == "nt", reason="a working folder cannot be deleted there")
def test_a_working_folder_that_is_gone_is_told_of(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(LlamaChatError, match="The working folder is gone"):
        save_code("x.py", CodeBlock("x"))
    assert proposed_words(CodeBlock("x", "python")) == "code.py"


def test_what_cannot_be_found_is_named_as_a_whole(folder: Path) -> None:
    (folder / "my it's.txt").write_text("x")
    assert typed_files("my it's.txt") == [Path("my it's.txt")]
    assert typed_files(escaped("my it's.txt")) == [Path("my it's.txt")]
    assert typed_files("my nowhere.txt") == [Path("my nowhere.txt")]
    assert typed_files("notes.md nowhere.md") == [Path("notes.md"), Path("nowhere.md")]


# --- the prompt -----------------------------------------------------------------------------------------


class PromptApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.refused: list[str] = []
        self.looked = 0

    def compose(self) -> ComposeResult:
        yield Prompt()

    def on_prompt_sent(self, event: Prompt.Sent) -> None:
        self.sent.append(event.text)

    def on_prompt_not_attached(self, event: Prompt.NotAttached) -> None:
        self.refused.append(str(event.error))

    def on_chip_area_chip_clicked(self) -> None:
        self.looked += 1

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)


async def test_an_attached_file_is_a_chip_and_is_sent_on_lines_of_its_own(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await pilot.press(*"See", "space")
        await attach(app.prompt, "notes.md")
        await pilot.press(*"now")
        assert app.prompt.text == "See [notes.md   25 B] now"
        (folder / "notes.md").unlink()  # it was read when it was attached
        await pilot.press("enter")
        assert app.sent == [f"See\n{block_of('notes.md', NOTES)}\nnow"]
        app.prompt.attach(Path("notes.md"))
        await until(lambda: app.refused == ["There is no file notes.md."])
        assert app.prompt.text == ""


async def test_a_chip_is_one_piece_for_the_cursor_and_for_every_key_that_deletes(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        prompt = app.prompt

        async def again() -> int:
            prompt.clear_all()
            await pilot.press("a")
            await attach(prompt, "notes.md")
            await pilot.press("backspace", "b")
            return len(prompt.text) - 1

        end = await again()
        places = []
        for key in (*("left", "left", "right", "right") * 2, "home", *["ctrl+right"] * 3, "ctrl+left"):
            await pilot.press(key)
            places.append(prompt.cursor_location[1])
        assert set(places) <= {0, 1, end, end + 1}
        assert places[:8] == [end, 1, end, end + 1] * 2
        for keys, left in {
            ("left", "backspace"): "ab",
            ("home", "right", "delete"): "ab",
            ("left", "ctrl+w"): "ab",
            ("home", "right", "ctrl+k"): "a",
            ("left", "ctrl+u"): "b",
        }.items():
            await again()
            await pilot.press(*keys)
            assert prompt.text == left, keys
            await pilot.press("ctrl+underscore")
            assert prompt.full_text == f"a\n{block_of('notes.md', NOTES)}\nb", keys
        prompt.selection = Selection((0, 4), (0, 6))
        await pilot.press("x")
        assert "notes.md" not in prompt.text or block_of("notes.md", NOTES) in prompt.full_text


async def test_a_dropped_path_becomes_its_file_and_undo_brings_the_path_back(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste(f"'{folder / 'src' / 'ask it.py'}' "))
        await until(lambda: app.prompt.full_text == block_of("src/ask it.py", "def ask(): ..."))
        await pilot.press("ctrl+underscore")
        assert app.prompt.full_text == f"'{folder / 'src' / 'ask it.py'}' "
        app.prompt.clear_all()
        app.prompt.post_message(events.Paste(str(folder / "picture.png")))
        await until(lambda: app.refused)
        assert app.prompt.full_text == str(folder / "picture.png")
        assert app.refused == ["picture.png is not text: there is a NUL in it, at byte 6."]
        app.prompt.clear_all()
        await pilot.press(*"/model", "space")
        app.prompt.post_message(events.Paste(str(folder / "notes.md")))
        await pilot.pause()
        assert app.prompt.full_text == f"/model {folder / 'notes.md'}"


async def test_a_slow_disk_holds_up_no_key_and_no_other_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(text: str) -> list[Path]:
        gate.wait(20)
        return dropped_files(text)

    monkeypatch.setattr("llama_chat.chat.prompt.pasted_paths.dropped_files", slow)
    monkeypatch.setattr("llama_chat.ui.widgets.prompt_files.STUCK_S", 0.0)
    app = PromptApp()
    path = str(folder / "notes.md")
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste(path))
        await pilot.press(*"now")
        assert app.prompt.text == f"{path}now"
        await attach(app.prompt, "src/ask it.py")
        gate.set()
        await until(lambda: path not in app.prompt.text)
        await pilot.press("x")
        blocks = block_of("notes.md", NOTES), block_of("src/ask it.py", "def ask(): ...")
        assert app.prompt.full_text == f"{blocks[0]}\nnow\n{blocks[1]}\nx"


async def test_a_file_that_comes_late_goes_where_it_was_wanted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_chat.ui.widgets.prompt_files.PATIENCE_S", 0.0)
    app = PromptApp()
    gate = threading.Event()

    def find() -> list[Path]:
        gate.wait(20)
        return [Path("notes.md")]

    async with app.run_test() as pilot:
        await pilot.press(*"See", "space")
        app.prompt.files.attach(find)
        await pilot.press(*"now")
        gate.set()
        await until(lambda: "[" in app.prompt.text)
        assert app.prompt.text == "See [notes.md   25 B] now"
        assert app.prompt.cursor_at_end_of_text


async def test_undo_of_many_lines_with_the_cursor_below_goes_well() -> None:
    app = PromptApp()
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("a")
        app.prompt.post_message(events.Paste("\n".join(map(str, range(20)))))
        await pilot.pause()
        await pilot.press("ctrl+underscore")
        assert app.prompt.text == "a"


async def test_words_that_come_back_have_their_chips_again(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        said = f"Compare\n{block_of('notes.md', NOTES)}\nwith " + "x" * (CHIP_FROM_CHARACTERS + 1)
        app.prompt.take_back(said)
        await pilot.pause()
        assert app.prompt.text.startswith("Compare\n[notes.md ")
        assert len(app.prompt.text) < 100
        await pilot.press("enter")
        assert app.sent == [said]


async def test_what_is_refused_comes_back_as_it_was_though_the_file_is_another_by_now(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await attach(app.prompt, "notes.md")
        sent = Prompt.Sent(app.prompt)
        app.prompt.clear_all()
        (folder / "notes.md").write_text(NOTES.upper())
        await attach(app.prompt, "notes.md")
        app.prompt.restore(sent)
        await pilot.pause()
        assert app.prompt.full_text == f"{block_of('notes.md', NOTES)}\n{block_of('notes.md', NOTES.upper())}"
        assert app.prompt.text.count("[notes.md") == 2


async def test_a_click_on_a_chip_asks_to_look_at_it(folder: Path) -> None:
    app = PromptApp()
    async with app.run_test() as pilot:
        await attach(app.prompt, "notes.md")
        await pilot.press("x")
        await pilot.pause()
        await pilot.click(Prompt, offset=(8, 1))
        assert app.looked == 1
        await pilot.click(Prompt, offset=(40, 1))
        assert app.looked == 1


async def test_a_paste_of_a_megabyte_is_taken_at_once(folder: Path) -> None:
    app = PromptApp()
    text = "All work and no play.\n" * 45_000
    async with app.run_test() as pilot:
        app.prompt.post_message(events.Paste(text))
        await pilot.press("x")
        assert app.prompt.text == f"[pasted {len(text):,} characters]x"
        await pilot.press("enter")
        assert app.sent == [f"{text}x"]


# --- how many tokens ------------------------------------------------------------------------------------


class CharacterEngine(FakeEngine):
    """One token a character, two for each piece of the template."""

    def count_tokens(self, pieces: Sequence[Piece]) -> int:
        return 1 + sum(len(piece.text) if isinstance(piece, Text) else 2 for piece in pieces)


def test_slices_end_where_no_token_reaches_over(folder: Path) -> None:
    text = "".join(f"line {n}\n\n  more of it\n" for n in range(1_000))
    at, slices = 0, []
    while at < len(text):
        end = slice_end(text, at)
        slices.append(text[at:end])
        at = end
    assert "".join(slices) == text
    assert max(map(len, slices)) <= SLICE_CHARACTERS
    assert all(part.endswith("\n") and not after[0].isspace() for part, after in pairwise(slices))
    assert slice_end("x" * 10_000, 0) == SLICE_CHARACTERS


def test_the_newest_texts_are_counted_on_another_thread_and_the_short_ones_first() -> None:
    engine, threads, is_told = CharacterEngine(), set(), threading.Event()
    order: list[int] = []

    def ask(function):
        threads.add(threading.current_thread())
        return function(engine)

    def told() -> None:
        order.append(sum(counter.count_of(text) is not None for text in texts))
        if counter.count_of(texts[0]) and counter.overhead_of(""):
            is_told.set()

    texts = ["w" * 20_000, "short"]
    counter = TokenCounter(ask, told)
    counter.want(texts, "")
    assert is_told.wait(10)
    assert [counter.count_of(text) for text in texts] == [20_000, 5]
    assert order[:2] == [1, 2]
    assert threading.current_thread() not in threads
    overhead = counter.overhead_of("")
    assert overhead is not None
    # <bos><|im_start|>"user\n"…<|im_end|>"\n"<|im_start|>"assistant\n"
    assert overhead.first == 1 + 2 + len("user\n") + 2 + len("\n") + 2 + len("assistant\n")
    assert overhead.later == overhead.first - 1 + 2 + len("assistant\n") + 2 + len("\n") - 2 - len(
        "assistant\n"
    )
    counter.forget()
    assert counter.count_of("short") is None


async def test_the_border_says_how_many_tokens_there_are_and_what_is_left(home: Home, folder: Path) -> None:
    engine = CharacterEngine(["Fine."], info=replace(INFO, context_length=400))
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.press(*"hello")
        await user.sees("5 tok ↵")
        await attach(user.screen.prompt, "notes.md")
        block = len(block_of("notes.md", NOTES))
        await user.sees(f"[notes.md {block} tok]", f"{block + 6} tok ↵")
        user.screen.prompt.post_message(events.Paste("x" * 180))
        await user.sees(" tok, 3", "left ↵")
        user.screen.prompt.post_message(events.Paste("y" * 300))
        await user.until(lambda: user.screen.prompt.has_class("-over"), "not marked")
        await user.press("enter")
        await user.sees("tokens, the context holds 400.", "Shorten it")
        assert user.said == []
        assert user.screen.prompt.full_text.endswith("y" * 300)
        user.screen.prompt.clear_all()
        (folder / "long.txt").write_text("word " * 100)
        await attach(user.screen.prompt, "long.txt")
        await user.sees("long.txt has 5", "the context has room for 3", " tok, 3")
        await user.press("enter")
        await user.sees("long.txt alone has 5")
        assert user.said == []
        user.screen.prompt.clear_all()
        await user.until(lambda: "tok ↵" not in user.seen, "the figures stayed")
        await user.until(lambda: "long.txt" not in user.seen, "the warning outlived its cause")
        await user.press(*"/theme")
        await user.press(*" ember")
        assert "tok ↵" not in user.seen


async def test_nothing_is_said_of_tokens_before_there_is_a_model(home: Home, folder: Path) -> None:
    gate = threading.Event()
    async with chat(home.setup(loader=loader_of(CharacterEngine(), gate=gate))) as user:
        await user.press(*"hello")
        await attach(user.screen.prompt, "notes.md")
        await user.sees("[notes.md   25 B]")
        assert "tok ↵" not in user.seen
        gate.set()
        await user.sees("tok ↵", "tok] ")


# --- the chat -------------------------------------------------------------------------------------------


async def test_a_file_goes_along_and_is_kept_as_the_model_saw_it(home: Home, folder: Path) -> None:
    engine = FakeEngine(["It says: ask."])
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.say("/attach notes.md 'src/ask it.py'")
        await user.sees("[notes.md", "[ask it.py")
        await user.say("What is this?")
        await user.idle()
    message = f"{block_of('notes.md', NOTES)}\n{block_of('src/ask it.py', 'def ask(): ...')}\nWhat is this?"
    assert home.stored()[0].path()[0].text == message
    assert message in engine.prompts[0]


async def test_a_file_that_cannot_go_leaves_the_command_to_be_mended(home: Home, folder: Path) -> None:
    async with chat(home.setup()) as user:
        await user.say("/attach notes.md picture.png")
        await user.sees("picture.png is not text")
        assert user.screen.prompt.text == "/attach notes.md picture.png"


async def test_a_name_with_blanks_is_taken_as_it_is_typed_and_as_it_is_completed(
    home: Home, folder: Path
) -> None:
    (folder / "my notes.txt").write_text("mine\n")
    async with chat(home.setup()) as user:
        prompt, completer = user.screen.prompt, user.screen.completer
        for typed in ("/attach my notes.txt", "/attach notes.md my", "/attach my no"):
            await user.press(*typed)
            await user.until(lambda: [offer.name for offer in completer.offers] == ["my notes.txt"])
            await user.press("enter")
            await user.until(lambda: "mine" in prompt.full_text, typed)
            assert ("[notes.md" in prompt.text) == ("notes.md" in typed)
            prompt.clear_all()
        await user.say("/attach my own.txt")
        await user.sees("There is no file my own.txt.")
        assert prompt.text == "/attach my own.txt"


@pytest.mark.parametrize("size", [(80, 24), SMALL])
async def test_a_file_is_chosen_by_typing_its_path(home: Home, folder: Path, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.press("alt+o")
        await user.until(lambda: isinstance(user.app.screen, AttachScreen))
        await user.sees("src/", "notes.md")
        paths = user.app.screen.query_one(PathList)
        await user.press("s")
        await user.until(lambda: paths.shown_ids == ["src/", "notes.md"])
        await user.press("enter")
        await user.until(lambda: paths.shown_ids == ["src/ask it.py"])
        await user.press("tab")
        assert paths.typed == "src/ask it.py"
        await user.until(lambda: paths.shown_ids == ["src/ask it.py"])
        await user.press("enter")
        await user.sees("[ask it.py")
        assert user.screen.prompt.has_focus


async def test_a_chip_is_looked_at_put_into_the_text_and_taken_out(home: Home, folder: Path) -> None:
    async with chat(home.setup()) as user:
        prompt = user.screen.prompt
        await user.press("alt+v")
        await user.sees("There is no file and no long paste in the prompt.")
        await user.press(*"Read", "space")
        await attach(prompt, "notes.md")
        await user.press("alt+v")
        await user.until(lambda: isinstance(user.app.screen, ChipScreen))
        await user.sees("File: notes.md", "- ask the river", "Enter puts it into the text")
        await user.press("enter")
        await user.until(lambda: "- ask the river" in prompt.text)
        assert prompt.text == f"Read \n{block_of('notes.md', NOTES)} "
        await user.press("ctrl+underscore")
        assert prompt.text.startswith("Read [notes.md")
        await user.press("alt+v")
        await user.until(lambda: isinstance(user.app.screen, ChipScreen))
        await user.press("delete")
        await user.until(lambda: prompt.text == "Read  ")


async def test_a_file_is_folded_in_the_transcript_and_unfolds_by_a_click_or_a_key(
    home: Home, folder: Path
) -> None:
    async with chat(home.setup(FakeEngine(["Fine."]))) as user:
        await user.ready()
        await user.press(*"Read", "space")
        await attach(user.screen.prompt, "notes.md")
        await user.press(*"now", "enter")
        await user.idle()
        await user.sees("▸ notes.md · 3 lines · 24 B", "Read notes.md now")
        assert "ask the river" not in user.seen
        row = next(n for n, line in enumerate(user.seen.splitlines()) if "▸ notes.md" in line)
        await user.pilot.click(offset=(8, row))
        await user.sees("▾ notes.md", "┊ - ask the river")
        await user.press("alt+up", "alt+up")
        user.screen.transcript.focus()
        await user.press("space")
        await user.sees("▸ notes.md")
        assert "ask the river" not in user.seen
        assert user.said[0][1] == f"Read\n{block_of('notes.md', NOTES)}\nnow"
    assert home.titles() == ["Read notes.md now"]


def test_the_plain_chat_takes_files_along_and_does_not_read_them_out(
    home: Home, folder: Path, capsys
) -> None:
    engine = FakeEngine(["It asks."])
    lines = ("/attach nowhere.md", "/attach notes.md 'src/ask it.py'", "What is this?", "/attach", "/show")
    assert PlainChat(home.setup(engine), Typed(*lines), is_talk=True).run()
    out, err = capsys.readouterr()
    assert "There is no file nowhere.md." in err
    assert "src/ask it.py goes along with what you say next: 15 B, " in err
    assert "No file goes along" in err
    assert "you: [notes.md, 24 B]\n[src/ask it.py, 14 B]\nWhat is this?" in out
    blocks = block_of("notes.md", NOTES) + "\n" + block_of("src/ask it.py", "def ask(): ...")
    assert f"{blocks}\nWhat is this?" in engine.prompts[0]


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals there")
def test_a_file_dropped_on_a_real_terminal_is_a_chip_with_its_tokens(folder: Path, tmp_path: Path) -> None:
    tests = Path(__file__).parent
    environment = {
        "LLAMA_CHAT_HOME": str(tmp_path / "home"),
        "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}",
    }
    program = str(tests / "fake_chat.py")
    with Terminal(program, command=sys.executable, environment=environment, size=(200, 30)) as terminal:
        terminal.wait_for("ready")
        terminal.send(f"\x1b[200~'{folder / 'src' / 'ask it.py'}' \x1b[201~")
        terminal.wait_for(r"\[ask it\.py +\d+ tok\]")
        terminal.wait_for(r"\d+ tok ↵")
        terminal.send("\x1f")
        terminal.wait_for("papers/src/ask it.py' ")
