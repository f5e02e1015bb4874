"""Which device and precision a run uses, and one line that says why."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slipstream.core.errors import DeviceError
from slipstream.kernels.float8 import float8_obstacle
from slipstream.precision.schemes import SCHEMES

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
GIB = 2**30
CONTEXT_BYTES = 3 * GIB // 4
"""What CUDA and its kernels take of a GPU outside of torch's allocator: 0.67 to 0.76 GiB on an H100."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """The chosen device and precisions, with the reasons for the log.

    A `*_dtype` is the precision of the matmuls and of what is not packed; a `*_scheme` names how the linears' weights
    are kept (see `precision.schemes`), None as they are. `float8_products`: whether the blocks' linears shall be
    multiplied in float8. `adapter_on` and `keep_transposed` are the plan's: where the weights without a folded training
    adapter wait (`gpu`, `host`; `live`: it is not folded), and whether float8 codes lie on the device transposed too;
    None where there is no plan.
    """

    device: torch.device
    transformer_dtype: torch.dtype
    text_encoder_dtype: torch.dtype
    reasons: tuple[str, ...]
    transformer_scheme: str | None = None
    text_encoder_scheme: str | None = None
    float8_products: bool = False
    adapter_on: str | None = None
    keep_transposed: bool | None = None


@dataclass(frozen=True)
class Precision:
    """How one part's weights are kept, and why."""

    dtype: torch.dtype
    scheme: str | None
    reason: str


def choose_compute(
    device: str, transformer: str, text_encoder: str, compute_dtype: str = "bf16",
    by_plan: tuple[bool, bool, bool] = (False, False, False),
) -> Compute:  # fmt: skip
    """Resolve `auto` and check that the device exists.

    `compute_dtype` is that of the products with float8 weights in a training; elsewhere they are made dense. `by_plan`
    says of the three whether the plan chose it, not the user.

    Raises:
        DeviceError: no such device is known, CUDA was asked for and is not there, or the card has no bf16 or float8.
    """
    chosen, why = _choose_device(device)
    parts = {
        "transformer": choose_precision(transformer, chosen, by_plan=by_plan[0]),
        "text encoder": choose_precision(text_encoder, chosen, by_plan=by_plan[1]),
    }
    reasons = (
        f"device: {_device_name(chosen)} ({why})",
        *(f"precision of the {part}: {precision.reason}" for part, precision in parts.items()),
    )
    main, text = parts.values()
    # planned products are what auto would take: it says so
    planned = "auto" if by_plan[2] and compute_dtype == "float8" else compute_dtype
    products, because = choose_products(planned, main, chosen)
    return Compute(chosen, main.dtype, text.dtype, (*reasons, *because), main.scheme, text.scheme, products)


def choose_products(asked: str, transformer: Precision, device: torch.device) -> tuple[bool, tuple[str, ...]]:
    """(whether the blocks' linears shall be multiplied in float8, the line that says why, if there is a choice).

    Raises:
        DeviceError: float8 was asked for and the GPU does not multiply it.
    """
    if transformer.scheme != "float8" or asked == "bf16":
        return False, ()
    obstacle = float8_obstacle(device)
    if asked == "auto":
        computed = next(name for name, dtype in DTYPES.items() if dtype == transformer.dtype)
        line = "float8 (auto: float8 weights, and this GPU multiplies float8)"
        return obstacle is None, (
            f"products of the blocks' linears: {line if obstacle is None else f'{computed} (auto: {obstacle})'}",
        )
    if device.type == "cpu":
        return True, ("products of the blocks' linears: float8 (as set in quantization; emulated on the CPU)",)
    if obstacle is not None:
        raise DeviceError(
            f"float8 products were asked for, but {obstacle}", where="quantization.compute_dtype",
            fix="leave it at auto: the float8 weights are then multiplied in bf16.",
        )  # fmt: skip
    return True, ("products of the blocks' linears: float8 (as set in quantization)",)


def _choose_device(asked: str) -> tuple[torch.device, str]:
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device()), "job.device is auto and a GPU is present"
        return torch.device("cpu"), "job.device is auto and no CUDA GPU is present"
    if not _DEVICE.fullmatch(asked):
        raise DeviceError(
            f"got {asked!r}, expected auto, cpu, cuda or cuda:N",
            where="device",
            fix="leave it out to choose by itself.",
        )
    device = torch.device(asked)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (device.index or 0) >= count:
            raise DeviceError(
                f"{asked} was asked for, but torch {torch.__version__} sees {count} CUDA devices", where="job.device",
                fix="use `auto` or `cpu`, or install a CUDA build of torch and a driver.",
            )  # fmt: skip
    return device, "job.device"


def choose_precision(asked: str, device: torch.device, *, by_plan: bool = False) -> Precision:
    """`auto`, a dtype or a scheme on this device. A scheme computes in what `auto` would be.

    Raises:
        DeviceError: the card has no bf16.
    """
    if asked in SCHEMES:
        computed, why = _choose_dtype("auto", device)
        bits = f"{SCHEMES[asked].bits:g} bits per weight of the blocks' linears"
        whose = "auto, by the plan" if by_plan else "as set in quantization"
        reason = f"{asked} ({whose}: {bits}, the rest and the matmuls in {computed}, {why})"
        return Precision(DTYPES[computed], asked, reason)
    name, why = _choose_dtype(asked, device)
    return Precision(DTYPES[name], None, f"{name} ({why})")


def _choose_dtype(asked: str, device: torch.device) -> tuple[str, str]:
    if asked != "auto":
        if asked == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise DeviceError("this GPU has no bf16", where="quantization", fix="use fp32 or a card from Ampere on.")
        return asked, "as set in quantization"
    return ("bf16", "auto on CUDA") if device.type == "cuda" else ("fp32", "auto on the CPU, where bf16 is slower")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to CUDA through pinned memory, so that neither side waits."""
    if device.type != "cuda" or values.device == device:
        return values.to(device)
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)


def free_bytes(device: torch.device) -> int:
    """Bytes of a GPU that this process could still take, by what is free there and by its own share of the card (see
    `torch.cuda.set_per_process_memory_fraction`); 0 for the CPU."""
    if device.type != "cuda":
        return 0
    device = _numbered(device)
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    own = int(total * torch.cuda.get_per_process_memory_fraction(device)) - allocated
    return max(0, min(free + torch.cuda.memory_reserved(device) - allocated, own))


def total_gib(device: torch.device) -> float | None:
    """Memory of a GPU in GiB; None for the CPU."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.get_device_properties(_numbered(device)).total_memory / GIB, 1)


def allocated_bytes(device: torch.device) -> int:
    """Bytes of a GPU that this process's tensors take; 0 for the CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def limit_memory(device: torch.device, gib: float | None) -> str | None:
    """Let this process take no more than so much of a GPU; the line for the log, None where there is nothing to do.

    Raises:
        DeviceError: so much is not there.
    """
    if gib is None or device.type != "cuda":
        return None
    device = _numbered(device)
    _, total = torch.cuda.mem_get_info(device)
    if gib * GIB > total:
        raise DeviceError(
            f"the GPU has {total / GIB:.1f} GiB in all, the limit is {gib:g}", where="advanced.vram_limit",
            fix="leave it out to use what is free.",
        )  # fmt: skip
    torch.cuda.set_per_process_memory_fraction((gib * GIB - CONTEXT_BYTES) / total, device)
    return f"GPU memory: {gib:g} GiB at most, as set in advanced.vram_limit"


def _numbered(device: torch.device) -> torch.device:
    """With its index, which torch wants for some questions."""
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())


def available_host_bytes() -> int:
    """Bytes of host memory that programs could still take, caches of files counted in where the system tells."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")) if hasattr(os, "sysconf") else 0


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of the run so far: allocated on the GPU, or resident in the process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
