"""Presets are valid, cover the guide's cases, and follow its advice."""

from pathlib import Path

import pytest

import slipstream.config.presets as presets
from slipstream.config.advice import advise
from slipstream.config.run_config import RunConfig, load_config
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError

IMAGES = {
    "turbo_character": 20,
    "turbo_style": 30,
    "turbo_small_set": 8,
    "de_turbo_long": 80,
    "tiny_demo": 24,
}


def load(name: str, tmp_path: Path) -> RunConfig:
    path = tmp_path / f"{name}.yaml"
    path.write_text(presets.preset_text(name), encoding="utf-8")
    return load_config(path, [f"datasets.0.path={tmp_path}"])


def test_every_file_is_listed_and_described():
    files = {path.stem for path in (Path(presets.__file__).parent / "presets").glob("*.yaml")}
    assert files == set(presets.PRESETS) == set(IMAGES)
    for name, description in presets.list_presets():
        assert 20 < len(description) < 120, name


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_is_valid_with_panels_in_order(name, tmp_path):
    assert load(name, tmp_path).datasets[0].path == tmp_path.resolve()
    panels = list(read_yaml(presets.preset_text(name), name))
    assert panels == [panel for panel in RunConfig.model_fields if panel in panels]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_follows_the_advice(name, tmp_path):
    advice = advise(load(name, tmp_path), IMAGES[name])
    assert [line for line in advice if not line.startswith("80 pictures")] == []


def test_presets_differ_where_the_guide_says_so(tmp_path):
    small, style, long = (load(name, tmp_path) for name in ("turbo_small_set", "turbo_style", "de_turbo_long"))
    assert 1500 <= small.training.steps <= 2200
    assert 2500 <= style.training.steps <= 3000
    assert long.model.variant == "de_turbo"
    assert 20 <= long.sample.steps <= 30
    assert 2 <= long.sample.guidance_scale <= 3
    assert load("tiny_demo", tmp_path).model.name_or_path == "tiny/turbo"


def test_an_unknown_preset():
    with pytest.raises(ConfigError, match="no preset is called 'turbo-styl'") as caught:
        presets.preset_text("turbo-styl")
    assert caught.value.fix == "did you mean turbo_style?"
