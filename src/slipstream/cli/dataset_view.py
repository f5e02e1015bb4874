"""The dataset report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import out

if TYPE_CHECKING:
    from slipstream.data.check import BucketFacts, DatasetReport, FolderFacts
    from slipstream.data.duplicates import Twin

_SHOWN = 8
"""How many groups and names a line of the report holds; the page holds them all."""


def show_report(report: DatasetReport) -> None:
    """Print folders, buckets, what was skipped, and what looks wrong."""
    for folder in report.folders:
        _show_folder(folder)
    _show_duplicates(report)
    _show_findings(report)
    out.print(_bucket_table(report.buckets))
    out.print(
        f"{report.num_images} pictures, {report.num_examples} examples (a picture counts once per bucket), "
        f"{report.samples_per_epoch} samples and {report.steps_per_epoch} batches of {report.batch_size} per epoch"
    )
    for skipped in report.skipped:
        out.print(f"[red]skipped[/red]  {escape(str(skipped.path))}: {escape(skipped.reason)}")
    for line in report.warnings:
        out.print(f"[yellow]warning[/yellow]  {escape(line)}")
    for line in report.advice:
        out.print(f"[yellow]advice[/yellow]  {escape(line)}")
    if not (report.skipped or report.warnings or report.advice):
        out.print("[green]nothing to complain about[/green]")


def _show_folder(folder: FolderFacts) -> None:
    captions = folder.captions
    out.print(f"[bold]{escape(str(folder.path))}[/bold]")
    out.print(
        f"  {folder.num_images} pictures from {folder.smallest[0]}x{folder.smallest[1]} to "
        f"{folder.largest[0]}x{folder.largest[1]}, {folder.num_skipped} skipped"
    )
    out.print(
        f"  captions: {captions.from_file} from files, {captions.from_default} by default, {len(captions.missing)} "
        f"missing; {captions.mean_length:.0f} characters on average"
    )
    out.print(f"  shortest: [dim]{escape(_cut(captions.shortest))}[/dim]")
    out.print(f"  longest: [dim]{escape(_cut(captions.longest))}[/dim]")
    if captions.with_trigger is not None:
        out.print(f"  trigger word: written in {captions.with_trigger} of {folder.num_images} captions")
    for caption, count in captions.duplicates[:5]:
        out.print(f"  {count} pictures share the caption [dim]{escape(_cut(caption))}[/dim]")


def _show_duplicates(report: DatasetReport) -> None:
    for group in report.duplicates[:_SHOWN]:
        first, *others = group.twins
        names = ", ".join(
            f"{escape(twin.path.name)} "
            + (
                "[dim](the same file)[/dim]"
                if twin.identical
                else f"[dim]({twin.similarity:.1%} alike{_turn(twin)})[/dim]"
            )
            for twin in others
        )
        out.print(f"[yellow]near-duplicates[/yellow]  {escape(first.path.name)} and {names}")
    if len(report.duplicates) > _SHOWN:
        out.print(f"  and {len(report.duplicates) - _SHOWN} more groups")


def _turn(twin: Twin) -> str:
    return ", mirrored" if twin.mirrored else ""


def _show_findings(report: DatasetReport) -> None:
    """One line per kind of finding, with the pictures' names."""
    names: dict[str, list[str]] = {}
    for picture in report.pictures:
        for finding in picture.findings:
            if finding.kind != "duplicate":
                names.setdefault(finding.kind, []).append(picture.name)
    for kind, found in names.items():
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        out.print(f"[yellow]{kind}[/yellow]  {escape(', '.join(found[:_SHOWN]))}{more}")


def _cut(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def _bucket_table(buckets: tuple[BucketFacts, ...]) -> Table:
    table = Table("bucket", "examples", "samples per epoch", "cropped on average", "at worst")
    for row in buckets:
        worst = f"{row.worst_crop:.0%}" + (f" ({row.worst_path.name})" if row.worst_crop > 0.01 else "")
        table.add_row(
            f"{row.bucket.width} x {row.bucket.height}",
            str(row.examples),
            str(row.samples),
            f"{row.mean_crop:.0%}",
            worst,
        )
    return table
