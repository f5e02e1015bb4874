"""Masks from files to loss: white ones change nothing, dark cells have no say, and a stopped run goes on alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.data.crops import View
from slipstream.data.dataset import build_dataset
from slipstream.data.loader import Loader
from slipstream.data.pixel_batches import example_pixels
from slipstream.data.sampler import BucketSampler
from slipstream.data.scan import reopen
from slipstream.data.settings import CropRule, DatasetSettings, MaskSettings
from slipstream.training.step import micro_terms


@pytest.fixture
def folders(tmp_path):
    """Three pictures of smooth noise, and a folder for their masks."""
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((112, 80), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"pictures/{number}.png")
    return tmp_path / "pictures", tmp_path / "masks"


def paint(masks, values_HW):
    for number in range(3):
        Image.fromarray(np.uint8(values_HW)).save(masks / f"{number}.png")


@pytest.fixture
def losses(bench, tiny, folders):
    """The summed loss of two micro batches and the LoRA's gradient, for dataset settings."""

    def latents(example, view):
        return tiny.codec.encode(example_pixels(reopen(example.image), example, view)[None])[0]

    def measure(**settings):
        rule = CropRule("random", 3, seed=2)
        dataset = build_dataset([DatasetSettings(folders[0], (64,), square=True, crop=rule, **settings)])
        for parameter in bench.lora.parameters():
            parameter.grad = None
        total = 0.0
        with Loader(dataset, BucketSampler(dataset, 2, 3), latents, lambda caption: tiny.features("")) as loader:
            for step in range(2):
                batch = loader.batch_at(step)
                for terms in micro_terms(batch, bench.model, bench.settings(), step, 0):
                    loss = sum(term.mean() for term in terms.values())
                    loss.backward()
                    total += loss.item()
        return total, bench.gradients()

    return measure


def test_white_masks_equal_no_masks(losses, folders):
    paint(folders[1], np.full((80, 112), 255))
    plain, gradient = losses()
    masked, masked_gradient = losses(mask=MaskSettings("folder", folders[1]))
    assert masked == pytest.approx(plain, rel=1e-6)
    assert torch.allclose(masked_gradient, gradient, rtol=1e-4, atol=1e-7)


def test_a_minimum_of_one_equals_no_masks_and_halves_do_not(losses, folders):
    half = np.zeros((80, 112))
    half[:40] = 255
    paint(folders[1], half)
    plain, _ = losses()
    assert losses(mask=MaskSettings("folder", folders[1], minimum=1.0))[0] == pytest.approx(plain, rel=1e-6)
    upper, lower = (losses(mask=MaskSettings("folder", folders[1], invert=invert))[0] for invert in (False, True))
    assert upper != pytest.approx(plain, rel=1e-3)
    assert lower != pytest.approx(upper, rel=1e-3)


def test_a_prior_weight_adds_a_term_that_an_untrained_lora_does_not_feel(bench, losses, folders):
    half = np.zeros((80, 112))
    half[:40] = 255
    paint(folders[1], half)
    with torch.no_grad():
        for parameter in bench.lora.parameters():
            parameter.zero_()
    without, _ = losses(mask=MaskSettings("folder", folders[1]))
    zero, _ = losses(mask=MaskSettings("folder", folders[1], prior_weight=2.0))
    assert zero == pytest.approx(without, rel=1e-6)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in bench.lora.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    without, _ = losses(mask=MaskSettings("folder", folders[1]))
    one, two = (losses(mask=MaskSettings("folder", folders[1], prior_weight=w))[0] for w in (1.0, 2.0))
    assert one > without
    assert two - without == pytest.approx(2 * (one - without), rel=1e-4)


def test_every_view_is_trained_from_the_same_pixels_as_its_mask(folders):
    """The weight of a cell is the brightness of the pixels under it where the mask is the picture itself."""
    for number in range(3):
        Image.open(folders[0] / f"{number}.png").convert("L").save(folders[1] / f"{number}.png")
    mask = MaskSettings("folder", folders[1])
    dataset = build_dataset([DatasetSettings(folders[0], (64,), square=True, mask=mask, flip_horizontal=True)])
    example = dataset.examples[0]
    grey = example_pixels(reopen(example.image).convert("L").convert("RGB"), example, View(flipped=True))
    cells = torch.nn.functional.avg_pool2d(grey[:1], 8)[0] / 2 + 0.5
    sampler = BucketSampler(dataset, 3, 1)
    with Loader(dataset, sampler, lambda e, v: torch.zeros(1, 8, 8), lambda caption: torch.zeros(1, 1)) as loader:
        draws = [(step, row, d) for step in range(20) for row, d in enumerate(sampler.draw(step))]
        step, row, _ = next(one for one in draws if one[2].example_index == 0 and one[2].flipped)
        assert (loader.batch_at(step).masks_BHW[row] - cells).abs().max() < 0.02
