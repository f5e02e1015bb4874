"""Several datasets in one training: weights, strengths, regularization sets, preserved captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream.core.errors import DataError
from slipstream.data.dataset import build_dataset
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.data.loader import Loader
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import DatasetSettings


@pytest.fixture
def folder_of(tmp_path):
    """`folder_of("name", 3, caption="...")`: a folder of that many pictures, all 64 x 64."""

    def make(name, count, caption="a [trigger] fox"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            pixels = np.random.default_rng([number, *name.encode()]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text(caption)
        return folder

    return make


def settings(folder, **changes):
    return DatasetSettings(folder, **{"resolutions": (512,), "caption_dropout": 0.0, "trigger_word": "zfox", **changes})


def features(caption):
    return torch.tensor([[float(ord(letter))] for letter in f"{caption}."])


def text_of(features_LT):
    return "".join(chr(int(value)) for value in features_LT[:-1, 0])


def batches(dataset, batch_size, epochs=2):
    sampler = BucketSampler(dataset, batch_size, seed=7)
    with Loader(dataset, sampler, lambda example, flipped: torch.zeros(1, 1, 1), features) as loader:
        return [loader.batch_at(step) for step in range(epochs * loader.batches_per_epoch)]


def test_plain_sets_make_plain_batches(folder_of):
    for batch in batches(build_dataset([settings(folder_of("a", 3)), settings(folder_of("b", 2))]), 2):
        assert (batch.loss_weights, batch.lora_weight, batch.prior, batch.preserved_texts) == ((), 1.0, (), None)


def test_every_sample_carries_its_sets_weight_and_prior(folder_of):
    teach = settings(folder_of("teach", 3), loss_multiplier=0.5)
    hold = settings(folder_of("hold", 3), regularization="prior")
    real = settings(folder_of("real", 3), regularization="pictures", loss_multiplier=2.0)
    dataset = build_dataset([teach, hold, real])
    kinds = {index: (0.5, False) if index < 3 else (1.0, True) if index < 6 else (2.0, False) for index in range(9)}
    seen = set()
    for batch in batches(dataset, 2, epochs=4):
        weights = batch.loss_weights or (1.0, 1.0)
        prior = batch.prior or (False, False)
        rows = zip(batch.entry_indices, weights, prior, strict=True)
        assert all(kinds[index] == (weight, is_prior) for index, weight, is_prior in rows)
        seen.add((batch.loss_weights == (), batch.prior == ()))
    assert len(seen) > 1


def test_a_batch_has_one_lora_weight_and_every_sample_still_comes(folder_of):
    dataset = build_dataset([settings(folder_of("for", 4)), settings(folder_of("against", 3), lora_weight=-1.0)])
    sampler = BucketSampler(dataset, 2, seed=1)
    assert sampler.batches_per_epoch == 4
    seen = []
    for batch in batches(dataset, 2, epochs=1):
        assert {dataset.examples[index].lora_weight for index in batch.entry_indices} == {batch.lora_weight}
        seen += batch.entry_indices
    assert set(seen) == set(range(7))


def test_equal_weights_leave_the_order_as_it_was(folder_of):
    a, b = folder_of("a", 4), folder_of("b", 4)
    plain = BucketSampler(build_dataset([settings(a), settings(b)]), 2, seed=1)
    doubled = BucketSampler(build_dataset([settings(a, lora_weight=0.5), settings(b, lora_weight=0.5)]), 2, seed=1)
    assert [plain.draw(step) for step in range(20)] == [doubled.draw(step) for step in range(20)]


@pytest.mark.parametrize("kind", ["pictures", "prior"])
def test_regularization_sets_get_no_trigger_word_put_in_front(folder_of, kind):
    hold = folder_of("hold", 2, caption="a fox")
    (hold / "1.txt").write_text("a [trigger] fox")
    dataset = build_dataset([settings(hold, regularization=kind, caption_dropout=0.5)])
    assert [example.caption for example in dataset.examples] == ["a fox", "a zfox fox"]
    assert {example.dropped_caption for example in dataset.examples} == {""}
    assert dataset.captions() == ["", "a fox", "a zfox fox"]


def test_preserved_captions_name_the_class_instead_of_the_trigger(folder_of):
    teach = settings(folder_of("teach", 2, caption="a Zfox by zfoxes"), class_word="animal", caption_dropout=0.5)
    hold = settings(folder_of("hold", 2, caption="a bear"), class_word="animal", regularization="prior")
    dataset = build_dataset([teach, hold])
    preserved = {"a Zfox by zfoxes": "a animal by zfoxes", "zfox": "animal", "a bear": "a bear"}
    met = set()
    for batch in batches(dataset, 2, epochs=20):
        assert len(batch.preserved_texts) == 2
        pairs = [(text_of(a), text_of(b)) for a, b in zip(batch.texts, batch.preserved_texts, strict=True)]
        assert all(preserved[caption] == kept for caption, kept in pairs)
        met.update(pairs)
    assert met == set(preserved.items())
    assert set(dataset.captions()) == {text for pair in met for text in pair}


def test_the_blank_caption_is_preserved_or_at_hand_where_it_is_needed(folder_of):
    folder = folder_of("a", 2, caption="a zfox")
    dataset = build_dataset([settings(folder, preserves_blank=True)])
    assert dataset.captions() == ["", "a zfox"]
    assert all(text_of(text) == "" for batch in batches(dataset, 1) for text in batch.preserved_texts)
    assert build_dataset([settings(folder)]).captions() == ["a zfox"]
    assert build_dataset([settings(folder)], needs_blank_caption=True).captions() == ["", "a zfox"]


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_weight": 0.5},
        {"loss_multiplier": 0.5},
        {"regularization": "pictures"},
        {"regularization": "prior"},
        {"class_word": "animal"},
        {"preserves_blank": True},
    ],
)
def test_the_fingerprint_knows_what_shapes_training(folder_of, changes):
    folder = folder_of("a", 1, caption="a zfox")
    plain, changed = (build_dataset([settings(folder, **more)]) for more in ({}, changes))
    assert dataset_fingerprint(plain) != dataset_fingerprint(changed)
    assert dataset_fingerprint(plain) == dataset_fingerprint(build_dataset([settings(folder)]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_weight": 0.0}, "nothing is learned"),
        ({"loss_multiplier": 0.0}, "expected more than 0"),
        ({"loss_multiplier": float("nan")}, "expected more than 0"),
        ({"class_word": "animal", "preserves_blank": True}, "both set"),
    ],
)
def test_nonsense_is_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        settings(tmp_path, **changes)


def test_sets_that_preserve_different_captions_are_refused(folder_of):
    with pytest.raises(DataError, match="preserve different captions"):
        build_dataset([settings(folder_of("a", 1), class_word="animal"), settings(folder_of("b", 1))])
