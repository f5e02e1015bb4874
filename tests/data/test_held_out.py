"""Held-out pictures: chosen by content, never trained, and measured once each as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from slipstream.core.errors import DataError
from slipstream.data.dataset import Dataset, build_dataset
from slipstream.data.held_out import choose_held_out, measured_part, read_folder, without
from slipstream.data.settings import DatasetSettings


def folder_of(path: Path, colours: list[int], prefix: str = "p") -> Path:
    path.mkdir()
    for number, colour in enumerate(colours):
        Image.new("RGB", (128, 112), (colour, 0, 0)).save(path / f"{prefix}{number}.png")
    return path


def settings(path: Path, **changes) -> DatasetSettings:
    return replace(DatasetSettings(path, (64, 96), flip_horizontal=True, num_repeats=3), **changes)


def contents(dataset: Dataset) -> set[str]:
    return {example.image.content_hash for example in dataset.examples}


def test_a_share_is_held_out_and_disjoint_from_what_is_trained(tmp_path):
    dataset = build_dataset([settings(folder_of(tmp_path / "a", list(range(20))))])
    chosen = choose_held_out(dataset, 0.2)
    training, measured = without(dataset, chosen, "w"), measured_part(dataset, chosen)
    assert len(chosen) == 4
    assert contents(measured) == chosen
    assert contents(training).isdisjoint(chosen)
    assert contents(training) | chosen == contents(dataset)
    assert (training.num_images, measured.num_images) == (16, 4)
    assert [len(part.folders[0].images) for part in (training, measured)] == [16, 4]
    assert [example.index for example in training.examples] == list(range(len(training.examples)))


def test_the_choice_depends_on_content_alone_and_grows_with_the_share(tmp_path):
    first = build_dataset([settings(folder_of(tmp_path / "a", list(range(20))))])
    renamed = build_dataset([settings(folder_of(tmp_path / "b", list(reversed(range(20))), "other"))])
    one_more = build_dataset([settings(folder_of(tmp_path / "c", list(range(21))))])
    assert choose_held_out(first, 0.2) == choose_held_out(renamed, 0.2)
    assert len(choose_held_out(first, 0.2) ^ choose_held_out(one_more, 0.2)) <= 2
    assert choose_held_out(first, 0.1) < choose_held_out(first, 0.3)
    assert len(choose_held_out(first, 0.001)) == 1


def test_a_measured_picture_counts_once_in_its_largest_bucket_as_it_is(tmp_path):
    dataset = build_dataset([settings(folder_of(tmp_path / "a", [1, 1, 2]), caption_dropout=0.5)])
    measured = measured_part(dataset)
    assert len(dataset.examples) == 6
    assert len(measured.examples) == 2, "two files with the same content are one picture"
    for example in measured.examples:
        assert example.bucket == max(e.bucket for e in dataset.examples)
        assert (example.num_repeats, example.caption_dropout, len(example.views)) == (1, 0.0, 1)
    assert measured.captions() == [""]


def test_regularization_sets_and_the_last_picture_of_a_folder_stay(tmp_path):
    plain = settings(folder_of(tmp_path / "a", [1, 2, 3]))
    alone = settings(folder_of(tmp_path / "b", [9]))
    regular = settings(folder_of(tmp_path / "r", list(range(50, 60))), regularization="pictures")
    dataset = build_dataset([plain, alone, regular])
    chosen = choose_held_out(dataset, 0.5)
    assert len(chosen) == 2
    training = without(dataset, chosen, "w")
    counts = {scan.settings.path.name: 0 for scan in dataset.folders}
    for content in contents(training):
        for scan in dataset.folders:
            counts[scan.settings.path.name] += content in {image.content_hash for image in scan.images}
    assert counts == {"a": 1, "b": 1, "r": 10}


def test_folders_of_one_picture_have_none_to_spare(tmp_path):
    with pytest.raises(DataError, match="no picture can be held out"):
        choose_held_out(build_dataset([settings(folder_of(tmp_path / "a", [1]))]), 0.5)


def test_a_folder_is_read_like_the_training_set_and_its_pictures_leave_training(tmp_path):
    training = settings(folder_of(tmp_path / "a", [1, 2, 3]), trigger_word="zfox", caption_dropout=1.0)
    held = folder_of(tmp_path / "held", [2, 7])
    (held / "p1.txt").write_text("a seven", encoding="utf-8")
    measured = measured_part(read_folder(training, {"path": held}))
    assert sorted(example.caption for example in measured.examples) == ["zfox", "zfox, a seven"]
    left = without(build_dataset([training]), contents(measured), "training.validation.path")
    assert left.num_images == 2
    with pytest.raises(DataError, match=r"all pictures of .* are held out") as caught:
        without(build_dataset([training]), contents(build_dataset([training])), "training.validation.path")
    assert caught.value.where == "training.validation.path"
