"""`preserve`: write a LoRA anew that changes unrelated prompts less."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slipstream.cli.screen import err, out
from slipstream.core.errors import ConfigError

if TYPE_CHECKING:
    from slipstream.workflows.preserve import PreserveRequest


def prompts_in(path: Path | None) -> tuple[str, ...]:
    """The texts of a prompt file.

    Raises:
        ConfigError: it holds none.
    """
    if path is None:
        return ()
    from slipstream.config.prompts import read_prompts

    prompts = tuple(dict.fromkeys(panel.prompt for panel in read_prompts(path)))
    if not prompts:
        raise ConfigError("there is no prompt in it", where=str(path), fix="write one prompt a line.")
    return prompts


def preserve_command(request: PreserveRequest, *, as_json: bool) -> None:
    """Do it with progress on stderr, then say what is left of the LoRA."""
    from slipstream.workflows.preserve import preserve

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("load", total=None)

        def phase(what: str, done: int, total: int) -> None:
            bar.update(task, description=escape(what), completed=done, total=total or None)

        done = preserve(request, lambda line: err.print(f"[dim]{escape(line)}[/dim]"), phase)
    if as_json:
        print(json.dumps({**asdict(done), "path": str(done.path)}, indent=2))
        return
    out.print(
        f"{done.modules} modules: {done.concept_kept:.0%} of the LoRA's effect on the concept's inputs is left, "
        f"{done.unrelated_kept:.0%} on unrelated ones"
    )
    out.print(f"wrote [bold]{escape(str(done.path))}[/bold]")
