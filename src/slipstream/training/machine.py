"""What a GPU and its host can do, measured in a second: what plans are made from and `slipstream doctor` shows."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import lru_cache

import torch

from slipstream.kernels.float8 import float8_obstacle
from slipstream.memory.planner import Machine
from slipstream.training.device import available_host_bytes, free_bytes

_SIDE = 4096
_PRODUCTS = 30
_COPY_BYTES = 256 << 20
_TFLOPS_PER_SM = {8: 0.9, 9: 5.5, 10: 8.0, 12: 1.8}
"""By compute capability, where there is no memory to measure in: rough."""
_USUAL_GBPS = 12.0


def measure_machine(device: torch.device) -> Machine:
    """A CUDA device as it is now; its speeds are measured once in a process."""
    properties = torch.cuda.get_device_properties(device)
    tflops, gbps = _speeds(device)
    return Machine(
        name=properties.name,
        capability=(properties.major, properties.minor),
        free_bytes=free_bytes(device),
        total_bytes=properties.total_memory,
        host_bytes=available_host_bytes(),
        pcie_gbps=gbps,
        bf16_tflops=tflops,
        float8=float8_obstacle(device) is None,
    )


@lru_cache(maxsize=8)
def _speeds(device: torch.device) -> tuple[float, float]:
    """(TFLOP/s of a bf16 product, 10^9 bytes a second from pinned memory); a guess where memory is too short."""
    properties = torch.cuda.get_device_properties(device)
    tflops, gbps = properties.multi_processor_count * _TFLOPS_PER_SM.get(properties.major, 0.5), _USUAL_GBPS
    with suppress(RuntimeError):  # out of memory, or pinned memory that the system refuses
        tflops = product_tflops(device)
        gbps = copy_gbps(device)
    torch.cuda.empty_cache()
    return tflops, gbps


def product_tflops(device: torch.device) -> float:
    """The sustained rate of a bf16 product of 4096 x 4096 x 4096."""
    left, right = (torch.randn(_SIDE, _SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        out = left @ right
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    for _ in range(_PRODUCTS):
        torch.matmul(left, right, out=out)
    torch.cuda.synchronize(device)
    return float(2 * _SIDE**3 * _PRODUCTS / (time.perf_counter() - begun) / 1e12)


def copy_gbps(device: torch.device) -> float:
    """The rate of a copy from pinned host memory to the device; the best of three."""
    here = torch.empty(_COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=device)
    seconds = []
    for _ in range(3):
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        there.copy_(here, non_blocking=True)
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return _COPY_BYTES / min(seconds) / 1e9
