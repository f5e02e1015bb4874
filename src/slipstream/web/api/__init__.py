"""The REST API: one router per resource, thin over `services`."""

from __future__ import annotations

from slipstream.web.api import config, datasets, runs, settings, system

ROUTERS = (runs.router, config.router, datasets.router, system.router, settings.router)
