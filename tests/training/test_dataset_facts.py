"""What `plan`, the log and the manifest say about datasets, and doubtful captions."""

from __future__ import annotations

import pytest
from PIL import Image

from slipstream.config.run_config import parse_config
from slipstream.models.z_image.resolve import resolve_parts
from slipstream.training.dataset_facts import caption_warnings, dataset_facts, dataset_lines, num_learned
from slipstream.training.setting import settle
from slipstream.workflows.plan import make_plan

LONG = "a fox in the snow and then another one " * 60


@pytest.fixture
def config(tmp_path):
    """A config with two sets: 3 pictures (2 captions), and 1 of regularization."""
    for name, count in (("foxes", 3), ("animals", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (64, 64), (60 * number, len(name) * 20, 9)).save(tmp_path / name / f"{number}.png")
    for number in range(2):
        (tmp_path / f"foxes/{number}.txt").write_text("a fox, snow")

    def make(*overrides):
        first = {"path": "foxes", "resolutions": [64], "num_repeats": 2}
        second = {"path": "animals", "resolutions": [64], "regularization": "prior", "default_caption": "an animal"}
        return parse_config(
            {
                "job": {"name": "a", "trigger_word": "zfox"},
                "model": {"variant": "turbo", "name_or_path": "tiny/turbo"},
                "training": {"optimizer": "adamw"},
                "datasets": [first, second],
            },
            overrides,
            base_dir=tmp_path,
        )

    return make


def test_every_set_has_its_share_and_its_weights(config):
    overrides = ("datasets.0.loss_multiplier=0.5", "datasets.1.lora_weight=-1")
    foxes, animals = dataset_facts(settle(config(*overrides)).dataset)
    assert foxes == {
        "name": "foxes", "images": 3, "examples": 3, "num_repeats": 2, "samples_per_epoch": 6, "share": 0.8571,
        "captions": {"file": 2, "none": 1}, "lora_weight": 1.0, "loss_multiplier": 0.5, "regularization": None,
    }  # fmt: skip
    assert (animals["samples_per_epoch"], animals["share"]) == (1, 0.1429)
    assert (animals["lora_weight"], animals["regularization"]) == (-1.0, "prior")
    assert animals["captions"] == {"default": 1}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ((), ["dataset foxes: 3 pictures, 6 samples an epoch (86%)", "captions: 2 from files, 1 missing", "2 repeats"]),
        ((), ["dataset animals: 1 pictures, 1 samples an epoch (14%)", "without the LoRA"]),
        (("datasets.1.regularization=pictures",), ["dataset animals", "no trigger word put in front"]),
        (("datasets.0.lora_weight=-1", "datasets.0.loss_multiplier=2"), ["foxes", "LoRA weight -1", "loss x 2"]),
        (("datasets.0.caption_shuffle=true",), ["foxes", "shuffled in 8 versions each"]),
        (("datasets.0.caption_token_dropout=0.1", "datasets.0.caption_variants=3"), ["thinned out in 3 versions"]),
        (("datasets.0.square=true", "datasets.0.crop=top"), ["foxes", "square buckets; tall pictures are cut"]),
        (
            ("datasets.0.crop=random", "datasets.0.num_crops=4", "datasets.0.crop_scale=0.5"),
            ["4 random crops, as near"],
        ),
        (("datasets.0.flip_horizontal=true", "datasets.0.flip_vertical=true"), ["mirrored sideways and upside down"]),
        (("datasets.0.random_triggers=[sks, ohwx]",), ["called up by sks, ohwx"]),
        (("training.text_encoder=unload",), ["foxes", "only the trigger word is"]),
    ],
)
def test_the_plan_says_what_is_unusual(config, overrides, parts):
    lines = make_plan(config(*overrides)).choices
    assert any(all(part in line for part in parts) for line in lines), lines


def test_pictures_of_regularization_sets_are_not_learned(config):
    assert num_learned(settle(config()).dataset) == 3
    assert num_learned(settle(config("datasets.0.regularization=pictures")).dataset) == 0


def test_a_plain_set_has_a_plain_line(config):
    plain = settle(config("datasets.0.num_repeats=1")).dataset
    assert dataset_lines(plain)[0] == (
        "dataset foxes: 3 pictures, 3 samples an epoch (75%); captions: 2 from files, 1 missing"
    )


def test_captions_and_prompts_that_are_cut_are_told_before_training(config, tmp_path):
    assert not [line for line in make_plan(config()).notes if "512" in line]
    (tmp_path / "foxes/0.txt").write_text(LONG)
    (note,) = [line for line in make_plan(config(f"sample.prompts=['{LONG}']")).notes if "512 tokens" in line]
    assert note.startswith("warning: 2 captions or prompts")
    assert "'zfox, a fox in the snow" in note
    assert not [line for line in make_plan(config("training.text_encoder=unload")).notes if "512" in line]


def test_captions_with_few_bytes_need_no_tokenizer(monkeypatch):
    parts = resolve_parts("tiny/turbo", "tiny/turbo")
    monkeypatch.setattr("slipstream.training.dataset_facts.load_tokenizer", lambda folder: 1 / 0)
    assert list(caption_warnings(["x" * 480, "狐" * 160], parts)) == []
    with pytest.raises(ZeroDivisionError):
        list(caption_warnings(["狐" * 161], parts))


def test_many_captions_are_told():
    parts = resolve_parts("tiny/turbo", "tiny/turbo")
    assert list(caption_warnings([str(number) for number in range(2000)], parts)) == []
    (line,) = caption_warnings([str(number) for number in range(2001)], parts)
    assert "2001 different captions" in line
