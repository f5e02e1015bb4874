"""What the panels' objective settings come to: lines for log and plan, work of an update."""

from __future__ import annotations

import pytest

from slipstream.config.run_config import parse_config
from slipstream.training.objective_settings import objective_settings, relative_work, side_lines

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
