"""`dataset check`, `models`, `presets`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import out
from slipstream.core.atomic import write_json
from slipstream.core.errors import ConfigError

if TYPE_CHECKING:
    from slipstream.data.check_advice import Kind


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


@dataclass(frozen=True)
class CheckOptions:
    """What `dataset check` is told; `page` and `json` are files to write, None for none, `-` the terminal."""

    resolutions: str
    trigger_word: str
    default_caption: str
    kind: str | None
    page: Path | None
    json: Path | None


def check_command(target: Path, overrides: list[str], options: CheckOptions) -> None:
    """Print the report on a folder or on a config's datasets, and write it as a page and as JSON."""
    from slipstream.cli.dataset_view import show_report
    from slipstream.cli.imports import open_and_tell
    from slipstream.reports.dataset_page import write_dataset_page
    from slipstream.workflows.inspect import check_config_datasets, check_folder, plain_report

    kind = _kind(options.kind)
    to_stdout = options.json == Path("-")
    if target.is_file() or target.suffix.lower() in {".yaml", ".yml", ".json"}:
        report = check_config_datasets(open_and_tell(target, overrides, quiet=to_stdout), kind)
    else:
        report = check_folder(target, _sides(options.resolutions), options.trigger_word, options.default_caption, kind)
    if to_stdout:
        print(json.dumps(plain_report(report), indent=2, ensure_ascii=False))
    else:
        show_report(report)
    if options.json is not None and not to_stdout:
        write_json(options.json, plain_report(report), durable=False)
    if options.page is not None:
        write_dataset_page(report, options.page)
        if not to_stdout:
            out.print(f"the pictures, with all of this: [bold]{escape(str(options.page))}[/bold]")


def _kind(text: str | None) -> Kind | None:
    if text is None:
        return None
    if text == "character":
        return "character"
    if text == "style":
        return "style"
    raise ConfigError(f"got {text!r}, expected character or style", where="--kind")


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no list of resolutions", where="--resolutions", fix="write 512,768,1024"
        ) from error
