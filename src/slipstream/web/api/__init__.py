"""The REST API: one router per resource, thin over `services`."""

from __future__ import annotations

from slipstream.web.api import runs, settings, system

ROUTERS = (runs.router, system.router, settings.router)
