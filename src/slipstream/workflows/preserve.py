"""A trained LoRA that changes unrelated prompts less: found, given its prompts, and written beside the old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.core.errors import ConfigError
from slipstream.core.tensor_file import read_header
from slipstream.drawings.request import Base
from slipstream.evaluation.unrelated import prompts_to_hold, unrelated_prompts
from slipstream.runs.layout import RunDir

if TYPE_CHECKING:
    from slipstream.training.preserve import Changed

MOST_CAPTIONS = 32
"""Captions of a run's pictures that stand for its concept."""


@dataclass(frozen=True)
class PreserveRequest:
    """What to do; empty and None mean what the run or the file says.

    Attributes:
        target: a LoRA file or a finished run's folder.
        out: the new file.
        concept: prompts that ask for what was trained.
        unrelated: prompts that do not.
        model: the base.
        amount: weight of staying away from unrelated prompts.
        weight: factor on the LoRA afterwards.
        device: as in configs.
    """

    target: Path
    out: Path | None = None
    concept: tuple[str, ...] = ()
    unrelated: tuple[str, ...] = ()
    model: str | None = None
    amount: float = 1.0
    weight: float = 1.0
    device: str = "auto"


@dataclass(frozen=True)
class Preserved:
    """What was written, and how much of the LoRA is left (see `training.preserve.Changed`), weight included."""

    path: Path
    modules: int
    concept_kept: float
    unrelated_kept: float


def preserve(
    request: PreserveRequest, log: Callable[[str], None], phase: Callable[[str, int, int], None]
) -> Preserved:  # fmt: skip
    """Write the LoRA anew; `phase` is told (what, done, total).

    Raises:
        SlipstreamError: the LoRA, its base or its prompts are not to be had, or the file is no plain LoRA.
    """
    from slipstream.config.variants import VARIANTS, extras_for, is_tiny, variant_named
    from slipstream.training.drawing_model import Told
    from slipstream.training.preserve import Preserving, preserve_turbo

    lora = _lora_of(request.target)
    named = read_header(lora).metadata.get("base_model", "")
    model = request.model or (named if variant_named(named) is not None else VARIANTS["turbo"].default_repo)
    tiny = is_tiny(model)
    out = request.out or lora.with_name(f"{lora.stem}_preserved.safetensors")
    if out.resolve() == lora.resolve():
        raise ConfigError("that is the LoRA itself", where="--out", fix="give another file: the old one stays.")
    concept = request.concept or _captions(request.target)
    unrelated = prompts_to_hold(is_tiny=tiny, own=request.unrelated)
    log(f"{model}: {len(concept)} prompts of the concept, {len(unrelated)} unrelated ones")
    asked = Preserving(
        lora, out, concept, unrelated, request.amount, request.weight, unrelated_prompts(is_tiny=tiny).side
    )
    changed: Changed = preserve_turbo(asked, Base(model, extras_for(model)), request.device, Told(log, phase))
    weight = request.weight
    return Preserved(out, changed.modules, changed.concept_kept * weight, changed.unrelated_kept * weight)


def _lora_of(target: Path) -> Path:
    path = RunDir(target.resolve()).lora if target.is_dir() else target
    if not path.is_file():
        raise ConfigError(
            f"there is no LoRA at {path}", where="preserve", fix="give a .safetensors file or a finished run's folder."
        )
    return path


def _captions(target: Path) -> tuple[str, ...]:
    """Captions of the pictures that a run was trained on, evenly over all of them."""
    from slipstream.config.run_config import config_from_run
    from slipstream.data.dataset import build_dataset
    from slipstream.training.setting import dataset_settings

    if not target.is_dir():
        raise ConfigError(
            "a file alone does not say what asks for its concept", where="--prompts-file",
            fix="give a file with a dozen prompts or more that do (captions of its pictures are best), or the run's "
            "folder.",
        )  # fmt: skip
    config = config_from_run(RunDir(target.resolve()).config)
    dataset = build_dataset(dataset_settings(config))
    captions = tuple(
        dict.fromkeys(
            example.caption for example in dataset.examples if example.caption and example.regularization is None
        )
    )
    step = -(-len(captions) // MOST_CAPTIONS)
    return captions[::step] if captions else ()
