"""What stratified noise levels do to an update: the variance of its mean loss and of its gradient.

    python recipes/tiny_family/stratified_table.py --updates 100

A LoRA on Turbo (adapter v2 active) that has been trained for a few updates meets the same eight pictures again and
again; only noise and noise levels differ. Prints, for each timestep type and with strata off and on, the variance over
updates of the mean loss and of the gradient (the sum of its elements' variances).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.data.crops import View
from slipstream.data.dataset import build_dataset
from slipstream.data.loader import TrainingBatch, fresh_latents
from slipstream.data.settings import DatasetSettings
from slipstream.flow.densities import NoiseLevels
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
from slipstream.objectives.settings import ObjectiveSettings
from slipstream.training.checkpoint import TrainingState
from slipstream.training.step import StepSettings, train_step

PICTURES = Path(__file__).resolve().parents[2] / "examples/foxy_style"
TYPES = ("linear", "weighted", "sigmoid", "shift")
BATCH = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    cpu = torch.device("cpu")
    model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), cpu, torch.float32, torch.float32)
    dataset = build_dataset([DatasetSettings(PICTURES, resolutions=(64,), trigger_word="felt")])
    latents_of, encoder = fresh_latents(model.load_codec().encode), model.load_text_encoder()
    examples = dataset.examples[:BATCH]
    batch = TrainingBatch(
        torch.stack([latents_of(example, View()) for example in examples]),
        [encoder.encode([example.captions[0].text])[0] for example in examples],
        tuple(range(BATCH)),
    )
    transformer = model.load_transformer()
    attach_training_adapter(transformer, TINY_ROOT / "adapters/training_adapter_v2.safetensors")
    lora = inject_lora(
        transformer, select_targets(transformer, "layers", ("to_q", "to_v", "w2")), rank=8, alpha=8.0, seed=1
    )
    predict = predictor(transformer)
    settings = StepSettings(3, 1, BATCH, 0.0, cpu, NoiseLevels(), ObjectiveSettings())
    warm = TrainingState(lora, torch.optim.AdamW(lora.parameters()), None)
    for _ in range(20):
        train_step(warm, lambda _: batch, predict, settings, 1e-3)

    def variance(levels: NoiseLevels) -> dict[str, float]:
        state = TrainingState(lora, torch.optim.SGD(lora.parameters(), lr=0.0), None)
        losses, gradients = [], []
        for _ in range(arguments.updates):
            losses.append(train_step(state, lambda _: batch, predict, replace(settings, levels=levels), 0.0).loss)
            gradients.append(torch.cat([p.grad.flatten() for p in lora.parameters() if p.grad is not None]))
        return {"loss": float(torch.tensor(losses).var()), "gradient": float(torch.stack(gradients).var(dim=0).sum())}

    figures = {}
    print("| type | variance of the loss | with strata | of the gradient | with strata |\n|---|---|---|---|---|")
    for name in TYPES:
        alone, strata = (variance(NoiseLevels(name, stratified=on)) for on in (False, True))
        figures[name] = {"independent": alone, "stratified": strata}
        cells = [f"{alone[k]:.3g} | {strata[k]:.3g} ({strata[k] / alone[k]:.0%})" for k in ("loss", "gradient")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"updates": arguments.updates, "batch": BATCH, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
