"""`drift`: is Turbo with this LoRA still Turbo; a table, `drift.json` and a page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from slipstream.cli.screen import duration, err, out
from slipstream.core.errors import ConfigError
from slipstream.evaluation.drift_findings import MANY_STEPS, USUAL_STEPS, Cell, DriftFindings, LoraDrift

if TYPE_CHECKING:
    from slipstream.workflows.drift import Watch

RESULTS = Path("drift")
_PLAIN_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class DriftOptions:
    """The command's options; None = the default."""

    all_checkpoints: bool
    base: str | None
    prompts_file: Path | None
    num_seeds: int
    side: int | None
    weight: float
    quick: bool
    device: str
    out: Path | None
    as_json: bool


def drift_command(target: str, options: DriftOptions) -> None:
    """Measure and show."""
    from slipstream.workflows.drift import DriftRequest, measure_drift

    if options.side is not None and (options.side % 16 or options.side < 64):
        raise ConfigError(
            f"{options.side} is no side of a picture", where="--size", fix="use a multiple of 16 from 64 on."
        )
    folder = options.out or RESULTS / Path(target).name.removesuffix(".safetensors")
    request = DriftRequest(
        target, folder, options.all_checkpoints, options.base, _prompts(options.prompts_file), options.num_seeds,
        options.side, options.weight, options.quick, options.device,
    )  # fmt: skip
    with _watching() as watch:
        findings = measure_drift(request, watch)
    if options.as_json:
        print(json.dumps(asdict(findings), indent=2, ensure_ascii=False))
        return
    _show(findings)
    out.print(f"curves and pictures: [bold]{escape(str(folder / 'drift.html'))}[/bold]")


def _prompts(path: Path | None) -> tuple[str, ...]:
    """The texts of a prompt file; settings within it are refused, since all pictures are drawn alike."""
    if path is None:
        return ()
    from slipstream.config.prompts import PromptPanel, read_prompts

    prompts = read_prompts(path)
    if any(panel != PromptPanel(prompt=panel.prompt) for panel in prompts):
        raise ConfigError(
            "a prompt has settings of its own (size, seed, steps, ...), but all are drawn alike", where=str(path),
            fix="leave the text alone; --size and --seeds hold for all.",
        )  # fmt: skip
    return tuple(dict.fromkeys(panel.prompt for panel in prompts))


@contextmanager
def _watching() -> Iterator[Watch]:
    """Lines on stderr; on a terminal the phase with a bar, and the time left once predictions are made; elsewhere a
    line now and then."""
    from slipstream.workflows.drift import Watch

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("·"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        loading, measuring = bar.add_task("load", total=None), bar.add_task("measure", total=None, visible=False)

        def on_loading(what: str, done: int, total: int) -> None:
            bar.update(loading, description=escape(what), completed=done, total=total or None)

        last_told = time.monotonic()

        def on_measuring(what: str, done: int, total: int) -> None:
            nonlocal last_told
            bar.update(loading, visible=False)
            if not err.is_terminal and time.monotonic() - last_told >= _PLAIN_EVERY_SECONDS:
                last_told = time.monotonic()
                err.print(f"[dim]{escape(what)}  {done}/{total} predictions[/dim]")
            bar.update(measuring, description=escape(what), completed=done, total=total, visible=True)

        yield Watch(lambda line: err.print(f"[dim]{escape(line)}[/dim]"), on_loading, on_measuring)


def _show(findings: DriftFindings) -> None:
    newest = findings.newest
    colour = newest.light or "bold"
    out.print(f"[bold]{escape(findings.name)}[/bold] on {escape(findings.base)}, in {duration(findings.seconds)}")
    out.print(_table(findings))
    if newest.cells:
        out.print(_grid(newest.cells))
    lamp = f"[{colour}]●[/{colour}] " if newest.light else ""
    out.print(f"{lamp}[bold]{escape(findings.verdict)}[/bold]")
    for line in findings.advice:
        out.print(f"  [yellow]do[/yellow]  {escape(line)}")
    for line in findings.notes:
        out.print(f"[dim]note  {escape(line)}[/dim]")


def _table(findings: DriftFindings) -> Table:
    """A row for each LoRA."""
    few = findings.newest.few_to_many is not None
    sets = findings.newest.set_distance is not None
    headings = ["LoRA", "score", "velocity", "distance", *(["sets"] if sets else [])]
    table = Table(*headings, *([f"{USUAL_STEPS} vs {MANY_STEPS}"] if few else []), "sharp", "fine")
    for column in table.columns[1:]:
        column.justify = "right"
    for column in table.columns:
        column.no_wrap = True
    for one in findings.loras:
        table.add_row(*_row(one, few=few, sets=sets))
    return table


def _row(one: LoraDrift, *, few: bool, sets: bool) -> Sequence[str | Text]:
    name = escape(one.name) if one.step is None else f"step {one.step}"
    return (
        name, Text(f"{one.score:.0f}", style=one.light or ""),
        f"{one.levels[0].velocity:.0%}", f"{one.distance:.3f}",
        *([f"{one.set_distance:.2f}"] if sets else []), *([f"{one.few_to_many:.4f}"] if few else []),
        f"{one.sharpness:.0%}", f"{one.fine_detail:.0%}",
    )  # fmt: skip


def _grid(cells: Sequence[Cell]) -> Table:
    """Steps by CFG: how much nearer to the base's own pictures than with the usual steps."""
    steps = sorted({cell.steps for cell in cells})
    table = Table("nearer by", *(f"{count} steps" for count in steps))
    best = max(cells, key=lambda cell: cell.gain)
    for guidance in sorted({cell.guidance_scale for cell in cells}):
        row = {cell.steps: cell for cell in cells if cell.guidance_scale == guidance}
        shown = [f"[bold]{row[count].gain:+.0%}[/bold]" if row[count] is best else f"{row[count].gain:+.0%}"
                 for count in steps]  # fmt: skip
        table.add_row(f"CFG {guidance:g}" if guidance else "no CFG", *shown)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
