"""Looking at data and models without training: dataset reports and what a model name stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config.run_config import RunConfig
from slipstream.config.variants import VARIANTS, extras_source, tiny_name

if TYPE_CHECKING:
    from slipstream.data.check import DatasetReport


def check_config_datasets(config: RunConfig) -> DatasetReport:
    """The report on a config's datasets; captions are counted in the model's own tokens.

    Raises:
        SlipstreamError: a folder cannot be used, or the model's tokenizer is not to be had.
    """
    from slipstream.data.check import check_dataset
    from slipstream.data.dataset import build_dataset
    from slipstream.models.z_image.loading import load_tokenizer
    from slipstream.models.z_image.resolve import resolve_parts
    from slipstream.models.z_image.text import MAX_TOKENS, num_tokens
    from slipstream.training.setting import dataset_settings

    dataset = build_dataset(dataset_settings(config))
    parts = resolve_parts(config.model.name_or_path, extras_source(config.model))
    tokenizer = load_tokenizer(parts.folders["tokenizer"])
    return check_dataset(
        dataset,
        config.training.batch_size,
        count_tokens=lambda caption: num_tokens(tokenizer, caption),
        max_tokens=MAX_TOKENS,
    )


def check_folder(folder: Path, resolutions: tuple[int, ...], trigger_word: str, default_caption: str) -> DatasetReport:
    """The report on one folder with default settings.

    Raises:
        SlipstreamError: the folder cannot be used.
    """
    from slipstream.data.check import check_dataset
    from slipstream.data.dataset import build_dataset
    from slipstream.data.settings import DatasetSettings

    settings = DatasetSettings(
        path=folder, resolutions=resolutions, trigger_word=trigger_word, default_caption=default_caption
    )
    return check_dataset(build_dataset([settings]), batch_size=1)


@dataclass(frozen=True)
class ModelRow:
    """A model that a config can name."""

    name: str
    variant: str
    label: str
    adapters: tuple[str, ...]
    previews: str
    present: bool


def list_models() -> list[ModelRow]:
    """The packaged tiny family and the default repository of every variant."""
    rows = []
    for variant, facts in VARIANTS.items():
        previews = f"{facts.preview_steps} steps, CFG {facts.guidance_scale:g}"
        for name in (tiny_name(variant), facts.default_repo):
            rows.append(ModelRow(name, variant, facts.label, tuple(facts.adapters), previews, is_present(name)))
    return rows


def is_present(name: str) -> bool:
    """Whether the transformer of this model lies on this machine already."""
    from huggingface_hub import try_to_load_from_cache

    from slipstream.models.z_image.resolve import parse_source

    source = parse_source(name)
    if source.folder is not None:
        return True
    assert source.repo is not None
    return isinstance(try_to_load_from_cache(source.repo, "transformer/config.json", revision=source.revision), str)
