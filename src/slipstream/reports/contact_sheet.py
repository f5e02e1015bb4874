"""The sheets of a run: checkpoints by prompts, to choose the best step, and LoRA weights by prompts, to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slipstream.reports.headings import Heading
from slipstream.reports.pictures import Previews, find_previews, find_weights, thinned
from slipstream.reports.sheet import Sheet, write_sheet
from slipstream.runs.layout import RunDir

MAX_ROWS = 24
MAX_COLUMNS = 24


def write_contact_sheet(run: RunDir, headings: Sequence[Heading]) -> Path | None:
    """Draw `previews/contact_sheet.png`, rows = steps, columns = prompts; None where there is no picture yet.

    The sheet stays within 4096 x 4096: long runs show 24 checkpoints (first and last among them), long
    prompt lists their first 24 prompts, and the sheet says so.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    previews = find_previews(run, len(headings))
    if not previews.paths:
        return None
    steps = thinned(previews.steps, MAX_ROWS)
    notes = [f"{len(steps)} of {len(previews.steps)} checkpoints shown"] if len(steps) < len(previews.steps) else []
    shown, more = _columns(previews, headings)
    cells = {
        (row, column): path
        for row, step in enumerate(steps)
        for column in range(len(shown))
        if (path := previews.paths.get((step, column)))
    }
    rows = [f"step {step}" for step in steps]
    return write_sheet(run.contact_sheet, Sheet(run.name, rows, shown, cells, [*notes, *more]))


def write_weight_sheet(run: RunDir, headings: Sequence[Heading]) -> Path | None:
    """Draw `previews/lora_weights.png`, rows = LoRA weights, columns = prompts; None where no sweep was drawn.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    sweep = find_weights(run)
    if sweep is None:
        return None
    shown = list(headings[:MAX_COLUMNS])
    cells = {
        (row, column): path
        for row, scale in enumerate(sweep.scales)
        for column in range(len(shown))
        if (path := sweep.paths.get((scale, column)))
    }
    more = [f"the first {len(shown)} of {len(headings)} prompts shown"] if len(shown) < len(headings) else []
    title = f"{run.name}, step {sweep.step}: LoRA weights"
    return write_sheet(
        run.weight_sheet, Sheet(title, [f"weight {scale:g}" for scale in sweep.scales], shown, cells, more)
    )


def _columns(previews: Previews, headings: Sequence[Heading]) -> tuple[list[Heading], list[str]]:
    """The headings shown, and what is left out; pictures of an earlier, longer prompt list have no prompt."""
    columns = min(previews.num_prompts, MAX_COLUMNS)
    shown = [headings[column] if column < len(headings) else Heading("") for column in range(columns)]
    left_out = columns < previews.num_prompts
    return shown, [f"the first {columns} of {previews.num_prompts} prompts shown"] if left_out else []
