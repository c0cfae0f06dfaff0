"""What the machine and torch say of the devices, made up here: no test needs a GPU."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from test_cli import run
from tiny_library import FAMILIES, write_family
from tiny_models import TinyModel
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from llama_chat.engine import device_report, devices
from llama_chat.engine.choose import read_model
from llama_chat.engine.device_report import advice, list_devices
from llama_chat.engine.devices import free_memory, gpu_architecture, is_bf16_fast
from llama_chat.engine.hardware import Machine, Memory
from llama_chat.engine.hf.load import library_needs, load_hf
from llama_chat.engine.hf.placement import cache_bytes_of
from llama_chat.engine.precision import choose_precision
from llama_chat.engine.quantize import (
    Int4Groups,
    Int8Linear,
    TiledInt4Linear,
    UnpackingInt4Linear,
    XpuInt4Linear,
    build_int4_linear,
    int4_linear,
    quantize_int4,
)
from llama_chat.engine.quantize.kernels import agrees, has_int4_product
from llama_chat.errors import DeviceError

GPU = torch.device("cuda", 0)
GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Machine:
    """A machine whose files these are; no program is found on it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root, which=lambda name: None)


# --- the machine -----------------------------------------------------------------------------------

FLAGS = "avx2 avx512f avx512_vnni avx_vnni avx512_bf16 amx_bf16 amx_int8"
MEMINFO = "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"


def test_memory_is_what_programs_can_still_have(tmp_path: Path) -> None:
    assert write(tmp_path, {"proc/meminfo": MEMINFO}).memory() == Memory(16 * GIB, 8 * GIB)


def test_a_container_s_limit_counts_the_tightest_one(tmp_path: Path) -> None:
    machine = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/user.slice/box\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.max": str(4 * GIB),
            "sys/fs/cgroup/user.slice/memory.current": str(3 * GIB),
            "sys/fs/cgroup/user.slice/memory.stat": f"anon 5\ninactive_file {GIB}\nfile 7\n",
            "sys/fs/cgroup/user.slice/box/memory.max": str(6 * GIB),
            "sys/fs/cgroup/user.slice/box/memory.current": str(GIB),
        },
    )
    assert machine.memory() == Memory(4 * GIB, 2 * GIB, is_limited=True)


def test_limits_of_the_first_kind_of_groups(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "5:cpu:/x\n4:memory:/box\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": str(GIB),
    }
    assert write(tmp_path, files).memory() == Memory(2 * GIB, GIB, is_limited=True)
    unlimited = files | {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712"}
    assert write(tmp_path, unlimited).memory() == Memory(16 * GIB, 8 * GIB)


@pytest.mark.parametrize(
    "damage",
    [
        {"proc/meminfo": "MemTotal: much\nMemAvailable"},
        {"proc/self/cgroup": "nonsense\n0::/../../etc\n0::/\n"},
        {"sys/fs/cgroup/memory.max": "-5", "proc/self/cgroup": "0::/"},
        {"sys/fs/cgroup/memory.max": "100", "sys/fs/cgroup/memory.current": "x", "proc/self/cgroup": "0::/"},
    ],
)
def test_files_that_say_nothing_are_passed_over(tmp_path: Path, damage: dict[str, str]) -> None:
    memory = write(tmp_path, {"proc/meminfo": MEMINFO} | damage).memory()
    assert not memory.is_limited
    if "proc/meminfo" not in damage:
        assert memory == Memory(16 * GIB, 8 * GIB)


def test_the_processor(tmp_path: Path) -> None:
    cpuinfo = "model name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\nmodel name\t: Other\n"
    processor = write(tmp_path, {"proc/cpuinfo": cpuinfo}).processor()
    assert (processor.name, processor.instruction_sets) == ("Some CPU", ("AVX2", "AVX-512", "AVX-512 BF16"))
    assert processor.cores >= 1
    arm = write(tmp_path, {"proc/cpuinfo": "Features\t: fp asimd bf16 i8mm\n"}).processor()
    assert arm.instruction_sets == ("NEON", "BF16", "I8MM")
    assert arm.name


def test_no_more_threads_than_processors_and_a_word_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    try:
        assert [devices.set_threads(asked) for asked in (999, 2, 1, 0)] == [2, 2, 1, 2]
    finally:
        torch.set_num_threads(before)
    (notice,) = devices.threads_notices(999)
    assert notice == "This program may use 2 processors: so many threads run, not 999."
    assert not any(devices.threads_notices(asked) for asked in (0, 1, 2))


def test_the_vendors_of_the_graphics_cards(tmp_path: Path) -> None:
    card = "sys/class/drm/{}/device/vendor"
    machine = write(
        tmp_path,
        {
            card.format("card0"): "0x8086\n", "sys/class/drm/card0/device/device": "0x56a0\n",
            card.format("card1"): "0x1002\n",
            card.format("card2"): "0x1002",
            card.format("card3"): "0x1234\n", card.format("card4"): "what\n",
        },
    )  # fmt: skip
    assert machine.gpu_vendors() == ("Intel", "AMD")
    bare = Machine(tmp_path / "none", which=lambda name: "/bin/x" if name == "nvidia-smi" else None)
    assert bare.gpu_vendors() == ("NVIDIA",)


# --- what torch says -------------------------------------------------------------------------------


def as_torch(monkeypatch: pytest.MonkeyPatch, *, hip: str | None = None, cuda: str | None = None) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.version, "cuda", cuda)


def fake_cuda(
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str = "AMD Instinct MI210",
    arch: str = "gfx90a:sramecc+:xnack-",
    capability: tuple[int, int] = (9, 0),
    count: int = 1,
    known: list[str] | None = None,
) -> None:
    properties = SimpleNamespace(
        name=name, gcnArchName=arch, major=capability[0], minor=capability[1], total_memory=64 * GIB
    )
    for key, value in {
        "is_available": lambda: True,
        "device_count": lambda: count,
        "get_device_properties": lambda device: properties,
        "mem_get_info": lambda device: (60 * GIB, 64 * GIB),
        "memory_reserved": lambda device: 3 * GIB,
        "memory_allocated": lambda device: GIB,
        "get_arch_list": lambda: known or [],
    }.items():
        monkeypatch.setattr(torch.cuda, key, value)


def test_an_instinct_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_torch(monkeypatch, hip="6.4")
    fake_cuda(monkeypatch, count=2, known=["gfx90a", "gfx942"])
    first, second, cpu = list_devices(write(tmp_path, {"proc/meminfo": MEMINFO}))
    assert (first.name, second.name, cpu.name) == ("rocm:0", "rocm:1", "cpu")
    assert (first.product, first.details, first.problem) == ("AMD Instinct MI210", "gfx90a", "")
    # What torch keeps in reserve can be had again.
    assert (first.total_bytes, first.free_bytes) == (64 * GIB, 62 * GIB)
    assert first.fast == ("bf16", "f16", "int8", "int4")
    assert free_memory(GPU) == 62 * GIB


@pytest.mark.parametrize(
    ("arch", "bf16", "int4"),
    [
        ("gfx942:sramecc+", True, True), ("gfx908", True, False), ("gfx1100", True, False),
        ("gfx1201", True, False), ("gfx1030", False, False), ("gfx906", False, False),
    ],
)  # fmt: skip
def test_amd_architectures(monkeypatch: pytest.MonkeyPatch, arch: str, bf16: bool, int4: bool) -> None:
    as_torch(monkeypatch, hip="6.4")
    fake_cuda(monkeypatch, arch=arch)
    assert gpu_architecture(GPU) == arch.partition(":")[0]
    assert is_bf16_fast(GPU) == bf16
    assert has_int4_product(GPU, torch.bfloat16) == int4
    assert choose_precision("auto", GPU).compute is (torch.bfloat16 if bf16 else torch.float16)
    assert choose_precision("int4", GPU).kind == "int4"


@pytest.mark.parametrize(
    ("capability", "bf16"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((12, 0), True)]
)
def test_nvidia_architectures(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], bf16: bool
) -> None:
    as_torch(monkeypatch, cuda="12.8")
    fake_cuda(monkeypatch, name="NVIDIA Some", capability=capability)
    (facts, _) = list_devices()
    assert (facts.name, facts.details) == ("cuda:0", f"sm_{capability[0]}{capability[1]}")
    assert ("bf16" in facts.fast, "int4" in facts.fast) == (bf16, bf16)
    assert not has_int4_product(GPU, torch.float16)


@pytest.mark.parametrize(
    ("capability", "known", "runs"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),  # code of an older step of the same architecture
        ((8, 0), ["sm_86"], False),
        ((6, 1), ["sm_75", "sm_80"], False),
        ((9, 0), [], True),
    ],
)
def test_a_card_that_this_torch_has_no_code_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], known: list[str], runs: bool
) -> None:
    as_torch(monkeypatch, cuda="12.8")
    fake_cuda(monkeypatch, capability=capability, known=known)
    problem = list_devices()[0].problem
    assert ("no code for sm_" in problem) != runs
    assert runs or ", ".join(known) in problem


def test_a_device_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    as_torch(monkeypatch, hip="6.4")
    fake_cuda(monkeypatch)

    def fail(*_: object) -> None:
        raise RuntimeError("HIP error: no permission\nCompile with ...")

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "mem_get_info", fail)
        gpu, cpu = list_devices()
        assert (gpu.name, gpu.problem) == ("rocm:0", "HIP error: no permission")
        assert cpu.problem == ""
        assert free_memory(GPU) is None
    monkeypatch.setattr(torch.cuda, "device_count", fail)
    gpu, cpu = list_devices()
    assert (gpu.name, gpu.problem) == ("rocm", "HIP error: no permission")


def test_intel_and_apple(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(
        name="Intel(R) Arc(TM) 140V", driver_version="1.6", total_memory=16 * GIB,
        has_bfloat16_conversions=True, has_fp64=False,
    )  # fmt: skip
    for key, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda device: properties,
        "mem_get_info": lambda device: (12 * GIB, 16 * GIB),
        "memory_reserved": lambda device: 0,
        "memory_allocated": lambda device: 0,
    }.items():
        monkeypatch.setattr(torch.xpu, key, value)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 20 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 5 * GIB)
    xpu, mps, _ = list_devices()
    assert (xpu.name, xpu.product, xpu.free_bytes) == ("xpu:0", "Intel(R) Arc(TM) 140V", 12 * GIB)
    assert xpu.fast == ("bf16", "f16", "int8", "int4")
    assert (mps.name, mps.total_bytes, mps.free_bytes) == ("mps", 20 * GIB, 15 * GIB)


# --- what is missing -------------------------------------------------------------------------------


def card(root: Path, vendor: str, **files: str) -> Machine:
    device = "sys/class/drm/card0/device"
    return write(root, {f"{device}/vendor": vendor, f"{device}/device": "0x7d55\n"} | files)


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        ("0x1002", ("AMD GPU", "not built for ROCm", "Install torch for ROCm, before llama-chat")),
        ("0x10de", ("NVIDIA GPU", "not built for CUDA", "Install torch for CUDA")),
        ("0x8086", ("Intel GPU", "Arc and Core Ultra", "Install torch for Intel GPUs")),
    ],
)
def test_a_torch_that_does_not_fit_the_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, words: tuple[str, ...]
) -> None:
    as_torch(monkeypatch)
    (line,) = advice(card(tmp_path, vendor))
    assert all(word in line for word in words), line
    assert torch.__version__ in line or vendor == "0x8086"


@pytest.mark.parametrize("number", ["0x9a49", "0x3e9b", "0x46a6", "what", ""])
def test_nothing_is_said_of_an_intel_gpu_that_no_torch_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: str
) -> None:
    """Those of older processors; also where the system does not say which one it is."""
    as_torch(monkeypatch)
    machine = card(tmp_path, "0x8086", **{"sys/class/drm/card0/device/device": number})
    assert machine.gpu_vendors() == ()
    assert advice(machine) == []


def test_a_torch_for_the_other_vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_torch(monkeypatch, cuda="12.8")
    (line,) = advice(card(tmp_path, "0x1002"))
    assert "(CUDA 12.8) is not built for ROCm" in line


def test_a_fitting_torch_that_sees_nothing_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_torch(monkeypatch, hip="6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    machine = card(tmp_path, "0x1002")
    assert "/dev/kfd is not there" in advice(machine)[0]
    write(tmp_path, {"dev/kfd": ""})
    assert "HSA_OVERRIDE_GFX_VERSION" in advice(machine)[0]
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "usermod -aG render,video" in advice(machine)[0]
    as_torch(monkeypatch, cuda="12.8")
    nvidia = card(tmp_path, "0x10de")
    assert "no `nvidia-smi`" in advice(nvidia)[0]
    assert "too old" in advice(Machine(tmp_path, which=lambda name: f"/bin/{name}"))[0]


def test_nothing_is_said_of_a_card_that_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_torch(monkeypatch, hip="6.4")
    fake_cuda(monkeypatch)
    assert advice(card(tmp_path, "0x1002")) == []
    assert advice(Machine(tmp_path / "empty", which=lambda name: None)) == []


# --- products of few bits off the CPU --------------------------------------------------------------


def groups_and_x(n: int = 64, d: int = 256) -> tuple[Any, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    groups = quantize_int4(torch.randn(n, d, generator=generator))
    x_TD = torch.randn(5, d, generator=generator).bfloat16()
    return groups, x_TD, x_TD.float() @ groups.dense().T


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got.float() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("at_once", [1 << 24, 1 << 10])
def test_unpacking_for_the_product(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, at_once: int) -> None:
    monkeypatch.setattr(int4_linear, "_UNPACK_VALUES", at_once)
    groups, x_TD, wanted = groups_and_x(n=208)
    linear = UnpackingInt4Linear(groups, torch.device("cpu"), dtype)
    got = linear(x_TD.to(dtype))
    assert (got.dtype, tuple(got.shape)) == (dtype, (5, 208))
    assert relative(got, wanted) < 0.005
    packed = int4_linear.Int4Linear(groups)(x_TD)
    assert relative(got, packed.float()) < 0.007
    assert sum(buffer.nbytes for buffer in linear.buffers()) <= 208 * 256 * (0.5 + 8 / 32)


def unpacked_words(words: Tensor) -> Tensor:
    """Eight 4-bit numbers of each int32, the lowest first."""
    return torch.stack([(words >> shift) & 15 for shift in range(0, 32, 4)], dim=-1).flatten(1)


def test_intel_s_layout_and_the_zeros_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product is played here as oneDNN documents it: (q - point) · scale, the lowest bits first."""

    def product(x: Tensor, words: Tensor, group: int, scale: Tensor, points: Tensor) -> Tensor:
        q = unpacked_words(words).float().unflatten(-1, (-1, group))
        assert points.dtype is torch.int8
        weight = (q - points.T[..., None].float()) * scale.T[..., None].float()
        return (x.float() @ weight.flatten(1).T).to(x.dtype)

    ops = SimpleNamespace(_weight_int4pack_mm_with_scales_and_zeros=product)
    monkeypatch.setattr(int4_linear.torch, "ops", SimpleNamespace(aten=ops))
    groups, x_TD, wanted = groups_and_x()
    linear = XpuInt4Linear(groups, torch.device("cpu"), torch.bfloat16)
    assert relative(linear(x_TD), wanted) < 0.007


@pytest.mark.parametrize(("d", "tiles"), [(256, 8), (192, 4), (96, 2)])
def test_the_tiled_layout_is_what_torch_s_own_shapes_ask_for(d: int, tiles: int) -> None:
    """Run on tensors that hold nothing, for which torch checks shapes and types alone."""
    with FakeTensorMode():
        q = torch.empty(64, d, dtype=torch.uint8)
        scale = torch.empty(64, d // 32)
        linear = TiledInt4Linear(Int4Groups(q, scale, scale), torch.device("cpu"), torch.bfloat16)
        assert tuple(linear.packed.shape) == (8, d // (16 * tiles), 32, tiles // 2)
        assert tuple(linear.scales_and_zeros.shape) == (d // 32, 64, 2)
        out = linear(torch.empty(5, d, dtype=torch.bfloat16))
    assert (tuple(out.shape), out.dtype) == ((5, 64), torch.bfloat16)


def test_tiles_hold_the_even_column_in_the_high_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch's own helper packs for every device but the CPU (common_quantization.py)."""
    packed = []

    def pack(pairs: Tensor, tiles: int) -> Tensor:
        packed.append(pairs)
        return pairs

    monkeypatch.setattr(
        int4_linear.torch,
        "ops",
        SimpleNamespace(aten=SimpleNamespace(_convert_weight_to_int4pack=pack)),
    )
    groups, _, _ = groups_and_x()
    TiledInt4Linear(groups, torch.device("cpu"), torch.bfloat16)
    assert packed[0].dtype is torch.uint8
    assert torch.equal(packed[0] >> 4, groups.q[:, ::2])
    assert torch.equal(packed[0] & 15, groups.q[:, 1::2])


class Product(torch.nn.Module):
    """A product that gives what it is told to."""

    def __init__(self, weight: Tensor, error: Exception | None = None) -> None:
        super().__init__()
        self.weight, self.error = weight, error

    def forward(self, x_TD: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        return (x_TD.float() @ self.weight.T).to(x_TD.dtype)


def test_a_product_is_tried_before_it_is_trusted() -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(1))
    shuffled = weight[torch.arange(64).roll(1)]
    assert agrees(Product(weight), weight, torch.bfloat16)
    assert not agrees(Product(shuffled), weight, torch.bfloat16)
    assert not agrees(Product(torch.full_like(weight, torch.nan)), weight, torch.bfloat16)
    for error in (RuntimeError("only supported on CDNA2"), NotImplementedError("no kernel")):
        assert not agrees(Product(weight, error), weight, torch.bfloat16)
    with pytest.raises(torch.OutOfMemoryError):
        agrees(Product(weight, torch.OutOfMemoryError("full")), weight, torch.bfloat16)


def test_a_product_that_fails_once_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU whose own product is missing or wrong: the plain one takes its place."""
    tried: list[object] = []
    groups, x_TD, wanted = groups_and_x()
    monkeypatch.setattr(int4_linear, "has_int4_product", lambda *_: True)

    def own(groups: Any, device: torch.device, dtype: torch.dtype) -> torch.nn.Module | None:
        tried.append(groups)
        return None if len(tried) == 1 else Product(groups.dense())

    monkeypatch.setattr(int4_linear, "_own_linear", own)
    monkeypatch.setattr(int4_linear, "_is_cpu", lambda device: False)
    trials: dict[tuple[int, int], bool] = {}
    cpu = torch.device("cpu")
    for _ in range(3):
        linear = build_int4_linear(groups, cpu, torch.bfloat16, trials)
        assert isinstance(linear, UnpackingInt4Linear)
        assert relative(linear(x_TD), wanted) < 0.007
    assert (len(tried), trials) == (1, {(64, 256): False})
    other, _, _ = groups_and_x(n=32)
    assert isinstance(build_int4_linear(other, cpu, torch.bfloat16, trials), Product)
    assert trials[32, 256]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_8_bits_unpacked_for_the_product(dtype: torch.dtype) -> None:
    weight = torch.randn(80, 64, generator=torch.Generator().manual_seed(3))
    x_TD = torch.randn(20, 64, generator=torch.Generator().manual_seed(5)).to(dtype)
    linear = Int8Linear(weight.split(16), (80, 64), dtype)
    wanted = x_TD.float() @ weight.T
    assert relative(linear.unpacked_product(x_TD), wanted) < 0.014
    assert relative(linear.unpacked_product(x_TD), linear(x_TD).float()) < 0.01
    linear.uses_kernel = False
    assert torch.equal(linear(x_TD), linear.unpacked_product(x_TD))


# --- the command -----------------------------------------------------------------------------------


def test_the_command_lists_devices_and_what_is_missing(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_report, "advice", lambda: ["There is an AMD GPU\x1b[31m, but ..."])
    as_torch(monkeypatch, hip="6.4")
    fake_cuda(monkeypatch)
    assert run("devices") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"torch {torch.__version__} (ROCm 6.4)" in out
    row = next(line for line in out.splitlines() if line.startswith("rocm:0"))
    assert "AMD Instinct MI210" in row
    assert "66.6 GB" in row
    assert "There is an AMD GPU␛[31m" in out
    assert "\x1b" not in out


def test_the_command_holds_a_model_against_each_device(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "tiny.gguf")
    monkeypatch.setattr(devices, "Machine", lambda: Machine(tmp_path / "none"))
    machine = write(tmp_path / "root", {"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 104000 kB\n"})
    monkeypatch.setattr(device_report, "Machine", lambda: machine)
    assert run("devices", "--model", str(path), "--json") == 0
    data = json.loads(capsys.readouterr().out)
    by_dtype = {fit["dtype"]: fit for fit in data["fits"]}
    assert set(by_dtype) == {"auto", "bf16", "f16", "f32", "int8", "int4"}
    for fit in by_dtype.values():
        assert fit["total_bytes"] == fit["weights_bytes"] + fit["cache_bytes"] + fit["working_bytes"]
        assert (fit["device"], fit["context"]) == ("cpu", 512)
    assert by_dtype["f32"]["verdict"] in ("tight", "does not fit")
    assert by_dtype["f32"]["weights_bytes"] > 3 * by_dtype["int8"]["weights_bytes"]
    assert run("devices", "--model", str(path), "--dtype", "int8", "--context", "100") == 0
    out = capsys.readouterr().out
    assert "With a context of 100 tokens:" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("cpu ")][1:] == ["int8"]


def test_transformers_has_no_int8_and_int4_of_a_llama_either(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "tiny.gguf")
    assert run("devices", "--model", str(path), "--engine", "hf", "--device", "cpu", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    by_dtype = {fit["dtype"]: fit for fit in data["fits"]}
    assert set(by_dtype) == {"auto", "bf16", "f16", "f32"}
    assert by_dtype["auto"] == by_dtype["bf16"] | {"dtype": "auto"}  # not the file's 4 bits
    assert by_dtype["f32"]["weights_bytes"] == 2 * by_dtype["bf16"]["weights_bytes"]
    assert not any({"int8", "int4"} & set(device["fast"]) for device in data["devices"])
    assert run("devices", "--model", str(path), "--engine", "hf", "--dtype", "int4") == 1
    assert "not by transformers" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_terminal_shows_all_in_lines_that_fit(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    path = TinyModel(type=GGMLType.Q4_1).write(tmp_path / "tiny.gguf")
    fake_cuda(monkeypatch)
    as_torch(monkeypatch, hip="6.4")
    machine = write(tmp_path / "root", {"proc/meminfo": MEMINFO, "proc/cpuinfo": f"flags : {FLAGS}"})
    monkeypatch.setattr(device_report, "Machine", lambda: machine)
    monkeypatch.setattr(devices, "Machine", lambda: machine)
    monkeypatch.setattr(device_report, "advice", lambda: ["word " * 40])
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    seen = []
    for out in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stdout", out)
        assert run("devices", "--model", str(path), "--device", "cpu") == 0
        seen.append(out.getvalue())
    piped, shown = seen
    assert max(map(len, shown.splitlines())) <= width < max(map(len, piped.splitlines()))
    assert sorted(shown.split()) == sorted(piped.split())


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    return write_family(tmp_path / "tiny-qwen", "qwen2")


def test_of_a_model_that_only_transformers_runs_weights_and_cache_are_held(
    home: Path, qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("devices", "--model", str(qwen), "--device", "cpu", "--json") == 0
    by_dtype = {fit["dtype"]: fit for fit in json.loads(capsys.readouterr().out)["fits"]}
    assert set(by_dtype) == {"auto", "bf16", "f16", "f32"}
    f32, bf16 = by_dtype["f32"], by_dtype["bf16"]
    stored = (qwen / "model.safetensors").stat().st_size  # f32, and a header
    assert stored - 4096 < f32["weights_bytes"] <= stored
    assert f32["cache_bytes"] == 512 * 2 * 2 * 2 * 16 * 4  # tokens, K and V, layers, heads, values, bytes
    assert f32["cache_bytes"] == 2 * bf16["cache_bytes"]
    assert f32["total_bytes"] == f32["weights_bytes"] + f32["cache_bytes"]
    assert f32["working_bytes"] is f32["largest_context"] is None
    assert f32["verdict"] == "fits"
    assert run("devices", "--model", str(qwen), "--device", "cpu", "--dtype", "f32", "--context", "100") == 0
    out = capsys.readouterr().out
    assert "With a context of 100 tokens:" in out
    assert out.endswith("transformers runs this model; what is not known (?) is not counted.\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--engine", "scratch"), "qwen2"),
        (("--dtype", "int4"), "--dtype int4 is made by the from-scratch engine, not by transformers"),
        (("--context", "9999"), "512"),
    ],
)
def test_what_cannot_be_said_of_it_is_one_clear_line(
    home: Path, qwen: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str], words: str
) -> None:
    assert run("devices", "--model", str(qwen), *options) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("llama-chat: ")
    assert words in err
    assert "Traceback" not in err


def test_a_family_that_not_even_transformers_knows(
    home: Path, qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((qwen / "config.json").read_text())
    (qwen / "config.json").write_text(json.dumps(config | {"model_type": "teapot", "architectures": ["Tea"]}))
    assert run("devices", "--model", str(qwen)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("llama-chat: tiny-qwen/config.json: the architecture is 'teapot'")
    assert "transformers does not know this model" in err


@pytest.mark.parametrize(
    ("family", "tokens"), [("gpt2", 2 * 100), ("mistral", 2 * 24), ("gemma3_text", None), ("mamba", None)]
)
def test_the_cache_of_other_families_by_what_their_configs_name(family: str, tokens: int | None) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(family, **FAMILIES[family])
    if family == "gemma3_text":
        config = AutoConfig.for_model(
            family, **FAMILIES[family] | {"layer_types": ["sliding_attention", "full_attention"]}
        )
        tokens = 24 + 100
    found = cache_bytes_of(config, 100, torch.bfloat16)
    kv_heads = 4 if family == "gpt2" else 2
    assert found == (None if tokens is None else tokens * 2 * kv_heads * 16 * 2)


def test_a_cache_that_does_not_fit_is_known_before_another_family_is_loaded(
    qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model(qwen, "auto")
    need = library_needs(model, ["f32"], 0)["f32"]
    assert need.cache_bytes is not None
    cpu = torch.device("cpu")
    free = {cpu: need.weights_bytes + need.cache_bytes}
    load_hf(model, "f32", cpu, free_bytes=free).close()
    free[cpu] -= 1
    with pytest.raises(DeviceError, match="in transformers; free are"):
        load_hf(model, "f32", cpu, free_bytes=free)


def test_a_model_that_is_none_fails_in_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("devices", "--model", "/nowhere/at/all") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("llama-chat: ")


def test_the_command_says_when_the_device_that_is_asked_for_is_missing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("devices", "--device", "rocm") == 1
    assert "No rocm device" in capsys.readouterr().err
