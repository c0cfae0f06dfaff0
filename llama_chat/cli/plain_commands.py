"""The slash commands of the plain chat: those of the screen that make sense without one, and some more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from llama_chat.chat import notices
from llama_chat.chat.branches.siblings import last_fork
from llama_chat.chat.keys import COMMANDS, KEY_ACTIONS
from llama_chat.chat.keys.seeing import ALTER_WORDS
from llama_chat.chat.machine.altering import NOTHING_ALTERED
from llama_chat.chat.picks.one_setting import set_by_words
from llama_chat.chat.picks.preset_shelf import PRESET_WORDS
from llama_chat.chat.picks.seeds import SEED_WORDS
from llama_chat.cli import plain_attaching, plain_context, plain_sessions, plain_settings, plain_tree
from llama_chat.cli.plain_device import run_on_device
from llama_chat.cli.plain_input import tell_how_to_paste
from llama_chat.cli.plain_looking import LOOKS_HELP, LOOKS_WORDS, looks
from llama_chat.cli.plain_tokens import tokens
from llama_chat.cli.plain_words import end_words, excerpt, without_keys
from llama_chat.cli.talk import say
from llama_chat.errors import UsageError
from llama_chat.events import Sampling
from llama_chat.sampling import setting_value

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

Run: TypeAlias = "Callable[[PlainChat, str], object]"

NO_SYSTEM = "-"
_COMMAND = re.compile(r"(/(?:[a-z]+|\?))(?:[ \t]+([^\n]*))?")


@dataclass(frozen=True, slots=True)
class PlainCommand:
    """One command."""

    run: Run
    takes: str = ""
    """What may stand behind it; empty: nothing."""
    help: str = ""
    """A sentence; empty where the one of the chat's table is right here, too."""


def run_command(plain: PlainChat, text: str) -> bool:
    """Do what the line asks for; False for words to the model.

    As on the screen, a line that begins with a slash and one word is meant as a command; a path
    (`/etc/hosts says …`) or anything behind a space is not.

    Raises:
        UsageError: there is no such command here, or it takes nothing behind it.
        LlamaChatError: it could not be done.
    """
    match = _COMMAND.fullmatch(text.rstrip())
    if match is None:
        return False
    word, rest = match[1], (match[2] or "").strip()
    command = PLAIN_COMMANDS.get(word)
    if command is None and word in COMMANDS:  # another name of one that is here
        command = PLAIN_COMMANDS.get(COMMANDS[word].command)
    if command is None:
        raise _unknown(word)
    if rest and not command.takes:
        raise UsageError(f"{word} takes nothing behind it.")
    command.run(plain, rest)
    return True


def _unknown(word: str) -> UsageError:
    if word in COMMANDS:
        return UsageError(f"{word} needs the screen.", hint="The chat without --plain has it.")
    near = get_close_matches(word, PLAIN_COMMANDS, n=1)
    hint = f"Did you mean {near[0]}?" if near else "/help lists them."
    return UsageError(
        f"There is no command {word}.", hint=f"{hint} With a space before it, it goes to the model."
    )


# --- the reply ----------------------------------------------------------------------------------------


def _stop(plain: PlainChat, _rest: str) -> None:
    plain.view.hint("No reply is being written. Ctrl+C stops one.")


def _again(plain: PlainChat, _rest: str) -> None:
    plain.go_on_with_this_model()
    plain.chat.regenerate()
    plain.wait_for_reply()


def _continue(plain: PlainChat, _rest: str) -> None:
    plain.chat.go_on()
    plain.wait_for_reply()


def _edit(plain: PlainChat, rest: str) -> None:
    words = plain.chat.last_words()
    if words is None:
        plain.view.hint(notices.NOTHING_TO_EDIT)
        return
    plain.editing = words.id
    if rest:
        plain.say(rest)
    elif plain.reader.can_show(words.text):
        plain.prefilled = words.text
    else:
        say(f"What you say next takes the place of: {excerpt(words)}")


def _paste(plain: PlainChat, _rest: str) -> None:
    if plain.reader.is_terminal:
        tell_how_to_paste()
    try:
        with plain.interruptions.breaking_off():
            text = plain.reader.read_pasted()
    except KeyboardInterrupt:
        plain.interruptions.take()
        say("Nothing was sent.")
    except EOFError:
        say("Nothing was sent.")
    else:
        plain.say(text)


# --- the path -----------------------------------------------------------------------------------------


def _sibling(step: int) -> Run:
    def run(plain: PlainChat, _rest: str) -> None:
        fork = last_fork(plain.chat.conversation)
        if fork is not None and fork.beside(step) is not None:
            say(f"Branch {fork.place + step} of {len(fork.siblings)}:")
        plain.chat.steps.show_sibling(step)

    return run


def _undo(plain: PlainChat, _rest: str) -> None:
    with plain.view.silent():
        plain.chat.steps.undo()
    say(end_words(plain.chat.conversation.path()))


def _redo(plain: PlainChat, _rest: str) -> None:
    with plain.view.silent():
        plain.chat.steps.redo()
    say(end_words(plain.chat.conversation.path()))


def _show(plain: PlainChat, _rest: str) -> None:
    for message in plain.chat.conversation.path():
        plain.view.print_message(message)


def _new(plain: PlainChat, _rest: str) -> None:
    plain.editing = None
    plain.chat.new()
    say("A new chat begins; the one before stays in /sessions.")


# --- what counts from now on --------------------------------------------------------------------------


def _system(plain: PlainChat, rest: str) -> None:
    if rest:
        with plain.view.silent():
            plain.chat.set_system("" if rest == NO_SYSTEM else rest)
    elif system := plain.chat.conversation.system:
        say(f"The system prompt is: {system}\n/system {NO_SYSTEM} takes it away.")
    else:
        say("There is no system prompt. /system TEXT gives one.")


def _set(plain: PlainChat, rest: str) -> None:
    now = plain.bridge.sampling.current
    if not rest:
        for field in fields(Sampling):
            value_text = setting_value(field.name, getattr(now, field.name))
            say(f"{field.name} is {value_text}. {field.metadata['help']}")
        return
    say(set_by_words(plain.bridge, rest))


def _model(plain: PlainChat, rest: str) -> None:
    if rest:
        plain.switch_model(rest)
        return
    info = plain.chat.info
    if info is None:
        is_loading = plain.chat.status.model_state == "loading"
        state = "is being loaded" if is_loading else "could not be loaded; /reload tries again"
        say(f"{plain.chat.model_label} {state}.")
    else:
        context = f"context {info.context_length:,} tokens"
        say(f"{info.name}, {info.dtype}, on {info.device}, {info.engine} engine, {context}.")


def _load(plain: PlainChat, _rest: str) -> None:
    if plain.chat.status.model_state != "ready":
        plain.chat.load_again()
        plain.wait_for_model()
    info = plain.chat.info
    if info is not None:
        say(f"{info.name} is loaded.")


def _alter(plain: PlainChat, rest: str) -> None:
    altering = plain.chat.altering
    if rest:
        plain.wait_for_model()
    say(altering.say(rest) if rest else altering.bar or NOTHING_ALTERED)


def _quit(_plain: PlainChat, _rest: str) -> None:
    raise EOFError


# --- the table ----------------------------------------------------------------------------------------


def _help(_plain: PlainChat, _rest: str) -> None:
    shared = {action.command: without_keys(action.help) for action in KEY_ACTIONS}
    for word, command in PLAIN_COMMANDS.items():
        takes = f" {command.takes}" if command.takes else ""
        say(f"{word}{takes}: {command.help or shared[word]}")
    say('A line that ends in a backslash goes on in the next one; so do lines between two of """.')
    say("Ctrl+C stops a reply or clears the line; twice, or Ctrl+D, ends the chat.")


PLAIN_COMMANDS: dict[str, PlainCommand] = {
    "/help": PlainCommand(_help, help="List the commands."),
    "/stop": PlainCommand(_stop),
    "/again": PlainCommand(_again),
    "/continue": PlainCommand(_continue),
    "/edit": PlainCommand(_edit, "[WORDS]"),
    "/undo": PlainCommand(_undo),
    "/redo": PlainCommand(_redo),
    "/previous": PlainCommand(_sibling(-1)),
    "/next": PlainCommand(_sibling(1)),
    "/tree": PlainCommand(plain_tree.tree, "[N]", "List all messages of all branches, or go to one of them."),
    "/branch": PlainCommand(plain_tree.branch, "N", "Say something else behind message N of /tree."),
    "/delete": PlainCommand(plain_tree.delete, "N", "End the chat before message N of /tree; /undo returns."),
    "/find": PlainCommand(plain_tree.find, "WORDS", "Find words in this chat."),
    "/show": PlainCommand(_show, help="Print the whole chat again."),
    "/tokens": PlainCommand(
        tokens, help="List the tokens of the last reply, and how likely the model held each to be."
    ),
    "/looks": PlainCommand(looks, LOOKS_WORDS, LOOKS_HELP),
    "/attach": PlainCommand(
        plain_attaching.attach, "[PATH…]", "Let the model read text files, with what you say next."
    ),
    "/editor": PlainCommand(plain_tree.editor, help="Write in $VISUAL or $EDITOR what is said next."),
    "/paste": PlainCommand(_paste, help="Say something of several lines."),
    "/new": PlainCommand(_new, help="Begin a new chat; this one stays in /sessions."),
    "/system": PlainCommand(
        _system, "[TEXT]", f"Say who the model is and how it answers; {NO_SYSTEM} says nothing."
    ),
    "/set": PlainCommand(_set, "[NAME [VALUE]]", "Show or change the sampling: /set temperature 0.3"),
    "/preset": PlainCommand(
        plain_settings.preset, PRESET_WORDS, "List the presets of the sampling, take one, or keep your own."
    ),
    "/seed": PlainCommand(plain_settings.seed, SEED_WORDS, "Show, lock or unlock the seed of the replies."),
    "/persona": PlainCommand(
        plain_settings.persona, "[NAME]", "List the system prompts that have a name, or take one."
    ),
    "/sessions": PlainCommand(
        plain_sessions.list_sessions,
        "[WORDS]",
        "List the last sessions by number; with words, those with them in the title.",
    ),
    "/resume": PlainCommand(
        plain_sessions.resume, "NUMBER|ID", "Go on with a session of the last list, or by its id."
    ),
    "/search": PlainCommand(plain_sessions.search, "WORDS", "Find words in all sessions."),
    "/save": PlainCommand(
        plain_sessions.save, "[NAME]", "Everything is kept as it is said; a name can be given to it."
    ),
    "/rename": PlainCommand(plain_sessions.rename, "NAME", "Give this session a name."),
    "/export": PlainCommand(
        plain_sessions.export, "[md|jsonl|html] [PATH]", "Write this session into a file."
    ),
    "/code": PlainCommand(
        plain_context.save_code, "[N] [PATH]", "Save a code block of the last reply to a file."
    ),
    "/context": PlainCommand(plain_context.tell_context),
    "/compact": PlainCommand(plain_context.compact),
    "/model": PlainCommand(_model, "[NAME|PATH]", "Name the model, or run another one."),
    "/device": PlainCommand(
        run_on_device, "[NAME]", "List the devices, or run the model on another one: /device cpu"
    ),
    "/alter": PlainCommand(
        _alter,
        ALTER_WORDS,
        "Switch off a head (/alter L3.H4) or layer (/alter L7), or scale it (/alter L7 0.5); reset ends it.",
    ),
    "/reload": PlainCommand(_load),
    "/quit": PlainCommand(_quit, help="Leave. Everything is kept; Ctrl+D does it too."),
}
