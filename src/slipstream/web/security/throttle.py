"""Limits how often somebody may be wrong."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Throttle:
    """At most `limit` failures of one key, and `limit_of_all` of all keys, within `window` seconds."""

    limit: int = 5
    limit_of_all: int = 50
    window: float = 60.0
    clock: Callable[[], float] = time.monotonic
    remembered: int = 1000
    _failures: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)
    _all: list[float] = field(default_factory=list)

    def seconds_to_wait(self, key: str) -> int:
        """0 where the key may try, else how long it has to wait."""
        now = self.clock()
        waits = [
            self._wait(self._recent(self._failures.get(key, []), now), self.limit, now),
            self._wait(self._recent(self._all, now), self.limit_of_all, now),
        ]
        return max(waits)

    def failed(self, key: str) -> None:
        """Remember a failure."""
        now = self.clock()
        self._failures[key] = [*self._recent(self._failures.get(key, []), now), now]
        self._failures.move_to_end(key)
        while len(self._failures) > self.remembered:
            self._failures.popitem(last=False)
        self._all = [*self._recent(self._all, now), now][-self.limit_of_all :]

    def _recent(self, times: list[float], now: float) -> list[float]:
        return [one for one in times if now - one < self.window]

    def _wait(self, times: list[float], limit: int, now: float) -> int:
        return math.ceil(times[-limit] + self.window - now) if len(times) >= limit else 0
