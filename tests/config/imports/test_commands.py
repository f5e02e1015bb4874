"""Commands of musubi-tuner and of diffusers' script: every flag accounted for, and the training they mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from slipstream.config.fields import panels_at, settings_of
from slipstream.config.imports import diffusers_script, musubi
from slipstream.config.imports.flags import Epochs, read_command
from slipstream.config.imports.open import check, import_file, open_config
from slipstream.config.imports.rules import rules_of
from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError

MUSUBI = """\
# latents and text first
python src/musubi_tuner/zimage_cache_latents.py --dataset_config data.toml --vae vae.safetensors
accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 src/musubi_tuner/zimage_train_network.py \\
    --dit models/z_image_de_turbo_v1_bf16.safetensors --vae vae.safetensors --text_encoder qwen.safetensors \\
    --dataset_config data.toml --sdpa --mixed_precision bf16 --fp8_base --fp8_scaled \\
    --timestep_sampling shift --weighting_scheme none --discrete_flow_shift 2.0 \\
    --optimizer_type adamw8bit --optimizer_args "weight_decay=0.02" "betas=0.9,0.95" --learning_rate 1e-4 \\
    --gradient_checkpointing --max_data_loader_n_workers 2 --persistent_data_loader_workers \\
    --network_module networks.lora_zimage --network_dim 32 --network_alpha 16 \\
    --max_train_epochs 16 --save_every_n_epochs 1 --seed 7 --sample_prompts prompts.txt --sample_at_first \\
    --output_dir out --output_name my-lora --blocks_to_swap 8 --a_new_flag 3
"""
DATA = """\
[general]
resolution = [960, 544]
caption_extension = ".txt"
batch_size = 1
enable_bucket = true
bucket_no_upscale = false

[[datasets]]
image_directory = "pictures"
cache_directory = "cache"
num_repeats = 3
"""
DIFFUSERS = """\
accelerate launch train_dreambooth_lora_z_image.py ^
  --pretrained_model_name_or_path="Tongyi-MAI/Z-Image" --instance_data_dir=pictures ^
  --instance_prompt="a photo of sks dog" --output_dir=out/trained-z-image --mixed_precision="bf16" --resolution=1024 ^
  --train_batch_size=1 --rank=16 --lora_alpha=16 --use_8bit_adam --learning_rate=5e-5 --report_to="wandb" ^
  --lr_scheduler="cosine" --lr_warmup_steps=20 --max_train_steps=500 --seed=0 --cache_latents --what_is_this ^
  --validation_prompt="a photo of sks dog in a bucket"
"""


@pytest.fixture
def commands(workspace: Path) -> Path:
    """Both commands as files, with what they name."""
    (workspace / "musubi.sh").write_text(MUSUBI)
    (workspace / "data.toml").write_text(DATA)
    (workspace / "prompts.txt").write_text("# two\na cat --w 512 --h 512 --d 3 --s 20 --l 4 --fs 3\na dog\n")
    (workspace / "diffusers.bat").write_text(DIFFUSERS)
    return workspace


def opened(path: Path) -> tuple[RunConfig, dict[str, Any]]:
    (training,) = import_file(path) or []
    return check(training, path), {entry.key: entry for entry in training.report.entries if entry.outcome != "added"}


@pytest.mark.parametrize(
    ("given", "schedule", "restarts"),
    [
        ("--lr_scheduler cosine_with_restarts --lr_scheduler_num_cycles 4", "cosine_restarts", 3),
        ("--lr_scheduler cosine_with_restarts --lr_scheduler_num_cycles 1", "cosine", None),
        ("--lr_scheduler cosine_with_restarts", "cosine", None),
        ("--lr_scheduler cosine --lr_scheduler_num_cycles 4", "cosine", None),
    ],
)
def test_cosines_are_counted_there_and_restarts_here(commands, given, schedule, restarts):
    (commands / "a.sh").write_text(f"python {musubi.SCRIPT}.py --dataset_config data.toml {given}")
    settings = (import_file(commands / "a.sh") or [])[0].settings["training"]
    assert (settings["lr_schedule"], settings.get("lr_restarts")) == (schedule, restarts)


def test_a_musubi_command_becomes_the_same_training(commands):
    config, entries = opened(commands / "musubi.sh")
    assert config.model.variant == "de_turbo"
    assert config.model.name_or_path == "ostris/Z-Image-De-Turbo", "the file is not here"
    assert entries["--dit"].matters
    assert (config.target.rank, config.target.alpha) == (32, 16.0)
    assert config.target.exclude_modules == ("*adaLN_modulation*",)
    assert config.training.steps == 16 * 6, "16 epochs of two pictures, three times each"
    assert config.save.every == 6
    assert config.training.timestep_type == "logit_normal"
    assert config.training.logit_mean == pytest.approx(math.log(2), abs=1e-5)
    assert (config.training.weight_decay, config.training.beta2) == (0.02, 0.95)
    assert config.quantization.transformer == "float8"
    assert config.training.gradient_checkpointing == "auto"
    assert config.datasets[0].path == commands / "pictures"
    assert config.datasets[0].resolutions == (720,)
    assert config.datasets[0].num_repeats == 3
    assert [prompt.prompt for prompt in config.sample.prompts] == ["a cat", "a dog"]
    assert config.sample.prompts[0].guidance_scale == 4
    assert config.sample.at_start
    assert entries["--a_new_flag"].outcome == "unknown"
    assert config.quantization.layer_offloading == 27  # 8 of 30
    flags = read_command(MUSUBI, musubi.SCRIPT, "x")
    assert {key for key in entries if key.startswith("--")} == {f"--{name}" for name in flags}
    assert "datasets[0].image_directory" in entries


def put(path: Path, content: bytes = b"{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_musubis_single_file_is_the_base_where_it_is_here(commands):
    file = put(commands / "models/z_image_de_turbo_v1_bf16.safetensors")
    config, entries = opened(commands / "musubi.sh")
    assert (config.model.variant, config.model.name_or_path) == ("de_turbo", str(file))
    assert "come from Tongyi-MAI/Z-Image-Turbo" in entries["--dit"].why
    assert not entries["--dit"].matters
    assert config.model.extras_from is None
    assert "such a single file is not read here" in entries["--vae"].why


def test_musubis_part_of_a_model_is_the_whole_model(commands):
    """As its documentation suggests it: the first file of each component of a download."""
    for part in ("transformer", "text_encoder", "vae"):
        put(commands / "Z-Image-Turbo" / part / "config.json")
        put(commands / "Z-Image-Turbo" / part / "model-00001-of-00003.safetensors")
    flags = (
        "--dataset_config data.toml --dit {} --text_encoder Z-Image-Turbo/text_encoder/model-00001-of-00003.safetensors"
    )
    whole = flags.format("Z-Image-Turbo/transformer/model-00001-of-00003.safetensors")
    (training,) = import_file(put(commands / "flags.txt", whole.encode()), origin="musubi") or []
    assert training.settings["model"]["name_or_path"] == str(commands / "Z-Image-Turbo")
    assert training.settings["model"]["variant"] == "turbo"
    assert "extras_from" not in training.settings["model"]
    put(commands / "de_turbo.safetensors")
    apart = flags.format("de_turbo.safetensors")
    (training,) = import_file(put(commands / "flags.txt", apart.encode()), origin="musubi") or []
    assert training.settings["model"]["variant"] == "de_turbo"
    assert training.settings["model"]["extras_from"] == str(commands / "Z-Image-Turbo")


def test_a_file_whose_name_says_nothing_is_asked_about(commands):
    put(commands / "my_finetune.safetensors")
    path = put(commands / "flags.txt", b"--dit my_finetune.safetensors --dataset_config data.toml")
    (training,) = import_file(path, origin="musubi") or []
    assert training.settings["model"]["variant"] == "base"
    (entry,) = [entry for entry in training.report.entries if entry.key == "--dit"]
    assert entry.matters


def test_a_diffusers_command_becomes_the_same_training(commands):
    config, entries = opened(commands / "diffusers.bat")
    assert (config.job.name, str(config.job.output_dir), config.job.seed) == ("trained-z-image", "out", 0)
    assert config.model.variant == "base"
    assert config.datasets[0].default_caption == "a photo of sks dog"
    assert config.datasets[0].square
    assert config.datasets[0].crop == "random"
    assert (config.target.rank, config.target.alpha) == (16, 16.0)
    assert config.target.parts == ("layers", "noise_refiner", "context_refiner")
    assert config.training.optimizer == "adamw8bit"
    assert (config.training.timestep_type, config.training.shift) == ("shift", 3.0)
    assert (config.training.lr_schedule, config.training.warmup_steps) == ("cosine", 20)
    assert config.sample.prompts[0].prompt == "a photo of sks dog in a bucket"
    assert entries["--what_is_this"].outcome == "unknown"
    flags = read_command(DIFFUSERS, diffusers_script.SCRIPT, "x")
    assert set(entries) == {f"--{name}" for name in flags}


def test_flags_alone_need_to_be_told_whose_they_are(commands):
    path = commands / "flags.txt"
    path.write_text(
        "--dit z_image_turbo.safetensors --dataset_config data.toml --network_dim 8 --timestep_sampling sigmoid"
    )
    assert import_file(path) is None
    (training,) = import_file(path, origin="musubi") or []
    assert training.settings["model"]["training_adapter"] == "v2"
    assert training.settings["target"]["alpha"] == 1.0, "the default there, which counts there too"
    assert training.settings["training"]["timestep_type"] == "sigmoid"


def test_turbo_with_its_adapter_as_base_weights(commands):
    path = commands / "flags.txt"
    path.write_text(
        "--dit a.safetensors --dataset_config data.toml --base_weights x/zimage_turbo_training_adapter_v1.safetensors"
    )
    (training,) = import_file(path, origin="musubi") or []
    assert training.settings["model"]["variant"] == "turbo"
    assert training.settings["model"]["training_adapter"] == "v1"


@pytest.mark.parametrize("name", ["musubi.sh", "diffusers.bat"])
def test_a_command_trains(name, commands, monkeypatch):
    from slipstream import worker
    from slipstream.cli import training as door

    class Here:
        def __init__(self, run) -> None:
            self.run = run

        def wait(self, seconds: float) -> int:
            return worker.work(self.run)

    monkeypatch.setattr(door, "start_worker", Here)
    tiny = "tiny/de-turbo" if name == "musubi.sh" else "tiny/base"
    small = [
        f"model.name_or_path={tiny}", "training.steps=2", "training.warmup_steps=0", "datasets.0.resolutions=[64]",
        "sample.prompts=[a cat]", "sample.width=64", "sample.height=64", "sample.steps=1", "sample.every=0",
        "sample.at_start=false", "job.device=cpu", "quantization.layer_offloading=0",
        f"job.output_dir={commands / 'runs'}",
    ]  # fmt: skip
    assert door.train_command(commands / name, small, fresh=False) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("echo hello", "found 0 commands"), (MUSUBI + MUSUBI, "found 2 commands"),
     ('python zimage_train_network.py --dit "open', "cannot be read"),
     ("python zimage_train_network.py --dit a", "no dataset file")],
)  # fmt: skip
def test_a_broken_command_says_what_is_wrong(text, message, tmp_path):
    path = tmp_path / "command.sh"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        import_file(path, origin="musubi")


@pytest.mark.parametrize(
    "table",
    [musubi.table(Epochs(1)), musubi.DATASET, diffusers_script.table(Epochs(1))],
    ids=["musubi", "toml", "diffusers"],
)
def test_every_target_of_the_tables_is_a_setting(table):
    settings = settings_of(RunConfig)
    targets = {target.replace("datasets.1", "datasets.0") for _, rule in rules_of(table) for target in rule.targets}
    missing = {target for target in targets if target not in settings and not panels_at(RunConfig, _path(target))}
    assert missing == set()


def _path(target: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in target.split("."))


def test_our_own_configs_pass_by(workspace):
    path = workspace / "ours.yaml"
    path.write_text("job: {name: ours}\ndatasets: [{path: pictures}]  # config of zimage_train_network\n")
    assert import_file(path) is None
    assert open_config(path).report is None
