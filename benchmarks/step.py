"""Measures what a training spends its time on: the update, drawing a preview, VAE and text encoder.

    python benchmarks/step.py --out benchmarks/results/mine.json
    python benchmarks/step.py --model Tongyi-MAI/Z-Image-Turbo --resolution 1024 --out benchmarks/results/turbo.json

Every input is random and none is zero, so that no kernel and no optimizer meets an easy case.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from results import revision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.adapters.inject import inject_lora, select_targets  # noqa: E402
from slipstream.adapters.training_adapter import (  # noqa: E402
    TrainingAdapter,
    attach_training_adapter,
    no_training_adapter,
)
from slipstream.config.model import TurboModel  # noqa: E402
from slipstream.config.target import TARGET_MODULES  # noqa: E402
from slipstream.config.variants import adapter_source, extras_for, variant_of  # noqa: E402
from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.data.loader import TrainingBatch  # noqa: E402
from slipstream.flow.densities import NoiseLevels  # noqa: E402
from slipstream.models.z_image.family import ADAPTER_ROOT, ZImage, predictor, release_memory  # noqa: E402
from slipstream.models.z_image.resolve import resolve_adapter  # noqa: E402
from slipstream.objectives.settings import ObjectiveSettings  # noqa: E402
from slipstream.previews.render import LATENT_CHANNELS, Picture, Renderer, render  # noqa: E402
from slipstream.training.checkpoint import TrainingState  # noqa: E402
from slipstream.training.device import choose_compute, peak_memory_gib  # noqa: E402
from slipstream.training.optimizers import OptimizerSettings, build_optimizer, choose_optimizer  # noqa: E402
from slipstream.training.setting import settle_model  # noqa: E402
from slipstream.training.step import StepSettings, train_step  # noqa: E402

WARM_UPS = 3
DENOISING_STEPS = 8
DOWNSCALE = 8
CAPTION = "an emoji of a red fox that sleeps on a warm blanket, three quarter view, soft light from the left"
CAPTION_TOKENS = 64
RATE = 1e-4


@dataclass(frozen=True)
class Options:
    """What to measure: pictures of `resolution` squared, `batch` at once, each figure `repeats` times."""

    model: str
    batch: int
    resolution: int
    rank: int
    repeats: int
    out: Path


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times a training update and what surrounds it.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--model", default="tiny/turbo", help="a model as in model.name_or_path")
    parser.add_argument("--batch", type=int, default=1, help="pictures per update")
    parser.add_argument("--resolution", type=int, default=128, help="side in pixels, a multiple of 16")
    parser.add_argument("--rank", type=int, default=16, help="rank and alpha of the LoRA")
    parser.add_argument("--repeats", type=int, default=20, help="measurements of each figure after the warm-up")
    options = Options(**vars(parser.parse_args()))
    if options.resolution < 64 or options.resolution % 16:
        parser.error(f"--resolution {options.resolution}: expected a multiple of 16 from 64 on")
    if min(options.batch, options.rank, options.repeats) < 1:
        parser.error("--batch, --rank and --repeats: expected at least 1")
    return options


def measured(work: Callable[[], object], repeats: int, device: torch.device, share: int = 1) -> dict[str, float]:
    """Seconds of one call divided by `share`: median, 10th and 90th percentile, after a warm-up."""
    for _ in range(WARM_UPS):
        work()
    seconds = []
    for _ in range(repeats):
        _wait_for(device)
        started = time.perf_counter()
        work()
        _wait_for(device)
        seconds.append((time.perf_counter() - started) / share)
    tenth, middle, ninetieth = torch.tensor(seconds, dtype=torch.float64).quantile(
        torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    )
    return {"median": round(float(middle), 6), "p10": round(float(tenth), 6), "p90": round(float(ninetieth), 6)}


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def noise(*shape: int, seed: int) -> Tensor:
    """Standard normal values of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def time_vae(model: ZImage, options: Options) -> dict[str, dict[str, float]]:
    """Seconds per picture through the VAE in both directions."""
    side, latent_side = options.resolution, options.resolution // DOWNSCALE
    pixels = noise(options.batch, 3, side, side, seed=1).clamp(-1, 1)
    latents = noise(options.batch, LATENT_CHANNELS, latent_side, latent_side, seed=2)
    codec = model.load_codec()
    return {
        "vae_encode": measured(lambda: codec.encode(pixels), options.repeats, model.device, options.batch),
        "vae_decode": measured(lambda: codec.decode(latents), options.repeats, model.device, options.batch),
    }


def time_text(model: ZImage, options: Options) -> dict[str, dict[str, float]]:
    """Seconds per caption through the text encoder."""
    encoder = model.load_text_encoder()
    return {"text_encode": measured(lambda: encoder.encode([CAPTION]), options.repeats, model.device)}


def adapted(model: ZImage, options: Options) -> tuple[nn.Module, TrainingAdapter, TrainingState]:
    """The transformer with its training adapter (Turbo) and a LoRA that is off its start, and AdamW."""
    transformer = model.load_transformer()
    adapter = no_training_adapter()
    if variant_of(options.model) == "turbo":
        source = adapter_source(TurboModel(name_or_path=options.model))
        adapter = attach_training_adapter(transformer, resolve_adapter(str(source)))
    names = select_targets(transformer, ADAPTER_ROOT, TARGET_MODULES)
    lora = inject_lora(transformer, names, rank=options.rank, alpha=float(options.rank), seed=3)
    for index, parameter in enumerate(lora.parameters()):
        nn.init.normal_(parameter.data, std=0.01, generator=torch.Generator(parameter.device).manual_seed(index))
    choice = choose_optimizer(OptimizerSettings("adamw", learning_rate=RATE, weight_decay=1e-4))
    optimizer = build_optimizer(choice, lora.parameter_groups(), model.device)
    return transformer, adapter, TrainingState(lora, optimizer, None)


def time_transformer(model: ZImage, options: Options) -> dict[str, dict[str, float]]:
    """Seconds per update (forward, backward, clipping, optimizer) and per preview of 8 steps without decoding."""
    transformer, adapter, state = adapted(model, options)
    predict, side = predictor(transformer), options.resolution // DOWNSCALE
    width: Any = transformer.config.cap_feat_dim
    texts = [noise(CAPTION_TOKENS, width, seed=10 + row) for row in range(options.batch)]
    batch = TrainingBatch(noise(options.batch, LATENT_CHANNELS, side, side, seed=4), texts, tuple(range(options.batch)))
    settings = StepSettings(
        seed=5, gradient_accumulation=1, samples_per_step=options.batch, max_grad_norm=1.0, device=model.device,
        levels=NoiseLevels("weighted"), objective=ObjectiveSettings(),
    )  # fmt: skip
    seconds = {
        "training_step": measured(
            lambda: train_step(state, lambda _: batch, predict, settings, RATE), options.repeats, model.device
        )
    }
    renderer = Renderer(
        predict=predict, decode=lambda latents: latents, features=lambda _: texts[0], shift_at=model.load_shift().at,
        device=model.device, max_batch=options.batch,
    )  # fmt: skip
    pictures = [
        Picture(CAPTION, "", options.resolution, options.resolution, row, DENOISING_STEPS, 0.0)
        for row in range(options.batch)
    ]
    with adapter.removed():
        seconds["denoise_8_steps"] = measured(
            lambda: list(render(renderer, pictures)), options.repeats, model.device, options.batch
        )
    return seconds


def main() -> None:
    """Measure and write."""
    options = parse()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    compute = choose_compute("auto", "auto", "auto")
    model = settle_model(options.model, extras_for(options.model), compute)
    seconds: dict[str, dict[str, float]] = {}
    for measure in (time_transformer, time_vae, time_text):
        seconds |= measure(model, options)
        release_memory()
    result = {
        "device": compute.reasons[0].removeprefix("device: "),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "load_before": load,
        "torch": torch.__version__,
        "revision": revision(),
        "model": options.model,
        "dtype": str(compute.transformer_dtype).removeprefix("torch."),
        "shapes": {
            "batch": options.batch, "pixels": [3, options.resolution, options.resolution],
            "latents": [LATENT_CHANNELS, options.resolution // DOWNSCALE, options.resolution // DOWNSCALE],
            "caption_tokens": CAPTION_TOKENS, "rank": options.rank, "denoising_steps": DENOISING_STEPS,
        },
        "repeats": options.repeats,
        "seconds": seconds,
        "peak_memory_gib": round(peak_memory_gib(compute.device), 3),
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    for name, figures in seconds.items():
        print(f"{name:16} {figures['median']:.4f} s  (p10 {figures['p10']:.4f}, p90 {figures['p90']:.4f})")


if __name__ == "__main__":
    main()
