"""The layers of the design hold: by import-linter's contracts, and in a fresh interpreter."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "accelerate", "numpy", "gguf", "tiktoken", "tokenizers")


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_contracts_hold():
    found = importlib.util.find_spec("importlinter")
    assert found is not None, "import-linter belongs to the extra 'test'"
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import llama_chat.ui.app", (*HEAVY, "markdown_it", "pygments", "llama_chat.engine")),
        ("import llama_chat.cli", (*HEAVY, "textual", "rich", "jinja2", "sqlite3", "llama_chat.ui")),
        ("import llama_chat.template, llama_chat.turn", (*HEAVY, "textual", "rich")),
        ("import llama_chat.sessions, llama_chat.recorder", (*HEAVY, "textual", "rich", "click")),
    ],
)
def test_a_fresh_import_leaves_heavy_packages_alone(statement, forbidden):
    loaded = modules_after(statement)
    assert not loaded & set(forbidden)


def test_every_module_of_the_root_is_under_contract():
    """A new room of the root must be named in the contract that keeps the root light."""
    text = (ROOT / "pyproject.toml").read_text()
    rooms = {path.stem for path in (ROOT / "llama_chat").glob("*.py")} - {"__init__", "__main__"}
    missing = {room for room in rooms if f'"llama_chat.{room}"' not in text}
    assert not missing
