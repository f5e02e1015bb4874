"""What a run and its files say about how they were made: the manifest and the LoRA's metadata."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import slipstream
from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.config.datasets import DatasetPanel
from slipstream.config.run_config import RunConfig, dump_yaml
from slipstream.config.training import TrainingPanel
from slipstream.config.variants import VARIANTS, preview_guidance, preview_steps
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.models.z_image.identity import weights_identity
from slipstream.training.dataset_facts import dataset_facts
from slipstream.training.pictures import picture_facts
from slipstream.training.setting import Setting
from slipstream.training.stages import Adapted
from slipstream.training.target_stage import alpha_of

_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "bitsandbytes", "pillow", "pydantic")


def lora_metadata(setting: Setting, adapter: TrainingAdapter) -> dict[str, str]:
    """Metadata of every LoRA file of the run; no dates, so equal runs give equal files."""
    config = setting.config
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "z-image-turbo/lora" if config.model.variant == "turbo" else "z-image/lora",
        "modelspec.title": config.job.name,
        "modelspec.trigger_phrase": config.job.trigger_word,
        "slipstream_version": slipstream.__version__,
        "base_model": config.model.name_or_path,
        "base_model_hash": weights_identity(setting.model.parts.folders["transformer"]),
        "training_adapter": adapter.source if adapter.branches is not None else "none",
        "training_adapter_hash": adapter.content_hash,
        "adapter_type": config.target.type,
        "rank": str(config.target.rank),
        "alpha": f"{alpha_of(setting):g}",
        "dataset_fingerprint": dataset_fingerprint(setting.dataset),
        "config": dump_yaml(shareable(config)),
    }


def shareable(config: RunConfig) -> RunConfig:
    """The config without the user's folders: a LoRA is passed on, and where its pictures lay is nobody's business."""
    datasets = tuple(_shareable_dataset(panel) for panel in config.datasets)
    job = config.job.model_copy(update={"output_dir": Path(config.job.output_dir.name)})
    target = config.target
    if target.start_from is not None and Path(target.start_from).is_absolute():
        target = target.model_copy(update={"start_from": Path(target.start_from).name})
    training = _shareable_training(config.training)
    return config.model_copy(update={"job": job, "target": target, "datasets": datasets, "training": training})


def _shareable_training(panel: TrainingPanel) -> TrainingPanel:
    if panel.validation is None or panel.validation.path is None:
        return panel
    validation = panel.validation.model_copy(update={"path": Path(panel.validation.path.name)})
    return panel.model_copy(update={"validation": validation})


def _shareable_dataset(panel: DatasetPanel) -> DatasetPanel:
    update: dict[str, Any] = {"path": Path(panel.path.name)}
    if panel.captions_file is not None:
        update["captions_file"] = Path(panel.captions_file.name)
    if panel.mask is not None and panel.mask.path is not None:
        update["mask"] = panel.mask.model_copy(update={"path": Path(panel.mask.path.name)})
    return panel.model_copy(update=update)


def manifest(setting: Setting, adapted: Adapted) -> dict[str, Any]:
    """`manifest.json`: versions, hashes, data and choices."""
    config, dataset, adapter = setting.config, setting.dataset, adapted.adapter
    facts = VARIANTS[config.model.variant]
    return {
        "slipstream": slipstream.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "device": setting.compute.reasons[0],
        "choices": setting.describe(),
        "model": {
            "variant": config.model.variant,
            "label": facts.label,
            "name": config.model.name_or_path,
            "origins": setting.model.parts.origins,
            "hash": weights_identity(setting.model.parts.folders["transformer"]),
        },
        "training_adapter": None if adapter.branches is None else {
            "source": adapter.source, "hash": adapter.content_hash, "matched": adapter.matched,
        },
        "dataset": {
            "fingerprint": dataset_fingerprint(dataset),
            "num_images": dataset.num_images,
            "num_examples": len(dataset.examples),
            "folders": dataset_facts(dataset),
            "buckets": [
                {"width": bucket.width, "height": bucket.height, "examples": examples}
                for bucket, examples, _ in dataset.bucket_table()
            ],
            "skipped": [f"{skipped.path}: {skipped.reason}" for skipped in dataset.skipped],
            "warnings": list(dataset.warnings),
        },
        "lora": {
            "type": config.target.type,
            "rank": config.target.rank,
            "alpha": alpha_of(setting),
            "modules": len(adapted.lora.branches),
            "parameters": sum(parameter.numel() for parameter in adapted.lora.parameters()),
        },
        "validation": None if setting.held_out is None or config.training.validation is None else {
            "num_images": setting.held_out.num_images,
            "patience": config.training.validation.patience,
        },
        "sample": {
            "prompts": [picture.prompt for picture in setting.pictures],
            "pictures": picture_facts(setting.pictures),
            "trigger_word": config.job.trigger_word,
            "steps": preview_steps(config),
            "guidance_scale": preview_guidance(config),
            "width": config.sample.width,
            "height": config.sample.height,
        },
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
