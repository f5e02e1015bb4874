"""Masks: aligned with their pictures whatever is cropped and mirrored, exact means, plain refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.core.errors import DataError, ImageError
from slipstream.data.buckets import Bucket
from slipstream.data.dataset import build_dataset
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.data.loader import Loader, fresh_latents
from slipstream.data.masks import area_means, cell_weights, read_mask
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import CropRule, DatasetSettings, MaskSettings


@pytest.fixture
def masks(tmp_path):
    path = tmp_path / "masks"
    path.mkdir()
    return path


def blobs(width, height, seed=0):
    """Smooth bright and dark areas, so that resampling filters hardly differ."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_pair(folder, masks, name, width, height, seed=0, mask_scale=1):
    grey = blobs(width, height, seed)
    grey.convert("RGB").save(folder / f"{name}.png")
    grey.resize((width * mask_scale, height * mask_scale), Image.Resampling.BICUBIC).save(masks / f"{name}.png")


def load(folder, masks=None, resolutions=(64,), mask=None, **settings):
    mask = mask or MaskSettings("folder", masks)
    return build_dataset([DatasetSettings(folder, resolutions, mask=mask, **settings)])


def brightness(pixels_B3HW):
    """An "encoder" whose latents are the brightness of each cell, in [0, 1]."""
    return torch.nn.functional.avg_pool2d(pixels_B3HW.mean(1, keepdim=True), 8) / 2 + 0.5


def batches(data, count, batch_size=2):
    sampler = BucketSampler(data, batch_size, seed=3)
    with Loader(data, sampler, fresh_latents(brightness), lambda caption: torch.zeros(1, 1)) as loader:
        return [loader.batch_at(step) for step in range(count)]


@pytest.mark.parametrize("mask_scale", [1, 2])
def test_a_mask_equal_to_the_pictures_brightness_stays_so_in_every_view(folder, masks, mask_scale):
    for number in range(3):
        write_pair(folder, masks, f"picture {number}", 200, 120, seed=number, mask_scale=mask_scale)
    rule = CropRule("random", 4, 0.5, seed=2)
    data = load(folder, masks, crop=rule, square=True, flip_horizontal=True, flip_vertical=True)
    views = [draw.view for step in range(24) for draw in BucketSampler(data, 2, seed=3).draw(step)]
    assert len(set(views)) > 10
    for batch in batches(data, 24):
        assert batch.masks_BHW.dtype == torch.float32
        assert batch.masks_BHW.shape == batch.latents_BCHW[:, 0].shape
        assert (batch.masks_BHW - batch.latents_BCHW[:, 0]).abs().max() < 0.03
        spread = batch.masks_BHW.std()
        assert spread > 0.1, "an even mask would be aligned anyhow"


def test_batches_are_the_same_in_any_order_of_steps(folder, masks):
    for number in range(3):
        write_pair(folder, masks, f"{number}", 160, 96, seed=number)
    data = load(folder, masks, crop=CropRule("random", 3), square=True, flip_horizontal=True)
    walked = batches(data, 6)
    sampler = BucketSampler(data, 2, seed=3)
    with Loader(data, sampler, fresh_latents(brightness), lambda caption: torch.zeros(1, 1)) as loader:
        for step in (5, 2, 0, 4):
            assert torch.equal(loader.batch_at(step).masks_BHW, walked[step].masks_BHW)


def test_area_means_are_exact():
    values = np.random.default_rng(1).random((9, 13))
    assert np.allclose(area_means(values, (0, 0, 13, 9), 1, 1), values.mean())
    assert np.allclose(area_means(values, (2, 1, 12, 9), 5, 4), values[1:9, 2:12].reshape(4, 2, 5, 2).mean((1, 3)))
    # a quarter of pixel 3 and three quarters of pixel 4
    assert area_means(values, (3.75, 2, 4.75, 3), 1, 1)[0, 0] == pytest.approx(
        0.25 * values[2, 3] + 0.75 * values[2, 4]
    )
    # cells smaller than a pixel
    assert np.allclose(area_means(values, (1, 1, 2, 2), 3, 3), values[1, 1])


def half_white(width, height):
    values = np.zeros((height, width), np.uint8)
    values[:, width // 2 :] = 255
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("settings", "dark", "bright"),
    [({}, 0, 1), ({"invert": True}, 1, 0), ({"minimum": 0.25}, 0.25, 1), ({"invert": True, "minimum": 0.1}, 1, 0.1)],
)
def test_inverting_and_the_minimum(folder, masks, make, settings, dark, bright):
    make("a.png", 64, 64)
    half_white(64, 64).save(masks / "a.png")
    (batch, *_) = batches(load(folder, mask=MaskSettings("folder", masks, **settings)), 1, 1)
    assert torch.allclose(batch.masks_BHW[0, :, :4], torch.tensor(float(dark)))
    assert torch.allclose(batch.masks_BHW[0, :, 4:], torch.tensor(float(bright)))
    assert batch.masks_BHW.min() >= 0
    assert batch.masks_BHW.max() <= 1


def test_grey_and_edges_within_a_cell_in_closed_form(folder, masks, make):
    make("a.png", 64, 64)
    values = np.full((64, 64), 51, np.uint8)
    values[:3] = 255
    Image.fromarray(values).save(masks / "a.png")
    (batch, *_) = batches(load(folder, mask=MaskSettings("folder", masks, minimum=0.5)), 1, 1)
    assert torch.allclose(batch.masks_BHW[0, 1:], torch.tensor(0.5 + 0.5 * 0.2))
    assert torch.allclose(batch.masks_BHW[0, 0], torch.tensor(0.5 + 0.5 * (3 * 1 + 5 * 0.2) / 8))


def test_alpha_is_the_mask_and_the_picture_is_still_laid_on_white(folder):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, 32:, 3] = 255
    Image.fromarray(rgba).save(folder / "a.png")
    (batch, *_) = batches(load(folder, mask=MaskSettings("alpha")), 1, 1)
    assert torch.equal(batch.masks_BHW[0, :, :4], torch.zeros(8, 4))
    assert torch.equal(batch.masks_BHW[0, :, 4:], torch.ones(8, 4))
    assert torch.equal(batch.latents_BCHW[0, 0], 1 - batch.masks_BHW[0])


def test_prior_weights_come_per_sample_and_only_where_set(folder, masks, make):
    make("a.png", 64, 64)
    make("b.png", 64, 64)
    half_white(64, 64).save(masks / "a.png")
    with_prior = load(folder, mask=MaskSettings("folder", masks, prior_weight=0.5))
    batch = batches(with_prior, 1)[0]
    names = [with_prior.examples[index].image.path.stem for index in batch.entry_indices]
    assert batch.mask_prior_weights == tuple(0.5 if name == "a" else 0.0 for name in names)
    assert torch.equal(batch.masks_BHW[names.index("b")], torch.ones(8, 8))
    assert batches(load(folder, masks), 1)[0].mask_prior_weights == ()


def test_without_masks_batches_have_none(dataset):
    batch = batches(dataset({(64, 64): 2}), 1)[0]
    assert (batch.masks_BHW, batch.mask_prior_weights) == (None, ())


def test_pictures_without_a_mask_are_listed(folder, masks, make):
    for name in ("a", "b", "c"):
        make(f"{name}.png", 64, 64)
    half_white(64, 64).save(masks / "b.png")
    (line,) = load(folder, masks).warnings
    assert "2 of 3 pictures count all over" in line
    assert "a.png, c.png" in line


def test_no_mask_at_all_is_refused(folder, masks, make):
    make("a.png", 64, 64)
    with pytest.raises(DataError, match="none of the 1 pictures has one"):
        load(folder, masks)
    with pytest.raises(DataError, match="no alpha channel") as refused:
        load(folder, mask=MaskSettings("alpha"))
    assert "transparency" in str(refused.value)
    assert "fox.png" not in str(refused.value)


def test_a_missing_mask_folder_is_refused(folder, make, tmp_path):
    make("a.png", 64, 64)
    with pytest.raises(DataError, match=r"mask\.path: there is no such folder"):
        load(folder, tmp_path / "nowhere")


def test_another_aspect_is_refused_and_another_size_is_not(folder, masks, make):
    make("a.png", 200, 100)
    half_white(100, 50).save(masks / "a.png")
    load(folder, masks, (128,))
    half_white(100, 60).save(masks / "a.png")
    with pytest.raises(DataError, match="100x60 pixels, its picture 200x100") as caught:
        load(folder, masks, (128,))
    assert caught.value.where == str(masks / "a.png")


def test_a_mask_that_lets_nothing_count_is_refused(folder, masks, make):
    make("a.png", 64, 64)
    Image.new("L", (64, 64), 0).save(masks / "a.png")
    with pytest.raises(DataError, match="black all over") as caught:
        load(folder, masks)
    assert caught.value.where == str(masks / "a.png")
    load(folder, mask=MaskSettings("folder", masks, minimum=0.1))
    load(folder, mask=MaskSettings("folder", masks, invert=True))
    Image.new("L", (64, 64), 255).save(masks / "a.png")
    with pytest.raises(DataError, match="white all over"):
        load(folder, mask=MaskSettings("folder", masks, invert=True))


def test_crops_in_which_nothing_counts_are_left_out(folder, masks, make):
    make("a.png", 640, 64)
    values = np.zeros((64, 640), np.uint8)
    values[:, :40] = 255
    Image.fromarray(values).save(masks / "a.png")
    (example,) = load(folder, masks, square=True, crop=CropRule("random", 32)).examples
    assert 1 <= len(example.crops) < 8
    assert all(box[0] < 40 for box in example.crops)
    with pytest.raises(DataError, match="bucket 64x64 cuts away everything"):
        load(folder, masks, square=True)
    assert len(load(folder, mask=MaskSettings("folder", masks, minimum=0.1), square=True).examples) == 1


def test_a_damaged_mask_is_an_error_and_not_skipped(folder, masks, make):
    make("a.png", 64, 64)
    (masks / "a.png").write_bytes(b"rubbish")
    with pytest.raises(ImageError):
        load(folder, masks)


def test_a_mask_folder_within_the_dataset_is_not_taken_for_pictures(folder, make):
    make("a.png", 64, 64)
    make("more/b.png", 64, 64)
    (folder / "masks" / "more").mkdir(parents=True)
    half_white(64, 64).save(folder / "masks/a.png")
    half_white(64, 64).save(folder / "masks/more/b.webp", lossless=True)
    data = load(folder, folder / "masks")
    assert [example.image.path.name for example in data.examples] == ["a.png", "b.png"]
    assert data.warnings == ()
    assert data.examples[1].image.mask.path.name == "b.webp"


def test_a_mask_changed_during_a_run_is_noticed(folder, masks, make):
    make("a.png", 64, 64)
    half_white(64, 64).save(masks / "a.png")
    mask = load(folder, masks).examples[0].image.mask
    Image.new("L", (64, 64), 255).save(masks / "a.png")
    with pytest.raises(ImageError, match="changed"):
        cell_weights(mask, (64, 64), Bucket(64, 64), [(0, 0, 64, 64)])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16"])
def test_any_kind_of_grey_picture_is_a_mask(masks, mode):
    path = masks / "a.png"
    if mode == "I;16":
        Image.fromarray(np.asarray(half_white(64, 64), dtype=np.uint16) * 257).save(path)
    else:
        half_white(64, 64).convert(mode).save(path)
    mask = read_mask(path, (64, 64), MaskSettings("folder", masks))
    (weights,) = cell_weights(mask, (64, 64), Bucket(64, 64), [(0, 0, 64, 64)])
    assert weights[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert mask.lit == (0.5, 0, 1, 1)


def test_masks_painted_on_transparent_ground_are_black_there(masks):
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[:, :32, 3] = 0
    Image.fromarray(rgba).save(masks / "a.png")
    assert read_mask(masks / "a.png", (64, 64), MaskSettings("folder", masks)).lit == (0.5, 0, 1, 1)


def test_the_fingerprint_knows_masks(folder, masks, make):
    make("a.png", 64, 64)
    half_white(64, 64).save(masks / "a.png")

    def fingerprint(**settings):
        return dataset_fingerprint(load(folder, mask=MaskSettings("folder", masks, **settings)))

    plain = dataset_fingerprint(build_dataset([DatasetSettings(folder, (64,))]))
    known = {plain, fingerprint(), fingerprint(invert=True), fingerprint(minimum=0.1), fingerprint(prior_weight=0.5)}
    blobs(64, 64).save(masks / "a.png")
    assert len({*known, fingerprint()}) == 6
