"""Formats of frozen weights against each other, those of the product and others that it could have.

    python benchmarks/weight_formats.py --out benchmarks/results/weight_formats.json     # any machine, half a minute

Every format is measured as what becomes of a weight that is packed and unpacked: root mean square error relative to the
weight, on the tiny family's trained linears and on random ones with and without outliers; and as errors of the
prediction and of the LoRA's gradients of tiny/turbo with such weights, in fp32 (see quantization_accuracy.py).

A rotation multiplies the inputs of a weight by an orthogonal matrix before it is rounded, and the result back: what a
linear would compute whose activations were rotated too. It is a random sign per input and a Hadamard matrix over blocks
of up to 256 inputs, so that every rotated number is a sum over many and outliers are spread.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from outcomes import Outcome, Variant, outcomes  # noqa: E402
from quantization_accuracy import Source, errors, trained  # noqa: E402
from results import revision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.models.z_image.loading import may_be_quantized  # noqa: E402
from slipstream.precision.schemes import SCHEMES, nf4_levels  # noqa: E402

RoundTrip = Callable[[Tensor], Tensor]
CPU = torch.device("cpu")
GROUP, ROTATED = 64, 256
FACTORS = tuple(sign * (1.14 - 0.03 * step) for step in range(14) for sign in (1, -1))
"""Scales that are tried where the best one is looked for, relative to the one that fits the largest magnitude."""


@dataclass(frozen=True)
class Format:
    """A way to round a weight (out, in), and its bits a weight with scales."""

    name: str
    bits: float
    round_trip: RoundTrip


def of_scheme(name: str) -> RoundTrip:
    """What the product's scheme makes of a weight."""
    scheme = SCHEMES[name]
    return lambda weight: scheme.unpack(scheme.pack(weight), tuple(weight.shape), torch.float32)


def integers(least: int, largest: int, group: int, factors: tuple[float, ...] = (1.0,)) -> RoundTrip:
    """Even steps with one bf16 scale a group; of several scales the one with least error.

    A factor of 1 brings the largest magnitude to `least`; a negative one turns the codes round.
    """

    def rounded(groups: Tensor, scale: Tensor) -> Tensor:
        return (groups / scale).round().clamp(least, largest) * scale

    return lambda weight: best_scale(weight, group or weight.shape[1], float(-least), factors, rounded)


def one_more(weight: Tensor) -> Tensor:
    """All 16 codes of 4 bits: -8 to 7, the value that is largest in magnitude at -8, whichever its sign."""
    groups = weight.view(-1, GROUP)
    extreme = groups.gather(1, groups.abs().argmax(dim=1, keepdim=True))
    scale = _bf16(extreme / -8)
    return ((groups / scale).round().clamp(-8, 7) * scale).view_as(weight)


def with_offset(group: int) -> RoundTrip:
    """16 even steps from a group's least to its largest value: a bf16 scale and a bf16 offset a group."""

    def round_trip(weight: Tensor) -> Tensor:
        groups = weight.view(-1, group)
        least = groups.amin(dim=1, keepdim=True).bfloat16().float()
        scale = _bf16((groups.amax(dim=1, keepdim=True) - least) / 15)
        return (((groups - least) / scale).round().clamp(0, 15) * scale + least).view_as(weight)

    return round_trip


def nf4_of_largest(weight: Tensor) -> Tensor:
    """The levels of nf4 with the scale that the largest magnitude of a group asks for."""
    levels = torch.tensor(nf4_levels())
    between = (levels[1:] + levels[:-1]) / 2

    def rounded(groups: Tensor, scale: Tensor) -> Tensor:
        return levels[torch.bucketize(groups / scale, between)] * scale

    return best_scale(weight, GROUP, 1.0, (1.0,), rounded)


def best_scale(
    weight: Tensor, group: int, largest: float, factors: tuple[float, ...],
    rounded: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """Round groups with each of several scales, and take for every group what came out nearest."""
    groups = weight.view(-1, group)
    full = groups.abs().amax(dim=1, keepdim=True) / largest
    best = rounded(groups, _bf16(full * factors[0]))
    for factor in factors[1:]:
        other = rounded(groups, _bf16(full * factor))
        nearer = (other - groups).square().sum(1, keepdim=True) < (best - groups).square().sum(1, keepdim=True)
        best = torch.where(nearer, other, best)
    return best.view_as(weight)


def _bf16(scale: Tensor) -> Tensor:
    scale = scale.bfloat16().float()
    return torch.where(scale == 0, torch.ones(()), scale)


def rotated(round_trip: RoundTrip) -> RoundTrip:
    """Round in a rotated basis of the inputs."""

    def turned(weight: Tensor) -> Tensor:
        return unrotate(round_trip(rotate(weight)))

    return turned


def rotate(weight: Tensor) -> Tensor:
    """(out, in) times signs and Hadamard matrices over blocks of inputs; see `unrotate`."""
    matrix, signs = rotation(weight.shape[1])
    return ((weight * signs).view(len(weight), -1, len(matrix)) @ matrix).reshape(weight.shape)


def unrotate(weight: Tensor) -> Tensor:
    """What `rotate` was given."""
    matrix, signs = rotation(weight.shape[1])
    return (weight.view(len(weight), -1, len(matrix)) @ matrix.T).reshape(weight.shape) * signs


def rotation(inputs: int) -> tuple[Tensor, Tensor]:
    """(Hadamard matrix of unit columns, as large as divides the inputs, at most 256; a sign per input)."""
    size = min(ROTATED, inputs & -inputs)
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    signs = torch.randint(0, 2, (inputs,), generator=torch.Generator().manual_seed(inputs)) * 2.0 - 1
    return matrix / size**0.5, signs


FORMATS = (
    Format("float8, scale a row", 8, of_scheme("float8")),
    Format("int8, scale a row", 8, of_scheme("int8")),
    Format("int8, scale a row, rotated", 8, rotated(of_scheme("int8"))),
    Format("int8, scale per 64", 8.25, integers(-127, 127, GROUP)),
    Format("nf4, scale of the largest of 64", 4.25, nf4_of_largest),
    Format("nf4, best scale per 64", 4.25, of_scheme("nf4")),
    Format("nf4, best scale per 64, rotated", 4.25, rotated(of_scheme("nf4"))),
    Format("int4 -7..7, scale of the largest of 64", 4.25, integers(-7, 7, GROUP)),
    Format("int4 -8..7, scale of the largest of 64", 4.25, one_more),
    Format("int4 -8..7, best scale per 64", 4.25, integers(-8, 7, GROUP, FACTORS)),
    Format("int4 -8..7, best scale per 64, rotated", 4.25, rotated(integers(-8, 7, GROUP, FACTORS))),
    Format("int4 0..15, scale and offset per 64", 4.5, with_offset(GROUP)),
    Format("int4 -7..7, scale a row", 4, integers(-7, 7, 0)),
)  # fmt: skip


def random_weights() -> dict[str, Tensor]:
    """Normal weights (512, 3840), and the same with outliers of each kind."""
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(512, 3840, generator=generator)

    def few(*shape: int, share: float) -> Tensor:
        return torch.rand(*shape, generator=generator) < share

    return {
        "normal": plain,
        "1 % of the inputs 10 times as large": torch.where(few(3840, share=0.01), plain * 10, plain),
        "1 % of the rows 10 times as large": torch.where(few(512, 1, share=0.01), plain * 10, plain),
        "0.1 % of the weights 20 times as large": torch.where(few(512, 3840, share=0.001), plain * 20, plain),
    }


def relative(found: Tensor, weight: Tensor) -> float:
    """Root mean square error relative to the weight's."""
    return float((found - weight).norm() / weight.norm())


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """What the product would pack."""
    named = model.named_modules()
    return {name: part for name, part in named if isinstance(part, nn.Linear) and may_be_quantized(name)}


def of_trained(source: Source, format: Format, expected: list[Outcome]) -> dict[str, Any]:
    """Errors of tiny/turbo's weights, and of its prediction and gradients with all of them rounded."""
    model = source.load(torch.float32, None, lambda *_: None)
    squares = total = 0.0
    for linear in linears(model).values():
        weight = linear.weight.data
        found = format.round_trip(weight)
        squares, total = squares + float((found - weight).square().sum()), total + float(weight.square().sum())
        linear.weight.data = found
    found_by = outcomes(model, Variant("", torch.float32, "modules"), CPU, list(source.batches.values()))
    figures = errors(found_by, expected, list(source.batches))
    return {"trained weights": (squares / total) ** 0.5} | {
        key: value for key, value in figures.items() if key != "by_noise_level"
    }


def spread_of(source: Source) -> Mapping[str, float]:
    """How far the largest trained weight of a row, and of a group, is from the root mean square; 4 x kurtosis."""
    model = source.load(torch.float32, None, lambda *_: None)
    rows, groups, kurtosis = [], [], []
    for linear in linears(model).values():
        weight = linear.weight.data
        rows.append((weight.abs().amax(1) / weight.square().mean(1).sqrt()).mean())
        parts = weight.view(-1, GROUP)
        groups.append((parts.abs().amax(1) / parts.square().mean(1).sqrt()).mean())
        kurtosis.append(((weight / weight.square().mean().sqrt()) ** 4).mean())
    return {
        "largest_of_row_over_rms": float(torch.stack(rows).mean()),
        "largest_of_group_over_rms": float(torch.stack(groups).mean()),
        "kurtosis_mean": float(torch.stack(kurtosis).mean()), "kurtosis_most": float(torch.stack(kurtosis).max()),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    out = parser.parse_args(arguments).out
    source = trained(CPU)
    model = source.load(torch.float32, None, lambda *_: None)
    expected = outcomes(model, Variant("", torch.float32, "modules"), CPU, list(source.batches.values()))
    weights = random_weights()
    rows = []
    for format in FORMATS:
        row: dict[str, Any] = {"format": format.name, "bits": format.bits, **of_trained(source, format, expected)}
        row |= {name: relative(format.round_trip(weight), weight) for name, weight in weights.items()}
        rows.append({key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()})
        print(rows[-1], flush=True)
    facts = {"device": "CPU", "torch": torch.__version__, "revision": revision(), "trained_weights": spread_of(source)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, facts | {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
