"""What quantized weights cost: errors of the prediction and of the LoRA's gradients against full precision.

    python benchmarks/quantization_accuracy.py                        # the tiny family's trained weights, any machine
    python benchmarks/quantization_accuracy.py --size real            # random weights of the real size: 60 GiB, 100 s

Rows: every format of the weights x the precision of their products x the training adapter (none; a live branch beside
the weights; merged into them before they are packed). Without the adapter the reference is the model in fp32, with it
the model in fp32 with the live branch. Weights as they are stored are the same for all, and so is a random LoRA.

The trained model predicts pictures of the style example with their captions, and its gradients are those of the
training's loss. The random one gets random inputs and a random gradient; random weights amplify rounding more than
trained ones do. Figures are means over noise levels; each level has its own as well.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from slipstream.core.environment import prepare_environment

prepare_environment()
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch  # noqa: E402
from minimal_loop import encode_everything, load_data  # noqa: E402
from outcomes import Batch, Outcome, Variant, cosine, distance, outcomes, random_batch, release  # noqa: E402
from random_model import empty_transformer, model_size, random_adapter, random_transformer  # noqa: E402
from results import RESULTS, merge, revision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.adapters.files import load_lora  # noqa: E402
from slipstream.adapters.folding import FoldedBranches, FoldedPacks, dense_hosts  # noqa: E402
from slipstream.adapters.inject import inject_weights  # noqa: E402
from slipstream.adapters.training_adapter import ROLE  # noqa: E402
from slipstream.models.z_image.family import ZImage  # noqa: E402
from slipstream.models.z_image.resolve import resolve_adapter, resolve_parts  # noqa: E402
from slipstream.precision.placing import Watch  # noqa: E402
from slipstream.precision.schemes import FLOAT8_SCHEME, SCHEMES  # noqa: E402

Products = Literal["fp32", "bf16", "float8"]
AdapterPlace = Literal["none", "live", "merged"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TRAINED_LEVELS, RANDOM_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9), (0.3, 0.7)
PICTURES = 6
DENSE = "dense"


@dataclass(frozen=True)
class Case:
    """One row: the format of the weights (None is dense), the precision of products, where the adapter is."""

    weights: str | None
    products: Products
    adapter: AdapterPlace

    def facts(self) -> dict[str, str]:
        """As the results have it."""
        return {"weights": self.weights or DENSE, "products": self.products, "adapter": self.adapter}


@dataclass(frozen=True)
class Source:
    """A model that can be loaded in any precision, with what it is asked.

    Attributes:
        model: what the results call it.
        resolution: of the pictures, in pixels of the real size or of the tiny one.
        load: (dtype, scheme, watch) -> the frozen transformer.
        adapter: A and B of the training adapter, by module.
        batches: noise level to batch.
    """

    model: str
    resolution: int
    load: Callable[[torch.dtype, str | None, Watch], nn.Module]
    adapter: Mapping[str, Mapping[str, Tensor]]
    batches: Mapping[float, Batch]


def trained(device: torch.device) -> Source:
    """tiny/turbo with adapter v2, and pictures of the style example."""
    family = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), device, torch.float32, torch.float32)
    dataset = load_data()
    latents, texts = encode_everything(family, dataset)
    chosen = [one for one in dataset.examples if one.bucket.width == one.bucket.height][:PICTURES]
    clean = torch.stack([latents[example.index] for example in chosen]).to(device)
    captions = [texts[example.caption].to(device) for example in chosen]
    generator = torch.Generator().manual_seed(4)
    batches = {}
    for sigma in TRAINED_LEVELS:
        noise = torch.randn(clean.shape, generator=generator).to(device)
        sigma_B = torch.full((len(chosen),), sigma, device=device)
        batches[sigma] = Batch((1 - sigma) * clean + sigma * noise, sigma_B, captions, loss_gradient(noise - clean))

    def load(dtype: torch.dtype, scheme: str | None, watch: Watch) -> nn.Module:
        return replace(family, transformer_dtype=dtype, transformer_scheme=scheme).load_transformer(watch=watch)

    adapter = load_lora(resolve_adapter("tiny/adapters/training_adapter_v2.safetensors")).modules
    return Source("tiny/turbo, trained", chosen[0].bucket.width, load, adapter, batches)


def loss_gradient(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Of the mean squared error by the velocity."""
    return lambda velocity: 2 * (velocity - target) / target.numel()


def random_weights_of(name: str, device: torch.device, resolution: int) -> Source:
    """Random weights of a size, with a random training adapter (rank 64 at the real size)."""
    size = model_size(name)

    def load(dtype: torch.dtype, scheme: str | None, watch: Watch) -> nn.Module:
        return random_transformer(size, device, dtype, scheme, watch, stored=torch.bfloat16)

    shapes = empty_transformer(size)
    batches = {sigma: random_batch(shapes, size, device, resolution, sigma) for sigma in RANDOM_LEVELS}
    adapter = {
        module: {"lora_A.weight": down, "lora_B.weight": up}
        for module, (down, up) in random_adapter(size, device).items()
    }
    return Source(f"{name} size, random", resolution, load, adapter, batches)


REFERENCES = (Case(None, "fp32", "none"), Case(None, "fp32", "live"))


def cases(*, every: bool) -> list[Case]:
    """All rows; where not every one, fp32 products without the adapter alone."""
    found = []
    places: tuple[AdapterPlace, ...] = ("none", "merged", "live")
    for adapter in places:
        for weights in (*SCHEMES, None):
            products: list[Products] = ["fp32", "bf16"] if every or adapter == "none" else ["bf16"]
            if weights == FLOAT8_SCHEME:
                products.append("float8")
            found += [Case(weights, one, adapter) for one in products]
    return [case for case in found if case not in REFERENCES]


def found_by(case: Case, source: Source, device: torch.device) -> list[Outcome]:
    """Velocity and gradients of every batch."""
    full: Products = "bf16" if device.type == "cuda" else "fp32"
    dtype = DTYPES[full if case.products == "float8" else case.products]
    is_merged = case.adapter == "merged"
    packs = FoldedPacks(source.adapter, case.weights, device) if is_merged and case.weights else None
    model = source.load(dtype, case.weights, packs.watch if packs is not None else lambda *_: None)
    if case.adapter != "none":
        branches, _ = inject_weights(model, source.adapter, role=ROLE, source="the training adapter")
        if is_merged:
            FoldedBranches(branches, dense_hosts(branches), device)
        if packs is not None:
            packs.fold_into(branches)
    del packs
    fused = case.products == "float8"
    variant = Variant("", dtype, "fused" if fused else "modules", FLOAT8_SCHEME if fused else case.weights)
    return outcomes(model, variant, device, list(source.batches.values()))


def errors(found: Sequence[Outcome], expected: Sequence[Outcome], levels: Sequence[float]) -> dict[str, Any]:
    """Relative errors and the gradients' cosine: their means, and by noise level."""
    by_level = {
        str(sigma): {
            "prediction": distance(own[0], full[0]), "lora_gradients": distance(own[1], full[1]),
            "gradient_cosine": cosine(own[1], full[1]),
        }
        for sigma, own, full in zip(levels, found, expected, strict=True)
    }  # fmt: skip
    names = next(iter(by_level.values()))
    means = {name: fmean(level[name] for level in by_level.values()) for name in names}
    return means | {"by_noise_level": by_level}


def measure(source: Source, device: torch.device, chosen: Sequence[Case], seconds: float, out: Path) -> int:
    """Measure and write row by row; returns how many could not be measured."""
    ends = time.monotonic() + seconds
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    facts = {"device": name, "torch": torch.__version__, "revision": revision(), "model": source.model}
    full: dict[Case, list[Outcome]] = {}
    failed = 0
    for case in chosen:
        row: dict[str, Any] = facts | {"resolution": source.resolution} | case.facts()
        release(device)
        started = time.monotonic()
        try:
            if started > ends:
                raise TimeoutError(f"not begun within {seconds:.0f} s")
            reference = REFERENCES[case.adapter != "none"]
            if reference not in full:
                full[reference] = found_by(reference, source, device)
                release(device)
            row |= errors(found_by(case, source, device), full[reference], list(source.batches))
        except Exception as error:  # noqa: BLE001 - the other rows are still measured
            row["error"] = f"{type(error).__name__}: {str(error)[:200]}"
            traceback.print_exc()
            failed += 1
        shown = {key: value for key, value in row.items() if key not in (*facts, "by_noise_level")}
        print(f"{time.monotonic() - started:5.1f} s  {shown}", flush=True)
        merge(out, [row])
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns how many rows could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "quantization_accuracy.json", help="rows go in there")
    parser.add_argument("--size", choices=("tiny", "real", "tiny-random"), default="tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, default=512, help="of random models")
    parser.add_argument(
        "--weights", nargs="+", choices=(*SCHEMES, DENSE), default=(*SCHEMES, DENSE), help="rows of these"
    )
    parser.add_argument("--seconds", type=float, default=80, help="no row begins after that")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    is_trained = options.size == "tiny"
    size = options.size.removesuffix("-random")
    source = trained(device) if is_trained else random_weights_of(size, device, options.resolution)
    chosen = [case for case in cases(every=is_trained) if (case.weights or DENSE) in options.weights]
    return measure(source, device, chosen, options.seconds, options.out)


if __name__ == "__main__":
    sys.exit(main())
