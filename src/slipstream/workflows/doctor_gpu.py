"""The GPU half of `slipstream doctor`: what each one allows, how fast it is, and how the 6B would be trained on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slipstream.memory.planner import Machine, decide
from slipstream.workflows.doctor import GIB, Finding

_AMPERE, _ADA, _HOPPER = (8, 0), (8, 9), (9, 0)
_SLOW_GBPS = 6.0
_NO_CUDA_BUILD = (
    "install torch with CUDA: pip install --force-reinstall torch, with the index of https://pytorch.org/get-started "
    "that fits the driver"
)


@dataclass(frozen=True)
class Gpu:
    """What is known of a GPU before anything runs on it."""

    index: int
    name: str
    capability: tuple[int, int]
    free_bytes: int
    total_bytes: int
    architectures: tuple[str, ...]
    cudnn: int | None
    has_triton: bool


def gpu_findings() -> Iterator[Finding]:
    """Driver, GPUs, and on each what was measured."""
    import torch

    driver = driver_version()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    yield driver_finding(driver, torch.version.cuda, count)
    for index in range(count):
        gpu = _look_at(index)
        yield from capabilities(gpu)
        if gpu.capability >= _AMPERE and _is_built_for(gpu):
            yield from _measured(index)


def driver_version() -> str | None:
    """Of NVIDIA's driver, as its own tool says; None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def driver_finding(driver: str | None, built_for: str | None, count: int) -> Finding:
    """Whether torch reaches the GPUs that are there."""
    if count:
        return Finding("driver", "ok", f"NVIDIA {driver or '(version unknown)'}, {count} GPU(s)")
    if driver is None:
        return Finding(
            "driver", "warn", "no NVIDIA GPU was found: the tiny family trains on the CPU, the 6B wants a GPU",
            "install NVIDIA's driver where there is a GPU; in a container start it with --gpus all",
        )  # fmt: skip
    if built_for is None:
        return Finding("driver", "fail", f"NVIDIA {driver} is there, but torch was built without CUDA", _NO_CUDA_BUILD)
    return Finding(
        "driver", "fail", f"NVIDIA {driver} is there, but torch (CUDA {built_for}) sees no GPU",
        f"update the driver, look at CUDA_VISIBLE_DEVICES, or {_NO_CUDA_BUILD}",
    )  # fmt: skip


def capabilities(gpu: Gpu) -> Iterator[Finding]:
    """What a GPU's kind allows."""
    name = f"GPU {gpu.index}"
    major, minor = gpu.capability
    free, total = gpu.free_bytes / GIB, gpu.total_bytes / GIB
    text = f"{gpu.name}, compute capability {major}.{minor}, {free:.1f} of {total:.1f} GiB free"
    if free < 0.8 * total:
        yield Finding(name, "warn", text, "close what else uses it: a plan counts only with what is free")
    else:
        yield Finding(name, "ok", text)
    if not _is_built_for(gpu):
        yield Finding(
            f"{name} kernels", "fail", f"this torch has none for sm_{major}{minor} ({', '.join(gpu.architectures)})",
            _NO_CUDA_BUILD,
        )  # fmt: skip
    if gpu.capability < _AMPERE:
        yield Finding(f"{name} bf16", "fail", "no bf16, which Z-Image needs", "use a card from Ampere (RTX 30) on")
        return
    yield Finding(f"{name} bf16", "ok", "tensor cores multiply bf16")
    float8 = gpu.capability >= _ADA
    yield Finding(
        f"{name} float8", "ok",
        "tensor cores multiply float8 (quantization.compute_dtype)" if float8
        else "no float8 tensor cores (Ada, Hopper and Blackwell have them): float8 weights save memory, not time",
    )  # fmt: skip
    attention = f"cuDNN {gpu.cudnn} and flash attention" if gpu.cudnn else "flash attention"
    yield Finding(f"{name} attention", "ok", f"{attention}; a run times them and takes the faster")
    if gpu.has_triton:
        yield Finding(f"{name} Triton", "ok", "loads: fused row kernels run on it")
    else:
        yield Finding(
            f"{name} Triton", "warn", "does not load: rows are computed by torch, which is slower",
            "pip install triton (Linux), or triton-windows",
        )  # fmt: skip


def speed_findings(index: int, tflops: float, gbps: float) -> Iterator[Finding]:
    """Measured rates."""
    yield Finding(f"GPU {index} products", "ok", f"{tflops:.0f} TFLOP/s in bf16 (4096 x 4096 x 4096)")
    text = f"{gbps:.1f} GB/s from pinned host memory"
    if gbps < _SLOW_GBPS:
        yield Finding(
            f"GPU {index} PCIe", "warn", f"{text}: weights that wait in host memory come slowly",
            "look whether the card sits in a slot with 16 lanes",
        )  # fmt: skip
    else:
        yield Finding(f"GPU {index} PCIe", "ok", text)


def _is_built_for(gpu: Gpu) -> bool:
    """Whether torch has kernels for it: of its own capability, or an earlier one of the same generation."""
    if not gpu.architectures:
        return True
    major, minor = gpu.capability
    own = [int(one[3:].rstrip("af")) for one in gpu.architectures if one.startswith("sm_")]
    return any(number // 10 == major and number % 10 <= minor for number in own) or any(
        one.startswith("compute_") for one in gpu.architectures
    )


def _look_at(index: int) -> Gpu:
    import torch

    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return Gpu(
        index, properties.name, (properties.major, properties.minor), free, total,
        tuple(torch.cuda.get_arch_list()), torch.backends.cudnn.version(), _loads("triton"),
    )  # fmt: skip


def _measured(index: int) -> Sequence[Finding]:
    import torch

    from slipstream.training.machine import measure_machine

    try:
        machine = measure_machine(torch.device("cuda", index))
    except RuntimeError as error:
        line = str(error).strip().splitlines()[0][:160]
        return [Finding(f"GPU {index}", "fail", f"nothing runs on it: {line}", "restart it, or update the driver")]
    return [*speed_findings(index, machine.bf16_tflops, machine.pcie_gbps), usual_plan(index, machine)]


def usual_plan(index: int, machine: Machine) -> Finding:
    """How a LoRA of the 6B at 1024 would be trained."""
    from slipstream.training.planning import usual_job

    decision = decide(machine, usual_job())
    text = f"at 1024 x 1024, rank 16: {decision.chosen.describe()}"
    if decision.warning is None:
        return Finding(f"GPU {index} plan", "ok", text)
    return Finding(
        f"GPU {index} plan", "warn", text + ", which may not fit", "start from the preset vram_8gb and leave out 1024"
    )


def _loads(module: str) -> bool:
    import importlib

    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 whatever keeps it from loading
        return False
    return True
