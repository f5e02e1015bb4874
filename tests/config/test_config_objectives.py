"""Settings of what is learned: ranges, refusals and advice."""

from __future__ import annotations

import pytest

from slipstream.config.advice import advise
from slipstream.config.run_config import RunConfig, parse_config
from slipstream.core.errors import ConfigError

GIVEN = {"job": {"name": "a", "trigger_word": "felt"}, "datasets": [{"path": "pictures"}]}


def config(*overrides: str) -> RunConfig:
    return parse_config(GIVEN, overrides)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.loss_type=stepped", "'mae'"),
        ("training.timestep_type=flux_shift", "'resolution_shift'"),
        ("training.shift=0", "above 0"),
        ("training.logit_scale=0", "above 0"),
        ("training.min_noise=1", "below 1"),
        ("training.max_noise=0", "above 0"),
        ("training.noise_offset=-0.1", "at least 0"),
        ("training.huber_delta=0", "above 0"),
        ("training.stratified=1", "true or false"),
    ],
)
def test_nonsense_is_refused_with_what_is_expected(override, said):
    with pytest.raises(ConfigError, match=said):
        config(override)


@pytest.mark.parametrize("bounds", [(0.5, 0.5), (0.7, 0.3)])
def test_bounds_must_leave_something_between_them(bounds):
    with pytest.raises(ConfigError, match=r"training\.max_noise.*more than training\.min_noise"):
        config(f"training.min_noise={bounds[0]}", f"training.max_noise={bounds[1]}")


def test_bounds_without_a_level_are_refused_before_anything_is_loaded(tmp_path):
    from PIL import Image

    from slipstream.training.setting import settle

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    given = {
        **GIVEN,
        "datasets": [{"path": str(tmp_path), "resolutions": [64]}],
        "model": {"name_or_path": "tiny/turbo"},
    }
    bounds = ("training.timestep_type=shift", "training.shift=50", "training.max_noise=0.02")
    with pytest.raises(ConfigError, match=r"no noise level of `shift` lies between 0 and 0\.02") as caught:
        settle(parse_config(given, bounds))
    assert "training.max_noise" in (caught.value.where or "")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["training.huber_delta=0.5"], "training.huber_delta 0.5 is not read with training.loss_type mse"),
        (["training.shift=2"], "training.shift 2 is not read with training.timestep_type weighted"),
        (["training.logit_mean=1"], "only with logit_normal"),
        (["training.stratified=true"], "one picture per update"),
        (["training.noise_offset=0.5"], "fogs"),
    ],
)
def test_settings_without_effect_are_pointed_out(overrides, said):
    assert any(said in line for line in advise(config(*overrides), 20))


def test_settings_that_are_read_are_not(tmp_path):
    read = ("training.loss_type=pseudo_huber", "training.huber_delta=0.5", "training.timestep_type=shift")
    lines = advise(config(*read, "training.shift=2", "training.stratified=true", "training.batch_size=2"), 20)
    assert not [line for line in lines if "not read" in line or "stratified" in line]
