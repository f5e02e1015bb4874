"""A training that shakes: values that are not finite, a loss that rises, updates that are skipped or clipped."""

from __future__ import annotations

import math
import re
from statistics import fmean, median, stdev

from slipstream.config.advice import USUAL_RATE
from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Finding, Line, line
from slipstream.findings.remedies import calmer, earlier_checkpoint

BLOCKS = 8
FEWEST_UPDATES = 200
CERTAIN = 5.0
"""Standard errors between two blocks of updates: the loss of an update depends most on its noise level."""
CLEAR_RISE = 0.2
MANY_CLIPPED = 0.5
MANY_SKIPPED = 0.01
FEWEST_SKIPPED = 3
_NOT_FINITE = re.compile(
    r"(?P<what>the loss|the gradient norm) became (?P<value>-?(?:nan|inf)) in update (?P<step>\d+)"
)


def not_finite(facts: RunFacts) -> Finding | None:
    """Training ended because the loss or the gradient was no number any more."""
    match = _NOT_FINITE.search(facts.progress.message) if facts.progress.state == "failed" else None
    if match is None:
        return None
    step = int(match["step"])
    calm, settings = calmer(facts)
    seen = (line("not_finite.became", value=match["value"], step=step), *_high_rate(facts))
    if facts.config.training.max_grad_norm == 0:
        return Finding(
            "not_finite", "problem", (*seen, line("not_finite.unclipped")),
            (calm, line("not_finite.clip", value=1.0), *earlier_checkpoint(facts, step)),
            {**settings, "training.max_grad_norm": 1.0}, "curves",
        )  # fmt: skip
    return Finding("not_finite", "problem", seen, (calm, *earlier_checkpoint(facts, step)), settings, "curves")


def loss_rose(facts: RunFacts) -> Finding | None:
    """The training loss is clearly higher than it was: the sign of a rate that is too high."""
    rows = [row for row in facts.rows if not row.get("skipped") and math.isfinite(row.get("loss", math.nan))]
    if len(rows) < FEWEST_UPDATES:
        return None
    size = len(rows) // BLOCKS
    blocks = [rows[len(rows) - (BLOCKS - number) * size :][:size] for number in range(BLOCKS)]
    losses = [[row["loss"] for row in block] for block in blocks]
    means = [fmean(block) for block in losses]
    errors = [stdev(block) / math.sqrt(size) for block in losses]
    best = min(range(BLOCKS), key=means.__getitem__)
    rise = means[-1] - means[best]
    if rise < CLEAR_RISE * means[best] or rise < CERTAIN * math.hypot(errors[-1], errors[best]):
        return None
    until = int(blocks[best][-1]["step"])
    calm, settings = calmer(facts)
    seen = line("loss_rose.rose", step=until, best=means[best], last=means[-1], rise=rise / means[best])
    return Finding(
        "loss_rose",
        "warning",
        (seen, *_high_rate(facts)),
        (calm, *earlier_checkpoint(facts, until)),
        settings,
        "curves",
    )


def skipped(facts: RunFacts) -> Finding | None:
    """Updates were left out because their loss was over `max_loss`."""
    limit = facts.config.training.max_loss
    count = sum(bool(row.get("skipped")) for row in facts.rows)
    if limit is None or count < FEWEST_SKIPPED or count < MANY_SKIPPED * len(facts.rows):
        return None
    losses = sorted(row["loss"] for row in facts.rows if math.isfinite(row.get("loss", math.nan)))
    usual = median(losses)
    seen = line("skipped.counted", count=count, share=count / len(facts.rows), limit=limit, usual=usual)
    if limit < 3 * usual:
        value = float(f"{5 * usual:.2g}")
        return Finding(
            "skipped", "warning", (seen,), (line("skipped.raise", value=value),), {"training.max_loss": value}, "curves"
        )
    calm, settings = calmer(facts)
    return Finding("skipped", "warning", (seen, *_high_rate(facts)), (calm,), settings, "curves")


def clipped(facts: RunFacts) -> Finding | None:
    """Most updates were shortened, where clipping is meant for the odd one."""
    limit = facts.config.training.max_grad_norm
    norms = [norm for row in facts.rows if math.isfinite(norm := row.get("grad_norm", math.nan))]
    norms = norms[len(norms) // 10 :]
    if limit == 0 or len(norms) < FEWEST_UPDATES // 2:
        return None
    share = sum(norm > limit for norm in norms) / len(norms)
    if share < MANY_CLIPPED:
        return None
    usual = median(norms)
    value = float(f"{3 * usual:.1g}")
    seen = line("clipped.share", share=share, limit=limit, usual=usual)
    return Finding(
        "clipped", "hint", (seen, *_high_rate(facts)), (line("clipped.raise", value=value),),
        {"training.max_grad_norm": value}, "curves",
    )  # fmt: skip


def _high_rate(facts: RunFacts) -> tuple[Line, ...]:
    if facts.rate is None or facts.rate <= USUAL_RATE:
        return ()
    return (line("cause.high_rate", rate=facts.rate, usual=USUAL_RATE),)
