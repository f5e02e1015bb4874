"""Types that the tests of jobs share."""

from __future__ import annotations

from collections.abc import Callable

from slipstream.jobs.job import Job

AddJob = Callable[..., Job]
