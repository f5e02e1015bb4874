"""Flags by which a door asks a running worker for something: files in `controls/`, taken (removed) when seen."""

from __future__ import annotations

from typing import Literal

from slipstream.runs.layout import RunDir

Flag = Literal["stop", "save", "preview"]
FLAGS: tuple[Flag, ...] = ("stop", "save", "preview")


def request(run: RunDir, flag: Flag) -> None:
    """Ask for it."""
    run.controls.mkdir(exist_ok=True)
    (run.controls / flag).touch()


def take(run: RunDir, flag: Flag) -> bool:
    """Whether it was asked for since the last call."""
    path = run.controls / flag
    if not path.exists():
        return False
    path.unlink(missing_ok=True)
    return True


def clear(run: RunDir) -> None:
    """Forget what was asked of an earlier worker."""
    for flag in FLAGS:
        take(run, flag)
