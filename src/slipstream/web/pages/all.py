"""All pages, in the order of the navigation."""

from __future__ import annotations

from slipstream.web.pages import compare, dashboard, datasets, experiments, new_job, playground, queue, runs, settings
from slipstream.web.pages.page import Page

PAGES: tuple[Page, ...] = (
    dashboard.PAGE, new_job.PAGE, queue.PAGE, runs.PAGE, compare.PAGE, experiments.PAGE,
    playground.PAGE, datasets.PAGE, settings.PAGE,
)  # fmt: skip
