"""What a config comes to on this machine, before any weight is loaded: `plan` prints it and `build` trains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slipstream.config.datasets import DatasetPanel, MaskPanel
from slipstream.config.run_config import RunConfig
from slipstream.config.variants import VARIANTS, adapter_source, cache_root, extras_source
from slipstream.core.errors import ModelError
from slipstream.data.cache import TensorCache
from slipstream.data.caption_rules import CaptionRule
from slipstream.data.dataset import Dataset, build_dataset
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import CropRule, DatasetSettings, MaskSettings
from slipstream.memory.planner import Decision, Fixed, Machine
from slipstream.models.z_image.family import ZImage
from slipstream.models.z_image.hub import OnDownload
from slipstream.models.z_image.names import block_linears
from slipstream.models.z_image.resolve import ModelParts, resolve_adapter, resolve_parts
from slipstream.previews.render import Picture
from slipstream.runs.layout import RunDir
from slipstream.training.dataset_facts import caption_warnings, dataset_lines
from slipstream.training.device import Compute, choose_compute, limit_memory
from slipstream.training.drift_setting import describe_drift, drift_prompts
from slipstream.training.machine import measure_machine
from slipstream.training.objective_settings import (
    needs_blank_caption,
    preserved_class_word,
    preserves_blank,
    require_noise_levels,
    side_lines,
    update_lines,
)
from slipstream.training.offloading import Offloading, choose_offloading
from slipstream.training.optimizer_stage import settle_optimizer
from slipstream.training.optimizers import OptimizerChoice
from slipstream.training.pictures import preview_pictures
from slipstream.training.planning import as_planned, plan_training
from slipstream.training.targets import chosen_linears
from slipstream.training.validation_setting import describe_validation, hold_out


@dataclass(frozen=True)
class Setting:
    """A config with everything it names found: model parts, adapter file, pictures, caches."""

    config: RunConfig
    compute: Compute
    model: ZImage
    adapter: Path | None
    start: Path | None
    dataset: Dataset
    latent_cache: TensorCache
    text_cache: TensorCache
    pictures: tuple[Picture, ...]
    optimizer: OptimizerChoice
    held_out: Dataset | None
    plan: Decision | None = None
    limit: str | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """All pictures that need latents: those trained on, and those measured on."""
        return (self.dataset,) if self.held_out is None else (self.dataset, self.held_out)

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption that needs features: of the pictures, of the previews and of the drift meter."""
        known = [caption for dataset in self.datasets for caption in dataset.captions()]
        prompts = [picture.prompt for picture in self.pictures]
        negatives = [picture.negative_prompt for picture in self.pictures if picture.uses_guidance]
        unrelated = drift_prompts(self.config)
        measured = unrelated.prompts if unrelated is not None else ()
        return tuple(dict.fromkeys([*known, *prompts, *negatives, *measured]))

    @property
    def offloading(self) -> Offloading:
        """Blocks that stream from host memory."""
        planned = self.plan.chosen.choice.offload if self.plan is not None else 0
        return choose_offloading(self.config, self.compute, self.model.sizes, planned)

    @property
    def samples_per_step(self) -> int:
        """Samples of one update."""
        return self.config.training.batch_size * self.config.training.gradient_accumulation

    def sampler(self) -> BucketSampler:
        """The order of samples: a pure function of (seed, micro step)."""
        return BucketSampler(self.dataset, self.config.training.batch_size, self.config.job.seed)

    def describe(self) -> list[str]:
        """One line per choice: model parts, adapter, device, precision."""
        facts = VARIANTS[self.config.model.variant]
        lines = [f"model: {self.config.model.name_or_path} ({facts.label})"]
        lines += [f"  {line}" for line in self.model.describe()]
        limit = () if self.limit is None else (self.limit,)
        plan = () if self.plan is None else self.plan.lines
        return [
            *lines, self._adapter_line(), *dataset_lines(self.dataset), *self.compute.reasons, *limit, *plan,
            self._checkpointing_line(), self.offloading.line, self.optimizer.line, *update_lines(self.config),
            *side_lines(self.config), *self._validation_line(), describe_drift(self.config),
            f"cache: {self.latent_cache.root}",
        ]  # fmt: skip

    def remarks(self) -> list[str]:
        """Pictures left out, what looks like a mistake in the data, and settings without an effect, one line each."""
        skipped = [f"skipped {skipped.path}: {skipped.reason}" for skipped in self.dataset.skipped]
        doubts = (*self.dataset.warnings, *caption_warnings(self.captions, self.model.parts), *self.optimizer.notes)
        return [*skipped, *(f"warning: {line}" for line in doubts)]

    def _validation_line(self) -> list[str]:
        panel = self.config.training.validation
        if panel is None or self.held_out is None:
            return []
        return [describe_validation(panel, self.held_out, self.dataset.num_images)]

    def _checkpointing_line(self) -> str:
        mode = self.config.training.gradient_checkpointing
        if mode == "full":
            why = (
                "each block runs again in the backward pass: slower, far less memory; previews are drawn one at a time"
            )
        elif mode == "none":
            why = "every activation is kept: fastest"
        elif mode == "auto" and self.compute.device.type == "cpu":
            why = "on the CPU every activation is kept, as with none"
        else:
            why = "as much is kept as fits; the log says how much that is when the model is loaded"
        return f"gradient checkpointing: {mode} ({why})"

    def _adapter_line(self) -> str:
        if self.adapter is not None:
            return f"training adapter: {self.adapter} (active while training, removed in previews and in the LoRA)"
        if self.config.model.variant == "turbo":
            return (
                "TRAINING ADAPTER: NONE, as set. Training Turbo without one breaks its 8 steps: expect a LoRA that "
                'needs 20-30 steps and CFG. Set model.training_adapter to "v2" unless you test exactly this.'
            )
        return f"training adapter: none needed ({self.config.model.variant} is trained as it is)"


def settle(config: RunConfig, on_download: OnDownload | None = None, before: Fixed | None = None) -> Setting:
    """Find and check everything a config names, and plan it on a GPU; loads no weights.

    `on_download` is told what comes from the hub; `before` is what a run that goes on was planned with.

    Raises:
        SlipstreamError: something is missing or does not fit this machine.
    """
    folders = dataset_settings(config)
    dataset, held_out = hold_out(config, folders, build_dataset(folders, needs_blank_caption(config)))
    require_noise_levels(config, [bucket for bucket, _, _ in dataset.bucket_table()])
    root = cache_root(config)
    adapter = adapter_source(config.model)
    compute = settle_compute(config)
    limit = limit_memory(compute.device, config.advanced.vram_limit)
    model = settle_model(config.model.name_or_path, extras_source(config.model), compute, on_download)
    chosen_linears(config, block_linears(model.parts.paths["transformer"]))
    setting = Setting(
        config=config,
        compute=compute,
        model=model,
        adapter=resolve_adapter(adapter, on_download=on_download) if adapter is not None else None,
        start=settle_start(config.target.start_from),
        dataset=dataset,
        latent_cache=TensorCache(root, "latents"),
        text_cache=TensorCache(root, "texts"),
        pictures=preview_pictures(config),
        optimizer=settle_optimizer(config),
        held_out=held_out,
        limit=limit,
    )
    setting = _planned(setting, measure_machine(compute.device), before) if compute.device.type == "cuda" else setting
    _ = setting.offloading  # refuses what cannot work, before anything is loaded
    return setting


def _planned(setting: Setting, machine: Machine, before: Fixed | None) -> Setting:
    """The setting with what the planner decided on this machine."""
    config, parts = setting.config, setting.model.parts
    plan = plan_training(
        config, machine, parts.paths, setting.adapter, setting.dataset.bucket_table(), setting.pictures, before
    )
    compute = as_planned(config, setting.compute, plan)
    return replace(setting, compute=compute, model=_on(compute, parts), plan=plan)


def settle_start(name: str | None) -> Path | None:
    """The file that the LoRA starts from, found; a run's folder means its finished LoRA.

    Raises:
        ModelError: there is no such file.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        name = str(RunDir(path.resolve()).lora)
    fix = (
        'give a .safetensors file, a finished run, or "org/repo/file.safetensors"; a run that is resumed does not '
        "need it: remove the line from its config.yaml."
    )
    if not path.exists() and Path(path.parts[0]).is_dir():  # runs/a/a.safetensors: a path, not a hub's org/repo/file
        raise ModelError(f"there is no LoRA at {name!r}", where="target.start_from", fix=fix)
    return resolve_adapter(name, what="LoRA", where="target.start_from", fix=fix)


def settle_compute(config: RunConfig) -> Compute:
    """The device and the precisions, found."""
    panel = config.quantization
    return choose_compute(config.job.device, panel.transformer, panel.text_encoder, panel.compute_dtype)


def settle_model(name: str, extras: str, compute: Compute, on_download: OnDownload | None = None) -> ZImage:
    """The model's parts, found."""
    return _on(compute, resolve_parts(name, extras, on_download))


def _on(compute: Compute, parts: ModelParts) -> ZImage:
    return ZImage(
        parts, compute.device, compute.transformer_dtype, compute.text_encoder_dtype, compute.transformer_scheme,
        compute.text_encoder_scheme,
    )  # fmt: skip


def dataset_settings(config: RunConfig) -> Sequence[DatasetSettings]:
    """The datasets panels as plain values."""
    return [
        DatasetSettings(
            path=Path(panel.path),
            resolutions=panel.resolutions,
            num_repeats=panel.num_repeats,
            default_caption=panel.default_caption,
            captions_file=panel.path / panel.captions_file if panel.captions_file is not None else None,
            caption_extension=panel.caption_extension,
            caption_dropout=panel.caption_dropout,
            flip_horizontal=panel.flip_horizontal,
            cache_latents=panel.cache_latents,
            trigger_word=config.job.trigger_word if panel.trigger_word is None else panel.trigger_word,
            caption_rule=caption_rule(panel, config.job.seed),
            trigger_only=config.training.text_encoder == "unload",
            lora_weight=panel.lora_weight,
            loss_multiplier=panel.loss_multiplier,
            regularization=panel.regularization,
            mask=_mask_settings(panel.mask) if panel.mask is not None else None,
            crop=CropRule(panel.crop, panel.num_crops, panel.crop_scale, config.job.seed),
            bucket_step=panel.bucket_step,
            square=panel.square,
            flip_vertical=panel.flip_vertical,
            class_word=preserved_class_word(config),
            preserves_blank=preserves_blank(config),
        )
        for panel in config.datasets
    ]


def caption_rule(panel: DatasetPanel, seed: int) -> CaptionRule:
    """How a dataset's captions change from draw to draw."""
    return CaptionRule(
        shuffle=panel.caption_shuffle,
        token_dropout=panel.caption_token_dropout,
        keep_tokens=panel.keep_tokens,
        separator=panel.caption_separator,
        versions=panel.caption_variants,
        random_triggers=panel.random_triggers,
        seed=seed,
    )


def _mask_settings(panel: MaskPanel) -> MaskSettings:
    path = Path(panel.path) if panel.path is not None else None
    return MaskSettings(panel.source, path, panel.invert, panel.minimum, panel.prior_weight)
