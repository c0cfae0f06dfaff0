"""The chat with an endless fake engine, as a program of its own: for tests on a real terminal."""

from __future__ import annotations

import sys
import threading
import time

from fake_engine import FakeEngine, Pace, loader_of

from llama_chat.chat.setup import ChatSetup
from llama_chat.paths import user_paths
from llama_chat.settings import Settings
from llama_chat.ui.app import run_chat


class Steady(Pace):
    """A token every 10 ms."""

    def wait(self, cancel: threading.Event | None) -> None:
        time.sleep(0.01)


def main() -> int:
    setup = ChatSetup(
        settings=Settings(),
        notices=(),
        paths=user_paths(),
        loader=loader_of(FakeEngine([None], pace=Steady())),
        model_label="fake",
        pull=None,
        save_setting=lambda table, key, value: None,
    )
    return run_chat(setup)


if __name__ == "__main__":
    sys.exit(main())
