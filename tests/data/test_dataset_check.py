"""The dataset report says what is there."""

from __future__ import annotations

import pytest

from slipstream.data.buckets import Bucket
from slipstream.data.check import check_dataset
from slipstream.data.dataset import build_dataset
from slipstream.data.settings import DatasetSettings


@pytest.fixture
def report(folder, make):
    make("a.png", 256, 256, caption="a fox")
    make("b.png", 384, 256, caption="a fox")
    make("c.png", 100, 80, caption="a very small picture of a bear")
    make("d.png", 160, 320)
    make("e.png", 40, 40, caption="too small to be used, with the longest caption of them all")
    (folder / "f.jpg").write_bytes(b"rubbish")
    settings = DatasetSettings(folder, (128, 192), num_repeats=3, caption_dropout=0.0)
    return check_dataset(build_dataset([settings]), 4, count_tokens=lambda text: len(text.split()), max_tokens=5)


def test_counts(report, folder):
    (facts,) = report.folders
    assert (facts.path, facts.num_images, facts.num_skipped) == (folder, 4, 2)
    assert (facts.smallest, facts.largest) == ((100, 80), (384, 256))
    assert {skipped.path.name for skipped in report.skipped} == {"e.png", "f.jpg"}
    # a, b, d in two buckets each, c in one: its second would be the same
    assert (report.num_images, report.num_examples, report.num_repeated) == (4, 7, 1)
    assert report.samples_per_epoch == 21
    assert [path.name for path in facts.below_smallest_resolution] == ["c.png"]


def test_captions(report):
    captions = report.folders[0].captions
    assert (captions.from_file, captions.from_default) == (3, 0)
    assert [path.name for path in captions.missing] == ["d.png"]
    assert (captions.shortest, captions.longest) == ("", "a very small picture of a bear")
    assert captions.mean_length == pytest.approx((5 + 5 + 30 + 0) / 4)
    assert captions.duplicates == (("a fox", 2),)
    assert [path.name for path in captions.too_long] == ["c.png"]


def test_buckets_and_crops(report):
    assert sum(facts.examples for facts in report.buckets) == 7
    square = next(facts for facts in report.buckets if facts.bucket == Bucket(128, 128))
    assert (square.examples, square.samples, square.worst_crop) == (1, 3, pytest.approx(0))
    small = next(facts for facts in report.buckets if facts.bucket == Bucket(96, 80))
    # 100 x 80 to 96 x 80 keeps 96 of 100 columns
    assert small.mean_crop == small.worst_crop == pytest.approx(0.04)
    assert small.worst_path.name == "c.png"


def test_steps_per_epoch_count_full_batches_of_every_bucket(report):
    # 3 samples in each bucket of one picture: one batch of 4 per bucket, two where two pictures share it
    assert report.steps_per_epoch == sum(-(-facts.samples // 4) for facts in report.buckets)
    assert report.batch_size == 4


def test_advice_on_what_is_amiss(report):
    assert any("4 pictures are few" in line and "1500 to 2200" in line for line in report.advice)
    assert any("1 pictures have neither" in line for line in report.advice)
    assert any("too long" in line for line in report.advice)
    assert any("1 pictures have fewer pixels" in line for line in report.advice)


@pytest.mark.parametrize(("count", "advice"), [(9, "few"), (10, None), (50, None), (51, "beyond about 50")])
def test_advice_on_few_and_many_pictures(dataset, count, advice):
    lines = check_dataset(dataset({(64, 64): count}, resolutions=(64,)), 1).advice
    assert len(lines) == (advice is not None)
    assert advice is None or advice in lines[0]


def test_large_crops_are_pointed_out(folder, make):
    make("a.png", 68, 64, caption="a")
    make("wide.png", 79, 64, caption="a")
    make("b.png", 80, 64, caption="a")
    report = check_dataset(build_dataset([DatasetSettings(folder, (128,))]), 1)
    # 64 of 79 columns are kept
    (line,) = [line for line in report.advice if "cuts off" in line]
    assert "wide.png: bucket 64x64 cuts off 19%" in line


def test_without_a_tokenizer_lengths_are_unknown(dataset):
    report = check_dataset(dataset({(64, 64): 1}), 1)
    assert report.folders[0].captions.too_long is None
