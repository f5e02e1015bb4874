"""One look at a run for its page: how it stands, and stamps of its files that tell what to read again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import SlipstreamError
from slipstream.findings.finding import Finding
from slipstream.findings.look import findings_of
from slipstream.reports.headings import run_headings
from slipstream.reports.pictures import find_previews
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import read_rows
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.runs import RunDetail, describe

MOST_NEWEST = 12
_LOOKS = 40
"""Looks for findings over a whole run, besides those after previews and measurements."""


@dataclass(frozen=True)
class Newest:
    """Pictures of the newest step that has any: (prompt's number, its text)."""

    step: int
    prompts: tuple[tuple[int, str], ...]
    version: int


@dataclass(frozen=True)
class RunLook:
    """How a run stands. Equal looks show the same page."""

    detail: RunDetail
    running: bool
    has_report: bool
    may_go_on: bool
    """Whether a training state is there to go on from."""
    waits: bool
    """Whether a job of the queue waits with it."""
    findings: tuple[Finding, ...]
    findings_version: tuple[object, ...]
    newest: Newest | None
    curves_version: float
    """Changes with every update and every measurement."""
    previews_version: int
    checkpoints_version: int
    phases_version: int


def look_at_run(
    run: RunDir, before: RunLook | None = None, *, waits: bool = False, metrics: MetricFiles | None = None
) -> RunLook:
    """The run as it is now; with the look before, pictures are listed again only where there are new ones, and findings
    are looked for again only now and then, none without `metrics`. `waits` is what the queue says of it."""
    detail = describe(run)
    previews, drift = _stamp(run.previews), _stamp(run.drift)
    same = before is not None and before.previews_version == previews
    rows = read_rows(run.validation)
    summary = detail.summary
    version = (summary.state, summary.step // max(1, summary.steps // _LOOKS), len(rows), drift, previews)
    known = before is not None and before.findings_version == version
    return RunLook(
        detail=detail,
        running=detail.summary.state == "running",
        has_report=run.report.is_file(),
        may_go_on=any(run.checkpoints.glob("*.pt")),
        waits=waits,
        findings=before.findings if known and before is not None else _findings(run, metrics),
        findings_version=version,
        newest=before.newest if same and before is not None else newest(run, detail, previews),
        curves_version=summary.step + len(rows) / 1_000_000 + drift % 1000 / 1_000_000_000,
        previews_version=previews,
        checkpoints_version=_stamp(run.checkpoints) + _stamp(run.lora),
        phases_version=_stamp(run.phases),
    )


def _findings(run: RunDir, metrics: MetricFiles | None) -> tuple[Finding, ...]:
    """What stands out; nothing where the run's config cannot be read, which its page says elsewhere."""
    if metrics is None:
        return ()
    try:
        return findings_of(run, metrics.rows(run.metrics))
    except SlipstreamError:
        return ()


def newest(run: RunDir, detail: RunDetail, version: int) -> Newest | None:
    """The pictures of the newest step that has any."""
    headings = run_headings(detail.manifest)
    found = find_previews(run, len(headings))
    if not found.steps:
        return None
    step = found.steps[-1]
    prompts = sorted(prompt for at, prompt in found.paths if at == step)[:MOST_NEWEST]
    return Newest(step, tuple((one, headings[one].text if one < len(headings) else "") for one in prompts), version)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
