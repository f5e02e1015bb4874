"""Threads that wait without burning the cores they wait on."""

from __future__ import annotations

import os

_SPINS = "1000"


def calm_threads() -> None:
    """Let idle OpenMP threads spin for some microseconds, then sleep; must come before torch is imported.

    Endless spinning takes the cores that working threads need when the machine has anything else to do; sleeping at
    once costs a wake-up at every small operation (figures: docs/LOG.md). A policy that the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ["GOMP_SPINCOUNT"] = _SPINS
