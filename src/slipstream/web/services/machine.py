"""The machine: processors, memory, disks and GPUs as they are now."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from slipstream.jobs.devices import Gpu, find_gpus

_GIB = 1024**3


@dataclass(frozen=True)
class Disk:
    """The disk that a folder lies on."""

    folder: str
    total_gib: float
    free_gib: float


@dataclass(frozen=True)
class Machine:
    """One look at the machine."""

    gpus: tuple[Gpu, ...]
    num_cores: int
    cpu_percent: float
    memory_gib: float
    memory_used_gib: float
    disks: tuple[Disk, ...]


@dataclass
class MachineWatch:
    """Looks at the machine when somebody asks, and at most once in `seconds`: nobody looks, nothing is spent."""

    folders: tuple[Path, ...]
    seconds: float = 2.0
    _last: tuple[float, Machine] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> Machine:
        """The machine, at most `seconds` old."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= self.seconds:
                self._last = (now, look_at_machine(self.folders))
            return self._last[1]


def look_at_machine(folders: Iterable[Path]) -> Machine:
    """Figures of this moment; processor load since the last look."""
    memory = psutil.virtual_memory()
    return Machine(
        gpus=find_gpus(),
        num_cores=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(),
        memory_gib=memory.total / _GIB,
        memory_used_gib=(memory.total - memory.available) / _GIB,
        disks=_disks(folders),
    )


def _disks(folders: Iterable[Path]) -> tuple[Disk, ...]:
    """One a disk, named by the first folder on it; a folder that is not there yet counts as its parent."""
    found: dict[int, Disk] = {}
    for folder in folders:
        there = next((place for place in (folder, *folder.parents) if place.exists()), None)
        if there is None:
            continue
        usage = shutil.disk_usage(there)
        found.setdefault(there.stat().st_dev, Disk(str(folder), usage.total / _GIB, usage.free / _GIB))
    return tuple(found.values())
