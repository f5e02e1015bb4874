"""An imported config as YAML that says where every line came from, and what was not carried over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipstream.config.imports.imported import Imported
from slipstream.config.imports.report import PANELS, Entry, Report
from slipstream.config.yaml_text import write_yaml

COLUMN = 46


def commented_yaml(imported: Imported) -> str:
    """The settings, panels in the guide's order, with comments; our config reader reads it back as it is."""
    report = imported.report
    comments = {entry.target: _comment(entry) for entry in report.entries if entry.target is not None}
    lines = [f"# Imported from {report.source} ({report.format}): {report.summary()}.", "#"]
    lines += _left_out(report)
    ordered = {panel: imported.settings[panel] for panel in PANELS if panel in imported.settings}
    for panel, settings in ordered.items():
        lines += ["", *_lines({panel: settings}, "", comments, 0)]
    return "\n".join(lines) + "\n"


def _left_out(report: Report) -> Iterator[str]:
    """What a reader should know that stands nowhere below."""
    entries = [entry for entry in report.notable() if entry.target is None]
    if not entries:
        yield "# Nothing of it was left out that would change the training."
        return
    yield "# Not carried over, or not known:"
    for entry in entries:
        given = "" if entry.outcome == "added" else f" = {_short(entry.value)}"
        yield f"#   {entry.key}{given}: {entry.why}"


def _comment(entry: Entry) -> str:
    if entry.outcome == "taken":
        return entry.key
    if entry.outcome == "added":
        return f"not in the file ({entry.key}): {entry.why}"
    return f"{entry.key}: {_short(entry.value)}" + (f"; {entry.why}" if entry.why else "")


def _short(value: Any) -> str:
    text = write_yaml(value).replace("\n...", "").strip().replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."


def _lines(values: Mapping[str, Any], path: str, comments: Mapping[str, str], depth: int) -> Iterator[str]:
    for name, value in values.items():
        here = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value:
            yield _with_comment("  " * depth + f"{name}:", comments.get(here))
            yield from _lines(value, here, comments, depth + 1)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield _with_comment("  " * depth + f"{name}:", comments.get(here))
            yield from _items(value, here, comments, depth + 1)
        else:
            first, *rest = _plain(name, value, depth)
            yield _with_comment(first, comments.get(here))
            yield from rest


def _items(values: list[Any], path: str, comments: Mapping[str, str], depth: int) -> Iterator[str]:
    for number, item in enumerate(values):
        if not isinstance(item, Mapping) or not item:
            text = write_yaml([item]).rstrip().splitlines()
            first, *rest = ["  " * depth + line for line in text]
            yield _with_comment(first, comments.get(f"{path}.{number}.prompt"))
            yield from rest
            continue
        lines = list(_lines(item, f"{path}.{number}", comments, depth + 1))
        lines[0] = "  " * depth + "- " + lines[0].lstrip()
        yield from lines


def _plain(name: str, value: Any, depth: int) -> list[str]:
    """`name: value`; a list of numbers on one line."""
    if isinstance(value, list) and not any(isinstance(item, str) for item in value):
        return ["  " * depth + f"{name}: {write_yaml(value, flow=True).strip()}"]
    return ["  " * depth + line for line in write_yaml({name: value}).rstrip().splitlines()]


def _with_comment(line: str, comment: str | None) -> str:
    if comment is None:
        return line
    return f"{line:<{COLUMN}}  # {' '.join(comment.split())}"
