"""Times float8 matrix products of Z-Image's shapes on a CUDA GPU and says how far from fp32 they are.

    python benchmarks/float8_matmul.py --out benchmarks/results/float8_matmul.json

Candidates: `bf16` (torch, the low-rank term inside the product: the joint matrix of the fused linears), `torch`
(`torch._scaled_mm` by rows, the term in a second pass), `torch, no term` (the same without it), `torch, term in K`
(high and low float8 codes of the term as further columns of the product) and the Triton kernels with several tiles. A
candidate that fails is listed with its error, and the others go on. The file is written after every number of rows.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import triton
from torch import Tensor

from slipstream.core.atomic import write_json
from slipstream.kernels.float8 import Product, random_operands, reference_multiply, scaled_multiply
from slipstream.kernels.float8_triton import CANDIDATES, Tiles, multiply
from slipstream.kernels.rows_torch import LARGEST_CODE
from slipstream.precision.schemes import FLOAT8

BLOCKS = 30
FORWARD = ((11520, 3840), (3840, 3840), (20480, 3840), (3840, 10240))
BACKWARD = ((3840, 11520), (3840, 3840), (3840, 20480), (10240, 3840))
"""(columns, inner) of joint q, k, v; attention's output; joint w1, w3; w2. Then of their inputs' gradients."""
COPIES, REPLAYS = 4, 7
"""Weights in turn, so that they come from memory as in a training; graph replays, of which the median counts."""

_BASE = Tiles(128, 256, 128, 3, 8)
TILES = (
    *CANDIDATES,
    replace(_BASE, persistent=True, flatten=True),
    replace(_BASE, stages=4), replace(_BASE, stages=4, persistent=True), replace(_BASE, group=8),
    replace(_BASE, inner=64, stages=4), replace(_BASE, inner=64, stages=4, persistent=True, flatten=True),
    Tiles(128, 128, 128, 4, 8), Tiles(128, 128, 128, 3, 8), Tiles(64, 256, 128, 3, 4),
    Tiles(256, 128, 128, 3, 8, persistent=True),
)  # fmt: skip

Operands = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
Candidate = Callable[[Operands], Callable[[], Tensor]]
"""Operands to a call that multiplies them; what need not be done in every step is done before."""


@dataclass(frozen=True)
class Options:
    """Rows (tokens) and ranks of the low-rank term to measure, for at most so many seconds."""

    out: Path
    rows: tuple[int, ...]
    ranks: int
    seconds: float


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times float8 matrix products of Z-Image's shapes.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--rows", type=int, nargs="+", default=(1152, 2432, 4224), help="tokens")
    parser.add_argument("--ranks", type=int, default=64, help="ranks of the low-rank term, a multiple of 64")
    parser.add_argument("--seconds", type=float, default=100.0, help="candidates are left out once so much has passed")
    options = parser.parse_args()
    return Options(options.out, tuple(options.rows), options.ranks, options.seconds)


def bf16(operands: Operands) -> Callable[[], Tensor]:
    """The joint product in bf16, as without float8."""
    codes, scale, weight, columns, h, up = operands
    left, right = codes.float() * scale, weight.float() * columns[:, None]
    if h is not None and up is not None:
        left, right = torch.cat((left, h.float()), 1), torch.cat((right, up.float()), 1)
    left, right = left.bfloat16(), right.bfloat16()
    return lambda: left @ right.T


def without_term(operands: Operands) -> Callable[[], Tensor]:
    """Torch's row-wise product alone: what the low-rank term's second pass adds to it is the difference."""
    codes, scale, weight, columns, _, _ = operands
    return lambda: scaled_multiply(codes, scale, weight, columns, None, None)


def term_in_k(operands: Operands) -> Callable[[], Tensor]:
    """One product over [x | h high | h low | h high] and [W | up high | up high | up low].

    Making the codes is left out of the time: rows kernels would write them.
    """
    codes, scale, weight, columns, h, up = operands
    assert h is not None
    assert up is not None
    h = h.float() / scale
    factor = h.abs().amax() / LARGEST_CODE
    h, up = h / factor, up.float() * factor / columns[:, None]
    parts = []
    for values in (h, up):
        high = values.clamp(-LARGEST_CODE, LARGEST_CODE).to(FLOAT8)
        parts.append((high, (values - high.float()).to(FLOAT8)))
    (h_high, h_low), (up_high, up_low) = parts
    left, right = torch.cat((codes, h_high, h_low, h_high), 1), torch.cat((weight, up_high, up_high, up_low), 1)
    return lambda: scaled_multiply(left, scale, right, columns, None, None)


def precise_sum(operands: Operands) -> Callable[[], Tensor]:
    """Torch's row-wise product summed in full fp32 (no fast accumulation), without the term."""
    codes, scale, weight, columns, _, _ = operands
    return lambda: torch._scaled_mm(
        codes, weight.T, scale_a=scale, scale_b=columns.unsqueeze(0), out_dtype=torch.bfloat16, use_fast_accum=False
    )


def candidates() -> Mapping[str, Candidate]:
    """What is timed, by name."""
    found: dict[str, Candidate] = {
        "bf16": bf16, "torch": lambda operands: partial(scaled_multiply, *operands), "torch, no term": without_term,
        "torch, no term, precise sum": precise_sum, "torch, term in K": term_in_k,
    }  # fmt: skip
    for tiles in TILES:
        name = f"Triton {tiles.name}" + ("" if tiles.group == _BASE.group else f", group {tiles.group}")
        found[name] = partial(_triton, tiles)
    return found


def _triton(tiles: Tiles, operands: Operands) -> Callable[[], Tensor]:
    return partial(multiply, tiles, *operands)


def milliseconds(calls: list[Callable[[], Tensor]]) -> float:
    """Of one call: the median over replays of a CUDA graph of all calls."""
    for call in calls:
        call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = []
    for _ in range(REPLAYS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / len(calls))
    return median(times[1:])


def error_of(found: Tensor, expected: Tensor) -> float:
    """Relative Frobenius norm of the difference; NaN where anything is NaN."""
    return float((found.float() - expected).norm() / expected.norm())


def measure(make: Candidate, operands: list[Operands], expected: Tensor) -> dict[str, Any]:
    """Error, time and speed of one candidate; a failure is its result."""
    try:
        calls = [make(each) for each in operands]
        result: dict[str, Any] = {"error": error_of(calls[0](), expected), "ms": milliseconds(calls)}
    except Exception as problem:  # noqa: BLE001 - whatever fails, the others go on
        return {"failure": f"{type(problem).__name__}: {str(problem)[:300]}"}
    rows, inner = operands[0][0].shape
    result["tflops"] = 2 * rows * inner * operands[0][2].shape[0] / result["ms"] / 1e9
    return {key: round(value, 5) for key, value in result.items()}


def measure_all(options: Options, device: torch.device, found: list[dict[str, Any]], write: Callable[[], None]) -> None:
    """Add one entry per shape, number of rows and candidate."""
    stop, failed, makers = time.monotonic() + options.seconds, set[str](), candidates()
    for columns, inner in dict.fromkeys(FORWARD + BACKWARD):
        for rows in options.rows:
            left = {name: make for name, make in makers.items() if name not in failed}
            if time.monotonic() > stop or not left:
                continue
            for result in measure_shape(Product(columns, inner, options.ranks), rows, left, device):
                found.append(result)
                if "failure" in result:
                    failed.add(result["candidate"])
            write()


def measure_shape(
    product: Product, rows: int, makers: Mapping[str, Candidate], device: torch.device
) -> Iterator[dict[str, Any]]:
    """All candidates at one shape."""
    operands = [random_operands(device, product, rows, seed=copy) for copy in range(COPIES)]
    whole = reference_multiply(*operands[0], dtype=torch.float32)
    bare = reference_multiply(*operands[0][:4], None, None, dtype=torch.float32)
    for name, make in makers.items():
        result = measure(make, operands, bare if "no term" in name else whole)
        print(f"{rows:5d} x {product.inner:5d} -> {product.columns:5d}  {name:66s} {_shown(result)}", flush=True)
        yield {"columns": product.columns, "inner": product.inner, "rows": rows, "candidate": name, **result}


def _shown(result: Mapping[str, Any]) -> str:
    if "failure" in result:
        return f"FAILED {result['failure'].splitlines()[0]}"
    return f"{result['ms']:7.3f} ms {result['tflops']:6.0f} TFLOP/s  error {result['error']:.2e}"


def step_totals(found: list[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    """Milliseconds that all linears of a step take, forward and back, by candidate and with the best at each shape."""
    totals = []
    for rows in options.rows:
        times = {(e["candidate"], e["columns"], e["inner"]): e["ms"] for e in found if e["rows"] == rows and "ms" in e}
        names = list(dict.fromkeys(name for name, *_ in times))
        eligible = [name for name in names if name == "torch" or name.startswith("Triton")]
        sums = {
            name: BLOCKS * sum(times[name, *shape] for shape in FORWARD + BACKWARD)
            for name in names
            if all((name, *shape) in times for shape in FORWARD + BACKWARD)
        }
        if all(any((name, *shape) in times for name in eligible) for shape in FORWARD + BACKWARD):
            sums["best of torch and Triton at each shape"] = BLOCKS * sum(
                min(times[name, *shape] for name in eligible if (name, *shape) in times) for shape in FORWARD + BACKWARD
            )
        totals += [{"rows": rows, "candidate": name, "ms": round(value, 2)} for name, value in sums.items()]
    return totals


def main() -> None:
    """Measure, write and print; what was measured is written whatever happens."""
    options = parse()
    if not torch.cuda.is_available():
        raise SystemExit("float8 products are timed on a CUDA GPU; none is here")
    started, device, found = time.monotonic(), torch.device("cuda"), list[dict[str, Any]]()
    head = {
        "device": torch.cuda.get_device_name(device), "torch": torch.__version__, "triton": triton.__version__,
        "python": platform.python_version(), "ranks": options.ranks,
    }  # fmt: skip

    def write() -> None:
        seconds = round(time.monotonic() - started, 1)
        totals = step_totals(found, options)
        write_json(options.out, {**head, "seconds": seconds, "step_totals": totals, "products": found})

    try:
        measure_all(options, device, found, write)
    finally:
        print("\nall linears of a step (30 blocks, forward and input gradients), ms")
        for total in step_totals(found, options):
            print(f"{total['rows']:5d}  {total['candidate']:66s} {total['ms']:8.2f}", flush=True)


if __name__ == "__main__":
    main()
