"""Exit codes of a worker, which a door turns into its own."""

from __future__ import annotations

FINISHED = 0
FAILED = 1
STOPPED = 10
"""Stopped on request: saved, and to be resumed."""
SUPERSEDED = 11
"""Another attempt was ordered before this one took the run: nothing was done."""
