"""How far the product's prediction and LoRA gradients are from diffusers' own forward in fp32, on random weights.

    python benchmarks/equality.py --out equality.json                 # real size: one card with 60 GiB
    python benchmarks/equality.py --size tiny --out equality.json     # a dry run on any machine

All variants have the same bf16 weights, fp32 ones the same numbers in fp32, and the same LoRA, batch and gradient of
the output. Random weights amplify rounding more than trained ones do: compare variants with each other.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from outcomes import Outcome, Variant, cosine, distance, outcomes, random_batch, release  # noqa: E402
from random_model import ModelSize, model_size, random_transformer  # noqa: E402
from results import revision  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402

SIGMA = 0.6
REFERENCE = Variant("diffusers, fp32", torch.float32, "diffusers")
VARIANTS = (
    Variant("slipstream, fp32, module by module", torch.float32, "modules"),
    Variant("diffusers, bf16", torch.bfloat16, "diffusers"),
    Variant("slipstream, bf16, module by module", torch.bfloat16, "modules"),
    Variant("slipstream, bf16, fused", torch.bfloat16, "fused"),
    Variant("slipstream, float8, fused", torch.bfloat16, "fused", "float8"),
)


def outcome(variant: Variant, size: ModelSize, device: torch.device, resolution: int) -> Outcome:
    """Of one batch, on the random model."""
    stored = torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = stored if variant.scheme is not None else variant.dtype
    model = random_transformer(size, device, dtype, variant.scheme, stored=stored)
    (found,) = outcomes(model, variant, device, [random_batch(model, size, device, resolution, SIGMA)])
    return found


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
