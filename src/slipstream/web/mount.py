"""NiceGUI on the app: the pages, and what all of them need."""

from __future__ import annotations

import os

from fastapi import FastAPI

from slipstream.web.security.nonces import Nonces
from slipstream.web.studio import Studio

_SECONDS_TO_RECONNECT = 30.0
"""How long a page may be away (a closed lid, a restart of the network) and still go on where it was."""


def mount_pages(app: FastAPI, studio: Studio) -> None:
    """Register every page and mount NiceGUI at /; routes of the app itself come first."""
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(studio.settings.home / "nicegui"))
    from nicegui import app as nicegui_app
    from nicegui import ui

    from slipstream.web.pages.all import PAGES
    from slipstream.web.pages.missing import register_missing
    from slipstream.web.theme import add_theme

    nicegui_app.add_middleware(Nonces)
    add_theme()
    for page in PAGES:
        page.register(studio)
    register_missing(studio)
    ui.run_with(
        app,
        title="Slipstream",
        favicon=None,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        binding_refresh_interval=0.5,
        reconnect_timeout=_SECONDS_TO_RECONNECT,
    )
