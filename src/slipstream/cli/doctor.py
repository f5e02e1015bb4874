"""`doctor`: what an installation can do, a line a finding."""

from __future__ import annotations

import json

from rich.markup import escape

from slipstream.cli.screen import out

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor_command(*, as_json: bool) -> int:
    """Print the findings; 1 where one of them keeps a training from running."""
    from slipstream.workflows.doctor import as_values, examine

    findings = examine()
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        print(json.dumps(as_values(findings), indent=2, ensure_ascii=False))
        return int(failed)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        colour = _COLOURS[finding.level]
        out.print(f"[{colour}]{finding.level:4}[/{colour}]  {finding.name:{width}}  {escape(finding.text)}")
        if finding.fix:
            out.print(f"      {'':{width}}  [green]fix[/green]  {escape(finding.fix)}")
    return int(failed)
