"""Packed weights: what each scheme stores, how exact it is, and what it does with awkward weights."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from slipstream.config.quantization import Precision
from slipstream.precision.schemes import NF4_BLOCK, NF4_FACTORS, SCHEMES, nf4_levels

NAMES = tuple(SCHEMES)
ERROR = {"float8": 0.027, "int8": 0.010, "nf4": 0.088}
"""Root mean square error on normal weights, relative to them; a little above what the codes' spacing gives."""


def normal(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def round_trip(name: str, weight: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    scheme = SCHEMES[name]
    return scheme.unpack(scheme.pack(weight), tuple(weight.shape), dtype)


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def test_the_config_offers_exactly_these():
    assert set(get_args(Precision)) == {"auto", "bf16", "fp32", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_normal_weights_come_back_with_the_error_of_the_format(name):
    weight = normal(96, 256) * 0.02
    assert 0.5 * ERROR[name] < error(round_trip(name, weight), weight) < ERROR[name]


@pytest.mark.parametrize("name", NAMES)
def test_packing_what_was_unpacked_changes_nothing(name):
    once = round_trip(name, normal(8, 128))
    assert error(round_trip(name, once), once) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_in_bf16_only_the_product_is_rounded(name):
    weight = normal(32, 128)
    torch.testing.assert_close(
        round_trip(name, weight, torch.bfloat16).float(), round_trip(name, weight), rtol=2**-7, atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_size_is_what_the_scheme_says(name):
    packed = SCHEMES[name].pack(normal(64, 4096))
    bits = 8 * sum(tensor.nbytes for tensor in packed.values()) / (64 * 4096)
    assert SCHEMES[name].bits <= bits < SCHEMES[name].bits + 0.02


@pytest.mark.parametrize("name", ["float8", "int8"])
def test_an_outlier_row_spoils_no_other_row(name):
    weight = normal(8, 64)
    weight[3] *= 1e5
    got = round_trip(name, weight)
    rest = [row for row in range(8) if row != 3]
    assert error(got[rest], weight[rest]) < ERROR[name]
    assert error(got[3], weight[3]) < ERROR[name]


def test_an_outlier_spoils_its_block_of_64_alone_in_nf4():
    weight = normal(4, 256)
    weight[1, 70] = 1e5
    got = round_trip("nf4", weight)
    assert error(got[1, 70], weight[1, 70]) < 2**-8
    untouched = torch.ones(4, 256, dtype=torch.bool)
    untouched[1, 64:128] = False
    assert error(got[untouched], weight[untouched]) < ERROR["nf4"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 33), (2, NF4_BLOCK), (5, 100)])
def test_any_shape(name, shape):
    weight = normal(*shape)
    got = round_trip(name, weight)
    assert got.shape == shape
    assert error(got, weight) < 2 * ERROR[name]


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_zeros_and_huge_and_tiny_weights_stay_finite(name):
    assert not round_trip(name, torch.zeros(4, 64)).any()
    for size in (1e-25, 1e25):
        weight = normal(4, 64) * size
        assert error(round_trip(name, weight) / size, weight / size) < 1.2 * ERROR[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_in_bf16_is_packed_as_its_own_value(name):
    weight = normal(16, 64).bfloat16()
    assert torch.equal(round_trip(name, weight), round_trip(name, weight.float()))


def test_nf4_takes_the_best_of_the_scales_that_it_tries():
    """Against rounding with each of them in full; the scale of the largest magnitude alone leaves 7 % more error."""
    blocks = normal(512, NF4_BLOCK)
    levels = torch.tensor(nf4_levels())
    largest = blocks.abs().amax(1, keepdim=True).bfloat16().float()

    def errors(factor: float) -> torch.Tensor:
        scale = (largest * factor).bfloat16().float()
        nearest = (blocks[..., None] / scale[..., None] - levels).abs().argmin(-1)
        return (levels[nearest] * scale - blocks).square().sum(1)

    tried = torch.stack([errors(factor) for factor in NF4_FACTORS])
    got = (round_trip("nf4", blocks) - blocks).square().sum(1)
    torch.testing.assert_close(got, tried.amin(0), rtol=2e-3, atol=0)
    assert got.sum().sqrt() < 0.94 * tried[0].sum().sqrt()


def test_nf4_packs_large_weights_in_parts(monkeypatch):
    weight = normal(7, 100)
    whole = round_trip("nf4", weight)
    monkeypatch.setattr("slipstream.precision.schemes.NF4_AT_ONCE", 3)
    assert torch.equal(round_trip("nf4", weight), whole)


def test_nf4_has_the_published_levels():
    """Appendix E of the QLoRA paper, to its printed digits."""
    published = (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    )  # fmt: skip
    assert nf4_levels() == pytest.approx(published, abs=1e-6)


def test_every_nf4_code_is_stored_and_read():
    levels = torch.tensor(nf4_levels()).repeat(4).view(1, 64)
    packed = SCHEMES["nf4"].pack(levels)
    assert sorted({*(packed["codes"] >> 4).tolist(), *(packed["codes"] & 15).tolist()}) == list(range(16))
    torch.testing.assert_close(round_trip("nf4", levels), levels, rtol=0, atol=1e-6)


def test_features_of_an_earlier_packing_are_not_reused():
    assert [scheme.identity for scheme in SCHEMES.values()] == ["float8", "int8", "nf4.2"]
