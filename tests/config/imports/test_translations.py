"""What keys of ai-toolkit become: same training, or a sentence that says what differs."""

from __future__ import annotations

from typing import Any

import pytest

from slipstream.config.imports.ai_toolkit.job import import_job, is_job, read_job
from slipstream.config.imports.report import Entry
from slipstream.core.errors import ConfigError

TURBO = {"name_or_path": "Tongyi-MAI/Z-Image-Turbo", "arch": "zimage:turbo"}


def imported(model: dict[str, Any] | None = None, **groups: Any):
    """The import of a job with one process."""
    process = {"type": "sd_trainer", "model": TURBO | (model or {}), **groups}
    (only,) = import_job({"job": "extension", "config": {"name": "a", "process": [process]}}, "job.yaml")
    return only


def entry(training, key: str) -> Entry:
    (found,) = [entry for entry in training.report.entries if entry.key == key and entry.outcome != "added"]
    return found


def value(training, path: str) -> Any:
    here: Any = training.settings
    for part in path.split("."):
        here = here[int(part)] if part.isdigit() else here.get(part)
        if here is None:
            return None
    return here


@pytest.mark.parametrize(
    ("arch", "name", "variant"),
    [
        ("zimage:turbo", "Tongyi-MAI/Z-Image-Turbo", "turbo"), ("zimage", "Tongyi-MAI/Z-Image-Turbo", "turbo"),
        ("zimage:deturbo", "ostris/Z-Image-De-Turbo", "de_turbo"), ("zimage", "Tongyi-MAI/Z-Image", "base"),
        ("zimage:turbo", "/models/mine", "turbo"), ("zimage", "/models/mine", "base"),
        ("zimage:deturbo", "Tongyi-MAI/Z-Image", "base"), (None, "ostris/Z-Image-De-Turbo", "de_turbo"),
    ],
)  # fmt: skip
def test_architecture_and_name_become_a_variant(arch, name, variant):
    training = imported({"name_or_path": name, "arch": arch})
    assert value(training, "model.variant") == variant
    assert value(training, "model.name_or_path") == name


def test_the_training_adapter_gets_its_short_name_and_turbo_never_goes_without():
    repo = "ostris/zimage_turbo_training_adapter/zimage_turbo_training_adapter_v1.safetensors"
    assert value(imported({"assistant_lora_path": repo}), "model.training_adapter") == "v1"
    assert value(imported({"assistant_lora_path": "mine.safetensors"}), "model.training_adapter") == "mine.safetensors"
    for model in ({}, {"assistant_lora_path": None}, {"assistant_lora_path": ""}):
        training = imported(model)
        assert value(training, "model.training_adapter") == "v2"
        assert any("undoes its 8 steps" in entry.why and entry.matters for entry in training.report.notable())
    base = imported({"name_or_path": "Tongyi-MAI/Z-Image", "arch": "zimage", "assistant_lora_path": repo})
    assert value(base, "model.training_adapter") is None
    assert entry(base, "model.assistant_lora_path").matters


@pytest.mark.parametrize(
    ("guidance", "steps", "name", "cfg", "ours"),
    [
        (1, 9, "Tongyi-MAI/Z-Image-Turbo", 0, 8), (0, 8, "Tongyi-MAI/Z-Image-Turbo", 0, 8),
        (3, 25, "ostris/Z-Image-De-Turbo", 4, 25), (0, 9, "Tongyi-MAI/Z-Image", 0, 9),
        (2.5, 30, "Tongyi-MAI/Z-Image", 3.5, 30),
    ],
)  # fmt: skip
def test_previews_are_drawn_the_same_way(guidance, steps, name, cfg, ours):
    sample = {"guidance_scale": guidance, "sample_steps": steps, "prompts": ["x"]}
    training = imported({"name_or_path": name, "arch": "zimage"}, sample=sample)
    assert value(training, "sample.guidance_scale") == cfg
    assert value(training, "sample.steps") == ours


def test_alpha_without_effect_there_becomes_the_rank():
    training = imported(network={"type": "lora", "linear": 32, "linear_alpha": 16})
    assert value(training, "target.alpha") == 32
    assert entry(training, "network.linear_alpha").matters
    assert "no effect there" in entry(training, "network.linear_alpha").why
    same = imported(network={"type": "lora", "linear": 32, "linear_alpha": 32})
    assert entry(same, "network.linear_alpha").outcome == "taken"


@pytest.mark.parametrize(("full_rank", "alpha"), [(False, 4), (True, 8)])
def test_alpha_counts_for_a_lokr_unless_it_is_whole(full_rank, alpha):
    network = {"type": "lokr", "linear": 8, "linear_alpha": 4, "lokr_full_rank": full_rank, "lokr_factor": -1}
    training = imported(network=network)
    assert value(training, "target.alpha") == alpha
    assert value(training, "target.lokr_full_rank") is full_rank
    assert value(training, "target.lokr_factor") is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"content_or_style": "content"}, {"timestep_bias": "high_noise"}),
        ({"content_or_style": "style"}, {"timestep_bias": "low_noise"}),
        ({"timestep_type": "flux_shift"}, {"timestep_type": "resolution_shift"}),
        ({"timestep_type": "one_step"}, {"timestep_type": "linear"}),
        ({"timestep_type": "next_sample"}, {"timestep_type": "shift"}),
        ({"timestep_type": "what"}, {"timestep_type": "sigmoid"}),
        ({"linear_timesteps": True, "timestep_type": "sigmoid"}, {"timestep_type": "weighted"}),
        ({"loss_type": "wavelet"}, {"loss_type": "mse"}),
        ({"loss_type": "stepped"}, {"loss_type": "mse"}),
        ({"min_denoising_steps": 100, "max_denoising_steps": 900}, {"max_noise": 0.9, "min_noise": 0.1}),
        ({"min_denoising_steps": 0, "max_denoising_steps": 999}, {"max_noise": None, "min_noise": None}),
        ({"ema_config": {"use_ema": True, "ema_decay": 0.9}}, {"ema": {"decay": 0.9}}),
        ({"ema_config": {"use_ema": True}}, {"ema": {"decay": 0.999}}),
        ({"ema_config": {"use_ema": False, "ema_decay": 0.9}}, {"ema": None}),
        ({"unload_text_encoder": True, "cache_text_embeddings": True}, {"text_encoder": "unload"}),
        ({"cache_text_embeddings": False}, {"text_encoder": "cache"}),
        ({"gradient_checkpointing": True}, {"gradient_checkpointing": "auto"}),
        ({"gradient_checkpointing": False}, {"gradient_checkpointing": "none"}),
        ({"optimizer": "Prodigy", "lr": 1e-4}, {"optimizer": "prodigy", "learning_rate": 1.0}),
        ({"optimizer": "prodigy8bit", "lr": 0.5}, {"optimizer": "prodigy", "learning_rate": 0.5}),
        ({"optimizer": "automagic2", "lr": "1e-4"}, {"optimizer": "adafactor", "learning_rate": 1e-4}),
        ({"lr": 1e-4, "unet_lr": 5e-5}, {"learning_rate": 5e-5}),
        ({"optimizer_params": {"betas": [0.8, 0.9], "d_coef": 2}},
         {"beta1": 0.8, "beta2": 0.9, "optimizer_args": {"d_coef": 2}}),
        ({"lr_scheduler": "linear"}, {"lr_schedule": "constant"}),
        ({"lr_scheduler": "linear", "lr_scheduler_params": {"start_factor": 1.0, "end_factor": 0.25}},
         {"lr_schedule": "linear", "min_lr_fraction": 0.25}),
        ({"lr_scheduler": "cosine", "lr": 1e-4, "lr_scheduler_params": {"eta_min": 1e-5}},
         {"lr_schedule": "cosine", "min_lr_fraction": pytest.approx(0.1)}),
        ({"lr_scheduler": "cosine_with_restarts", "steps": 900}, {"lr_schedule": "cosine", "lr_restarts": None}),
        ({"lr_scheduler": "cosine_with_restarts", "steps": 900, "lr_scheduler_params": {"T_0": 300}},
         {"lr_schedule": "cosine_restarts", "lr_restarts": 2}),
        ({"lr_scheduler": "constant_with_warmup", "steps": 5000}, {"lr_schedule": "constant", "warmup_steps": 1000}),
        ({"lr_scheduler": "constant_with_warmup", "lr_scheduler_params": {"num_warmup_steps": 7}}, {"warmup_steps": 7}),
        ({"diff_output_preservation": True, "diff_output_preservation_class": "person"},
         {"preservation": {"kind": "class_word", "class_word": "person", "multiplier": 1.0}}),
        ({"diff_output_preservation": False, "diff_output_preservation_class": "person"}, {"preservation": None}),
        ({"blank_prompt_preservation": True, "blank_prompt_preservation_multiplier": 0.5},
         {"preservation": {"kind": "blank_prompt", "multiplier": 0.5}}),
        ({"do_guidance_loss": True, "guidance_loss_target": [2, 4]}, {"contrastive_guidance": {"scale": 3.0}}),
        ({"gradient_accumulation_steps": 4, "steps": 2000}, {"gradient_accumulation": 4, "steps": 500}),
    ],
)  # fmt: skip
def test_training_keys(theirs, ours):
    training = imported(train=theirs)
    assert {key: value(training, f"training.{key}") for key in ours} == ours


def test_steps_counted_in_batches_become_updates_everywhere():
    training = imported(
        train={"gradient_accumulation_steps": 4, "steps": 2000}, save={"save_every": 200}, sample={"sample_every": 100}
    )
    assert (value(training, "save.every"), value(training, "sample.every")) == (50, 25)


def test_a_rising_linear_schedule_is_explained():
    why = entry(imported(train={"lr_scheduler": "linear"}), "train.lr_scheduler").why
    assert "RISES" in why
    assert "training.lr_schedule=linear" in why


def test_defaults_that_differ_are_written_down():
    training = imported(datasets=[{"folder_path": "/nowhere"}], train={"lr": 1e-4})
    assert value(training, "training.steps") == 1000
    assert value(training, "training.optimizer") == "adamw"
    assert value(training, "training.weight_decay") == 0.01
    assert value(training, "training.eps") == 1e-6
    assert value(training, "training.timestep_type") == "sigmoid"
    assert value(training, "datasets.0.resolutions") == [512]
    assert value(training, "datasets.0.caption_dropout") == 0.0
    assert value(training, "target.rank") == 4
    assert value(training, "sample.steps") is None, "the default there is for another model"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"resolution": 768}, {"resolutions": [768]}),
        ({"resolution": [1024, 1024]}, {"resolutions": [1024], "num_repeats": 2}),
        ({"num_repeats": 3, "resolution": [512, 512]}, {"resolutions": [512], "num_repeats": 6}),
        ({"caption_ext": ".caption"}, {"caption_extension": "caption"}),
        ({"cache_latents_to_disk": True}, {"cache_latents": True}),
        ({"cache_latents_to_disk": False}, {"cache_latents": None}),
        ({"is_reg": True}, {"regularization": "pictures"}),
        ({"is_reg": True, "prior_reg": True}, {"regularization": "prior"}),
        ({"is_reg": False}, {"regularization": None}),
        ({"network_weight": 0.5, "flip_x": True}, {"lora_weight": 0.5, "flip_horizontal": True}),
        ({"mask_path": "/m", "mask_min_value": 0.2}, {"mask": {"source": "folder", "path": "/m", "minimum": 0.2}}),
        ({"alpha_mask": True, "invert_mask": True}, {"mask": {"source": "alpha", "invert": True}}),
        ({"mask_path": None, "mask_min_value": 0.1}, {"mask": None}),
        ({"random_crop": True}, {"crop": "random"}),
        ({"buckets": False}, {"square": True}),
        ({"default_caption": None}, {"default_caption": ""}),
    ],
)  # fmt: skip
def test_dataset_keys(theirs, ours):
    training = imported(datasets=[{"folder_path": "/first"}, {"folder_path": "/nowhere", **theirs}])
    assert {key: value(training, f"datasets.1.{key}") for key in ours} == ours
    assert "mask" not in training.settings["datasets"][0]


def test_the_priors_of_masks_and_the_weight_of_regularization_sets_reach_their_datasets():
    datasets = [
        {"folder_path": "/a", "alpha_mask": True},
        {"folder_path": "/b", "is_reg": True, "loss_multiplier": 0.5},
    ]
    train = {"inverted_mask_prior": True, "inverted_mask_prior_multiplier": 0.3, "reg_weight": 0.5}
    training = imported(datasets=datasets, train=train)
    assert value(training, "datasets.0.mask.prior_weight") == 0.3
    assert value(training, "datasets.1.loss_multiplier") == 0.25
    assert value(training, "datasets.1.mask") is None


@pytest.mark.parametrize(
    ("model", "ours"),
    [
        ({"quantize": True}, ("float8", "float8")), ({"quantize": True, "quantize_te": False}, ("float8", "auto")),
        ({"quantize": False, "qtype": "qfloat8"}, ("auto", None)),
        ({"quantize": True, "qtype": "uint4|some/adapter", "quantize_te": True, "qtype_te": "uint7"}, ("nf4", "int8")),
        ({"quantize": True, "qtype": "what"}, ("float8", "float8")),
    ],
)  # fmt: skip
def test_precisions(model, ours):
    training = imported(model)
    assert (value(training, "quantization.transformer"), value(training, "quantization.text_encoder")) == ours


def test_prompt_flags_become_settings_of_the_prompt():
    prompts = ["a cat --w 500 --h 768 --d 3 --s 9 --m 0.5 --n ugly dogs --l 4 --gr 0.7", "plain"]
    training = imported(sample={"prompts": prompts})
    first, second = training.settings["sample"]["prompts"]
    assert first == {
        "prompt": "a cat", "width": 496, "height": 768, "seed": 3, "steps": 8, "lora_scale": 0.5,
        "negative_prompt": "ugly dogs", "guidance_scale": 0,
    }  # fmt: skip
    assert second == "plain"


def test_the_name_stands_in_for_its_token_and_becomes_a_folder():
    config = {"name": "my lora: 2", "process": [{"training_folder": "out/[name]", "model": TURBO}]}
    (training,) = import_job({"job": "extension", "config": config}, "job.yaml")
    assert value(training, "job.output_dir") == "out/my lora: 2"
    assert value(training, "job.name") == "my_lora_2"


def test_another_model_family_is_refused_once_and_with_a_way_out():
    job = {"job": "extension", "config": {"name": "a", "process": [{"model": {"arch": "flux", "name_or_path": "x/y"}}]}}
    with pytest.raises(ConfigError, match=r"trains flux") as error:
        import_job(job, "job.yaml")
    assert "model.name_or_path=Tongyi-MAI/Z-Image-Turbo" in (error.value.fix or "")
    (training,) = import_job(job, "job.yaml", ["model.name_or_path=Tongyi-MAI/Z-Image-Turbo"])
    assert "model" not in training.settings


@pytest.mark.parametrize("process", [{"type": "concept_slider"}, {"type": "slider"}, {"type": "extract"}])
def test_other_kinds_of_process_are_refused(process):
    with pytest.raises(ConfigError, match="expected one that trains a LoRA"):
        import_job({"job": "extension", "config": {"name": "a", "process": [{**process, "model": TURBO}]}}, "job.yaml")


@pytest.mark.parametrize(
    "job", [{"job": "extract", "config": {}}, {"job": "extension"}, {"job": "generate", "config": {}}]
)
def test_other_kinds_of_job_are_refused(job):
    assert is_job(job)
    with pytest.raises(ConfigError, match="expected a training"):
        import_job(job, "job.yaml")


def test_our_own_configs_are_no_jobs():
    assert not is_job({"job": {"name": "a"}, "datasets": []})
    assert not is_job(["job"])
    assert not is_job(None)


def test_a_broken_file_names_the_place_and_a_missing_variable_its_name():
    with pytest.raises(ConfigError, match=r"job\.json, line 1"):
        read_job('{"job": "extension",}', "job.json")
    with pytest.raises(ConfigError, match="IMPORT_TEST_NOWHERE is not set"):
        read_job("job: ${IMPORT_TEST_NOWHERE}", "job.yaml")


@pytest.mark.parametrize(
    "junk", [{"datasets": "pictures"}, {"train": "fast"}, {"model": TURBO, "sample": []}, {"datasets": ["x"]}]
)
def test_groups_of_another_shape_are_reported_and_do_not_crash(junk):
    config = {"name": "a", "process": [{"model": TURBO, **junk}]}
    (training,) = import_job({"job": "extension", "config": config}, "job.yaml")
    assert training.report.entries


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ("datasets[0].resolution", {"datasets": [{"folder_path": "p", "resolution": {}}]}),
        ("datasets[0].num_repeats", {"datasets": [{"folder_path": "p", "num_repeats": {"a": 1}}]}),
        ("sample.width", {"sample": {"width": float("nan")}}),
        ("sample.samples[0].prompt", {"sample": {"samples": [{"prompt": []}]}}),
        ("train.do_guidance_loss", {"train": {"do_guidance_loss": True, "guidance_loss_target": []}}),
        ("train.lr_scheduler", {"train": {"lr_scheduler": "linear", "lr_scheduler_params": {"start_factor": None}}}),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_its_name(key, groups):
    with pytest.raises(ConfigError) as refused:
        imported(**groups)
    assert f"job.yaml: {key}: got" in str(refused.value)


@pytest.mark.parametrize(
    ("model", "percent"),
    [
        ({"layer_offloading": True}, 100),
        ({"layer_offloading": True, "layer_offloading_transformer_percent": 0.7}, 70),
        ({"auto_memory": True, "quantize": True, "qtype": "qfloat8"}, 100),
        ({"layer_offloading": False, "layer_offloading_transformer_percent": 0.7}, None),
        ({"layer_offloading": True, "quantize": True, "qtype": "uint4"}, None),
    ],
)
def test_offloaded_layers_become_a_percentage_of_blocks_where_blocks_can_stream(model, percent):
    training = imported(model)
    assert value(training, "quantization.layer_offloading") == percent
    assert entry(training, next(f"model.{key}" for key in model)).matters == (model.get("qtype") == "uint4")


def test_other_kinds_of_lora_do_not_stream():
    training = imported({"layer_offloading": True}, network={"type": "lokr", "linear": 4})
    assert value(training, "quantization.layer_offloading") is None
    assert entry(training, "model.layer_offloading").matters
