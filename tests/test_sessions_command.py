"""`llama-chat sessions` from outside: tables, JSON, files, and what happens when something is wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_cli import run
from test_exchange import INFO, build_session, write

from llama_chat.cli.chat import _found_session
from llama_chat.cli.sessions import _hit_lines
from llama_chat.cli.tables import Painter
from llama_chat.conversation import Message, Role, new_id
from llama_chat.errors import StoreError
from llama_chat.paths import user_paths
from llama_chat.sessions import SessionStore

PROGRAM = [sys.executable, "-m", "llama_chat"]


@pytest.fixture
def store(home: Path) -> Iterator[SessionStore]:
    opened = SessionStore(home / "data" / "sessions.sqlite3")
    opened.open()
    yield opened
    opened.close()


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run("sessions", *arguments)
    out, err = capsys.readouterr()
    return status, out, err


def test_without_a_store_nothing_is_made(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "list") == (0, "", "There are no sessions yet.\n")
    assert outcome(capsys, "list", "--json") == (0, "[]\n", "")
    status, out, err = outcome(capsys, "show", "1")
    assert (status, out) == (1, "")
    assert "There are no sessions yet" in err
    assert list(home.iterdir()) == []


def test_list_shows_the_last_first_and_nothing_that_commands_a_terminal(
    store: SessionStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = build_session(store), build_session(store, "Second")
    status, out, _ = outcome(capsys, "list")
    titles, *rows = out.splitlines()
    assert status == 0
    assert titles.split() == ["id", "title", "model", "messages", "last", "written"]
    assert [row.split()[0] for row in rows] == [second[:8], first[:8]]
    assert "␛[31m\ufffd" in rows[1]
    assert outcome(capsys)[1] == out
    assert len(outcome(capsys, "list", "--limit", "1")[1].splitlines()) == 2
    data = json.loads(outcome(capsys, "list", "--json")[1])
    assert [each["id"] for each in data] == [second, first]
    assert data[1]["title"] == "Tests \x1b[31m\u202e <b>"


def test_show_prints_the_path_and_json_every_token(
    store: SessionStore, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = build_session(store)
    _, out, _ = outcome(capsys, "show", session_id[:6])
    assert "Be brief." in out
    assert "🦙 w2 w3 w4\n" in out
    assert " w0 w1 w2" not in out
    assert "\x1b" not in out
    data = json.loads(outcome(capsys, "show", session_id, "--json")[1])
    assert data["path"][-1] == data["messages"][-1]["id"]
    reply = data["messages"][2]["reply"]
    assert [token["token_id"] for token in reply["tokens"]] == reply["token_ids"] == [100, 101, 102]
    assert len(reply["tokens"][0]["candidates"]) == 64
    assert reply["model_record"]["fingerprint"] == INFO.fingerprint
    assert data["messages"][3]["reply"]["tokens"][0]["logprob"] is None  # not a number


def test_an_id_that_fits_none_or_several(store: SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(17):  # two of them begin alike
        build_session(store, f"S{n}")
    ids = sorted(info.id for info in store.list())
    digit = next(a[0] for a, b in pairwise(ids) if a[0] == b[0])
    for arguments, words in (
        (("show", digit), "fits more than one session"),
        (("delete", digit), "fits more than one session"),
        (("export", "zz"), "No session begins with 'zz'"),
        (("undelete", ""), "No session begins with ''"),
    ):
        status, out, err = outcome(capsys, *arguments)
        assert (status, out, len(err.splitlines())) == (1, "", 2)
        assert words in err


def test_search_rename_delete_undelete(store: SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    session_id = build_session(store)
    status, out, _ = outcome(capsys, "search", "heißt", "da")
    assert status == 0
    assert out.startswith(session_id[:8])
    assert "Was heißt das?" in out
    assert "\x1b" not in out
    (hit,) = json.loads(outcome(capsys, "search", "heißt", "--json")[1])
    assert (hit["session"]["id"], hit["role"]) == (session_id, Role.USER.value)
    assert outcome(capsys, "search", "nowhere-to-be-found") == (0, "", "No message holds these words.\n")

    assert outcome(capsys, "rename", session_id[:8], " My \n talk ")[0] == 0
    assert store.find(session_id).title == "My talk"
    assert outcome(capsys, "rename", session_id, " ")[0] == 2

    assert outcome(capsys, "delete", session_id[:8])[0] == 0
    assert store.list() == []
    assert "My talk" in outcome(capsys, "list", "--deleted")[1]
    assert outcome(capsys, "undelete", session_id[:8])[0] == 0
    assert [info.id for info in store.list()] == [session_id]


@pytest.mark.parametrize("limit", ["0", "-0", "-1", "1" + 30 * "0", "1" + 5000 * "0", "nan", "inf", "1e400"])
def test_a_limit_that_is_none_is_wrong_usage(
    store: SessionStore, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    build_session(store)
    for command in (("list",), ("search", "heißt")):
        status, out, err = outcome(capsys, *command, "--limit", limit)
        assert (status, out, "--limit" in err) == (2, "", True)


def test_show_says_what_was_cut_off_and_that_there_are_branches(
    store: SessionStore, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = build_session(store)
    out = outcome(capsys, "show", session_id)[1]
    assert "  2 of 2\n" in out
    assert "[cut: the context was full (" in out
    assert out.endswith(
        "[1 message of other branches not shown; all of them: "
        f"llama-chat sessions export {session_id[:8]} --branches]\n"
    )


@pytest.mark.parametrize("width", [24, 40, 60, 100])
def test_a_narrow_terminal_gets_a_line_a_session_and_hits_that_wrap_at_words(
    store: SessionStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    session = store.find(build_session(store, "A title of many words " * 4))
    words = "the slow river carries quiet boats towards its distant mouth " * 3
    message = Message(new_id(), None, Role.USER, words, time.time())
    store.add_messages(session.id, [message], message.id)
    monkeypatch.setattr("llama_chat.cli.sessions.width_of", lambda _: width)
    titles, *rows = outcome(capsys, "list")[1].splitlines()
    assert len(rows) == 1
    assert max(map(len, [titles, *rows])) <= width
    assert rows[0].startswith(f"{session.id[:8]}  A title")
    assert ("model" in titles, "written" in titles) == (width >= 60, width >= 40)
    about, *lines = _hit_lines(store.search("river")[0], Painter(is_coloured=True), width)
    assert about.startswith("\x1b[2m")
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in [about, *lines]]
    assert max(map(len, plain)) <= width
    assert set(" ".join(plain[1:]).replace("…", "").split()) <= set(words.split())
    assert sum(line.count("\x1b[1mriver\x1b[0m") for line in lines) == " ".join(plain).count("river") >= 2


def test_what_was_not_asked_for_in_so_many_words_is_told(
    store: SessionStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = build_session(store)
    err = outcome(capsys, "export", session_id, "-o", str(tmp_path / "talk.txt"))[2]
    assert err == f"Wrote 1 session to {tmp_path / 'talk.txt'} as Markdown; --format chooses another.\n"
    assert "Markdown" not in outcome(capsys, "export", session_id, "-o", str(tmp_path / "talk.md"))[2]
    status, _, err = outcome(capsys, "undelete", session_id)
    assert (status, "is not deleted" in err, "is back" in err) == (0, True, False)


def test_every_command_tells_where_ids_are(store: SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    build_session(store)
    for arguments in (("sessions", "show", "zz"), ("replay", "zz"), ("run", "--resume", "zz", "hi")):
        assert run(*arguments) == 1
        assert "'llama-chat sessions list' has them" in capsys.readouterr().err
    with pytest.raises(StoreError) as raised:
        _found_session(user_paths().sessions_file, "zz")
    assert "'llama-chat sessions list' has them" in raised.value.hint


def test_delete_now_asks_or_wants_a_word_and_names_a_damaged_copy(
    store: SessionStore, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = build_session(store, "Mine")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, _, err = outcome(capsys, "delete", session_id, "--now")
    assert (status, "--yes" in err) == (2, True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert outcome(capsys, "delete", session_id, "--now")[0] == 130
    assert store.list()
    damaged = home / "data" / "sessions.sqlite3.damaged-20261122-120000"
    damaged.write_text("?")
    status, _, err = outcome(capsys, "delete", session_id, "--now", "--yes")
    assert status == 0
    assert "for good, 5 messages" in err
    assert str(damaged) in err
    assert store.list() == store.deleted() == []


def test_export_to_a_file_is_whole_and_replaces_nothing_unasked(
    store: SessionStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = build_session(store)
    for name, begin in (("a.md", "# Tests"), ("a.jsonl", '{"format"'), ("a.html", "<!doctype"), ("a", "# T")):
        path = tmp_path / name
        assert outcome(capsys, "export", session_id, "--output", str(path))[0] == 0
        assert path.read_text(encoding="utf-8").startswith(begin)
        assert path.stat().st_mode & 0o777 == 0o600
    status, _, err = outcome(capsys, "export", session_id, "-o", str(tmp_path / "a.md"))
    assert (status, "is there already" in err, "--force" in err) == (1, True, True)
    assert (
        outcome(capsys, "export", "--all", "-o", str(tmp_path / "a.md"), "--format", "html", "--force")[0]
        == 0
    )
    before = (tmp_path / "a.md").read_bytes()
    assert before.startswith(b"<!doctype")
    monkeypatch.setattr(SessionStore, "load", lambda *_: 1 / 0)
    assert outcome(capsys, "export", "--all", "-o", str(tmp_path / "a.md"), "--force")[0] == 1
    assert (tmp_path / "a.md").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.html", "a.jsonl", "a.md", "home"]
    assert outcome(capsys, "export", session_id, "-o", str(tmp_path))[0] == 1
    assert outcome(capsys, "export", session_id, "-o", str(tmp_path / "none" / "x.md"))[0] == 1
    for wrong in ((), (session_id, "--all"), (session_id, "--format", "pdf")):
        assert outcome(capsys, "export", *wrong)[0] == 2


def test_import_of_a_file_and_of_stdin(
    store: SessionStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = build_session(store)
    path = write(store, tmp_path / "talk.jsonl", session_id)
    status, out, err = outcome(capsys, "import", str(path))
    assert status == 0
    assert f"a copy: {session_id[:8]} is here already" in out
    assert err == "Imported 1 session, 5 messages.\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    (imported,) = json.loads(outcome(capsys, "import", "-", "--json")[1])
    assert imported["copy_of"] == session_id
    assert len(store.list()) == 3
    path.write_bytes(path.read_bytes()[:-100])
    status, out, err = outcome(capsys, "import", str(path))
    assert (status, out) == (1, "")
    assert f"{path}, line 6: the file ends in the middle of it" in err
    assert len(store.list()) == 3


def test_import_of_a_file_that_may_not_be_read(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # root, who may run this, can read everything
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    status, out, err = outcome(capsys, "import", str(tmp_path / "secret.jsonl"))
    assert (status, out) == (1, "")
    assert "secret.jsonl cannot be read: Permission denied." in err


def test_a_pipe_gets_utf_8_whatever_the_locale_says_and_may_close(store: SessionStore) -> None:
    session_id = build_session(store)
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*PROGRAM, "sessions", "export", session_id, "--format", "jsonl"]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert "Was heißt das?" in done.stdout.decode()
    assert done.stderr == b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.alone
def test_list_loads_neither_torch_nor_a_screen_and_is_quick(store: SessionStore) -> None:
    build_session(store)
    code = (
        "import sys, contextlib, llama_chat.cli as c\n"
        "with contextlib.suppress(SystemExit): c.main(['sessions', 'list'])\n"
        "print(*sorted({'torch', 'textual', 'numpy', 'jinja2'} & sys.modules.keys()))"
    )
    times_s = []
    for _ in range(3):
        begin_s = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times_s.append(time.monotonic() - begin_s)
        assert done.stdout.splitlines()[-1] == ""
    assert min(times_s) < 1.0  # 0.22 s on a quiet machine (2026-11)


def test_rename_delete_and_undelete_as_json(store: SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The session as it is afterwards, and nothing else on either stream."""
    session_id = build_session(store)

    def told(*words: str) -> dict[str, Any]:
        status, out, err = outcome(capsys, *words, "--json")
        assert (status, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        assert found["id"] == session_id
        return found

    assert told("rename", session_id, "Another name")["title"] == "Another name"
    deleted = told("delete", session_id)
    assert deleted["deleted_at"] > 0
    assert deleted["for_good"] is False
    assert told("undelete", session_id)["deleted_at"] is None
    gone = told("delete", session_id, "--now", "--yes")
    assert (gone["for_good"], gone["has_traces"]) == (True, False)
    assert store.list() == []
