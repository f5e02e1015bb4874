"""What every trial of `turbo_preserving_table.py` shares, computed once: pictures, probes, Turbo's own pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from regularization_table import blueprint
from torch import Tensor, nn

from slipstream.adapters.inject import select_targets
from slipstream.evaluation.judge import load_judge
from slipstream.flow.solvers import euler_sigmas
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRIGGER = "felt"
STEPS = 8
TARGETS = (
    "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0",
    "feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0",
)  # fmt: skip
FORMS = ("a {style} emoji of {concept}", "{concept}, {style} style", "a picture of {concept} in {style} style")
LEARNED_STYLES, JUDGED_STYLES = ("noto", "flat", "classic"), ("blob", "twemoji", "glossy")
"""Styles of the prompts that a method may hold on to, and of those it is judged by: no style and no subject is in
both."""


@dataclass(frozen=True)
class Trajectories:
    """Turbo's own way from noise to picture: states (N, 9, C, H, W), velocities (N, 8, C, H, W), caption features."""

    prompts: list[str]
    texts: list[Tensor]
    states: Tensor
    velocities: Tensor
    images: Tensor

    @property
    def noise(self) -> Tensor:
        """(N, C, H, W)."""
        return self.states[:, 0]


@dataclass(frozen=True)
class Inputs:
    """One task: what is learned (latents and captions), what may be held on to, and what is judged."""

    latents: Tensor
    texts: list[Tensor]
    class_texts: list[Tensor]
    pictures: Tensor
    sigmas: Tensor
    held: Trajectories
    captions: Trajectories
    without: Trajectories
    with_trigger: Trajectories
    concepts: list[int]
    covariances: dict[str, tuple[Tensor, Tensor]]


def load_pictures(task: str) -> tuple[Tensor, list[str]]:
    """Training pictures (N, 3, 128, 128) in [0, 1] and captions with `[trigger]`."""
    folder = EXAMPLES / ("robot_character" if task == "robot" else "foxy_style")
    pixels, captions = [], []
    for path in sorted(folder.glob("*.png")):
        picture = Image.open(path).convert("RGB")
        picture = blueprint(picture) if task == "blueprint" else picture.resize((128, 128), Image.Resampling.LANCZOS)
        pixels.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255)
        captions.append(path.with_suffix(".txt").read_text(encoding="utf-8").strip())
    return torch.stack(pixels), captions


def subjects_of(concepts: tuple[str, ...]) -> list[str]:
    """Subjects that are not trained on, in an order of their own."""
    trained = {path.stem.replace("-", " ") for path in (EXAMPLES / "foxy_style").glob("*.png")} | {"robot"}
    chosen = [concept for concept in concepts if concept not in trained]
    random.Random(1).shuffle(chosen)
    return chosen


def prompts_of(subjects: list[str], styles: tuple[str, ...]) -> list[str]:
    """One prompt a subject, styles and forms in turn."""
    return [
        FORMS[number % len(FORMS)].format(style=styles[number // len(FORMS) % len(styles)], concept=subject)
        for number, subject in enumerate(subjects)
    ]


@torch.no_grad()
def make_inputs(task: str, num_prompts: int, num_held: int, device: torch.device) -> Inputs:
    """Everything that the trials of a task share."""
    model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), device, torch.float32, torch.float32)
    encoder, codec, transformer = model.load_text_encoder(), model.load_codec(), model.load_transformer()
    predict, names = predictor(transformer), select_targets(transformer, "layers", TARGETS)
    judge = load_judge(TINY_ROOT / "judge")
    pixels, captions = load_pictures(task)
    subjects = subjects_of(judge.concepts)
    sigmas = euler_sigmas(STEPS, model.load_shift().at(64))

    def walk(prompts: list[str], first_seed: int) -> Trajectories:
        texts = [encoder.encode([prompt])[0] for prompt in prompts]
        seeds = range(first_seed, first_seed + len(prompts))
        noise = torch.stack([torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(s)) for s in seeds])
        states, velocities = walk_from(predict, noise.to(device), texts, sigmas)
        images = codec.decode(states[:, -1])
        return Trajectories(prompts, [t.cpu() for t in texts], states.cpu(), velocities.cpu(), images.cpu())

    judged, asked = subjects[:num_prompts], subjects[num_prompts : 2 * num_prompts]
    if task == "robot":
        styles = LEARNED_STYLES + JUDGED_STYLES
        asked_prompts = [FORMS[n % 3].format(style=styles[n % 6], concept=TRIGGER) for n in range(num_prompts)]
    else:
        asked_prompts = prompts_of(asked, (TRIGGER,))
    unrelated = prompts_of(subjects[2 * num_prompts : 2 * num_prompts + num_held], LEARNED_STYLES)
    named = [caption.replace("[trigger]", TRIGGER) for caption in captions]
    held, shown = walk(unrelated, 50_000), walk(named, 60_000)
    about_held, about_shown = (input_covariances(transformer, names, some, sigmas) for some in (held, shown))
    class_word = "person" if task == "robot" else "noto"
    return Inputs(
        latents=codec.encode(pixels.to(device) * 2 - 1).cpu(),
        texts=[encoder.encode([caption])[0].cpu() for caption in named],
        class_texts=[encoder.encode([c.replace("[trigger]", class_word)])[0].cpu() for c in captions],
        pictures=pixels,
        sigmas=sigmas,
        held=held,
        captions=shown,
        without=walk(prompts_of(judged, JUDGED_STYLES), 1_000),
        with_trigger=walk(asked_prompts, 2_000),
        concepts=[judge.concepts.index(subject) for subject in judged],
        covariances={name: (about_held[name].cpu(), about_shown[name].cpu()) for name in names},
    )


def walk_from(predict: Any, noise: Tensor, texts: list[Tensor], sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """States and velocities of Euler's steps, 16 pictures at a time."""
    all_states, all_velocities = [], []
    for start in range(0, len(noise), 16):
        latents, some = noise[start : start + 16], texts[start : start + 16]
        states, velocities = [latents], []
        for now, then in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
            velocity = predict(latents, torch.full((len(latents),), now, device=latents.device), some)
            latents = latents + (then - now) * velocity
            states.append(latents)
            velocities.append(velocity)
        all_states.append(torch.stack(states, 1))
        all_velocities.append(torch.stack(velocities, 1))
    return torch.cat(all_states), torch.cat(all_velocities)


@torch.no_grad()
def input_covariances(
    transformer: nn.Module, names: list[str], walk: Trajectories, sigmas: Tensor
) -> dict[str, Tensor]:
    """E[x x'] of the inputs x of each linear over Turbo's own trajectories, LoRA and adapter off."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + x.T @ x
            counts[name] = counts.get(name, 0) + len(x)

        return hook

    modules = dict(transformer.named_modules())
    handles = [modules[name].register_forward_pre_hook(watch(name)) for name in names]
    predict = predictor(transformer)
    device = next(transformer.parameters()).device
    for start in range(0, len(walk.texts), 16):
        for step, sigma in enumerate(sigmas[:-1].tolist()):
            states = walk.states[start : start + 16, step].to(device)
            predict(states, torch.full((len(states),), sigma, device=device), walk.texts[start : start + 16])
    for handle in handles:
        handle.remove()
    return {name: (total / counts[name]).float() for name, total in sums.items()}
