"""`import`: another trainer's file as our config, and the report on what became of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import out
from slipstream.core.errors import ConfigError

if TYPE_CHECKING:
    from slipstream.config.imports.open import Origin
    from slipstream.config.imports.report import Entry, Report
    from slipstream.config.run_config import RunConfig

_COLOURS = {"taken": "green", "translated": "cyan", "ignored": "dim", "unknown": "red", "added": "blue"}


def open_and_tell(path: Path, overrides: list[str], *, quiet: bool = False) -> RunConfig:
    """Any config; of one that was imported the short report is printed, unless `quiet`."""
    from slipstream.config.imports.open import open_config

    opened = open_config(path, overrides)
    if opened.report is not None and not quiet:
        show_short(opened.report)
    return opened.config


def import_command(
    path: Path, to: Path | None, overrides: list[str], *, origin: Origin | None = None, replace: bool = False
) -> None:
    """Print the report on every training in the file and write its config.

    Raises:
        ConfigError: the file is one of ours already, or cannot be imported.
    """
    from slipstream.config.imports.commented import commented_yaml
    from slipstream.config.imports.open import check, import_file

    imported = import_file(path, overrides, origin)
    if imported is None:
        raise ConfigError(
            "this is no file of another trainer", where=str(path),
            fix="`slipstream train` takes its own configs as they are; flags without their script need --from.",
        )  # fmt: skip
    for number, training in enumerate(imported, 1):
        target = _target(path, to, number if len(imported) > 1 else None)
        with_overrides = training.overridden(overrides)
        check(with_overrides, path)
        show_report(training.report)
        _write(target, commented_yaml(with_overrides), replace=replace)
        out.print(f"wrote [bold]{escape(str(target))}[/bold]; train it with `slipstream train {escape(str(target))}`")


def _target(path: Path, to: Path | None, number: int | None) -> Path:
    target = path.with_name(f"{path.stem}.slipstream.yaml") if to is None else to.expanduser()
    return target if number is None else target.with_name(f"{target.stem}_{number}{target.suffix}")


def _write(target: Path, content: str, *, replace: bool) -> None:
    from slipstream.core.atomic import write_text

    if target.exists() and not replace:
        raise ConfigError("there is such a file already", where=str(target), fix="give another --out, or --replace.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, content)


def show_report(report: Report) -> None:
    """Every key, grouped by panel: what stood there, what became of it, and why."""
    out.print(f"[bold]{escape(report.source)}[/bold]  ({report.format})")
    for panel, entries in report.by_panel():
        table = Table(title=panel.upper(), title_justify="left", show_header=False, expand=True)
        for ratio in (4, None, 6):
            table.add_column(ratio=ratio, overflow="fold")  # two keys must not look alike for want of their ends
        for entry in entries:
            table.add_row(*_row(entry))
        out.print(table)
    out.print(report.summary())


def _row(entry: Entry) -> tuple[str, ...]:
    colour = "yellow" if entry.matters else _COLOURS[entry.outcome]
    given = entry.key if entry.outcome == "added" else f"{entry.key}: {_short(entry.value)}"
    became = "" if entry.target is None else f"{entry.target}: {_short(entry.result)}"
    why = f"[dim]{escape(entry.why)}[/dim]" if entry.why else ""
    return escape(given), f"[{colour}]{entry.outcome}[/{colour}]", "\n".join(filter(None, (escape(became), why)))


def _short(value: Any) -> str:
    text = "true" if value is True else "false" if value is False else "null" if value is None else str(value)
    return text if len(text) <= 48 else text[:45] + "..."


def show_short(report: Report) -> None:
    """A line on the whole and one for each key that a user should know of."""
    out.print(f"[cyan]imported[/cyan]  {escape(report.source)} ({report.format}): {escape(report.summary())}")
    for entry in report.notable():
        given = "" if entry.outcome == "added" else f" = {_short(entry.value)}"
        became = "" if entry.target is None else f" -> {entry.target}={_short(entry.result)}"
        out.print(f"[yellow]import[/yellow]  {escape(entry.key + given + became)}: {escape(entry.why)}")
