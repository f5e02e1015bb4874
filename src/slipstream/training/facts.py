"""What a run and its files say about how they were made: the manifest and the LoRA's metadata."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import slipstream
from slipstream.adapters.training_adapter import TrainingAdapter
from slipstream.config.run_config import dump_yaml
from slipstream.config.variants import VARIANTS, preview_guidance, preview_steps
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.models.z_image.identity import weights_identity
from slipstream.training.dataset_facts import dataset_facts
from slipstream.training.device import total_gib
from slipstream.training.pictures import picture_facts
from slipstream.training.planning import remembered
from slipstream.training.setting import Setting
from slipstream.training.shareable import shareable, shared_name
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
        "base_model": shared_name(config.model.name_or_path),
        "base_model_hash": weights_identity(setting.model.parts.paths["transformer"]),
        "training_adapter": shared_name(adapter.source) if adapter.branches is not None else "none",
        "training_adapter_hash": adapter.content_hash,
        "adapter_type": config.target.type,
        "rank": str(config.target.rank),
        "alpha": f"{alpha_of(setting):g}",
        "dataset_fingerprint": dataset_fingerprint(setting.dataset),
        "config": dump_yaml(shareable(config)),
    }


def manifest(setting: Setting, adapted: Adapted) -> dict[str, Any]:
    """`manifest.json`: versions, hashes, data and choices."""
    config, dataset, adapter = setting.config, setting.dataset, adapted.adapter
    facts = VARIANTS[config.model.variant]
    return {
        "slipstream": slipstream.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "device": setting.compute.reasons[0],
        "device_gib": total_gib(setting.compute.device),
        "choices": setting.describe(),
        "plan": remembered(setting.plan),
        "kernels": asdict(adapted.fast.kernels) if adapted.fast is not None else None,
        "model": {
            "variant": config.model.variant,
            "label": facts.label,
            "name": config.model.name_or_path,
            "origins": dict(setting.model.parts.origins),
            "revisions": dict(setting.model.parts.revisions),
            "hash": weights_identity(setting.model.parts.paths["transformer"]),
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
