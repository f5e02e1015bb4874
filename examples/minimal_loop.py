"""The trainer without its comforts: read this first. It meets the same losses, update by update, as

    slipstream train examples/style.yaml training.lr_schedule=constant

No caches on disk, no resume, no checkpoints, no reports; one bucket at a time, batch after batch, top to bottom.

    python examples/minimal_loop.py --steps 20 --out my_lora.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.core.seeding import derive_seed
from slipstream.data.crops import View
from slipstream.data.dataset import Dataset, build_dataset
from slipstream.data.loader import fresh_latents
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import DatasetSettings
from slipstream.flow.densities import NoiseLevels
from slipstream.models.z_image.family import ADAPTER_ROOT, ZImage, predictor
from slipstream.models.z_image.resolve import resolve_adapter, resolve_parts
from slipstream.objectives.velocity import velocity_loss
from slipstream.training.draws import draw_step

HERE = Path(__file__).parent
TARGETS = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
)  # fmt: skip
LEVELS = NoiseLevels("weighted", "balanced")
SEED, BATCH, RANK, LEARNING_RATE = 42, 2, 16, 5e-4


def load_data() -> Dataset:
    """24 pictures of one style; `[trigger]` in their captions becomes the trigger word."""
    return build_dataset([DatasetSettings(HERE / "foxy_style", resolutions=(128,), trigger_word="felt")])


def encode_everything(model: ZImage, dataset: Dataset) -> tuple[dict[int, Tensor], dict[str, Tensor]]:
    """Latents by example and text features by caption; both encoders are gone afterwards."""
    latents_of = fresh_latents(model.load_codec().encode)
    latents = {example.index: latents_of(example, View()) for example in dataset.examples}
    encoder = model.load_text_encoder()
    texts = {caption: encoder.encode([caption])[0] for caption in dataset.captions()}
    return latents, texts


def train(steps: int, out: Path | None) -> list[float]:
    """Train and return the loss of every update."""
    # 1. The model: Turbo's parts, on the GPU in bf16 where there is one, on the CPU in fp32 otherwise.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), device, dtype, dtype)

    # 2. The data: every picture and caption is encoded once.
    dataset = load_data()
    latents, texts = encode_everything(model, dataset)
    sampler = BucketSampler(dataset, BATCH, SEED)

    # 3. The transformer, frozen. The training adapter un-distils Turbo while we train; our LoRA sits beside it.
    transformer = model.load_transformer()
    adapter = attach_training_adapter(transformer, resolve_adapter("tiny/adapters/training_adapter_v2.safetensors"))
    names = select_targets(transformer, ADAPTER_ROOT, TARGETS)
    lora = inject_lora(transformer, names, rank=RANK, alpha=RANK, seed=SEED)
    print(f"training adapter: {adapter.matched}; LoRA on {len(names)} modules")

    # 4. The loop: noise the latents, predict the velocity noise - clean, step.
    optimizer = torch.optim.AdamW(lora.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    predict = predictor(transformer)
    losses = []
    for step in range(steps):
        draws = sampler.draw(step)
        clean = torch.stack([latents[draw.example_index] for draw in draws]).to(device)
        drawn = [(dataset.examples[draw.example_index], draw.dropped) for draw in draws]
        captions = [example.dropped_caption if dropped else example.caption for example, dropped in drawn]
        noise, sigma = draw_step(
            seed=derive_seed(SEED, "training"), step=step, first_sample=0, like_BCHW=clean,
            levels=LEVELS,
        )  # fmt: skip
        loss = velocity_loss(
            lambda noisy, sigma_B, captions=captions: predict(noisy, sigma_B, [texts[c] for c in captions]),
            clean, noise.to(device), sigma.to(device), timestep_type=LEVELS.timestep_type,
        ).loss  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        print(f"step {step + 1}: loss {losses[-1]:.4f}")

    # 5. The file holds our LoRA alone; the training adapter stays here.
    if out is not None:
        save_lora(out, lora, torch.bfloat16, {"base_model": "tiny/turbo"})
        print(f"wrote {out}: use it on Turbo at 8 steps, guidance 0")
    return losses


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("minimal_lora.safetensors"))
    arguments = parser.parse_args()
    train(arguments.steps, arguments.out)


if __name__ == "__main__":
    main()
