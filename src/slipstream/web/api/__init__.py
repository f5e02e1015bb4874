"""The REST API: one router per resource, thin over `services`."""

from __future__ import annotations

from slipstream.web.api import (
    config,
    dataset_tools,
    datasets,
    experiments,
    jobs,
    playground,
    reference,
    run_report,
    runs,
    settings,
    system,
)

ROUTERS = (
    runs.router,
    run_report.router,
    experiments.router,
    jobs.router,
    config.router,
    datasets.router,
    dataset_tools.router,
    playground.router,
    system.router,
    settings.router,
    reference.router,
)
