from __future__ import annotations

import io

import pytest
from rich.console import Console

from slipstream.cli.watch import plain_line, render
from slipstream.runs.progress import Progress

BUSY = Progress(
    state="running", phase="training", done=1234, total=12000, step=1234, steps=12000, loss=0.1234,
    seconds_per_step=12.34, eta_seconds=123456, memory_gib=23.4,
)  # fmt: skip


def shown(progress: Progress, width: int, *, stopping: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(render(progress, stopping=stopping, width=width))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().rstrip("\n")


@pytest.mark.parametrize("width", [30, 60, 80, 81, 100, 120, 200])
@pytest.mark.parametrize("stopping", [False, True])
def test_the_live_line_is_one_line(width: int, stopping: bool) -> None:
    line = shown(BUSY, width, stopping=stopping)
    assert "\n" not in line
    assert ("saving and stopping" if stopping else "training") in line


def test_a_wide_line_says_everything() -> None:
    line = shown(BUSY, 120)
    for part in ("training", "1234/12000", "loss 0.1234", "12.34 s/it", "34 h 17 min left", "23.4 GiB", "━"):
        assert part in line


def test_80_columns_keep_the_time_left() -> None:
    assert "34 h 17 min left" in shown(BUSY, 80)


def test_a_worker_that_says_nothing_yet_is_starting() -> None:
    assert "starting" in shown(Progress(), 80)


def test_gigabytes_are_told_as_such():
    reading = Progress(state="running", phase="load transformer", done=2458, total=11776, unit="MiB")
    assert "load transformer 2.4/11.5 GiB" in plain_line(reading)
    assert "2.4/11.5 GiB" in shown(reading, 80)


def test_a_long_preview_shows_its_steps() -> None:
    drawing = Progress(state="running", phase="previews", done=3, total=8, detail="step 5/8 of 4 at once")
    assert plain_line(drawing) == "previews 3/8  step 5/8 of 4 at once"
    assert "3/8" in shown(drawing, 80)
    assert "step 5/8 of 4 at once" in shown(drawing, 80)
