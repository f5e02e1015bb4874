"""Times the row kernels of a fused block at Z-Image's widths on a CUDA GPU, and how fast they move memory.

    python benchmarks/row_kernels.py --out benchmarks/results/row_kernels.json
    python benchmarks/row_kernels.py --out sweep.json --sweep

Bytes are those that a kernel must read and write at least, from and to memory. A block runs one kernel of each kind
that is marked with its number of calls; `totals` adds them up. `--sweep` tries other launches at the largest number of
tokens and lists the fastest of each kernel. A kernel that fails is listed with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

from slipstream.core.atomic import write_json
from slipstream.kernels import rows_triton as rows
from slipstream.kernels.row_output import RowOutput
from slipstream.kernels.rows_triton.launch import LAUNCHES, Launch

BLOCKS, WIDTH, HEADS, HIDDEN, RANKS, EPS = 30, 3840, 30, 10240, 64, 1e-5
WARM_UP_MS, REPEAT_MS = 5, 25
FORWARD = {"head_norm_rotate": 1, "fill": 1, "join_norm_scale": 2, "swiglu": 1}
BACKWARD = {"norm_scale_join_backward": 2, "swiglu_backward": 1, "head_norm_rotate_backward": 1}
"""Calls per block; the norm and join at the two ends of the stack are left out."""
SUMS = "norm_scale_join_backward with sums"
"""In its place where adaLN is trained."""
LAUNCH_OF = {
    "head_norm_rotate": "heads", "fill": "fill", "join_norm_scale": "norms", "swiglu": "swiglu",
    "norm_scale_join_backward": "norms backward", SUMS: "norms backward with sums",
    "swiglu_backward": "swiglu backward", "head_norm_rotate_backward": "heads backward",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A call and the bytes it moves."""

    kernel: str
    codes: bool
    call: Callable[[], object]
    bytes: int


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times the row kernels of a fused block.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1152, 2432, 4224], help="tokens")
    parser.add_argument("--sweep", action="store_true", help="try other launches at the largest number of tokens")
    parser.add_argument("--seconds", type=float, default=100.0, help="the sweep tries nothing new after so many")
    return parser.parse_args()


def normal(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Standard normal values."""
    return torch.randn(*shape, device="cuda", dtype=dtype)


def output(tokens: int, width: int, codes: bool, columns: bool) -> RowOutput:
    """A place for rows, as fused linears make it."""
    whole = torch.zeros(tokens, width + RANKS, device="cuda", dtype=torch.bfloat16)
    if not codes:
        return RowOutput(whole, whole[:, :width])
    return RowOutput(
        whole, whole[:, :width], torch.empty(tokens, width, device="cuda", dtype=torch.float8_e4m3fn),
        torch.empty(tokens, 1, device="cuda"), normal(width, dtype=torch.float32) if columns else None,
    )  # fmt: skip


def cases(tokens: int, codes: bool) -> Iterator[Case]:
    """Every kernel at one number of tokens; columns have factors on the way back alone, as in float8 products."""
    written = 3 if codes else 2
    one = tokens * WIDTH
    x, branch, d_out, d_x = (normal(1, tokens, WIDTH) for _ in range(4))
    factor, gate = (normal(1, WIDTH, dtype=torch.float32) for _ in range(2))
    d_factor, d_gate = torch.empty_like(factor), torch.empty_like(gate)
    to = output(tokens, WIDTH, codes, columns=False)
    back = output(tokens, WIDTH, codes, columns=True)
    yield Case(
        "join_norm_scale", codes, lambda: rows.join_norm_scale(x, branch, gate, factor, EPS, to), one * (6 + written)
    )
    normed = rows.norm_scale(x, factor, EPS, output(tokens, WIDTH, codes=False, columns=False))
    for kernel, sums in (("norm_scale_join_backward", (None, None)), (SUMS, (d_factor, d_gate))):
        yield Case(
            kernel, codes,
            lambda sums=sums: rows.norm_scale_join_backward(d_out, d_x, normed, branch, gate, EPS, back, *sums),
            one * (10 + written),
        )  # fmt: skip

    qkv, heads = normal(1, tokens, 3 * WIDTH), [normal(1, tokens, HEADS, WIDTH // HEADS) for _ in range(3)]
    weights = (normal(WIDTH // HEADS), normal(WIDTH // HEADS))
    angle = normal(tokens, WIDTH // HEADS // 2, dtype=torch.float32)
    yield Case(
        "head_norm_rotate", codes, lambda: rows.head_norm_rotate(qkv, weights, angle, angle, EPS), one * 8
    )  # fmt: skip
    joint = output(tokens, 3 * WIDTH, codes, columns=True)
    yield Case(
        "head_norm_rotate_backward", codes,
        lambda: rows.head_norm_rotate_backward(tuple(heads), qkv, weights, angle, angle, EPS, joint),
        one * (10 + 3 * written),
    )  # fmt: skip
    yield Case("fill", codes, lambda: rows.fill(heads[0], to), one * (2 + written))

    up, d_hidden = normal(1, tokens, 2 * HIDDEN), normal(1, tokens, HIDDEN)
    wide, d_up = output(tokens, HIDDEN, codes, columns=False), output(tokens, 2 * HIDDEN, codes, columns=True)
    yield Case("swiglu", codes, lambda: rows.swiglu(up, wide), tokens * HIDDEN * (4 + written))
    yield Case(
        "swiglu_backward", codes, lambda: rows.swiglu_backward(d_hidden, up, d_up),
        tokens * HIDDEN * (8 + 2 * written),
    )  # fmt: skip


def measured(case: Case) -> dict[str, Any]:
    """Median of a case, or its error."""
    found: dict[str, Any] = {"kernel": case.kernel, "codes": case.codes}
    try:
        milliseconds = triton.testing.do_bench(case.call, warmup=WARM_UP_MS, rep=REPEAT_MS, return_mode="median")
    except Exception as error:  # noqa: BLE001 - one kernel's failure is a line of the result
        return found | {"error": f"{type(error).__name__}: {str(error)[:400]}"}
    return found | {
        "us": round(milliseconds * 1e3, 2), "mbytes": round(case.bytes / 1e6, 1),
        "tb_per_s": round(case.bytes / milliseconds / 1e9, 3),
    }  # fmt: skip


def copy_rate(tokens: int) -> float:
    """TB/s of torch's copy of a wide tensor: what a kernel can reach."""
    source = normal(tokens, 2 * HIDDEN)
    to = torch.empty_like(source)
    milliseconds = triton.testing.do_bench(lambda: to.copy_(source), warmup=WARM_UP_MS, rep=REPEAT_MS)
    return round(2 * source.nbytes / milliseconds / 1e9, 3)


def totals(found: list[dict[str, Any]]) -> dict[str, float | None]:
    """Milliseconds of a step's blocks, forward and backward, with and without sums and codes; None after an error."""
    sums = {SUMS if kernel == "norm_scale_join_backward" else kernel: calls for kernel, calls in BACKWARD.items()}
    result = {}
    for codes in (False, True):
        times = {line["kernel"]: line.get("us") for line in found if line["codes"] == codes}
        for name, calls in (("forward", FORWARD), ("backward", BACKWARD), ("backward with sums", sums)):
            parts = [(times.get(kernel), number) for kernel, number in calls.items()]
            complete = all(time is not None for time, _ in parts)
            total = sum(time * number for time, number in parts if time is not None) * BLOCKS / 1e3
            result[f"{name}, codes" if codes else name] = round(total, 3) if complete else None
    return result


def alternatives(name: str, now: Launch) -> list[Launch]:
    """Launches to try for a kernel."""
    if "sums" in name:
        return [
            now,
            *(Launch(8, stages=stages, registers=128, programs=264) for stages in (1, 2, 3)),
            *(Launch(16, stages=stages, programs=132) for stages in (1, 2, 3)),
            *(Launch(16, stages=stages, programs=264) for stages in (2, 3)),
            Launch(16, stages=2, registers=64, programs=264), Launch(4, stages=2, programs=264),
            Launch(8, stages=2, programs=396), Launch(8, stages=2, programs=528),
        ]  # fmt: skip
    if "swiglu" in name:
        pieces = ((4, 1024), (4, 2048), (8, 4096), (16, 4096))
        return [now, *(replace(now, warps=warps, piece=piece) for warps, piece in pieces)]
    return [now, *(replace(now, warps=warps) for warps in (4, 8, 16))]


def sweep(tokens: int, until: float) -> list[dict[str, Any]]:
    """Every kernel with other launches, the fastest first; after `until` only with the launch in use."""
    result = []
    for codes in (False, True):
        for case in cases(tokens, codes):
            name = LAUNCH_OF[case.kernel] + (", codes" if codes else "")
            if name not in LAUNCHES:
                continue
            now = LAUNCHES[name]
            tried = []
            for launch in dict.fromkeys(alternatives(name, now)):
                if launch != now and time.monotonic() > until:
                    continue
                LAUNCHES[name] = launch
                tried.append({**measured(case), "launch": str(launch), "in_use": launch == now})
            LAUNCHES[name] = now
            tried.sort(key=lambda line: line.get("us", float("inf")))
            for line in (tried[0], next(line for line in tried if line["in_use"])):
                print(f"{name:34} {line.get('us', line.get('error'))} us  {line['launch']}", flush=True)
            result += tried
    return result


def main() -> None:
    """Measure and write."""
    options = parse()
    until = time.monotonic() + options.seconds
    torch.manual_seed(0)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__,
        "python": platform.python_version(), "sizes": [],
    }  # fmt: skip
    for tokens in options.tokens:
        found = [measured(case) for codes in (False, True) for case in cases(tokens, codes)]
        size = {"tokens": tokens, "copy_tb_per_s": copy_rate(tokens), "totals_ms": totals(found), "kernels": found}
        result["sizes"].append(size)
        print(f"\n{tokens} tokens; a copy moves {size['copy_tb_per_s']} TB/s")
        for line in found:
            name = line["kernel"] + (" + codes" if line["codes"] else "")
            print(f"{name:44}", line.get("error") or f"{line['us']:8.1f} us  {line['tb_per_s']:6.2f} TB/s")
        print("  ".join(f"{name} {value} ms" for name, value in size["totals_ms"].items()), flush=True)
    if options.sweep:
        result["sweep"] = sweep(max(options.tokens), until)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)


if __name__ == "__main__":
    main()
