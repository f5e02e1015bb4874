"""Telling a person what went wrong or well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from slipstream.core.errors import SlipstreamError


@contextmanager
def told() -> Iterator[None]:
    """Show a `SlipstreamError` of the block as a notice instead of raising it: what, where, and what to do."""
    try:
        yield
    except SlipstreamError as error:
        tell_error(error)


def tell_error(error: SlipstreamError) -> None:
    """Show an error until it is closed."""
    lines = [error.message, *([error.where] if error.where else []), *([error.fix] if error.fix else [])]
    ui.notify("\n".join(lines), type="negative", multi_line=True, timeout=0, close_button=True, classes="s-notice")


def tell(text: str) -> None:
    """Show for a moment that something was done."""
    ui.notify(text, type="positive", timeout=2500)
