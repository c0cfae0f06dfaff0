"""`llama-chat --plain`: the chat line by line, for screen readers, pipes and terminals that only print.

It is the same chat as on the screen (`chat.chat`, which knows its view by its methods): the same store, the
same branches, the same refusals. Nothing here draws: what was printed stays as it is.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.chat import Chat
from llama_chat.chat.farewell import close_bridge
from llama_chat.chat.machine.model_name import name_and_type
from llama_chat.chat.picks.preset_shelf import PresetShelf
from llama_chat.chat.prompt.attaching import Attachment
from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.plain_attaching import with_files
from llama_chat.cli.plain_commands import run_command
from llama_chat.cli.plain_input import LineReader
from llama_chat.cli.plain_sessions import open_first
from llama_chat.cli.plain_signals import Interruptions
from llama_chat.cli.plain_view import PlainView
from llama_chat.cli.talk import say
from llama_chat.conversation import short_id
from llama_chat.errors import Interrupted, LlamaChatError, StoreError, UsageError
from llama_chat.sanitize import one_line
from llama_chat.settings import SettingValue
from llama_chat.shelves.to_load import ModelToLoad

T = TypeVar("T")

PROMPT = "you: "
TICK_S = 0.5
"""How often whoever waits looks whether there is something to tell."""
LOADING_LINE_S = 3.0
"""After so long a line tells how far the model, or a long prompt, is; the next ones take longer."""
STORE_PATIENCE_S = 3.0


class Ended(Exception):  # noqa: N818  (leaving is no error)
    """The user leaves."""


class PlainChat:
    """Reads a line, does what it says, and waits until that is done.

    Args:
        setup: what the program was started with.
        reader: gives the lines.
        is_talk: whether a person reads what comes, beside the own words.
    """

    def __init__(self, setup: ChatSetup, reader: LineReader, *, is_talk: bool) -> None:
        self._wakes: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # its `put` may be called by a signal handler
        self._setup = setup
        self.reader = reader
        self.bridge = Bridge(setup, self._wake)
        self.view = PlainView(is_talk=is_talk, model_name=self._model_name)
        self.chat = Chat(self.bridge, self.view, setup.settings.chat, name_and_type(setup.model_label)[0])
        self.paths = setup.paths
        # What a script sets is for the script.
        kept_in = setup.paths.settings_file if reader.is_terminal else None
        self.presets = PresetShelf(self.bridge, setup.settings.presets, kept_in)
        self.interruptions = Interruptions(self._wake)
        self.editing: str | None = None
        """The id of the message that the next words take the place of."""
        self.prefilled = ""
        """Words that stand in the next line already."""
        self.attached: list[Attachment] = []
        """Files that go along with what is said next."""
        self.listed: list[tuple[str, str | None]] = []
        """Session and message behind the numbers of the last list."""
        self._line_every_s = LOADING_LINE_S
        self._next_line_s = time.monotonic() + LOADING_LINE_S

    @property
    def setup(self) -> ChatSetup:
        """What the program was started with."""
        return self._setup

    def _wake(self) -> None:
        self._wakes.put(None)

    def _model_name(self) -> str:
        return one_line(self.chat.info.name if self.chat.info else self.chat.model_label)

    # --- from the start to the end ----------------------------------------------------------------------

    def run(self) -> bool:
        """Chat until the user leaves or the lines end; whether all is kept."""
        try:
            with self.interruptions.handled(), suppress(Ended, EOFError):
                self._start()
                while True:
                    self._turn()
        finally:
            with suppress(OSError):  # nobody reads it any more
                self.view.end()
            is_kept = close_bridge(self.bridge)
        if not is_kept:
            say("llama-chat: the last messages could not be kept.")
        elif self.reader.is_terminal and self.chat.saved.session_id is not None:
            session = short_id(self.chat.saved.session_id)
            say(f"llama-chat --plain --resume {session} goes on with this chat.")
        return is_kept

    def _start(self) -> None:
        self.bridge.start()
        for text in self._setup.notices:
            self.view.notice(text, "warning")
        open_first(self, self._setup.resume, is_last_wanted=self._setup.continue_last)
        if self.reader.is_terminal:
            say(
                f"{self._model_name()}. /help lists the commands; Ctrl+C stops a reply, Ctrl+D ends the chat."
            )
        if self._setup.pull is not None or not self.reader.is_terminal:
            self.wait_for_model()
            if not self.reader.is_terminal and self.chat.info is None:
                raise Ended

    # --- one turn ---------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Read words or a command, and do what they say."""
        try:
            with self.interruptions.breaking_off():
                text = self._read()
        except KeyboardInterrupt:
            self._break_off()
            return
        except EOFError:
            if self.reader.is_terminal:
                print(file=sys.stderr)
            raise
        self.take_in()
        try:
            if not run_command(self, text):
                self.say(text)
        except Interrupted:
            raise
        except LlamaChatError as error:
            self.view.notice(str(error), "error")

    def _read(self) -> str:
        words, self.prefilled, self.view.given_back = self.prefilled or self.view.given_back, "", ""
        return self.reader.read(PROMPT, words)

    def _break_off(self) -> None:
        """The line was cleared: twice, that ends the chat."""
        self.interruptions.take()
        print(file=sys.stderr)
        if self.interruptions.is_over or not self.reader.is_terminal:
            self._leave()
        self.editing = None
        say("Ctrl+C again, or Ctrl+D, ends the chat.")

    def _leave(self) -> None:
        if self.interruptions.is_terminated or not self.reader.is_terminal:
            raise Interrupted("Stopped")
        raise Ended

    def say(self, text: str) -> None:
        """Say it to the model, or in the place of the words that are edited; wait for the reply."""
        if not text.strip():
            return
        self.go_on_with_this_model()
        self.view.typed = text
        editing, self.editing = self.editing, None
        words = with_files(self.attached, text)
        is_taken = self.chat.send(words) if editing is None else self.chat.edit(editing, words)
        if is_taken:
            self.attached.clear()
        else:
            self.editing = editing
            self.view.give_back(text)
        self.wait_for_reply()

    def go_on_with_this_model(self) -> None:
        """Out of a pipe nobody can be asked whether another model shall go on with the session."""
        if not self.reader.is_terminal and self.chat.info is not None:
            self.chat.saved.must_ask(self.chat.info)

    # --- waiting ----------------------------------------------------------------------------------------

    def wait_for_reply(self) -> None:
        """Print the reply until it is over; Ctrl+C stops it."""
        self._wait(lambda: not self.chat.is_replying, self._stop_reply)
        self.view.end()
        self.view.typed = ""
        if self.view.given_back and not self.reader.is_terminal:
            self.view.has_failed, self.view.given_back = True, ""
        elif self.view.given_back and not self.reader.can_show(self.view.given_back):
            self.view.given_back = ""
            say("Your words were not sent: say them again.")

    def _stop_reply(self) -> None:
        self.chat.stop()
        if not self.reader.is_terminal:  # whoever reads the other end wants no more of it
            self._wait(lambda: not self.chat.is_replying, lambda: None)
            self._leave()

    def wait_for_model(self) -> None:
        """Tell how it is fetched and loaded; Ctrl+C gives up."""
        self._wait(lambda: self.chat.status.model_state != "loading", self._stop_loading)

    def switch_model(self, name: str) -> None:
        """Run another model from here on; the conversation stays.

        Raises:
            ModelError: no model fits the name.
        """
        if self._setup.open_model is None:
            raise UsageError("No other model can be loaded here.")
        self.switch_to(self._setup.open_model(name))

    def switch_to(self, model: ModelToLoad) -> None:
        """Run this one from here on."""
        self.chat.switching.begin(model)
        self.wait_for_model()

    def _stop_loading(self) -> None:
        self.bridge.worker.stop_loading()
        if not self.reader.is_terminal:
            self._leave()

    def ask(self, function: Callable[..., T], *args: object) -> T:
        """What the store answers, after all that it was told before.

        Raises:
            StoreError: it cannot, or it is busy for too long.
        """
        future: Future[T] = self.bridge.call(function, *args)
        future.add_done_callback(lambda _: self._wake())
        deadline = time.monotonic() + STORE_PATIENCE_S
        self._wait(lambda: future.done() or time.monotonic() > deadline, lambda: None)
        if not future.done():
            raise StoreError("The store of the sessions does not answer.", hint="Try again later.")
        return future.result()

    def wait_for(self, future: Future[T], stop: Callable[[], None]) -> T:
        """What the engine makes of something; Ctrl+C stops it.

        Raises:
            LlamaChatError: what the future fails with, `Interrupted` where it was stopped.
        """
        future.add_done_callback(lambda _: self._wake())
        self._wait(future.done, stop)
        return future.result()

    def take_in(self) -> None:
        """Take in what happened on the other threads."""
        for note in self.bridge.drain():
            self.chat.take(note)

    def _wait(self, is_done: Callable[[], bool], stop: Callable[[], None]) -> None:
        """Take in what happens until it is done; at the first Ctrl+C stop it, at a second one leave."""
        while True:
            self.take_in()
            if is_done():
                self.interruptions.forget()
                return
            if self.interruptions.take():
                if self.interruptions.is_over:
                    self._leave()
                stop()
            self._tell_progress()
            with suppress(queue.Empty):
                self._wakes.get(timeout=TICK_S)

    def _tell_progress(self) -> None:
        """A line now and then about what takes long: the loading, a prompt of many thousand tokens."""
        status = self.chat.status
        is_loading = status.model_state == "loading"
        if not is_loading and status.fraction is None:
            self._line_every_s = LOADING_LINE_S
            self._next_line_s = time.monotonic() + self._line_every_s
        elif time.monotonic() >= self._next_line_s:
            self._line_every_s *= 2
            self._next_line_s = time.monotonic() + self._line_every_s
            what = f"Loading {self._model_name()}" if is_loading else "Reading the prompt"
            percent = f", {int(100 * status.fraction)} %" if status.fraction else ""
            self.view.say(f"{what}{percent}…")


def _keep_nothing(table: str, key: str, value: SettingValue) -> None:
    """What a script sets is for the script."""


def run_plain_chat(setup: ChatSetup) -> int:
    """Run the chat; the exit code: 1 when not all is kept or, out of a pipe, when something failed.

    Raises:
        Interrupted: Ctrl+C where nobody types, or a signal that ends programs; what was said is kept.
    """
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    is_talk = is_typed and sys.stdout.isatty()
    if not is_typed:
        setup = replace(setup, save_setting=_keep_nothing)
    plain = PlainChat(setup, LineReader(sys.stdin, is_edited=is_talk), is_talk=is_talk)
    is_kept = plain.run()
    return 0 if is_kept and (is_typed or not plain.view.has_failed) else 1
