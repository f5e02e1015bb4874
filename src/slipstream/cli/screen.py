"""The terminal: two consoles and how an error looks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from slipstream.core.errors import SlipstreamError


class _Screen(Console):
    """A console whose reader may leave (`| head`): the rest goes nowhere, and the command does its work to the end."""

    def on_broken_pipe(self) -> None:
        """Rich's hook; its own version ends the process, which would leave a training without its watcher."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Screen(highlight=False, soft_wrap=True)
err = _Screen(stderr=True, highlight=False, soft_wrap=True)


ERRORS_VARIABLE = "SLIPSTREAM_ERRORS"
"""Set to `json` by a program that runs a command: an error is one line of JSON then."""


def show_error(error: SlipstreamError) -> None:
    """One message: where, what, and what to do."""
    if os.environ.get(ERRORS_VARIABLE) == "json":
        told = {"message": error.message, "where": error.where, "fix": error.fix}
        print(json.dumps(told), file=sys.stderr)
        return
    place = f"[bold]{escape(error.where)}[/bold]: " if error.where else ""
    err.print(f"[bold red]error[/bold red]  {place}{escape(error.message)}")
    if error.fix:
        err.print(f"[green]  fix[/green]  {escape(error.fix)}")


def show_failure(message: str) -> None:
    """The failure of a worker, as it wrote it down: what, and after `fix:` what to do."""
    what, _, remedy = message.partition("\n  fix: ")
    show_error(SlipstreamError(what, fix=remedy or None))


@contextmanager
def download_shown(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A line for a download of `total` MiB, and a bar where there is a terminal; yields `tick(done, total)`."""
    err.print(f"[dim]{escape(what)}: {total / 1024:.2f} GiB[/dim]")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def duration(seconds: float | None) -> str:
    """`3 h 12 min`, `4 min 10 s`, `12 s`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def pace(seconds: float | None) -> str:
    """`1.20 s/it` or `38 ms/it`."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s/it" if seconds >= 1 else f"{seconds * 1000:.0f} ms/it"
