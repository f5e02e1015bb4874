"""The base in commands of musubi-tuner: `--dit`, `--text_encoder`, `--vae`, each a file, or the first of several."""

from __future__ import annotations

import re
from pathlib import Path

from slipstream.config.imports.flags import adapter_by_name, found_here, variant_by_name
from slipstream.config.imports.reading import as_list
from slipstream.config.imports.rules import Spot, decide
from slipstream.config.variants import VARIANTS, extras_of, variant_hinted

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_PARTS = ("transformer", "text_encoder", "vae")


def model_folder(file: str) -> Path | None:
    """The model in diffusers' layout of which this file is a part; None where it is a file by itself."""
    path = Path(file)
    root = path.parent.parent
    is_part = path.parent.name in _PARTS and (path.parent / "config.json").is_file()
    return root if is_part and (root / "transformer" / "config.json").is_file() else None


def is_usable(file: str) -> bool:
    """Whether this is a whole transformer in one file that is here."""
    path = Path(file)
    return path.is_file() and path.suffix == ".safetensors" and not _SHARD.search(path.stem)


@decide("model.variant", "model.name_or_path")
def dit(spot: Spot) -> None:
    """The transformer: the same file or folder where it is here, else the repository that its name suggests."""
    file = found_here(str(spot.value), spot.draft.report.source)
    folder = model_folder(file)
    hinted = variant_hinted(file) or (variant_hinted(str(folder)) if folder is not None else None)
    variant = "turbo" if as_list(spot.group.get("base_weights") or []) else hinted or variant_by_name(Path(file).name)
    facts = VARIANTS[variant]
    spot.also("model.variant", variant)
    doubtful = f"; taken for {facts.label}, as nothing in the name says more" if hinted is None else ""
    if folder is not None:
        why = f"the whole model of which it is a part{doubtful}"
        return spot.put("model.name_or_path", str(folder), why, matters=bool(doubtful))
    if is_usable(file):
        why = f"the same file; the other parts come from {extras_of(file, variant)}{doubtful}"
        return spot.put("model.name_or_path", file, why, matters=bool(doubtful))
    why = f"no such file here, or one of several; {facts.label} by its name, from the hub"
    spot.put("model.name_or_path", facts.default_repo, why, matters=True)


@decide("model.extras_from")
def extras(spot: Spot) -> None:
    """Text encoder and VAE: from the model in diffusers' layout that the file belongs to."""
    source = spot.draft.report.source
    folder = model_folder(found_here(str(spot.value), source))
    if folder is None:
        return spot.ignore("comes with the base, or from model.extras_from: such a single file is not read here")
    if folder == model_folder(found_here(str(spot.group.get("dit", "")), source)):
        return spot.ignore("of the same model as --dit")
    spot.put("model.extras_from", str(folder), "the model in diffusers' layout of which it is a part")


@decide("model.training_adapter")
def base_weights(spot: Spot) -> None:
    """The training adapter, which is merged there."""
    paths = as_list(spot.value)
    spot.put("model.training_adapter", adapter_by_name(str(paths[0])), "merged while training there; the same",
             matters=len(paths) > 1)  # fmt: skip
