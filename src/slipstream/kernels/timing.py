"""How long work takes on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch


def median_milliseconds(work: Callable[[], object], *, warm_ups: int, repeats: int) -> float:
    """Median over `repeats` calls after `warm_ups` others, by the device's own clock; each call is waited for."""
    times = []
    for number in range(warm_ups + repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        if number >= warm_ups:
            times.append(start.elapsed_time(end))
    return median(times)
