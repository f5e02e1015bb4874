"""Masks, crops and buckets in a config: what fits together, where paths start, what a LoRA file may tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.config.run_config import dump_yaml, load_config, parse_config
from slipstream.core.errors import ConfigError
from slipstream.data.settings import CropRule, MaskSettings
from slipstream.training.setting import dataset_settings
from slipstream.training.shareable import shareable


def parse(**dataset):
    return parse_config({"job": {"name": "a", "seed": 9}, "datasets": [{"path": "pictures", **dataset}]})


def test_defaults_are_centred_unmasked_and_in_the_pictures_own_aspects():
    (settings,) = dataset_settings(parse())
    assert settings.crop == CropRule("center", 1, 1.0, 9)
    assert (settings.mask, settings.bucket_step, settings.square, settings.flip_vertical) == (None, 16, False, False)


def test_everything_arrives_as_plain_values():
    mask = {"source": "folder", "path": "m", "invert": True, "minimum": 0.1, "prior_weight": 0.5}
    config = parse(
        mask=mask, crop="random", num_crops=4, crop_scale=0.5, bucket_step=64, square=True, flip_vertical=True
    )
    (settings,) = dataset_settings(config)
    assert settings.mask == MaskSettings("folder", Path("m"), True, 0.1, 0.5)
    assert settings.crop == CropRule("random", 4, 0.5, 9)
    assert (settings.bucket_step, settings.square, settings.flip_vertical) == (64, True, True)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"mask": {"source": "folder"}}, "without a path"),
        ({"mask": {"source": "alpha", "path": "m"}}, "`alpha` with a path"),
        ({"mask": {"path": "m"}}, "source"),
        ({"mask": {"source": "alpha", "minimum": 1.5}}, "minimum"),
        ({"mask": {"source": "alpha", "prior_weight": -0.5}}, "prior_weight"),
        ({"mask": True}, "mask"),
        ({"num_crops": 4}, "got num_crops with crop `center`"),
        ({"crop": "top", "crop_scale": 0.5}, "got crop_scale with crop `top`"),
        ({"crop": "random", "num_crops": 0}, "num_crops"),
        ({"crop": "random", "crop_scale": 0.1}, "crop_scale"),
        ({"crop": "middle"}, "crop"),
        ({"bucket_step": 8}, "bucket_step"),
        ({"square": 1}, "square"),
        ({"flip_vertical": "yes"}, "flip_vertical"),
    ],
)
def test_nonsense_is_refused_where_it_stands(dataset, message):
    with pytest.raises(ConfigError, match="datasets") as caught:
        parse(**dataset)
    assert message in str(caught.value)


def test_a_mask_folder_starts_at_the_yaml_file_and_a_lora_does_not_tell_where_it_lay(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("job: {name: a}\ndatasets: [{path: in/pictures, mask: {source: folder, path: in/masks}}]\n")
    config = load_config(path)
    assert config.datasets[0].mask.path == tmp_path / "in/masks"
    assert load_config(path, ["datasets.0.mask.minimum=0.25"]).datasets[0].mask.minimum == 0.25
    text = dump_yaml(shareable(config))
    assert "path: masks" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("key", ["mask_path", "flip_y", "random_crop", "square_crop", "bucket_reso_steps"])
def test_names_from_elsewhere_lead_here(key):
    with pytest.raises(ConfigError, match="here it is called datasets"):
        parse(**{key: 1})
