"""Defaults are the guide's, every field explains itself, choices agree with the rooms that act on them."""

from typing import get_args

import pytest

from slipstream.config import datasets, job, sample, save, target, training
from slipstream.config import optimizers as config_optimizers
from slipstream.config.fields import panels_in, settings_of
from slipstream.config.hints import absent, hint_for, renamed
from slipstream.config.run_config import RunConfig, parse_config

CONFIG = parse_config({"job": {"name": "a"}, "datasets": [{"path": "pictures"}]})


def test_panels_stand_in_the_guides_order():
    order = ["job", "model", "quantization", "target", "save", "training", "datasets", "sample", "advanced"]
    assert list(RunConfig.model_fields) == order


def test_the_guides_baseline_is_the_default():
    assert CONFIG.model.variant == "turbo"
    assert CONFIG.model.name_or_path == "Tongyi-MAI/Z-Image-Turbo"
    assert CONFIG.model.training_adapter == "v2"
    assert (CONFIG.target.type, CONFIG.target.rank, CONFIG.target.alpha) == ("lora", 16, None)
    assert (CONFIG.save.dtype, CONFIG.save.every, CONFIG.save.keep) == ("bf16", 250, 4)
    chosen = CONFIG.training
    assert (chosen.steps, chosen.batch_size, chosen.optimizer) == (2500, 1, "adamw8bit")
    assert (chosen.learning_rate, chosen.weight_decay) == (0.0001, 0.0001)
    assert (chosen.loss_type, chosen.timestep_type, chosen.timestep_bias) == ("mse", "weighted", "balanced")
    assert chosen.ema is None
    assert chosen.text_encoder == "cache"
    (folder,) = CONFIG.datasets
    assert folder.resolutions == (512, 768, 1024)
    assert (folder.caption_dropout, folder.cache_latents) == (0.05, True)
    assert (CONFIG.sample.width, CONFIG.sample.height, CONFIG.sample.every) == (1024, 1024, 250)
    assert CONFIG.advanced.differential_guidance is None


def test_the_lora_sits_on_the_eight_linears_of_a_block():
    names = set(CONFIG.target.target_modules)
    assert len(names) == 8
    assert {"attention.to_out.0", "feed_forward.w2", "adaLN_modulation.0"} <= names


def test_the_differential_guidance_scale_of_the_guide():
    config = parse_config({"job": {"name": "a"}, "datasets": [{"path": "p"}]}, ["advanced.differential_guidance={}"])
    assert config.advanced.differential_guidance.scale == 3.0


@pytest.mark.parametrize("path", list(settings_of(RunConfig)))
def test_every_setting_has_help(path):
    text = settings_of(RunConfig)[path].description
    assert text, f"{path} has no docstring"
    assert len(text) > 20
    assert text.rstrip().endswith(".")


def test_every_group_has_help():
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        for panel in panels_in(field.annotation):
            assert panel.__doc__, panel


def test_settings_are_listed_by_dotted_path_groups_left_out():
    paths = set(settings_of(RunConfig))
    assert {"job.name", "datasets.0.path", "training.ema.decay", "model.training_adapter"} <= paths
    assert "training.ema" not in paths
    assert "datasets" not in paths


def test_renamed_keys_lead_to_settings_that_exist():
    paths = set(settings_of(RunConfig))
    groups = {path.rpartition(".")[0].removesuffix(".0") for path in paths}
    assert [name for name, path in renamed().items() if path not in paths | groups] == []


def test_hints_come_from_the_tables_of_imports():
    assert hint_for("network_dim") == "here it is called target.rank"
    assert hint_for("linear_alpha") == "here it is called target.alpha"
    assert hint_for("instance_prompt") == "here it is called datasets.0.default_caption"
    assert "quantization" in (hint_for("low_vram") or "")
    assert hint_for("nothing_like_it") is None
    assert len(absent()) > 100


def test_a_form_can_be_drawn_from_the_schema():
    schema = RunConfig.model_json_schema()
    assert schema["required"] == ["job", "datasets"]
    assert schema["$defs"]["TrainingPanel"]["properties"]["learning_rate"]["description"].startswith("Size of an")


def test_choices_agree_with_the_rooms_that_act_on_them():
    from slipstream.flow import densities
    from slipstream.objectives import losses
    from slipstream.training import device, optimizers, schedules

    def same(here, there):
        return set(get_args(here)) == set(get_args(there))

    assert same(training.TimestepType, densities.TimestepType)
    assert same(training.TimestepBias, densities.TimestepBias)
    assert same(training.LossType, losses.LossType)
    assert same(config_optimizers.OptimizerName, optimizers.OptimizerName)
    assert same(training.LrSchedule, schedules.LrSchedule)
    assert set(get_args(save.SaveDtype)) == set(device.DTYPES)


def test_panels_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        CONFIG.training.steps = 5


def test_small_conveniences():
    assert datasets.DatasetPanel(path="p", resolutions=768).resolutions == (768,)
    assert datasets.DatasetPanel(path="p", caption_extension=".caption").caption_extension == "caption"
    assert job.JobPanel(name="a", trigger_word=" zfox ").trigger_word == "zfox"
    assert sample.SamplePanel(width=144, height=112).width == 144
    assert target.TargetPanel(alpha=8).alpha == 8.0
