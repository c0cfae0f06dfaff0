"""Copying and saving: messages, code blocks, the chat; what is known of the clipboard."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from fake_engine import STORY, FakeEngine
from rich.cells import cell_len
from test_chat_app import WIDE, Home, User, chat

from llama_chat.chat.code_files import free_path, proposed_name, write_code
from llama_chat.errors import StoreError
from llama_chat.markup.code_blocks import CodeBlock, code_blocks
from llama_chat.ui.clipboard import OSC52_MOST_BYTES, Tool, Ways, terminal_sequence, ways_to_copy
from llama_chat.ui.copying import Copier, run_tool
from llama_chat.ui.screens.save_code import SaveCodeScreen

TWO_BLOCKS = "One:\n\n```python\nprint('one')\n```\n\n- two:\n\n  ~~~sh\n  echo two\n  ~~~\n\nOver."
CODE = 'def ask(river: River) -> str:\n    return river.answer("Why?")'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def says(user: User, words: str) -> None:
    await user.until(lambda: words in user.screen._hint_line.text, f"{words!r} was not said")


async def test_keys_copy_the_stored_text_and_the_line_says_what_is_known(home: Home) -> None:
    text = "A  *tab*\there,\nтекст 日本 \x1b[31mred  \n"
    async with chat(home.setup(FakeEngine([STORY, text]))) as user:
        await user.press("alt+c")
        await says(user, "nothing to copy")
        await user.say("a story")
        await user.idle()
        await user.press("alt+1")
        await says(user, f"Code block 1: sent {len(CODE)} characters to the terminal's clipboard (OSC 52);")
        assert user.app.clipboard == CODE
        await user.press("alt+2")
        await says(user, "There is no code block 2: only one.")
        await user.say("and more")
        await user.idle()
        await user.press("alt+c")
        await user.until(lambda: user.app.clipboard == text)
        await says(user, "The reply: sent")
        await user.say("/copy 1")  # of the last reply that has one
        await user.until(lambda: user.app.clipboard == CODE)
        await user.press("alt+a")
        await user.until(lambda: "> a story\n" in user.app.clipboard)
        assert "> def ask(river: River) -> str:" in user.app.clipboard
        await user.say("/copy nonsense")
        await says(user, "/copy takes the number of a code block, or all.")


async def test_a_code_block_is_saved_under_the_name_that_it_gives_itself(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with chat(home.setup(FakeEngine([TWO_BLOCKS]))) as user:
        await user.say("code")
        await user.idle()
        await user.press("alt+s")
        await user.sees("Save code block 2 of 2", "echo two", "code.sh")
        await user.press("up")
        await user.sees("Save code block 1 of 2", "print('one')", "code.py")
        await user.press("enter")
        await says(user, f"Saved to {tmp_path / 'code.py'}")
        assert (tmp_path / "code.py").read_bytes() == b"print('one')\n"
        await user.press("alt+s", "up")
        await user.sees("code-2.py")
        await user.until(lambda: isinstance(user.app.screen, SaveCodeScreen))
        await user.press("ctrl+u", *"code.py", "enter")
        await user.sees("code.py is there already. Enter saves as code-2.py.")
        await user.press("enter")
        await says(user, f"Saved to {tmp_path / 'code-2.py'}")
        await user.say("/code 2 code.py")
        await says(user, "code.py is there already.")
        assert (tmp_path / "code.py").read_bytes() == b"print('one')\n"
        await user.say("/code 2 run me.sh")
        await says(user, "Saved to")
    assert (tmp_path / "run me.sh").read_bytes() == b"echo two\n"


# --- the ways to a clipboard --------------------------------------------------------------------------------

X11 = {"TERM": "xterm-256color", "DISPLAY": ":0"}
SSH = {"TERM": "xterm-256color", "SSH_CONNECTION": "10.0.0.1 22"}


@pytest.mark.parametrize(
    ("environment", "platform", "tools", "terminal", "is_watched_elsewhere"),
    [
        (X11, "linux", ["xclip", "xsel"], "plain", False),
        (X11 | {"WAYLAND_DISPLAY": "wayland-0"}, "linux", ["wl-copy", "xclip", "xsel"], "plain", False),
        (X11 | {"TMUX": "/tmp/x,1,0", "TERM": "screen"}, "linux", ["xclip", "xsel"], "tmux", True),
        ({"TERM": "xterm-kitty"}, "darwin", ["pbcopy"], "plain", False),
        (SSH, "darwin", [], "plain", False),
        (X11 | {"WSL_DISTRO_NAME": "Ubuntu"}, "linux", ["powershell.exe"], "plain", False),
        ({}, "win32", ["powershell.exe"], "none", False),
        (SSH | X11, "linux", [], "plain", False),
        (SSH | {"DISPLAY": "localhost:10.0"}, "linux", ["xclip", "xsel"], "plain", False),
        (SSH | {"TMUX": "/tmp/x,1,0", "TERM": "tmux-256color"}, "linux", [], "tmux", True),
        (SSH | {"STY": "12.pts", "TERM": "screen"}, "linux", [], "screen", True),
        (
            {"TERM": "xterm-256color", "TERMUX_VERSION": "1"},
            "linux",
            ["termux-clipboard-set"],
            "plain",
            False,
        ),
        ({"TERM": "dumb"}, "linux", [], "none", False),
        ({"TERM": "linux"}, "linux", [], "none", False),
        ({"TERM": "xterm"}, "linux", [], "plain", False),
    ],
)
def test_the_environment_tells_which_ways_there_are(
    environment: dict[str, str], platform: str, tools: list[str], terminal: str, is_watched_elsewhere: bool
) -> None:
    ways = ways_to_copy(environment, platform, lambda name: True)
    assert [tool.name for tool in ways.tools] == tools
    assert (ways.terminal, ways.is_watched_elsewhere) == (terminal, is_watched_elsewhere)
    assert ways_to_copy(environment, platform, lambda name: False).tools == ()


def unwrapped(sequence: str) -> bytes:
    """What a terminal takes: GNU screen hands the strings on, one behind the other."""
    assert sequence.isascii()
    bare = sequence.replace("\x1bP", "").replace("\x1b\\", "")
    assert bare.startswith("\x1b]52;c;")
    assert bare.endswith("\x07")
    return base64.b64decode(bare[len("\x1b]52;c;") : -1], validate=True)


def test_the_terminal_gets_base64_in_the_form_that_it_understands() -> None:
    text = "日本\x1b]52;c;evil\x07" * 200
    assert unwrapped(terminal_sequence(text, "plain")) == text.encode()
    in_screen = terminal_sequence(text, "screen")
    assert unwrapped(in_screen) == text.encode()
    assert max(map(len, in_screen.split("\x1b\\"))) < 768
    in_tmux = terminal_sequence(text, "tmux")
    plain, _, passed = in_tmux.partition("\x1bPtmux;\x1b")
    assert plain == terminal_sequence(text, "plain")
    assert passed == plain + "\x1b\\"
    assert terminal_sequence(text, "none") == ""
    assert terminal_sequence("\ud800", "plain")  # half of a pair


def test_a_program_that_hangs_or_fails_or_stays_is_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    script = f"cat > {target}; sleep 30 & exit 0"  # as xclip does: the part that stays holds the clipboard
    assert run_tool(Tool("sh", ("-c", script), 5.0), b"words") == ""
    assert target.read_bytes() == b"words"
    assert run_tool(Tool("sh", ("-c", "sleep 30"), 0.05), b"x" * 1_000_000) == "sh gave no answer"
    assert run_tool(Tool("sh", ("-c", "exit 3")), b"words") == "sh failed"
    assert "could not be started" in run_tool(Tool("no-such-program"), b"words")


async def test_what_nothing_takes_is_saved_and_each_way_is_told_as_it_is(tmp_path: Path) -> None:
    written: list[str] = []
    file = tmp_path / "cache" / "copied.txt"
    xclip, xsel = Tool("xclip"), Tool("xsel")

    def only(*names: str):  # type: ignore[no-untyped-def]
        return lambda tool, data: "" if tool.name in names else f"{tool.name} failed"

    def copier(ways: Ways, *working: str) -> Copier:
        written.clear()
        return Copier(ways, written.append, file, only(*working))

    local = Ways((xclip, xsel), "plain")
    assert await copier(local, "xclip").copy("abc", "The reply") == "The reply: copied 3 characters (xclip)."
    assert not written
    assert "(xsel)" in await copier(local, "xsel").copy("abc")
    words = await copier(local).copy("abc")
    assert words.startswith("Sent 3 characters to the terminal's clipboard (OSC 52); whether it took them")
    assert "xclip failed; xsel failed." in words
    assert written == [terminal_sequence("abc", "plain")]
    both = Ways((xclip,), "tmux", is_watched_elsewhere=True)
    assert "(xclip)" in await copier(both, "xclip").copy("abc")
    assert written == [terminal_sequence("abc", "tmux")]
    assert "into tmux" in await copier(Ways((), "tmux", True), "tmux").copy("abc")
    assert not written
    long = "x" * (OSC52_MOST_BYTES + 1)
    words = await copier(Ways((), "plain")).copy(long, "The chat")
    assert "too long for the terminal's clipboard (74,995 characters)" in words
    assert str(file) in words
    assert file.read_text() == long
    assert not written
    assert "No clipboard here" in await copier(Ways()).copy("y")
    assert file.read_text() == "y"


# --- code ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("no code, `only` a span", []),
        ("```py\na\n```\n~~~\nb\n~~~", ["a\n", "b\n"]),
        ("open:\n```py\na\n  b", ["a\n  b"]),
        ("text\n\n    indented\n\n    more\n\nend", ["indented\n\nmore\n"]),
        ("1. one\n\n   ```\n   in a list\n   ```\n\n> ~~~\n> quoted\n> ~~~", ["in a list\n", "quoted\n"]),
        ("````md\n```\ninner\n```\n````", ["```\ninner\n```\n"]),
        ("```\r\na\r\n```\r\nend", ["a\n"]),
        ("<think>\n```\nthought\n```\n</think>\n```\nsaid\n```", ["said\n"]),
        ("<think>\n```\nthought\n```\n</think>\nonly words", ["thought\n"]),
    ],
)
def test_code_blocks_are_those_that_are_drawn(text: str, codes: list[str]) -> None:
    assert [block.code for block in code_blocks(text)] == codes


@pytest.mark.parametrize(
    ("info", "code", "name"),
    [
        ("", "x\n", "code.txt"),
        ("python", "x\n", "code.py"),
        ('python title="app/main.py"', "x\n", "main.py"),
        ("rust:src/lib.rs", "x\n", "lib.rs"),
        ("main.go", "x\n", "main.go"),
        ("js", "// src/app.test.js\nx\n", "app.test.js"),
        ("sh", "#!/bin/sh\nx\n", "code.sh"),
        ("dockerfile", "FROM x\n", "Dockerfile"),
        ("text file=../../.ssh/authorized_keys", "x\n", "authorized_keys"),
        ("text file=~/.bashrc", "x\n", "bashrc"),
        ("text file=con.txt", "x\n", "code-con.txt"),
        ("text file=..", "x\n", "code.txt"),
        ("text file=a\x1b]0;b\x07\u202egpj.exe", "x\n", "a-0-b-gpj.exe"),
        (f"text file={'n' * 300}.py", "x\n", "n" * 80),
    ],
)
def test_a_proposed_name_is_safe_in_any_folder(info: str, code: str, name: str) -> None:
    assert proposed_name(CodeBlock(code, info)) == name


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    block = CodeBlock("new\n")
    path = tmp_path / "a.tar.gz"
    write_code(path, block)
    with pytest.raises(StoreError, match="is there already"):
        write_code(path, CodeBlock("other\n"))
    assert path.read_bytes() == b"new\n"
    assert free_path(path).name == "a.tar-2.gz"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is there already"):
        write_code(tmp_path / "link", block)
    with pytest.raises(StoreError, match="cannot be written"):
        write_code(tmp_path / "no folder" / "a", block)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar.gz", "link"]


# --- in the transcript --------------------------------------------------------------------------------------


async def test_letters_of_the_transcript_copy_the_chosen_message_and_its_code(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TWO_BLOCKS, STORY]))) as user:
        for words in ("first", "second"):
            await user.say(words)
            await user.idle()
        user.screen.transcript.focus()
        await user.press("up", "up", "up")
        await user.until(lambda: (chosen := user.screen.chosen_message()) and chosen.text == TWO_BLOCKS)
        await user.press("2")
        await user.until(lambda: user.app.clipboard == "echo two")
        await user.press("c", "enter")
        await user.until(lambda: user.app.clipboard == TWO_BLOCKS)


async def test_a_drag_selects_over_messages_wide_characters_and_code(home: Home) -> None:
    text = "日本語のテキスト " * 12 + "\n\n```py\nx = '漢字'\n```\n\nend"
    async with chat(home.setup(FakeEngine([text])), WIDE) as user:
        await user.say("first words")
        await user.sees("end")
        await user.idle()
        transcript = user.screen.transcript

        def place(words: str, *, is_end: bool = False) -> tuple[int, int]:
            """The cell of the transcript where the words begin, or the last cell of them."""
            for y in range(transcript.size.height):
                line = transcript.render_line(y).text
                if words in line:
                    x = cell_len(line[: line.index(words)])
                    return x + (cell_len(words) - 1 if is_end else 0), y
            raise AssertionError(f"{words} is not there")

        async def drag(start: str, end: str) -> str:
            await user.pilot.mouse_down(transcript, offset=place(start))
            await user.pilot.hover(transcript, offset=place(end, is_end=True))
            await user.pilot.mouse_up(transcript, offset=place(end, is_end=True))
            await user.until(user.screen.get_selected_text, "nothing is selected")
            return user.screen.get_selected_text() or ""

        selected = await drag("words", "end")
        assert selected == f"words\n{selected.splitlines()[1]}\n" + selected.split("\n", 2)[2]
        assert "日本語のテキスト " * 11 + "日本語のテキスト" in selected
        assert "x = '漢字'" in selected
        assert "▍" not in selected
        assert selected.endswith("end")
        await user.press("ctrl+c")
        await user.until(lambda: user.app.clipboard == selected)
        assert not user.screen.get_selected_text()
