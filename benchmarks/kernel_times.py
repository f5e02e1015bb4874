"""Where the time of a profiled step went: kernels by kind, the slowest of them, and when the GPU had nothing to do.

Reads a trace as torch.profiler exports it. Matrix products with a side of at most `THIN` are counted apart: they are
mostly the LoRA's. Kernels replayed by a CUDA graph have no operator and shapes beside them; where a trace before it
showed a kernel of the same name and grid with its shapes, that is taken.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slipstream.kernels

THIN = 128
GAP_US = 10.0
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_MATRIX_OPERATORS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "_scaled_mm", "_scaled_mm_v2", "addmm_")
_JIT = ("JITFunction", "InterpretedFunction", "Autotuner", "Heuristics")
_OWN = {"rows": "row kernels", "copies": "copies", "float8": "gemm float8"}
_PATTERNS = (
    ("attention", r"flash|fmha|sdpa|attention|cudnn.*(fprop|bprop)|cudnn_generated"),
    ("optimizer", r"adam|lion|optimizer|lpnorm|multi_tensor|foreach"),
    ("gemm float8", r"(?=.*(gemm|cutlass|matmul|nvjet|xmma))(?=.*(e4m3|e5m2))|nvjet_q|qmma"),
    ("gemm", r"gemm|nvjet|xmma|cutlass|cublas|wgmma|splitk|s16816|matmul|dot_kernel|gemv"),
    ("copies", r"memcpy|memset|copy|catarray|fillfunctor|contiguous|transpose"),
    ("reductions", r"reduce"),
    ("elementwise", r"elementwise|pointwise|vectorized|unrolled|distribution|triton_"),
)


@dataclass
class Kernels:
    """What is known about kernels by name; `thin` remembers (name, grid) of thin matrix products."""

    own: Mapping[str, str] = field(default_factory=lambda: own_kernels())
    thin: dict[tuple[str, str], bool] = field(default_factory=dict)

    def kind(self, event: Mapping[str, Any], operator: Mapping[str, Any] | None) -> str:
        """The category of an event on the GPU."""
        name = str(event["name"])
        if name in self.own:
            return self.own[name]
        found = next((kind for kind, pattern in _PATTERNS if re.search(pattern, name, re.IGNORECASE)), "other")
        if operator is not None and _short(operator) in _MATRIX_OPERATORS and found not in ("copies", "reductions"):
            found = found if found.startswith("gemm") else "gemm"
        if not found.startswith("gemm"):
            return found
        return "gemm, thin" if self._is_thin(name, event, operator) else found

    def _is_thin(self, name: str, event: Mapping[str, Any], operator: Mapping[str, Any] | None) -> bool:
        key = name, str(event.get("args", {}).get("grid"))
        shapes = _shapes(operator) if operator is not None else []
        if shapes:
            self.thin[key] = min(min(shape) for shape in shapes) <= THIN
        return self.thin.get(key, False)


def own_kernels() -> dict[str, str]:
    """Names of the Triton kernels of this package, and what each is counted as, by the file it is in."""
    known: dict[str, str] = {}
    for module in pkgutil.walk_packages(slipstream.kernels.__path__, f"{slipstream.kernels.__name__}."):
        try:
            loaded = importlib.import_module(module.name)
        except Exception:  # noqa: BLE001 - no Triton here, or a kernel file for other hardware
            continue
        place = module.name.removeprefix(f"{slipstream.kernels.__name__}.")
        kind = next((kind for start, kind in _OWN.items() if place.startswith(start)), f"{place} kernels")
        for value in vars(loaded).values():
            if type(value).__name__ in _JIT:
                inner = getattr(value, "fn", value)
                inner = getattr(inner, "fn", inner)
                known.setdefault(str(getattr(inner, "__name__", "")), kind)
    return known


def summary(trace: Path, kernels: Kernels, *, most: int = 15) -> dict[str, Any]:
    """The breakdown of one exported trace, in milliseconds."""
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    on_gpu = sorted((event for event in events if event.get("cat") in ON_GPU), key=lambda event: float(event["ts"]))
    operators = _operators(event for event in events if event.get("cat") == "cpu_op")
    kinds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    by_name: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in on_gpu:
        kind = kernels.kind(event, operators.get(event.get("args", {}).get("External id")))
        kinds[kind] += event["dur"] / 1000
        counts[kind] += 1
        by_name[kind, str(event["name"])].append(event["dur"] / 1000)
    slowest = sorted(by_name.items(), key=lambda pair: -sum(pair[1]))[:most]
    return {
        "kernels": len(on_gpu),
        "ms_by_kind": {kind: round(ms, 3) for kind, ms in sorted(kinds.items(), key=lambda pair: -pair[1])},
        "count_by_kind": dict(counts),
        **_idle(on_gpu),
        "slowest": [
            {"kind": kind, "name": name[:160], "count": len(times), "ms": round(sum(times), 3)}
            for (kind, name), times in slowest
        ],
    }


def _idle(on_gpu: list[dict[str, Any]]) -> dict[str, Any]:
    """From the first kernel's start to the last one's end: busy, idle, and the longest pauses with what came after."""
    if not on_gpu:
        return {"span_ms": 0.0, "busy_ms": 0.0, "idle_ms": 0.0, "gaps": 0, "longest_gaps": []}
    first, end = float(on_gpu[0]["ts"]), float(on_gpu[0]["ts"])
    busy, gaps = 0.0, []
    before = ""
    for event in on_gpu:
        start, stop = float(event["ts"]), float(event["ts"]) + float(event["dur"])
        if start - end > GAP_US:
            gaps.append({"us": round(start - end, 1), "after": before[:80], "before": str(event["name"])[:80]})
        busy += max(0.0, stop - max(start, end))
        end, before = max(end, stop), str(event["name"])
    span = end - first
    return {
        "span_ms": round(span / 1000, 3), "busy_ms": round(busy / 1000, 3), "idle_ms": round((span - busy) / 1000, 3),
        "gaps": len(gaps), "gaps_ms": round(sum(gap["us"] for gap in gaps) / 1000, 3),
        "longest_gaps": sorted(gaps, key=lambda gap: -gap["us"])[:6],
    }  # fmt: skip


def _operators(events: Iterable[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The innermost operator of every id: of several with one id the shortest."""
    found: dict[Any, dict[str, Any]] = {}
    for event in events:
        key = event.get("args", {}).get("External id")
        if key is not None and (key not in found or event["dur"] < found[key]["dur"]):
            found[key] = event
    return found


def _short(operator: Mapping[str, Any]) -> str:
    return str(operator["name"]).rpartition("::")[2]


def _shapes(operator: Mapping[str, Any]) -> list[list[int]]:
    """The shapes of an operator's matrices."""
    if _short(operator) not in _MATRIX_OPERATORS:
        return []
    given = operator.get("args", {}).get("Input Dims") or []
    return [shape for shape in given if isinstance(shape, list) and len(shape) >= 2 and all(shape)]


def lines(name: str, found: Mapping[str, Any]) -> list[str]:
    """A breakdown as text."""
    if "error" in found:
        return [f"{name}: {found['error']}"]
    total = sum(found["ms_by_kind"].values()) or 1.0
    rows = [
        f"{name}: {found['kernels']} kernels, span {found['span_ms']:.1f} ms, busy {found['busy_ms']:.1f}, idle "
        f"{found['idle_ms']:.1f} ({found['gaps']} gaps over {GAP_US:.0f} us)"
    ]
    for kind, ms in found["ms_by_kind"].items():
        rows.append(f"  {kind:22} {ms:8.2f} ms  {100 * ms / total:5.1f} %  {found['count_by_kind'][kind]:6d} kernels")
    for row in found["slowest"][:8]:
        rows.append(f"    {row['ms']:8.2f} ms  {row['count']:5d} x  {row['kind'][:12]:12}  {row['name'][:90]}")
    for gap in found["longest_gaps"][:3]:
        rows.append(f"    pause {gap['us']:8.1f} us  after {gap['after'][:50]}  before {gap['before'][:50]}")
    return rows
