"""The dataset report says what is there."""

from __future__ import annotations

import pytest
from PIL import Image, ImageFilter

from slipstream.data.buckets import Bucket
from slipstream.data.check import check_dataset
from slipstream.data.dataset import build_dataset
from slipstream.data.looks import look_at
from slipstream.data.settings import DatasetSettings, MaskSettings


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
    assert any("1 picture has neither" in line for line in report.advice)
    assert any("1 caption is too long and cut at 5 tokens" in line for line in report.advice)
    assert any("1 picture has fewer pixels" in line for line in report.advice)


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


@pytest.fixture
def looked_at(folder, make):
    """A folder with one of everything, and the report on it."""

    def check(kind=None, **settings):
        looks = {}
        build = build_dataset(
            [DatasetSettings(folder, (128,), **settings)],
            on_picture=lambda path, picture: looks.update({path: look_at(picture)}),
        )
        return check_dataset(build, 2, looks=looks, kind=kind)

    for name in ("a", "b", "c"):
        make(f"{name}.png", 192, 192, caption=f"[trigger], picture {name}")
    make("small.png", 96, 96, caption="a zfox picture")
    make("copy.png", 192, 192, caption="again", seed=sum(b"a.png"))
    picture = Image.open(folder / "b.png")
    picture.filter(ImageFilter.GaussianBlur(6)).resize((320, 320)).save(folder / "blurred.png")
    Image.new("RGB", (160, 160), (9, 9, 9)).save(folder / "dark.png")
    Image.new("RGB", (160, 160), (250, 250, 250)).save(folder / "bright.png")
    return check


def kinds(report):
    return {picture.name: {finding.kind for finding in picture.findings} for picture in report.pictures}


def test_findings_name_what_is_amiss_with_each_picture(looked_at):
    assert kinds(looked_at()) == {
        "a.png": {"duplicate"}, "b.png": set(), "c.png": set(), "small.png": {"small"}, "copy.png": {"duplicate"},
        "blurred.png": {"flat", "no caption"}, "dark.png": {"dark", "flat", "no caption"},
        "bright.png": {"bright", "flat", "no caption"},
    }  # fmt: skip


def test_duplicates_count_once_in_the_advice(looked_at):
    report = looked_at()
    ((first, second),) = [group.twins for group in report.duplicates]
    assert {first.path.name, second.path.name} == {"a.png", "copy.png"}
    assert second.identical
    assert (report.num_images, report.num_distinct) == (8, 7)
    assert any(line.startswith("7 different pictures are few") for line in report.advice)
    assert any("2 pictures are near-duplicates in 1 group" in line for line in report.advice)


def test_one_folder_at_two_resolutions_is_no_duplicate_of_itself(folder, make):
    make("a.png", 192, 192, caption="a")
    settings = [DatasetSettings(folder, (64,)), DatasetSettings(folder, (128,))]
    looks = {}
    dataset = build_dataset(settings, on_picture=lambda path, picture: looks.update({path: look_at(picture)}))
    report = check_dataset(dataset, 1, looks=looks)
    assert report.duplicates == ()
    assert [picture.folder for picture in report.pictures] == [0, 1]


def test_trigger_words_are_counted_where_they_are_written(looked_at):
    assert looked_at().folders[0].captions.with_trigger is None
    report = looked_at(trigger_word="zfox")
    assert report.folders[0].captions.with_trigger == 4
    assert any("4 of 8 captions hold the trigger word" in line and "other 4" in line for line in report.advice)
    assert looked_at(trigger_word="zfox", regularization="pictures").folders[0].captions.with_trigger is None


def test_pictures_without_a_mask_are_found(looked_at, folder, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (192, 192), 255).save(tmp_path / "masks/a.png")
    report = looked_at(mask=MaskSettings("folder", tmp_path / "masks"))
    assert {name for name, found in kinds(report).items() if "unmasked" not in found} == {"a.png"}
    assert [picture.name for picture in report.pictures if picture.veil is not None] == ["a.png"]


@pytest.mark.parametrize(
    ("kind", "count", "advice"),
    [
        ("character", 11, "few for a character: better are 12 to 30 of the same subject"),
        ("character", 12, None), ("character", 30, None),
        ("character", 31, "more than a character needs (12 to 30)"),
        ("style", 14, "few for a style: better are 15 to 40 in that style over unlike subjects"),
        ("style", 40, None), ("style", 41, "more than a style needs"), ("style", 51, "beyond about 50"),
        ("style", 9, "1500 to 2200 steps"),
    ],
)  # fmt: skip
def test_advice_for_characters_and_styles(dataset, kind, count, advice):
    *number, captions = check_dataset(dataset({(64, 64): count}, resolutions=(64,)), 1, kind=kind).advice
    assert f"captions of a {kind}" in captions
    assert len(number) == (advice is not None)
    assert advice is None or advice in number[0]


def test_buckets_smaller_than_a_batch_are_pointed_out(dataset):
    data = dataset({(64, 64): 12, (96, 64): 1}, resolutions=(64, 1024))
    assert any("1 of 2 buckets have fewer pictures than a batch of 4" in line for line in check_dataset(data, 4).advice)
    assert not check_dataset(data, 1).advice


def test_captions_that_all_say_the_same_are_pointed_out(folder, make):
    for number in range(12):
        make(f"{number}.png", 64, 64, caption="a fox" if number % 2 else f"fox {number}")
    report = check_dataset(build_dataset([DatasetSettings(folder, (64,))]), 1)
    assert any("6 of 12 captions are shared by several pictures" in line for line in report.advice)
    assert sum("same caption" in found for found in kinds(report).values()) == 6
