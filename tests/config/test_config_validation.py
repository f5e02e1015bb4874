"""Validation as a config gives it: one source, rising levels, paths that mean the same anywhere, advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.config.advice import advise
from slipstream.config.run_config import RunConfig, dump_yaml, parse_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError


def config(validation, base_dir: Path | None = None, **panels) -> RunConfig:
    given = {"job": {"name": "a"}, "datasets": [{"path": "p"}], "training": {"validation": validation}, **panels}
    return parse_config(given, base_dir=base_dir)


def test_the_defaults():
    panel = config({"fraction": 0.1}).training.validation
    assert panel is not None
    assert (panel.every, panel.num_seeds, panel.patience) == (250, 2, 3)
    assert panel.noise_levels == (0.1, 0.3, 0.5, 0.7, 0.9)
    assert config(None).training.validation is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"training\.validation: got neither path nor fraction, expected one of them"),
        ({"path": "held", "fraction": 0.1}, "got path and fraction, expected one of them"),
        ({"fraction": 0.6}, "at most 0.5"),
        ({"fraction": 0.1, "noise_levels": [0.5, 0.1]}, "in rising order"),
        ({"fraction": 0.1, "noise_levels": [0.5, 0.5]}, "each noise level once"),
        ({"fraction": 0.1, "noise_levels": [0.0]}, "above 0"),
        ({"fraction": 0.1, "noise_levels": []}, "at least 1"),
        ({"fraction": 0.1, "patience": 0}, "at least 1"),
    ],
)
def test_nonsense_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        config(given)


def test_the_folder_is_anchored_and_survives_the_yaml(tmp_path):
    before = config({"path": "held", "num_seeds": 4}, tmp_path)
    assert before.training.validation is not None
    assert before.training.validation.path == tmp_path / "held"
    assert parse_config(read_yaml(dump_yaml(before), "yaml")) == before


def test_measurements_without_a_checkpoint_and_of_untrained_levels_are_told():
    told = "\n".join(advise(config({"fraction": 0.1, "every": 100}), None))
    assert "no multiple of save.every 250" in told
    quiet = "\n".join(advise(config({"fraction": 0.1}), None))
    assert "validation" not in quiet
    training = {"validation": {"fraction": 0.1}, "max_noise": 0.6}
    told = "\n".join(advise(config(None, training=training), None))
    assert "noise_levels 0.7, 0.9 are not trained" in told
