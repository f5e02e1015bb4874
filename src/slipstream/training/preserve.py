"""A trained LoRA, turned away from what Turbo sees on unrelated prompts (`adapters.projection`): what needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import LoraFile, load_lora, save_lora
from slipstream.adapters.folding import is_plain
from slipstream.adapters.inject import inject_weights
from slipstream.adapters.low_rank import LowRank
from slipstream.adapters.projection import in_groups, projected, second_moments
from slipstream.core.errors import AdapterError
from slipstream.drawings.request import Base
from slipstream.evaluation.drift import STEPS, Predict, Probe, lay_probes
from slipstream.flow.solvers import euler_sigmas
from slipstream.models.z_image.family import MODULE_ALIASES, ZImage, predictor, release_memory
from slipstream.training.drawing_model import Told, settle_drawing_model

_CHANNELS, _DOWNSCALE = 16, 8
_AT_ONCE = 4
_MOST_BYTES = 4 * 2**30
"""Of second moments at once: with more modules the same predictions are made again for the next ones."""
_CONCEPT_SEED, _UNRELATED_SEED = 600_000, 500_000
METADATA = "turbo_preserved"


@dataclass(frozen=True)
class Preserving:
    """What to do with a LoRA file.

    Attributes:
        lora: the file.
        out: the new file.
        concept: prompts that ask for what was trained.
        unrelated: prompts that do not.
        amount: weight of staying away from the unrelated ones.
        weight: factor on the LoRA afterwards, which is weaker by then.
        side: width and height of the pictures whose steps are looked at.
    """

    lora: Path
    out: Path
    concept: tuple[str, ...]
    unrelated: tuple[str, ...]
    amount: float
    weight: float
    side: int


@dataclass(frozen=True)
class Changed:
    """How much of the LoRA is left, before `weight`: |A' x| over |A x|, root of the mean square over modules and the
    inputs x of either kind of prompts."""

    modules: int
    concept_kept: float
    unrelated_kept: float


@torch.no_grad()
def preserve_turbo(asked: Preserving, base: Base, device: str, told: Told) -> Changed:
    """Write the LoRA anew.

    Raises:
        AdapterError: the file does not fit the base, or holds another kind than plain LoRAs.
    """
    file = load_lora(asked.lora)
    model = settle_drawing_model(base, device, told).model
    texts = _encoded(model, dict.fromkeys((*asked.concept, *asked.unrelated)), told)
    transformer = model.load_transformer(told.reading("load transformer"))
    branches, line = inject_weights(
        transformer, file.modules, role="lora", source=str(asked.lora), aliases=MODULE_ALIASES
    )
    _require_plain(branches, asked.lora)
    told.log(f"{asked.lora.name}: {line}")
    predict, side = predictor(transformer), asked.side // _DOWNSCALE
    groups = list(in_groups(branches.hosts, _MOST_BYTES))
    walk = _Walk(predict, texts, told, len(groups), len(asked.concept) + len(asked.unrelated))
    with branches.disabled():
        concept = walk.drawn(model, asked.concept, _CONCEPT_SEED, side)
        unrelated = walk.drawn(model, asked.unrelated, _UNRELATED_SEED, side)
        kept = [_project(branches, group, walk, concept, unrelated, asked) for group in groups]
    each = [pair for pairs in kept for pair in pairs]
    about = {**file.metadata, METADATA: f"amount {asked.amount:g}, weight {asked.weight:g}"}
    save_lora(asked.out, branches, _dtype(file), about)
    return Changed(len(each), *((sum(values) / len(each)) ** 0.5 for values in zip(*each, strict=True)))


def _encoded(model: ZImage, prompts: dict[str, None], told: Told) -> dict[str, Tensor]:
    encoder = model.load_text_encoder(told.reading("load text encoder"))
    texts = {}
    for number, prompt in enumerate(prompts):
        told.phase("encode prompts", number, len(prompts))
        texts[prompt] = encoder.encode([prompt])[0].to(model.device)
    del encoder
    release_memory()
    return texts


def _require_plain(branches: BranchSet, path: Path) -> None:
    other = next((name for name, branch in branches.branches.items() if not is_plain(branch)), None)
    if other is not None:
        raise AdapterError(
            f"{other} is no plain LoRA ({branches.branches[other].kind})", where=str(path),
            fix="only plain LoRAs can be projected; train with target.type lora.",
        )  # fmt: skip


@dataclass
class _Walk:
    """Predictions along trajectories that are known, for what passes through the modules; counts them."""

    predict: Predict
    texts: dict[str, Tensor]
    told: Told
    groups: int
    prompts: int
    done: int = 0

    def drawn(self, model: ZImage, prompts: Sequence[str], first_seed: int, side: int) -> tuple[Probe, ...]:
        """Every step of the model's own way to pictures of these prompts; `side` in latent cells."""
        shift_at = model.load_shift().at
        levels = euler_sigmas(STEPS, shift_at((side // 2) ** 2))[:-1].tolist()
        return lay_probes(
            self.predict, self.texts.__getitem__, shift_at, prompts, (_CHANNELS, side, side), model.device, levels,
            first_seed=first_seed, at_once=_AT_ONCE,
            tick=lambda done, total: self.told.phase("draw the prompts", done, total),
        )  # fmt: skip

    def along(self, probes: Sequence[Probe]) -> Callable[[], None]:
        def walk() -> None:
            for start in range(0, len(probes), _AT_ONCE):
                some = probes[start : start + _AT_ONCE]
                for step in range(STEPS):
                    states = torch.stack([probe.states[step] for probe in some])
                    sigma = torch.tensor([probe.sigmas[step] for probe in some], device=states.device)
                    self.predict(states, sigma, [self.texts[probe.prompt] for probe in some])
                    self.done += len(some)
                    self.told.phase("measure inputs", self.done, self.groups * self.prompts * STEPS)

        return walk


def _project(
    branches: BranchSet, names: Sequence[str], walk: _Walk, concept: Sequence[Probe], unrelated: Sequence[Probe],
    asked: Preserving,
) -> list[tuple[float, float]]:  # fmt: skip
    """Change A in these modules; returns |A' x|^2 over |A x|^2 for inputs of the concept and for unrelated ones."""
    hosts = {name: branches.hosts[name] for name in names}
    wanted, spared = (second_moments(hosts, walk.along(probes)) for probes in (concept, unrelated))
    left = []
    for name in names:
        branch = branches.branches[name]
        assert isinstance(branch, LowRank)
        before = branch.a.float()
        after = projected(before, wanted[name], spared[name], asked.amount)
        left.append((_energy(after, wanted[name]) / _energy(before, wanted[name]),
                     _energy(after, spared[name]) / _energy(before, spared[name])))  # fmt: skip
        branch.a.copy_(after * asked.weight)
    return left


def _energy(a_RD: Tensor, moment_DD: Tensor) -> float:
    """E |A x|^2."""
    return max(float(((a_RD @ moment_DD) * a_RD).sum()), torch.finfo(torch.float32).tiny)


def _dtype(file: LoraFile) -> torch.dtype:
    return next(iter(next(iter(file.modules.values())).values())).dtype
