"""One trial of `turbo_preserving_table.py`: train a LoRA by some method, draw with it now and then, judge."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from commands import save_grid
from torch import Tensor, nn
from torch.nn.utils import parametrize
from turbo_preserving_inputs import TARGETS, Inputs, Trajectories, walk_from

from slipstream.adapters.inject import inject_lora, select_targets
from slipstream.adapters.training_adapter import attach_training_adapter, no_training_adapter
from slipstream.core.seeding import derive_seed
from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import load_judge
from slipstream.evaluation.sharpness import relative_sharpness
from slipstream.flow.densities import NoiseLevels
from slipstream.flow.weights import loss_weights
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_adapter, resolve_parts
from slipstream.training.draws import draw_step


@dataclass(frozen=True)
class Method:
    """How a LoRA is trained; the defaults are plain training with adapter v2.

    Attributes:
        adapter: `v1`, `v2`, or `none`.
        strength: of the adapter: a number, `fade` (1 to 0), `rise` (0 to 1), `random` (0 or 1 by update), `uniform`.
        pull: weight of |velocity with LoRA - Turbo's own|^2 at states of Turbo's own trajectories of unrelated prompts,
            adapter off.
        pull_every: updates between pulls, which weigh as many times more.
        pull_samples: states a pull.
        pull_with_adapter: the same states, but adapter on, towards Turbo with adapter.
        pull_relative: |...|^2 over |Turbo's own|^2.
        pull_steps: the first so many of the 8 steps.
        pull_prompts: so many of the prompts.
        pull_noised: at Turbo's noised pictures instead of its trajectories, all noise levels alike.
        dop: weight of differential output preservation (the product's own).
        residual: Turbo + LoRA learns Turbo's velocity plus what the data differs from Turbo + adapter.
        tail: share of the updates at the end that only pull.
        excluded: parts of names of linears without LoRA.
        max_sigma: pictures are not trained above it.
        null: strength of keeping A from directions of unrelated prompts (A's rows go through a fixed matrix).
        off_adapter: A's rows at right angles to those of the adapter's A.
        after: (amount, LoRA weight) of the closed-form change after training that the last checkpoint is judged at.
    """

    adapter: str = "v2"
    strength: float | str = 1.0
    pull: float = 0.0
    pull_every: int = 1
    pull_samples: int = 2
    pull_with_adapter: bool = False
    pull_relative: bool = False
    pull_steps: int = 8
    pull_prompts: int = 96
    pull_noised: bool = False
    dop: float = 0.0
    residual: bool = False
    tail: float = 0.0
    excluded: tuple[str, ...] = ()
    max_sigma: float = 1.0
    null: float = 0.0
    off_adapter: bool = False
    after: tuple[tuple[float, float], ...] = ()
    weight_decay: float = 1e-4
    learning_rate: float = 1e-3
    rank: int = 16
    checkpoints: tuple[int, ...] = (15, 40, 100, 240)


class Through(nn.Module):
    """A's rows times a fixed matrix."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, a: Tensor) -> Tensor:
        """(rank, in) -> (rank, in)."""
        return a @ self.matrix


class Bench:
    """Inputs and parts on a device."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self.inputs, self.device = inputs, device
        self.model = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), device, torch.float32, torch.float32)
        self.codec, self.judge = self.model.load_codec(), load_judge(TINY_ROOT / "judge", device)
        self.way = (self._features(inputs.pictures) - self._features(inputs.captions.images)).mean(0)

    def _features(self, images: Tensor) -> Tensor:
        return self.judge.features(images.to(self.device)).cpu()

    @torch.no_grad()
    def draw(self, predict: Any, walk: Trajectories) -> Tensor:
        """Turbo's 8 steps with the LoRA, on the CPU."""
        states, _ = walk_from(predict, walk.noise.to(self.device), walk.texts, self.inputs.sigmas)
        return self.codec.decode(states[:, -1]).cpu()

    @torch.no_grad()
    def judged(self, predict: Any, grid: Path | None = None) -> dict[str, float]:
        """Figures of Turbo with the LoRA; the first pictures go into a file."""
        inputs = self.inputs
        without, asked = self.draw(predict, inputs.without), self.draw(predict, inputs.with_trigger)
        if grid is not None:
            save_grid([torch.cat((asked[:6], without[:6]))], grid)
        features = {"without": self._features(without), "own": self._features(inputs.without.images)}
        gone = self._features(asked).mean(0) - self._features(inputs.with_trigger.images).mean(0)
        bled = features["without"].mean(0) - features["own"].mean(0)
        length = self.way.square().sum()
        right = self.judge.concept_logits(without.to(self.device)).argmax(1).cpu() == torch.tensor(inputs.concepts)
        sigma = float(inputs.sigmas[1])
        states = inputs.without.states[:16, 1].to(self.device)
        own = inputs.without.velocities[:16, 1].to(self.device)
        changed = predict(states, torch.full((len(states),), sigma, device=self.device), inputs.without.texts[:16])
        return {
            "style": float(gone @ self.way / length),
            "bleed": float(bled @ self.way / length),
            "frechet": frechet_distance(features["without"], features["own"]),
            "paired": float((features["without"] - features["own"]).square().sum(1).mean()),
            "right": float(right.float().mean()),
            "sharpness": relative_sharpness(without, inputs.without.images),
            "asked_sharpness": relative_sharpness(asked, inputs.pictures),
            "to_pictures": frechet_distance(self._features(asked), self._features(inputs.pictures)),
            "velocity": float((changed - own).norm() / own.norm()),
        }


def run_trial(
    bench: Bench, method: Method, seed: int, grids: Path, tell: Callable[[list[dict[str, float]]], None]
) -> list[dict[str, float]]:
    """Train and judge at every checkpoint; rows with `update` and, after a closed-form change, `after` and `weight`.

    `tell` is given all rows so far, so that a trial that is cut off leaves what it has.
    """
    device, inputs = bench.device, bench.inputs
    transformer = bench.model.load_transformer()
    names = [n for n in select_targets(transformer, "layers", TARGETS) if not any(x in n for x in method.excluded)]
    seen = {}
    if method.null or method.after:
        seen = {name: tuple(c.to(device) for c in inputs.covariances[name]) for name in names}
    adapter = no_training_adapter()
    if method.adapter != "none":
        place = f"tiny/adapters/training_adapter_{method.adapter}.safetensors"
        adapter = attach_training_adapter(transformer, resolve_adapter(place))
    lora = inject_lora(transformer, names, rank=method.rank, alpha=method.rank, seed=seed)
    for name in names:
        if method.null:
            matrix = keeper(*seen[name], method.null)
            matrix = matrix * len(matrix) ** 0.5 / matrix.norm()  # A as long as usual on average
            parametrize.register_parametrization(lora.branches[name], "a", Through(matrix), unsafe=True)
        elif method.off_adapter and adapter.branches is not None and name in adapter.branches.branches:
            basis = torch.linalg.svd(adapter.branches.branches[name].a.float(), full_matrices=False)[2]
            matrix = torch.eye(basis.shape[1], device=device) - basis.T @ basis
            parametrize.register_parametrization(lora.branches[name], "a", Through(matrix), unsafe=True)
    predict = predictor(transformer)
    parameters = [p for name in names for p in lora.branches[name].parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=method.learning_rate, weight_decay=method.weight_decay)
    dice, rows, began = random.Random(derive_seed(seed, "pull")), [], time.monotonic()
    last = method.checkpoints[-1]
    seconds = 0.0
    for step in range(last):
        began = time.monotonic()
        if adapter.branches is not None:
            adapter.branches.set_strength(strength_at(method.strength, step / last, dice))
        optimizer.zero_grad(set_to_none=True)
        if step < last * (1 - method.tail):
            picture_loss(bench, method, predict, lora, adapter, seed, step).backward()
        if method.pull and step % method.pull_every == 0:
            (method.pull * method.pull_every * pull_loss(bench, method, predict, lora, adapter, dice)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seconds += time.monotonic() - began
        if step + 1 in method.checkpoints:
            with adapter.removed():
                grid = grids.with_name(f"{grids.name}__{step + 1}.webp")
                rows.append({"update": step + 1, "seconds": seconds, **bench.judged(predict, grid)})
                tell(rows)
    for amount, weight in method.after:
        matrices = {name: keeper(*seen[name], amount) * weight for name in names}
        with adapter.removed(), multiplied(lora, matrices):
            grid = grids.with_name(f"{grids.name}__{last}_{amount:g}_{weight:g}.webp")
            rows.append({"update": last, "after": amount, "weight": weight, **bench.judged(predict, grid)})
        tell(rows)
    return rows


@contextmanager
@torch.no_grad()
def multiplied(lora: Any, matrices: dict[str, Tensor]) -> Iterator[None]:
    """A times a matrix in every branch, for the length of a block."""
    before = {name: lora.branches[name].a.detach().clone() for name in matrices}
    for name, matrix in matrices.items():
        lora.branches[name].a.copy_(before[name] @ matrix)
    yield
    for name, a in before.items():
        lora.branches[name].a.copy_(a)


def keeper(held: Tensor, asked: Tensor, amount: float) -> Tensor:
    """M with A' = A M: the least |(A' - A) x|^2 over inputs of the concept's prompts plus amount |A' x|^2 over
    unrelated ones, scaled alike."""
    held = held / held.trace()
    asked = asked / asked.trace()
    ridge = 1e-5 * torch.eye(len(held), device=held.device) / len(held)
    return torch.linalg.solve((asked + amount * held + ridge).double(), (asked + ridge).double()).T.float()


def strength_at(strength: float | str, progress: float, dice: random.Random) -> float:
    """The adapter's strength in an update."""
    if isinstance(strength, str):
        drawn = dice.random()
        return {"fade": 1 - progress, "rise": progress, "random": float(drawn < 0.5), "uniform": drawn}[strength]
    return strength


def picture_loss(bench: Bench, method: Method, predict: Any, lora: Any, adapter: Any, seed: int, step: int) -> Tensor:
    """The flow loss of two pictures, and DOP where asked for."""
    inputs, device = bench.inputs, bench.device
    count = len(inputs.texts)
    chosen = [random.Random(derive_seed(seed, "order", (2 * step + i) // count)).sample(range(count), count)[
        (2 * step + i) % count] for i in range(2)]  # fmt: skip
    clean, texts = inputs.latents[chosen], [inputs.texts[c] for c in chosen]
    levels = NoiseLevels("weighted", "balanced", max_noise=method.max_sigma)
    noise, sigma = draw_step(seed=seed, step=step, first_sample=0, like_BCHW=clean, levels=levels)
    clean, noise, sigma = clean.to(device), noise.to(device), sigma.to(device)
    where = sigma[:, None, None, None]
    noisy, target = (1 - where) * clean + where * noise, noise - clean
    weights = loss_weights("weighted", sigma)
    if method.residual:
        with torch.no_grad(), lora.disabled():
            target = target - predict(noisy, sigma, texts)
            with adapter.removed():
                target = target + predict(noisy, sigma, texts)
        with adapter.removed():
            prediction = predict(noisy, sigma, texts)
    else:
        prediction = predict(noisy, sigma, texts)
    loss = ((prediction - target).square().mean((1, 2, 3)) * weights).mean()
    if method.dop:
        kept = [inputs.class_texts[c] for c in chosen]
        with torch.no_grad(), lora.disabled():
            original = predict(noisy, sigma, kept)
        loss = loss + method.dop * F.mse_loss(predict(noisy, sigma, kept), original)
    return loss


def pull_loss(bench: Bench, method: Method, predict: Any, lora: Any, adapter: Any, dice: random.Random) -> Tensor:
    """|velocity with LoRA - without|^2 at states of Turbo's own trajectories."""
    inputs, device = bench.inputs, bench.device
    walk = inputs.held
    few = min(method.pull_prompts, len(walk.texts))
    chosen = [(dice.randrange(few), dice.randrange(method.pull_steps)) for _ in range(method.pull_samples)]
    states = torch.stack([walk.states[n, s] for n, s in chosen]).to(device)
    sigma = torch.stack([inputs.sigmas[s] for _, s in chosen]).to(device)
    texts = [walk.texts[n] for n, _ in chosen]
    if method.pull_with_adapter:
        with torch.no_grad(), lora.disabled():
            own = predict(states, sigma, texts)
        return F.mse_loss(predict(states, sigma, texts), own)
    own = torch.stack([walk.velocities[n, s] for n, s in chosen]).to(device)
    if method.pull_noised:
        clean = torch.stack([walk.states[n, -1] for n, _ in chosen]).to(device)
        sigma = torch.tensor([dice.random() for _ in chosen], device=device)
        noise = torch.stack([walk.states[dice.randrange(few), 0] for _ in chosen]).to(device)
        states = clean + sigma[:, None, None, None] * (noise - clean)
        with torch.no_grad(), lora.disabled(), adapter.removed():
            own = predict(states, sigma, texts)
    with adapter.removed():
        difference = (predict(states, sigma, texts) - own).square().mean((1, 2, 3))
    if method.pull_relative:
        difference = difference / own.square().mean((1, 2, 3))
    return difference.mean()
