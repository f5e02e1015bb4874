"""A foreign training as our config: plain values, where each came from, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipstream.config.imports.report import Report
from slipstream.config.overrides import apply_overrides


@dataclass(frozen=True)
class Imported:
    """One training of a foreign file.

    Attributes:
        settings: our panels as plain values, ready for `parse_config`.
        report: what became of every key.
        origins: our dotted path -> the foreign key that it came from.
    """

    settings: dict[str, Any]
    report: Report
    origins: dict[str, str]

    def overridden(self, overrides: Sequence[str]) -> Imported:
        """The same with settings of the command line over the file's."""
        return replace(self, settings=apply_overrides(self.settings, overrides))
