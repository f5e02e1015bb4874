"""How long an update takes: remembered from runs on this machine, else guessed, and said to be a guess."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import torch

from slipstream.core.atomic import write_json
from slipstream.core.errors import RunError
from slipstream.models.z_image.identity import weights_identity
from slipstream.models.z_image.layout import pad_to_multiple
from slipstream.models.z_image.transformer_file import open_transformer
from slipstream.training.objective_settings import relative_work
from slipstream.training.setting import Setting

_CAPTION_TOKENS = 64
_CPU_FLOPS_PER_THREAD = 2.5e10
_FLOPS_PER_SM = {8: 0.55e12, 9: 2.6e12, 10: 3.0e12, 12: 0.8e12}
"""Sustained bf16 training rate per multiprocessor by compute capability: rough, used only before a first run."""
_PASSES = 4
"""Multiply-adds per parameter and token: forward 2, backward to the activations 2 (frozen weights need no gradient)."""


def tokens_per_step(setting: Setting) -> float:
    """Mean tokens of an update: image patches and caption of every sample, counted once per trained prediction."""
    rows = [
        (pad_to_multiple((b.width // 16) * (b.height // 16)), samples)
        for b, _, samples in setting.dataset.bucket_table()
    ]
    mean = sum(tokens * samples for tokens, samples in rows) / max(1, sum(samples for _, samples in rows))
    return (mean + _CAPTION_TOKENS) * setting.samples_per_step * relative_work(setting.config)


def note_speed(setting: Setting, seconds_per_step: float | None) -> None:
    """Remember this machine's pace for the model, per token."""
    if seconds_per_step is None:
        return
    path = setting.latent_cache.root / "speed.json"
    known = {**_known(setting), _key(setting): seconds_per_step / tokens_per_step(setting)}
    with suppress(OSError, RunError):  # a cache that may only be read fails no training that is done
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known, durable=False)


def expected_seconds_per_step(setting: Setting) -> tuple[float, str]:
    """(seconds, where the figure comes from)."""
    tokens = tokens_per_step(setting)
    known = _known(setting).get(_key(setting))
    if known is not None:
        return known * tokens, "from an earlier run on this machine"
    if setting.plan is not None:
        batches = setting.config.training.gradient_accumulation * relative_work(setting.config)
        return setting.plan.chosen.seconds_per_step * batches, "predicted from this GPU's measured speed"
    parameters = open_transformer(setting.model.parts.paths["transformer"]).num_parameters
    return max(
        0.03, _PASSES * parameters * tokens / _flops(setting.compute.device)
    ), "a rough guess before the first run"


def _flops(device: torch.device) -> float:
    if device.type != "cuda":
        return _CPU_FLOPS_PER_THREAD * torch.get_num_threads()
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count * _FLOPS_PER_SM.get(properties.major, 0.5e12)


def _key(setting: Setting) -> str:
    weights = weights_identity(setting.model.parts.paths["transformer"])
    key = f"{setting.compute.reasons[0].split(' (')[0]} {setting.compute.transformer_dtype} {weights[:12]}"
    scheme, checkpointing = setting.compute.transformer_scheme, setting.config.training.gradient_checkpointing
    key += f" {scheme}" if scheme else ""
    return key if checkpointing == "none" else f"{key} checkpointing {checkpointing}"


def _known(setting: Setting) -> dict[str, float]:
    try:
        values = json.loads((setting.latent_cache.root / "speed.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, float) and math.isfinite(value)}
