"""What has to be in the environment before torch is imported; what the user has set stays."""

from __future__ import annotations

import os
import sys

_SPINS = "1000"
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def prepare_environment() -> None:
    """For torch in this process and in those that it starts: threads that sleep, GPU memory without gaps."""
    _calm_threads()
    _growing_segments()


def _calm_threads() -> None:
    """Let idle OpenMP threads spin for some microseconds, then sleep.

    Endless spinning takes the cores that working threads need when the machine has anything else to do; sleeping at
    once costs a wake-up at every small operation (figures: docs/LOG.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def _growing_segments() -> None:
    """Let torch's segments of GPU memory grow instead of taking new ones.

    Activations of many sizes otherwise leave gaps that no tensor fits into, up to a fifth of a small card (figures:
    docs/LOG.md). Windows cannot do it.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in _ALLOCATOR):
        os.environ[_ALLOCATOR[0]] = "expandable_segments:True"
