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
    "vram_8gb": 20,
    "vram_12gb": 20,
    "vram_16gb": 20,
    "vram_24gb": 20,
    "vram_48gb": 20,
    "vram_80gb": 20,
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


@pytest.mark.parametrize("name", ["turbo-character", "Turbo_Character", " turbo_character "])
def test_dashes_and_capitals_do_not_matter(name):
    assert presets.preset_text(name) == presets.preset_text("turbo_character")


def test_every_preset_is_in_one_group():
    assert sorted(name for names in presets.PRESET_GROUPS.values() for name in names) == sorted(IMAGES)


def test_tiers_get_lighter_with_less_memory(tmp_path):
    tiers = {gb: load(f"vram_{gb}gb", tmp_path) for gb in (8, 12, 16, 24, 80)}
    kept = {gb: tier.quantization.transformer for gb, tier in tiers.items()}
    assert kept == {8: "auto", 12: "auto", 16: "auto", 24: "bf16", 80: "bf16"}
    checkpointing = {gb: tier.training.gradient_checkpointing for gb, tier in tiers.items()}
    assert checkpointing == {8: "auto", 12: "auto", 16: "auto", 24: "auto", 80: "none"}, "nothing is on on a big card"
    assert all(max(tier.datasets[0].resolutions) == 1024 for tier in tiers.values())


@pytest.mark.parametrize("name", [name for name in presets.PRESETS if not name.startswith("vram")])
def test_presets_for_a_purpose_save_no_memory_by_themselves(name, tmp_path):
    config = load(name, tmp_path)
    assert (config.quantization.transformer, config.quantization.text_encoder) == ("auto", "auto")
    assert config.training.gradient_checkpointing == "auto", "everything where it fits"
