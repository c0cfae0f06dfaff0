"""Slash commands: what is one, what is not, and what is wrong with one."""

import pytest

from llama_chat.chat.commands import Command, parse_command, parse_setting
from llama_chat.errors import UsageError


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/new", Command("new_chat")),
        ("/theme ember ", Command("theme", "ember")),
        ("/set", Command("sampling")),
        ("/set top-k=all", Command("sampling", "top-k=all")),
        ("hello /new", None),
        (" /new", None),
        ("/etc/hosts is what?", None),
        ("/new\nline", None),
    ],
)
def test_a_slash_and_one_word_is_a_command(text, command):
    assert parse_command(text) == command


@pytest.mark.parametrize(
    ("text", "words"),
    [("/nonsense", "no command /nonsense"), ("/them", "Did you mean /theme"), ("/new chat", "takes nothing")],
)
def test_a_slip_is_named_and_does_not_go_to_the_model(text, words):
    with pytest.raises(UsageError, match=words):
        parse_command(text)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("temperature", None),
        ("temperature 0.3", 0.3),
        ("top-k=all", 0),
        ("max_new_tokens 7", 7),
        ("top_p = 1", 1),
    ],
)
def test_a_setting_and_its_value(words, value):
    assert parse_setting(words)[1] == value


@pytest.mark.parametrize("words", ["temperature 99", "top_k x", "colour red", "top_p 1e400"])
def test_a_value_that_does_not_fit_is_refused_not_bent(words):
    with pytest.raises(UsageError):
        parse_setting(words)
