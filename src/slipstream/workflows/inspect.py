"""Looking at data and models without training: dataset reports and what a model name stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config.run_config import RunConfig
from slipstream.config.variants import VARIANTS

if TYPE_CHECKING:
    from slipstream.data.check import DatasetReport

MAX_CAPTION_TOKENS = 512


def check_config_datasets(config: RunConfig) -> DatasetReport:
    """The report on a config's datasets; captions are counted in the model's tokens where its tokenizer is at hand.

    Raises:
        SlipstreamError: a folder cannot be used.
    """
    from slipstream.data.check import check_dataset
    from slipstream.data.dataset import build_dataset
    from slipstream.training.setting import dataset_settings

    return check_dataset(build_dataset(dataset_settings(config)), config.training.batch_size)


def check_folder(
    folder: Path, resolutions: tuple[int, ...], trigger_word: str, default_caption: str
) -> DatasetReport:
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
        tiny = f"tiny/{variant.replace('_', '-')}"
        for name in (tiny, facts.default_repo):
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
