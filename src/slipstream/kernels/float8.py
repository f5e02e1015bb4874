"""Matrix products whose operands are float8, with a low-rank term: by what the device has, and which is fastest.

    out (R, M) = (codes (R, K) @ weight (M, K)') * scale (R, 1) * columns (M,) + h (R, P) @ up (M, P)'

Codes are e4m3 (4 exponent, 3 mantissa bits); tensor cores multiply them twice as fast as bf16 and sum in fp32. Both
operands are read along K, as Hopper's float8 tensor cores want it.

Shape legend: R rows (batch times tokens), K summed, M columns of the result, P ranks (a multiple of 64, or none).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from slipstream.kernels.rows_torch import LARGEST_CODE
from slipstream.kernels.timing import median_milliseconds
from slipstream.precision.schemes import FLOAT8

MIN_CAPABILITY = (8, 9)
"""Ada; Hopper is 9.0, Blackwell 10.0 and 12.0."""

TOLERANCE = 0.01
"""Largest relative difference to fp32 of a product that is taken: bf16 rounds by 0.002, Hopper sums with 14 bits."""

Multiply = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""(codes (R, K), scale (R, 1) fp32, weight (M, K), columns (M,) fp32, h (R, P), up (M, P)) to out (R, M).

Both codes have rows next to each other; h and up are None where there is no low-rank term; up may be a transposed
view. The result is bf16 on CUDA; the reference's dtype is an argument of its own.
"""

_WARM_UPS, _REPEATS, _IN_A_ROW = 1, 5, 8


@dataclass(frozen=True)
class Product:
    """What is the same of a product at every number of rows: M columns, K inner, P ranks."""

    columns: int
    inner: int
    ranks: int


@dataclass(frozen=True)
class ChosenFloat8:
    """A multiplication, what it is made of, and one line that says why.

    `names` tells the candidate at every shape timed (`11520x3840 at 1152`).
    """

    multiply: Multiply
    names: Mapping[str, str]
    line: str


def float8_obstacle(device: torch.device) -> str | None:
    """Why matrix products cannot be float8 on a device, or None where it has float8 tensor cores."""
    if device.type != "cuda":
        return f"{device.type} has no float8 tensor cores"
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip or capability < MIN_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        return (
            f"{name} (compute capability {capability[0]}.{capability[1]}) has no float8 tensor cores; Ada, Hopper and "
            "Blackwell have (8.9 and later)"
        )
    return None


def reference_multiply(
    codes_RK: Tensor, scale_R1: Tensor, weight_MK: Tensor, columns_M: Tensor, h_RP: Tensor | None,
    up_MP: Tensor | None, *, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """The product in fp32, rounded once: what the fast ones are checked against, and what runs without a GPU."""
    out = (codes_RK.float() @ weight_MK.float().T) * scale_R1 * columns_M
    if h_RP is not None and up_MP is not None:
        out += h_RP.float() @ up_MP.float().T
    return out.to(dtype)


def scaled_multiply(
    codes_RK: Tensor, scale_R1: Tensor, weight_MK: Tensor, columns_M: Tensor, h_RP: Tensor | None, up_MP: Tensor | None
) -> Tensor:
    """Torch's product with row-wise scales, then the low-rank term in a second pass over the result."""
    out = torch._scaled_mm(
        codes_RK, weight_MK.T, scale_a=scale_R1, scale_b=columns_M.unsqueeze(0), out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )  # fmt: skip
    return out if h_RP is None or up_MP is None else out.addmm_(h_RP, up_MP.T)


def chosen_float8(
    device: torch.device, dtype: torch.dtype, products: Sequence[Product], rows: Sequence[int],
    known: Mapping[str, str] = MappingProxyType({}),
) -> ChosenFloat8:  # fmt: skip
    """The fastest multiplication on CUDA, the reference elsewhere; see `fastest_float8`."""
    if device.type == "cuda":
        return fastest_float8(device, products, rows, known)
    return ChosenFloat8(
        partial(reference_multiply, dtype=dtype),
        {},
        f"float8 products: emulated on the {device.type.upper()}, which is slow",
    )


def fastest_float8(
    device: torch.device, products: Sequence[Product], rows: Sequence[int],
    known: Mapping[str, str] = MappingProxyType({}),
) -> ChosenFloat8:  # fmt: skip
    """For every product and number of rows the fastest candidate; one that does not run here is passed over.

    At another number of rows than those timed, the nearest one's choice is taken. What is `known` is taken without a
    race where it runs: a training that is resumed must not change its kernels.

    Raises:
        RuntimeError: no candidate runs on this GPU.
    """
    candidates = _candidates()
    chosen: dict[tuple[int, int], list[tuple[int, str]]] = {}
    names: dict[str, str] = {}
    total = 0.0
    for product in products:
        for count in rows:
            key = f"{product.columns}x{product.inner} at {count}"
            before = {name: multiply for name, multiply in candidates.items() if name == known.get(key)}
            times = _times(before, device, product, count) or _times(candidates, device, product, count)
            if not times:
                raise RuntimeError(f"no float8 product runs on {torch.cuda.get_device_name(device)}")
            names[key] = min(times, key=times.__getitem__)
            total += times[names[key]]
            chosen.setdefault((product.columns, product.inner), []).append((count, names[key]))
    wins = sorted(Counter(names.values()).items(), key=lambda pair: -pair[1])
    work = sum(2 * product.columns * product.inner * count for product in products for count in rows)
    line = (
        f"float8 products: {', '.join(f'{name} at {count}' for name, count in wins)} of {len(names)} shapes timed; "
        f"{work / total / 1e9:.0f} TFLOP/s on average"
    )
    return ChosenFloat8(partial(_multiply_as_chosen, candidates, MappingProxyType(chosen)), names, line)


def _candidates() -> Mapping[str, Multiply]:
    from slipstream.kernels import float8_triton

    found: dict[str, Multiply] = {"torch": scaled_multiply}
    found |= {f"Triton {tiles.name}": partial(float8_triton.multiply, tiles) for tiles in float8_triton.CANDIDATES}
    return MappingProxyType(found)


def _multiply_as_chosen(
    candidates: Mapping[str, Multiply], chosen: Mapping[tuple[int, int], Sequence[tuple[int, str]]], codes_RK: Tensor,
    scale_R1: Tensor, weight_MK: Tensor, columns_M: Tensor, h_RP: Tensor | None, up_MP: Tensor | None,
) -> Tensor:  # fmt: skip
    rows, timed = codes_RK.shape[0], chosen[weight_MK.shape[0], weight_MK.shape[1]]
    _, name = min(timed, key=lambda pair: abs(pair[0] - rows))
    return candidates[name](codes_RK, scale_R1, weight_MK, columns_M, h_RP, up_MP)


def _times(candidates: Mapping[str, Multiply], device: torch.device, product: Product, rows: int) -> dict[str, float]:
    """Milliseconds of each candidate that runs and multiplies right."""
    if not candidates:
        return {}
    operands = random_operands(device, product, rows, seed=0)
    expected = reference_multiply(*operands, dtype=torch.float32)
    times: dict[str, float] = {}
    for name, multiply in candidates.items():
        with suppress(*_failures()):
            difference = (multiply(*operands).float() - expected).norm() / expected.norm()
            if float(difference) < TOLERANCE:
                times[name] = _milliseconds(partial(multiply, *operands))
    return times


def _failures() -> tuple[type[Exception], ...]:
    """What a kernel raises that a device cannot build or run."""
    from triton.errors import TritonError

    return RuntimeError, TritonError


def random_operands(
    device: torch.device, product: Product, rows: int, *, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Operands of a product, none of them zero, with the sizes that trained weights and normed inputs have."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, generator=generator)

    def codes(count: int) -> tuple[Tensor, Tensor]:
        values = normal(count, product.inner)
        scale = values.abs().amax(-1, keepdim=True) / LARGEST_CODE
        return (values / scale).to(FLOAT8), scale

    left, scale = codes(rows)
    weight, columns = codes(product.columns)
    columns = columns.squeeze(-1) * product.inner**-0.5
    if not product.ranks:
        return left, scale, weight, columns, None, None
    return left, scale, weight, columns, normal(rows, product.ranks).bfloat16(), (
        normal(product.columns, product.ranks) * 0.1
    ).bfloat16()  # fmt: skip


def _milliseconds(work: Callable[[], object]) -> float:
    """Median time of one call out of several in a graph: launching them one by one would take longer than they do."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for _ in range(_IN_A_ROW):
            work()
    return median_milliseconds(graph.replay, warm_ups=_WARM_UPS, repeats=_REPEATS) / _IN_A_ROW
