"""The Haar bands and the loss that counts them alike."""

from __future__ import annotations

import pytest
import torch

from slipstream.objectives.wavelet import haar_bands, wavelet_losses

SIZES = [(8, 8), (16, 24), (7, 5), (6, 10), (1, 4), (3, 1), (1, 1), (9, 8)]


def picture(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_bands_keep_the_number_of_values_and_the_sum_of_squares_at_any_size(size):
    x = picture(*size)
    bands = haar_bands(x)
    assert sum(band[0, 0].numel() for band in bands) == size[0] * size[1]
    assert sum(band.square().sum() for band in bands).item() == pytest.approx(x.square().sum().item(), rel=1e-12)


def test_bands_of_two_by_two_by_hand():
    bands = haar_bands(torch.tensor([[[[1.0, 3.0], [5.0, 11.0]]]]), num_scales=1)
    # down the rows, across the columns, both, and the sum; all over 2
    assert [band.item() for band in bands] == pytest.approx([-6.0, -4.0, 2.0, 10.0])


def test_a_constant_error_weighs_64_tenths_of_its_square_and_a_checkerboard_a_tenth():
    flat = torch.full((1, 2, 8, 8), 0.5)
    assert wavelet_losses(flat).item() == pytest.approx(0.25 * 64 / 10)
    checkerboard = 1 - 2 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2)
    # all of it lies in the finest diagonal band: a quarter of the coefficients, each 2 x 1
    assert wavelet_losses(checkerboard.expand(1, 2, 8, 8) * 0.5).item() == pytest.approx(0.25 * 4 / 10)


def test_noise_gives_what_mse_gives_on_average():
    noise = torch.randn(512, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    assert wavelet_losses(noise).mean().item() == pytest.approx(1.0, rel=0.02)


def test_it_differs_from_mse_where_errors_have_structure():
    smooth = picture(2, 2).repeat_interleave(8, -1).repeat_interleave(8, -2)
    assert (wavelet_losses(smooth) > 3 * smooth.float().square().mean(dim=(1, 2, 3))).all()


def test_a_constant_mask_changes_nothing_and_masked_cells_have_no_say():
    x = picture(8, 8).float()
    torch.testing.assert_close(wavelet_losses(x, torch.full((2, 8, 8), 0.3)), wavelet_losses(x))
    mask = torch.zeros(2, 8, 8)
    mask[:, 2:5, 1:7] = 1
    other = torch.where(mask[:, None] > 0, x, 100.0)
    torch.testing.assert_close(wavelet_losses(other, mask), wavelet_losses(x, mask))


def test_each_sample_is_its_own():
    x = picture(7, 9, count=3).float()
    alone = torch.cat([wavelet_losses(x[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(wavelet_losses(x), alone)
