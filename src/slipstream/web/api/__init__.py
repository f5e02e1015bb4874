"""The REST API: one router per resource, thin over `services`."""

from __future__ import annotations

from slipstream.web.api import settings, system

ROUTERS = (system.router, settings.router)
