"""What the screens use of Textual that it calls its own: each name is here, and the installed one has it.

A new Textual may rename these without a word. Then this says which, and who uses them: mend the users, then
the table. `FrugalCompositor` is the one part that stands aside by itself (`compositor.TESTED`).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import llama_chat.ui

RELIED_ON = {
    "textual._compositor.Compositor": {"_dirty_regions", "_get_renders"},
    "textual._parser.Parser": {"_timeout_time"},
    "textual._xterm_parser.XTermParser": {"_sequence_to_key_events"},
    "textual.app.App": {"_clipboard", "_display", "_driver", "_exit_renderables", "_fatal_error"},
    "textual.dom.DOMNode": {"_bindings"},
    "textual.driver.Driver": {"_app", "_auto_restart", "_debug", "_size"},
    "textual.drivers.linux_driver.LinuxDriver": {
        "_file",
        "_get_terminal_size",
        "_must_signal_resume",
        "_sigcont_application",
    },
    "textual.message_pump.MessagePump": {"_close_messages_no_wait"},
    "textual.screen.Screen": {"_clear_tooltip", "_compositor"},
    "textual.widgets._text_area.TextArea": {
        "_delete_via_keyboard",
        "_line_cache",
        "_on_key",
        "_on_mouse_up",
        "_on_paste",
        "_recompute_cursor_offset",
        "_replace_via_keyboard",
        "_validate_selection",
    },
}
"""Names of methods and attributes, by the class of Textual that has them."""

MODULES = {
    "textual._ansi_sequences": {"ANSI_SEQUENCES_KEYS"},
    "textual._compositor": {"Compositor", "ReflowResult"},
    "textual._xterm_parser": {"BRACKETED_PASTE_END", "BRACKETED_PASTE_START", "XTermParser"},
    "textual.document._document": {"EditResult", "Location", "Selection"},
}
"""What is taken out of modules of its own."""

_PRIVATE = re.compile(r"_[a-z]\w*")
_ASSIGNED = re.compile(r"self\.(_[a-z]\w*)\s*(?::[^=\n]+)?=[^=]")
_WHY = f"Textual {version('textual')} has it no more; whoever uses it must be mended"


@cache
def names_in(cls: type) -> frozenset[str]:
    """The private names that a class of Textual defines or assigns."""
    defined = {*vars(cls), *vars(cls).get("__annotations__", {})}
    assigned = _ASSIGNED.findall(inspect.getsource(cls)) if cls.__module__.startswith("textual") else ()
    return frozenset(name for name in (*defined, *assigned) if _PRIVATE.fullmatch(name))


def names_used(cls: type) -> Iterator[str]:
    """The private names that a class of ours defines, or asks of itself."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()"):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def our_classes() -> Iterator[type]:
    for found in pkgutil.walk_packages(llama_chat.ui.__path__, "llama_chat.ui."):
        module = importlib.import_module(found.name)
        yield from (each for each in vars(module).values() if getattr(each, "__module__", "") == found.name)


def used() -> dict[str, set[str]]:
    """The private names of Textual that are used, by the class nearest to ours that has them."""
    found: dict[str, set[str]] = {}
    for cls in filter(inspect.isclass, our_classes()):
        bases = [base for base in cls.__mro__ if base.__module__.startswith("textual")]
        for name in filter(_PRIVATE.fullmatch, names_used(cls) if bases else ()):
            if base := next((base for base in bases if name in names_in(base)), None):
                found.setdefault(f"{base.__module__}.{base.__qualname__}", set()).add(name)
    return found


@pytest.mark.parametrize("path", RELIED_ON)
def test_this_textual_has_what_we_rely_on(path: str) -> None:
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    missing = RELIED_ON[path] - names_in(cls)
    assert not missing, f"{path}: {sorted(missing)}. {_WHY}."


@pytest.mark.parametrize("module", MODULES)
def test_this_textual_has_the_modules_we_rely_on(module: str) -> None:
    missing = MODULES[module] - vars(importlib.import_module(module)).keys()
    assert not missing, f"{module}: {sorted(missing)}. {_WHY}."


def test_every_private_name_of_textual_that_we_use_is_named_here() -> None:
    assert used() == RELIED_ON, "a name of ours is one of Textual's too, or the table is not what is used"


def test_every_private_module_of_textual_that_we_use_is_named_here() -> None:
    found: dict[str, set[str]] = {}
    for path in Path(llama_chat.ui.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("textual") and "._" in module:
                found.setdefault(module, set()).update(alias.name for alias in node.names)
    assert found == MODULES
