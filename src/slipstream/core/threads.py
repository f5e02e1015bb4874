"""Threads that wait without burning the cores they wait on."""

from __future__ import annotations

import os


def calm_threads() -> None:
    """Let idle OpenMP threads sleep instead of spin; must come before torch is imported.

    With another busy process on the machine, spinning threads take the cores that the working ones need: a training
    step of 0.1 s then takes up to 15 s (docs/LOG.md). A policy that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
