"""`rank`: which checkpoint of a run to take, as a table, as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from slipstream.cli.screen import duration, err, out
from slipstream.runs.create import open_run
from slipstream.runs.ranking import Figures, Ranking

if TYPE_CHECKING:
    from slipstream.workflows.rank import Watch


@dataclass(frozen=True)
class RankOptions:
    """The command's options; `out` None: the run folder."""

    num_prompts: int
    num_seeds: int
    device: str
    out: Path | None
    as_json: bool


def rank_command(path: Path, options: RankOptions) -> None:
    """Measure, recommend, and say where the page lies."""
    from slipstream.reports.ranking_page import require_page_place
    from slipstream.workflows.rank import RankRequest, rank

    run = open_run(path)
    page = run.ranking_page if options.out is None else options.out
    require_page_place(page)
    request = RankRequest(run, page, options.num_prompts, options.num_seeds, options.device)
    with _watching() as watch:
        ranking = rank(request, watch)
    if options.as_json:
        print(json.dumps(asdict(ranking), indent=2, ensure_ascii=False))
        return
    _show(ranking, page)


@contextmanager
def _watching() -> Iterator[Watch]:
    """Lines on stderr; where there is a terminal, the phase with a bar, and the time left once pictures are drawn."""
    from slipstream.workflows.rank import Watch

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        loading, drawing = bar.add_task("load", total=None), bar.add_task("pictures", total=None, visible=False)

        def on_loading(name: str, done: int, total: int) -> None:
            bar.update(loading, description=escape(name), completed=done, total=total or None)

        def on_drawing(what: str, done: int, total: int) -> None:
            bar.update(loading, visible=False)
            bar.update(drawing, description=escape(what), completed=done, total=total, visible=True)

        yield Watch(lambda line: err.print(f"[dim]{escape(line)}[/dim]"), on_loading, on_drawing)


def _table(rows: Sequence[Figures], by: str, chosen: float, *, has_same: bool) -> Table:
    leaks = ("leak", "leak else") if has_same else ("leak else",)
    heads = (by, "strength", "taught", "drift", *leaks, "diverse", "copies", "price", "score")
    table = Table(*heads, box=SIMPLE, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        column.justify, column.no_wrap, column.min_width = "right", True, len(str(column.header))
    for row in rows:
        key = row.step if by == "step" else row.weight
        same = (f"{row.leak_same or 0:.0%}",) if has_same else ()
        table.add_row(
            f"{key:g}", f"{row.strength:.0%}", f"{row.taught:.0%}", f"[{row.light}]{row.drift:.0f}[/{row.light}]",
            *same, f"{row.leak_unrelated:.0%}", f"{row.diversity:.0%}", f"{row.memorised:.0%}", f"{row.price:.2f}",
            f"{row.score:.2f}", style="bold" if key == chosen else "dim" if row.dominated else "",
        )  # fmt: skip
    return table


def _show(ranking: Ranking, page: Path) -> None:
    chosen = ranking.recommended
    out.print(
        f"[bold]{escape(ranking.run)}[/bold]  {len(ranking.checkpoints)} checkpoints in {duration(ranking.seconds)}"
    )
    has_same = bool(ranking.settings["same_prompts"])
    out.print(_table(ranking.checkpoints, "step", chosen["step"], has_same=has_same))
    out.print(f"[bold green]take step {chosen['step']}[/bold green]  {escape(chosen['file'])}")
    out.print(f"  {escape(chosen['reason'])}")
    out.print(_table(ranking.weights, "weight", chosen["weight"], has_same=has_same))
    out.print(f"[bold green]use it at weight {chosen['weight']:g}[/bold green]")
    out.print(f"  {escape(chosen['weight_reason'])}")
    for note in ranking.notes:
        out.print(f"[yellow]note[/yellow]  {escape(note)}")
    out.print(f"the pictures, with all of this: [bold]{escape(str(page))}[/bold]")
