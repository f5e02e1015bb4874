"""The live view of an experiment: a line for each run, and how much is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slipstream.cli.screen import duration, out, pace
from slipstream.experiments.standing import Standing, counted

_COLOURS = {"running": "bold cyan", "finished": "green", "failed": "red", "stopped": "yellow", "paused": "yellow"}
_BAR_WIDTH = 24
_PLAIN_EVERY_SECONDS = 10.0


class ExperimentView:
    """Shows an experiment as a live table, without a terminal as a line now and then, with `quiet` not at all."""

    def __init__(self, labels: Sequence[str], *, quiet: bool) -> None:
        self._labels = labels
        self._quiet = quiet
        live = out.is_terminal and not quiet
        self._live = Live(console=out, refresh_per_second=4, transient=True) if live else None
        self._said = ""
        self._last = 0.0

    def __enter__(self) -> ExperimentView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, found: Sequence[Standing]) -> None:
        """Show how the runs stand now."""
        if self._live is not None:
            self._live.update(Group(run_table(found, self._labels), Text.from_markup(f"[dim]{summary(found)}[/dim]")))
        elif not self._quiet:
            self._plain(found)

    def _plain(self, found: Sequence[Standing]) -> None:
        now, states = time.monotonic(), summary(found)
        if states.partition(";")[0] != self._said or now - self._last >= _PLAIN_EVERY_SECONDS:
            self._said, self._last = states.partition(";")[0], now
            out.print(states)


def run_table(found: Sequence[Standing], labels: Sequence[str]) -> Table:
    """A row for each run: seed, arm, state, how far, loss, pace, time left."""
    table = Table(box=None, header_style="dim")
    for heading in ("seed", "arm", "state", "", "step", "loss", "pace", "left"):
        table.add_column(heading)
    for one in found:
        progress, running = one.progress, one.state == "running"
        steps = f"{progress.step}/{progress.steps}" if progress.steps else ""
        bar = ProgressBar(total=max(1, progress.steps), completed=progress.step, width=_BAR_WIDTH)
        doing = progress.phase if running and progress.phase not in ("", "training") else one.state
        table.add_row(
            str(one.planned.seed), escape(labels[one.planned.arm]), Text(doing, style=_COLOURS.get(one.state, "dim")),
            bar if running else "", steps, "" if progress.loss is None else f"{progress.loss:.4f}",
            pace(progress.seconds_per_step) if running else "", duration(progress.eta_seconds) if running else "",
        )  # fmt: skip
    return table


def summary(found: Sequence[Standing]) -> str:
    """All runs in one line: `2 finished, 1 running, 3 queued; about 12 min 00 s left`."""
    states = ", ".join(f"{number} {state}" for state, number in counted(found).items())
    left = seconds_left(found)
    return states if left is None else f"{states}; about {duration(left)} of training left"


def seconds_left(found: Sequence[Standing]) -> float | None:
    """Time until the last update, from the pace of the runs so far; None while that is not known."""
    paces = [one.progress.seconds_per_step for one in found if one.progress.seconds_per_step]
    steps = max((one.progress.steps for one in found), default=0)
    if not paces or not steps:
        return None
    at_once = max(1, sum(one.state == "running" for one in found))
    updates = sum(max(0, (one.progress.steps or steps) - one.progress.step) for one in found if not one.over)
    return updates * sum(paces) / len(paces) / at_once
