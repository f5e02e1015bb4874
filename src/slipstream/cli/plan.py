"""`plan`: what a training would do, as tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import download_shown, duration, out, pace


def plan_command(config_path: Path, overrides: list[str], *, as_json: bool = False) -> None:
    """Print the plan of a config, as tables or as JSON."""
    from slipstream.cli.imports import open_and_tell
    from slipstream.workflows.plan import Plan, make_plan

    plan: Plan = make_plan(open_and_tell(config_path, overrides, quiet=as_json), download_shown)
    if as_json:
        whole = {**dataclasses.asdict(plan), "epochs": plan.epochs, "training_seconds": plan.training_seconds}
        print(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    out.print(f"[bold]{escape(plan.name)}[/bold]  (nothing is started)")
    for line in plan.choices:
        out.print(f"  {escape(line)}")
    table = Table("bucket", "pictures", "samples per epoch", title=f"{plan.num_images} images", title_justify="left")
    for row in plan.buckets:
        table.add_row(f"{row.width} x {row.height}", str(row.examples), str(row.samples))
    out.print(table)
    for note in plan.notes:
        out.print(f"[yellow]note[/yellow]  {escape(note)}")
    for cache in plan.caches:
        out.print(f"cache: {cache.cached} of {cache.needed} {cache.name} on disk")
    out.print(
        f"steps: {plan.steps} updates of {plan.samples_per_step} sample(s), {plan.steps_per_epoch:.1f} per epoch, "
        f"{plan.epochs:.1f} epochs; {plan.num_checkpoints} checkpoints, "
        f"{plan.num_preview_sets} sets of {plan.pictures_per_set} previews"
        + (f", {plan.pictures_of_sweep} pictures at other LoRA weights" if plan.pictures_of_sweep else "")
    )
    out.print(
        f"time: about {duration(plan.training_seconds)} of training at {pace(plan.seconds_per_step)} "
        f"({plan.speed_source}), loading and previews not counted"
    )
    out.print(escape(plan.memory))
    for line in plan.advice:
        out.print(f"[yellow]advice[/yellow]  {escape(line)}")
