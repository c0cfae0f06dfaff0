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
        ("import llama_chat.template.chat_template, llama_chat.turn", (*HEAVY, "textual", "rich")),
        ("import llama_chat.sessions, llama_chat.recorder", (*HEAVY, "textual", "rich", "click")),
        (
            "from llama_chat.markup.code_blocks import code_blocks; assert code_blocks('```\\na')",
            (*HEAVY, "textual", "rich", "pygments"),
        ),
    ],
)
def test_a_fresh_import_leaves_heavy_packages_alone(statement, forbidden):
    loaded = modules_after(statement)
    assert not loaded & set(forbidden)


def test_the_chat_is_opened_without_what_only_later_keys_need():
    """The prompt is to be there soon after that of the smallest app (`bench_chat.py --ratios`)."""
    late = {
        *("llama_chat.catalogue", "llama_chat.pull", "llama_chat.pip_download", "llama_chat.hub"),
        *("llama_chat.shelves.fit", "llama_chat.shelves.listing", "llama_chat.device_facts", "tomllib"),
        *("llama_chat.ui.first_run", "llama_chat.ui.screens.models", "llama_chat.ui.screens.settings"),
        *("llama_chat.ui.screens.tree", "llama_chat.ui.screens.search", "llama_chat.sessions.exchange"),
    }
    loaded = modules_after("import llama_chat.cli, llama_chat.cli.chat, llama_chat.ui.app")
    assert not loaded & late
    assert sum(name.startswith("llama_chat") for name in loaded) <= 215


def test_every_module_of_the_root_is_under_contract():
    """A new room of the root must be named in the contract that keeps the root light."""
    text = (ROOT / "pyproject.toml").read_text()
    package = ROOT / "llama_chat"
    rooms = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    rooms |= {path.parent.name for path in package.glob("*/__init__.py")} - {"cli", "engine", "ui", "walk"}
    missing = {room for room in rooms if f'"llama_chat.{room}"' not in text}
    assert not missing
