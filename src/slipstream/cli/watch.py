"""The live view of a run: its log above, one line of progress below. It reads the run's files, nothing else."""

from __future__ import annotations

import re
import time
from types import TracebackType

from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slipstream.cli.screen import duration, out, pace
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, counted, read_progress

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (.*)")
_TRAINING = "training"
_PLAIN_EVERY_SECONDS = 10.0


class Watcher:
    """Shows a run on a terminal as a live line, elsewhere as plain lines now and then."""

    def __init__(self, run: RunDir, log_start: int) -> None:
        self._run = run
        self._position = log_start
        self._live = Live(console=out, refresh_per_second=8, transient=True) if out.is_terminal else None
        self._last_plain = 0.0
        self._last_phase = ""

    def __enter__(self) -> Watcher:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self, *, stopping: bool) -> None:
        """Show what is new."""
        for line in self._new_log_lines():
            out.print(f"[dim]{escape(line)}[/dim]")
        progress = read_progress(self._run)
        if progress is None:
            return
        if self._live is not None:
            self._live.update(render(progress, stopping=stopping, width=out.width))
        else:
            self._plain(progress)

    def _new_log_lines(self) -> list[str]:
        if not self._run.log.exists():
            return []
        with self._run.log.open("rb") as handle:
            handle.seek(self._position)
            data = handle.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        matches = (_LOG_LINE.fullmatch(line) for line in whole.decode("utf-8", "replace").splitlines())
        return [match.group(1) for match in matches if match]

    def _plain(self, progress: Progress) -> None:
        now = time.monotonic()
        changed = progress.phase != self._last_phase and progress.phase != _TRAINING
        if (
            progress.state == "running"
            and progress.phase
            and (changed or now - self._last_plain >= _PLAIN_EVERY_SECONDS)
        ):
            self._last_plain, self._last_phase = now, progress.phase
            out.print(plain_line(progress))


def plain_line(progress: Progress) -> str:
    """The state in one line of text."""
    parts = [f"{progress.phase} {counted(progress)}" if progress.total else progress.phase, progress.detail]
    if progress.phase == _TRAINING and progress.loss is not None:
        parts += [
            f"loss {progress.loss:.4f}",
            pace(progress.seconds_per_step),
            f"{duration(progress.eta_seconds)} left",
        ]
    if progress.memory_gib:
        parts.append(f"{progress.memory_gib:.1f} GiB")
    return "  ".join(part for part in parts if part)


def render(progress: Progress, *, stopping: bool, width: int) -> Table:
    """The live line: phase, bar, counts, detail, loss, pace, ETA, memory."""
    name = "saving and stopping" if stopping else progress.phase or "starting"
    cells = [Text(name, style="bold cyan")]
    if progress.total:
        cells.append(Text(counted(progress)))
    if progress.detail:
        cells.append(Text(progress.detail))
    if progress.loss is not None:
        cells.append(Text(f"loss {progress.loss:.4f}", style="magenta"))
    if progress.seconds_per_step is not None:
        cells.append(Text(pace(progress.seconds_per_step)))
        cells.append(Text(f"{duration(progress.eta_seconds)} left", style="green"))
    if progress.memory_gib:
        cells.append(Text(f"{progress.memory_gib:.1f} GiB", style="dim"))
    return _one_line(progress, cells, width)


def _one_line(progress: Progress, cells: list[Text], width: int) -> Table:
    """The cells with a bar behind the first; the bar gives way where the line is short, then the last cells do."""
    gaps = 2
    taken = sum(cell.cell_len + gaps for cell in cells)
    while len(cells) > 1 and taken > width:
        taken -= cells.pop().cell_len + gaps
    table = Table.grid(padding=(0, gaps))
    bar_width = min(30, width - taken - gaps)
    if bar_width < 5:
        table.add_row(*cells)
        return table
    bar = ProgressBar(total=max(1, progress.total), completed=progress.done, width=bar_width, pulse=not progress.total)
    table.add_row(cells[0], bar, *cells[1:])
    return table
