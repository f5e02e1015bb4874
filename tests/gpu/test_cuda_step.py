"""The tiny family on CUDA in bf16: the same update as on the CPU, up to rounding."""

from __future__ import annotations

import pytest
import torch

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
from slipstream.previews.render import Picture, Renderer, render

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

CAPTIONS = ("a noto emoji of cat", "a blob emoji of fire")


def family(device: str) -> ZImage:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), torch.device(device), dtype, dtype)


def losses_on(device: str, tiny, updates: int, optimizer: str = "adamw") -> tuple[list[float], torch.Tensor]:
    """Losses of seeded updates with the training adapter active, and the LoRA after them."""
    from slipstream.data.loader import TrainingBatch
    from slipstream.flow.densities import NoiseLevels
    from slipstream.objectives.settings import ObjectiveSettings
    from slipstream.training.checkpoint import TrainingState
    from slipstream.training.ema import Ema
    from slipstream.training.optimizers import OptimizerSettings, build_optimizer, choose_optimizer
    from slipstream.training.step import StepSettings, train_step

    transformer = family(device).load_transformer()
    attach_training_adapter(transformer, TINY_ROOT / "adapters" / "training_adapter_v2.safetensors")
    lora = inject_lora(
        transformer, select_targets(transformer, "layers", ("to_q", "to_v", "w2")), rank=8, alpha=8.0, seed=1
    )
    choice = choose_optimizer(OptimizerSettings(optimizer, learning_rate=1e-3))
    built = build_optimizer(choice, lora.parameter_groups(), torch.device(device))
    state = TrainingState(lora, built, Ema(lora.parameters(), 0.9))
    latents = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(11))
    batch = TrainingBatch(latents, [tiny.features(caption) for caption in CAPTIONS], (0, 1))
    settings = StepSettings(7, 1, 2, 1.0, torch.device(device), NoiseLevels("sigmoid"), ObjectiveSettings())
    step = lambda: train_step(state, lambda _: batch, predictor(transformer), settings, 1e-3).loss  # noqa: E731
    losses = [step() for _ in range(updates)]
    return losses, torch.cat([parameter.detach().flatten().cpu() for parameter in lora.parameters()])


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
def test_updates_on_cuda_follow_those_on_the_cpu(tiny, optimizer):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    reference, reference_lora = losses_on("cpu", tiny, 5, optimizer)
    losses, lora = losses_on("cuda", tiny, 5, optimizer)
    assert losses == pytest.approx(reference, rel=0.03)
    assert torch.nn.functional.cosine_similarity(lora, reference_lora, dim=0) > 0.95


def test_updates_on_cuda_repeat(tiny):
    assert losses_on("cuda", tiny, 3)[0] == pytest.approx(losses_on("cuda", tiny, 3)[0], rel=1e-3)


def test_a_picture_on_cuda_looks_like_the_one_on_the_cpu(tiny):
    wanted = Picture("a noto emoji of cat", "", 128, 128, 17, 8, 0.0)
    cuda = family("cuda")
    renderer = Renderer(
        predict=predictor(cuda.load_transformer()), decode=cuda.load_codec().decode, features=tiny.features,
        shift_at=cuda.load_shift().at, device=torch.device("cuda"),
    )  # fmt: skip
    ((_, there),), ((_, here),) = render(renderer, [wanted]), render(tiny.renderer(), [wanted])
    assert (there.cpu() - here).abs().mean() < 0.03
