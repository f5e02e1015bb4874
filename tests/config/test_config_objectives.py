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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.preservation={}", r"training\.preservation\.class_word: is missing"),
        ("training.preservation={class_word: ' '}", r"class_word: got no word"),
        ("training.preservation={class_word: '[trigger]'}", "placeholder"),
        ("training.preservation={class_word: person, multiplier: 0}", r"training\.preservation\.multiplier.*above 0"),
        ("training.preservation={kind: blank_prompt, class_word: person}", r"class_word: unknown setting"),
        ("training.preservation={kind: blank_promt}", r"training\.preservation\.kind.*'blank_prompt'"),
        ("training.preservation={class_word: Felt}", "the trigger word itself"),
        ("training.preservation=true", r"training\.preservation.*: got true, expected a group of settings"),
        ("training.contrastive_guidance={scale: 0}", "above 0"),
        ("advanced.differential_guidance={scale: 21}", "at most 20"),
    ],
)
def test_preservation_and_guidance_must_make_sense(override, said):
    with pytest.raises(ConfigError, match=said):
        config(override)


def test_a_class_word_needs_a_trigger_word_to_stand_for():
    with pytest.raises(ConfigError, match=r"training\.preservation.*: the class word.*job\.trigger_word is empty"):
        config("job.trigger_word=''", "training.preservation={class_word: person}")


@pytest.mark.parametrize(
    "override", ["training.preservation={kind: blank_prompt}", "training.contrastive_guidance={scale: 2}"]
)
def test_pictures_trained_on_the_blank_prompt_leave_nothing_to_compare_it_with(override):
    wordless = ("training.text_encoder=unload", "job.trigger_word=''")
    with pytest.raises(ConfigError, match="every picture is trained on the blank prompt"):
        config(*wordless, override)
    config(wordless[0], override)


def test_the_trigger_words_of_sets_count():
    person = "training.preservation={class_word: person}"
    assert config("job.trigger_word=''", "datasets.0.trigger_word=zfox", person)
    assert config("job.trigger_word=''", "datasets.0.random_triggers=[sks]", person)
    for more, message in (
        ("datasets.0.trigger_word=''", "a set to learn has none"),
        ("datasets.0.trigger_word=Person", "the trigger word itself"),
        ("datasets.0.random_triggers=[sks, person]", "the trigger word itself"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(more, person)


def test_the_class_word_is_the_kind_that_needs_no_name():
    panel = config("training.preservation={class_word: person}").training.preservation
    assert (panel.kind, panel.class_word, panel.multiplier) == ("class_word", "person", 1.0)
    assert config("training.preservation={kind: blank_prompt, multiplier: 2}").training.preservation.multiplier == 2


@pytest.mark.parametrize("preservation", ["null", "{class_word: person}", "{kind: blank_prompt, multiplier: 0.5}"])
def test_preservation_is_written_and_read_back(preservation, tmp_path):
    from slipstream.config.run_config import dump_yaml, load_config

    before = config(f"training.preservation={preservation}")
    (tmp_path / "run.yaml").write_text(dump_yaml(before))
    assert load_config(tmp_path / "run.yaml").training == before.training


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
        (
            ["training.preservation={kind: blank_prompt}", "job.trigger_word=''"],
            "teaches the blank prompt",
        ),
    ],
)
def test_settings_without_effect_are_pointed_out(overrides, said):
    assert any(said in line for line in advise(config(*overrides), 20))


def test_settings_that_are_read_are_not(tmp_path):
    read = ("training.loss_type=pseudo_huber", "training.huber_delta=0.5", "training.timestep_type=shift")
    lines = advise(config(*read, "training.shift=2", "training.stratified=true", "training.batch_size=2"), 20)
    assert not [line for line in lines if "not read" in line or "stratified" in line]
