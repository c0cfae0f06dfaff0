"""The plain chat with a fake engine, as a program of its own: for tests on a terminal and for kill -9."""

from __future__ import annotations

import sys
import threading
import time

from fake_engine import FakeEngine, Pace, loader_of

from llama_chat.chat.setup import ChatSetup
from llama_chat.cli.plain import run_plain_chat
from llama_chat.cli.talk import exit_status
from llama_chat.paths import user_paths
from llama_chat.settings import Settings


class Steady(Pace):
    """A token every 10 ms."""

    def wait(self, cancel: threading.Event | None) -> None:
        time.sleep(0.01)


def main(answer: str | None) -> int:
    setup = ChatSetup(
        settings=Settings(),
        notices=(),
        paths=user_paths(),
        loader=loader_of(FakeEngine([answer], pace=Steady())),
        model_label="SmolLM2-135M-Instruct.Q4_1",
        pull=None,
        save_setting=lambda table, key, value: None,
    )
    return exit_status(lambda: run_plain_chat(setup))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
