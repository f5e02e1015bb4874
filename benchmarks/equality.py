"""How far the product's prediction and LoRA gradients are from diffusers' own forward in fp32, on random weights.

    python benchmarks/equality.py --out equality.json                 # real size: one card with 60 GiB
    python benchmarks/equality.py --size tiny --out equality.json     # a dry run on any machine

All variants have the same bf16 weights, fp32 ones the same numbers in fp32, and the same LoRA, batch and gradient of
the output. Random weights amplify rounding more than trained ones do: compare variants with each other.
"""

from __future__ import annotations

import argparse
import gc
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from random_model import ModelSize, model_size, random_transformer  # noqa: E402
from results import revision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.adapters.branches import BranchSet  # noqa: E402
from slipstream.adapters.inject import inject_lora, select_targets  # noqa: E402
from slipstream.config.target import TARGET_MODULES  # noqa: E402
from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.models.z_image.family import predictor  # noqa: E402
from slipstream.training.fast_path import fast_path  # noqa: E402
from slipstream.training.gradients import FlatGradients  # noqa: E402

Predict = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
RANK, CAPTION_TOKENS, SIGMA = 16, 100, 0.6
RUNS = 3
"""The last one counts: on the fast path the first runs without a CUDA graph, the second captures, the third replays."""


@dataclass(frozen=True)
class Variant:
    """A way to predict: whose forward, in which precision, with weights of which scheme."""

    name: str
    dtype: torch.dtype
    whose: str
    scheme: str | None = None


REFERENCE = Variant("diffusers, fp32", torch.float32, "diffusers")
VARIANTS = (
    Variant("slipstream, fp32, module by module", torch.float32, "modules"),
    Variant("diffusers, bf16", torch.bfloat16, "diffusers"),
    Variant("slipstream, bf16, module by module", torch.bfloat16, "modules"),
    Variant("slipstream, bf16, fused", torch.bfloat16, "fused"),
    Variant("slipstream, float8, fused", torch.bfloat16, "fused", "float8"),
)


def by_diffusers(model: nn.Module) -> Predict:
    """Diffusers' own forward, its lists, time and sign turned into ours."""

    def predict(noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        dtype = next(model.parameters()).dtype
        latents = [latent[:, None].to(dtype) for latent in noisy_BCHW]
        out = model(latents, 1 - sigma_B, [text.to(dtype) for text in texts], return_dict=False)[0]
        return -torch.stack(out).squeeze(2).float()

    return predict


def random_lora(model: nn.Module) -> BranchSet:
    """A LoRA on every linear of the main blocks, off its start, the same for every variant."""
    names = select_targets(model, "layers", TARGET_MODULES)
    lora = inject_lora(model, names, rank=RANK, alpha=float(RANK), seed=1)
    generator = torch.Generator().manual_seed(3)
    for parameter in lora.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.01)
    return lora


def outcome(variant: Variant, size: ModelSize, device: torch.device, resolution: int) -> tuple[Tensor, Tensor]:
    """(velocity, gradients of the LoRA as one vector), fp32 on the host."""
    weights = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = random_transformer(size, device, weights, variant.scheme)
    if variant.scheme is None:
        model = model.to(variant.dtype)
    lora = random_lora(model)
    flat = FlatGradients(lora.parameters())
    predict = by_diffusers(model) if variant.whose == "diffusers" else predictor(model)
    if variant.whose == "fused":
        fast, lines = fast_path(model, lora, device, float8=variant.scheme is not None)
        if fast is None:
            raise RuntimeError(lines[0])
        predict = fast.predict
    generator = torch.Generator().manual_seed(4)
    side = resolution // size.divide // 8
    width = int(model.config.cap_feat_dim)  # type: ignore[union-attr, arg-type]
    noisy, gradient = (torch.randn(1, 16, side, side, generator=generator).to(device) for _ in range(2))
    texts = [torch.randn(CAPTION_TOKENS, width, generator=generator).to(device)]
    sigma = torch.tensor([SIGMA], device=device)
    for _ in range(RUNS if variant.whose == "fused" else 1):
        flat.zero()
        predicted = predict(noisy, sigma, texts)
        predicted.backward(gradient)
        velocity = predicted.detach().clone()
        del predicted  # what it hangs on in autograd cannot be captured
    found = torch.cat([parameter.grad.flatten().float().cpu() for parameter in lora.parameters()])  # type: ignore[union-attr]
    return velocity.float().cpu(), found


def distance(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||; NaN stays NaN."""
    return float((found - expected).norm() / expected.norm())


def cosine(found: Tensor, expected: Tensor) -> float:
    """Of 42 million numbers, which fp32 would sum to more than 1."""
    return float(torch.cosine_similarity(found.double(), expected.double(), dim=0))


def measure(size: ModelSize, device: torch.device, resolution: int) -> list[dict[str, Any]]:
    """A row per variant."""
    velocity, gradients = outcome(REFERENCE, size, device, resolution)
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        if device.type != "cuda" and variant.whose == "fused" and variant.scheme is None:
            continue  # fused blocks in bf16 need a CUDA card; float8 ones are emulated on the CPU
        release(device)
        row: dict[str, Any] = {"variant": variant.name, "resolution": resolution}
        try:
            own_velocity, own_gradients = outcome(variant, size, device, resolution)
            row |= {
                "prediction": distance(own_velocity, velocity),
                "lora_gradients": distance(own_gradients, gradients),
                "gradient_cosine": cosine(own_gradients, gradients),
            }
        except Exception as error:  # noqa: BLE001 - the other variants are still measured
            row["error"] = f"{type(error).__name__}: {str(error)[:200]}"
            traceback.print_exc()
        rows.append(row)
        print(row, flush=True)
    return rows


def release(device: torch.device) -> None:
    """Give the last variant's memory back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main(arguments: list[str] | None = None) -> int:
    """Measure every variant; returns how many could not be measured."""
    parser = argparse.ArgumentParser(description="Distance of prediction and LoRA gradients to diffusers in fp32.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--size", choices=("real", "tiny"), default="real", help="of the random model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, default=512)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = measure(model_size(options.size), device, options.resolution)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, {"device": name, "torch": torch.__version__, "revision": revision(), "rows": rows})
    return sum("error" in row for row in rows)


if __name__ == "__main__":
    sys.exit(main())
