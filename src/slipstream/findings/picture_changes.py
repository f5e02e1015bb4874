"""How far the newest previews are from those before training, with the trigger word and without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from slipstream.reports.headings import run_headings
from slipstream.reports.pictures import difference, find_previews
from slipstream.runs.layout import RunDir

_REMEMBERED = 512


@dataclass(frozen=True)
class PictureChanges:
    """Mean changes of pictures as shares of the full range of values.

    Attributes:
        step: of the newest pictures.
        wanted: of prompts with the trigger word, of all prompts where there is no trigger word.
        unwanted: of prompts without the trigger word; None where there are none.
    """

    step: int
    wanted: float
    unwanted: float | None


def picture_changes(run: RunDir, manifest: Mapping[str, Any]) -> PictureChanges | None:
    """The changes from step 0 to the newest step; None where there are no pictures at both."""
    headings = run_headings(manifest)
    found = find_previews(run, len(headings))
    if len(found.steps) < 2 or found.steps[0] != 0:
        return None
    changes: dict[bool, list[float]] = {True: [], False: []}
    last = found.steps[-1]
    for prompt, heading in enumerate(headings):
        before, after = found.paths.get((0, prompt)), found.paths.get((last, prompt))
        if before is None or after is None:
            continue
        change = _changed(before, after, after.stat().st_mtime_ns)
        if change is not None:
            changes[heading.has_trigger is not False].append(change)
    if not changes[True]:
        return None
    return PictureChanges(last, fmean(changes[True]), fmean(changes[False]) if changes[False] else None)


@lru_cache(maxsize=_REMEMBERED)
def _changed(before: Path, after: Path, changed_ns: int) -> float | None:
    """The difference of two pictures, remembered until the later one changes."""
    return difference(before, after)
