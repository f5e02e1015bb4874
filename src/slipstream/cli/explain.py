"""`explain`: what a setting means, from the schema."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from slipstream.cli.screen import out
from slipstream.config.reference import Explanation, find_setting, markdown, panel_help, shown


def explain_command(name: str | None, *, as_markdown: bool) -> None:
    """Print the panels, a panel's settings, or all about one setting."""
    if as_markdown:
        print(markdown(), end="")
    elif name is None:
        for panel, about in panel_help():
            out.print(f"[bold]{panel:14}[/bold] {escape(about.partition(': ')[2] or about)}")
        out.print("\nOne panel: `slipstream explain training`; one setting: `slipstream explain training.steps`.")
    else:
        found = find_setting(name)
        for one in found if len(found) <= 2 else ():
            _show(one)
        if len(found) > 2:
            _list(found)


def _list(found: list[Explanation]) -> None:
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(no_wrap=True)
    for one in found:
        table.add_row(f"[bold]{shown(one.path)}[/bold]", escape(one.default), escape(one.help))
    out.print(table)


def _show(one: Explanation) -> None:
    out.print(f"[bold]{shown(one.path)}[/bold]\n{escape(one.help)}")
    table = Table(box=None, padding=(0, 2), show_header=False)
    for label, text in {"Accepts": one.accepts, "Default": one.default, **one.details}.items():
        if text:
            table.add_row(f"[cyan]{label}[/cyan]", escape(text.replace("`", "")))
    out.print(table)
