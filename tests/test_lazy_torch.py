"""`import torch` without what only compilers need: there when it is wanted, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from llama_chat.engine.lazy_torch import TRIED, torch_version

LATER = "import sys; from llama_chat.engine.lazy_torch import import_torch; import_torch(); import torch\n"
HAS = "print('torch._decomp' in sys.modules)\n"


def said(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LATER + code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not torch.__version__.startswith(TRIED), reason="stands aside under this torch")
def test_put_off_and_there_for_whoever_relies_on_it() -> None:
    assert torch_version() == torch.__version__
    computing = "torch.nn.functional.silu(torch.ones(4, 4) @ torch.ones(4, 4)).topk(2)\n"
    assert said(computing + HAS) == ["False"]
    # A shape that only the registrations know: this operation has no other code for "meta".
    meta = "print(torch.ops.aten._weight_int8pack_mm(*(torch.empty(s, device='meta', dtype=t) for s, t in ["
    meta += "((1, 32), torch.bfloat16), ((16, 32), torch.int8), ((16,), torch.bfloat16)])).shape[1])\n"
    assert said("import torch._dynamo\n" + HAS + meta) == ["True", "16"]
    assert said("torch._meta_registrations.register_meta\n" + HAS + meta) == ["True", "16"]
    assert said("import transformers\n" + HAS) == ["True"]


def test_an_untried_torch_is_imported_whole() -> None:
    whole = "import llama_chat.engine.lazy_torch as lazy; lazy.TRIED = ('0.',); lazy.import_torch()\n"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + whole + HAS], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"]


@pytest.mark.parametrize("name", ["torch._refs", "torch._prims"])
def test_what_relies_on_it_can_be_imported_first(name: str) -> None:
    """It is imported by what was put off, and must not run a second time."""
    code = (
        "import importlib; from llama_chat.engine.lazy_torch import import_torch; import_torch(); "
        f"print(importlib.import_module({name!r}).__spec__.loader.path)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout
