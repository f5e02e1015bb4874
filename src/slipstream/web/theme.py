"""Colours, type and spacing: a small style sheet over Quasar, the same in every page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nicegui import ui

from slipstream.core.hashing import hash_file
from slipstream.web.services.preferences import Theme

_FIRST = "studio.css"
_SHEETS = sorted((Path(__file__).parent / "static").glob("*.css"), key=lambda path: (path.name != _FIRST, path.name))
"""That of all pages first, so that a page's own may say otherwise."""
COLOURS = {
    "primary": "#3457d5", "secondary": "#5b6370", "accent": "#0f8a7e", "positive": "#1f8a4c",
    "negative": "#c0362c", "info": "#2f6fb3", "warning": "#a86400", "dark": "#1d2026", "dark_page": "#14161a",
}  # fmt: skip
SERIES = ("#3b66e0", "#d97706", "#0f9d8a", "#c2417a", "#7c5cd6", "#5f8f1f", "#b4532a", "#4a90b8")
"""Colours of lines in charts, in order; readable on light and dark."""


def add_theme() -> None:
    """Link the style sheets in every page; their addresses change with their content, so no browser keeps old ones."""
    for sheet in _SHEETS:
        ui.add_head_html(f'<link rel="stylesheet" href="/static/{sheet.name}?v={_version(sheet)}">', shared=True)


@cache
def _version(sheet: Path) -> str:
    return hash_file(sheet)[:12]


def apply_theme(theme: Theme) -> None:
    """Colours and darkness of the page that is being built."""
    ui.colors(**COLOURS)
    dark = ui.dark_mode()
    if theme == "auto":
        dark.auto()
    else:
        dark.set_value(theme == "dark")
