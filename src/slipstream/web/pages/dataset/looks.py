"""The style sheet of the pages about datasets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nicegui import ui

from slipstream.core.hashing import hash_file

_SHEET = Path(__file__).parents[2] / "static/datasets.css"


def add_looks() -> None:
    """Link it in the page that is being built."""
    ui.add_head_html(f'<link rel="stylesheet" href="/static/datasets.css?v={_version()}">')


@cache
def _version() -> str:
    return hash_file(_SHEET)[:12]
