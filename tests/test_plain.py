"""`llama-chat --plain`: line by line, out of a pipe, typed, and on a real terminal."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
from fake_engine import INFO, FakeEngine, loader_of
from test_contracts import modules_after

from llama_chat.chat import notices
from llama_chat.chat.keys import COMMANDS
from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.plain import PlainChat, run_plain_chat
from llama_chat.cli.plain_commands import PLAIN_COMMANDS
from llama_chat.cli.plain_input import LineReader
from llama_chat.cli.plain_view import PlainView
from llama_chat.cli.plain_words import without_keys
from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.errors import Interrupted, ModelError
from llama_chat.events import Sampling
from llama_chat.paths import user_paths
from llama_chat.pull_progress import PullProgress
from llama_chat.sessions import SessionStore
from llama_chat.settings import ChatSettings, Settings
from llama_chat.shelves.to_load import ModelToLoad

FAKE = [sys.executable, str(Path(__file__).with_name("fake_plain.py"))]
TIMEOUT_S = 30
NAME = "SmolLM2-135M-Instruct: "


@pytest.fixture
def setup_of(home: Path) -> Callable[..., ChatSetup]:
    def build(engine: FakeEngine, **changes: object) -> ChatSetup:
        setup = ChatSetup(
            settings=Settings(),
            notices=(),
            paths=user_paths(),
            loader=loader_of(engine),
            model_label="SmolLM2-135M-Instruct.Q4_1",
            pull=None,
            save_setting=lambda table, key, value: None,
        )
        return replace(setup, **changes)

    return build


class Typed(LineReader):
    """Lines as if they were typed, on a terminal that lets them be edited."""

    def __init__(self, *lines: str) -> None:
        super().__init__(io.StringIO("".join(f"{line}\n" for line in lines)), is_edited=False)
        self.is_terminal = True
        self.is_edited = False
        self.offered: list[str] = []

    def can_show(self, words: str) -> bool:
        return self.is_edited

    def read(self, prompt: str, words: str = "") -> str:
        self.offered.append(words)
        return super().read("", words)


@pytest.fixture
def typed(
    setup_of: Callable[..., ChatSetup], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """What a talk prints to stdout and to stderr."""

    def talk(*lines: str, engine: FakeEngine, **changes: object) -> tuple[str, str]:
        assert PlainChat(setup_of(engine, **changes), Typed(*lines), is_talk=True).run()
        done = capsys.readouterr()
        return done.out, done.err

    return talk


@pytest.fixture
def piped(
    setup_of: Callable[..., ChatSetup],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[int, str, str]]:
    """The exit status, and what a pipe brings to stdout and to stderr."""

    def chat(lines: str, *, engine: FakeEngine, **changes: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        status = run_plain_chat(setup_of(engine, **changes))
        return status, *capsys.readouterr()

    return chat


def stored(index: int = 0) -> Conversation:
    """The session that was written so many sessions before the last one."""
    store = SessionStore(user_paths().sessions_file)
    store.open()
    try:
        return store.load(store.list()[index].id)
    finally:
        store.close()


def path_texts(index: int = 0) -> list[str]:
    return [message.text for message in stored(index).path()]


# --- a pipe -------------------------------------------------------------------------------------------


def test_of_a_pipe_each_line_is_a_turn_and_only_the_replies_come_out(piped):
    engine = FakeEngine(["One.", "Two\nlines.", "Three.", "Four."])
    lines = 'Hello\n\nThis goes \\\non.\n"""\nfirst\n\nsecond\n"""\nlast'
    assert piped(lines, engine=engine) == (0, "One.\nTwo\nlines.\nThree.\nFour.\n", "")
    assert path_texts()[::2] == ["Hello", "This goes \non.", "first\n\nsecond", "last"]
    assert path_texts()[1::2] == ["One.", "Two\nlines.", "Three.", "Four."]


def test_a_command_that_fails_is_told_at_the_end_and_the_rest_goes_on(piped):
    status, out, err = piped("/nosuch\nHello\n", engine=FakeEngine(["Hi."]))
    assert (status, out) == (1, "Hi.\n")
    assert "There is no command /nosuch. /help lists them." in err


def test_a_reply_that_breaks_off_keeps_its_text_and_fails(piped):
    status, out, err = piped("Hello\n", engine=FakeEngine(["one two three four"], fail_after=2))
    assert (status, out) == (1, "one two \n")
    assert "The engine broke." in err
    assert path_texts()[-1] == "one two "


def test_without_a_model_no_line_is_read(piped):
    engine = FakeEngine(["Hi."])
    status, out, err = piped(
        "Hello\n", engine=engine, loader=loader_of(engine, errors=[ModelError("It is broken.")])
    )
    assert (status, out, err) == (1, "", "It is broken.\n")


def test_what_the_model_says_cannot_command_the_terminal(piped):
    _, out, err = piped("Hello\n/sessions\n", engine=FakeEngine(["\x1b[2J \x9b31m \u202eabc \r\n"]))
    assert out == "␛[2J \ufffd31m \ufffdabc \n"
    assert "\x1b" not in err


def test_the_model_is_fetched_with_lines_of_progress(piped):
    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        for done in range(0, 101, 10):
            report(PullProgress(done * 10**6, 10**8, done / 10, "Fetching the model"))

    status, out, err = piped("Hello\n", engine=FakeEngine(["Hi."]), pull=pull)
    assert (status, out) == (0, "Hi.\n")
    assert err.splitlines()[:2] == ["Fetching the model…", "  10 % of 100.0 MB"]
    assert "\r" not in err


def test_what_a_script_sets_is_not_kept(piped):
    saved: list[object] = []
    engine = FakeEngine([None])
    piped(
        "/set max_new_tokens 3\nHello\n/continue\n",
        engine=engine,
        save_setting=lambda *setting: saved.append(setting),
    )
    assert saved == []
    assert path_texts()[-1] == "word0 word1 word2 word3 word4 word5 "


def test_a_preset_of_a_script_is_there_until_its_end(piped):
    engine = FakeEngine([None])
    _, _, err = piped(
        "/set max_new_tokens 3\n/preset save mine\n/set max_new_tokens 9\n/preset mine\nHello\n",
        engine=engine,
    )
    assert "The preset mine is there until the end of this chat." in err
    assert path_texts()[-1] == "word0 word1 word2 "
    assert not user_paths().settings_file.exists()


def test_another_model_goes_on_without_a_question(piped):
    assert piped("Hello\n", engine=FakeEngine(["Hi."]))[0] == 0
    other = FakeEngine(["Hi again."], info=replace(INFO, name="Other", fingerprint="other"))
    status, out, err = piped("And now?\n", engine=other, continue_last=True)
    assert (status, out) == (0, "Hi again.\n")
    assert "replies now come from Other" in err
    assert path_texts() == ["Hello", "Hi.", "And now?", "Hi again."]


# --- typed --------------------------------------------------------------------------------------------


def test_a_talk_has_the_names_of_the_speakers_once_a_turn(typed):
    out, err = typed("Hello", "More", engine=FakeEngine(["One two\nthree.", "Four."]))
    assert out == f"{NAME}One two\nthree.\n{NAME}Four.\n"
    assert "goes on with this chat" in err


def test_branches_are_made_and_walked_through(typed):
    engine = FakeEngine(["First.", "Second.", "Third."])
    out, err = typed(
        *("Hello", "/again", "/previous", "/previous", "/next", "/edit Goodbye", "/undo", "/redo"),
        engine=engine,
    )
    assert out.replace(NAME, "").splitlines() == ["First.", "Second.", "First.", "Second.", "Third."]
    assert "Branch 1 of 2:" in err
    assert "This is the first of 2 branches." in err
    assert "Back: before your edit of “Hello”. Nothing is deleted: /redo goes forward again." in err
    assert f"The chat now ends with {NAME}Second." in err
    conversation = stored()
    assert [message.text for message in conversation.path()] == ["Goodbye", "Third."]
    assert len(conversation.messages) == 5


def test_an_edit_without_words_takes_the_next_ones(typed):
    out, err = typed("Hello", "/edit", "Goodbye", engine=FakeEngine(["One.", "Two."]))
    assert out == f"{NAME}One.\n{NAME}Two.\n"
    assert "What you say next takes the place of: you: Hello" in err
    assert path_texts() == ["Goodbye", "Two."]


def test_a_reply_that_was_cut_goes_on(typed):
    settings = Settings(sampling=Sampling(max_new_tokens=2))
    out, err = typed("Hello", "/continue", engine=FakeEngine(["one two three."]), settings=settings)
    assert out == f"{NAME}one two \n{NAME}three.\n"
    assert "Cut. 2 tokens kept; /continue goes on from there." in err
    assert path_texts()[-1] == "one two three."


def test_sessions_are_listed_found_opened_named_and_exported(typed, tmp_path):
    typed("The fox", "/rename About foxes", engine=FakeEngine(["A fox is red."]))
    typed("The whale", engine=FakeEngine(["A whale is blue."]))
    target = tmp_path / "fox.md"
    out, err = typed(
        *("/sessions", "/search red", "/resume 1", "And now?", f"/export {target}", "/show"),
        *("/load no such", "/save", "/load fox"),
        engine=FakeEngine(["Still red."]),
    )
    assert re.search(r"1\. [0-9a-f]{8} “The whale”, 2 messages, ", err)
    assert re.search(r"2\. [0-9a-f]{8} “About foxes”, 2 messages, ", err)
    assert "1. “About foxes”, model: A fox is red." in err
    assert "No session has these words in its title." in err
    assert "It is kept already, as “About foxes”." in err
    assert re.search(r"as “About foxes”[^“]*\n1\. [0-9a-f]{8} “About foxes”[^“]*\Z", err)
    talk = f"you: The fox\n{NAME}A fox is red.\n"
    assert out == f"{talk}{NAME}Still red.\n{talk}you: And now?\n{NAME}Still red.\n"
    assert path_texts() == ["The fox", "A fox is red.", "And now?", "Still red."]
    assert "Still red." in target.read_text()


def test_a_session_is_resumed_by_its_id_and_a_wrong_one_is_named(typed):
    typed("Hello", engine=FakeEngine(["Hi."]))
    store = SessionStore(user_paths().sessions_file)
    store.open()
    session_id = store.list()[0].id
    store.close()
    out, err = typed(f"/resume {session_id[:6]}", "/resume zz", "More", engine=FakeEngine(["Yes."]))
    assert out == f"you: Hello\n{NAME}Hi.\n{NAME}Yes.\n"
    assert "No session begins with 'zz'. /sessions in the chat lists them" in err
    assert len(path_texts()) == 4


def test_of_a_long_session_only_the_last_exchange_is_read_out(typed):
    typed(*"abc", engine=FakeEngine(["1.", "2.", "3."]))
    out, err = typed(engine=FakeEngine(), continue_last=True)
    assert out == f"you: c\n{NAME}3.\n"
    assert "4 earlier messages; /show prints them all." in err


def test_the_system_prompt_the_sampling_and_the_seed_count_from_the_next_reply(typed):
    engine = FakeEngine(["One.", "Two."])
    saved: list[object] = []
    out, err = typed(
        *("Hello", "/system Be brief.", "/system", "/set temperature 0.3", "/set top_k", "/set", "/seed 7"),
        *("More", "/seed fresh", "/seed x", "/system -", "/set temperature 99"),
        engine=engine,
        save_setting=lambda *setting: saved.append(setting),
    )
    assert out == f"{NAME}One.\n{NAME}Two.\n"
    assert "system\nBe brief." in engine.prompts[1]
    assert engine.samplings[-1].temperature == 0.3
    assert saved == [("sampling", "temperature", 0.3), ("chat", "seed", 7), ("chat", "seed", -1)]
    for words in (
        "The system prompt is: Be brief.",
        "top_k is 40.",
        "The seed is locked: 7 for every reply.",
        "Every reply has a fresh seed.",
        "seed: 'x' is not a whole number.",
        "temperature: '99' is outside 0 to 10.",
    ):
        assert words in err
    seeds = [message.reply.seed for message in stored().messages.values() if message.text == "Two."]
    assert 7 in seeds


def test_a_new_chat_leaves_the_one_before_as_it_is(typed):
    out, _ = typed("Hello", "/new", "Fresh", engine=FakeEngine(["One.", "Two."]))
    assert out == f"{NAME}One.\n{NAME}Two.\n"
    assert (path_texts(0), path_texts(1)) == (["Fresh", "Two."], ["Hello", "One."])


def test_lines_of_a_paste_are_one_turn_and_the_model_is_named(typed):
    _, err = typed("/model", "/paste", "one", "/quit", "two", "/end", "/model", engine=FakeEngine(["Hi."]))
    assert path_texts()[0] == "one\n/quit\ntwo"
    assert "SmolLM2-135M-Instruct, Q4_1, on cpu, scratch engine, context 8,192 tokens." in err


def test_a_model_that_could_not_be_loaded_is_loaded_again(typed):
    engine = FakeEngine(["Hi."])
    loader = loader_of(engine, errors=[ModelError("It is broken.")])

    def pull(report: object, cancel: object) -> None:
        """What is fetched is waited for before the first line."""

    out, err = typed("/model", "/reload", "Hello", engine=engine, loader=loader, pull=pull)
    assert out == f"{NAME}Hi.\n"
    assert err.count("It is broken.") == 1
    assert "SmolLM2-135M-Instruct could not be loaded; /reload tries again." in err
    assert "SmolLM2-135M-Instruct is loaded." in err


def test_another_model_goes_on_with_the_conversation(typed):
    other = FakeEngine(["Hi from the other."], info=replace(INFO, name="Other", fingerprint="other"))
    out, err = typed(
        *("Hello", "/model Other", "And you?"),
        engine=FakeEngine(["Hi."]),
        open_model=lambda name: ModelToLoad(name, loader_of(other)),
    )
    assert out == f"{NAME}Hi.\nOther: Hi from the other.\n"
    assert "Other answers from here on." in err
    assert "Hi." in other.prompts[0]


def test_words_that_were_not_taken_stand_in_the_next_line(setup_of, capsys):
    typed_lines = Typed("too long " * 9000, "short")
    typed_lines.is_edited = True
    assert PlainChat(setup_of(FakeEngine(["Hi."])), typed_lines, is_talk=True).run()
    assert typed_lines.offered[1].startswith("too long")
    assert "the context holds 8,192" in capsys.readouterr().err
    assert path_texts() == ["short", "Hi."]


def test_every_command_of_the_chat_is_here_or_points_to_the_screen(typed):
    others = {name for name, key in COMMANDS.items() if not {name, key.command} & PLAIN_COMMANDS.keys()}
    _, err = typed("/help", *others, "/clear", "/?", engine=FakeEngine())
    assert "A new chat begins" in err
    for word in PLAIN_COMMANDS:
        assert re.search(rf"^{word}\b.*: [A-Z]", err, re.MULTILINE)
    for word in others:
        assert f"{word} needs the screen." in err


def test_no_sentence_names_a_key_that_is_not_there(typed):
    sentences = [value for name, value in vars(notices).items() if name.isupper() and isinstance(value, str)]
    _, err = typed("/help", engine=FakeEngine())
    for text in [*map(without_keys, sentences), err]:
        assert not re.search(r"Ctrl\+[^CD]|Alt\+|Esc\b|\bF\d", text), text


def test_a_character_that_was_cut_is_not_printed_twice(capsys):
    view = PlainView(is_talk=True, model_name=lambda: "Model")
    reply = Reply(7, Sampling(), "Model", token_ids=(1, 2))
    message = Message("b", "a", Role.ASSISTANT, "caf\ufffd", 0.0, reply)
    view.replace_message(message)  # as it was cut
    view.notice("Something else.")
    view.replace_message(replace(message, text="café an"))
    view.append_text("b", "d tea")
    view.notice("Not yet.")
    view.replace_message(replace(message, text="café and tea", reply=replace(reply, finish_reason="end")))
    done = capsys.readouterr()
    assert done.out == "Model: é and tea\n"
    assert done.err == "Something else.\nNot yet.\n"


def test_a_reply_that_was_cut_off_says_so_when_it_is_read_out(capsys):
    view = PlainView(is_talk=True, model_name=lambda: "Model")
    reply = Reply(7, Sampling(), "Model", finish_reason="interrupted", token_ids=(1, 2))
    view.show_path([Message("b", "a", Role.ASSISTANT, "A fox and", 0.0, reply)])
    done = capsys.readouterr()
    assert (done.out, done.err) == ("Model: A fox and\n", "Interrupted. 2 tokens kept. /continue goes on.\n")


# --- interrupted --------------------------------------------------------------------------------------


def test_ctrl_c_stops_the_reply_of_a_script_and_ends_it(setup_of, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\nMore\n"))
    engine = FakeEngine([None])
    seen = threading.Event()
    engine.pace.wait = lambda cancel: press_once(engine, seen)  # type: ignore[method-assign]  # a pace of its own
    with pytest.raises(Interrupted):
        run_plain_chat(setup_of(engine, settings=Settings(sampling=Sampling(max_new_tokens=1000))))
    assert len(engine.prompts) == 1
    out = capsys.readouterr().out
    reply = stored().path()[-1]
    assert reply.text == out.rstrip("\n")
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


def press_once(engine: FakeEngine, seen: threading.Event) -> None:
    """Ctrl+C once, when 20 tokens have come."""
    if len(engine.samplings) == 20 and not seen.is_set():
        seen.set()
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def terminal(home: Path) -> Iterator[Callable[..., pexpect.spawn[str]]]:
    """The program on a terminal of its own."""
    children: list[pexpect.spawn[str]] = []

    def start(*answer: str, term: str = "xterm-256color") -> pexpect.spawn[str]:
        child = pexpect.spawn(
            FAKE[0],
            [*FAKE[1:], *answer],
            env={**os.environ, "TERM": term, "INPUTRC": os.devnull},
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_ctrl_c_stops_clears_and_twice_ends(terminal):
    child = terminal(term="dumb")
    said = io.StringIO()
    child.logfile_read = said
    child.expect("you: ")
    child.send("Hello\r")
    child.expect("word20 ")
    child.sendintr()
    child.expect(r"Stopped\. \d+ tokens kept; /continue goes on from there\.")
    child.expect("you: ")
    child.send("never sent")
    child.expect("never sent")
    child.sendintr()
    child.expect("Ctrl.C again")
    child.expect("you: ")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert "goes on with this chat" in said.getvalue()
    assert "\x1b" not in said.getvalue()
    assert [message.role for message in stored().path()] == [Role.USER, Role.ASSISTANT]
    assert path_texts()[1].startswith("word0 word1 ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_last_words_can_be_edited_in_the_line_and_ctrl_d_ends(terminal):
    pytest.importorskip("readline")
    child = terminal("Hi there.")
    child.expect("you: ")
    child.send("Hello\r")
    child.expect("Hi there")
    child.expect("you: ")
    child.send("/edit\r")
    child.expect("you: Hello")
    child.send(" again\r")
    child.expect("Hi there")
    child.expect("you: ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert path_texts() == ["Hello again", "Hi there."]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_that_was_printed_is_lost(home, number):
    process = subprocess.Popen(FAKE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("Hello\n")
    process.stdin.flush()
    out = process.stdout.read(300)
    process.send_signal(number)
    out += process.stdout.read()
    status = process.wait(TIMEOUT_S)
    reply = stored().path()[-1]
    assert reply.reply is not None
    assert reply.text.startswith(out.rstrip("\n"))
    if number == signal.SIGTERM:
        assert (status, reply.reply.finish_reason) == (130, "stopped")
    else:
        assert (status, reply.reply.finish_reason) == (-signal.SIGKILL, "interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_reader_that_goes_away_is_no_error(home):
    command = f"yes Hello | {shlex.join(FAKE)} | head -c 100; echo status ${{PIPESTATUS[1]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout.endswith("status 0\n")
    assert "Traceback" not in done.stderr
    assert stored().path()[-1].text.startswith("word0 word1 ")


# --- the command --------------------------------------------------------------------------------------


def test_the_command_chats_with_the_real_model(home_with_model):
    done = subprocess.run(
        [sys.executable, "-m", "llama_chat", "--plain", "--temperature", "0", "--max-new-tokens", "8"],
        input="What is two plus two?\nAnd three?\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    texts = path_texts()
    assert texts[::2] == ["What is two plus two?", "And three?"]
    assert texts[1].startswith("Two plus two")
    assert done.stdout == f"{texts[1]}\n{texts[3]}\n"


def test_only_the_chat_takes_the_option(home):
    done = subprocess.run(
        [sys.executable, "-m", "llama_chat", "--plain", "run", "Hello"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "'llama-chat run' takes no --plain." in done.stderr


def test_nothing_of_the_screen_is_imported():
    loaded = modules_after("import llama_chat.cli.plain")
    assert not loaded & {"textual", "rich", "markdown_it", "pygments", "torch", "numpy"}


def test_the_settings_of_the_chat_count(typed):
    engine = FakeEngine(["One."])
    typed("Hello", engine=engine, settings=Settings(chat=ChatSettings(system="Be kind.", seed=5)))
    assert "Be kind." in engine.prompts[0]
    assert stored().path()[-1].reply.seed == 5


# --- code and the context -----------------------------------------------------------------------------------


def test_code_is_saved_and_the_context_told_and_shortened(
    typed: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "Here:\n```python\nprint(1)\n```\n"
    engine = FakeEngine([code, "two.", "three.", "We spoke of code."])
    words = ["first", "/code", "/code", "/code 2", "second", "third", "/context", *["/compact"] * 3]
    out, err = typed(*words, engine=engine)
    assert (tmp_path / "code.py").read_text() == (tmp_path / "code-2.py").read_text() == "print(1)\n"
    assert f"Code block 1 of 1 was saved to {tmp_path / 'code.py'}" in err
    assert "There is no code block 2: only one." in err
    assert "the last reply: 1\n" in err
    assert "messages were summarised (≈" in err
    assert "/undo brings them back." in err
    assert "There is nothing to shorten yet" in err
    assert f"{NAME}We spoke of code." in out
    assert [message.text for message in stored().path()][2:] == ["third", "three."]
