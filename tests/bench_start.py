"""Where the time to the first token goes: `python tests/bench_start.py MODEL.gguf [--starts 5]`.

Starts `llama-chat run` again and again, one run after the other with nothing kept and the rest with what the
first ones kept, and prints the median seconds from the start to the first character; then, in processes of
their own, the parts one after the other: reading the model, importing torch, building, the first forwards.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As an installed program has it: its modules are compiled once, not at every start."""
COMMAND = str(Path(sys.executable).with_name("llama-chat"))

PARTS = """
import json, sys, time
from pathlib import Path
started = time.perf_counter()
found = {}
def lap(name):
    global started
    now = time.perf_counter()
    found[name], started = now - started, now
from llama_chat.engine.lazy_torch import import_torch
from llama_chat.engine.packed.early import read_kept_weights
from llama_chat.engine.preload import mapping_torch
with mapping_torch():
    from llama_chat.engine.choose import read_model
    lap("import of the reader")
    model = read_model(Path(sys.argv[1]), "auto")
    lap("header and tokenizer")
lap("rest of mapping torch")
read_kept_weights(model, Path(sys.argv[2]))
import_torch()
lap("import torch")
from llama_chat.engine.load import build_engine
from llama_chat.settings import ModelSettings
lap("import of the engine")
engine = build_engine(model, ModelSettings(), cache_folder=Path(sys.argv[2]))
lap("building")
cache = engine.network.new_cache()
engine.network.forward(list(range(40)), cache, "last")
lap("40 tokens of prompt")
engine.network.forward([5], cache, "last")
lap("one step")
status = Path("/proc/self/status").read_text()
found["peak_mb"] = int(status.partition("VmHWM:")[2].split()[0]) // 1024 if "VmHWM:" in status else 0
engine.close()
print(json.dumps(found))
"""


def first_token_s(model: Path, home: Path) -> float:
    """Seconds from the start of the command to the first character of the answer."""
    started = time.perf_counter()
    command = [COMMAND, "run", "Count to three.", "--model", str(model), "--max-new-tokens", "4"]
    with subprocess.Popen(
        command,
        env={**ENVIRONMENT, "LLAMA_CHAT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1), "no answer"
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def parts(model: Path, home: Path) -> dict[str, float]:
    """Seconds of each part, and the peak memory."""
    done = subprocess.run(
        [sys.executable, "-c", PARTS, str(model), str(home / "cache")],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        print(f"first token, nothing kept: {first_token_s(given.model, home):.2f} s")
        later = [first_token_s(given.model, home) for _ in range(given.starts)]
        print(
            f"first token, weights kept: {statistics.median(later):.2f} s ({min(later):.2f}-{max(later):.2f})"
        )
        runs = [parts(given.model, home) for _ in range(given.starts)]
        for name in runs[0]:
            print(f"  {name:24}{statistics.median(run[name] for run in runs):8.3f}")


if __name__ == "__main__":
    main()
