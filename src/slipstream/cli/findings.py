"""`findings`: what a run's files say went wrong, and what to change."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from slipstream.cli.screen import out

_COLOURS = {"problem": "red", "warning": "yellow", "hint": "cyan"}


def findings_command(folder: Path, *, as_json: bool) -> None:
    """Print the findings of a run, the gravest first.

    Raises:
        RunError: the folder is no run's.
        ConfigError: the run's config cannot be read.
    """
    from slipstream.findings.look import findings_of
    from slipstream.findings.tell import tell
    from slipstream.runs.create import open_run

    run = open_run(folder)
    found = findings_of(run)
    if as_json:
        values = [asdict(tell(one)) | {"settings": dict(one.settings)} for one in found]
        print(json.dumps(values, indent=2, ensure_ascii=False))
        return
    if not found:
        out.print(f"[green]nothing stands out[/green] in {escape(run.name)}")
    for place, finding in enumerate(found):
        told = tell(finding)
        colour = _COLOURS[told.severity]
        gap = "\n" if place else ""
        out.print(f"{gap}[{colour}]{told.severity:7}[/{colour}]  [bold]{escape(told.title)}[/bold]")
        for line in told.seen:
            out.print(f"         {escape(line)}")
        out.print(f"         [dim]{escape(told.means)}[/dim]")
        for line in told.change:
            out.print(f"         [green]>[/green] {escape(line)}")
        if told.settings:
            out.print(f"         [dim]try in another run:[/dim] {escape(' '.join(told.settings))}")
