"""Looking at data and models without training: dataset reports and what a model name stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream.config.run_config import RunConfig
from slipstream.config.variants import VARIANTS, extras_source, tiny_name

if TYPE_CHECKING:
    from slipstream.data.check import DatasetReport
    from slipstream.data.check_advice import Kind
    from slipstream.data.settings import DatasetSettings

_PICTURE_DATA = ("signature", "thumbnail", "veil")


def check_config_datasets(config: RunConfig, kind: Kind | None = None) -> DatasetReport:
    """The report on a config's datasets; captions are counted in the model's own tokens.

    Raises:
        SlipstreamError: a folder cannot be used, or the model's tokenizer is not to be had.
    """
    from slipstream.models.z_image.resolve import resolve_parts
    from slipstream.training.setting import dataset_settings

    settings = dataset_settings(config)
    parts = resolve_parts(config.model.name_or_path, extras_source(config.model), components=("tokenizer",))
    tokenizer = (parts.paths["tokenizer"], f"the tokenizer of {config.model.name_or_path}")
    return _check(settings, config.training.batch_size, tokenizer, kind)


def check_folder(
    folder: Path, resolutions: tuple[int, ...], trigger_word: str, default_caption: str, kind: Kind | None = None
) -> DatasetReport:
    """The report on one folder with default settings.

    Captions are counted by Turbo's tokenizer where it is on this machine, else by the tiny family's, which knows
    fewer words and makes more tokens of a caption.

    Raises:
        SlipstreamError: the folder cannot be used.
    """
    from slipstream.data.settings import DatasetSettings

    settings = DatasetSettings(
        path=folder, resolutions=resolutions, trigger_word=trigger_word, default_caption=default_caption
    )
    return _check([settings], 1, _tokenizer_at_hand(), kind)


def _check(
    settings: Sequence[DatasetSettings], batch_size: int, tokenizer: tuple[Path, str], kind: Kind | None
) -> DatasetReport:
    """Look at every picture while the folders are scanned, and report."""
    from slipstream.data.check import check_dataset
    from slipstream.data.dataset import build_dataset
    from slipstream.data.looks import Look, look_at
    from slipstream.models.z_image.loading import load_tokenizer
    from slipstream.models.z_image.text import MAX_TOKENS, num_tokens

    looks: dict[Path, Look] = {}
    dataset = build_dataset(settings, on_picture=lambda path, picture: looks.update({path: look_at(picture)}))
    folder, name = tokenizer
    loaded = load_tokenizer(folder)
    return check_dataset(
        dataset,
        batch_size,
        count_tokens=lambda caption: num_tokens(loaded, caption),
        max_tokens=MAX_TOKENS,
        looks=looks,
        kind=kind,
        tokenizer=name,
    )


def _tokenizer_at_hand() -> tuple[Path, str]:
    from huggingface_hub import try_to_load_from_cache

    from slipstream.models.z_image.resolve import TINY_ROOT

    repo = VARIANTS["turbo"].default_repo
    found = try_to_load_from_cache(repo, "tokenizer/tokenizer.json")
    if isinstance(found, str):
        return Path(found).parent, f"the tokenizer of {repo}"
    return TINY_ROOT / "turbo/tokenizer", "the tiny family's tokenizer, which counts more than the real one"


def plain_report(report: DatasetReport) -> dict[str, Any]:
    """The report as plain values for JSON, without thumbnails."""
    value: dict[str, Any] = _plain(report)
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.name not in _PICTURE_DATA]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


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
