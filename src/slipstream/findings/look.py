"""All findings of a run, the gravest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slipstream.findings import cost, drift, learning, previews, ranked, stability
from slipstream.findings.facts import Row, RunFacts, gather
from slipstream.findings.finding import SEVERITIES, Finding
from slipstream.runs.layout import RunDir

RULES: tuple[Callable[[RunFacts], Finding | None], ...] = (
    stability.not_finite,
    cost.out_of_memory,
    drift.turbo_drift,
    drift.no_adapter,
    stability.loss_rose,
    learning.overfitting,
    ranked.copies,
    learning.learns_nothing,
    learning.too_weak,
    previews.preview_settings,
    stability.skipped,
    previews.captions_cut,
    ranked.earlier_is_better,
    drift.guard_acted,
    previews.too_strong,
    learning.messy_details,
    learning.seen_often,
    learning.plateau,
    stability.clipped,
    cost.slower_than_planned,
    cost.time_wasted,
    cost.previews_cost,
)
"""In the order in which findings of one severity are told."""


def look_at(facts: RunFacts) -> tuple[Finding, ...]:
    """What the rules find, the gravest first."""
    found = [finding for rule in RULES if (finding := rule(facts)) is not None]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def findings_of(run: RunDir, rows: Sequence[Row] | None = None) -> tuple[Finding, ...]:
    """The findings of a run as it stands now; whoever has read its metrics gives the rows.

    Raises:
        ConfigError: the run's config cannot be read.
    """
    return look_at(gather(run, rows))
