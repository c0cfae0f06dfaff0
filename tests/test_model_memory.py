"""What the default model takes is given back when another takes its place: measured in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, re, sys, threading
from pathlib import Path

from llama_chat.cli.other_models import model_opener
from llama_chat.events import LiveSampling
from llama_chat.paths import user_paths
from llama_chat.settings import ModelSettings
from llama_chat.worker import Worker


def private_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1000


class Log:
    def __init__(self):
        self.is_loaded = threading.Event()
        self.closed_mb = []

    def loading(self, progress):
        if progress.what == "torch":  # the old model is closed, nothing of the new one but its headers read
            self.closed_mb.append(private_mb())

    def loaded(self, info):
        self.is_loaded.set()

    def not_loaded(self, error):
        os._exit(3)

    def not_switched(self, error, info):
        os._exit(4)


log = Log()
open_model = model_opener(ModelSettings(cache="off"), user_paths())  # kept weights are mapped, not private
worker = Worker(open_model(sys.argv[1]).loader, log, LiveSampling())
loaded_mb = []
worker.start()
for path in (sys.argv[2], ""):
    assert log.is_loaded.wait(200)
    log.is_loaded.clear()
    loaded_mb.append(private_mb())
    if path:
        worker.switch(open_model(path))
assert worker.close(20)
print(json.dumps({"loaded": loaded_mb, "closed": [*log.closed_mb[1:], private_mb()]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_closed_model_gives_its_memory_back(default_model: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.gguf"
    second.symlink_to(default_model)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(default_model), str(second)],
        capture_output=True, text=True, check=True, timeout=240,
        env={**os.environ, "LLAMA_CHAT_HOME": str(tmp_path)},
    )  # fmt: skip
    figures = json.loads(done.stdout)
    loaded, closed = figures["loaded"], figures["closed"]
    weights_mb = 98
    assert all(high - low > weights_mb for high, low in zip(loaded, closed, strict=True)), figures
    assert closed[1] - closed[0] < 0.15 * weights_mb, figures
