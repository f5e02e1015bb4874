"""Datasets: examples, counts, what is left out; the fingerprint."""

from __future__ import annotations

import shutil

import pytest

from slipstream.core.errors import DataError
from slipstream.data.buckets import Bucket
from slipstream.data.dataset import build_dataset
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.data.settings import CropRule, DatasetSettings


def test_one_example_per_picture_and_bucket(folder, make):
    make("large.png", 300, 300, caption="large")
    make("small.png", 100, 100, caption="small")
    dataset = build_dataset([DatasetSettings(folder, (128, 256, 192), num_repeats=3, flip_horizontal=True)])
    rows = [(example.image.path.name, example.bucket.width) for example in dataset.examples]
    assert rows == [("large.png", 128), ("large.png", 192), ("large.png", 256), ("small.png", 96)]
    assert [example.index for example in dataset.examples] == [0, 1, 2, 3]
    assert all(example.num_repeats == 3 and example.flip_horizontal for example in dataset.examples)
    assert [example.caption for example in dataset.examples] == ["large"] * 3 + ["small"]
    assert (dataset.num_images, dataset.samples_per_epoch, dataset.num_repeated) == (2, 12, 2)
    assert [row for row in dataset.warnings if "1 of 2 pictures" in row and "192" in row]
    assert [row for row in dataset.warnings if "1 of 2 pictures" in row and "256" in row]


def test_the_bucket_table_adds_folders_up(tmp_path, folder, make):
    make("a.png", 100, 100)
    make("b.png", 96, 130)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "a.png", other / "c.png")
    dataset = build_dataset([DatasetSettings(folder, (512,)), DatasetSettings(other, (512,), num_repeats=4)])
    assert dataset.bucket_table() == [(Bucket(96, 96), 2, 5), (Bucket(96, 128), 1, 1)]
    assert dataset.num_images == 3


def test_captions_hold_the_empty_one_only_where_captions_are_dropped(folder, make):
    make("a.png", caption="fox")
    make("b.png", caption="bear")
    make("c.png", caption="fox")
    kept = build_dataset([DatasetSettings(folder, (512,), caption_dropout=0.0)])
    dropped = build_dataset([DatasetSettings(folder, (512,), caption_dropout=0.1)])
    assert kept.captions() == ["bear", "fox"]
    assert dropped.captions() == ["", "bear", "fox"]


def test_pictures_that_are_too_small_are_listed(folder, make):
    make("tiny.png", 63, 200)
    make("a.png", 64, 64)
    dataset = build_dataset([DatasetSettings(folder, (512,))])
    assert dataset.num_images == len(dataset.examples) == 1
    (skipped,) = dataset.skipped
    assert skipped.path.name == "tiny.png"
    assert "63x200" in skipped.reason


def test_a_picture_left_out_at_one_resolution_is_warned_about(folder, make):
    make("strip.png", 1600, 100)
    dataset = build_dataset([DatasetSettings(folder, (128, 512))])
    assert [example.bucket for example in dataset.examples] == [Bucket(1600, 96)]
    assert dataset.skipped == ()
    assert [row for row in dataset.warnings if "strip.png" in row and "128" in row]


def test_nothing_but_small_pictures_is_an_error(folder, make):
    make("a.png", 32, 32)
    with pytest.raises(DataError, match=r"a\.png: 32x32") as caught:
        build_dataset([DatasetSettings(folder, (512,))])
    assert caught.value.where == str(folder)


def test_no_dataset_is_an_error():
    with pytest.raises(DataError, match="no dataset"):
        build_dataset([])


@pytest.fixture
def pair(folder, make):
    make("a.png", 96, 96, caption="a fox")
    make("b.png", 80, 96, caption="a bear")
    return folder


def fingerprint(folder, **settings):
    return dataset_fingerprint(build_dataset([DatasetSettings(folder, **{"resolutions": (512,), **settings})]))


def test_the_fingerprint_does_not_know_where_the_folder_lies(pair, tmp_path):
    before = fingerprint(pair)
    shutil.copytree(pair, tmp_path / "elsewhere" / "moved")
    assert fingerprint(tmp_path / "elsewhere" / "moved") == before
    assert len(before) == 40
    assert int(before, 16)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_repeats": 2},
        {"flip_horizontal": True},
        {"caption_dropout": 0.1},
        {"trigger_word": "zfox"},
        {"resolutions": (64,)},
        {"flip_vertical": True},
        {"crop": CropRule("top"), "square": True},
        {"resolutions": (64,), "crop": CropRule("random", 2, scale=0.5)},
    ],
)
def test_the_fingerprint_knows_every_setting_that_shapes_training(pair, settings):
    assert fingerprint(pair, **settings) != fingerprint(pair)


def test_the_fingerprint_knows_pictures_and_captions(pair, make):
    before = fingerprint(pair)
    (pair / "a.txt").write_text("a wolf")
    caption = fingerprint(pair)
    make("a.png", 96, 96, seed=99)
    assert len({before, caption, fingerprint(pair)}) == 3


def test_the_fingerprint_ignores_whether_latents_are_cached(pair):
    assert fingerprint(pair, cache_latents=False) == fingerprint(pair)
