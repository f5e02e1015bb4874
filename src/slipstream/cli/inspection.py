"""`dataset check`, `models`, `presets`."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import out
from slipstream.core.errors import ConfigError


def models_command() -> None:
    """List models."""
    from slipstream.workflows.inspect import list_models

    table = Table("name_or_path", "variant", "training adapters", "previews", "here")
    table.columns[0].no_wrap = True  # a name is there to be copied
    for row in list_models():
        table.add_row(
            row.name, row.variant, ", ".join(row.adapters) or "-", row.previews, "yes" if row.present else "no"
        )
    out.print(table)
    out.print("A folder in diffusers' layout or any hub id (org/name or org/name@revision) works too.")


def presets_command(name: str | None) -> None:
    """List presets by group or print one as YAML."""
    from slipstream.config.presets import PRESET_GROUPS, list_presets, preset_text

    if name is not None:
        print(preset_text(name), end="")
        return
    descriptions = dict(list_presets())
    for group, names in PRESET_GROUPS.items():
        out.print(f"[dim]{escape(group)}[/dim]")
        for preset in names:
            out.print(f"  [bold]{preset:16}[/bold] {escape(descriptions[preset])}")


def check_command(
    target: Path, overrides: list[str], resolutions: str, trigger_word: str, default_caption: str
) -> None:
    """Print the report on a folder or on a config's datasets."""
    from slipstream.cli.dataset_view import show_report
    from slipstream.cli.imports import open_and_tell
    from slipstream.workflows.inspect import check_config_datasets, check_folder

    if target.suffix.lower() in {".yaml", ".yml", ".json"}:
        show_report(check_config_datasets(open_and_tell(target, overrides)))
    else:
        show_report(check_folder(target, _sides(resolutions), trigger_word, default_caption))


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no list of resolutions", where="--resolutions", fix="write 512,768,1024"
        ) from error
