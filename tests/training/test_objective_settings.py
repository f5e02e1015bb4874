"""What the panels' objective settings come to: lines for log and plan, work of an update."""

from __future__ import annotations

import pytest

from slipstream.config.run_config import parse_config
from slipstream.training.objective_settings import objective_settings, relative_work, side_lines, update_lines

GIVEN = {"job": {"name": "a", "trigger_word": "felt"}, "datasets": [{"path": "pictures"}]}
DOP, BLANK = "training.preservation={class_word: noto}", "training.preservation={kind: blank_prompt, multiplier: 2}"
CONTRAST, DIFFERENTIAL = "training.contrastive_guidance={scale: 1.5}", "advanced.differential_guidance={scale: 2}"


@pytest.mark.parametrize(
    ("overrides", "work", "said"),
    [
        ([], 1.0, []),
        ([DIFFERENTIAL], 1.0, ["scale 2"]),
        ([DOP], 2.5, ["'noto' for 'felt' must stay as without the LoRA (multiplier 1)"]),
        ([BLANK], 2.5, ["the blank prompt must stay as without the LoRA (multiplier 2)"]),
        ([CONTRAST], 1.5, ["scale 1.5"]),
        ([DOP, CONTRAST], 3.0, ["noto", "scale 1.5"]),
        ([BLANK, CONTRAST], 2.5, ["blank", "scale 1.5"]),
    ],
)
def test_lines_and_work_of_an_update(overrides, work, said):
    config = parse_config(GIVEN, overrides)
    assert relative_work(config) == work
    lines = side_lines(config)
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_panels_become_plain_values():
    settings = objective_settings(parse_config(GIVEN, [BLANK, CONTRAST, DIFFERENTIAL, "training.loss_type=huber"]))
    assert settings.preservation_multiplier == 2
    assert settings.contrastive_guidance_scale == 1.5
    assert settings.differential_guidance_scale == 2
    assert settings.loss_type == "huber"
    plain = objective_settings(parse_config(GIVEN))
    assert (plain.preservation_multiplier, plain.contrastive_guidance_scale, plain.differential_guidance_scale) == (
        None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, []),
        ({"lr_schedule": "rex", "min_lr_fraction": 0.1}, ["rex, 0 steps of warm-up, down to 0.1 of it"]),
        ({"warmup_steps": 10}, ["constant, 10 steps of warm-up"]),
        ({"module_learning_rates": {"attention.*": 0.1}}, ["learning rate of attention.*: 0.1 times"]),
        ({"timestep_type": "sigmoid", "max_noise": 0.9}, ["noise levels: sigmoid, balanced, 0 to 0.9"]),
        ({"loss_type": "huber", "max_loss": 2.0}, ["loss: huber", "over 2 are skipped"]),
        ({"ema": {}}, ["EMA: decay 0.99"]),
    ],
)
def test_what_is_not_usual_about_updates_is_told(training, words):
    config = parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}], "training": training})
    lines = update_lines(config)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))
